"""BatchNorm in evaluation goes away whole, so that factors reach the convolutions."""

import copy

import pytest
import torch
from torch import nn

import lawful as lw


class Basic(nn.Module):
    """A residual block."""

    def __init__(self, i, o):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o)
        self.short = nn.Sequential(nn.Conv2d(i, o, 1, 2, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.short(x))


class Active(nn.BatchNorm2d):
    """A norm with an activation of its own."""

    def __init__(self, features):
        super().__init__(features)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(super().forward(x))


def inverted(i, o):
    """Expansion, depthwise convolution, projection."""
    maps = [nn.Conv2d(i, 6, 1, bias=False), nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)]
    acts = [nn.BatchNorm2d(6), nn.ReLU()]
    return nn.Sequential(maps[0], *acts, maps[1], nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, o, 1), nn.BatchNorm2d(o))


NETS = {
    "vgg": (lambda: [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 2)], 1),
    "resnet": (lambda: [nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), Basic(4, 5)], 4),
    "mobilenet": (lambda: [inverted(3, 4), inverted(4, 2)], 6),
    "own activation": (lambda: [nn.Conv2d(3, 4, 3, bias=False), Active(4), nn.Conv2d(4, 2, 2)], 1),
    "transposed": (lambda: [nn.ConvTranspose2d(3, 4, 2, bias=False), Active(4), nn.Conv2d(4, 2, 2)], 1),
    "no gain": (lambda: [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Conv2d(4, 2, 2)], 1),
}


def shaken(layers):
    torch.manual_seed(0)
    model = nn.Sequential(*layers()).eval()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.3)
            m.running_var.uniform_(0.5, 2)
            if m.affine:
                nn.init.uniform_(m.weight, 0.5, 2)
                nn.init.normal_(m.bias, 0, 0.3)
    return model


def gap(a, b, x):
    one, two = (copy.deepcopy(m).double()(x.double()) for m in (a, b))
    return float(((one - two).abs().max() / one.abs().max()).detach())


@pytest.mark.parametrize(("layers", "norms"), NETS.values(), ids=NETS)
def test_convolutions_take_the_whole_norm(layers, norms):
    model, x = shaken(layers), torch.randn(2, 3, 6, 6)
    kept = lw.fold(model, ["batchnorm"], args=(x,))
    gone = lw.fold(model, ["batchnorm"], args=(x,), remove=True)
    assert len(kept.done) == len(gone.done) == norms and not kept.refused and not gone.refused
    assert gap(model, kept.model, x) < 1e-6 and gap(model, gone.model, x) < 1e-6
    assert not any(isinstance(m, nn.BatchNorm2d) for m in gone.model.modules())
    found = lw.symmetries(gone.model, args=(x,))
    reached = {p for s in found.where(group="positive diagonal") for p in s.parameters}
    assert [n for n in reached if n.endswith("bias")] and gap(model, lw.equalise(gone.model, network=found), x) < 1e-5


def test_what_no_convolution_can_take_is_refused_with_its_reason():
    x, shared = torch.randn(2, 3, 5, 5), nn.BatchNorm2d(3)
    twice = shaken(lambda: [nn.Conv2d(3, 3, 1, bias=False), shared, nn.ReLU(), nn.Conv2d(3, 3, 1), shared])
    assert len(lw.fold(twice, ["batchnorm"], args=(x,)).refused) == 2
    bare = shaken(lambda: [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False)])
    assert "has no bias that could take the shift" in lw.fold(bare, args=(x,)).refused["1"]
    first = shaken(lambda: [nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1)])
    assert "no linear map writes" in lw.fold(first, args=(x,), remove=True).refused["0"]
