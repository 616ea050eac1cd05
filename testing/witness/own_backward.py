"""Operators that bring a backward of their own, each alone: against its forward in plain kernels, and by differences.

An `autograd.Function`, a `torch.library.custom_op`, a kernel that torch cannot look into: what its backward gives is
compared, one input at a time and for a random cotangent, with the derivative of what its forward computed.  Where the
forward is piecewise constant in an input and the backward passes something on, that is a straight-through estimator: no
gradient, by design.

This file is long because all comparisons of an operator share how it is run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from .differences import AGREES, CLOSE, DESIGN, OPEN, WRONG, Run, by_differences, normal, piecewise
from .incoming import WRITES, other_gradients
from .layouts import out_of_order
from .replay import Memory, replay, start
from .resemblance import dense, resemblance
from .tape import PLAIN, NotMeasured, OwnCall, Place, Spot, Step, Tape, spots_in
from .through import mistake, passed_through

LINES = 3  # random directions in which differences are taken
BESIDE = 1e-3  # how far beside a point, relative to its numbers, its backward is looked at too
EACH = 2  # calls of one operator from one place


@dataclass(frozen=True)
class OperatorFinding:
    """What was found about one input of one operator.

    Attributes:
        operator: its name.
        place: where it was called.
        input: number of the input.
        verdict: one of `AGREES`, `WRONG`, `DESIGN`, `OPEN`.
        how: `"forward"` for its kernels differentiated, `"differences"` for finite differences, `"layouts"` for a
            gradient that lies otherwise in memory, `"implicit"` for finite differences that refute the kernels one by
            one, `"kink"` for a point without a derivative, `"scales"` for a gradient of another size, `"writes"` for a
            backward that writes into its own, `"straight"` for a straight-through one.
        error: relative size of the error.
        key: the storage of the input.
        call: number of the call on the tape, None for a custom operator.
        step: the step that it is, or ends with.
        guess: what the backward seems to do.
    """

    operator: str
    place: Place
    input: int
    verdict: str
    how: str
    error: float
    key: int
    call: int | None
    step: int
    guess: str = ""


def operators(tape: Tape, leaves: dict[str, torch.Tensor], seed: int) -> list[OperatorFinding]:
    """Every operator on a tape that has a backward of its own.

    Args:
        tape: what ran.
        leaves: the parameters by name.
        seed: of cotangents and directions.
    """
    found: list[OperatorFinding] = []
    counts: dict[tuple[object, str], int] = {}
    try:
        memory, at = start(tape, {n: p.detach() for n, p in leaves.items()}), 0
    except NotMeasured:
        return []
    for first, number, thing in sorted(_candidates(tape), key=lambda c: c[0]):
        name = thing.function if isinstance(thing, OwnCall) else thing.name
        key = (name, thing.place.line)
        counts[key] = counts.get(key, 0) + 1
        if counts[key] > EACH:
            continue
        try:
            with torch.no_grad():
                replay(tape, {}, [], steps=range(at, first), memory=memory)
            at = first
            found += _one(tape, thing, number, Memory(dict(memory.held)), seed)
        except NotMeasured:
            found += _unmeasured(thing, number)
    return found


def _candidates(tape: Tape) -> Iterator[tuple[int, int, OwnCall | Step]]:
    for n, call in enumerate(tape.calls):
        if not call.by_torch and call.last >= 0:
            yield call.first, n, call
    for i, step in enumerate(tape.steps):
        space = getattr(step.func, "namespace", "aten")
        if space not in PLAIN and not _inside(tape, step):
            yield i, i, step


def _unmeasured(thing: OwnCall | Step, number: int) -> list[OperatorFinding]:
    """An operator that could not be run alone: where torch cannot look into it, nothing vouches for its backward."""
    if isinstance(thing, OwnCall):
        if not thing.opaque:
            return []
        name, spots, call, end = thing.function.__name__, list(thing.spots.values()), number, thing.last
    else:
        name, spots, call, end = thing.name, spots_in(thing.args), None, number
    return [
        OperatorFinding(name, thing.place, j, OPEN, "differences", 0.0, s.key, call, end)
        for j, s in enumerate(spots)
        if s.dtype.is_floating_point
    ]


def _inside(tape: Tape, step: Step) -> bool:
    """Whether a step runs inside of a user's own operator."""
    return any(not tape.calls[n].by_torch for n in step.own)


