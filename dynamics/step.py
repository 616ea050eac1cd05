"""What one step of an optimizer does to one law, cause by cause: an identity of the discrete step.

`h(theta - delta) - h(theta) = -<grad h, delta> + Q(delta)` for every step `delta`, and `<grad h, g> = 0` for the
gradient of any minibatch.  With `delta` cut into parts `d` that have a cause each, a cause moves the law by
`-<grad h, d> + B(d, delta) / 2`.  What the gradient does at first order is put down as what it must be: nothing.  The
same for a momentum buffer, whose slope `p = <grad h, v>` follows from its own recursion.  So a wrong gradient, a wrong
buffer or a wrong optimizer stays over as the remainder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .forms import Combination, Forms
from .sheets import ALTERED, BUFFER, GRADIENT, THETA, WHOLE, Sheets
from .updates import Move

STEP, MOMENTUM, DECAY, PRECONDITIONER = "step size", "momentum", "decay", "preconditioner"
GROUPS, CLIPPING, SHARPNESS, EPSILON, RULE = "parameter groups", "clipping", "sharpness", "epsilon", "update rule"
NORM, FROZEN = "norm epsilon", "frozen part"
OUTSIDE, UNWATCHED = "outside the optimizer", "steps not watched"
_OPTIMIZER = (STEP, DECAY, MOMENTUM, PRECONDITIONER, EPSILON, NORM, CLIPPING, GROUPS, SHARPNESS, RULE)
CAUSES = (*_OPTIMIZER, FROZEN, OUTSIDE, UNWATCHED)


@dataclass
class Material:
    """What a step is made of, by the names of the model's parameters.

    Attributes:
        theta: parameters before the step.
        grads: gradients that the optimizer sees, of the parameters that it moves.
        moves: updates of the same parameters.
        altered: what clipping and the like changed in the gradients, where they were changed.
        displaced: where the gradient was taken minus where the step is made (SAM), where these differ.
        noise: parameters whose gradient is nothing but rounding, which a preconditioner may blow up to any size.
        still: parameters that are left alone in this step, by their own wish or by that of the loop.
        wanted: which sums of products laws read, see `Sheets`.
        before: the products of the weights with themselves.
    """

    theta: Mapping[str, Tensor]
    grads: Mapping[str, Tensor]
    moves: Mapping[str, Move]
    altered: Mapping[str, Tensor] = field(default_factory=dict)
    displaced: Mapping[str, Tensor] = field(default_factory=dict)
    noise: Collection[str] = ()
    still: AbstractSet[str] = frozenset()
    wanted: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    before: Sheets | None = None

    @cached_property
    def sheets(self) -> Sheets:
        """All tensors of the step, of which every part of it is a sum."""
        out: dict[str, dict[str, Tensor]] = {n: {THETA: t} for n, t in self.theta.items()}
        for n, m in self.moves.items():
            out[n][GRADIENT] = self.grads[n]
            some = {BUFFER: m.buffer, WHOLE: m.whole, ALTERED: self.altered.get(n), **m.extra}
            out[n].update((kind, x) for kind, x in some.items() if x is not None)
        return Sheets(out, self.wanted, self.before)


@dataclass
class Outcome:
    """What a step must do to a law.

    Attributes:
        causes: the change of every scalar by cause.
        leak: `<grad h, g>` beyond what it must be, which is a wrong gradient or rounding.
        reach: the largest that such a product of gradient and law could be (Cauchy-Schwarz), scalar by scalar.
        share: how much of it the step multiplies it with.
        stale: the slope of the momentum buffer beyond what the account says.
        carry: the multiple of the momentum buffer in the step.
        slope: the slope of the buffer after the step, None if it has to be read anew.
        carried: the part of it that the epsilon of norms made.
        judged: whether the slope of the gradient is known by other means than the gradient.
        apart: what a part of the law that is left alone makes of that slope, None if all parts train.
        keep: what the step keeps of the buffer.
        take: what it adds of the gradient to it.
        weights: `<grad h, theta>`, which a penalty in the loss would add to the slope of the gradient.
        size: sum of the law with absolute values.
        pace: the largest first-order change that the step could make.
        held: the largest slope that the momentum buffer could have.
    """

    causes: dict[str, Tensor]
    leak: Tensor
    reach: Tensor
    share: float
    stale: Tensor
    carry: float
    slope: Tensor | None
    carried: Tensor | None
    judged: bool
    apart: Tensor | None
    keep: float
    take: float
    weights: Tensor
    size: Tensor
    pace: Tensor
    held: Tensor


class _Vectors:
    """Vectors over the parameters of a law, each listed once; what a cause adds to the step is a sum of them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.all: list[Combination] = []
        self.parts: dict[str, dict[int, float]] = {}

    def add(self, vector: Combination) -> int:
        """Lists a vector, zero where it has no entry."""
        self.all.append(vector)
        return len(self.all) - 1

    def tensors(self, names: Iterable[str], kind: str) -> int:
        """Lists the tensors of one kind of some parameters."""
        return self.add({n: {kind: 1.0} for n in names})

    def put(self, cause: str, index: int, weight: float) -> None:
        """Makes a multiple of a vector part of the step."""
        if weight:
            part = self.parts.setdefault(cause, {})
            part[index] = part.get(index, 0.0) + weight

    def weighted(self, weights: Mapping[str, float], raw: int) -> tuple[int, float]:
        """`sum weights_i theta_i` as a multiple of a listed vector: of `raw` itself where all weights are one."""
        if all(n in weights for n in self.names) and len(set(weights.values())) == 1:
            return raw, next(iter(weights.values()))
        return self.add({n: {THETA: w} for n, w in weights.items()}), 1.0


