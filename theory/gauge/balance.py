"""Third pass: the equations between the matrices of all wires, and what each solution does to the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product

from .algebra import Algebra
from .contract import Site, Use
from .diagram import Diagram
from .directions import Directions, box_offsets
from .layouts import Layouts
from .linalg import Equations, Number
from .repeats import axes_over, repeated
from .subspace import Subspace, ones
from .unknowns import Factor, MatrixEquation, MatrixKey, MatrixRow, Sector


class Balance:
    """Equations over the sectors of `S` on every wire; rules write them, `solve` collects them."""

    def __init__(self, layouts: Layouts, directions: Directions) -> None:
        self._layouts = layouts
        self._directions = directions
        self.lax = layouts.lax
        self.equations: Equations[MatrixKey] = Equations()
        self._centring = has_centring(layouts.diagram)
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

    @property
    def diagram(self) -> Diagram:
        """The network."""
        return self._layouts.diagram

    def _declare(self, w: int, algebra: Algebra) -> None:
        for b, box in enumerate(algebra.boxes):
            for label in sorted(box.labels):
                if self._centring or "x" not in label:
                    self.equations.declare(Sector(w, b, label))
        groups: dict[int, list[int]] = {}
        for b, tie in enumerate(algebra.ties):
            groups.setdefault(tie, []).append(b)
        for tied in groups.values():
            keys = [self.key(w, b, algebra.boxes[b].constant) for b in tied]
            for key in keys[1:]:
                self.require({keys[0]: 1, key: -1})  # a box without a scalar part forces zero on the others

    def layout(self, w: int) -> Algebra:
        """How a wire is cut."""
        return self._layouts.algebras[w]

    def readers(self, w: int) -> Sequence[tuple[Site, int]]:
        """The blocks that read a wire and the port they read it on."""
        return self.diagram.readers[w]

    def is_cut(self, w: int) -> bool:
        """Whether a wire is cut into parts of different kinds."""
        return len(self.layout(w).boxes) > 1

    def key(self, w: int, box: int, label: str) -> Sector | None:
        """The variable of a sector, None where the wire's algebra does not have it."""
        if label not in self._layouts.algebras[w].boxes[box].labels or (not self._centring and "x" in label):
            return None
        return Sector(w, box, label)

    def keys(self, w: int) -> list[tuple[int, str]]:
        """All sectors of a wire."""
        return [
            (b, s)
            for b, box in enumerate(self._layouts.algebras[w].boxes)
            for s in sorted(box.labels)
            if self._centring or "x" not in s
        ]

    def require(self, terms: MatrixEquation) -> None:
        """Adds an equation; sectors that do not exist are zero.

        Raises:
            TypeError: if an unknown is a plain tuple, which no reader of the solutions would recognise.
        """
        row = {k: a for k, a in terms.items() if k is not None}
        for k in row:
            if type(k) is tuple:
                raise TypeError(f"a rule names the unknown {k}: ask `key` for a sector, or write a Factor of its own")
        self.equations.require(row)

    def equal(
        self,
        a: int,
        b: int,
        power: Number = 1,
        rename: Callable[[int, str], tuple[int, str]] | None = None,
        partial: bool = False,
    ) -> None:
        """`S_b = power * S_a`, with the sectors of `a` renamed to those of `b`."""
        hit = set()
        for box, label in self.keys(a):
            target = rename(box, label) if rename else (box, label)
            hit.add(target)
            self.require({Sector(a, box, label): power, self.key(b, *target): -1})
        boxes = {t[0] for t in hit} if partial else None
        for box, label in self.keys(b):
            if (box, label) not in hit and (boxes is None or box in boxes):
                self.require({Sector(b, box, label): 1})

    def total(self, wires: Iterable[tuple[int, int]], scalar: tuple[MatrixKey, Number] | None = None) -> None:
        """The signed sum of the matrices of several wires is zero, with a free multiple of the identity if given."""
        wires = list(wires)
        identity = {(b, box.constant) for b, box in enumerate(self.layout(wires[0][0]).boxes)} if scalar else set()
        for box, label in sorted(identity | {k for w, _ in wires for k in self.keys(w)}):
            row: MatrixRow = {}
            for w, sign in wires:
                key = self.key(w, box, label)
                if key is not None:
                    row[key] = row.get(key, 0) + sign
            if scalar and set(label) <= {"c"}:
                row[scalar[0]] = row.get(scalar[0], 0) + scalar[1]  # it may be one of the wires itself
            self.require(row)

    def copied(self, many: Sequence[tuple[int, int]], few: int, groups: int, copies: int) -> None:
        """The signed sum of some wires is, head by head, the matrix of a wire whose heads it repeats."""
        hit = set()
        for pair in repeated(self.layout(many[0][0]), self.layout(few), groups, copies):
            for box, label in self.axis_keys(many):
                if box != pair.many:
                    continue
                row = self.axis(many, box, label)
                key = self.key(few, pair.few, pair.gathered(label))
                if key is not None and set(pair.copies(label)) <= {"c"}:
                    hit.add((pair.many, key))
                    row[key] = row.get(key, 0) - 1
                self.require(row)
            for box, label in self.keys(few):
                if box == pair.few and (pair.many, Sector(few, box, label)) not in hit:
                    self.require({Sector(few, box, label): 1})

    def acts_on_copies(self, many: int, few: int, copies: int) -> None:
        """A matrix maps a vector that all copies repeat to one that they repeat; `few` carries what it does to it."""
        for pair in repeated(self.layout(many), self.layout(few), 1, copies):
            images: dict[str, MatrixRow] = {s: {} for _, s in self.axis_keys([(few, 1)])}
            for box, label in self.keys(many):
                if box != pair.many:
                    continue
                across = pair.copies(label)
                if set(across) <= {"c"} or across == "j":
                    row = images.setdefault(pair.gathered(label), {})
                    row[Sector(many, box, label)] = 1 if across != "j" else copies - 1
                elif across != "o":
                    self.require({Sector(many, box, label): 1})
            for label, row in images.items():
                key = self.key(few, pair.few, label)
                self.require(row | ({key: -1} if key else {}))

    def same_scalar(self, a: int, b: int) -> None:
        """The multiples of the identity on two wires are equal."""
        self.require({self.key(w, 0, self.layout(w).boxes[0].constant): s for w, s in ((a, 1), (b, -1))})

    def same_on_ones(self, a: int, b: int) -> None:
        """What `S_a` and `S_b` do to 1 of their first box is equal, where `c I + j (11^T - I)` is `c + (n-1) j`."""
        row: dict[MatrixKey | None, Number] = {}
        for w, sign in ((a, 1), (b, -1)):
            box = self.layout(w).boxes[0]
            for key, c in ((self.key(w, 0, box.constant), 1), (self.key(w, 0, "j"), box.size - 1)):
                row[key] = row.get(key, 0) + sign * c
        self.require(row)

    def equal_traceless(self, a: int, b: int, power: Number) -> None:
        """`S_b = power * S_a` but for one multiple of the identity, in wires that are cut alike."""
        first, last = (self.key(w, 0, self.layout(w).boxes[0].constant) for w in (a, b))
        for box, label in sorted({*self.keys(a), *self.keys(b)}):
            row: dict[MatrixKey | None, Number] = {}
            terms = [(self.key(a, box, label), power), (self.key(b, box, label), -1)]
            if not set(label) - {"c"}:
                terms += [(first, -power), (last, 1)]
            for key, c in terms:
                row[key] = row.get(key, 0) + c
            self.require(row)

    def only_ones(self, w: int) -> None:
        """`S` is a multiple of `11^T = I + (11^T - I)`, in every block of the last axis."""
        for b, box in enumerate(self.layout(w).boxes):
            for label in sorted({s[:-1] for s in box.labels if s[-1:] in "cj" and s}):
                self.require({self.key(w, b, label + "c"): 1, self.key(w, b, label + "j"): -1})
            if "" in box.labels and self.layout(w).size > 1:  # one feature by itself: 11^T also reaches the others
                self.require({self.key(w, b, ""): 1})

    def centre(self, x: int, y: int) -> None:
        """`S_x` and `S_y` agree on the complement of 1, where `c I + j (11^T - I)` acts as `c - j`."""
        self.require({self.key(x, 0, "c"): 1, self.key(x, 0, "j"): -1, self.key(y, 0, "c"): -1, self.key(y, 0, "j"): 1})
        self.require({self.key(x, 0, "x"): 1, self.key(y, 0, "x"): -1})

    def offsets(self, parts: Sequence[int]) -> list[tuple[int, int]]:
        """The parts of a concatenation with the index of their first box."""
        return box_offsets(self._layouts, parts)

    def axis(self, terms: Sequence[tuple[int, int]], box: int, label: str) -> MatrixRow:
        """The signed sum of one sector over the wires that act on a parameter's axis."""
        row: MatrixRow = {}
        for w, sign in terms:
            key = self.key(w, box, label)
            if key is not None:
                row[key] = row.get(key, 0) + sign
        return row

    def axis_keys(self, terms: Sequence[tuple[int, int]]) -> list[tuple[int, str]]:
        """The sectors of the wires that act on a parameter's axis."""
        return sorted({k for w, _ in terms for k in self.keys(w)})

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
        self._layouts = layouts
        self._directions = directions
        self._centring = has_centring(layouts.diagram)
        self.lax = layouts.lax
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


def has_centring(diagram: Diagram) -> bool:
    """Whether some block tells the mean of features from their differences, which needs the x sectors."""
    return any(s.rule.tells_mean for s in diagram.sites)
