"""Gathers sector-wise solutions into families that people know: a full matrix, a diagonal, a scalar.

A solution of the gauge equations lives on one sector; the four sectors of `Sym(n)` with the same coefficients on the
same wires are one law `U^T U - V V^T`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .boxes import OFF
from .linalg import Equations, Number, independent

Entity = tuple[Any, ...]  # a box of a wire, a run of a parameter, or one of these with a label
SectorRow = dict[tuple[Entity, str], Number]


@dataclass(frozen=True)
class Family:
    """Solutions with one pattern of coefficients.

    Attributes:
        support: coefficient per entity (a box of a wire or of a parameter), the first one being the reference.
        labels: the sectors of the reference that take part.
        kinds: per axis of the reference `sum`, `free`, `traceless`, `matrix`, `centred`, `pair` or `skew`.
        axes: for every entity the reference axis of each of its own axes, -1 where it is summed.
        rows: indices of the solutions that were gathered.
        mixed: whether it is one scalar made of several sectors of a wire; `support` then has `(entity, label)`.
    """

    support: tuple[tuple[Entity, Number], ...]
    labels: tuple[str, ...]
    kinds: tuple[str, ...]
    axes: tuple[tuple[int, ...], ...]
    rows: tuple[int, ...]
    mixed: bool = False


def align(rows: list[SectorRow]) -> list[SectorRow]:
    """Another basis of the same space in which all sectors follow the same patterns where they can.

    A sector with more solutions than another (linear attention has an extra scalar per head) is given the other's
    patterns first and its own after them.
    """
    groups = _sectors(rows)
    patterns: dict[Entity, dict[tuple, int]] = {}
    for members in groups:
        for i in members:
            key = tuple(sorted(((e, a) for (e, _), a in rows[i].items()), key=repr))
            found = patterns.setdefault(key[0][0], {})
            found[key] = found.get(key, 0) + 1
    out: list[SectorRow] = []
    for members in groups:
        mine = [rows[i] for i in members]
        label = {e: s for row in mine for e, s in row}
        if len(mine) > 1 and len(label) == len({k for row in mine for k in row}):
            known = sorted(((n, p) for e in label for p, n in patterns.get(e, {}).items()), key=lambda t: -t[0])
            wanted = [{(e, label[e]): a for e, a in p} for _, p in known if all(e in label for e, _ in p)]
            mine = _extend([w for w in wanted if _within(w, mine)], mine)
        out += mine
    return out


def _sectors(rows: list[SectorRow]) -> list[list[int]]:
    """Rows that share a key, transitively."""
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[Entity, str], int] = {}
    for i, row in enumerate(rows):
        for key in row:
            parent[root(i)] = root(first.setdefault(key, i))
    out: dict[int, list[int]] = {}
    for i in range(len(rows)):
        out.setdefault(root(i), []).append(i)
    return list(out.values())


def _within(row: SectorRow, basis: list[SectorRow]) -> bool:
    known: Equations[tuple[Entity, str]] = Equations()
    for b in basis:
        known.require(b)
    return not known.reduce(row)


def _extend(wanted: list[SectorRow], basis: list[SectorRow]) -> list[SectorRow]:
    pool = wanted + basis
    return [pool[i] for i in independent(pool)]


def _is_mixed(row: SectorRow) -> bool:
    """Whether a solution joins sectors of several kinds."""
    entities = [e for e, _ in row]
    waves = {"".join(sorted(label.replace("c", ""))) for _, label in row}
    return len(set(entities)) < len(entities) or len(waves) > 1


def writable(row: SectorRow) -> bool:
    """Whether a solution has a form as a law: one of sectors of several kinds has to be a single scalar."""
    return not _is_mixed(row) or all(set(label) <= {"c", "j"} for _, label in row)


def gather(rows: list[SectorRow]) -> list[Family]:
    """Groups solutions with the same coefficients on the same entities."""
    groups: dict[tuple, list[int]] = {}
    mixed: list[int] = []
    for i, row in enumerate(rows):
        if _is_mixed(row):
            mixed.append(i)
            continue
        lead = next(iter(row.values()))
        key = tuple((e, a if lead > 0 else -a) for (e, _), a in row.items())
        skew = any("k" in label for _, label in row)  # a matrix of its own kind
        axes = len(next(iter(row))[1])  # a parameter may be read as a vector here and as a matrix there
        groups.setdefault((skew, axes, *sorted(key, key=repr)), []).append(i)
    out = [f for members in groups.values() for f in _families(rows, members)]
    return out + [_mixed(rows[i], i) for i in mixed]


def _families(rows: list[SectorRow], members: list[int]) -> Iterable[Family]:
    maps = [dict(rows[i].keys()) for i in members]  # entity -> label
    reference = next(iter(maps[0]))
    labels = [m[reference] for m in maps]
    kinds = _kinds(labels)
    columns = list(zip(*labels, strict=True))
    followed = {e: list(zip(*[m[e] for m in maps], strict=True)) for e in maps[0]}
    if kinds is None or not all(_follows(columns, mine) for mine in followed.values()):
        assert len(members) > 1, "a single sector is a product"
        for i in members:
            yield from _families(rows, [i])
        return
    support = list(rows[members[0]].items())
    axes = [_match(columns, followed[e]) for (e, _), _ in support]
    yield Family(tuple((e, a) for (e, _), a in support), tuple(labels), kinds, tuple(axes), tuple(members))


def _follows(reference: list[tuple[str, ...]], mine: list[tuple[str, ...]]) -> bool:
    """Whether the axes that vary are those of the reference."""

    def varying(columns: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        return sorted(c for c in columns if set(c) != {"c"})

    return varying(reference) == varying(mine)


def _match(reference: list[tuple[str, ...]], mine: list[tuple[str, ...]]) -> tuple[int, ...]:
    """Which reference axis every axis follows, in order; -1 for one that is constant."""
    used: set[int] = set()
    out = []
    for column in mine:
        found = -1
        if set(column) != {"c"}:
            found = next(i for i, r in enumerate(reference) if r == column and i not in used)
            used.add(found)
        out.append(found)
    return tuple(out)


def _kinds(labels: list[str]) -> tuple[str, ...] | None:
    """The kind of every axis, None where the sectors are no product."""
    if len(set(labels)) < len(labels):
        return None
    kinds = []
    for column in zip(*labels, strict=True):
        sectors = frozenset(column)
        kind = _AXIS_KINDS.get(sectors)
        if kind is None and not sectors & OFF:
            return None
        kinds.append(kind or "sectors:" + "".join(sorted(sectors)))
    return tuple(kinds) if _is_product(labels, kinds) else None


_AXIS_KINDS = {
    frozenset("c"): "sum",
    frozenset("cd"): "free",
    frozenset("d"): "traceless",
    frozenset("cdjo"): "matrix",
    frozenset("cdj"): "matrix",
    frozenset("cjx"): "centred",
    frozenset("cj"): "pair",
    frozenset("k"): "skew",
}


def _is_product(labels: list[str], kinds: list[str]) -> bool:
    if sum(is_matrix(k) or k == "pair" for k in kinds) > 1:
        return False
    expected = 1
    for column, _ in zip(zip(*labels, strict=True), kinds, strict=True):
        expected *= len(set(column))
    return expected == len(labels)


def _mixed(row: SectorRow, index: int) -> Family:
    """A single scalar made of several sectors of one wire."""
    support = tuple(((e, s), a) for (e, s), a in row.items())
    return Family(support, ("",), (), tuple(() for _ in support), (index,), mixed=True)


def is_matrix(kind: str) -> bool:
    """Whether an axis contributes a matrix to a law's value."""
    return kind in ("matrix", "centred") or kind.startswith("sectors:")


def skew_axes(kinds: tuple[str, ...], dims: tuple[int, ...]) -> tuple[int, int] | None:
    """Of the two skew axes of a family the one of the planes' two coordinates, and the other."""
    found = [i for i, k in enumerate(kinds) if k == "skew"]
    if not found:
        return None
    first, second = found
    return (first, second) if dims[first] == 2 else (second, first)


def has_off_diagonal(family: Family) -> bool:
    """Whether a family contains full matrices."""
    return any(set(s) & OFF for s in family.labels)
