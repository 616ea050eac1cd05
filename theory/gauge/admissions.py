"""Constant fields of the parameters: one variable for every sector of a parameter, which each of its uses must admit.

A parameter may be a bias here, a gain there, a row of a table, a matrix or its transpose.  Its field is one and the
same for all of them.  A use admits the sectors that it names and no others; a use that names none admits no field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .layouts import Layouts
from .linalg import Equations, Number
from .unknowns import Cell, Field, Open, ShiftKey, ShiftRow

Move = tuple[Open, dict[Cell, Number]]  # a variable of its own and the field that it stands for
Frame = tuple[tuple[tuple[int, ...], ...], ...]  # for every axis of a parameter the dims of its runs


@dataclass(frozen=True, slots=True)
class Admission:
    """What one use of a parameter admits.

    Attributes:
        site: the block.
        frame: how the block sees the parameter cut; sectors of two uses are the same only where their frames are.
        cells: the sectors that it speaks of.
        moves: the fields that are unseen there; None for every field on the sectors.
    """

    site: str
    frame: Frame
    cells: frozenset[Cell]
    moves: tuple[Move, ...] | None = None

    def row(self, name: str, cell: Cell) -> ShiftRow | None:
        """The equation for one sector of the parameter, None if any value is admitted."""
        if self.moves is None:
            return None if cell in self.cells else {Field(name, cell): 1}
        row: ShiftRow = {Field(name, cell): 1}
        for variable, field in self.moves:
            if cell in field:
                row[variable] = -field[cell]
        return row


class Admissions:
    """What all uses of all parameters admit.

    Args:
        layouts: how wires are cut.

    Attributes:
        unlike: parameters that two uses see cut in different ways, so that no field of them is listed.
    """

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        self._found: dict[str, list[Admission]] = {}
        self.unlike: list[str] = []

    def frozen(self, name: str) -> bool:
        """Whether training moves a parameter at all."""
        return self._layouts.diagram.parameters[name].frozen

    def frame(self, wires: Sequence[int], rows: Sequence[int] = ()) -> Frame:
        """The cut of a parameter whose axes are wires, after an axis of token runs if there is one."""
        runs = (tuple((n,) for n in rows),) if rows else ()
        return (*runs, *(tuple(box.dims for box in self._layouts.algebras[w].boxes) for w in wires))

    def admit(self, site: str, name: str, frame: Frame, cells: Iterable[Cell]) -> None:
        """Any field on these sectors."""
        self._found.setdefault(name, []).append(Admission(site, frame, frozenset(cells)))

    def admit_moves(self, site: str, name: str, frame: Frame, moves: Sequence[Move]) -> None:
        """The span of these fields."""
        cells = frozenset(c for _, field in moves for c in field)
        self._found.setdefault(name, []).append(Admission(site, frame, cells, tuple(moves)))

    def moves(self) -> Iterable[Move]:
        """All fields with variables of their own."""
        return (m for found in self._found.values() for each in found for m in each.moves or ())

    def settle(self, equations: Equations[ShiftKey]) -> None:
        """Requires of every parameter that all of its uses admit its field."""
        for name, found in self._found.items():
            users = self._layouts.users.get(name, [])
            alone = len(found) == 1 and users == [found[0].site]
            cells = sorted(found[0].cells if alone else frozenset().union(*(each.cells for each in found)))
            for cell in cells:
                equations.declare(Field(name, cell))
            if alone and found[0].moves is None:
                continue
            silent = Counter(users) - Counter(each.site for each in found)
            unlike = len({each.frame for each in found}) > 1
            if unlike and not silent and cells:
                self.unlike.append(name)
            for cell in cells:
                if silent or unlike:  # what others would have it do together with them does not happen either
                    equations.require({Field(name, cell): 1})
                for each in found:
                    row = each.row(name, cell)
                    if row is not None:
                        equations.require(row)
