"""Rules of the cores of normalisations (without gain and shift)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..algebra import Algebra, Blocks, Diagonal, Nothing, Scalar, ScalarPlusOnes
from ..subspace import Subspace, Vector
from .base import Blind, Rule

if TYPE_CHECKING:
    from ..balance import Balance
    from ..diagram import Site
    from ..directions import Directions
    from ..layouts import Layouts
    from ..shifts import Shifts


@dataclass(frozen=True)
class NormRule(Rule):
    """LayerNorm, RMSNorm, GroupNorm cores.

    Attributes:
        centre: whether the mean is removed.
        scale: whether the result is divided by its norm (False after the norm was found to be invisible).
        groups: number of groups that are normalised apart.
        local: whether every position is normalised by itself; a GroupNorm over space is not.
        epsilon: the constant under the root; above 0 the scale part holds only approximately.
    """

    centre: bool
    scale: bool = True
    groups: int = 1
    local: bool = True
    epsilon: float = 0.0

    @property
    def statement(self) -> str:
        if not self.scale:
            return "centring: S_in and S_out agree on the complement of 1; blind to shifts along 1"
        if not self.centre:
            return "RMSNorm core: S_in in span{I}, S_out = 0"
        where = "" if self.groups == 1 else " per group"
        return f"LayerNorm core{where}: S_in in span{{I, 11^T}}, S_out in span{{11^T}}; blind to shifts along 1"

    def shape(self, layouts: Layouts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        size = layouts.size(x)
        if not self.scale:
            layouts.centred(x)
            layouts.centred(y)
            layouts.align(x, y)
            return
        exact = not self.epsilon or layouts.lax
        per_group = size // self.groups
        if self.centre and self.local:
            allowed = ScalarPlusOnes(per_group)
        else:
            allowed = Scalar(per_group) if exact else Nothing(per_group)
        layouts.meet(x, Blocks(self.groups, allowed) if self.groups > 1 else allowed)
        if self.centre and self.local and self.groups == 1:
            layouts.ones(y)
        else:
            layouts.meet(y, Nothing(size))

    def balance(self, balance: Balance, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if not self.scale:
            balance.centre(x, y)
            return
        if self.centre and self.local:
            if self.groups == 1:
                balance.only_ones(y)
            if self.epsilon and not balance.lax:
                balance.only_ones(x)

    def _lines(self, layout: Algebra) -> list[Vector]:
        """The vectors along which a constant shift is unseen."""
        if not self.centre:
            return []
        if self.groups == 1:
            return [{(i, b.constant): 1 for i, b in enumerate(layout.boxes)}]
        box = layout.boxes[0]
        if len(layout.boxes) != 1 or box.dims[0] != self.groups:
            return []
        tail = "c" * (len(box.dims) - 1)
        return [{(0, "c" + tail): 1}, {(0, "d" + tail): 1}]

    def shift(self, shifts: Shifts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        lines = self._lines(shifts.layout(x))
        if self.scale:
            shifts.forbid(x, allow=lines, every_token=self.local)
            shifts.emit(site, y, {})
        else:
            terms = shifts.wire_terms(x, y)
            shifts.emit(site, y, {k: v for k, v in terms.items() if "d" in k[1][1]})

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        x, y = site.inputs[0], site.outputs[0]
        still = Subspace(tuple(self._lines(directions.layout(x))))
        moving = still if self.local else Subspace()
        if not self.scale:
            waves = Subspace(tuple({k: 1} for k in directions.keys(y) if "d" in k[1]))
            still = still.join(directions.still(y).meet(waves))
            moving = moving.join(directions.moving(y).meet(waves))
        return [Blind(moving, still)]

    def silent(self, directions: Directions, site: Site) -> Sequence[Subspace]:
        x, y = site.inputs[0], site.outputs[0]
        known = directions.absent(x) if self.groups == 1 and self.local else Subspace()
        lines = self._lines(directions.layout(y)) if self.local else []
        return [known.join(Subspace(tuple(lines)))]

    def degree(self, degrees: Sequence[int], local: bool) -> int | None:
        if not self.scale:
            return degrees[0]
        return 0 if self.local or not local or not degrees[0] else None


@dataclass(frozen=True)
class BatchNormRule(Rule):
    """BatchNorm core in training: `S_in` diagonal, `S_out = 0`, blind to every constant shift."""

    epsilon: float = 0.0

    @property
    def statement(self) -> str:
        return "BatchNorm core, training: S_in diagonal, S_out = 0; blind to every constant"

    def shape(self, layouts: Layouts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        size = layouts.size(x)
        layouts.meet(x, Diagonal(size) if layouts.lax or not self.epsilon else Nothing(size))
        layouts.meet(y, Nothing(size))

    def shift(self, shifts: Shifts, site: Site) -> None:
        shifts.require_uniform(site.inputs[0])
        shifts.emit(site, site.outputs[0], {})

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        return [Blind(still=Subspace.everything(directions.layout(site.inputs[0])))]
