"""Third pass: the equations between the matrices of all wires, and what each solution does to the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from .contract import Use
from .directions import Directions
from .layouts import Layouts
from .repeats import axes_over
from .subspace import Subspace, ones
from .unknowns import Factor, MatrixEquation, MatrixRow
from .wire_equations import WireEquations


class Balance(WireEquations):
    """Equations over the sectors of `S` on every wire; rules write them, parameters that are shared add theirs."""

    def __init__(self, layouts: Layouts, directions: Directions) -> None:
        super().__init__(layouts, directions)
        for w, algebra in enumerate(layouts.algebras):
            self._declare(w, algebra)
        for site in layouts.diagram.sites:
            site.rule.balance(self, site)
        self.uses = {name: self._by_feeling(uses) for name, uses in layouts.uses.items()}
        for name, uses in self.uses.items():
            self.share(name, uses)
            if layouts.diagram.parameters[name].frozen:
                self._freeze(name, self.first_use(name))
            elif len({use.offset for use in uses}) > 1:
                for i, use in enumerate(uses):  # S (p + c) is S p for S = 0 only
                    self._freeze(f"{name}*{i}", use)

    def _by_feeling(self, uses: Sequence[Use]) -> list[Use]:
        """The uses of a parameter, those first that feel the most of what moves it."""

        def unfelt(use: Use) -> tuple[bool, int]:
            return self._unseen(use), sum(self._blind_along_ones(use, axis) for axis in range(len(use.axes)))

        return sorted(uses, key=unfelt)

    def first_use(self, name: str) -> Use:
        """The use that speaks for a parameter: what it does not feel no other feels."""
        return self.uses[name][0]

    def share(self, name: str, uses: list[Use]) -> None:
        """Every use must move the parameter alike; a matrix up to `S_0 = c I`, `S_1 = -c I`, which moves nothing."""
        first, *others = uses
        for i, other in enumerate(others):
            if self._unseen(other) or not self._layouts.alike(first, other):
                continue  # in the second case every wire of both carries nothing
            for axis, (mine, theirs) in enumerate(zip(first.axes, other.axes, strict=True)):
                keys = {*self.axis_keys(mine), *self.axis_keys(theirs), *self._scalars(other, axis)}
                if self._blind_along_ones(other, axis):
                    keys.add((0, "j"))
                turned = first.views[axis].conjugate != other.views[axis].conjugate
                for box, label in sorted(keys):
                    row = self.axis(mine, box, label)
                    sign = -1 if turned and "k" in label else 1  # the imaginary part of a Hermitian matrix
                    for key, a in self.axis(theirs, box, label).items():
                        row[key] = row.get(key, 0) - sign * a
                    free = self.scalar_key(other, axis, box, label)
                    row |= _factors(f"{name}*{i}", free, axis, len(other.axes))
                    if label in ("c", "j") and self._blind_along_ones(other, axis):
                        row[Factor(f"{name}*{i}", f"ones {axis}")] = 1
                    self.require(row)

    def _constants_unseen(self, use: Use) -> Subspace:
        """The shifts of a use as a constant that no reader sees, the same for all tokens or one for each of a table."""
        w = use.axes[0][0][0]
        return self._directions.moving(w) if len(use.views[0].shape) == 2 else self._directions.still(w)

    def _unseen(self, use: Use) -> bool:
        """Whether nothing sees what a use as a constant adds (a bias before BatchNorm): it asks for nothing."""
        return use.constant and self._constants_unseen(use).covers(self.layout(use.axes[0][0][0]))

    def _blind_along_ones(self, use: Use, axis: int) -> bool:
        """Whether a use does not feel `S = 11^T` on an axis: unseen as an output, absent as an input."""
        plain = (use.constant and not axis) or (not use.constant and len(use.axes) == 2)
        if not plain or use.groups > 1:
            return False
        w, sign = use.axes[axis][0]
        layout = self.layout(w)
        if len(layout.boxes) != 1 or len(layout.boxes[0].dims) != 1:
            return False
        if use.constant:
            return self._constants_unseen(use).contains(ones(layout))
        known = self._directions.moving(w) if sign > 0 else self._directions.absent(w)
        return known.contains(ones(layout))

    def scalar_key(self, use: Use, axis: int, box: int, label: str) -> str | None:
        """Name of the factor by which `S_0 = c I`, `S_1 = -c I` moves nothing, None in a sector that is no such scalar.

        There is one factor per group of a grouped map: a label over the groups, or their number where the wire is cut.
        """
        if len(use.axes) < 2 or use.constant:
            return None
        boxes = self.layout(use.axes[axis][0][0]).boxes
        if use.groups > 1 and len(boxes) > 1:
            width = sum(b.size for b in boxes) // use.groups
            return f"#{sum(b.size for b in boxes[:box]) // width}" if set(label) <= {"c"} else None
        shared = axes_over(boxes[box].dims, use.groups)
        return "*" + label[:shared] if set(label[shared:]) <= {"c"} else None

    def _scalars(self, use: Use, axis: int) -> list[tuple[int, str]]:
        """The scalar sectors of a matrix's axis, also where the wire does not have them: a factor is felt there too."""
        if len(use.axes) < 2 or use.constant:
            return []
        boxes = self.layout(use.axes[axis][0][0]).boxes
        out = []
        for i, box in enumerate(boxes):
            shared = axes_over(box.dims, use.groups) if len(boxes) == 1 else 0
            out += [(i, "".join(p) + "c" * (len(box.dims) - shared)) for p in product("cd", repeat=shared)]
        return out

    def _freeze(self, name: str, use: Use) -> None:
        """A parameter does not move: `S_0 = c I`, `S_1 = -c I` for a generic matrix, `S_0 = 0` for a vector.

        A vector may be moved along what its readers do not see.
        """
        ones_unseen = False
        if use.constant:
            wire = use.axes[0][0][0]
            unseen = self._constants_unseen(use)
            if unseen.covers(self.layout(wire)):
                return
            ones_unseen = len(self.layout(wire).boxes) == 1 and unseen.contains(ones(self.layout(wire)))
        for axis, terms in enumerate(use.axes):
            for box, label in sorted({*self.axis_keys(terms), *self._scalars(use, axis)}):
                row = self.axis(terms, box, label)
                row |= _factors(f"{name}*frozen", self.scalar_key(use, axis, box, label), axis, len(use.axes))
                if ones_unseen and label == "j":
                    continue
                if ones_unseen and label == "c":
                    for key, a in self.axis(terms, box, "j").items():
                        row[key] = row.get(key, 0) - a
                self.require(row)


class Recorder(Balance):
    """Writes equations down instead of solving them, to check them again for one solution."""

    def __init__(self, layouts: Layouts, directions: Directions) -> None:
        WireEquations.__init__(self, layouts, directions)  # nothing is solved
        self.rows: list[MatrixRow] = []

    def require(self, terms: MatrixEquation) -> None:
        """Keeps an equation; sectors that do not exist are zero."""
        self.rows.append({k: a for k, a in terms.items() if k is not None})


def _factors(name: str, free: str | None, axis: int, axes: int) -> MatrixRow:
    """The part of `S_axis` that moves nothing: factors `c_k I` on the axes of a tensor whose sum is zero."""
    if free is None:
        return {}
    if axis:
        return {Factor(name, f"{free}/{axis}"): 1}
    return {Factor(name, f"{free}/{k}"): -1 for k in range(1, axes)}
