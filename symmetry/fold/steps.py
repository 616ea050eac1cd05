"""What every fold gives, and the reading and writing of parameters that folds share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial

import torch

from lawful.symmetry.moves import put
from lawful.symmetry.running import Tensors
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.gauge.contract import Site, Use, View
from lawful.theory.gauge.rules import LinearRule
from lawful.theory.laws.statement import Part
from lawful.theory.parts import base

Gone = dict[str, float | str]
"""What does nothing after a fold: parameters, each with the number that it then holds; LayerNorms whose stream is
centred; and BatchNorms that only add their shift, each with the map that can take it."""

Change = tuple[Tensors, Gone]
"""The tensors that change, and what does nothing afterwards."""

Steps = Iterator[tuple[str, Change | str]]
"""What is folded into what, with the change or the reason why not."""


def reading(use: Use, size: int, wire: int) -> Part:
    """The axis of a parameter along which a wire is read."""
    return _along(use, size, wire, -1)


def writing(use: Use, size: int, wire: int) -> Part:
    """The axis of a parameter along which a wire is written."""
    return _along(use, size, wire, 1)


def _along(use: Use, size: int, wire: int, sign: int) -> Part:
    axis = next(i for i, ends in enumerate(use.axes) if any(w == wire and s == sign for w, s in ends))
    return Part(use.parameter, use.views[axis], (size,), ((0, size),), (size,), (0,), Fraction(0))


def view_of(found: Symmetries, name: str) -> View:
    """How the first use of a parameter reads it."""
    return found.uses[name][0][1].views[0]


def whole(found: Symmetries, name: str, size: int) -> Part:
    """All numbers of a bias."""
    return Part(name, view_of(found, name), (size,), ((0, size),), (size,), (0,))


def rewritten(site: Site, wire: int, size: int, work: Tensors, act: Callable[[torch.Tensor], torch.Tensor]) -> Tensors:
    """What a map that writes a wire holds after the same change of its weight and its bias.

    Args:
        site: the map.
        wire: the wire.
        size: its features.
        work: all tensors.
        act: from what is read, features first, to what stands there afterwards.
    """
    now = dict(work)
    for use in site.rule.uses(site):
        if any((wire, 1) in ends for ends in use.axes):
            now[base(use.parameter)] = put(writing(use, size, wire), now, act)
    return now


def added(step: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """A bias with something added."""
    return b + step.reshape(b.shape)


def with_bias(found: Symmetries, bias: str, step: torch.Tensor, work: Tensors) -> torch.Tensor:
    """A whole bias with something added."""
    return put(whole(found, bias, len(step)), work, partial(added, step))


def changed(work: Tensors, now: Tensors) -> Tensors:
    """The tensors that are others than before."""
    return {n: t for n, t in work.items() if t is not now[n]}


def used_elsewhere(found: Symmetries, rule: LinearRule) -> str:
    """The parameter of a linear map that has a second use; empty if none has."""
    return next((n for n in (rule.weight, rule.bias) if n is not None and len(found.uses[n]) > 1), "")
