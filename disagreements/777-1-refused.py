# refused: derive: TraceError: Plain: output output agrees at the traced shape and not at another batch size: the forward depends on the shape of its input (a shape-dependent branch); move that branch out of the forward (/work/wt/input/graph/tracing/trace.py:201)
import torch
from torch import nn
from torch.nn import functional as F
import lawful as lw


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.p1 = nn.Parameter(torch.randn(3, 3))
        self.p7 = nn.Parameter(torch.randn(3, 3))
        self.p11 = nn.Parameter(torch.randn(4, 3), requires_grad=False)
        self.p14 = nn.Parameter(torch.randn(4, 3))
        self.p17 = nn.Parameter(torch.randn(4, 3))
        self.p21 = nn.Parameter(torch.randn(3, 4))
        self.register_buffer("c22", torch.tensor([0.0, 1.0, 0.0, 1.0]))

    def forward(self, x):
        h2 = F.linear(x, self.p1)
        h3 = h2 * (h2 > 0)
        h4 = h3 * (h3 > 0)
        h5 = h4 * h2
        h6 = h5 / h5.norm(dim=-1, keepdim=True)
        h8 = F.linear(h6, self.p7)
        h9 = h5 + 1 * h8
        h10 = h9 * (h9 > 0)
        h12 = F.linear(h10, self.p11)
        h13 = h9.abs()
        h15 = F.linear(h13, self.p14)
        h16 = h12 + h15
        h18 = F.linear(h9, self.p17)
        h19 = h16 + h18
        h20 = torch.clamp(h19, min=0)
        h23 = self.p21 * self.c22
        h24 = F.linear(h20, h23)
        return h24


torch.manual_seed(0)
model, args = Plain(), (torch.randn(4, 3),)
laws = lw.derive(model, 'cross_entropy', args=args)
print(laws, laws.exact_independent, laws.notes)
for law in laws:
    print(law.name, law.exact, law.text)
print(laws.verify(model, args=args).verdict, lw.count(model, 'cross_entropy', args=args))
# judge(Program(inputs=(Source(name='x', shape=(4, 3), words=0),), parameters=(Weight(name='p1', shape=(3, 3), frozen=False), Weight(name='p7', shape=(3, 3), frozen=False), Weight(name='p11', shape=(4, 3), frozen=True), Weight(name='p14', shape=(4, 3), frozen=False), Weight(name='p17', shape=(4, 3), frozen=False), Weight(name='p21', shape=(3, 4), frozen=False)), constants=(Constant(name='c22', values=(0.0, 1.0, 0.0, 1.0)),), steps=(Step(name='h2', call='linear', operands=('x', 'p1')), Step(name='h3', call='gate', operands=('h2',)), Step(name='h4', call='gate', operands=('h3',)), Step(name='h5', call='multiply', operands=('h4', 'h2')), Step(name='h6', call='over_norm', operands=('h5', -1)), Step(name='h8', call='linear', operands=('h6', 'p7')), Step(name='h9', call='combine', operands=('h5', 'h8', 1)), Step(name='h10', call='gate', operands=('h9',)), Step(name='h12', call='linear', operands=('h10', 'p11')), Step(name='h13', call='abs', operands=('h9',)), Step(name='h15', call='linear', operands=('h13', 'p14')), Step(name='h16', call='add', operands=('h12', 'h15')), Step(name='h18', call='linear', operands=('h9', 'p17')), Step(name='h19', call='add', operands=('h16', 'h18')), Step(name='h20', call='max0', operands=('h19',)), Step(name='h23', call='multiply', operands=('p21', 'c22')), Step(name='h24', call='linear', operands=('h20', 'h23'))), outputs=('h24',)), ('cross_entropy',))
