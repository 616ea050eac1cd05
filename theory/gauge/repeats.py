"""Wires whose heads repeat the heads of another wire: how the sectors of the two correspond."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .algebra import Algebra


@dataclass(frozen=True)
class Pairing:
    """A box of a wire of `groups x copies x width` features and the box of `groups x width` that it repeats.

    Attributes:
        many: index of the box on the wide wire.
        few: index of the box on the narrow wire.
        at: number of axes that run over the groups.
        span: number of axes of the wide box that run over the copies.
        axes: number of axes of the narrow box.
    """

    many: int
    few: int
    at: int
    span: int
    axes: int

    def spread(self, label: str, repeat: str = "c") -> str:
        """The label on the wide box that belongs to one on the narrow box; `repeat` labels every axis of copies."""
        return label[: self.at] + repeat * self.span + label[self.at :]

    def copies(self, label: str) -> str:
        """What a label of the wide box says about the copies."""
        return label[self.at : self.at + self.span]

    def gathered(self, label: str) -> str:
        """The label of the narrow box that a label of the wide box repeats."""
        return label[: self.at] + label[self.at + self.span :]


def repeated(many: Algebra, few: Algebra, groups: int, copies: int) -> list[Pairing]:
    """The boxes of two wires that are cut alike (see `Layouts.repeated`).

    Either both are one box, or both are cut at every head.
    """
    if len(many.boxes) == 1 and len(few.boxes) == 1:
        narrow, wide = few.boxes[0].dims, many.boxes[0].dims
        at = axes_over(narrow, groups)
        return [Pairing(0, 0, at, axes_over(wide[at:], copies), len(narrow))]
    parts = len(few.boxes) // groups
    return [
        Pairing((g * copies + c) * parts + p, g * parts + p, 0, 0, len(few.boxes[g * parts + p].dims))
        for g in range(groups)
        for c in range(copies)
        for p in range(parts)
    ]


def axes_over(dims: tuple[int, ...], count: int) -> int:
    """How many leading axes of a multi-index run over `count` blocks."""
    at = 0
    while math.prod(dims[:at]) < count:
        at += 1
    return at
