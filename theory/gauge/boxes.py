"""Boxes: a run of features read as a multi-index, and the sectors that are allowed on it (see `algebra`)."""

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

    @property
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
    single["o"] += skew_labels(k)
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


def skew_labels(k: int) -> list[str]:
    """Skew-symmetric on two of `k` axes, diagonal on the others."""
    return [
        "".join("k" if i in pair else next(rest) for i in range(k))
        for pair in itertools.combinations(range(k), 2)
        for rest in map(iter, itertools.product("cd", repeat=k - 2))
    ]
