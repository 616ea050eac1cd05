"""Fourth pass: constant shifts, and every constant field of the parameters that training cannot feel.

Such a field `xi` is a gradient, so `<xi, theta>` is a linear law.  The unknowns are the fields of all parameters and
the shift `t` of every wire, token by token; both live on sectors (see `subspace`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate

from .admissions import Admissions
from .algebra import Algebra
from .carried import Carried
from .directions import Directions, box_offsets
from .fields import Fields
from .layouts import Layouts
from .linalg import Equations, Number
from .passes import Place
from .repeats import repeated
from .subspace import Vector, VectorKey, ones, vector_keys
from .unknowns import Cell, Field, Open, Shift, ShiftKey, ShiftRow, Terms, Token


class Shifts:
    """Equations over shifts and constant fields.

    Args:
        layouts: how wires are cut.
        directions: what readers do not see.
    """

    def __init__(self, layouts: Layouts, directions: Directions) -> None:
        self._layouts = layouts
        self.directions = directions
        self.carried = Carried(directions, layouts.diagram)
        self.equations: Equations[ShiftKey] = Equations()
        self.admissions = Admissions(layouts)
        self.fields = Fields(directions, self.carried, self.admissions, self.equations)
        self._live: set[int] = set()
        self._uniform: set[int] = set()  # wires whose tokens all shift alike
        for site in layouts.diagram.sites:
            self._site = site.name
            site.rule.shift(self, site)
        self.carried.require(self.equations)
        self.admissions.settle(self.equations)

    def layout(self, w: int) -> Algebra:
        """How a wire is cut."""
        return self._layouts.algebras[w]

    def tokens(self, w: int) -> list[Token]:
        """The token sectors of a wire: constant and mean-free part of every run of tokens."""
        return [(i, a) for i, n in enumerate(self._layouts.tokens[w]) for a in ("cd" if n > 1 else "c")]

    def live(self, w: int) -> bool:
        """Whether a wire may carry a constant shift at all."""
        return w in self._live

    def _admit(self, name: str, wires: Sequence[int], cells: Iterable[Cell], rows: Sequence[int] = ()) -> None:
        """Any field of a parameter on these sectors, as the block that is asked sees them."""
        self.admissions.admit(self._site, name, self.admissions.frame(wires, rows), cells)

    # What a writer puts on a wire

    def emit(self, w: int, terms: Terms) -> None:
        """The shift of an output, up to what its readers do not see."""
        moving = self.directions.moving(w)
        still = [v for v in self.directions.still(w).vectors if not moving.contains(v)]
        if not any(terms.values()) and not moving and not still:
            return
        self._live.add(w)
        for token in self.tokens(w):
            for key in vector_keys(self.layout(w)):
                row: ShiftRow = {Shift(w, token, key): 1}
                for k, a in terms.get((token, key), {}).items():
                    row[k] = row.get(k, 0) - a
                for i, u in enumerate(moving.vectors):
                    if key in u:
                        row[Open("unseen", w, (i, token))] = -u[key]
                for i, u in enumerate(still):
                    if key in u and token[1] == "c":
                        row[Open("unseen constant", w, (i,))] = -u[key]
                self.equations.require(row)

    def parameter_terms(self, name: str, w: int) -> Terms:
        """A bias: the same shift for every token."""
        if self.admissions.frozen(name):
            return {}
        keys = vector_keys(self.layout(w))
        self._admit(name, [w], ((k,) for k in keys))
        return {(t, k): {Field(name, (k,)): 1} for t in self.tokens(w) if t[1] == "c" for k in keys}

    def copied_terms(self, name: str, own: int, w: int, copies: int) -> Terms:
        """A bias that all heads share, where `own` is a wire of one head: the same shift for every token and head."""
        if self.admissions.frozen(name):
            return {}
        self._admit(name, [own], ((k,) for k in vector_keys(self.layout(own))))
        found: Terms = {
            (t, (p.many, p.spread(key[1]))): {Field(name, (key,)): 1}
            for p in repeated(self.layout(w), self.layout(own), 1, copies)
            for key in vector_keys(self.layout(own))
            for t in self.tokens(w)
            if key[0] == p.few and t[1] == "c"
        }
        return found

    def table_terms(self, name: str, w: int) -> Terms:
        """A table of positions: a shift per token; a row that is a vector elsewhere is one here too."""
        rows = self._layouts.tokens[w]
        if self.admissions.frozen(name) or (sum(rows) == 1 and not self._layouts.tabular(name)):
            return self.parameter_terms(name, w)
        terms: Terms = {(t, k): {Field(name, (t, k)): 1} for t in self.tokens(w) for k in vector_keys(self.layout(w))}
        self._admit(name, [w], terms, rows)
        return terms

    def row_terms(self, site: Place, weight: str, w: int, sums: Sequence[Number]) -> Terms:
        """What a weight adds along vectors whose products with its input never change (all rows of a lookup table)."""
        if self.admissions.frozen(weight):
            return {}
        return {
            (t, k): {Open("row", site.name, (i, k)): c for i, c in enumerate(sums)}
            for t in self.tokens(w)
            for k in vector_keys(self.layout(w))
            if t[1] == "c" and sums
        }

    def wire_terms(
        self,
        x: int,
        y: int,
        weights: str | int = "same",
        rename: Callable[[VectorKey], VectorKey] = lambda k: k,
        keys: Mapping[VectorKey, VectorKey] | None = None,
    ) -> Terms:
        """The shift that `y` inherits from `x`; `weights` says which average of tokens it takes.

        Sectors of `x` are renamed to those of `y`; with `keys` only those in it are passed on.

        Raises:
            ValueError: if tokens that `y` does not tell apart may shift differently.
        """
        if x not in self._live:
            return {}
        if weights == "same" and x not in self._uniform and not self._told_apart(x, y):
            raise ValueError(f"{self._site}: tokens of an input are no tokens of the output; call match_tokens first")
        out: Terms = {}
        for token in self.tokens(y):
            sources: list[tuple[Token, Number]]
            if weights == "same":
                sources = [(token, 1)]
            elif token[1] == "d":
                continue
            else:
                sources = self._sources(x, weights)
            for key in keys or vector_keys(self.layout(x)):
                row: ShiftRow = {Shift(x, t, key): a for t, a in sources}
                target = keys[key] if keys else rename(key)
                if target[0] >= 0 and target[0] < len(self.layout(y).boxes):
                    out[(token, target)] = row
        return out

    def _sources(self, x: int, weights: str | int) -> list[tuple[Token, Number]]:
        lengths = self._layouts.tokens[x]
        if weights == "uniform":
            return [((0, "c"), 1)]
        if weights == "mean":
            total = sum(lengths)
            return [((i, "c"), Fraction(n, total)) for i, n in enumerate(lengths)]
        assert isinstance(weights, int)
        at = 0
        for i, n in enumerate(lengths):
            if at <= weights < at + n:
                return [((i, "c"), 1)]
            at += n
        raise IndexError(f"token {weights} of {at}")

    def joined_tokens(self, y: int, parts: Sequence[int]) -> Terms:
        """The shifts of the parts, each on its own run of tokens."""
        out: Terms = {}
        at = 0
        for x in parts:
            for i, _ in enumerate(self._layouts.tokens[x]):
                if x in self._live:
                    for kind in "cd":
                        for key in vector_keys(self.layout(x)):
                            if (i, kind) in self.tokens(x):
                                out[((at + i, kind), key)] = {Shift(x, (i, kind), key): 1}
            at += len(self._layouts.tokens[x])
        return out

    def offsets(self, parts: Sequence[int]) -> list[tuple[int, int]]:
        """The parts of a concatenation with the index of their first box."""
        return box_offsets(self._layouts, parts)

    # What a reader asks of a wire

    def forbid(self, w: int, allow: Iterable[Vector] = (), every_token: bool = True) -> None:
        """No shift but multiples of the allowed vectors (for each token, or the same for all)."""
        if w not in self._live:
            return
        allow = list(allow)
        reader = len(self.equations)  # every reader may absorb its own multiple
        if not every_token:
            self.require_uniform(w)
        for token in self.tokens(w):
            for key in vector_keys(self.layout(w)):
                row: ShiftRow = {Shift(w, token, key): 1}
                for i, u in enumerate(allow):
                    if key in u:
                        row[Open("allowed", w, (reader, i, token))] = -u[key]
                self.equations.require(row)

    def allow_ones(self, w: int) -> None:
        """Multiples of the all-ones vector, token by token."""
        self.forbid(w, allow=[ones(self.layout(w))])

    def require_uniform(self, w: int) -> None:
        """The same shift for every token."""
        if w not in self._live:
            return
        self._uniform.add(w)
        for token in self.tokens(w):
            for key in vector_keys(self.layout(w)):
                row: ShiftRow = {Shift(w, token, key): 1}
                if token[1] == "c":
                    if token[0] == 0:
                        continue
                    row[Shift(w, (0, "c"), key)] = -1
                self.equations.require(row)

    def match_tokens(self, x: int, y: int) -> None:
        """Tokens of `x` that `y` does not tell apart shift alike."""
        if not self._told_apart(x, y):
            self.require_uniform(x)

    def _told_apart(self, x: int, y: int) -> bool:
        return set(self.tokens(x)) <= set(self.tokens(y))

    def require_equal_sets(self, w: int, sets: Sequence[int], free: bool, sink: str | None) -> None:
        """Shifts of the rows of a table that only meet within their own set.

        Args:
            w: the wire of the table.
            sets: the set of every row, -1 for rows that nothing reads.
            free: whether a common shift of a set is unseen.
            sink: a parameter that must take a common shift of all sets, so that it is unseen.
        """
        if w not in self._live:
            return
        starts = (0, *accumulate(self._layouts.tokens[w]))
        first: dict[int, int] = {}
        if sink is not None and not self.admissions.frozen(sink):
            self._admit(sink, [w], ((k,) for k in vector_keys(self.layout(w))))
        for run, kind in self.tokens(w):
            group = sets[starts[run]]
            if group < 0:
                continue
            for key in vector_keys(self.layout(w)):
                row: ShiftRow = {Shift(w, (run, kind), key): 1}
                lead = first.setdefault(group, run)
                if kind == "c" and sink is not None and not self.admissions.frozen(sink):
                    row[Field(sink, (key,))] = -1
                elif kind == "c" and lead != run:
                    row[Shift(w, (lead, "c"), key)] = -1
                elif kind == "c" and free:
                    continue
                self.equations.require(row)

    def require_equal(self, a: int, b: int) -> None:
        """Two wires shift alike."""
        for token in self.tokens(a):
            for key in vector_keys(self.layout(a)):
                row: ShiftRow = {}
                if a in self._live:
                    row[Shift(a, token, key)] = 1
                if b in self._live:
                    row[Shift(b, token, key)] = -1
                self.equations.require(row)

    def start(self, w: int, box: int) -> int:
        """Index of the first feature of a box of a wire."""
        return sum(b.size for b in self.layout(w).boxes[:box])

    def constant_fields(self) -> list[dict[Field, Number]]:
        """A spanning list of the constant fields: coefficient per parameter and sector."""
        rows = [{k: a for k, a in v.items() if isinstance(k, Field)} for v in self.equations.nullspace()]
        return [r for r in rows if r]
