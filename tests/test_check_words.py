"""Of which network each sentence of `check` is, and what a shrunken copy may say (issue 12)."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lopsided import contradiction, countable, lopsided

import lawful as lw
from lawful import blocks as b
from lawful.graph.architecture.shrinking.likeness import comparisons, differing, doubts
from lawful.graph.questions import check as module
from lawful.graph.questions.check_report import CheckReport, acceptable

T = 16
MASKED = torch.zeros(T, T).masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf)


def thin(n: int) -> lw.Architecture:
    return lw.Architecture(b.Linear(4, n, False) >> b.LayerNormCore(n, 0.0) >> b.Linear(n, 3, False))


def test_a_wire_wider_than_its_vectors_stays_wider() -> None:
    """Sixty features that seven vectors span have 372 laws, which a narrow copy does not have."""
    arch = thin(60)
    small = arch.shrink()
    assert not differing(comparisons(arch), comparisons(small))
    counted = lw.count(small).laws
    assert counted > lw.derive(small).independent, "the vectors span less than the wire in the copy as well"
    found = lw.check(arch)
    assert found.copied and not found.complete and not found.lawful
    assert "NOT complete" in found.summary or "not complete" in found.summary
    assert "balance of 0" in found.summary, "the families are named"


def test_a_copy_with_other_widths_is_not_believed() -> None:
    """The same families and notes, but the vectors on the wire span it."""
    arch, small = thin(60), thin(6)
    assert doubts(arch, small, lw.derive(arch), lw.derive(small))


def test_without_an_affordable_copy_nothing_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 20)
    found = lw.check(thin(60))
    assert found.count is None and found.holds and not found.complete
    assert found.verdict is lw.Verdict.UNDECIDED
    assert "its smallest copy has" in found.summary and "complete" not in found.summary


def test_a_copy_that_does_not_speak_says_nothing_about_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "doubts", lambda *args: ["a reason"])
    found = lw.check(b.Linear(30, 20) >> b.ReLU() >> b.Linear(20, 30), countable=10)
    assert found.copied and not found.complete and found.verdict is lw.Verdict.UNDECIDED
    assert "was not counted, and the copy does not speak for it: a reason" in found.summary


def attention(core: b.Block, width: int = 12, fourth: str = "") -> b.Net:
    nodes: dict[str, b.Net] = {n: b.Linear(width, width) for n in "qkvo"} | {"core": core}
    wires: dict[str, tuple[str, ...]] = {n: ("input:0",) for n in "qkv"}
    if fourth == "table":
        nodes["table"] = b.Table(9, core.heads)  # type: ignore[attr-defined]
        wires["table"] = ()
    wires |= {"core": ("q", "k", "v", fourth) if fourth else ("q", "k", "v"), "o": ("core",)}
    return b.Wiring(nodes, wires, ("o",))


GENERATOR = torch.Generator().manual_seed(0)
BAND = b.Numbers((torch.arange(T)[:, None] - torch.arange(T)).clamp(-4, 4) + 4)
CORES: dict[str, tuple[b.Block, str, int]] = {
    "masked": (b.DotProductAttention(3, masked=True), "input:1", T),
    "masked, one row": (b.DotProductAttention(3, masked=True), "input:1", 1),
    "fixed mask": (b.DotProductAttention(3, mask=b.Numbers(torch.randn(T, T, generator=GENERATOR))), "", 0),
    "mask per head": (b.DotProductAttention(3, mask=b.Numbers(torch.randn(3, T, T, generator=GENERATOR))), "", 0),
    "causal": (b.DotProductAttention(3, mask=b.Numbers(MASKED)), "", 0),
    "given rows": (b.DotProductAttention(3, relative="given", rows=9, index=BAND), "table", 0),
}


@pytest.mark.parametrize("name", CORES)
def test_fixed_numbers_shrink_with_the_tokens(name: str) -> None:
    core, fourth, rows = CORES[name]
    inputs = [b.Signal(12, (T,))] + ([b.Signal(T, (rows,))] if rows else [])
    arch = lw.Architecture(attention(core, fourth=fourth), input=inputs)
    small = arch.shrink()
    assert small.inputs[0].space == (4,)
    assert sum(p.size for p in small.parameters.values()) < 200
    found = lw.check(arch)
    assert found.lawful and found.copied and found.own_report is not None, found.summary


def test_offsets_shrink_with_what_they_are_added_to() -> None:
    net = b.Linear(20, 30) >> b.AddNumbers(b.Numbers(torch.randn(T, 30, generator=GENERATOR))) >> b.Linear(30, 20)
    found = lw.check(lw.Architecture(net, input=b.Signal(20, (T,))))
    assert found.findings and "the rules meet the same limits" in found.summary, found.summary


def test_a_copy_that_does_not_run_is_not_counted() -> None:
    """Fixed numbers of their own cannot be cut, so no copy is small."""
    numbers = b.Given(b.Numbers(torch.randn(12, 12, generator=GENERATOR)), b.Signal(12, (12,)))
    nodes = {"in": b.Linear(30, 12), "numbers": numbers, "add": b.Add(), "out": b.Linear(12, 90)}
    wires = {"in": ("input",), "numbers": (), "add": ("in", "numbers"), "out": ("add",)}
    found = lw.check(lw.Architecture(b.Wiring(nodes, wires, ("out",)), input=b.Signal(30, (12,))))
    assert found.holds and not found.complete and found.verdict is lw.Verdict.UNDECIDED
    assert "not counted: " in found.summary or "was not counted" in found.summary


def test_both_networks_are_verified_and_named() -> None:
    found = lw.check(b.Linear(30, 20) >> b.ReLU() >> b.Linear(20, 30))
    lines = found.summary.splitlines()
    assert lines[1].startswith("verified on the network itself: every law, ")
    assert lines[2].startswith("verified on its shrunken copy of ")
    assert lines[3].startswith("counted on its shrunken copy, ")
    assert lines[4] == "complete for the copy: no law is missing"
    assert lines[5].startswith("the network itself was not counted; the copy speaks for it: ")
    assert found.lawful and len(lines) == 6


def test_a_false_law_of_the_copy_is_seen_though_those_of_the_network_hold() -> None:
    found = lw.check(b.Linear(30, 20) >> b.ReLU() >> b.Linear(20, 30))
    false = dataclasses.replace(found.small_report.laws[0], verdict=lw.Verdict.VIOLATED)
    again = dataclasses.replace(found, small_report=lw.Report((false,)))
    assert not again.holds and again.verdict is lw.Verdict.VIOLATED


def test_laws_that_were_not_verified_are_not_acceptable() -> None:
    found = lw.check(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2))
    assert acceptable(found.report, found.laws)
    assert not acceptable(lw.Report(()), found.laws)
    empty: CheckReport = dataclasses.replace(found, own_report=None, small_report=None)
    assert not empty.holds


def test_notes_are_never_plainly_complete() -> None:
    net = b.Linear(3, 4) >> b.frozen(b.Linear(4, 4)) >> b.Linear(4, 3)
    found = lw.check(net)
    assert found.laws.notes
    assert "complete: no law is missing" not in found.summary


def test_a_module_is_traced() -> None:
    small = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    found = lw.check(small, args=(torch.randn(5, 3),))
    assert found.lawful and "verified on the traced network: every law" in found.summary
    large = torch.nn.Sequential(torch.nn.Linear(40, 50), torch.nn.ReLU(), torch.nn.Linear(50, 2))
    found = lw.check(large, args=(torch.randn(5, 40),))
    assert found.lawful and found.copied and "the copy speaks for it" in found.summary
    with pytest.raises(ValueError, match="example inputs"):
        lw.check(small)


def _never_contradicts(arch: lw.Architecture, loss: str) -> None:
    assume(countable(arch))
    assert not (found := contradiction(arch, loss)), found


CALM = dict(deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True)


@settings(max_examples=10, **CALM)
@given(lopsided(), st.sampled_from(("mse", "cross_entropy")))
def test_a_copy_never_contradicts_its_network(arch: lw.Architecture, loss: str) -> None:
    _never_contradicts(arch, loss)


@pytest.mark.nightly
@settings(max_examples=100, **CALM)
@given(lopsided(), st.sampled_from(("mse", "cross_entropy")))
def test_many_copies_never_contradict_their_networks(arch: lw.Architecture, loss: str) -> None:
    _never_contradicts(arch, loss)


def test_a_copy_keeps_which_frozen_maps_are_wider_than_what_they_read() -> None:
    """A frozen 5 x 2 matrix leaves directions that it never writes; its copy of 2 x 2 had none, and was complete."""

    def low(features: int, width: int) -> b.Net:
        return b.Linear(features, 1, False) >> b.Linear(1, width, False)

    maps = [b.parallel(b.frozen(b.Linear(m, n, False)), low(m, n)) for m, n in ((2, 5), (5, 7))]
    arch = lw.Architecture(b.Linear(3, 2, False) >> maps[0] >> maps[1] >> b.Linear(7, 3, False) >> b.Linear(3, 3))
    assert lw.count(arch, "cross_entropy").laws == 16
    found = lw.check(arch, "cross_entropy", countable=0)
    assert not found.complete and found.count is not None and found.count.laws == 16


def test_a_copy_keeps_what_all_frozen_maps_leave_of_a_wire() -> None:
    """3 features that a frozen map reads and 3 that another writes leave one of 7; its copy had 5, and was complete."""

    def beside(fixed: tuple[int, int], low: int) -> b.Net:
        m, n = fixed
        return b.parallel(b.frozen(b.Linear(m, n, False)), b.Linear(m, low, False) >> b.Linear(low, n, False))

    net = b.Linear(1, 3) >> beside((3, 7), 1) >> beside((7, 3), 2) >> b.Pointwise("gelu") >> b.Linear(3, 2, False)
    arch = lw.Architecture(net, input=b.Signal(1, (3,)))
    assert lw.count(arch).laws == 5
    assert not contradiction(arch, "mse")


class Packed(torch.nn.Module):
    """A recurrent layer on sequences of their own lengths, which are numbers and no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.out = torch.nn.GRU(3, 2, batch_first=True), torch.nn.Linear(2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lengths = torch.tensor([4, 3, 2])
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return self.out(self.memory(packed)[1][-1])


def test_what_does_not_run_without_its_module_is_derived_and_said() -> None:
    """It was refused with an error, though `derive` and `verify` answer."""
    report = lw.check(Packed(), args=(torch.randn(3, 4, 3),))
    assert report.verdict is lw.Verdict.UNDECIDED and not report.complete
    assert "does not run by itself" in str(report) and "Signal(" not in str(report)


@pytest.mark.parametrize(
    ("model", "args"),
    [
        (torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)).eval(), (6, 3)),
        (torch.nn.Sequential(torch.nn.Embedding(7, 4, padding_idx=0), torch.nn.Linear(4, 2)), (4, 3)),
    ],
    ids=["a fresh BatchNorm", "rows for padding"],
)
def test_a_list_that_is_right_and_too_short_says_so(model: torch.nn.Module, args: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(args) if args == (6, 3) else torch.randint(0, 7, args)
    found = lw.check(model, args=x)
    assert found.verdict is lw.Verdict.UNDECIDED and found.difference > 0
    assert f"correct but not complete: the count sees {found.difference} more laws than are listed" in found.summary
    assert f"the list lacks {found.difference} laws" in found.outcome and "finding" not in str(found)
