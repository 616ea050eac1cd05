"""What tracing gets wrong is set apart and said: no fault of ours refuses a module, and none gives a false law."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.graph.tracing import attempt, lowering
from lawful.graph.tracing.context import HANDLERS
from lawful.graph.tracing.quarantine import REPORT

X = torch.randn(5, 3)
IMAGE = torch.randn(4, 3, 5, 5)


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.c(F.leaky_relu(self.b(F.leaky_relu(self.a(x)))))


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)

    def forward(self, x):
        return self.c(F.leaky_relu(self.b(F.leaky_relu(self.a(x)))).mean((2, 3)))


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(2, 2)

    def forward(self, x):
        one, two = self.a(x).chunk(2, -1)
        return self.c(F.leaky_relu(one) + F.leaky_relu(two)), self.b(one)


def faults(laws: lw.LawSet) -> list[str]:
    return [n for n in laws.notes if REPORT in n]


def derived(module: nn.Module, *args: torch.Tensor, most: int | None = None) -> lw.LawSet:
    """The laws of a module, of which none may be false."""
    outputs = len(lw.trace(module, *args).outputs)
    loss = ["mse"] * outputs if outputs > 1 else "mse"
    laws = lw.derive(module, loss, args=args)
    if len(laws):
        assert laws.verify(module, args=args).verdict is lw.Verdict.HOLDS
    if most is not None:
        assert laws.exact_independent <= most
    return laws


def broken(monkeypatch: pytest.MonkeyPatch, name: str, change) -> None:
    """Puts a wrong handler in the place of the one of an operation."""
    right = HANDLERS[name]
    monkeypatch.setitem(HANDLERS, name, lambda low, node, *args, **kwargs: change(right, low, node, *args, **kwargs))


def first_only(wrong):
    """A handler that is wrong at its first call."""
    seen = set()

    def change(right, low, node, *args, **kwargs):
        seen.add(node.name)
        if node.name == min(seen, key=len):
            return wrong(right, low, node, *args, **kwargs)
        return right(low, node, *args, **kwargs)

    return change


def dropped(right, low, node, x, *rest, **kwargs):
    """What a call reads, instead of what it gives."""
    return low.stream(x, node)


def doubled(right, low, node, x, *rest, **kwargs):
    from lawful.graph.tracing.steps.arithmetic import times

    return times(low, node, low.stream(right(low, node, x, *rest, **kwargs), node), 2.0)


def raising(right, low, node, *args, **kwargs):
    raise StopIteration("no more")


def other_shape(right, low, node, x, *rest, **kwargs):
    y = low.stream(right(low, node, x, *rest, **kwargs), node)
    return y.arranged((y.dims[-1], *y.dims[:-1]))


@pytest.mark.parametrize("wrong", [dropped, doubled, other_shape])
def test_a_wrong_value_sets_its_call_apart(monkeypatch: pytest.MonkeyPatch, wrong):
    broken(monkeypatch, "leaky_relu", first_only(wrong))
    laws = derived(Chain(), X)
    (note,) = faults(laws)
    assert note.startswith("leaky_relu in the module (Chain)") and "rebuilt wrongly" in note
    assert laws.independent == 4  # b against c, across the other ReLU


def test_a_note_is_in_every_summary(monkeypatch: pytest.MonkeyPatch):
    broken(monkeypatch, "leaky_relu", first_only(doubled))
    arch = lw.trace(Chain(), X)
    assert REPORT in arch.trace.summary and "1 opaque operation, which hides" in arch.trace.summary
    assert "agrees with the module" in arch.trace.summary and arch.trace.opaque[0].op.startswith("leaky_relu")
    laws = lw.derive(Chain(), args=(X,))
    assert "2 notes" in str(laws) and any("8 laws are counted, and 4" in note for note in laws.gaps)


def test_a_wrong_gradient_sets_its_call_apart(monkeypatch: pytest.MonkeyPatch):
    from lawful.blocks import ReLU

    right = ReLU.forward

    def forward(self, p, x, run):
        return right(self, p, [x[0].detach()], run) if self.slope == 0.25 else right(self, p, x, run)

    monkeypatch.setattr(ReLU, "forward", forward)
    module = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.25), nn.Linear(4, 4), nn.LeakyReLU(0.5), nn.Linear(4, 2))
    laws = derived(module, X)
    (note,) = faults(laws)
    assert note.startswith("leaky_relu in 1 (LeakyReLU)") and laws.independent == 4


def test_a_wrong_convolution_hides_its_own_parameters_only(monkeypatch: pytest.MonkeyPatch):
    broken(monkeypatch, "conv2d", first_only(doubled))
    laws = derived(Convolutions(), IMAGE)
    (note,) = faults(laws)
    assert "hides 112 parameters" in note and laws.independent == 4
    assert not any(name.startswith("a.") for law in laws for name in law.parameters)


def as_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tracing from reading the rows of an input as positions of one example, where other handlers stand."""
    monkeypatch.setattr(sys.modules["lawful.graph.tracing.trace"], "_single", lambda *_: False)


