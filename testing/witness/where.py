"""Where a gradient goes wrong: walking backwards, the first operation with a right gradient in and a wrong one out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from .own_backward import WRONG, OperatorFinding
from .resemblance import resemblance
from .sample import FLOOR, Sample, margin
from .tape import OwnCall, Place, Spot, Step, Tape, spots_in
from .torch_design import by_frequency
from .widths import EPS

CAUSES = ["a hook changes it", "what it saved was overwritten", "a checkpoint drew other numbers"]
AGAIN = "the checkpoint around it computes otherwise the second time (numbers drawn past torch, something that changed)"


@dataclass(frozen=True)
class Fault:
    """A place where a gradient goes wrong.

    Attributes:
        operation: its name.
        place: the module and the line.
        guess: what seems to be wrong.
        toward: what the wrong gradient is sent to: a parameter, or a value.
        step: number of the step.
        operator: the name of an operator that computes the identity.
        written: where the backward stands.
    """

    operation: str
    place: Place
    guess: str
    toward: str
    step: int
    operator: str = ""
    written: str = ""

    def __str__(self) -> str:
        return f"{self.operation}, {self.place}: the gradient that it sends to {self.toward} is wrong; {self.guess}"


def first_fault(sample: Sample, wrong: Sequence[str]) -> Fault | None:
    """The first place, walking backwards.

    A value whose wrong gradient comes from another wrong one behind it is no first place.

    Args:
        sample: the step.
        wrong: the parameters whose gradient is wrong.
    """
    tape = sample.tape
    keys = {name: (spot.key, spot.made) for name, spot in tape.leaves.values()}
    readers = _readers(sample)
    bad: dict[Value, tuple[str, torch.Tensor | None, torch.Tensor]] = {}
    for made, (own, true) in sample.wires.items():
        if _wrong(own, true, sample, made) and not _goes_on_inside(tape, made, readers):
            bad[_result(tape.steps[made[0]], made[1]).key, made] = (_called(sample, made), own, true)
    explained: set[Value] = set()
    for value in bad:
        explained |= _behind(sample, value) - {value}
    for name in wrong:
        true_gradient = sample.cut.get(name)
        if name in keys and true_gradient is not None:
            bad[keys[name]] = (name, sample.own.get(name), true_gradient)
    roots = [v for v in bad if v not in explained] or list(bad)
    found = [_fault(sample, readers[v], v, *bad[v]) for v in roots if v in readers]
    return max(found, key=lambda f: f.step, default=None)


Value = tuple[int, tuple[int, int] | None]


def _goes_on_inside(tape: Tape, made: tuple[int, int], readers: Mapping[Value, Sequence[int]]) -> bool:
    """Whether what a user's operator gives is also read inside of it, where backward shows nothing."""
    step = tape.steps[made[0]]
    inside = {n for n in step.own if not tape.calls[n].by_torch}
    reading = readers.get((_result(step, made[1]).key, made), ())
    return bool(inside) and any(inside & set(tape.steps[r].own) for r in reading)


def _behind(sample: Sample, value: Value) -> set[Value]:
    """All values that a value was made of, itself included."""
    found: set[Value] = set()
    open_ = [value]
    while open_:
        one = open_.pop()
        if one in found:
            continue
        found.add(one)
        if one[1] is not None:
            step = sample.tape.steps[one[1][0]]
            open_ += [(s.key, s.made) for s in _all(step)]
    return found


def _fault(
    sample: Sample, steps: Sequence[int], value: Value, toward: str, own: torch.Tensor | None, true: torch.Tensor
) -> Fault:
    """The fault of one of the steps that read a value, of which one with a backward of its own is the likeliest."""
    tape = sample.tape
    special = [n for n in steps if any(not tape.calls[c].by_torch for c in tape.steps[n].own) or tape.steps[n].whole]
    number = (special or list(steps))[-1]
    step, guess = tape.steps[number], resemblance(own, true, EPS.get(sample.width, 1e-2))
    plain = not special and step.name.startswith("aten.")
    behind = _wrong_behind(sample, value) if plain else []
    if behind:  # an operator that gives back what it gets is no step, and inside of a checkpoint no wire is heard
        f, call = max(behind, key=lambda found: found[0].step)
        nothing_else = f.operator if call.first == call.last else ""
        what, at = f"the backward of {f.operator}", call.written
        return Fault(what, f.place, f.guess, toward, f.step, operator=nothing_else, written=at)
    if by_frequency(step) and "bag" in step.name:
        guess += "; the backward of EmbeddingBag divides by the counts of other rows (torch, on the CPU)"
    elif plain:
        writer = _overwritten(tape, number)
        causes = [f"what it saved was overwritten ({writer})"] if writer else CAUSES[: 3 if tape.draws else 2]
        causes = [AGAIN] if number in tape.again and not writer else causes
        causes = [f"{CAUSES[0]} ({hook})"] if (hook := _hook(tape, toward, step)) and not writer else causes
        guess += f"; its own formula is right, so {' or '.join(causes)}"
    inside = [n for n in step.own if not tape.calls[n].by_torch]
    at = _written(sample, inside[0] if inside else None)
    return Fault(_name(sample, number), _outer(sample.tape, step), guess, toward, _end(sample, number), written=at)


