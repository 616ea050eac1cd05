"""Folds of streams that an adversary wrote: LayerNorms that write what others read, gains before norms, both modes."""

import pytest
import torch
from torch import nn

import lawful as lw


class Joined(nn.Module):
    """A norm in front of a stream that a LayerNorm reads, with a second one that is added to it."""

    def __init__(self, first: nn.Module, added: bool) -> None:
        super().__init__()
        self.stem, self.first, self.body = nn.Linear(5, 6), first, nn.Linear(6, 6)
        self.read, self.post, self.head = nn.LayerNorm(6), nn.LayerNorm(6), nn.Linear(6, 3)
        self.added = added

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.first(self.stem(x))
        branch = self.body(self.read(z)).relu()
        out: torch.Tensor = self.head(self.read(z + (self.post(branch) if self.added else branch)))
        return out


class Gain(nn.Module):
    """A gain of its own before whatever comes."""

    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.randn(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.g


FIRST = {
    "LayerNorm": lambda: nn.LayerNorm(6),
    "RMSNorm": lambda: nn.RMSNorm(6),
    "GroupNorm": lambda: nn.GroupNorm(2, 6),
    "BatchNorm": lambda: nn.BatchNorm1d(6),
    "gain": Gain,
    "nothing": nn.Identity,
    "without parameters": lambda: nn.LayerNorm(6, elementwise_affine=False),
}


def gap(a: nn.Module, b: nn.Module, *args: torch.Tensor) -> float:
    with torch.no_grad():
        x, y = a(*args), b(*args)
    return float((x - y).abs().max() / x.abs().max())


def stirred(model: nn.Module) -> nn.Module:
    """Gains, shifts and statistics that are not those of the start."""
    torch.manual_seed(1)
    for n, t in (*model.named_parameters(), *model.named_buffers()):
        if t.is_floating_point() and t.ndim == 1:
            nn.init.uniform_(t, 0.4, 1.8) if "bias" not in n else nn.init.normal_(t)
    return model.double().eval()


@pytest.mark.parametrize("remove", [False, True])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("first", FIRST)
def test_what_is_folded_computes_the_same(first: str, added: bool, remove: bool) -> None:
    model, x = stirred(Joined(FIRST[first](), added)), torch.randn(7, 5, dtype=torch.float64)
    found = lw.fold(model, args=(x,), remove=remove)
    assert gap(model, found.model, x) < 1e-12 and (found.done or found.refused)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("first", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("training", [False, True])
def test_a_folded_transformer_runs_in_both_modes(training: bool, first: bool) -> None:
    layer = nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True, norm_first=first)
    model, x = stirred(nn.TransformerEncoder(layer, 2, nn.LayerNorm(6))), torch.randn(2, 4, 6, dtype=torch.float64)
    found = lw.fold(model.train(training), args=(x,), remove=True).model
    for mode in (True, False):
        assert gap(model.train(mode), found.train(mode), x) < 1e-12
