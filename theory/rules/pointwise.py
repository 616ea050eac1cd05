"""Rules of blocks without parameters that act on one wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..algebra import Algebra, Box, Copies, Diagonal
from ..subspace import Subspace
from .base import Blind, Rule

if TYPE_CHECKING:
    from ..balance import Balance
    from ..diagram import Site
    from ..directions import Directions
    from ..layouts import Layouts
    from ..shifts import Shifts


@dataclass(frozen=True)
class HomogeneousRule(Rule):
    """A point-wise map of degree `p` (ReLU family: 1, ReLU^p and x^p: p): `S_out = p S_in`, diagonal.

    `shifts` is True for a map that passes constants on (max-pooling); `isometric` for one that keeps the norm (abs);
    `noisy` for one that draws at random (dropout); `mixes` for one that reads several positions (pooling).
    """

    power: int = 1
    shifts: bool = False
    isometric: bool = False
    noisy: bool = False
    mixes: bool = False

    @property
    def statement(self) -> str:
        factor = "" if self.power == 1 else f"{self.power} "
        return f"homogeneous of degree {self.power}: S_out = {factor}S_in, diagonal"

    def shape(self, layouts: Layouts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        layouts.meet(x, Diagonal(layouts.size(x)))
        layouts.equal(x, y)

    def balance(self, balance: Balance, site: Site) -> None:
        balance.equal(site.inputs[0], site.outputs[0], self.power)

    def shift(self, shifts: Shifts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if self.shifts:
            shifts.require_uniform(x)
            shifts.emit(site, y, shifts.wire_terms(x, y))
        else:
            shifts.forbid(x)
            shifts.emit(site, y, {})

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        return [Blind(still=directions.still(site.outputs[0]) if self.shifts else Subspace())]

    def degree(self, degrees: Sequence[int], local: bool) -> int | None:
        return None if self.mixes and local and degrees[0] else self.power * degrees[0]


@dataclass(frozen=True)
class PointwiseRule(Rule):
    """Any point-wise map that is not homogeneous: `S_in = S_out = 0`."""

    @property
    def statement(self) -> str:
        return "point-wise map that is not homogeneous: S_in = S_out = 0"


@dataclass(frozen=True)
class PassRule(Rule):
    """Averages and moves of the spectator axes: `S_out = S_in`, constants pass.

    Attributes:
        weights: for every output token the average of input tokens it is, as `"same"`, `"mean"` or the index taken.
        keeps_constants: False where zero padding breaks constants.
        mixes: True where values of several positions are averaged (a factor per token does not pass).
    """

    weights: str | int = "same"
    keeps_constants: bool = True
    mixes: bool = False

    @property
    def statement(self) -> str:
        return "acts on spectator axes: S_out = S_in, t_out = t_in"

    def shape(self, layouts: Layouts, site: Site) -> None:
        layouts.equal(site.inputs[0], site.outputs[0])
        if isinstance(self.weights, int):
            layouts.cut_tokens(site.inputs[0], self.weights)

    def balance(self, balance: Balance, site: Site) -> None:
        balance.equal(site.inputs[0], site.outputs[0])

    def shift(self, shifts: Shifts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if not self.keeps_constants:
            shifts.forbid(x)
            shifts.emit(site, y, {})
        else:
            shifts.emit(site, y, shifts.wire_terms(x, y, self.weights))

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        return [Blind(directions.moving(y), directions.still(y) if self.keeps_constants else Subspace())]

    def silent(self, directions: Directions, site: Site) -> Sequence[Subspace]:
        return [directions.absent(site.inputs[0])]

    def degree(self, degrees: Sequence[int], local: bool) -> int | None:
        return None if self.mixes and local and degrees[0] else degrees[0]


@dataclass(frozen=True)
class FlattenRule(Rule):
    """Spectator indices become features: every feature stands for `before x after` copies with one `S`."""

    before: int = 1
    after: int = 1

    @property
    def statement(self) -> str:
        return "flatten: S_out = I (x) S_in (x) I"

    def _label(self, label: str) -> str:
        return "c" * (self.before > 1) + label + "c" * (self.after > 1)

    def shape(self, layouts: Layouts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        layouts.flatten(x, y, self.before, self.after)

    def balance(self, balance: Balance, site: Site) -> None:
        balance.equal(site.inputs[0], site.outputs[0], rename=lambda b, s: (b, self._label(s)))

    def shift(self, shifts: Shifts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        shifts.require_uniform(x)
        shifts.emit(site, y, shifts.wire_terms(x, y, rename=lambda k: (k[0], self._label(k[1])), weights="uniform"))

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        x, y = site.inputs[0], site.outputs[0]
        keys = directions.keys(x)
        still = directions.still(y).preimage({k: (k[0], self._label(k[1])) for k in keys})
        unseen = directions.moving(y)
        moving = [k for k in keys if all(unseen.contains({m: 1}) for m in self._spread(k))]
        return [Blind(Subspace(tuple({k: 1} for k in moving)), still)]

    def silent(self, directions: Directions, site: Site) -> Sequence[Subspace]:
        vectors = directions.absent(site.inputs[0]).vectors
        return [Subspace(tuple({m: 1} for v in vectors if len(v) == 1 for k in v for m in self._spread(k)))]

    def _spread(self, key: tuple[int, str]) -> list[tuple[int, str]]:
        fronts = "cd" if self.before > 1 else [""]
        backs = "cd" if self.after > 1 else [""]
        return [(key[0], f + key[1] + b) for f in fronts for b in backs]

    def degree(self, degrees: Sequence[int], local: bool) -> int | None:
        return None if degrees[0] and local and self.before * self.after > 1 else degrees[0]


@dataclass(frozen=True)
class RotaryRule(Rule):
    """Rotations of planes by position, per head: `S` commutes with them, one scalar per plane of distinct frequency."""

    heads: int
    width: int
    interleaved: bool = False

    @property
    def statement(self) -> str:
        return "rotary position: S a scalar on every plane of one frequency, S_out = S_in"

    def shape(self, layouts: Layouts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        planes = Copies(2, Diagonal(self.width // 2), inner=self.interleaved).boxes[0]
        labels = {a + s for a in "cdjo" for s in planes.labels}  # the same plane of all heads turns alike
        layouts.meet(x, Algebra((Box.of((self.heads, *planes.dims), labels),), (0,)))
        layouts.equal(x, y)

    def balance(self, balance: Balance, site: Site) -> None:
        balance.equal(site.inputs[0], site.outputs[0])

    def degree(self, degrees: Sequence[int], local: bool) -> int | None:
        return degrees[0]


@dataclass(frozen=True)
class SoftmaxRule(Rule):
    """Softmax over the features (a router): blind along 1, `S_in` in the span of `11^T`, `S_out = 0`."""

    @property
    def statement(self) -> str:
        return "softmax over features: blind to shifts along 1, S_out = 0"

    def shape(self, layouts: Layouts, site: Site) -> None:
        layouts.ones(site.inputs[0])
        layouts.meet(site.outputs[0], layouts.nothing(site.outputs[0]))

    def balance(self, balance: Balance, site: Site) -> None:
        balance.only_ones(site.inputs[0])

    def shift(self, shifts: Shifts, site: Site) -> None:
        shifts.allow_ones(site.inputs[0])
        shifts.emit(site, site.outputs[0], {})

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        line = directions.ones(site.inputs[0])
        return [Blind(line, line)]
