"""Solving a diagram: the passes in order, and what their solutions mean for the parameters.

This file is long because what a solution does to the parameters is asked for by every pass that reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, wraps
from itertools import product
from typing import Any, TypeVar

from .algebra import Algebra
from .balance import Balance
from .boxes import LayoutError, sector_dimension
from .contract import Rule, Use
from .diagram import Diagram
from .directions import Directions
from .families import SectorRow, align, writable
from .frames import one_way_round, straighten
from .layouts import Layouts
from .linalg import Equations, Number
from .rewrites import (
    Rewrite,
    drop_invisible_norms,
    join_what_was_cut,
    merge_linear_skips,
    merge_repeated,
    scale_rows,
)
from .rewrites_activations import drop_idle_activations, join_activations
from .rewrites_copies import activate_first, normalise_first
from .rewrites_cuts import cut_first, draw_identities, merge_cuts
from .rewrites_dots import inner_products
from .rewrites_moves import drop_unseen_moves
from .rewrites_numbers import draw_numbers, join_numbers
from .rewrites_offsets import join_offsets, join_skips
from .rewrites_parts import map_parts, one_by_one, shared_maps
from .rewrites_positions import draw_token_mixers, join_positions
from .rewrites_sums import shift_terms_alone
from .shifts import Shifts
from .subspace import key_dimension, vector_keys
from .turned import name_narrow_turns
from .unknowns import Cell, Factor, Field, MatrixKey, MatrixRow, Sector
from .unseen import feed_unseen

FieldRow = dict[Field, Number]
T = TypeVar("T")


@dataclass
class Solution:
    """All gauges of a diagram.

    Args:
        diagram: the network as drawn.
        lax: read every epsilon under a root as 0, which also allows the rewrites of invisible norms.
        answers: what was asked of it `once`, by the function that answers.
    """

    diagram: Diagram
    lax: bool
    answers: dict[Callable[[Solution], Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.rewrites: list[Rewrite] = []
        self.gauge_rows: list[SectorRow] = []  # those that became laws, which proofs refer to
        self.field_rows: list[FieldRow] = []
        for redraw in (one_way_round, straighten, draw_numbers):
            self.diagram, notes = redraw(self.diagram)
            self.rewrites += notes
        self.drawn, notes = merge_repeated(self.diagram)
        self.rewrites += notes
        # Read literally, the epsilon of a norm lets it see a scale; a norm that no other norm reads is still unseen.
        exact = not self.lax and any(s.rule.approximate for s in self.drawn.sites)
        steps: list[Callable[[Diagram], tuple[Diagram, list[Rewrite]]]] = [
            draw_token_mixers,
            draw_identities,
            drop_unseen_moves,
            inner_products,
            join_activations,
            drop_idle_activations,
            activate_first,
            normalise_first,
            shared_maps,
            join_numbers,
            cut_first,
            merge_cuts,
            join_what_was_cut,
            map_parts,
            merge_linear_skips,
            partial(drop_invisible_norms, exact=exact),
            merge_linear_skips,
            partial(scale_rows, exact=exact),
            partial(join_positions, exact=exact),
            join_skips,
            join_offsets,
            shift_terms_alone,
            name_narrow_turns,
        ]
        for rewrite in steps:
            self.drawn, notes = rewrite(self.drawn)
            self.rewrites += notes
        self.diagram = replace(self.diagram, parameters={**self.diagram.parameters, **self.drawn.parameters})
        while True:
            self.layouts = self._layouts()
            self.directions = Directions(self.layouts)
            apart, notes = feed_unseen(self.drawn, self.directions)
            if not notes:
                break
            self.drawn = apart
            self.rewrites += notes
        self.balance = Balance(self.layouts, self.directions)
        self.shifts = Shifts(self.layouts, self.directions)
        self.constants: Equations[Field] = Equations()
        self.fields: list[FieldRow] = []
        self.entangled: list[str] = []  # parameters with laws that join their rows with their columns, not listed
        for row in sorted(self.shifts.constant_fields(), key=len):
            entities = [(name, tuple(k[0] for k in cell)) for name, cell in row]
            twice = [name for name, _ in entities if len(set(entities)) < len(entities)]
            if twice:
                self.entangled += twice[:1]
                continue
            if self.constants.reduce(row):
                self.constants.require(row)
                self.fields.append(row)

    def _layouts(self) -> Layouts:
        """How all wires are cut; a block without parameters that would cut one in two ways lets nothing through."""
        while True:
            try:
                return Layouts(self.drawn, self.lax)
            except LayoutError as error:
                sites = self.drawn.sites
                at = [i for i, s in enumerate(sites) if s.name == error.site]
                found = [i for i in at if sites[i].inputs and sites[i].outputs and not sites[i].parameters]
                if not found:
                    raise
                apart = one_by_one(self.drawn, sites[found[0]])
                if apart is not None:
                    self.drawn = apart
                    continue
                closed = replace(sites[found[0]], rule=Rule(), function=None)
                self.drawn = replace(self.drawn, sites=(*sites[: found[0]], closed, *sites[found[0] + 1 :]))

    @property
    def uses(self) -> dict[str, list[Use]]:
        """The uses of every parameter, the one first that speaks for it."""
        return self.balance.uses

    def first_use(self, name: str) -> Use:
        """The use that speaks for a parameter."""
        return self.balance.first_use(name)

    def next_to(self, w: int) -> list[tuple[str, Use, int, int]]:
        """The trainable parameters on a wire: name, first use, axis and sign."""
        return self._neighbours.get(w, [])

    @cached_property
    def _neighbours(self) -> dict[int, list[tuple[str, Use, int, int]]]:
        out: dict[int, list[tuple[str, Use, int, int]]] = {}
        for name in self.uses:
            if not self.diagram.parameters[name].frozen:
                use = self.first_use(name)
                for axis, wires in enumerate(use.axes):
                    for w, sign in wires:
                        out.setdefault(w, []).append((name, use, axis, sign))
        return out

    def constant(self, name: str, cell: Cell) -> bool:
        """Whether one sector of a parameter never moves."""
        return not self.constants.reduce({Field(name, cell): 1})

    @property
    def gauges(self) -> list[SectorRow]:
        """A basis of the solutions for `S` that have a form as laws, as rows over `((wire, box), label)`."""
        return self._written[True]

    @property
    def unwritten(self) -> list[SectorRow]:
        """The solutions that have none."""
        return self._written[False]

    @cached_property
    def _written(self) -> dict[bool, list[SectorRow]]:
        rows: list[SectorRow] = []
        for vector in self.balance.equations.nullspace():
            row: SectorRow = {((k.wire, k.box), k.label): a for k, a in vector.items() if not isinstance(k, Factor)}
            if row:
                lead = next(iter(row.values()))
                rows.append(row if lead > 0 else {k: -a for k, a in row.items()})
        aligned = align(rows)
        drop = self._doubled(aligned)
        found = [r for i, r in enumerate(aligned) if i not in drop]
        return {kind: [r for r in found if writable(r) == kind] for kind in (True, False)}

    def _doubled(self, rows: list[SectorRow]) -> set[int]:
        """Solutions on x sectors that the d and o sectors of the same wires already give."""
        patterns = {
            tuple(sorted(((e, s.replace("o", "x")), a) for (e, s), a in r.items()))
            for r in rows
            if any("o" in s for _, s in r)
        }
        return {i for i, r in enumerate(rows) if tuple(sorted(r.items())) in patterns}

    def row_dimension(self, row: SectorRow) -> int:
        """Number of scalar laws in a solution."""
        ((w, box), label) = next(iter(row))
        return sector_dimension(label, self.layouts.algebras[w].boxes[box].dims)

    def field_dimension(self, row: FieldRow) -> int:
        """Number of scalar laws in a constant field."""
        name, cell = next(iter(row))
        return self.cell_dimension(name, cell)

    def cell_dimension(self, name: str, cell: Cell) -> int:
        """Number of scalars in one sector of a parameter."""
        use = self.first_use(name)
        parameter = self.diagram.parameters[name]
        if not use.constant and len(use.axes) > 1:
            sides = [self.layouts.algebras[axis[0][0]] for axis in use.axes[: len(cell)]]
            kernel = parameter.size // math.prod(side.size for side in sides)
            return math.prod(map(key_dimension, sides, cell)) * kernel
        wire = use.axes[0][0][0]
        total = key_dimension(self.layouts.algebras[wire], cell[-1])
        if len(cell) == 2:
            run, kind = cell[0]
            total *= 1 if kind == "c" else self.layouts.tokens[wire][run] - 1
        return total

    @cached_property
    def functionals(self) -> dict[MatrixKey, dict[int, Number]]:
        """What each sector does to the parameters, up to constant fields: sector -> {effect number: coefficient}."""
        rows: list[MatrixRow] = []
        for name in self.uses:
            if not self.diagram.parameters[name].frozen:
                rows += self._effects(name, self.first_use(name))
        table: dict[MatrixKey, dict[int, Number]] = {}
        for i, row in enumerate(rows):
            for key, a in row.items():
                table.setdefault(key, {})[i] = a
        return table

    def _effects(self, name: str, use: Use) -> list[MatrixRow]:
        """Rows that vanish together exactly when the sectors of `S` leave the parameter (up to constants) alone."""
        if self.vector_is_constant(name, use) or self.matrix_is_constant(name, use):
            return []
        sides = [self._axis_effects(name, use, axis) for axis in range(len(use.axes))]
        if len(sides) == 1:
            return [row for _, row in sides[0]]
        rows: list[MatrixRow] = []
        scalars: dict[str, list[list[MatrixRow]]] = {}  # a list for every axis: only the sum of their factors is felt
        for axis, side in enumerate(sides):
            for (box, label), row in side:
                key = self.balance.scalar_key(use, axis, box, label) if not use.constant else self._table_key(label)
                if key is None:
                    rows.append(row)
                else:
                    scalars.setdefault(key, [[] for _ in sides])[axis].append(row)
        for group in scalars.values():
            total: MatrixRow = {}
            for axis, found in enumerate(group):
                if len(found) < self._scalar_boxes(use, axis):
                    found = [{}, *found]  # some box has no scalar part: its S is zero there
                rows += [_difference(found[0], other) for other in found[1:]]
                total = _difference(total, {k: -a for k, a in found[0].items()})
            rows.append(total)
        return rows

    @staticmethod
    def _table_key(label: str) -> str | None:
        """All scalar sectors of a table with row scales belong together."""
        return "*" if set(label) <= {"c"} else None

    def _scalar_boxes(self, use: Use, axis: int) -> int:
        """Number of boxes of an axis that one factor acts on: all, or those of one group of a grouped map."""
        boxes = len(self.layouts.algebras[use.axes[axis][0][0]].boxes)
        if use.groups > 1 and boxes > 1:
            return boxes // use.groups  # groups that never move have no factor
        return boxes - len(self._dead(use.parameter, use, axis))

    def _dead(self, name: str, use: Use, axis: int) -> set[int]:
        """The boxes of an axis along which nothing of a parameter ever moves (units that nothing reads)."""
        if name not in self._still:
            return set()
        algebra = self.layouts.algebras[use.axes[axis][0][0]]
        keys: dict[int, list[tuple[int, str]]] = {}
        for key in vector_keys(algebra):
            keys.setdefault(key[0], []).append(key)
        if use.constant:
            return set() if axis else {b for b, own in keys.items() if self._is_constant_on(name, use, own)}
        if use.groups > 1:
            still = self._dead_groups(name, use)
            return {b for b in keys if _group(algebra, b, use.groups) in still or len(still) == use.groups}
        sides = [vector_keys(self.layouts.algebras[a[0][0]]) for a in use.axes]
        return {
            b
            for b, own in keys.items()
            if all(self.constant(name, cell) for cell in product(*sides[:axis], own, *sides[axis + 1 :]))
        }

    def _dead_groups(self, name: str, use: Use) -> set[int]:
        """The groups of a grouped map that never move; its fields have cells along its leading axis alone."""
        algebra = self.layouts.algebras[use.axes[0][0][0]]
        moving = {k[0] for k in vector_keys(algebra) if not self.constant(name, (k,))}
        if len(algebra.boxes) == 1:
            return set() if moving else set(range(use.groups))
        return set(range(use.groups)) - {_group(algebra, b, use.groups) for b in moving}

    @cached_property
    def _still(self) -> set[str]:
        """The parameters that some constant field moves."""
        return {name for row in self.fields for name, _ in row}

    def _axis_effects(self, name: str, use: Use, axis: int) -> list[tuple[tuple[int, str], MatrixRow]]:
        """One row per sector of an axis, but for what acts only where the parameter never moves.

        Along 1 that is the `11^T` combination, and across it what lives on the complement of 1: then `11^T - I` is
        felt as a multiple of `I`.
        """
        out = []
        dead = self._dead(name, use, axis)
        keys = [k for k in self.balance.axis_keys(use.axes[axis]) if k[0] not in dead]
        along = {k for k in keys if "j" in k[1] and self._blind_beside(name, use, axis, k[0], k[1].index("j"), "c")}
        across = {(box, at) for box, at in self._lines(keys) if self._blind_beside(name, use, axis, box, at, "d")}
        for box, label in keys:
            if (box, label) in along or any((box, at) in across and a != "c" for at, a in enumerate(label)):
                continue
            row = self.balance.axis(use.axes[axis], box, label)
            for i, a in enumerate(label):
                ones = (box, label[:i] + "j" + label[i + 1 :])
                if a == "c" and ones in along:
                    row = _difference(row, self.balance.axis(use.axes[axis], *ones))
                elif a == "c" and (box, i) in across:
                    n = self.layouts.algebras[use.axes[axis][0][0]].boxes[box].dims[i]
                    row = _difference(
                        row, {k: (1 - n) * v for k, v in self.balance.axis(use.axes[axis], *ones).items()}
                    )
            out.append(((box, label), row))
        return out

    @staticmethod
    def _lines(keys: list[tuple[int, str]]) -> list[tuple[int, int]]:
        """The axes of boxes whose matrices keep 1 and its complement apart."""
        letters: dict[tuple[int, int], set[str]] = {}
        for box, label in keys:
            for at, a in enumerate(label):
                letters.setdefault((box, at), set()).add(a)
        return [line for line, found in letters.items() if "j" in found and found <= set("cjx")]

    def vector_is_constant(self, name: str, use: Use) -> bool:
        """Whether a bias or table never moves."""
        wire = use.axes[0][0][0]
        return use.constant and self._is_constant_on(name, use, vector_keys(self.layouts.algebras[wire]))

    def _is_constant_on(self, name: str, use: Use, keys: list[tuple[int, str]]) -> bool:
        wire = use.axes[0][0][0]
        runs = [(i, a) for i, n in enumerate(self.layouts.tokens[wire]) for a in ("cd" if n > 1 else "c")]
        cells = [(t, k) for t in runs for k in keys] if self.layouts.tabular(name) else [(k,) for k in keys]
        return all(self.constant(name, c) for c in cells)

    def matrix_is_constant(self, name: str, use: Use) -> bool:
        """Whether a matrix never moves."""
        if use.constant or len(use.axes) == 1:
            return False
        sides = (vector_keys(self.layouts.algebras[axis[0][0]]) for axis in use.axes)
        return all(self.constant(name, cell) for cell in product(*sides))

    def _blind_beside(self, name: str, use: Use, axis: int, box: int, at: int, part: str) -> bool:
        """Whether nothing moves along 1 (`part` c), or across it (d), on one axis of a box, whatever the others do."""
        if name not in self._still:
            return False
        w = use.axes[axis][0][0]
        length = len(self.layouts.algebras[w].boxes[box].dims)
        lines = [(box, "".join(p)) for p in product("cd", repeat=length) if p[at] == part]
        if use.constant:
            return axis == 0 and self._is_constant_on(name, use, lines)
        if len(use.axes) == 1:
            return False
        sides = [vector_keys(self.layouts.algebras[a[0][0]]) for a in use.axes]
        sides[axis] = lines
        return all(self.constant(name, cell) for cell in product(*sides))

    def effect(self, row: SectorRow) -> dict[int, Number]:
        """What a solution does to the parameters, up to constant fields."""
        out: dict[int, Number] = {}
        for ((w, box), label), a in row.items():
            for i, b in self.functionals.get(Sector(w, box, label), {}).items():
                out[i] = out.get(i, 0) + a * b
        return {i: a for i, a in out.items() if a}


def once(answer: Callable[[Solution], T]) -> Callable[[Solution], T]:
    """A question about a whole solution that is worked out at its first call, and kept with the solution."""

    @wraps(answer)
    def kept(solution: Solution) -> T:
        if answer not in solution.answers:
            solution.answers[answer] = answer(solution)
        return solution.answers[answer]

    return kept


def _group(algebra: Algebra, box: int, groups: int) -> int:
    """The group that a box of a wire lies in, where the wire is cut into groups."""
    return sum(b.size for b in algebra.boxes[:box]) * groups // algebra.size


def _difference(a: MatrixRow, b: MatrixRow) -> MatrixRow:
    out = dict(a)
    for k, v in b.items():
        out[k] = out.get(k, 0) - v
    return out
