"""Whether a network has, at one point, all that the activation patterns of all points give.

Counting with the patterns of all points finds the functions that are conserved on every piece of the network.  A
network may never have these patterns together: with weights of rank one, units whose weights have one sign are on
together always, so that more is conserved near every point.  Such a count is not false, but it is not the number of
laws at any point, and nothing can be said to be missing or not.

Fields that span as much at one point, with the patterns of this point alone, as with those of all points have the same
Lie algebra.  Points where inputs change many gates are looked for, since a unit that is dead at a point spans nothing.
Where none is found, units of a small network may be dead at all that were tried: only gates that are shown to be tied
leave a count undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from lawful.theory.arguments import plural
from lawful.theory.losses import LossLike
from lawful.theory.oracle.counting import Count, count_fields, span_of
from lawful.theory.verdict import Verdict

from ..architecture.architecture import Architecture
from ..architecture.patterns import POINTS, SHARES, Patterns
from .fields import Fields, architecture_fields, patterns_of

TRIED = 4  # of the best points, at which fields are spanned
CLIMBS = 12  # points near the best of these, at least
MOST_CLIMBS = 96
WORK = 10_000  # points near the best, times parameters: a small network is looked at more often
LEAST, TRIES = 2, 16  # points at which a network is counted whose inputs take few values
EFFORT = 1_000  # points, times parameters
FEWEST, TOGETHER = 32, 32  # points that these are chosen from, at least, and those that are looked at together
LOOKS = 64  # inputs at each of them
ELSEWHERE = (1.0, 1.0, 3.0)  # scales of other points, where parameters alone decide a pattern
INPUTS = 256  # at each point where pairs of gates are looked at
WIDEST = 200  # gates in these pairs
STATES = 12  # classes of states of one gate in these pairs: a maximum has as many states as places
ROUNDS = 8  # of such points
FEW = 12  # gates, of which inputs meet all patterns that a point has
AWAKE = 8  # points at which inputs change every gate, of which none spans all, before patterns are said to be apart
SHOWN = 48  # points at which two gates vary and never come apart, before they are said to be tied

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Reach:
    """How a network is counted with the patterns of single points.

    Attributes:
        patterns: of the network.
        spanned: the dimension of the fields with the patterns of given parameters.
        laws: how many laws are counted with these.
        elsewhere: the dimension of the fields with the patterns of all points, where those that parameters alone decide
            are those of another point, by its seed and its scale.
    """

    patterns: Patterns
    spanned: Callable[[Tensors], int]
    laws: Callable[[Tensors], int]
    elsewhere: Callable[[int, float], int]


def reach_of(
    arch: Architecture, loss: LossLike, generator: torch.Generator, frozen: Mapping[str, torch.Tensor] | None = None
) -> Reach:
    """How an architecture is counted with the patterns of single points.

    Args:
        arch: the network.
        loss: of its outputs.
        generator: of points and data.
        frozen: values of frozen parameters; random ones if not given.
    """

    def fields(values: Tensors) -> Fields:
        return architecture_fields(arch, loss, generator, values, frozen)

    values = {**arch.random_parameters(generator), **(frozen or {})}
    return Reach(
        patterns_of(arch, loss, generator, values),
        spanned=lambda values: span_of(*fields(values)).rank,
        laws=lambda values: count_fields(*fields(values)).laws,
        elsewhere=lambda seed, scale: (
            span_of(
                *architecture_fields(arch, loss, torch.Generator().manual_seed(seed), frozen=frozen, scale=scale)
            ).rank
        ),
    )


def doubted(found: Count, reach: Reach, *, quick: bool = False) -> Count:
    """A count with the patterns of all points; undecided where gates are tied, so that no point has them.

    That none of the points that were looked at has them is no doubt by itself: small networks have dead units at many.
    They are no excuse where inputs change every one of a few activations at many points, and none of these has them.
    Where inputs take few values it is one: what a word switches is a matter of parameters.

    Args:
        found: the count.
        reach: how the same is counted at single points.
        quick: where inputs take few values, a quarter of the points is enough.
    """
    if not reach.patterns.chosen or not found.laws < found.parameters:
        return found
    if reach.patterns.still:
        others = [reach.elsewhere(seed, scale) for seed, scale in enumerate(ELSEWHERE, 1)]
        if any(n != found.ranks[0] for n in others):
            spans = ", ".join(map(str, (found.ranks[0], *others)))
            why = f"parameters alone decide some activations, and fields span {spans} dimensions at different ones"
            return replace(found, verdict=Verdict.UNDECIDED, method=f"{found.method}; {why}")
    if reach.patterns.few:
        return _at_points(found, reach, quick)
    most, best, awake = -1, None, 0
    climbs = max(CLIMBS, min(MOST_CLIMBS, WORK // found.parameters))
    for i, values in enumerate((*_lively(reach.patterns), *[None] * climbs)):
        point = values if values is not None or best is None else _near(reach.patterns, best, i)
        if point is None:
            continue
        spanned = reach.spanned(point)
        if spanned == found.ranks[0]:
            return found
        if reach.patterns.most <= FEW:
            varied = _varied(reach.patterns, point)
            awake += all(bool(v[~reach.patterns.still.get(k, v < 0)].all()) for k, v in varied.items())
        if spanned >= most:
            most, best = spanned, point
    laws = found.laws if best is None else reach.laws(best)
    if laws == found.laws or best is None:
        return found
    why = f"with the activation patterns that one point has, {plural(laws, 'law is', 'laws are')} counted"
    if awake >= AWAKE or tied(reach.patterns, best):
        why = f"{why}: others never come together"
        return replace(found, verdict=Verdict.UNDECIDED, method=f"{found.method}; {why}")
    return replace(found, method=f"{found.method}; {why}")


def _at_points(found: Count, reach: Reach, quick: bool) -> Count:
    """A count of a network whose inputs take few values: what these switch at one point is a matter of parameters.

    Points where gates come apart most are looked at first, then some near the best of them.
    """
    tries = max(LEAST, min(TRIES, EFFORT // found.parameters))
    tries = max(LEAST, tries // 4) if quick else tries
    least, best = found.parameters + 1, None
    rich = iter(_rich(reach.patterns, max(FEWEST, min(INPUTS, WORK // found.parameters))))
    for i in range(tries):
        if best is None or 2 * i < tries:
            point = next(rich)
        else:
            share = SHARES[i % len(SHARES)]
            point = reach.patterns.near(best, reach.patterns.ordinary(), share)
        laws = reach.laws(point)
        if laws <= found.laws:
            return found
        if laws <= least:
            least, best = laws, point
    why = (
        "inputs take few values, so that parameters alone decide which activations there are, and at least "
        f"{least} laws are counted at each of the points that were looked at"
    )
    return replace(found, verdict=Verdict.UNDECIDED, method=f"{found.method}; {why}")


def _rich(patterns: Patterns, points: int) -> list[Tensors]:
    """Ordinary points, those first where the gates tell the most inputs apart, by the entropy of their pairs."""
    drawn = [patterns.ordinary() for _ in range(points)]
    scores = []
    for start in range(0, points, TOGETHER):
        some = drawn[start : start + TOGETHER]
        seen = patterns.seen_at({n: torch.stack([p[n] for p in some]) for n in some[0]}, LOOKS)
        gates = torch.cat([_few(g.flatten(2)) for g in seen.values()], 2)[:, :, :WIDEST]
        states = torch.stack([(gates == k).double() for k in gates.unique()], 3).flatten(2)
        chance = states.mT @ states / LOOKS
        scores += torch.special.entr(chance).sum((1, 2)).tolist()
    return [drawn[i] for i in sorted(range(points), key=lambda i: -scores[i])]


def _varied(patterns: Patterns, point: Tensors) -> Tensors:
    """Which entries of the gates inputs change at one point."""
    seen = patterns.seen_at({k: t[None] for k, t in point.items()}, INPUTS)
    return {k: (g != g[:, :1]).any(1)[0] for k, g in seen.items()}


def _lively(patterns: Patterns) -> list[Tensors]:
    """Points at which inputs change many gates."""
    pool: list[Tensors] = []
    for points, score, _ in patterns.climb():
        pool = [*points, *pool][:TRIED]
        if score >= patterns.most:
            break
    return pool


def _near(patterns: Patterns, point: Tensors, i: int) -> Tensors:
    """A point near another."""
    return patterns.near(point, {k: v[0] for k, v in patterns.points(1).items()}, SHARES[i % len(SHARES)])


def tied(patterns: Patterns, best: Tensors) -> bool:
    """Whether some gates are shown to be tied: at many points where both vary, and not in the same way at all of them.

    At one point two gates of a network have at least three of the four pairs of states, unless they are one everywhere,
    and one gate has all of its states.  Where a unit is dead, gates behind it may be tied by that alone, and states may
    be too rare to be seen.  So points are looked at until there are many at which a pair never came apart; for one gate
    those where the rarest of its states is seen, beside another.

    Args:
        patterns: of the network.
        best: a point where many gates vary; half of the others are near it.
    """
    ever, met, most, live = torch.zeros(1, 1, 1, 1), torch.zeros(1, 1), torch.zeros(()), torch.zeros(())
    for _ in range(ROUNDS):
        for pairs in _looks(patterns, best):
            options = max(pairs.shape[1], ever.shape[1])
            pairs = _widened(pairs.double(), options)
            ever = torch.maximum(_widened(ever, options), pairs)
            states = pairs.diagonal(dim1=0, dim2=2).diagonal(dim1=0, dim2=1)  # of each gate
            vary = (states.sum(1) > 1).double()
            # points with such a state, beside another
            met = torch.nn.functional.pad(met, (0, options - met.shape[1])) + states * vary[:, None]
            most, live = torch.maximum(most, pairs.sum((1, 3))), live + vary.outer(vary)
        single, all_pairs = torch.eye(len(most), dtype=torch.bool), ever.sum((1, 3))
        known = ever.diagonal(dim1=0, dim2=2).diagonal(dim1=0, dim2=1) > 0
        shown = torch.where(single, met.masked_fill(~known, float("inf")).amin(1), live) >= SHOWN
        apart = most >= torch.where(single, all_pairs, all_pairs.clamp_max(3))
        if bool(apart.all()):
            return False
        if bool((~apart & shown).any()):
            return True
    return False


def _looks(patterns: Patterns, best: Tensors) -> list[torch.Tensor]:
    """Which pairs of states two gates have together, at points near one and as many anywhere (see `_pairs`)."""
    seen = patterns.seen_at(_around(patterns, best), INPUTS)
    moving = {k: ~patterns.still[k] if k in patterns.still else torch.ones(g.shape[2:]) > 0 for k, g in seen.items()}
    states = torch.cat([_few(g[:, :, moving[k]]) for k, g in seen.items()], 2)
    if states.shape[2] > WIDEST:
        states = states[:, :, torch.linspace(0, states.shape[2] - 1, WIDEST).long()]
    return [_pairs(s, int(states.max()) + 1) for s in states]


def _few(gates: torch.Tensor) -> torch.Tensor:
    """States of gates, many of them in classes: gates that these tell apart come apart, and memory is enough."""
    return gates.remainder(STATES) if gates.numel() and int(gates.max()) >= STATES else gates


def _around(patterns: Patterns, best: Tensors) -> Tensors:
    """A point, as many near it as are looked at together, and as many anywhere."""
    near = [_near(patterns, best, i) for i in range(POINTS)]
    random = patterns.points(POINTS)
    return {k: torch.cat([torch.stack([best[k], *(o[k] for o in near)]), random[k]]) for k in best}


def _pairs(states: torch.Tensor, options: int) -> torch.Tensor:
    """Which pairs of states two gates have together, `(gates, options, gates, options)` from `(samples, gates)`."""
    n, gates = states.shape
    which = torch.nn.functional.one_hot(states, options).reshape(n, gates * options).double()
    return (which.T @ which > 0).reshape(gates, options, gates, options)


def _widened(pairs: torch.Tensor, options: int) -> torch.Tensor:
    """Pairs of states where there are more states."""
    more = options - pairs.shape[1]
    return torch.nn.functional.pad(pairs, (0, more, 0, 0, 0, more))


__all__ = ["Reach", "doubted", "tied"]
