# exact count: 2 with verdict HOLDS, referee 4 (12, 12, 12, 12, 12)
import torch
from torch import nn
from torch.nn import functional as F
import lawful as lw


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.p5 = nn.Parameter(torch.randn(4, 2))
        self.h2 = nn.Parameter(torch.randn(2, 4, 1))

    def forward(self, x):
        h3 = F.conv1d(x, self.h2, padding=0)
        h4 = h3.mean((2,))
        h6 = F.leaky_relu(self.p5, 0.1)
        h7 = F.linear(h4, h6)
        return h7


torch.manual_seed(0)
model, args = Plain(), (torch.randn(4, 4, 4),)
laws = lw.derive(model, 'cross_entropy', args=args)
print(laws, laws.exact_independent, laws.notes)
for law in laws:
    print(law.name, law.exact, law.text)
print(laws.verify(model, args=args).verdict, lw.count(model, 'cross_entropy', args=args))
# judge(Program(inputs=(Source(name='x', shape=(4, 4, 4), words=0),), parameters=(Weight(name='p5', shape=(4, 2), frozen=False), Weight(name='h2', shape=(2, 4, 1), frozen=False)), constants=(), steps=(Step(name='h3', call='conv1d', operands=('x', 'h2', 0)), Step(name='h4', call='mean', operands=('h3', (2,))), Step(name='h6', call='leaky', operands=('p5',)), Step(name='h7', call='linear', operands=('h4', 'h6'))), outputs=('h7',)), ('cross_entropy',))