def _hook(tape: Tape, toward: str, step: Step) -> Place | None:
    """The hook that a parameter has, or else a module: that of the step first."""
    if toward in tape.hooks:
        return tape.hooks[toward][0]
    parts = {n for n, _ in tape.leaves.values()}
    of_modules = [n for n in tape.hooks if n not in parts]
    return next((tape.hooks[n][0] for n in sorted(of_modules, key=lambda n: n != step.place.module)), None)


def _overwritten(tape: Tape, number: int) -> Place | None:
    """Where something later writes into what a step read or gave, without autograd knowing it."""
    step = tape.steps[number]
    keys = {s.key for s in (*_all(step), *step.results.values())}
    for later in tape.steps[number + 1 :]:
        for spot in filter(None, later.writes):
            if spot.key in keys and not (later.alive and spot.alive and not later.own):
                return _outer(tape, later)
    return None


def _wrong_behind(sample: Sample, value: Value) -> list[tuple[OperatorFinding, OwnCall]]:
    """Operators with a wrong backward, not meant to be so, that read a value or what is made of it."""
    found = []
    for f in sample.operators:
        if f.verdict is WRONG and f.how != "writes" and f.call is not None and f.call not in sample.excused:
            call = sample.tape.calls[f.call]
            reads = {(s.key, s.made) for s in call.spots.values() if s.key == f.key}
            if any(value in _behind(sample, r) for r in reads):
                found.append((f, call))
    return found


def _written(sample: Sample, call: int | None) -> str:
    return "" if call is None else sample.tape.calls[call].written


def _outer(tape: Tape, step: Step) -> Place:
    """Where the operator was called that a step runs inside of."""
    own = [tape.calls[n] for n in step.own if not tape.calls[n].by_torch]
    return own[0].place if own else step.place


def _end(sample: Sample, number: int) -> int:
    own = [sample.tape.calls[n] for n in sample.tape.steps[number].own if not sample.tape.calls[n].by_torch]
    return own[0].last - 1 if own else number


def _name(sample: Sample, number: int) -> str:
    step = sample.tape.steps[number]
    own = [sample.tape.calls[n] for n in step.own if not sample.tape.calls[n].by_torch]
    return f"the backward of {own[0].function.__name__}" if own else step.name


def _called(sample: Sample, made: tuple[int, int]) -> str:
    step = sample.tape.steps[made[0]]
    return f"the result of {_name(sample, made[0])} ({step.place})"


def _result(step: Step, number: int) -> Spot:
    return [*step.results.values(), *filter(None, step.writes)][number]


def _wrong(own: torch.Tensor, true: torch.Tensor, sample: Sample, made: tuple[int, int]) -> bool:
    """Whether what backward sent is further from what it should be than rounding takes it."""
    eps = EPS.get(sample.width, 1e-2)
    noise = margin(sample.width) * sample.loud.get(made, 0.0)
    bound = noise + max(FLOOR * eps, 1e-7) * float(true.norm()) + eps * sample.scale
    return not float((own - true).norm()) <= bound


def _readers(sample: Sample) -> dict[tuple[int, tuple[int, int] | None], list[int]]:
    """The steps that read each value, by its storage and what made it."""
    found: dict[tuple[int, tuple[int, int] | None], list[int]] = {}
    for i, step in enumerate(sample.tape.steps):
        for spot in _all(step):
            found.setdefault((spot.key, spot.made), []).append(i)
    return found


def _all(step: Step) -> Iterator[Spot]:
    yield from spots_in((step.args, step.kwargs))


__all__ = ["Fault", "first_fault"]
