"""What one step of an optimizer does to one law, cause by cause: an identity of the discrete step.

`h(theta - delta) - h(theta) = -<grad h, delta> + Q(delta)` for every step `delta`, and `<grad h, g> = 0` for the
gradient of any minibatch.  With `delta` cut into parts `d` that have a cause each, a cause moves the law by
`-<grad h, d> + B(d, delta) / 2`.  What the gradient does at first order is put down as what it must be: nothing.  The
same for a momentum buffer, whose slope `p = <grad h, v>` follows from its own recursion.  So a wrong gradient, a wrong
buffer or a wrong optimizer stays over as the remainder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .forms import Forms
from .updates import Move

STEP, MOMENTUM, DECAY, PRECONDITIONER = "step size", "momentum", "decay", "preconditioner"
GROUPS, CLIPPING, SHARPNESS, EPSILON, RULE = "parameter groups", "clipping", "sharpness", "epsilon", "update rule"
NORM, OUTSIDE, UNWATCHED = "norm epsilon", "outside the optimizer", "steps not watched"
CAUSES = (STEP, DECAY, MOMENTUM, PRECONDITIONER, EPSILON, NORM, CLIPPING, GROUPS, SHARPNESS, RULE, OUTSIDE, UNWATCHED)


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
    """

    theta: Mapping[str, Tensor]
    grads: Mapping[str, Tensor]
    moves: Mapping[str, Move]
    altered: Mapping[str, Tensor] = field(default_factory=dict)
    displaced: Mapping[str, Tensor] = field(default_factory=dict)
    noise: Collection[str] = ()


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
        keep: what the step keeps of the buffer.
        take: what it adds of the gradient to it.
        weights: `<grad h, theta>`, which a penalty in the loss would add to the slope of the gradient.
        size: sum of the law with absolute values.
        pace: the largest first-order change that the step could make.
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
    keep: float
    take: float
    weights: Tensor
    size: Tensor
    pace: Tensor


