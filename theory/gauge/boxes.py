"""Boxes: runs of features read as multi-indices, and the sectors of the matrices on them.

The symmetric group of every axis acts on the matrices of a box; a sector is one irreducible part of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

OFF = frozenset("jox")
FULL_AXIS = "cdjox"


class LayoutError(ValueError):
    """Two readers cut one feature axis in ways that do not nest."""

    site: str | None = None  # the block that asked for it


def axis_dimension(label: str, n: int) -> int:
    """Dimension of one sector of `Sym(n)`."""
    if label in "cj":
        return 1 if label == "c" or n > 1 else 0
    if label == "d":
        return n - 1
    if label == "k":
        return n * (n - 1) // 2
    return max(n * (n - 1) // 2 - 1, 0)


@lru_cache(maxsize=4096)  # every layer of a network asks for the same few
def sector_dimension(label: str, dims: tuple[int, ...]) -> int:
    """Number of scalars in a sector: the product over its axes."""
    return math.prod(axis_dimension(a, n) for a, n in zip(label, dims, strict=True))


@dataclass(frozen=True)
class Box:
    """A run of indices read as a multi-index, with the sectors that are allowed on it."""

    dims: tuple[int, ...]
    labels: frozenset[str]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.dims, self.labels))

    @cached_property
    def size(self) -> int:
        """Number of indices."""
        return math.prod(self.dims)

    @property
    def constant(self) -> str:
        """The sector of multiples of the identity."""
        return "c" * len(self.dims)

    @staticmethod
    def of(dims: Iterable[int], labels: Iterable[str]) -> Box:
        """A box without axes of length one and without empty sectors."""
        dims = tuple(dims)
        keep = [i for i, n in enumerate(dims) if n > 1]
        short = tuple(dims[i] for i in keep)
        kept = frozenset(
            "".join(s[i] for i in keep)
            for s in labels
            if all(s[i] == "c" for i, n in enumerate(dims) if n == 1) and (set(s) <= {"c"} or sector_dimension(s, dims))
        )
        return Box(short, kept)

    @lru_cache(maxsize=4096)  # noqa: B019 (boxes are small values; every layer of a network repeats the same ones)
    def refine(self, dims: tuple[int, ...]) -> Box:
        """The same matrices on finer axes, without those that join blocks of the finer cut."""
        labels = set(self.labels)
        position, old = 0, list(self.dims)
        result: list[int] = []
        for n in old:
            parts: list[int] = []
            while math.prod(parts) < n:
                parts.append(dims[len(result) + len(parts)])
            if len(parts) > 1:
                labels = _split_axis(labels, position, len(parts))
            position += len(parts)
            result += parts
        return Box.of(result, labels)


def _split_axis(labels: set[str], i: int, k: int) -> set[str]:
    """Replaces axis `i` of every label by `k` axes."""
    diagonal = ["".join(p) for p in itertools.product("cd", repeat=k)]
    single = {a: [p[:q] + a + p[q + 1 :] for p in diagonal for q in range(k) if p[q] == "c"] for a in "jox"}
    single["o"] += _skew_labels(k)
    out: set[str] = set()
    for s in labels:
        head, a, tail = s[:i], s[i], s[i + 1 :]
        whole = all(head + b + tail in labels for b in "cdjo")
        if a == "c":
            middles = ["c" * k]
        elif a == "d":
            middles = diagonal[1:]
        elif whole and a in OFF:
            middles = single[a]
        else:
            middles = []
        out.update(head + m + tail for m in middles)
    return out


def common_dims(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The coarsest multi-index that refines both.

    Raises:
        LayoutError: if the two do not nest.
    """
    if a == b:
        return a
    cuts = {1}
    for dims in (a, b):
        for i in range(len(dims)):
            cuts.add(math.prod(dims[i:]))
    ordered = sorted(cuts)
    for lo, hi in itertools.pairwise(ordered):
        if hi % lo:
            raise LayoutError(f"blocks of {lo} and of {hi} do not nest")
    return tuple(hi // lo for lo, hi in itertools.pairwise(ordered))[::-1]


def primary(labels: frozenset[str]) -> list[str]:
    """Labels without the x sectors that d and o already contain."""
    return [s for s in labels if "x" not in s or s.replace("x", "o") not in labels]


def all_labels(k: int) -> frozenset[str]:
    """All sectors of a box with so many axes."""
    return Box.of((2,) * 0, ["c" * 0]).labels if k == 0 else frozenset(_full_labels(k))


def _full_labels(k: int) -> set[str]:
    diagonal = {"".join(p) for p in itertools.product("cd", repeat=k)}
    single = {p[:q] + a + p[q + 1 :] for p in diagonal for q in range(k) if p[q] == "c" for a in "jox"}
    return diagonal | single | set(_skew_labels(k))


def _skew_labels(k: int) -> list[str]:
    """Skew-symmetric on two of `k` axes, diagonal on the others."""
    return [
        "".join("k" if i in pair else next(rest) for i in range(k))
        for pair in itertools.combinations(range(k), 2)
        for rest in map(iter, itertools.product("cd", repeat=k - 2))
    ]


def cut_box(box: Box, position: int) -> tuple[list[Box], list[int]]:
    """Cuts a box at an index; pieces of one number keep one multiple of the identity."""
    inner = math.prod(box.dims[1:])
    if position % inner:
        row, offset = divmod(position, inner)
        around = [n for n in (row, 1, box.dims[0] - row - 1) if n]  # what lies beside the block stays as it is
        at = 1 if row else 0
        pieces, groups = _outer_pieces(box, around)
        middle, within = cut_box(pieces[at], offset)
        if len(set(groups)) < len(groups) and len(set(within)) > 1:
            raise LayoutError(f"a cut at {position} runs through one of {box.dims[0]} blocks that share a scalar")
        fresh = [groups[at] if g == within[0] else len(groups) + g for g in within]
        return pieces[:at] + middle + pieces[at + 1 :], groups[:at] + fresh + groups[at + 1 :]
    rows = [position // inner, box.dims[0] - position // inner]
    return _outer_pieces(box, rows)


def _outer_pieces(box: Box, rows: list[int]) -> tuple[list[Box], list[int]]:
    labels: set[str] = set()
    tied = False
    for s in box.labels:
        a, tail = s[0], s[1:]
        if a == "k":
            continue
        if a in OFF and not all(b + tail in box.labels for b in "cdjo"):
            continue
        if a == "c" and "d" + tail not in box.labels:
            if set(tail) - {"c"}:
                raise LayoutError(f"a cut runs through copies that carry one {s!r} part")
            tied = True
        labels |= {"c" + tail, "d" + tail} if a == "d" else {s}
    return [Box.of((r, *box.dims[1:]), labels) for r in rows], [0 if tied else i for i in range(len(rows))]


def box_name(box: Box) -> str:
    """How the algebra of a box is printed."""
    if not box.labels:
        return f"Nothing({box.size})"
    if not box.dims:
        return "Full(1)"
    if all("k" in s for s in box.labels):
        return _skew_name(box)
    if len(box.dims) > 1 and all(s[-1] in "ck" for s in box.labels) and any(set(s[:-1]) & OFF for s in box.labels):
        outer = Box(box.dims[:-1], frozenset(s[:-1] for s in box.labels if s[-1] == "c"))  # on all inner places alike
        return f"Copies({box.dims[-1]}, {box_name(outer)})"
    axis = _axis_name(frozenset(s[-1] for s in box.labels if set(s[:-1]) <= {"c"}), box.dims[-1])
    if len(box.dims) == 1:
        return axis
    kinds = ["copies" if not any(s[i] == "d" for s in box.labels) else "blocks" for i in range(len(box.dims) - 1)]
    for n, kind in zip(reversed(box.dims[:-1]), reversed(kinds), strict=True):
        axis = f"Blocks({n}, {axis})" if kind == "blocks" else f"Copies({n}, {axis})"
    return axis


def _skew_name(box: Box) -> str:
    """Skew-symmetric matrices on planes: the axis of the two coordinates is not counted."""
    label = min(box.labels)
    pair = [i for i, a in enumerate(label) if a == "k"]
    plane = next((i for i in pair if box.dims[i] == 2), pair[0])
    name = f"Skew({box.dims[pair[1] if plane == pair[0] else pair[0]]})"
    for i, n in enumerate(box.dims):
        if i not in pair:
            name = f"Blocks({n}, {name})" if any(s[i] == "d" for s in box.labels) else f"Copies({n}, {name})"
    return name


def _axis_name(labels: frozenset[str], n: int) -> str:
    if not labels:
        return f"Nothing({n})"
    if {"d", "j"} <= labels:
        return f"Full({n})"
    if "x" in labels:
        return f"Centred({n})"
    if "d" in labels:
        return f"Diagonal({n})"
    return f"ScalarPlusOnes({n})" if "j" in labels else f"Scalar({n})"
