"""From solutions to laws: terms, counts, names."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import networkx as nx

from ..gauge.admissions import Cell
from ..gauge.algebra import Algebra, Box, sector_dimension
from ..gauge.diagram import Diagram, View
from ..gauge.families import Family, SectorRow, gather, has_off_diagonal, is_matrix, skew_axes
from ..gauge.linalg import Equations
from ..gauge.rewrites import Pair, parallel_pairs
from ..gauge.rules import LinearRule
from ..gauge.solution import FieldRow, Solution
from ..laws.law import Law
from ..laws.proof import Proof
from ..laws.statement import Part, Term
from .lawset import LawSet
from .limits.limits import limits
from .prove import prove
from .ranks import deficits, full_rank, vectors_on

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
    approximate = any(getattr(s.rule, "epsilon", 0.0) for s in diagram.sites)
    lax = Solution(diagram, lax=True)
    strict = Solution(diagram, lax=False) if approximate else lax
    builder = _Builder(lax.diagram, loss)
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

    def __init__(self, diagram: Diagram, loss: str) -> None:
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
                terms = self._mixed_terms(solution, family)
                box, algebra = Box.of((), [""]), "Scalar(1)"
            else:
                (w, b), _ = family.support[0]
                box = Box(solution.layouts.algebras[w].boxes[b].dims, frozenset(family.labels))
                terms = self._terms(solution, family)
                algebra = repr(Algebra((box,), (0,)))
            if not terms:
                continue
            wire = self._wire_name(solution, family)
            count = sum(sector_dimension(s, box.dims) for s in box.labels)
            lost = deficits(solution, family) if has_off_diagonal(family) else 0
            if has_off_diagonal(family):
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
            self._append(
                name, "balance", wire, algebra, count, count - lost, exact, shape, kinds, terms, solution, family
            )

    def _append(
        self,
        name: str,
        kind: str,
        wire: str,
        algebra: str,
        count: int,
        independent: int,
        exact: bool,
        shape: tuple[int, ...],
        kinds: tuple[str, ...],
        terms: tuple[Term, ...],
        solution: Solution,
        family: Family,
    ) -> None:
        def proof(law: Law) -> Proof:
            return prove(law, solution, family, self.loss)

        moved = [entity[0] if family.mixed else entity for entity, _ in family.support] if kind == "balance" else []
        wires = tuple(dict.fromkeys(solution.drawn.wires[w].name for w, _ in moved))
        self.laws.append(Law(name, kind, wire, algebra, count, independent, exact, shape, kinds, terms, wires, proof))

    def _wire_name(self, solution: Solution, family: Family) -> str:
        entity = family.support[0][0]
        w, b = entity[0] if family.mixed else entity
        return solution.drawn.wires[w].name + (f"[{b}]" if b else "")

    def _parts(self, solution: Solution, w: int, box: int, axes: tuple[int, ...]) -> Iterator[tuple[int, Part]]:
        """How every parameter next to a wire reads one of its boxes, with its sign."""
        algebra = solution.layouts.algebras[w]
        start = sum(b.size for b in algebra.boxes[:box])
        stop = start + algebra.boxes[box].size
        for name, use, axis, sign in solution.next_to(w):
            dims = algebra.boxes[box].dims
            yield sign, Part(name, use.views[axis], (algebra.size,), ((start, stop),), dims, axes, use.offset)

    def _terms(self, solution: Solution, family: Family) -> tuple[Term, ...]:
        terms: dict[Part, Fraction] = {}
        for ((w, b), a), axes in zip(family.support, family.axes, strict=True):
            for sign, part in self._parts(solution, w, b, axes):
                terms[part] = terms.get(part, Fraction(0)) + Fraction(a) * sign
        return tuple(Term(c, p) for p, c in self._cancel(terms).items() if c)

    def _cancel(self, terms: dict[Part, Fraction]) -> dict[Part, Fraction]:
        """Two readings that both add up all squares of one parameter are the same reading."""
        out: dict[Part, Fraction] = {}
        whole: dict[str, Part] = {}
        for part, c in terms.items():
            total = all(a < 0 for a in part.axes) and part.slices == ((0, part.sizes[0]),)
            target = whole.setdefault(part.parameter, part) if total else part
            out[target] = out.get(target, Fraction(0)) + c
        return out

    def _mixed_terms(self, solution: Solution, family: Family) -> tuple[Term, ...]:
        terms = []
        for entity, a in family.support:
            (w, b), label = entity
            dims = len(solution.layouts.algebras[w].boxes[b].dims)
            for sign, part in self._parts(solution, w, b, (-1,) * dims if "j" not in label else (0,) * dims):
                terms.append(Term(Fraction(a) * sign, part, off_diagonal="j" in label))
        plain: dict[Part, Fraction] = {}
        for t in terms:
            if not t.off_diagonal:
                plain[t.part] = plain.get(t.part, Fraction(0)) + t.coefficient
        diagonal = tuple(Term(c, p) for p, c in self._cancel(plain).items() if c)
        return diagonal + tuple(t for t in terms if t.off_diagonal)

    def add_fields(self, solution: Solution, rows: list[FieldRow], exact: bool) -> None:
        """Adds the linear laws."""
        flat: list[SectorRow] = []
        solution.field_rows = rows
        for row in rows:
            flat.append({_entity(solution, name, cell): a for (name, cell), a in row.items()})
        for family in gather(flat):
            self._add_field_family(solution, family, exact)

    def _add_field_family(self, solution: Solution, family: Family, exact: bool) -> None:
        terms = []
        for ((name, boxes), a), axes in zip(family.support, family.axes, strict=True):
            terms.append(Term(Fraction(a), self._field_part(solution, name, boxes, axes)))
        name = terms[0].part.parameter
        dims = terms[0].part.dims
        size = self.diagram.parameters[name].size
        count = sum(sector_dimension(s, dims) for s in family.labels) * (size // math.prod(terms[0].part.sizes))
        kinds = tuple(k for k in family.kinds if k != "sum")
        shape = tuple(n for n, k in zip(dims, family.kinds, strict=True) if k != "sum")
        single = all(k == "free" or (k == "sum" and n == 1) for n, k in zip(dims, family.kinds, strict=True))
        kind = "frozen" if len(terms) == 1 and single else "shift"  # every scalar is one entry that never moves
        title = self._name(f"{kind} {name}{_run_of(terms[0].part)}")
        algebra = f"Vector({count})"
        self._append(title, kind, name, algebra, count, count, exact, shape, kinds, tuple(terms), solution, family)

    def _field_part(self, solution: Solution, name: str, boxes: tuple, axes: tuple[int, ...]) -> Part:
        """How a linear law reads a run of a parameter."""
        shape = self.diagram.parameters[name].shape
        use = solution.uses[name][0]
        wires = [axis[0][0] for axis in (use.axes[:1] if use.constant else use.axes)]
        dims: tuple[int, ...] = ()
        sizes, slices = [], []
        if len(boxes) > len(wires):
            runs = solution.layouts.tokens[wires[0]]
            start = sum(runs[: boxes[0]])
            sizes.append(sum(runs))
            slices.append((start, start + runs[boxes[0]]))
            dims += (runs[boxes[0]],)
            boxes = boxes[1:]
        for w, box in zip(wires[: len(boxes)], boxes, strict=True):
            algebra = solution.layouts.algebras[w]
            start = sum(b.size for b in algebra.boxes[:box])
            sizes.append(algebra.size)
            slices.append((start, start + algebra.boxes[box].size))
            dims += algebra.boxes[box].dims
        return Part(name, View(shape, tuple(range(len(shape)))), tuple(sizes), tuple(slices), dims, axes)

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
            terms = []
            for axis, sites, sign in ((0, pair.producers, 1), (1, pair.consumers, -pair.sign)):
                first, second = (s.rule for s in sites)
                assert isinstance(first, LinearRule) and isinstance(second, LinearRule)
                terms.append(_cross(first, second, sign, axis))
                if not axis and first.bias:
                    terms.append(_cross_bias(first, second, sizes))
            wire = self.diagram.wires[pair.first].name
            other = self.diagram.wires[pair.second].name
            family = Family((((pair.first, 0), 1),), ("cross",), ("cross",), ((),), ())
            self._append(
                self._name(f"balance of {wire} with {other}"),
                "balance",
                wire,
                f"Cross({sizes[0]}, {sizes[1]})",
                sizes[0] * sizes[1],
                added[pair.first, pair.second],
                exact,
                tuple(sizes),
                ("cross", "cross"),
                tuple(terms),
                solution,
                family,
            )
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


def _entity(solution: Solution, name: str, cell: Cell) -> tuple[tuple, str]:
    """A sector of a parameter as a run of it and one label per axis."""
    return (name, tuple(k[0] for k in cell)), "".join(k[1] for k in cell)


def _run_of(part: Part) -> str:
    """The run of a parameter that a linear law is about, in brackets; empty for the whole of it."""
    runs = list(zip(part.sizes, part.slices, strict=True))
    while runs and runs[-1][1] == (0, runs[-1][0]):
        runs.pop()
    cut = ",".join("" if run == (0, size) else f"{run[0]}:{run[1]}" for size, run in runs)
    return f"[{cut}]" if cut else ""


def _cross(first: LinearRule, second: LinearRule, sign: int, axis: int) -> Term:
    parts = []
    for rule in (first, second):
        view = View.axis(rule.shape_, axis if not rule.transposed else 1 - axis)
        n = rule.shape_[view.order[0]]
        parts.append(Part(rule.weight, view, (n,), ((0, n),), (n,), (0,)))
    return Term(Fraction(sign), parts[0], parts[1])


def _cross_bias(first: LinearRule, second: LinearRule, sizes: list[int]) -> Term:
    parts = [
        Part(r.bias or "", View.axis((n,), 0), (n,), ((0, n),), (n,), (0,))
        for r, n in zip((first, second), sizes, strict=True)
    ]
    return Term(Fraction(1), parts[0], parts[1])
