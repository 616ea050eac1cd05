"""What the witnesses say about every trainable parameter of a module.

This file is long because every verdict is a sentence, and the sentences stand beside what decides between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from .own_backward import AGREES, DESIGN, OPEN, WRONG, OperatorFinding
from .sample import Sample
from .tape import Stop, spots_in
from .torch_design import by_torch
from .where import Fault, first_fault

STRAIGHT = "a straight-through estimator: no gradient, by design"
STARTED = "started by the first call from its inputs, so that the second one is tested"
STOPPED = "its gradient stops where it is declared to"
UNREAD = "the forward never reads it in a kernel of torch (item() and numpy() are none)"
ASIDE = "it gets no gradient (None): no kernel of torch leads from it to what is returned (numpy() and item() are none)"
STILL = "its gradient is zero everywhere: nothing that the loss sees depends on it"
ROUNDING = "its gradient is smaller than the rounding of the others, so that nothing can tell whether it is right"
IDLE = "no output moves with it: what follows gives the same for any value of it (as a norm of a single number does)"
UNLIKE = "its gradient is not the slope of the loss"
WHOLE = "gradients were compared with finite differences of the whole loss, along random directions, to 1e-3"
NEARLY = 1e-4  # relative, of a gradient that is right but for an iteration that stops
UNROLLED = 1e-2  # the same, where it is far from what autograd saw
ROUGH = "so little is what an iteration that stops, an adjoint in steps, or another approximation leaves"
LONGER = "right for the inputs that were given; wrong with one example more in the batch"
STALE = "right in a first step; wrong in a second one, with other weights: is something stale?"
SPOILS = "writes into its gradient, which is wrong as soon as another branch reads that later"
LAWS, REFERENCE, DERIVATIVE, REACH = "laws", "reference", "derivative", "reach"
SAYS = {
    "layouts": "depends on how the gradient lies in memory",
    "scales": "is wrong for a gradient of another size",
    "straight": "is not that of a straight-through estimator either",
}
IN_GENERAL = {
    "layouts": "right for gradients as they come here; wrong behind a transpose, a cat or a sum, which hand it others",
    "scales": "right for gradients as they come here; wrong for a loss that is divided, scaled or added to another one",
}
REMOVED = "what follows lets nothing through (a norm, a softmax, units that are off): its gradient is rightly zero"
UNSEEN = "the outputs move with it, but the loss does not see how: its gradient is zero, as it should be"


@dataclass
class ParameterFinding:
    """What is known about the gradient of one parameter.

    Attributes:
        name: of the parameter.
        vouched: the witnesses that say that it is right.
        against: what contradicts, by witness.
        error: relative size of its error, where it is wrong, or of the part that it lacks.
        stops: where gradients stop, so that it gets only a part of its own; that may be meant.
        missing: whether it gets no gradient at all because of them.
        notes: what else is to be said: a gradient that is none by design, an effect that what follows removes.
        untested: why no witness can speak; empty where one does.
    """

    name: str
    vouched: set[str] = field(default_factory=set)
    against: dict[str, str] = field(default_factory=dict)
    error: float = 0.0
    stops: list[Stop] = field(default_factory=list)
    missing: bool = False
    notes: list[str] = field(default_factory=list)
    untested: str = ""

    @property
    def known(self) -> bool:
        """Whether there is something to say about it: that it gets some gradient is not enough."""
        return bool(self.vouched - {REACH} or self.against or self.stops or self.notes)


@dataclass
class Judgement:
    """All findings, and the first wrong place.

    Attributes:
        parameters: what is known about each.
        fault: the first wrong place.
        notes: what else is to be said.
        unknown: why there is no reference.
        rough: the largest relative error, where gradients are wrong by little.
    """

    parameters: dict[str, ParameterFinding]
    fault: Fault | None = None
    notes: list[str] = field(default_factory=list)
    unknown: str = ""
    rough: float = 0.0


def judge(
    samples: Sequence[Sample],
    matrices: dict[str, int],
    padded: dict[str, tuple[int, ...]],
    by_design: Sequence[str] = (),
) -> Judgement:
    """Puts together what the samples say.

    Args:
        samples: steps at different parameters and inputs.
        matrices: rank of every trainable parameter.
        padded: rows that tables declare as padding, by parameter.
        by_design: names of operators, modules or lines whose gradient is meant not to be the derivative.
    """
    found = Judgement({n: ParameterFinding(n) for n in matrices})
    known = [s for s in samples if not s.unknown]
    found.unknown = next((s.unknown for s in samples if s.unknown), "") if not known else ""
    for sample in known:
        before = {n for n, p in found.parameters.items() if p.against}
        _reference(sample, found)
        if not before and any(p.against for p in found.parameters.values()):
            if sample.longer:
                found.notes.append(LONGER)
            elif sample.second:
                found.notes.append(STALE)
        if sample.started and (note := f"{STARTED}: {', '.join(sample.started[:6])}") not in found.notes:
            found.notes.append(note)
        for name, size in sample.past.items():
            one = found.parameters[name]
            one.stops += [s for s in sample.leaving if s not in one.stops]
            one.error = max(one.error, size)
        _padding(sample, found, padded)
        _operators(sample, found, by_design)
        found.notes += [n for n in by_torch(sample.tape) if n not in found.notes]
    if not known:
        _followed(samples, found)
    if found.rough:
        enough = 10.0 ** math.ceil(math.log10(2 * found.rough))
        found.notes.append(f"{ROUGH}: if it is meant, pass tolerance={enough:.0e}")
    _mute(known, found)
    for one in found.parameters.values():
        if one.against or one.stops:
            one.vouched.clear()
        if STRAIGHT in one.notes:
            one.vouched.discard(REFERENCE)
    _reach(samples, known, found, matrices)
    return found


def _reference(sample: Sample, found: Judgement) -> None:
    wrong = []
    for name, one in found.parameters.items():
        if sample.fits(name, sample.true):
            if sample.moved(name):
                one.vouched.add(REFERENCE)
        elif sample.fits(name, sample.meant):
            kind = STOPPED if sample.declared else STRAIGHT
            if kind not in one.notes:
                one.notes.append(kind)
        elif sample.fits(name, sample.cut):
            _lacks(sample, name, one, found)
        else:
            wrong.append(name)
            one.error = max(one.error, _nearest(sample, name))
    if not wrong:
        return
    worst = max(_nearest(sample, n) for n in wrong)
    unrolled = _is_unrolled(sample, wrong)
    near = worst < (UNROLLED if unrolled else NEARLY)
    fault = None if near and unrolled else first_fault(sample, wrong)
    if near and sample.tolerance is None:
        found.rough = max(found.rough, worst)
    if fault is not None and (found.fault is None):
        found.fault = fault
    for name in wrong:
        one = found.parameters[name]
        one.vouched.discard(REFERENCE)
        one.against.setdefault(REFERENCE, "not the derivative of what the forward computes")


def _nearest(sample: Sample, name: str) -> float:
    """How far a gradient is from the derivative, past what stops gradients or not, whichever is nearer."""
    return min(sample.relative(name, side) for side in (sample.true, sample.meant, sample.cut))


def _is_unrolled(sample: Sample, wrong: Sequence[str]) -> bool:
    """Whether gradients are those past what runs without any, as an implicit layer gives those of all its steps."""
    return sample.true is not sample.cut and all(
        10 * sample.relative(n, sample.true) < sample.relative(n, sample.cut) for n in wrong
    )


def _lacks(sample: Sample, name: str, one: ParameterFinding, found: Judgement) -> None:
    """A gradient that is right for what autograd saw, and only that."""
    stops = sample.stops[name]
    one.error = max(one.error, sample.relative(name, sample.meant))
    one.stops += [s for s in stops if s not in one.stops]
    own = sample.own.get(name)
    one.missing = own is None or not float(own.norm())
    sure = next((s for s in stops if s.sure), None)
    if sure is not None:
        one.against.setdefault(REACH, "autograd does not see a path to it")
        found.fault = found.fault or Fault("a checkpoint", sure.place, sure.why, "its parameters", 0)


def _followed(samples: Sequence[Sample], found: Judgement) -> None:
    """Gradients that only the slope of the whole loss can be compared with, which tells nothing of what is meant."""
    for sample in samples:
        for name, gap in sample.followed.items():
            one = found.parameters[name]
            if gap:
                one.untested = f"{UNLIKE} (by {gap:.0e}), and what it computes is not seen, so that this may be meant"
            else:
                one.vouched.add(DERIVATIVE)
    off = [p for p in found.parameters.values() if p.untested]
    for one in off:
        one.vouched.discard(DERIVATIVE)
    if any(DERIVATIVE in p.vouched for p in found.parameters.values()):
        found.notes.append(WHOLE)


def _mute(known: Sequence[Sample], found: Judgement) -> None:
    """Parameters that a straight-through estimator passes by, and that get no gradient from anywhere: asked about."""
    for name, one in found.parameters.items():
        if one.notes == [STRAIGHT] and not any(s.gets(name) for s in known):
            one.stops = list(dict.fromkeys(stop for s in known for stop in s.mute.get(name, ())))
            one.missing = bool(one.stops)
            one.notes = [] if one.stops else one.notes


def _padding(sample: Sample, found: Judgement, padded: dict[str, tuple[int, ...]]) -> None:
    """A table that declares rows as padding says that they get no gradient from its lookups."""
    for name, rows in padded.items():
        own = sample.own.get(name)
        if own is None or name not in found.parameters or not float(own[list(rows)].norm()):
            continue
        key = next((k for k, (n, _) in sample.tape.leaves.items() if n == name), None)
        reads = [s for s in sample.tape.steps if any(r.key == key for r in spots_in(s.args))]
        if reads and all(s.name.rpartition(".")[2] in LOOKUPS for s in reads):
            one = found.parameters[name]
            one.vouched.clear()
            one.against[REACH] = f"row {rows[0]} is declared as padding (padding_idx), but gets a gradient"
            one.error = max(one.error, float(own[list(rows)].norm()) / float(own.norm()))
            if found.fault is None:
                step = sample.tape.steps.index(reads[0])
                place = reads[0].place
                call = [sample.tape.calls[n] for n in reads[0].own]
                what = f"the backward of {call[0].function.__name__}" if call else reads[0].name
                found.fault = Fault(
                    what, call[0].place if call else place, "the padding row is not left out", name, step
                )


LOOKUPS = frozenset(
    {"embedding", "index", "index_select", "gather", "_embedding_bag", "embedding_bag", "take", "slice"}
)


def _operators(sample: Sample, found: Judgement, by_design: Sequence[str]) -> None:
    """What operators with a backward of their own say of the parameters that reach them."""
    upstream: dict[int, set[str]] = {}
    for f in sample.operators:
        if f.verdict is DESIGN:
            note = f"{f.operator} ({f.place}) has a straight-through gradient for its input {f.input}: none, by design"
            if note not in found.notes:
                found.notes.append(note)
            direct = sample.tape.leaves.get(f.key)
            if direct and direct[0] in found.parameters and STRAIGHT not in found.parameters[direct[0]].notes:
                found.parameters[direct[0]].notes.append(STRAIGHT)  # nothing is known of what it passes on
        names = _before(sample, f.key, f.step, upstream)
        if f.verdict == OPEN and f.how == "differences":
            for name in names & found.parameters.keys():  # the reference knows no other backward of it either
                one = found.parameters[name]
                one.vouched.discard(REFERENCE)
                one.untested = f"the backward of {f.operator} could not be measured by finite differences"
        if f.how == "writes":
            _writes(sample, f, found)
            continue
        if f.verdict not in (AGREES, WRONG) or (f.how == "scales" and _is_meant(sample, f, by_design)):
            continue
        for name in names & found.parameters.keys():
            if f.verdict is AGREES:
                if f.key in sample.tape.leaves:
                    found.parameters[name].vouched.add(DERIVATIVE)
            elif f.how != "forward":
                one, says = found.parameters[name], SAYS.get(f.how, "is not its derivative")
                one.against.setdefault(DERIVATIVE, f"the backward of {f.operator} {says}")
                one.error = max(one.error, f.error)
                note = IN_GENERAL.get(f.how, "")
                if note and REFERENCE not in one.against and note not in found.notes:
                    found.notes.append(note)
        last = found.fault is None or found.fault.step < f.step
        if f.verdict is WRONG and names and f.how != "forward" and last:
            toward = ", ".join(sorted(names)[:3]) or f"its input {f.input}"
            what, at = f.guess or "it is not the derivative", _written_at(sample, f)
            found.fault = Fault(
                f"the backward of {f.operator}",
                f.place,
                what + " (finite differences)" * (f.how == "differences"),
                toward,
                f.step,
                operator=f.operator if f.how == "scales" else "",
                written=at,
            )


def _writes(sample: Sample, f: OperatorFinding, found: Judgement) -> None:
    """A backward that writes into its gradient: fused kernels do, and all is well until another branch reads it."""
    plain = found.fault is not None and found.fault.operation.startswith("aten.")
    if plain and any(REFERENCE in p.against for p in found.parameters.values()):
        toward = "other branches"
        found.fault = Fault(
            f"the backward of {f.operator}", f.place, f.guess, toward, f.step, written=_written_at(sample, f)
        )
    elif (note := f"the backward of {f.operator} {SPOILS}: {f.place}") not in found.notes:
        found.notes.append(note)


def _is_meant(sample: Sample, f: OperatorFinding, by_design: Sequence[str]) -> bool:
    """Whether an operator is declared to pass on another gradient, or is a straight-through estimator."""
    declared = not {f.operator, *f.place.names}.isdisjoint(by_design)
    return declared or (f.call is not None and f.call in sample.excused)


def _written_at(sample: Sample, f: OperatorFinding) -> str:
    return "" if f.call is None else sample.tape.calls[f.call].written


def _before(sample: Sample, key: int, step: int, cache: dict[int, set[str]]) -> set[str]:
    """The parameters that get a gradient by a value that a step reads; nothing that stops gradients is on the way."""
    closed = {(c.step, c.spot.key) for c in sample.tape.cuts}
    if not cache:
        leaves = {k: {n} for k, (n, _) in sample.tape.leaves.items()}
        cache.update(leaves)
        for number, one in enumerate(sample.tape.steps):
            behind: set[str] = set()
            for s in spots_in((one.args, one.kwargs)):
                behind |= set() if (number, s.key) in closed else cache.get(s.key, set())
            for r in [*one.results.values(), *filter(None, one.writes)]:
                cache[r.key] = cache.get(r.key, set()) | behind
    return set() if (step, key) in closed else cache.get(key, set())


def _reach(samples: Sequence[Sample], known: Sequence[Sample], found: Judgement, matrices: dict[str, int]) -> None:
    """Whether every trainable parameter gets a gradient at all."""
    for name, one in found.parameters.items():
        owns = [s.own.get(name) for s in samples]
        none = all(g is None for g in owns)
        zero = not any(s.gets(name) for s in samples)
        moved = any(s.moved(name) for s in known)
        if one.against or one.stops or one.untested:
            continue
        if not none and not zero and (moved or not known):
            one.vouched.add(REACH)
            continue
        if one.notes:
            continue
        read = any(_is_read(s, name) for s in samples)
        unseen = any(name in s.unseen for s in known) and not any(s.speaks(name) for s in samples)
        if known and not read:
            one.untested = UNREAD
        elif none and all(s.true.get(name) is None for s in known) and known:
            one.untested = ASIDE
        elif none:
            one.untested = "it gets no gradient (None)"
        elif unseen:
            one.notes.append(UNSEEN)
        elif any(s.blurred(name) for s in known):
            one.notes.append(ROUNDING)
        elif matrices[name] >= 2 and (zero or not moved):
            still = all(g is None or not float(g.norm()) for g in owns)
            idle = any(name in s.idle for s in known)
            one.untested = STILL if still else IDLE if idle else ROUNDING
        elif known and read:
            one.notes.append(ROUNDING if any(s.speaks(name) for s in samples) else REMOVED)
        else:
            one.untested = "its gradient is zero everywhere"


def _is_read(sample: Sample, name: str) -> bool:
    key = next((k for k, (n, _) in sample.tape.leaves.items() if n == name), None)
    return any(s.key == key for step in sample.tape.steps for s in spots_in((step.args, step.kwargs)))


__all__ = [
    "DERIVATIVE",
    "LAWS",
    "REACH",
    "REFERENCE",
    "REMOVED",
    "ROUNDING",
    "STOPPED",
    "STRAIGHT",
    "UNSEEN",
    "Judgement",
    "ParameterFinding",
    "judge",
]
