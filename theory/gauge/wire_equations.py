"""Equations between the matrices of wires, sector by sector: what rules write and how they name the unknowns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .algebra import Algebra
from .contract import Site
from .diagram import Diagram
from .directions import Directions, box_offsets
from .layouts import Layouts
from .linalg import Equations, Number
from .repeats import repeated
from .unknowns import MatrixEquation, MatrixKey, MatrixRow, Sector


class WireEquations:
    """The sectors of `S` on every wire, and the equations that say how those of several wires are related."""

    def __init__(self, layouts: Layouts, directions: Directions) -> None:
        self._layouts = layouts
        self._directions = directions
        self.lax = layouts.lax
        self.equations: Equations[MatrixKey] = Equations()
        self._centring = any(s.rule.tells_mean for s in layouts.diagram.sites)  # only then the x sectors are needed

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
