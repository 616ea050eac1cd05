"""How blocks pass on what moves along positions: heads, hidden units and edges that a network treats as positions.

`phi(q) (phi(k)^T v)`, a spline for every hidden unit, scores of edges for every head: features become positions there
and come back.  What is cut, permuted and joined is followed piece by piece; other blocks do the same at every position
or take them all alike.

This file is long because an axis is followed through a view in both directions, to features and to positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from lawful.blocks import Positions, Rearrange
from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.diagram import Diagram
from lawful.theory.gauge.rules import (
    AddRule,
    BatchNormRule,
    BlendRule,
    ConcatRule,
    DiscardRule,
    FrozenNormRule,
    GainRule,
    GroupProductRule,
    HeadGainRule,
    HomogeneousRule,
    LargerRule,
    LinearRule,
    MixtureRule,
    NormRule,
    OffsetRule,
    PassRule,
    PointwiseRule,
    PositionMixRule,
    ProductRule,
    RepeatRule,
    ScalarGainRule,
    SoftmaxRule,
    SumFeaturesRule,
    TurnRule,
)

from .axes import Axis, Steps, everywhere

EACH = (
    AddRule
    | BatchNormRule
    | BlendRule
    | ConcatRule
    | FrozenNormRule
    | GainRule
    | GroupProductRule
    | HeadGainRule
    | LargerRule
    | MixtureRule
    | NormRule
    | ProductRule
    | RepeatRule
    | ScalarGainRule
    | SoftmaxRule
    | SumFeaturesRule
)
FEW = AddRule | ProductRule | HomogeneousRule | PointwiseRule | PassRule  # what sees each number by itself
Dims = Sequence[Sequence[int]]  # for every axis the pieces that make it up, by number


def through(diagram: Diagram, site: Site, w: int, axis: Axis) -> Steps:
    """What moves with an axis of the positions of a wire, None if a block does not let it through.

    Args:
        diagram: the network, as drawn.
        site: the block.
        w: the wire.
        axis: what moves.
    """
    rule = site.rule
    spaces = {v: diagram.wires[v].space for v in (*site.inputs, *site.outputs)}
    if isinstance(rule, DiscardRule):
        return []
    sizes = {diagram.wires[v].size for v in spaces}
    if axis.only and (not isinstance(rule, FEW) or len(sizes) > 1 or len(set(spaces.values())) > 1):
        return None
    if isinstance(rule, PositionMixRule):
        return _mixed(site, w, axis)
    each = isinstance(rule, EACH)
    each |= isinstance(rule, LinearRule) and rule.geometry == ("linear",) and not rule.lookup
    each |= isinstance(rule, HomogeneousRule | PointwiseRule) and not rule.mixes
    each |= isinstance(rule, PassRule) and rule == PassRule(factor=rule.factor)
    each |= isinstance(rule, OffsetRule) and rule.number is not None
    if not each:
        return None
    steps = []
    for v, space in spaces.items():
        if len(space) == len(spaces[w]) and space[axis.along] == spaces[w][axis.along]:
            steps.append((v, axis))
        elif math.prod(space) != 1 and not (len(space) == len(spaces[w]) and space[axis.along] == 1):
            return None
    return steps


def _mixed(site: Site, w: int, axis: Axis) -> Steps:
    """`y = A x`: positions of y are those of A, and the positions of x are features of A."""
    a, x = site.inputs
    if a == x:
        return None
    return [(a, replace(axis, along=-1))] if w == x else everywhere(site, axis, {a, site.outputs[0]})


def weighs(site: Site, w: int, axis: Axis) -> Steps:
    """The features of the weights of `y = A x` are the positions of x."""
    a, x = site.inputs
    return None if a == x else [(x, replace(axis, along=0))]


def turned(rule: TurnRule, site: Site, w: int, axis: Axis) -> Steps:
    """A transpose makes features of the positions along one axis, and positions of features."""
    (other,) = {*site.inputs, *site.outputs} - {w} or {w}
    if axis.start or axis.only:
        return None
    swap = {-1: rule.axis, rule.axis: -1}
    return [(other, replace(axis, along=swap.get(axis.along, axis.along)))]


def reduced(block: Positions, site: Site, w: int, axis: Axis) -> Steps:
    """A sum or mean over an axis of positions does not see their order; of other axes each is done by itself."""
    (x,), (y,) = site.inputs, site.outputs
    gone = block.operation in ("mean", "sum")
    if block.operation not in ("mean", "sum", "slice", "roll", "flip", "pick"):
        return [(x, axis), (y, axis)] if axis.along < 0 and not axis.only else None
    if w == x and gone and axis.along == block.axis:
        return []

    def there(at: int) -> int | None:
        if at < 0:
            return at
        if w == x:
            return None if at == block.axis else at - (gone and at > block.axis)
        at += gone and at >= block.axis
        return None if at == block.axis else at

    to, only = there(axis.along), there(axis.only[0]) if axis.only else -1
    if to is None or only is None:
        return None
    here = replace(axis, along=to, only=(only, axis.only[1]) if axis.only else None)
    return [(y if w == x else x, here)]


def rearranged(block: Rearrange, site: Site, w: int, axis: Axis) -> Steps:
    """Axes that are cut into pieces, permuted and joined: the pieces that move must stay together."""
    (x,), (y,) = site.inputs, site.outputs
    sizes = dict(enumerate(block.pieces))
    inside: list[list[int]] = []
    at = 0
    for length in block.reads.shape:
        inside.append([])
        while math.prod(sizes[i] for i in inside[-1]) < length:
            inside[-1].append(at)
            at += 1
    repeats = iter(block.repeats)
    placed: list[int] = []
    for i in block.order:
        if i < 0:
            i = len(sizes)
            sizes[i] = next(repeats)
        placed.append(i)
    outside, start = [], 0
    for n in block.joined:
        outside.append(placed[start : start + n])
        start += n
    first = bool(block.reads.channels_first and block.reads.space)
    read = _features_last(inside, first)
    written = _features_last(outside, block.first)
    here, there, other = (read, written, y) if w == x else (written, read, x)
    moved = across(here, there, sizes, axis)
    return None if moved is None else [(other, a) for a in moved]


def _features_last(dims: list[list[int]], first: bool) -> list[list[int]]:
    return [*dims[1:], dims[0]] if first else dims


def across(here: Dims, there: Dims, sizes: dict[int, int], axis: Axis) -> list[Axis] | None:
    """The axis that moves on the other side of a rearrangement; none if these are copies, None if it is torn.

    Args:
        here: the pieces of every axis on this side, the features last.
        there: the same on the other side.
        sizes: of the pieces.
        axis: what moves on this side.
    """
    at = axis.along % len(here)
    turn = axis.before * axis.count * axis.after
    total = math.prod(sizes[i] for i in here[at])
    if axis.start % turn or total % turn or (axis.only and turn < total):
        return None
    sizes, cut = dict(sizes), {i: [i] for d in (*here, *there) for i in d}
    if not all(_cut_at(here[at], inner, sizes, cut) for inner in (axis.after, axis.after * axis.count, turn)):
        return None
    behind, moving, held = 1, list[int](), list[int]()
    for j in reversed([j for i in here[at] for j in cut[i] if sizes[j] > 1]):
        if axis.after <= behind < axis.after * axis.count:
            moving.insert(0, j)
        elif behind >= turn:
            held.insert(0, j)
        behind *= sizes[j]
    if axis.only:
        held = [j for i in here[axis.only[0]] for j in cut[i] if sizes[j] > 1]
    place = (
        axis.only[1] if axis.only else axis.start // turn
    )  # of the part that moves, among as many as those that stay make
    every = math.prod(sizes[j] for j in held) > 1
    for to, dim in enumerate(there):
        theirs = [j for i in dim for j in cut[i] if sizes[j] > 1]
        if set(moving).isdisjoint(theirs):
            continue
        k = theirs.index(moving[0]) if moving[0] in theirs else -1
        if k < 0 or theirs[k : k + len(moving)] != moving:
            return None
        before, after = (math.prod(sizes[j] for j in side) for side in (theirs[:k], theirs[k + len(moving) :]))
        found = Axis(0, before, axis.count, after, _along(to, there))
        if not every:
            return [found]
        if theirs[: len(held)] == held:
            before //= math.prod(sizes[j] for j in held)
            return [replace(found, before=before, start=place * before * axis.count * after)]
        homes = [i for i, d in enumerate(there) if [j for p in d for j in cut[p] if sizes[j] > 1] == held]
        return [replace(found, only=(_along(homes[0], there), place))] if homes else None
    return [] if moving else None


def _along(at: int, dims: Dims) -> int:
    return -1 if at == len(dims) - 1 else at


def _cut_at(dim: Sequence[int], inner: int, sizes: dict[int, int], cut: dict[int, list[int]]) -> bool:
    """Cuts pieces so that one begins so many numbers before the end of an axis; whether that is possible."""
    behind = 1
    for i in reversed(dim):
        for j in reversed(list(cut[i])):
            if behind == inner:
                return True
            if inner < behind * sizes[j]:
                if inner % behind or sizes[j] % (inner // behind):
                    return False
                low, new = inner // behind, len(sizes)
                sizes[new], sizes[j] = low, sizes[j] // low
                cut[i].insert(cut[i].index(j) + 1, new)
                return True
            behind *= sizes[j]
    return behind == inner


def picked(order: Sequence[int], axis: Axis, size: int) -> Axis | None:
    """The axis of features that are those of a wire in an order, some of them several times, that moves with its axis.

    Args:
        order: for every feature which one of the wire it is.
        axis: what moves on the wire.
        size: of the wire.
    """
    if axis.start or axis.stop != size or axis.along >= 0:
        return None
    read = torch.tensor(order)
    channel = read // axis.after % axis.count
    return _axis_of(channel, read - channel * axis.after, axis.count)


def picked_from(order: Sequence[int], axis: Axis, size: int) -> Axis | None:
    """The axis of a wire that moves with one of its features in an order (see `picked`)."""
    if axis.start or axis.stop != len(order) or axis.along >= 0:
        return None
    read = torch.tensor(order)
    place = torch.full((size,), -1)
    place[read] = torch.arange(len(order))
    if bool((place < 0).any()):
        return None
    channel = place // axis.after % axis.count
    found = _axis_of(channel, None, axis.count)
    return found if found is not None and picked(order, found, size) == axis else None


def _axis_of(channel: torch.Tensor, rest: torch.Tensor | None, count: int) -> Axis | None:
    """The axis along which channels are counted in blocks, where nothing else depends on the channel."""
    changes = (channel != channel[0]).nonzero()
    after = int(changes[0]) if len(changes) else len(channel)
    if len(channel) % (count * after):
        return None
    shape = (-1, count, after)
    counted = torch.arange(count)[:, None].expand(len(channel) // count // after, count, after)
    if not torch.equal(channel.reshape(shape), counted):
        return None
    if rest is not None and not bool((rest.reshape(shape) == rest.reshape(shape)[:, :1]).all()):
        return None
    return Axis(0, len(channel) // count // after, count, after)


def alike_along(numbers: torch.Tensor, space: tuple[int, ...], axis: Axis) -> bool:
    """Whether fixed numbers `(positions, features)` are the same for everything that moves along an axis."""
    whole = numbers.reshape(*space, numbers.shape[-1]).movedim(axis.along, -1)
    if axis.stop > whole.shape[-1]:
        return False
    parts = whole[..., axis.start : axis.stop].reshape(*whole.shape[:-1], axis.before, axis.count, axis.after)
    return bool((parts == parts[..., :1, :]).all())
