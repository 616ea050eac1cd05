"""Gathers sector-wise solutions into families that people know: a full matrix, a diagonal, a scalar.

A solution of the gauge equations lives on one sector; the four sectors of `Sym(n)` with the same coefficients on the
same wires are one law `U^T U - V V^T`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from .algebra import OFF
from .linalg import Equations, Number, combine, independent

Entity = Hashable
SectorRow = dict[tuple[Entity, str], Number]


@dataclass(frozen=True)
class Family:
    """Solutions with one pattern of coefficients.

    Attributes:
        support: coefficient per entity (a box of a wire or of a parameter), the first one being the reference.
        labels: the sectors of the reference that take part.
        kinds: per axis of the reference `sum`, `free`, `traceless`, `matrix`, `centred` or `pair`.
        axes: for every entity the reference axis of each of its own axes, -1 where it is summed.
        rows: indices of the solutions that were gathered.
    """

    support: tuple[tuple[Entity, Number], ...]
    labels: tuple[str, ...]
    kinds: tuple[str, ...]
    axes: tuple[tuple[int, ...], ...]
    rows: tuple[int, ...]


def align(rows: list[SectorRow]) -> list[SectorRow]:
    """Another basis of the same space whose `c` solutions follow the patterns of the finer sectors."""
    patterns: dict[tuple, SectorRow] = {}
    for row in rows:
        if any(set(label) - {"c"} for _, label in row):
            flat = {(e, "c" * len(label)): a for (e, label), a in row.items()}
            if len(flat) == len(row):
                patterns.setdefault(tuple(sorted(flat.items(), key=repr)), flat)
    scalars = [i for i, row in enumerate(rows) if all(set(label) <= {"c"} for _, label in row)]
    known: Equations[tuple[Entity, str]] = Equations()
    for i in scalars:
        known.require(rows[i])
    wanted = [p for p in patterns.values() if not known.reduce(p)]
    pool = wanted + [rows[i] for i in scalars]
    chosen = [pool[i] for i in independent(pool)]
    others = [row for i, row in enumerate(rows) if i not in set(scalars)]
    return chosen + others


def gather(rows: list[SectorRow]) -> list[Family]:
    """Groups solutions with the same coefficients on the same entities."""
    groups: dict[tuple, list[int]] = {}
    mixed: list[int] = []
    for i, row in enumerate(rows):
        entities = [e for e, _ in row]
        if len(set(entities)) < len(entities):
            mixed.append(i)
            continue
        lead = next(iter(row.values()))
        key = tuple((e, a if lead > 0 else -a) for (e, _), a in row.items())
        groups.setdefault(tuple(sorted(key, key=repr)), []).append(i)
    out = [f for members in groups.values() for f in _families(rows, members)]
    return out + [_mixed(rows[i], i) for i in mixed]


def _families(rows: list[SectorRow], members: list[int]) -> Iterable[Family]:
    reference = next(iter(rows[members[0]]))[0]
    labels = [next(s for e, s in rows[i] if e == reference) for i in members]
    kinds = _kinds(labels)
    if kinds is None:
        for i in members:
            yield from _families(rows, [i])
        return
    columns = list(zip(*labels, strict=True))
    support, axes = [], []
    for (entity, _), a in rows[members[0]].items():
        mine = list(zip(*[next(s for e, s in rows[i] if e == entity) for i in members], strict=True))
        support.append((entity, a))
        axes.append(_match(columns, mine))
    yield Family(tuple(support), tuple(labels), kinds, tuple(axes), tuple(members))


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
        kind = _AXIS_KINDS.get(frozenset(column))
        if kind is None:
            return None
        kinds.append(kind)
    return tuple(kinds) if _is_product(labels, kinds) else None


_AXIS_KINDS = {
    frozenset("c"): "sum",
    frozenset("cd"): "free",
    frozenset("d"): "traceless",
    frozenset("cdjo"): "matrix",
    frozenset("cdj"): "matrix",
    frozenset("cjx"): "centred",
    frozenset("cj"): "pair",
}


def _is_product(labels: list[str], kinds: list[str]) -> bool:
    if sum(k in ("matrix", "centred", "pair") for k in kinds) > 1:
        return False
    expected = 1
    for column, _ in zip(zip(*labels, strict=True), kinds, strict=True):
        expected *= len(set(column))
    return expected == len(labels)


def _mixed(row: SectorRow, index: int) -> Family:
    """A single scalar made of several sectors of one wire."""
    support = tuple(((e, s), a) for (e, s), a in row.items())
    return Family(support, ("",), (), tuple(() for _ in support), (index,))


def is_scalar_sector(label: str) -> bool:
    """Whether a sector has one dimension whatever the width."""
    return set(label) <= {"c", "j"}


def has_off_diagonal(family: Family) -> bool:
    """Whether a family contains full matrices."""
    return any(set(s) & OFF for s in family.labels)


def recombine(rows: list[SectorRow], coefficients: list[dict[int, Number]]) -> list[SectorRow]:
    """Linear combinations of solutions."""
    return [combine(c, rows) for c in coefficients]