class _Vectors:
    """Vectors over the parameters of a law, each listed once; what a cause adds to the step is a sum of them."""

    def __init__(self, theta: Mapping[str, Tensor]) -> None:
        self.theta = theta
        self.all: list[Mapping[str, Tensor]] = [theta]
        self.parts: dict[str, dict[int, float]] = {}

    def add(self, vector: Mapping[str, Tensor]) -> int:
        """Lists a vector, zero where it has no entry."""
        self.all.append(self.filled(vector))
        return len(self.all) - 1

    def filled(self, vector: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A vector, zero where it has no entry."""
        return {n: vector[n] if n in vector else torch.zeros_like(t) for n, t in self.theta.items()}

    def put(self, cause: str, index: int, weight: float) -> None:
        """Makes a multiple of a vector part of the step."""
        if weight:
            part = self.parts.setdefault(cause, {})
            part[index] = part.get(index, 0.0) + weight

    def weighted(self, tensors: Mapping[str, Tensor], weights: Mapping[str, float], raw: int) -> tuple[int, float]:
        """`sum weights_i tensors_i` as a multiple of a listed vector: of `raw` itself where all weights are one."""
        if all(n in weights for n in self.theta) and len(set(weights.values())) == 1:
            return raw, next(iter(weights.values()))
        return self.add({n: w * tensors[n] for n, w in weights.items()}), 1.0


def outcome(
    form: Forms, made: Material, slope: Tensor | None, carried: Tensor | None = None, epsilon: Tensor | None = None
) -> Outcome:
    """Puts down what every cause must do to a law.

    Args:
        form: the law.
        made: what the step is made of.
        slope: the slope of the momentum buffer by the account, None to read it.
        carried: the part of it that the epsilon of norms made, None for none.
        epsilon: what that epsilon makes of `<grad h, g>`; None where the law is exact, or where it was not measured.
    """
    theta = {n: made.theta[n] for n in form.names}
    moves = {n: made.moves[n] for n in form.names if n in made.moves}
    vectors = _Vectors(theta)
    raw = vectors.add(theta) if form.shifted and form.quadratic else 0
    g = vectors.add({n: made.grads[n] for n in moves})
    buffers = {n: m.buffer for n, m in moves.items() if m.buffer is not None}
    v = vectors.add(buffers) if buffers else None
    loud = {n: m for n, m in moves.items() if m.whole is None or n not in made.noise}
    push, carry, rate = (_mean(loud, f) for f in (_push, _carry, _rate))

    weights = {
        n: rate * m.coupled * m.load if m.whole is not None else m.rate * m.coupled * m.load for n, m in moves.items()
    }
    decays = {n: w + moves[n].decay for n, w in weights.items()}
    if any(decays.values()):
        vectors.put(DECAY, *vectors.weighted(theta, decays, raw))
    altered = {n: made.altered[n] for n in moves if n in made.altered}
    e = vectors.add(altered) if altered else None
    vectors.put(STEP, g, push)
    if e is not None:
        vectors.put(STEP, e, -push)
        vectors.put(CLIPPING, e, push)
    if v is not None:
        vectors.put(MOMENTUM, v, carry)
    for cause in dict.fromkeys(c for m in moves.values() for c in m.extra):
        vectors.put(cause, vectors.add({n: m.extra[cause] for n, m in moves.items() if cause in m.extra}), 1.0)
    rest = _rest(made, moves, push, carry, weights)
    if rest:
        bent = any(m.whole is not None for m in moves.values())
        unknown = any(not m.known for m in moves.values())
        vectors.put((RULE if unknown else PRECONDITIONER) if bent else GROUPS, vectors.add(rest), 1.0)
    loads = {n: m.load for n, m in moves.items()}
    load, weight = vectors.weighted(theta, loads, raw) if any(loads.values()) else (raw, 0.0)
    shift = vectors.filled({n: made.displaced[n] for n in theta if n in made.displaced}) if made.displaced else None

    total = {i: sum(part.get(i, 0.0) for part in vectors.parts.values()) for i in range(len(vectors.all))}
    found = form.products(vectors.all, total)
    step = found.steps
    must = found.slopes.clone()
    must[g] = found.slopes[e] if e is not None else 0.0
    tilt = torch.zeros_like(must[g])
    if shift is not None:
        tilt = form.bilinear(shift, {n: t - altered[n] if n in altered else t for n, t in vectors.all[g].items()})
    read_anew = v is None or slope is None or len(moves) < len(theta)
    if v is not None and slope is not None and not read_anew:
        must[v] = slope
    old = torch.zeros_like(tilt) if carried is None or read_anew else carried
    judged = form.law.exact or epsilon is not None
    if not judged:
        epsilon = found.slopes[g] - must[g] + tilt
    norm = torch.zeros_like(tilt) if epsilon is None else epsilon
    causes = {c: _sum(part, lambda i: 0.5 * step[i] - must[i], must[0]) for c, part in vectors.parts.items()}
    if shift is not None:
        causes[SHARPNESS] = push * tilt
    if not form.law.exact:
        causes[NORM] = -push * norm - carry * old
        if MOMENTUM in causes:
            causes[MOMENTUM] = causes[MOMENTUM] + carry * old
    must[g] = must[g] - tilt + norm
    reach, leak = _reach(form, found.sizes, g), found.slopes[g] - must[g]
    stale = torch.zeros_like(leak) if v is None else found.slopes[v] - must[v]
    keep, take = _common(moves, lambda m: m.keep), _common(moves, lambda m: m.take)
    ahead = None
    if keep is not None and take is not None and len(moves) == len(theta) and len(buffers) in (0, len(moves)):
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
        keep=keep or 0.0,
        take=abs(take or 0.0),
        weights=found.slopes[raw],
        size=found.sizes[0],
        pace=sum((abs(w) * _reach(form, found.sizes, i) for i, w in total.items()), torch.zeros_like(reach)),
    )


def _rest(
    made: Material, moves: Mapping[str, Move], push: float, carry: float, weights: Mapping[str, float]
) -> dict[str, Tensor]:
    """What the step has beyond common multiples of gradient, buffer and decay."""
    rest = {}
    for n, m in moves.items():
        if m.whole is not None:
            piece = m.whole.sub(made.grads[n], alpha=push)
            piece = piece if m.buffer is None else piece.sub(m.buffer, alpha=carry)
            rest[n] = piece.sub(made.theta[n].detach(), alpha=weights[n]) if weights[n] else piece
        elif _differs(_push(m), push) or (m.buffer is not None and _differs(_carry(m), carry)):
            piece = (_push(m) - push) * made.grads[n]
            rest[n] = piece if m.buffer is None else piece.add(m.buffer, alpha=_carry(m) - carry)
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
