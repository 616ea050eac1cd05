"""Rules of operations that mix positions and do the same to every feature, each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..contract import Blind, Rule, Site
from ..passes import DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace
from ..unknowns import scale_terms
from .norms import whole_boxes
from .pointwise import HomogeneousRule, PassRule


class _Differences(Rule):
    """What sees no constant of all positions, beside whatever else a rule says."""

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        shifts.require_uniform(site.inputs[0])
        shifts.emit(site.outputs[0], {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        return unseen_constants(directions, site, super().blind(directions, site))


@dataclass(frozen=True)
class LinearAlongRule(_Differences, PassRule):
    """A fixed linear map of the positions that takes a constant to zero (differences): no constant is seen."""

    @property
    def statement(self) -> str:
        return "acts on spectator axes, and takes constants to zero: S_out = S_in, t_out = 0"


@dataclass(frozen=True)
class SpreadRule(_Differences, HomogeneousRule):
    """A homogeneous function of the positions of one feature that sees no constant (a standard deviation)."""

    @property
    def statement(self) -> str:
        return f"{super().statement}; constants are not seen"


@dataclass(frozen=True)
class FreeAlongRule(Rule):
    """Any other function of the positions of one feature: `S = 0`.

    Attributes:
        total: as in `along_rule`.
    """

    total: Fraction | None = None

    mixes = True

    @property
    def statement(self) -> str:
        return "a function of the positions of every feature that is not homogeneous: S = 0"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        super().shape(layouts, site)
        layouts.align(site.inputs[0], site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if self.total is None:
            shifts.forbid(x)
            shifts.emit(y, {})
            return
        shifts.require_uniform(x)
        shifts.emit(y, scale_terms(shifts.wire_terms(x, y, "uniform"), self.total) if self.total else {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        unread = whole_boxes(directions.moving(y), directions.layout(y))
        if self.total == 0:
            return unseen_constants(directions, site, [Blind(unread, unread)])
        return [Blind(unread, unread)]


def unseen_constants(directions: DirectionPass, site: Site, known: Sequence[Blind]) -> list[Blind]:
    """What readers do not see anyway, and whatever all positions of an example share."""
    everything = Subspace.everything(directions.layout(site.inputs[0]))
    return [Blind(known[0].moving, everything, everything)]


def along_rule(power: Fraction | None, total: Fraction | None) -> Rule:
    """The rule of a function of the positions of one feature, the same for all.

    Args:
        power: its degree, 0 for a function that has none; None for a linear map.
        total: what comes out of a constant one at every position: 0, some number, or None for nothing constant.
    """
    if power == 0:
        return FreeAlongRule(total)
    if power is not None:
        if total == 0:
            return SpreadRule(power, mixes=True, alike=True)
        return HomogeneousRule(power, shifts=total == 1, mixes=True, alike=True)
    if total == 0:
        return LinearAlongRule("uniform", keeps_constants=False, mixes=True, repeats=True)
    return PassRule("uniform", total is not None, mixes=True, factor=total or Fraction(1), repeats=True)


__all__ = ["LinearAlongRule", "SpreadRule", "along_rule"]
