"""Subspaces of a wire's features that the symmetric groups of its axes respect.

A vector is a dict over `(box, label)` with labels in `{c, d}` per axis: `c` the all-ones vector of the axis, `d` the
vectors of sum zero.  Only all-`c` sectors of different boxes can be mixed in one vector; other keys stand for their
whole sector.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from .algebra import Algebra
from .boxes import sector_dimension
from .linalg import Number, combinations, combine, independent

VectorKey = tuple[int, str]
Vector = dict[VectorKey, Number]


def vector_keys(layout: Algebra) -> list[VectorKey]:
    """All sectors of `R^n` under a layout."""
    return list(_keys(tuple(len(box.dims) for box in layout.boxes)))


@functools.lru_cache(maxsize=4096)  # every layer of a network asks for the same few
def _keys(axes: tuple[int, ...]) -> tuple[VectorKey, ...]:
    return tuple((i, "".join(p)) for i, n in enumerate(axes) for p in itertools.product("cd", repeat=n))


def key_dimension(layout: Algebra, key: VectorKey) -> int:
    """Number of dimensions of one sector."""
    return sector_dimension(key[1], layout.boxes[key[0]].dims)


def ones(layout: Algebra) -> Vector:
    """The all-ones vector of the wire."""
    return {(i, b.constant): 1 for i, b in enumerate(layout.boxes)}


@dataclass(frozen=True, slots=True)
class Subspace:
    """The span of some vectors."""

    vectors: tuple[Vector, ...] = ()

    @staticmethod
    def everything(layout: Algebra) -> Subspace:
        """All of `R^n`."""
        return _whole(tuple(len(box.dims) for box in layout.boxes))

    def __bool__(self) -> bool:
        return bool(self.vectors)

    def contains(self, vector: Vector) -> bool:
        """Whether a vector lies in the span."""
        return vector in self.vectors or len(independent([*self.vectors, vector])) == len(
            independent(list(self.vectors))
        )

    def covers(self, layout: Algebra) -> bool:
        """Whether it is all of `R^n`."""
        return len(self.vectors) >= len(vector_keys(layout))

    def meet(self, other: Subspace) -> Subspace:
        """The intersection."""
        if self.vectors == other.vectors or not self.vectors:
            return self
        if not other.vectors:
            return other
        rows = [*self.vectors, *({k: -a for k, a in v.items()} for v in other.vectors)]
        mine = list(self.vectors)
        found = [combine({i: c for i, c in r.items() if i < len(mine)}, mine) for r in combinations(rows)]
        return Subspace(tuple(found[i] for i in independent(found)))

    def join(self, other: Subspace) -> Subspace:
        """The span of both."""
        if self.vectors == other.vectors or not other.vectors:
            return self
        if not self.vectors:
            return other
        rows = [*self.vectors, *other.vectors]
        return Subspace(tuple(rows[i] for i in independent(rows)))

    def relabel(self, rename: Callable[[VectorKey], VectorKey]) -> Subspace:
        """The image under an injective renaming of sectors."""
        return Subspace(tuple({rename(k): a for k, a in v.items()} for v in self.vectors))

    def preimage(self, rename: dict[VectorKey, VectorKey]) -> Subspace:
        """The vectors over `rename`'s keys whose image lies in this span."""
        image = Subspace(tuple({v: 1} for v in rename.values())).meet(self)
        back = {v: k for k, v in rename.items()}
        return image.relabel(lambda k: back[k])


@functools.lru_cache(maxsize=4096)  # one for all wires that are cut alike: a deep network holds tens of thousands
def _whole(axes: tuple[int, ...]) -> Subspace:
    return Subspace(tuple({k: 1} for k in _keys(axes)))
