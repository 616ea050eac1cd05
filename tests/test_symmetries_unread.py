"""A parameter that the example reads a part of: what leaves the function alone here may change it at longer inputs."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lawful as lw

LONGEST, SHORT, WIDTH = 8, 6, 12


class Blocks(nn.Module):
    """Words with learned positions, one MLP on a stream, a norm, a head; how positions are read is given."""

    def __init__(self, positions: Callable[[nn.Module, int], Tensor], norm: type[nn.Module] = nn.LayerNorm) -> None:
        super().__init__()
        self.e, self.table = nn.Embedding(13, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.pos, self.cls = nn.Parameter(torch.randn(1, LONGEST, WIDTH)), nn.Parameter(torch.randn(1, 1, WIDTH))
        self.n, self.a, self.c = norm(WIDTH), nn.Linear(WIDTH, 20), nn.Linear(20, WIDTH)
        self.nf, self.head, self.positions = norm(WIDTH), nn.Linear(WIDTH, 13), positions

    def forward(self, ids: Tensor) -> Tensor:
        x = self.e(ids) + self.positions(self, ids.shape[1])
        x = x + self.c(F.gelu(self.a(self.n(x))))
        return self.head(self.nf(x))


READ = {
    "a slice": lambda m, t: m.pos[:, :t],
    "a slice from the end": lambda m, t: m.pos[:, LONGEST - t :],
    "a narrow": lambda m, t: m.pos.narrow(1, 0, t),
    "rows by number": lambda m, t: m.table(torch.arange(t)),
    "rows of the weight": lambda m, t: m.table.weight[:t],
    "class token and slice": lambda m, t: torch.cat([m.cls, m.pos[:, 1:t]], 1),
    "two tables": lambda m, t: m.pos[:, :t] + m.table(torch.arange(t)),
}


def off(model: nn.Module, other: nn.Module, ids: Tensor) -> float:
    with torch.no_grad():
        return float((model(ids) - other(ids)).abs().max() / model(ids).abs().max())


CASES = [(name, nn.LayerNorm) for name in READ] + [("a slice", nn.RMSNorm)]
LONG = ("a narrow", "rows of the weight", "two tables")  # of kinds that others show every day


@pytest.mark.parametrize(
    ("name", "norm"), [pytest.param(*c, marks=[pytest.mark.nightly] * (c[0] in LONG)) for c in CASES]
)
def test_the_whole_function_is_left_alone(name: str, norm: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = Blocks(READ[name], norm).double().eval()
    short, full = torch.randint(13, (2, SHORT)), torch.randint(13, (2, LONGEST))
    found = lw.symmetries(model, args=(short,))
    assert found.where("permutation")
    for s in found:
        moved = s.apply(model, s.random(torch.Generator().manual_seed(0)))
        assert off(model, moved, full) < 1e-9, s.name
    assert off(model, lw.balance(model, args=(short,)), full) < 1e-9
    assert off(model, lw.fold(model, args=(short,), remove=True).model, full) < 1e-9


def test_inputs_that_read_all_of_it_give_all_symmetries() -> None:
    torch.manual_seed(0)
    model = Blocks(READ["a slice"]).double().eval()
    some, all_ = (lw.symmetries(model, args=(torch.randint(13, (2, t)),)) for t in (SHORT, LONGEST))
    assert any("pos[:,6:8]" in note and "left out" in note for note in some.notes)
    assert all_.where("permutation", "pos") and not some.where(parameter="pos")
    refused = lw.fold(model, args=(torch.randint(13, (2, SHORT)),), remove=True).refused
    assert any("nothing reads pos[:,6:8] here" in why for why in refused.values())


class Gained(nn.Module):
    """Positions that scale the words: beside many words a difference of a few is small."""

    def __init__(self) -> None:
        super().__init__()
        self.e, self.pos, self.h = nn.Embedding(2000, 16), nn.Parameter(0.02 * torch.randn(8, 1)), nn.Linear(16, 5)

    def forward(self, i: Tensor) -> Tensor:
        return self.h(self.e(i) * (1 + self.pos[: i.shape[1]]))


@pytest.mark.parametrize("by", [1.0, 1e-3, 1e-6, 1e-9])
def test_models_that_differ_where_nothing_reads_are_not_the_same(by: float) -> None:
    torch.manual_seed(0)
    for model, cut in ((Blocks(READ["a slice"]), "pos[:,6:8]"), (Gained(), "pos[6:8]")):
        model = model.double().eval()
        other = copy.deepcopy(model)
        rows = other.pos.data[:, SHORT:] if other.pos.ndim == 3 else other.pos.data[SHORT:]
        rows += by
        short, full = torch.randint(13, (2, SHORT)), torch.randint(13, (2, LONGEST))
        found = lw.same_function(model, other, args=(short,))
        assert found.verdict == "undecided" and found.reason.startswith(f"{cut} differs"), found
        assert off(model, other, full) > 0
        assert lw.same_function(model, copy.deepcopy(model), args=(short,)).verdict == "holds"


@pytest.mark.parametrize(("dtype", "by"), [(torch.float64, 1e-9), (torch.float64, 1e-5), (torch.float32, 1e-3)])
def test_what_is_more_than_rounding_is_another_function(dtype: torch.dtype, by: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)
    other = copy.deepcopy(model)
    other[2].weight.data[3, 4] += by
    found = lw.symmetries(model, args=torch.randn(4, 5, dtype=dtype))
    assert lw.same_function(model, other, network=found).verdict == "violated"
    for s in found:
        moved = s.apply(model, s.random(torch.Generator().manual_seed(0)))
        assert lw.same_function(model, moved, network=found).verdict == "holds"
