# refused: derive: TraceError: Plain: the rebuilt network does not run with a batch of 4: RuntimeError: weight should have at least three dimensions; this is a bug of lawful, please report the module (/work/wt/input/graph/tracing/trace.py:201)
import torch
from torch import nn
from torch.nn import functional as F
import lawful as lw


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.p1 = nn.Parameter(torch.randn(2, 3, 2, 2), requires_grad=False)
        self.p2 = nn.Parameter(torch.randn(2))
        self.p4 = nn.Parameter(torch.randn(4, 2, 1, 1))
        self.p8 = nn.Parameter(torch.randn(2, 4, 1, 1))
        self.p16 = nn.Parameter(torch.randn(3, 2, 1, 1))

    def forward(self, x):
        h3 = F.conv2d(x, self.p1, self.p2, padding=0)
        h5 = F.conv2d(h3, self.p4, padding=0)
        h6 = torch.where(h5 > 0, h5, -0.5 * h5)
        h7 = torch.clamp(h6, min=0)
        h9 = F.conv2d(h7, self.p8, padding=0)
        h10 = 0.5 * h6
        h11 = torch.maximum(h6, h10)
        h12 = self.p8.flip(0)
        h13 = F.conv2d(h11, h12, padding=0)
        h14 = h9 + h13
        h15 = h14.abs()
        h17 = F.conv2d(h15, self.p16, padding=0)
        return h17


torch.manual_seed(0)
model, args = Plain(), (torch.randn(4, 3, 3, 3),)
laws = lw.derive(model, 'cross_entropy', args=args)
print(laws, laws.exact_independent, laws.notes)
for law in laws:
    print(law.name, law.exact, law.text)
print(laws.verify(model, args=args).verdict, lw.count(model, 'cross_entropy', args=args))
# judge(Program(inputs=(Source(name='x', shape=(4, 3, 3, 3), words=0),), parameters=(Weight(name='p1', shape=(2, 3, 2, 2), frozen=True), Weight(name='p2', shape=(2,), frozen=False), Weight(name='p4', shape=(4, 2, 1, 1), frozen=False), Weight(name='p8', shape=(2, 4, 1, 1), frozen=False), Weight(name='p16', shape=(3, 2, 1, 1), frozen=False)), constants=(), steps=(Step(name='h3', call='conv2d_bias', operands=('x', 'p1', 0, 'p2')), Step(name='h5', call='conv2d', operands=('h3', 'p4', 0)), Step(name='h6', call='where', operands=('h5',)), Step(name='h7', call='max0', operands=('h6',)), Step(name='h9', call='conv2d', operands=('h7', 'p8', 0)), Step(name='h10', call='scale', operands=('h6', 0.5)), Step(name='h11', call='maximum', operands=('h6', 'h10')), Step(name='h12', call='flip', operands=('p8', 0)), Step(name='h13', call='conv2d', operands=('h11', 'h12', 0)), Step(name='h14', call='add', operands=('h9', 'h13')), Step(name='h15', call='abs', operands=('h14',)), Step(name='h17', call='conv2d', operands=('h15', 'p16', 0))), outputs=('h17',)), ('cross_entropy',))
