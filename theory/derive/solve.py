"""From solutions to laws: terms, counts, names."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import networkx as nx

from ..gauge.algebra import Algebra
from ..gauge.boxes import Box, sector_dimension
from ..gauge.diagram import Diagram
from ..gauge.families import Family, SectorRow, gather, is_matrix, skew_axes
from ..gauge.linalg import Equations
from ..gauge.solution import FieldRow, Solution
from ..gauge.sums import Pair, parallel_pairs
from ..laws.law import Law
from ..laws.leak import Leak
from ..laws.proof import Proof
from ..laws.statement import Statement, Term
from .lawset import LawSet
from .leaks import Leaks
from .limits.limits import limits
from .prove import prove
from .ranks import deficits, full_rank, vectors_on
from .terms import balance_terms, cross_terms, entity_of, field_part, run_of

LARGE = 500  # sites, from which on the collector of cycles costs as much as the derivation


@contextmanager
def uncollected(sites: int) -> Iterator[None]:
    """Pauses the collector of cycles for a large diagram: it would look at all that is made, again and again.

    A small one is left to it, since networks that are derived by the thousand would fill the memory.
    """
    running = gc.isenabled()
    if sites >= LARGE:
        gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def solve(diagram: Diagram, loss: str) -> LawSet:
    """All laws of a diagram.

    Laws that hold exactly come from rules that read every epsilon literally; those that only hold up to an epsilon are
    added and marked.

    Source: the wire-balance theorem; definition of laws from Marcotte, Gribonval, Peyré 2023.

    Raises:
        LayoutError: if a feature axis is cut in two ways that do not nest.
    """
    with uncollected(len(diagram.sites)):
        return _solved(diagram, loss)


def _solved(diagram: Diagram, loss: str) -> LawSet:
    approximate = any(s.rule.approximate for s in diagram.sites)
    lax = Solution(diagram, lax=True)
    strict = Solution(diagram, lax=False) if approximate else lax
    builder = _Builder(Leaks(diagram, lax), lax.diagram, loss)
    effects: Equations[int] = Equations()
    gauges = _kept(strict, strict.gauges, lax, effects)
    builder.add_gauges(strict, [r for r, _ in gauges], exact=True)
    exact = sum(strict.row_dimension(r) for r, _ in gauges)
    builder.add_fields(strict, strict.fields, exact=True)
    exact_fields = sum(map(strict.field_dimension, strict.fields))
    total, fields = exact, exact_fields
    if approximate:
        more = _kept(lax, lax.gauges, lax, effects)
        builder.add_gauges(lax, [r for r, _ in more], exact=False)
        total += sum(lax.row_dimension(r) for r, _ in more)
        extra = [f for f in lax.fields if strict.constants.reduce(f)]
        builder.add_fields(lax, extra, exact=False)
        fields += sum(map(lax.field_dimension, extra))
    pairs = exact_pairs = builder.add_pairs(strict, exact=True)
    if approximate:
        pairs = builder.add_pairs(lax, exact=False)
    lost, lost_exact = builder.deficits()
    independent = total + fields - lost + pairs
    trainable = sum(p.size for p in diagram.parameters.values() if not p.frozen)
    return LawSet(
        builder.laws,
        independent,
        exact + exact_fields - lost_exact + exact_pairs,
        loss,
        trainable,
        limits(lax),
    )


def _kept(
    solution: Solution, rows: list[SectorRow], judge: Solution, effects: Equations[int]
) -> list[tuple[SectorRow, int]]:
    """The solutions whose effect on the parameters is not a combination of earlier ones and of constant fields."""
    out = []
    for i, row in enumerate(rows):
        effect = judge.effect(row)
        if effects.reduce(effect):
            effects.require(effect)
            out.append((row, i))
    return out


class _Builder:
    """Collects laws under unique names."""

    def __init__(self, leaks: Leaks, diagram: Diagram, loss: str) -> None:
        self.leaks = leaks
        self.diagram = diagram
        self.loss = loss
        self.laws: list[Law] = []
        self._names: dict[str, int] = {}
        self._full: list[tuple[Solution, Family, bool]] = []
        self._free: dict[int, bool] = {}  # wires that may carry any matrix, and whether exactly
        self._crossed: set[tuple[int, int]] = set()  # pairs of wires that have their cross law

    def _name(self, base: str) -> str:
        self._names[base] = self._names.get(base, 0) + 1
        return base if self._names[base] == 1 else f"{base}#{self._names[base]}"

    def add_gauges(self, solution: Solution, rows: list[SectorRow], exact: bool) -> None:
        """Adds the quadratic laws."""
        solution.gauge_rows = rows
        for family in gather(rows):
            if family.mixed:
                box, algebra = Box.of((), [""]), "Scalar(1)"
            else:
                (w, b), _ = family.support[0]
                box = Box(solution.layouts.algebras[w].boxes[b].dims, frozenset(family.labels))
                algebra = repr(Algebra((box,), (0,)))
            terms = balance_terms(solution, family)
            if not terms:
                continue
            wire = self._wire_name(solution, family)
            count = sum(sector_dimension(s, box.dims) for s in box.labels)
            lost = deficits(solution, family)
            if lost:
                self._full.append((solution, family, exact))
            if len(family.support) == 1 and not family.mixed and family.kinds in (("matrix",), ()):
                w = family.support[0][0][0]
                if len(solution.layouts.algebras[w].boxes) == 1:
                    self._free[w] = exact
            shape = tuple(n for n, k in zip(box.dims, family.kinds, strict=False) if k in ("free", "traceless"))
            matrix = [n for n, k in zip(box.dims, family.kinds, strict=False) if is_matrix(k)]
            skew = skew_axes(family.kinds, box.dims)
            matrix += [box.dims[skew[1]]] if skew else []
            shape += tuple(matrix * 2) + ((2,) if "pair" in family.kinds else ())
            kinds = tuple(k for k in family.kinds if k != "sum")
            name = self._name(f"balance of {wire}")
            said = Statement(
                name=name,
                kind="balance",
                wire=wire,
                algebra=algebra,
                count=count,
                independent=count - lost,
                exact=exact,
                shape=shape,
                axis_kinds=kinds,
                terms=terms,
                wires=self._moved(solution, family),
            )
            self._add(said, solution, family, None if exact else self.leaks.of(family))

    def _add(self, said: Statement, solution: Solution, family: Family, leaks: tuple[Leak, ...] | None = None) -> None:
        """Adds what a law says, with the way to its proof."""

        def proof(law: Law) -> Proof:
            return prove(law, solution, family, self.loss)

        self.laws.append(Law(**vars(said), prove=proof, leaks=leaks))

    def _moved(self, solution: Solution, family: Family) -> tuple[str, ...]:
        """Names of the wires that a gauge moves."""
        moved = [entity[0] if family.mixed else entity for entity, _ in family.support]
        return tuple(dict.fromkeys(solution.drawn.wires[w].name for w, _ in moved))

    def _wire_name(self, solution: Solution, family: Family) -> str:
        entity = family.support[0][0]
        w, b = entity[0] if family.mixed else entity
        return solution.drawn.wires[w].name + (f"[{b}]" if b else "")

    def add_fields(self, solution: Solution, rows: list[FieldRow], exact: bool) -> None:
        """Adds the linear laws."""
        flat: list[SectorRow] = []
        solution.field_rows = rows
        for row in rows:
            flat.append({entity_of(solution, name, cell): a for (name, cell), a in row.items()})
        for family in gather(flat):
            self._add_field_family(solution, family, exact)

    def _add_field_family(self, solution: Solution, family: Family, exact: bool) -> None:
        terms = []
        for ((name, boxes), a), axes in zip(family.support, family.axes, strict=True):
            terms.append(Term(Fraction(a), field_part(solution, name, boxes, axes)))
        name = terms[0].part.parameter
        dims = terms[0].part.dims
        size = self.diagram.parameters[name].size
        count = sum(sector_dimension(s, dims) for s in family.labels) * (size // math.prod(terms[0].part.sizes))
        kinds = tuple(k for k in family.kinds if k != "sum")
        shape = tuple(n for n, k in zip(dims, family.kinds, strict=True) if k != "sum")
        single = all(k == "free" or (k == "sum" and n == 1) for n, k in zip(dims, family.kinds, strict=True))
        kind = "frozen" if len(terms) == 1 and single else "shift"  # every scalar is one entry that never moves
        said = Statement(
            name=self._name(f"{kind} {name}{run_of(terms[0].part)}"),
            kind=kind,
            wire=name,
            algebra=f"Vector({count})",
            count=count,
            independent=count,
            exact=exact,
            shape=shape,
            axis_kinds=kinds,
            terms=tuple(terms),
            wires=(),
        )
        self._add(said, solution, family)

    def add_pairs(self, solution: Solution, exact: bool) -> int:
        """Adds the cross laws of parallel linear branches that are not there yet.

        Returns:
            Number of independent laws that all cross laws of this solution add to those of the single wires.
        """
        pairs = [p for p in parallel_pairs(solution.drawn) if self._may_cross(p, exact)]
        added = self._pair_ranks(solution, pairs)
        for pair in pairs:
            if (pair.first, pair.second) in self._crossed:
                continue
            self._crossed.add((pair.first, pair.second))
            sizes = [self.diagram.wires[w].size for w in (pair.first, pair.second)]
            wire = self.diagram.wires[pair.first].name
            other = self.diagram.wires[pair.second].name
            family = Family((((pair.first, 0), 1),), ("cross",), ("cross",), ((),), ())
            said = Statement(
                name=self._name(f"balance of {wire} with {other}"),
                kind="balance",
                wire=wire,
                algebra=f"Cross({sizes[0]}, {sizes[1]})",
                count=sizes[0] * sizes[1],
                independent=added[pair.first, pair.second],
                exact=exact,
                shape=tuple(sizes),
                axis_kinds=("cross", "cross"),
                terms=cross_terms(pair, sizes),
                wires=self._moved(solution, family),
            )
            self._add(said, solution, family)
        return sum(added.values())

    def _may_cross(self, pair: Pair, exact: bool) -> bool:
        """Whether both wires of a pair may carry any matrix, each for itself."""
        wires = (pair.first, pair.second)
        return all(w in self._free and (self._free[w] or not exact) for w in wires)

    def _pair_ranks(self, solution: Solution, pairs: list[Pair]) -> dict[tuple[int, int], int]:
        """Independent laws that each pair adds to those before it: the wires of all branches are one wire together."""
        out: dict[tuple[int, int], int] = {}
        groups: nx.Graph[int] = nx.Graph()
        groups.add_edges_from((p.first, p.second) for p in pairs)
        for group in map(sorted, nx.connected_components(groups)):
            sizes = {w: self.diagram.wires[w].size for w in group}
            vectors = {w: full_rank(solution, w) if n > 1 else vectors_on(solution, w) for w, n in sizes.items()}
            rest = _full_dimension(sum(sizes.values()), max(vectors.values()))
            rest -= sum(_full_dimension(sizes[w], vectors[w]) for w in group)
            for pair in (p for p in pairs if p.first in sizes):
                out[pair.first, pair.second] = min(rest, sizes[pair.first] * sizes[pair.second])
                rest -= out[pair.first, pair.second]
        return out

    def deficits(self) -> tuple[int, int]:
        """Dependent scalars of full families: all, and among the exact ones."""
        lost = [(deficits(s, f), exact) for s, f, exact in self._full]
        return sum(d for d, _ in lost), sum(d for d, e in lost if e)


def _full_dimension(n: int, vectors: int) -> int:
    """Independent scalars of a full matrix law on a wire of width `n` with so many vectors on it."""
    r = min(n, vectors)
    return r * (2 * n + 1 - r) // 2