def outcome(
    form: Forms,
    made: Material,
    value: Tensor,
    slope: Tensor | None,
    carried: Tensor | None = None,
    epsilon: Tensor | None = None,
) -> Outcome:
    """Puts down what every cause must do to a law.

    Args:
        form: the law.
        made: what the step is made of.
        value: the law before it.
        slope: the slope of the momentum buffer by the account, None to read it.
        carried: the part of it that the epsilon of norms made, None for none.
        epsilon: what that epsilon makes of `<grad h, g>`; None where the law is exact, or where it was not measured.
    """
    names = form.names
    moves = {n: made.moves[n] for n in names if n in made.moves}
    vectors = _Vectors(names)
    point = vectors.tensors(names, THETA)
    raw = vectors.tensors(names, THETA) if form.shifted and form.quadratic else point
    g = vectors.tensors(moves, GRADIENT)
    buffers = [n for n, m in moves.items() if m.buffer is not None]
    v = vectors.tensors(buffers, BUFFER) if buffers else None
    loud = {n: m for n, m in moves.items() if m.whole is None or n not in made.noise}
    push, carry, rate = (_mean(loud, f) for f in (_push, _carry, _rate))

    weights = {
        n: rate * m.coupled * m.load if m.whole is not None else m.rate * m.coupled * m.load for n, m in moves.items()
    }
    decays = {n: w + moves[n].decay for n, w in weights.items()}
    if any(decays.values()):
        vectors.put(DECAY, *vectors.weighted(decays, raw))
    altered = [n for n in moves if n in made.altered]
    e = vectors.tensors(altered, ALTERED) if altered else None
    vectors.put(STEP, g, push)
    if e is not None:
        vectors.put(STEP, e, -push)
        vectors.put(CLIPPING, e, push)
    if v is not None:
        vectors.put(MOMENTUM, v, carry)
    for cause in dict.fromkeys(c for m in moves.values() for c in m.extra):
        vectors.put(cause, vectors.tensors([n for n, m in moves.items() if cause in m.extra], cause), 1.0)
    rest = _rest(moves, push, carry, weights)
    if rest:
        bent = any(m.whole is not None for m in moves.values())
        unknown = any(not m.known for m in moves.values())
        vectors.put((RULE if unknown else PRECONDITIONER) if bent else GROUPS, vectors.add(rest), 1.0)
    loads = {n: m.load for n, m in moves.items()}
    load, weight = vectors.weighted(loads, raw) if any(loads.values()) else (raw, 0.0)

    asked = {g, *([load] if weight else []), *(i for part in vectors.parts.values() for i in part)}
    total = {i: sum(part.get(i, 0.0) for part in vectors.parts.values()) for i in asked}
    found = form.combined(made.sheets, vectors.all, total, value)
    step = found.steps
    must = found.slopes.clone()
    must[g] = found.slopes[e] if e is not None else 0.0
    tilt = torch.zeros_like(must[g])
    if made.displaced:
        tilt = form.bilinear(*_elsewhere(made, names, altered))
    read_anew = v is None or slope is None or len(moves) < len(names)
    if v is not None and slope is not None and not read_anew:
        must[v] = slope
    old = torch.zeros_like(tilt) if carried is None or read_anew else carried
    judged = form.law.exact or epsilon is not None
    if not judged:
        epsilon = found.slopes[g] - must[g] + tilt
    norm = torch.zeros_like(tilt) if epsilon is None else epsilon
    apart = None
    if not made.still.isdisjoint(names):  # the others train as in a network that has no such law
        apart = found.slopes[g] - must[g] + tilt - norm
    causes = {c: _sum(part, lambda i: 0.5 * step[i] - must[i], must[0]) for c, part in vectors.parts.items()}
    if made.displaced:
        causes[SHARPNESS] = push * tilt
    if not form.law.exact:
        causes[NORM] = -push * norm - carry * old
        if MOMENTUM in causes:
            causes[MOMENTUM] = causes[MOMENTUM] + carry * old
    if apart is not None:
        causes[FROZEN] = -push * apart
    must[g] = must[g] - tilt + norm + (0.0 if apart is None else apart)
    reach, leak = _reach(form, found.sizes, g), found.slopes[g] - must[g]
    stale = torch.zeros_like(leak) if v is None else found.slopes[v] - must[v]
    keep, take = _common(moves, lambda m: m.keep), _common(moves, lambda m: m.take)
    ahead = None
    if keep is not None and take is not None and len(moves) == len(names) and len(buffers) in (0, len(moves)):
        new = take * must[g] + weight * must[load] - take * step[g] - weight * step[load]
        ahead = new if v is None else new + keep * (must[v] - step[v])
    return Outcome(
        causes=causes,
        leak=leak,
        reach=reach,
        share=abs(push),
        stale=stale,
        carry=abs(carry) if v is not None else 0.0,
        slope=ahead,
        carried=None if ahead is None else (keep or 0.0) * old + (take or 0.0) * norm,
        judged=judged,
        apart=apart,
        keep=keep or 0.0,
        take=abs(take or 0.0),
        weights=found.slopes[raw],
        size=found.sizes[0],
        held=torch.zeros_like(reach) if v is None else _reach(form, found.sizes, v),
        pace=sum((abs(w) * _reach(form, found.sizes, i) for i, w in total.items()), torch.zeros_like(reach)),
    )


