"""Wire algebras: which symmetric matrices a wire may carry, and their lattice.

A wire of width `n` is cut into consecutive *boxes*; a box reads its indices as a multi-index with lengths `dims`
(heads x head width, channels x pixels, ...).  The symmetric group of every axis acts on `Sym(n)`, and every rule of the
gauge calculus commutes with it.  By Schur's lemma the rules never mix inequivalent pieces, so a wire algebra is a set
of *sectors*, one label per axis:

    c   multiples of the identity          d   diagonal, trace zero
    j   multiples of 11^T - I              o   zero diagonal, rows summing to zero
    x   trace zero on the complement of 1 (present only where a centring acts; it overlaps d and o)
    k   skew-symmetric: always on two axes at once, whose product is then symmetric (planes that turn alike)

At most one axis of a sector is off the diagonal (j, o, x), or two are (k).  Cost therefore never depends on the width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from .boxes import (
    FULL_AXIS,
    Box,
    LayoutError,
    all_labels,
    box_name,
    common_dims,
    cut_box,
    primary,
    sector_dimension,
)


@dataclass(frozen=True)
class Algebra:
    """A space of symmetric matrices on a wire: boxes, and which of their identity parts are equal.

    `ties[i]` names the group of box `i`; boxes of one group carry the same multiple of the identity.

    >>> Full(4).meet(Diagonal(4)), Full(6).meet(Blocks(2, Full(3))).count
    (Diagonal(4), 12)
    >>> Diagonal(4).meet(ScalarPlusOnes(4))
    Scalar(4)
    """

    boxes: tuple[Box, ...]
    ties: tuple[int, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.boxes, self.ties))

    @cached_property
    def size(self) -> int:
        """Width of the wire."""
        return sum(b.size for b in self.boxes)

    @property
    def count(self) -> int:
        """Dimension of the space of matrices (number of scalar laws on one wire)."""
        total = sum(sector_dimension(s, b.dims) for b in self.boxes for s in primary(b.labels))
        for tie in set(self.ties):
            scalar = [b.constant in b.labels for b, t in zip(self.boxes, self.ties, strict=True) if t == tie]
            total -= sum(scalar) - all(scalar)
        return total

    def meet(self, other: Algebra) -> Algebra:
        """The largest algebra inside both.

        Raises:
            LayoutError: if their cuts do not nest.
        """
        return self if self is other else _meet(self, other)

    def _meet(self, other: Algebra) -> Algebra:
        if self.size != other.size:
            raise LayoutError(f"a wire of {self.size} features meets one of {other.size}")
        left, right = self.cut(other.edges()), other
        while left.edges() != right.edges():  # a cut inside of a box may need further ones beside it
            right = right.cut(left.edges())
            left = left.cut(right.edges())
        clash = _clashing_edges(left, right)
        if clash:
            return left.cut(clash).meet(right.cut(clash))
        boxes = []
        for a, b in zip(left.boxes, right.boxes, strict=True):
            dims = common_dims(a.dims, b.dims)
            boxes.append(Box.of(dims, a.refine(dims).labels & b.refine(dims).labels))
        return Algebra(tuple(boxes), _join_ties(left.ties, right.ties))

    def restrict(self, layout: Algebra) -> Algebra:
        """This algebra cut as `layout` is, without its restrictions."""
        return self.meet(_unrestricted(layout))

    def edges(self) -> list[int]:
        """Positions where boxes begin, without 0."""
        return list(itertools.accumulate(b.size for b in self.boxes))[:-1]

    def cut(self, edges: Iterable[int]) -> Algebra:
        """The same algebra with boxes cut at the given positions."""
        left = sorted(set(edges).difference(self.edges()), reverse=True)
        boxes: list[Box] = []
        ties: list[int] = []
        todo = list(zip(self.boxes, self.ties, strict=True))[::-1]
        start, fresh = 0, max(self.ties, default=-1) + 1
        while todo and left:
            box, tie = todo.pop()
            while left and left[-1] <= start:  # a cut before it has cut here too
                left.pop()
            if not left or start + box.size <= left[-1]:
                boxes.append(box)
                ties.append(tie)
                start += box.size
                continue
            pieces, groups = cut_box(box, left[-1] - start)
            own = [tie if g == groups[0] else fresh + g for g in groups]
            fresh = max(fresh, *(g + 1 for g in own))
            todo += list(zip(pieces, own, strict=True))[::-1]
        boxes += [box for box, _ in todo[::-1]]
        ties += [tie for _, tie in todo[::-1]]
        return Algebra(tuple(boxes), tuple(ties)) if len(boxes) > len(self.boxes) else self

    def __repr__(self) -> str:
        """The name a reader would use, as it can be typed where there is one."""
        names = [box_name(b) for b in self.boxes]
        if len(names) == 1:
            return names[0]
        if all(b.labels == {b.constant} for b in self.boxes) and len(set(self.ties)) == 1:
            return f"Scalar({self.size})"
        return "Sum(" + ", ".join(names) + ")"


@lru_cache(maxsize=4096)
def _meet(a: Algebra, b: Algebra) -> Algebra:
    out = a._meet(b)
    return a if out == a else b if out == b else out


@lru_cache(maxsize=4096)
def _unrestricted(layout: Algebra) -> Algebra:
    boxes = tuple(Box(b.dims, all_labels(len(b.dims))) for b in layout.boxes)
    return Algebra(boxes, tuple(range(len(boxes))))


def _clashing_edges(left: Algebra, right: Algebra) -> list[int]:
    """Where to cut boxes that the two sides divide into blocks that do not nest."""
    out, start = [], 0
    for a, b in zip(left.boxes, right.boxes, strict=True):
        try:
            common_dims(a.dims, b.dims)
        except LayoutError:
            for box in (a, b):
                inner = math.prod(box.dims[1:])
                out += [start + inner * i for i in range(1, box.dims[0])] if inner > 1 else []
        start += a.size
    return sorted(set(out))


def _join_ties(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    above = list(range(len(a)))

    def root(i: int) -> int:
        while above[i] != i:
            above[i] = i = above[above[i]]
        return i

    for ties in (a, b):
        first: dict[int, int] = {}
        for i, t in enumerate(ties):
            one, other = root(i), root(first.setdefault(t, i))
            above[max(one, other)] = min(one, other)
    return tuple(map(root, range(len(a))))


@lru_cache(maxsize=1024)
def _single(n: int, labels: str) -> Algebra:
    return Algebra((Box.of((n,), labels),), (0,))


def Full(n: int) -> Algebra:
    """All symmetric `n x n` matrices: what a linear map allows."""
    return _single(n, FULL_AXIS)


def Diagonal(n: int) -> Algebra:
    """Diagonal matrices: what a point-wise map that scales allows."""
    return _single(n, "cd")


def Scalar(n: int) -> Algebra:
    """Multiples of the identity: what RMSNorm allows."""
    return _single(n, "c")


def ScalarPlusOnes(n: int) -> Algebra:
    """The span of the identity and `11^T`: what LayerNorm allows."""
    return _single(n, "cj")


def Centred(n: int) -> Algebra:
    """The span of `11^T` and all matrices on the complement of `1`: what subtracting the mean allows."""
    return _single(n, "cjx")


def Nothing(n: int) -> Algebra:
    """The zero matrix only."""
    return _single(n, "")


def side_by_side(parts: Sequence[Algebra]) -> Algebra:
    """Algebras of neighbouring runs of features, which carry nothing between them."""
    ties: list[int] = []
    for part in parts:
        first = max(ties, default=-1) + 1
        ties += [first + t for t in part.ties]
    return Algebra(tuple(box for part in parts for box in part.boxes), tuple(ties))


@lru_cache(maxsize=1024)
def Parts(runs: tuple[tuple[int, int], ...], zero: frozenset[int] = frozenset()) -> Algebra:
    """One factor for all features of a part, none for the parts in `zero`; `runs` are lengths, each with its part."""
    boxes = tuple(Box.of((n,), "" if part in zero else "c") for n, part in runs)
    return Algebra(boxes, tuple(part for _, part in runs))


@lru_cache(maxsize=1024)
def Blocks(k: int, algebra: Algebra) -> Algebra:
    """`k` independent blocks, each from `algebra`: heads, groups."""
    return Algebra(
        tuple(Box.of((k, *b.dims), {a + s for s in b.labels for a in "cd"}) for b in _one(algebra).boxes), (0,)
    )


@lru_cache(maxsize=1024)
def Copies(k: int, algebra: Algebra, inner: bool = False) -> Algebra:
    """`k` equal blocks from `algebra` (repeated heads; `inner`: every index repeated, as pixels of a channel)."""
    box = _one(algebra).boxes[0]
    if inner:
        return Algebra((Box.of((*box.dims, k), {s + "c" for s in box.labels}),), (0,))
    return Algebra((Box.of((k, *box.dims), {"c" + s for s in box.labels}),), (0,))


def _one(algebra: Algebra) -> Algebra:
    if len(algebra.boxes) != 1:
        raise LayoutError(f"cannot repeat {algebra!r}, which is cut into {len(algebra.boxes)} boxes")
    return algebra
