"""Channels that are permuted on their way: symmetries act on the right columns, plain maps are not written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.theory.verdict import Verdict

Way = Callable[[torch.Tensor], torch.Tensor]
ORDER = [2, 0, 3, 1, 5, 4]
ROWS: dict[str, Way] = {
    "flip": lambda h: h.flip(-1),
    "roll": lambda h: h.roll(2, -1),
    "index": lambda h: h[..., ORDER],
    "index_select": lambda h: h.index_select(-1, torch.tensor(ORDER)),
    "shuffle": lambda h: h.unflatten(-1, (2, 3)).transpose(-1, -2).flatten(-2),
    "cat": lambda h: torch.cat([h[..., 3:], h[..., :3]], -1),
    "roll behind a flip": lambda h: h.flip(-1).roll(1, -1),
}
MAPS: dict[str, Way] = {
    "channel_shuffle": lambda h: nn.functional.channel_shuffle(h, 3),
    "flip": lambda h: h.flip(1),
    "roll": lambda h: h.roll(1, 1),
    "index": lambda h: h[:, ORDER],
}


class Rows(nn.Module):
    """A norm, and a hidden layer that one reader has in another order, the other one as it is."""

    def __init__(self, way: Way, plain: bool, norm: bool = False) -> None:
        super().__init__()
        self.way, self.plain, self.act = way, plain, nn.Identity() if norm else nn.ReLU()
        self.a: nn.Module = nn.RMSNorm(6) if norm else nn.Linear(6, 6)
        self.d, self.e = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.a(x))
        y: torch.Tensor = self.d(self.way(h))
        return torch.cat([y, self.e(h)], -1) if self.plain else y


class Maps(nn.Module):
    """The same with convolutions."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        self.way, self.a, self.d = way, nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.d(self.way(torch.relu(self.a(x))))
        return y


def refused(found: lw.Symmetries, mapping: dict[str, object]) -> None:
    """No exporter names the two modules, and the audit of their map says that outputs change."""
    assert all(s.verify().verdict is Verdict.HOLDS for s in found if "a.weight" in s.parameters)
    assert lw.export.awq(found) == [] and lw.export.smoothquant(found) == []
    assert not [g for g in lw.export.torch_pruning(found) if ["d", "prune_in_channels"] in g["group"]]
    assert "d.weight" not in lw.export.git_rebasin(found)["axes_to_perm"]
    (finding,) = lw.audit(mapping, found).findings
    assert finding.verdict is Verdict.VIOLATED and "another order" in finding.reason, finding


@pytest.mark.parametrize("name", [n for n in ROWS if n != "cat"])
@pytest.mark.parametrize("norm", [False, True])
def test_rows_in_another_order_have_no_map(name: str, norm: bool) -> None:
    torch.manual_seed(0)
    alone = lw.symmetries(Rows(ROWS[name], False, norm), args=(torch.randn(4, 6),))
    refused(alone, {"scale": "a", "compensate": ["d"]})


@pytest.mark.parametrize("name", ROWS)
def test_one_reader_in_another_order_is_enough(name: str) -> None:
    torch.manual_seed(0)
    found = lw.symmetries(Rows(ROWS[name], True), args=(torch.randn(4, 6),))
    assert lw.export.awq(found) == []
    for readers in (["d", "e"], ["d"], ["e"]):
        assert lw.audit({"scale": "a", "compensate": readers}, found).verdict is Verdict.VIOLATED


@pytest.mark.parametrize("name", MAPS)
def test_maps_in_another_order_have_no_map(name: str) -> None:
    torch.manual_seed(0)
    refused(lw.symmetries(Maps(MAPS[name]), args=(torch.randn(2, 3, 4, 4),)), {"scale": "a", "compensate": ["d"]})


def test_two_permutations_that_cancel_leave_the_map() -> None:
    torch.manual_seed(0)
    found = lw.symmetries(Rows(lambda h: h.flip(-1).flip(-1), True), args=(torch.randn(4, 6),))
    (entry,) = lw.export.awq(found)
    assert entry == {"smooth_layer": "a", "balance_layers": ["d", "e"]} or set(entry["balance_layers"]) == {"d", "e"}
    assert lw.audit(entry, found).verdict is Verdict.HOLDS
    assert {"a", "d", "e"} <= {m for g in lw.export.torch_pruning(found) for m, _ in g["group"]}


def test_channels_in_blocks_behind_a_flatten_keep_their_map_and_flipped_ones_do_not() -> None:
    for way, wanted in ((lambda h: h, 1), (lambda h: h.flip(1), 0), (lambda h: h.flip(2), 1)):
        torch.manual_seed(0)

        class Flat(nn.Module):
            def __init__(self, way: Way = way) -> None:
                super().__init__()
                self.way, self.a, self.d = way, nn.Conv2d(2, 3, 1), nn.Linear(12, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                y: torch.Tensor = self.d(self.way(torch.relu(self.a(x))).flatten(1))
                return y

        found = lw.symmetries(Flat(), args=(torch.randn(5, 2, 2, 2),))
        assert len(lw.export.awq(found)) == len(lw.export.torch_pruning(found)) == wanted


def test_rotations_of_features_in_another_order_are_not_written() -> None:
    class Turned(nn.Module):
        def __init__(self, way: Way) -> None:
            super().__init__()
            self.way = way
            self.q, self.k, self.v, self.o = (nn.Linear(6, 6, bias=False) for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weights = (self.q(x) @ self.k(x).transpose(-1, -2)).softmax(-1)
            y: torch.Tensor = self.o(self.way(weights @ self.v(x)))
            return y

    for way, wanted in ((lambda h: h, 1), (ROWS["flip"], 0), (ROWS["index"], 0), (ROWS["shuffle"], 0)):
        found = lw.symmetries(Turned(way), args=(torch.randn(2, 3, 6),))
        assert len(lw.export.rotation_maps(found)["R2"]) == wanted
        assert len(lw.export.awq(found)) == wanted


def test_what_awq_writes_is_what_these_tools_do() -> None:
    """Row `i` is divided and column `i` multiplied, by hand."""
    torch.manual_seed(0)
    model, x = Rows(lambda h: h, True), torch.randn(4, 6)
    (entry,) = lw.export.awq(lw.symmetries(model, args=(x,)))
    start, s = model(x), torch.rand(6) + 0.5
    with torch.no_grad():
        a = model.get_submodule(entry["smooth_layer"])
        a.weight.div_(s[:, None]), a.bias.div_(s)
        for name in entry["balance_layers"]:
            model.get_submodule(name).weight.mul_(s)
    assert torch.allclose(model(x), start, atol=1e-5)
