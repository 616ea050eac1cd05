"""Whether a network has, at one point, all that the activation patterns of all points give.

Counting with the patterns of all points finds the functions that are conserved on every piece of the network.  A
network may never have these patterns together: with weights of rank one, units whose weights have one sign are on
together always, so that more is conserved near every point.  Such a count is not false, but it is not the number of
laws at any point, and nothing can be said to be missing or not.

Fields that span as much at one point, with the patterns of this point alone, as with those of all points have the same
Lie algebra.  Points where inputs change many gates are looked for, since a unit that is dead at a point spans nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from lawful.theory.oracle.counting import Count
from lawful.theory.verdict import Verdict

from ..architecture.patterns import POINTS, SHARES, Patterns

TRIED = 4  # of the best points, at which fields are spanned
CLIMBS = 12  # points near the best of these, at least
MOST_CLIMBS = 96
WORK = 10_000  # points near the best, times parameters: a small network is looked at more often
ELSEWHERE = 3  # points, where parameters alone decide a pattern
INPUTS = 256  # at each point where pairs of gates are looked at
WIDEST = 300  # gates in these pairs

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Reach:
    """How a network is counted with the patterns of single points.

    Attributes:
        patterns: of the network.
        spanned: the dimension of the fields with the patterns of given parameters.
        laws: how many laws are counted with these.
        elsewhere: the dimension of the fields with the patterns of all points, where those that parameters alone decide
            are those of another point, by its seed.
    """

    patterns: Patterns
    spanned: Callable[[Tensors], int]
    laws: Callable[[Tensors], int]
    elsewhere: Callable[[int], int]


def doubted(found: Count, reach: Reach) -> Count:
    """A count with the patterns of all points; undecided where no point seems to have them.

    Args:
        found: the count.
        reach: how the same is counted at single points.
    """
    if not reach.patterns.chosen or not found.laws < found.parameters:
        return found
    if reach.patterns.still:
        others = [reach.elsewhere(seed) for seed in range(1, ELSEWHERE + 1)]
        if any(n != found.ranks[0] for n in others):
            spans = ", ".join(map(str, (found.ranks[0], *others)))
            why = f"parameters alone decide some activations, and fields span {spans} dimensions at different ones"
            return replace(found, verdict=Verdict.UNDECIDED, method=f"{found.method}; {why}")
    most, best = -1, None
    climbs = max(CLIMBS, min(MOST_CLIMBS, WORK // found.parameters))
    for i, values in enumerate((*_lively(reach.patterns), *[None] * climbs)):
        point = values if values is not None or best is None else _near(reach.patterns, best, i)
        if point is None:
            continue
        spanned = reach.spanned(point)
        if spanned == found.ranks[0]:
            return found
        if spanned >= most:
            most, best = spanned, point
    laws = found.laws if best is None else reach.laws(best)
    if laws == found.laws or (best is not None and not tied(reach.patterns, best)):
        return found
    why = f"with the activation patterns that one point has, {laws} laws are counted: others never come together"
    return replace(found, verdict=Verdict.UNDECIDED, method=f"{found.method}; {why}")


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
    """Whether some gates are tied at every point that is looked at, and not in the same way at all of them.

    At one point two gates of a network have at least three of the four pairs of states, unless they are one everywhere,
    and one gate has all of its states.

    Args:
        patterns: of the network.
        best: a point where many gates vary; half of the others are near it.
    """
    others = [_near(patterns, best, i) for i in range(POINTS)]
    random = patterns.points(POINTS)
    points = {k: torch.cat([torch.stack([best[k], *(o[k] for o in others)]), random[k]]) for k in best}
    seen = patterns.seen_at(points, INPUTS)
    moving = {k: ~patterns.still[k] if k in patterns.still else torch.ones(g.shape[2:]) > 0 for k, g in seen.items()}
    states = torch.cat([g[:, :, moving[k]] for k, g in seen.items()], 2)
    if states.shape[2] > WIDEST:
        states = states[:, :, torch.linspace(0, states.shape[2] - 1, WIDEST).long()]
    together = torch.stack([_pairs(s) for s in states])  # at each point
    ever = _pairs(states.flatten(0, 1))
    single = torch.eye(len(ever), dtype=torch.bool)
    most, enough = together.amax(0), torch.where(single, ever, ever.clamp_max(3))
    return bool((most < enough).any())


def _pairs(states: torch.Tensor) -> torch.Tensor:
    """How many pairs of states two gates have together, from `(samples, gates)` states."""
    n, gates = states.shape
    options = int(states.max()) + 1
    which = torch.nn.functional.one_hot(states, options).reshape(n, gates * options).double()
    return (which.T @ which > 0).reshape(gates, options, gates, options).sum((1, 3))


__all__ = ["Reach", "doubted", "tied"]