def test_pieces_of_a_tuple_go_together(monkeypatch: pytest.MonkeyPatch):
    as_a_batch(monkeypatch)

    def swapped(right, low, node, *args, **kwargs):
        return tuple(reversed(right(low, node, *args, **kwargs)))

    right = derived(Parts(), X).independent
    broken(monkeypatch, "chunk", swapped)
    laws = derived(Parts(), X)
    assert len(faults(laws)) == 1 and laws.independent <= right


def test_an_exception_of_any_kind_is_no_crash(monkeypatch: pytest.MonkeyPatch):
    broken(monkeypatch, "leaky_relu", raising)
    laws = derived(Chain(), X)
    assert laws.independent == 8  # what it does to every feature is seen in its numbers


def test_what_no_opaque_block_can_be_is_taken_with_its_surroundings(monkeypatch: pytest.MonkeyPatch):
    from lawful.graph.tracing import opaque, regions

    right = regions.emit_opaque

    def emit(low, node, *args, **kwargs):
        if kwargs.get("gives") is not None and node.name == "leaky_relu":
            raise lowering.NotUnderstood("no port for it")
        return right(low, node, *args, **kwargs)

    monkeypatch.setattr(regions, "emit_opaque", emit)
    monkeypatch.setattr(opaque, "emit_opaque", emit)
    broken(monkeypatch, "leaky_relu", first_only(doubled))
    laws = derived(Chain(), X)
    (note,) = faults(laws)
    assert "calls that end here" in note and not len(laws)  # with both maps around it


def test_in_the_last_resort_the_whole_forward_is_one_function(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attempt, "first_fault", lambda *_: None)
    broken(monkeypatch, "leaky_relu", first_only(doubled))
    laws = derived(Chain(), X)
    (note,) = faults(laws)
    assert "the whole forward" in note and not len(laws)


def test_an_architecture_that_cannot_be_built_is_one_function(monkeypatch: pytest.MonkeyPatch):
    right = attempt.make_opaque

    def failing(builder, *args):
        if len(builder.blocks) > 1:
            raise KeyError("a wire")
        return right(builder, *args)

    monkeypatch.setattr(attempt, "make_opaque", failing)
    laws = derived(Chain(), X)
    assert "the whole forward" in faults(laws)[0] and not len(laws)


def test_many_wrong_calls_end_soon(monkeypatch: pytest.MonkeyPatch):
    as_a_batch(monkeypatch)
    rounds = []
    right = attempt.first_fault
    monkeypatch.setattr(attempt, "first_fault", lambda *a: rounds.append(1) or right(*a))
    broken(monkeypatch, "linear", doubled)
    module = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(3, 3), nn.LeakyReLU(0.5))])
    laws = derived(module, X)
    assert faults(laws) and not len(laws) and len(rounds) <= 16


def test_what_works_is_lowered_and_compared_once(monkeypatch: pytest.MonkeyPatch):
    made = []
    right = attempt.Lowering
    monkeypatch.setattr(attempt, "Lowering", lambda *a: made.append(a) or right(*a))
    assert derived(Chain(), X).independent == 8 and all(not regions for _, regions, _ in made)
    assert len(made) == 2  # one in derive, one in the trace above