def _one(tape: Tape, thing: OwnCall | Step, number: int, memory: Memory, seed: int) -> list[OperatorFinding]:
    if isinstance(thing, Step) and thing.func._schema.is_mutable:  # type: ignore[attr-defined]
        return _unmeasured(thing, number)
    generator = torch.Generator().manual_seed(seed + number)
    leaves, tree, spec, spots = _inputs(thing, memory)
    function = thing.function.apply if isinstance(thing, OwnCall) else thing.func
    kwargs = {} if isinstance(thing, OwnCall) else dict(thing.kwargs)

    def run(values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        flat = [values[v[0]] if isinstance(v, tuple) and v and v[-1] is _LEAF else v for v in tree]
        flat = [v.clone() if isinstance(v, torch.Tensor) and not v.requires_grad else v for v in flat]
        out = function(*pytree.tree_unflatten(flat, spec), **kwargs)
        return [t for t in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(t, torch.Tensor)]

    live = [v.clone().requires_grad_() for v in leaves]
    dice = torch.get_rng_state()

    def forward() -> list[torch.Tensor]:
        torch.set_rng_state(dice)
        with torch.enable_grad():
            return run([v.clone() for v in live])  # an operator may write into what it is given

    try:
        outs = forward()
        real = [i for i, t in enumerate(outs) if t.is_floating_point()]
        given = [i for i in real if outs[i].requires_grad] or real
        cotangents = {i: normal(outs[i], generator) for i in given}
        own = _pull(outs, cotangents, live)
    except Exception:  # a user's code runs: alone, without what it was called with, it may raise anything
        return _unmeasured(thing, number)
    true, how = None, "differences"
    narrow = isinstance(thing, OwnCall) and any(
        s.dtype in (torch.float32, torch.float16, torch.bfloat16)
        for step in tape.steps[thing.first : thing.last]
        for s in step.results.values()
    )
    if isinstance(thing, OwnCall) and not thing.opaque:
        try:
            true, how = _by_forward(tape, thing, memory, leaves, spots, cotangents), "forward"
        except NotMeasured:
            true = None
    name = thing.function.__name__ if isinstance(thing, OwnCall) else thing.name
    call = number if isinstance(thing, OwnCall) else None
    end = thing.last if isinstance(thing, OwnCall) else number
    found, through = [], None
    for j, spot in enumerate(spots):
        kind = how
        if true is None or isinstance(thing, Step):
            verdict, error, guess = by_differences(own[j], run, leaves, j, cotangents, generator)
        elif spot.key not in thing.moving:
            verdict, error, guess = OPEN, 0.0, ""  # the tape holds only what depends on parameters
        else:
            verdict, error = _compared(own[j], true[j], 1e-2 if narrow else 1e-6)
            guess = resemblance(own[j], true[j]) if verdict is WRONG else ""
            bound = 1e-2 if narrow else 1e-6
            if verdict is WRONG and not narrow:
                if _by_kernels_only(own[j], true[j], run, leaves, j, cotangents, generator):
                    verdict, kind, guess = AGREES, "implicit", ""
                elif _at_kink(tape, thing, memory, forward, live, spots, j, cotangents, generator, true[j], run):
                    verdict, kind, guess = AGREES, "kink", ""
            if verdict is WRONG:
                through = through or _through(tape, thing, memory, leaves, spots, cotangents)
                if through and _compared(own[j], through[j], bound)[0] is AGREES:
                    verdict, guess = DESIGN, ""
                elif piecewise(own[j], true[j], run, leaves, j, cotangents):
                    guess = mistake(own[j], through[j]) if through else ""
                    verdict, kind = (WRONG, "straight") if guess else (DESIGN, kind)
        found.append(OperatorFinding(name, thing.place, j, verdict, kind, error, spot.key, call, end, guess))
    if isinstance(thing, Step) or thing.outer:
        bound = 1e-2 if narrow else CLOSE
        for j, (error, lies) in out_of_order(forward, live, cotangents, own, bound).items():
            if found[j].verdict is not WRONG:
                found[j] = replace(found[j], verdict=WRONG, how="layouts", error=error, guess=lies)
        bent, writes = other_gradients(forward, live, cotangents, bound)
        for j, (error, does) in bent.items():
            if found[j].verdict in (AGREES, WRONG) and found[j].how != "layouts":
                found[j] = replace(found[j], verdict=WRONG, how="scales", error=error, guess=does)
        if writes:
            found += [replace(f, verdict=WRONG, how="writes", error=0.0, guess=WRITES) for f in found]
    return found


def _by_kernels_only(
    own: torch.Tensor,
    true: torch.Tensor,
    run: Run,
    leaves: Sequence[torch.Tensor],
    j: int,
    cotangents: dict[int, torch.Tensor],
    generator: torch.Generator,
) -> bool:
    """Whether differences say that a backward is right, and that the derivative of its kernels, one by one, is not.

    A bisection carries its result by comparisons, which no kernel differentiates.
    """
    refuted = any(_differs(true, run, leaves, j, cotangents, generator) is WRONG for _ in range(LINES))
    return refuted and all(_differs(own, run, leaves, j, cotangents, generator) is AGREES for _ in range(LINES))


def _differs(gradient: torch.Tensor, *how: Any) -> str:
    return by_differences(gradient, *how)[0]


def _at_kink(
    tape: Tape,
    call: OwnCall,
    memory: Memory,
    forward: Callable[[], list[torch.Tensor]],
    live: Sequence[torch.Tensor],
    spots: Sequence[Spot],
    j: int,
    cotangents: dict[int, torch.Tensor],
    generator: torch.Generator,
    true: torch.Tensor,
    run: Run,
) -> bool:
    """Whether inputs are at a kink, where there is no derivative, and a backward is right beside it.

    The two sides of a ReLU at 0 have two derivatives, and a backward may choose.
    """
    here = [v.detach().clone() for v in live]
    if _differs(true, run, here, j, cotangents, generator) is not WRONG:
        return False
    beside = [v + BESIDE * (float(v.abs().mean()) or 1.0) * normal(v, generator) for v in here]
    try:
        with torch.no_grad():
            for v, new in zip(live, beside, strict=True):
                v.copy_(new)
        own = _pull(forward(), cotangents, live)[j]
        plain = _by_forward(tape, call, memory, beside, spots, cotangents)[j]
    except NotMeasured:
        return False
    finally:
        with torch.no_grad():
            for v, old in zip(live, here, strict=True):
                v.copy_(old)
    return bool(own.any()) and _compared(own, plain, 1e-6)[0] is AGREES


_LEAF = object()


def _inputs(thing: OwnCall | Step, memory: Memory) -> tuple[list[torch.Tensor], list[Any], Any, list[Spot]]:
    """The real inputs of an operator, one for every memory; its arguments, where a leaf stands as its number."""
    if isinstance(thing, OwnCall):
        args: tuple[Any, ...] = tuple(thing.spots.get(i, a) for i, a in enumerate(thing.args))
    else:
        args = thing.args
    flat, spec = pytree.tree_flatten(args)
    leaves: list[torch.Tensor] = []
    spots: list[Spot] = []
    seen: dict[tuple[object, ...], int] = {}
    for i, v in enumerate(flat):
        if not isinstance(v, Spot):
            continue
        value = memory.read(v).detach()
        if not v.dtype.is_floating_point:
            flat[i] = value
            continue
        place = (v.key, v.geometry)
        if place not in seen:
            seen[place] = len(leaves)
            leaves.append(value.clone())
            spots.append(v)
        flat[i] = (seen[place], _LEAF)
    return leaves, flat, spec, spots


def _pull(
    outs: Sequence[torch.Tensor], cotangents: dict[int, torch.Tensor], live: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """What a backward sends to every input; zeros where it sends nothing."""
    total = [(outs[i] * w.conj()).real.sum() for i, w in cotangents.items() if outs[i].requires_grad]
    if not total or not live:
        return [torch.zeros_like(v) for v in live]
    grads = torch.autograd.grad(sum(total[1:], start=total[0]), list(live), allow_unused=True)
    return [torch.zeros_like(v) if g is None else dense(g) for v, g in zip(live, grads, strict=True)]


def _by_forward(
    tape: Tape,
    call: OwnCall,
    memory: Memory,
    leaves: Sequence[torch.Tensor],
    spots: Sequence[Spot],
    cotangents: dict[int, torch.Tensor],
) -> list[torch.Tensor]:
    """The derivative of what the forward of a call computed, kernel by kernel."""
    live = [v.clone().requires_grad_() for v in leaves]
    inside = Memory(dict(memory.held))
    for spot, v in zip(spots, live, strict=True):
        inside.write(spot, v)
    outs = replay(tape, {}, call.results, steps=range(call.first, call.last), memory=inside).outputs
    return _pull(outs, cotangents, live)


def _through(
    tape: Tape,
    call: OwnCall,
    memory: Memory,
    leaves: Sequence[torch.Tensor],
    spots: Sequence[Spot],
    cotangents: dict[int, torch.Tensor],
) -> list[torch.Tensor] | None:
    """The same, with gradients that go through its roundings; None where it has none, or does not run so."""
    other = passed_through(tape, call)
    try:
        return None if other is None else _by_forward(other, call, memory, leaves, spots, cotangents)
    except NotMeasured:
        return None


def _compared(own: torch.Tensor, true: torch.Tensor, bound: float) -> tuple[str, float]:
    size = max(float(true.norm()), float(own.norm()))
    error = float((own - true).norm()) / size if size else 0.0
    if error <= bound:
        return AGREES, error
    return (WRONG, error) if error == error else (OPEN, error)


__all__ = ["AGREES", "DESIGN", "OPEN", "WRONG", "OperatorFinding", "operators"]