def _elsewhere(
    made: Material, names: Sequence[str], altered: Collection[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """How far away the gradient was taken, and the gradient as it was there."""
    zero = {n: torch.zeros_like(made.theta[n]) for n in names}
    away = {n: made.displaced.get(n, zero[n]) for n in names}
    there = {n: made.grads[n] if n in made.moves else zero[n] for n in names}
    return away, {n: there[n] - made.altered[n] if n in altered else there[n] for n in names}


def _rest(
    moves: Mapping[str, Move], push: float, carry: float, weights: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """What the step has beyond common multiples of gradient, buffer and decay."""
    rest = {}
    for n, m in moves.items():
        if m.whole is not None:
            piece = {WHOLE: 1.0, GRADIENT: -push, BUFFER: -carry, THETA: -weights[n]}
        elif _differs(_push(m), push) or (m.buffer is not None and _differs(_carry(m), carry)):
            piece = {GRADIENT: _push(m) - push, BUFFER: _carry(m) - carry}
        else:
            continue
        rest[n] = {kind: w for kind, w in piece.items() if w and (kind != BUFFER or m.buffer is not None)}
    return rest


def _reach(form: Forms, sizes: Tensor, i: int) -> Tensor:
    """The largest that `<grad h(u_0), u_i>` can be."""
    return 2 * (sizes[0] * sizes[i]).sqrt() if form.quadratic else sizes[i]


def _sum(part: Mapping[int, float], value: Callable[[int], Tensor], like: Tensor) -> Tensor:
    return sum((w * value(i) for i, w in part.items()), torch.zeros_like(like))


def _mean(moves: Mapping[str, Move], of: Callable[[Move], float]) -> float:
    return sum(map(of, moves.values())) / len(moves) if moves else 0.0


def _push(move: Move) -> float:
    return move.rate * move.gradient


def _carry(move: Move) -> float:
    return move.rate * move.carried


def _rate(move: Move) -> float:
    return move.rate


def _differs(one: float, other: float) -> bool:
    return abs(one - other) > 1e-14 * max(abs(one), abs(other))


def _common(moves: Mapping[str, Move], of: Callable[[Move], float]) -> float | None:
    """A coefficient that all moves have, None if they differ or there are none."""
    values: Sequence[float] = list({of(m) for m in moves.values()})
    return values[0] if len(values) == 1 else None
