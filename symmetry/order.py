"""Whether all parameters of a symmetry hold their channels in one order, which is all that plain data can say.

`flip`, `roll`, an index and a channel shuffle between two layers permute channels on their way.  The symmetry acts on
the column that reads a channel, wherever that is; a tool that divides row `i` and multiplies column `i` hits another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

import torch

from lawful.theory.gauge.contract import View
from lawful.theory.laws.statement import Part
from lawful.theory.parts import base, read

from .moves import Move

TURNED = re.compile(r"\.(permute|flip|roll|pick)\(")  # what may change the order of numbers; views and slices do not
LARGEST = 50_000_000  # numbers of a parameter in another order whose channels are found one by one
WHOLE = "whole"


def ordered(moves: Sequence[Move], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether every parameter that answers has its channels in the order of the first one.

    One that stands for every channel several times (behind a flatten, for groups of queries) has them in blocks.

    Args:
        moves: how the parameters answer.
        shapes: of whole parameters and statistics, by name.
    """
    found: dict[tuple[int, ...], None] = {}
    for move in moves:
        channels = _channels(move.part, shapes)
        if channels is None:
            return False
        found[channels] = None
    if len(found) < 2:
        return True
    if len({len(channels) for channels in found}) < len(found):
        return False
    first = next(iter(found))
    names = {channel: i for i, channel in enumerate(dict.fromkeys(first))}
    return all(set(channels) == set(names) and _in_blocks([names[c] for c in channels]) for channels in found)


def _channels(part: Part, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """The channel of every place along the axis that answers, in the order of the parameter; None if not known."""
    name = base(part.parameter)
    step = part.parameter.removeprefix(name)
    plain = replace(part, parameter=WHOLE, offset=Fraction(0))
    if not TURNED.search(step):  # then the view that is read has the order of the whole, and other axes say nothing
        lead = set(part.view.order[: part.view.lead])
        shape = tuple(n if i in lead else 1 for i, n in enumerate(part.view.shape))
        return _read_in(replace(plain, view=replace(part.view, shape=shape)), shape)
    if name not in shapes or torch.Size(shapes[name]).numel() > LARGEST:
        return None
    return _read_in(replace(plain, parameter=WHOLE + step), tuple(shapes[name]))


@lru_cache(maxsize=256)
def _read_in(part: Part, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The same for a whole of a shape, where every number that is read is marked with its channel."""
    numbers = torch.arange(torch.Size(shape).numel(), dtype=torch.int32)
    x = part.read(read(part.parameter, {WHOLE: numbers.reshape(shape)}))
    count = x.shape[:-2].numel()
    places = x.reshape(count, -1)
    if not places.numel():
        return None
    marks = torch.full((len(numbers),), -1, dtype=torch.int32)
    marks[places.flatten().long()] = torch.arange(count, dtype=torch.int32).repeat_interleave(places.shape[1])
    if int((marks >= 0).sum()) != places.numel():
        return None  # a number of two channels
    marks = marks.reshape(shape)
    for axis in reversed(range(len(shape))):
        top = marks.amax(axis, keepdim=True)
        if bool(((marks == top) | (marks < 0)).all()):
            marks = top
    flat = marks.flatten()
    return tuple(flat[flat >= 0].tolist())


def _in_blocks(channels: list[int]) -> bool:
    """Whether channels are counted in one order, each once or in blocks: an array of channels with further axes."""
    n, size = max(channels) + 1, len(channels)
    if size % n:
        return False
    found = torch.tensor(channels)
    for inner in (i for i in range(1, n + 1) if n % i == 0):
        every = torch.arange(n).reshape(1, n // inner, 1, inner, 1)
        for before in (i for i in range(1, size // n + 1) if (size // n) % i == 0):
            for between in (i for i in range(1, size // n // before + 1) if (size // n // before) % i == 0):
                after = size // n // before // between
                counted = every.expand(before, n // inner, between, inner, after)
                if torch.equal(counted.flatten(), found):
                    return True
    return False


def axis_of(part: str, view: View, whole: tuple[int, ...]) -> int | None:
    """The axis of a whole parameter that a view of its part leads with: the one along which it steps."""
    axis = view.order[view.lead - 1]
    if part == base(part):  # the numbers stand in one order, cut into other axes
        step = math.prod(view.shape[axis + 1 :])
        steps = [math.prod(whole[i + 1 :]) for i in range(len(whole))]
        return next((i for i, n in enumerate(whole) if n > 1 and steps[i] <= step < n * steps[i]), None)
    numbers = torch.arange(torch.Size(whole).numel()).reshape(whole)
    seen = read(part, {base(part): numbers}).reshape(view.shape).movedim(axis, 0)
    places = torch.unravel_index(seen.reshape(len(seen), -1)[:2, 0], whole) if len(seen) > 1 else ()
    moving = [i for i, place in enumerate(places) if place[0] != place[1]]
    return moving[0] if len(moving) == 1 else None
