"""Constant fields of parameters by themselves: what a block lets its weights do that nothing after it sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from .admissions import Admissions, Move
from .carried import Carried
from .directions import Directions
from .linalg import Equations
from .passes import Place
from .rules import LinearRule
from .subspace import Subspace, Vector, VectorKey, vector_keys
from .unknowns import Cell, Field, Open, ShiftKey, ShiftRow


class Fields:
    """What the uses of parameters admit where no wire is shifted.

    Args:
        directions: what readers do not see.
        carried: the changes of linear maps that cancel against one another.
        admissions: where what a use admits is written down.
        equations: the system of all shifts and fields.
    """

    def __init__(
        self, directions: Directions, carried: Carried, admissions: Admissions, equations: Equations[ShiftKey]
    ) -> None:
        self._directions = directions
        self._carried = carried
        self._admissions = admissions
        self._equations = equations
        self.turned: list[str] = []  # used both ways round in one sum: a change is another one in the transposed use

    def move_matrix(
        self,
        site: Place,
        weight: str,
        unread: Subspace,
        known: Sequence[Vector],
        transposed: bool = False,
        groups: int = 1,
    ) -> None:
        """What a linear map's weight may do unseen: `unseen out (x) anything + anything (x) absent in`, and lookups.

        Args:
            site: the block.
            weight: the parameter.
            unread: directions of the input that are never there.
            known: vectors whose product with the input never changes.
            transposed: whether the first axis of the weight is the input's.
            groups: number of blocks.
        """
        if self._admissions.frozen(weight):
            return
        x, y = site.inputs[0], site.outputs[0]
        ends: tuple[int, ...] = (x, y) if transposed else (y, x)
        if groups > 1:
            # Both wires are cut into groups, which the leading axis of the weight counts; the other has no wire.
            ends = ends[:1]
        moves: list[Move] = []
        if groups == 1:
            outs = vector_keys(self._directions.layout(y))

            def cell(out: VectorKey, inn: VectorKey) -> Cell:
                return (inn, out) if transposed else (out, inn)

            moves += self._unseen_moves(site, ends)
            for u in unread.vectors:
                moves += [(Open("unread", site.name, k), {cell(k, b): c for b, c in u.items()}) for k in outs]
            for i, line in enumerate(known):
                moves += [(Open("row", site.name, (i, k)), {cell(k, b): c for b, c in line.items()}) for k in outs]
        if site.name in self._carried:
            changes = self._carried.moves(site.name)
            if self._both_ways(site.name, weight):  # a field with a constant side keeps its name where it is transposed
                kept = [m for m in changes if all(any(set(k[1]) <= {"c"} for k in cell) for cell in m[1])]
                self.turned += [weight] * (len(kept) < len(changes))
                changes = kept
            moves += changes
        self._admissions.admit_moves(site.name, weight, self._admissions.frame(ends), moves)

    def _both_ways(self, name: str, weight: str) -> bool:
        """Whether a map acts together with another one of the same weight, transposed."""
        rules = [s.rule for s in self._carried.members(name)]
        return len({r.transposed for r in rules if isinstance(r, LinearRule) and r.weight == weight}) > 1

    def move_tensor(self, site: Place, name: str, wires: Sequence[int]) -> None:
        """What a tensor may do unseen, given the wires on its axes (inputs and outputs of the site)."""
        if not self._admissions.frozen(name):
            self._admissions.admit_moves(
                site.name, name, self._admissions.frame(wires), self._unseen_moves(site, wires)
            )

    def move_gain(self, site: Place, name: str) -> None:
        """What a gain may do unseen: anything on a part of the wire that nothing reads, or where its input is zero."""
        (x,), (y,) = site.inputs, site.outputs
        if self._admissions.frozen(name):
            return
        cells: list[Cell] = []
        for box in range(len(self._directions.layout(y).boxes)):
            keys = [k for k in vector_keys(self._directions.layout(y)) if k[0] == box]
            for space in (self._directions.moving(y), self._directions.absent(x)):
                if all(space.contains({k: 1}) for k in keys):
                    cells += [(k,) for k in keys]
        self._admissions.admit(site.name, name, self._admissions.frame([y]), cells)

    def _unseen_moves(self, site: Place, wires: Sequence[int]) -> list[Move]:
        """`unseen out (x) anything + anything (x) absent in`."""
        moves: list[Move] = []
        keys = [vector_keys(self._directions.layout(w)) for w in wires]
        for axis, w in enumerate(wires):
            space = self._directions.moving(w) if w in site.outputs else self._directions.absent(w)
            for i, u in enumerate(space.vectors):
                for rest in product(*keys[:axis], *keys[axis + 1 :]):
                    field = {(*rest[:axis], k, *rest[axis:]): c for k, c in u.items()}
                    moves.append((Open("unseen field", site.name, (axis, i, rest)), field))
        return moves

    def sum_to_zero(self, site: Place, names: Sequence[str], w: int, cells: Iterable[Cell]) -> None:
        """Vectors on a wire that are only seen through their sum: what one gains the others lose."""
        cells = list(cells)
        trained = [n for n in names if not self._admissions.frozen(n)]
        for name in trained:
            self._admissions.admit(site.name, name, self._admissions.frame([w]), cells)
        for cell in cells:
            total: ShiftRow = {}
            for name in trained:
                key = Field(name, cell)
                total[key] = total.get(key, 0) + 1
            self._equations.require(total)

    def free(self, site: Place, name: str, wires: Sequence[int], cells: Iterable[Cell]) -> None:
        """Constant fields of a parameter that no loss feels, whatever the rest does."""
        if not self._admissions.frozen(name):
            self._admissions.admit(site.name, name, self._admissions.frame(wires), cells)
