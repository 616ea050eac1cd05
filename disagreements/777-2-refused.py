# refused: derive: TraceError: Plain: the rebuilt network differs: output output by 5e-01, while the exported graph agrees with the module; this is a bug of lawful, please report the module (/work/wt/input/graph/tracing/trace.py:201)
import torch
from torch import nn
from torch.nn import functional as F
import lawful as lw


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.p1 = nn.Parameter(torch.randn(2, 4, 1, 1))
        self.p4 = nn.Parameter(torch.randn(2))
        self.p11 = nn.Parameter(torch.randn(2, 2, 1, 1))
        self.p16 = nn.Parameter(torch.randn(3, 2))
        self.register_buffer("c6", torch.tensor([1.0, 0.0]))

    def forward(self, x):
        h2 = self.p1 + self.p1
        h3 = h2 + self.p1
        h5 = F.conv2d(x, h3, self.p4, padding=0)
        h7 = self.c6[:, None, None]
        h8 = h5 * h7
        h9 = F.instance_norm(h8, eps=1e-05)
        h10 = F.group_norm(h9, 1, eps=0.0)
        h12 = F.conv2d(h10, self.p11, padding=0)
        h13 = h9 + -1 * h12
        h15 = h13.mean((2, 3))
        h17 = self.p16[-3:]
        h18 = self.p16 * h17
        h19 = F.linear(h15, h18)
        return h19


torch.manual_seed(0)
model, args = Plain(), (torch.randn(4, 4, 3, 3),)
laws = lw.derive(model, 'cross_entropy', args=args)
print(laws, laws.exact_independent, laws.notes)
for law in laws:
    print(law.name, law.exact, law.text)
print(laws.verify(model, args=args).verdict, lw.count(model, 'cross_entropy', args=args))
# judge(Program(inputs=(Source(name='x', shape=(4, 4, 3, 3), words=0),), parameters=(Weight(name='p1', shape=(2, 4, 1, 1), frozen=False), Weight(name='p4', shape=(2,), frozen=False), Weight(name='p11', shape=(2, 2, 1, 1), frozen=False), Weight(name='p16', shape=(3, 2), frozen=False)), constants=(Constant(name='c6', values=(1.0, 0.0)),), steps=(Step(name='h2', call='add', operands=('p1', 'p1')), Step(name='h3', call='add', operands=('h2', 'p1')), Step(name='h5', call='conv2d_bias', operands=('x', 'h3', 0, 'p4')), Step(name='h7', call='channels2', operands=('c6',)), Step(name='h8', call='multiply', operands=('h5', 'h7')), Step(name='h9', call='instance_norm', operands=('h8', 1e-05)), Step(name='h10', call='group_norm', operands=('h9', 1, 0.0)), Step(name='h12', call='conv2d', operands=('h10', 'p11', 0)), Step(name='h13', call='combine', operands=('h9', 'h12', -1)), Step(name='h15', call='mean', operands=('h13', (2, 3))), Step(name='h17', call='tail_of', operands=('p16', 3)), Step(name='h18', call='multiply', operands=('p16', 'h17')), Step(name='h19', call='linear', operands=('h15', 'h18'))), outputs=('h19',)), ('cross_entropy',))
