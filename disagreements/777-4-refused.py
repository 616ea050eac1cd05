# refused: derive: TraceError: Plain: output output agrees at the traced shape and not at another batch size: the forward depends on the shape of its input (a shape-dependent branch); move that branch out of the forward (/work/wt/input/graph/tracing/trace.py:201)
import torch
from torch import nn
from torch.nn import functional as F
import lawful as lw


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.p1 = nn.Parameter(torch.randn(3, 4))
        self.p4 = nn.Parameter(torch.randn(2, 3))
        self.p6 = nn.Parameter(torch.randn(2, 3))
        self.p7 = nn.Parameter(torch.randn(2))
        self.p13 = nn.Parameter(torch.randn(3, 2))
        self.p15 = nn.Parameter(torch.randn(3, 2))

    def forward(self, x):
        h2 = F.linear(x, self.p1)
        h3 = h2 * (h2 > 0)
        h5 = F.linear(h3, self.p4)
        h8 = F.linear(h3, self.p6, self.p7)
        h9 = h5 * h8
        h10 = F.leaky_relu(h9, 0.1)
        h11 = h10 - h10.mean(-1, keepdim=True)
        h12 = h11 / h11.norm(dim=-1, keepdim=True)
        h14 = F.linear(h12, self.p13)
        h16 = F.linear(h12, self.p15)
        h17 = h14 + h16
        return h17


torch.manual_seed(0)
model, args = Plain(), (torch.randn(4, 4),)
laws = lw.derive(model, 'mse', args=args)
print(laws, laws.exact_independent, laws.notes)
for law in laws:
    print(law.name, law.exact, law.text)
print(laws.verify(model, args=args).verdict, lw.count(model, 'mse', args=args))
# judge(Program(inputs=(Source(name='x', shape=(4, 4), words=0),), parameters=(Weight(name='p1', shape=(3, 4), frozen=False), Weight(name='p4', shape=(2, 3), frozen=False), Weight(name='p6', shape=(2, 3), frozen=False), Weight(name='p7', shape=(2,), frozen=False), Weight(name='p13', shape=(3, 2), frozen=False), Weight(name='p15', shape=(3, 2), frozen=False)), constants=(), steps=(Step(name='h2', call='linear', operands=('x', 'p1')), Step(name='h3', call='gate', operands=('h2',)), Step(name='h5', call='linear', operands=('h3', 'p4')), Step(name='h8', call='linear_bias', operands=('h3', 'p6', 'p7')), Step(name='h9', call='multiply', operands=('h5', 'h8')), Step(name='h10', call='leaky', operands=('h9',)), Step(name='h11', call='centre', operands=('h10', -1)), Step(name='h12', call='over_norm', operands=('h11', -1)), Step(name='h14', call='linear', operands=('h12', 'p13')), Step(name='h16', call='linear', operands=('h12', 'p15')), Step(name='h17', call='add', operands=('h14', 'h16'))), outputs=('h17',)), ('mse',))
