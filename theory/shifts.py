"""Fourth pass: constant shifts, and every constant field of the parameters that training cannot feel.

Such a field `xi` is a gradient, so `<xi, theta>` is a linear law.  The unknowns are the fields of all parameters and
the shift `t` of every wire, token by token; both live on sectors (see `subspace`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, product

from .admissions import Admissions, Cell, Move, Token
from .algebra import Algebra
from .carried import Carried
from .diagram import Site
from .directions import Directions, box_offsets
from .layouts import Layouts
from .linalg import Equations, Number
from .repeats import repeated
from .rules.maps import LinearRule
from .subspace import Vector, VectorKey, ones, vector_keys

Row = dict[tuple, Number]
Terms = dict[tuple[Token, VectorKey], Row]


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
        self.equations: Equations[tuple] = Equations()
        self.admissions = Admissions(layouts)
        self._live: set[int] = set()
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

    def emit(self, site: Site, w: int, terms: Terms) -> None:
        """The shift of an output, up to what its readers do not see."""
        moving = self.directions.moving(w)
        still = [v for v in self.directions.still(w).vectors if not moving.contains(v)]
        if not any(terms.values()) and not moving and not still:
            return
        self._live.add(w)
        for token in self.tokens(w):
            for key in vector_keys(self.layout(w)):
                row: Row = {("t", w, token, key): 1}
                for k, a in terms.get((token, key), {}).items():
                    row[k] = row.get(k, 0) - a
                for i, u in enumerate(moving.vectors):
                    if key in u:
                        row[("unseen", w, i, token)] = -u[key]
                for i, u in enumerate(still):
                    if key in u and token[1] == "c":
                        row[("unseen constant", w, i)] = -u[key]
                self.equations.require(row)

    def parameter_terms(self, name: str, w: int) -> Terms:
        """A bias: the same shift for every token."""
        if self.admissions.frozen(name):
            return {}
        keys = vector_keys(self.layout(w))
        self._admit(name, [w], ((k,) for k in keys))
        return {(t, k): {("p", name, (k,)): 1} for t in self.tokens(w) if t[1] == "c" for k in keys}

    def copied_terms(self, name: str, own: int, w: int, copies: int) -> Terms:
        """A bias that all heads share, where `own` is a wire of one head: the same shift for every token and head."""
        if self.admissions.frozen(name):
            return {}
        self._admit(name, [own], ((k,) for k in vector_keys(self.layout(own))))
        found: Terms = {
            (t, (p.many, p.spread(key[1]))): {("p", name, (key,)): 1}
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
        terms: Terms = {(t, k): {("p", name, (t, k)): 1} for t in self.tokens(w) for k in vector_keys(self.layout(w))}
        self._admit(name, [w], terms, rows)
        return terms

    def row_terms(self, site: Site, w: int) -> Terms:
        """What a map adds along vectors whose product with its input never changes (all rows of a lookup table)."""
        assert isinstance(site.rule, LinearRule)
        if self.admissions.frozen(site.rule.weight):
            return {}
        sums = site.rule.known_sums(self.directions, site)
        return {
            (t, k): {("row", site.name, i, k): c for i, (_, c) in enumerate(sums)}
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
        """
        if x not in self._live:
            return {}
        if weights == "same" and not set(self.tokens(x)) <= set(self.tokens(y)):
            self.require_uniform(x)  # positions that are not told apart on y carry one constant
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
                row: Row = {("t", x, t, key): a for t, a in sources}
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
                                out[((at + i, kind), key)] = {("t", x, (i, kind), key): 1}
            at += len(self._layouts.tokens[x])
        return out

    @staticmethod
    def add_terms(*terms: Terms) -> Terms:
        """The sum of shifts."""
        out: Terms = {}
        for part in terms:
            for at, row in part.items():
                target = out.setdefault(at, {})
                for k, a in row.items():
                    target[k] = target.get(k, 0) + a
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
        name = len(self.equations)  # every reader may absorb its own multiple
        if not every_token:
            self.require_uniform(w)
        for token in self.tokens(w):
            for key in vector_keys(self.layout(w)):
                row: Row = {("t", w, token, key): 1}
                for i, u in enumerate(allow):
                    if key in u:
                        row[("allowed", name, w, i, token)] = -u[key]
                self.equations.require(row)

    def allow_ones(self, w: int) -> None:
        """Multiples of the all-ones vector, token by token."""
        self.forbid(w, allow=[ones(self.layout(w))])

    def require_uniform(self, w: int) -> None:
        """The same shift for every token."""
        if w not in self._live:
            return
        for token in self.tokens(w):
            for key in vector_keys(self.layout(w)):
                row: Row = {("t", w, token, key): 1}
                if token[1] == "c":
                    if token[0] == 0:
                        continue
                    row[("t", w, (0, "c"), key)] = -1
                self.equations.require(row)

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
                row: Row = {("t", w, (run, kind), key): 1}
                lead = first.setdefault(group, run)
                if kind == "c" and sink is not None and not self.admissions.frozen(sink):
                    row[("p", sink, (key,))] = -1
                elif kind == "c" and lead != run:
                    row[("t", w, (lead, "c"), key)] = -1
                elif kind == "c" and free:
                    continue
                self.equations.require(row)

    def require_equal(self, a: int, b: int) -> None:
        """Two wires shift alike."""
        for token in self.tokens(a):
            for key in vector_keys(self.layout(a)):
                row: Row = {}
                if a in self._live:
                    row[("t", a, token, key)] = 1
                if b in self._live:
                    row[("t", b, token, key)] = -1
                self.equations.require(row)

    # Constant fields of matrices

    def move_matrix(self, site: Site, rule: LinearRule) -> None:
        """What a linear map's weight may do unseen: `unseen out (x) anything + anything (x) absent in`, and lookups."""
        if self.admissions.frozen(rule.weight):
            return
        x, y = site.inputs[0], site.outputs[0]
        ends: tuple[int, ...] = (x, y) if rule.transposed else (y, x)
        if rule.groups > 1:
            # Both wires are cut into groups, which the leading axis of the weight counts; the other has no wire.
            ends = ends[:1]
        moves: list[Move] = []
        if rule.groups == 1:
            outs = vector_keys(self.layout(y))

            def cell(out: VectorKey, inn: VectorKey) -> Cell:
                return (inn, out) if rule.transposed else (out, inn)

            moves += self._unseen_moves(site, ends)
            for u in rule.unread(self.layout(x)).vectors:
                moves += [(("unread", site.name, k), {cell(k, b): c for b, c in u.items()}) for k in outs]
            for i, (line, _) in enumerate(rule.known_sums(self.directions, site)):
                moves += [(("row", site.name, i, k), {cell(k, b): c for b, c in line.items()}) for k in outs]
        if site.name in self.carried:
            moves += self.carried.moves(site)
        self.admissions.admit_moves(site.name, rule.weight, self.admissions.frame(ends), moves)

    def move_tensor(self, site: Site, name: str, wires: Sequence[int]) -> None:
        """What a tensor may do unseen, given the wires on its axes (inputs and outputs of the site)."""
        if not self.admissions.frozen(name):
            self.admissions.admit_moves(site.name, name, self.admissions.frame(wires), self._unseen_moves(site, wires))

    def move_gain(self, site: Site, name: str) -> None:
        """What a gain may do unseen: anything on a part of the wire that nothing reads, or where its input is zero."""
        (x,), (y,) = site.inputs, site.outputs
        if self.admissions.frozen(name):
            return
        cells: list[Cell] = []
        for box in range(len(self.layout(y).boxes)):
            keys = [k for k in vector_keys(self.layout(y)) if k[0] == box]
            for space in (self.directions.moving(y), self.directions.absent(x)):
                if all(space.contains({k: 1}) for k in keys):
                    cells += [(k,) for k in keys]
        self._admit(name, [y], cells)

    def _unseen_moves(self, site: Site, wires: Sequence[int]) -> list[Move]:
        """`unseen out (x) anything + anything (x) absent in`."""
        moves: list[Move] = []
        keys = [vector_keys(self.layout(w)) for w in wires]
        for axis, w in enumerate(wires):
            space = self.directions.moving(w) if w in site.outputs else self.directions.absent(w)
            for i, u in enumerate(space.vectors):
                for rest in product(*keys[:axis], *keys[axis + 1 :]):
                    field = {(*rest[:axis], k, *rest[axis:]): c for k, c in u.items()}
                    moves.append((("unseen field", site.name, axis, i, rest), field))
        return moves

    def start(self, w: int, box: int) -> int:
        """Index of the first feature of a box of a wire."""
        return sum(b.size for b in self.layout(w).boxes[:box])

    def sum_to_zero(self, names: Sequence[str], w: int, cells: Iterable[Cell]) -> None:
        """Vectors on a wire that are only seen through their sum: what one gains the others lose."""
        cells = list(cells)
        trained = [n for n in names if not self.admissions.frozen(n)]
        for name in trained:
            self._admit(name, [w], cells)
        for cell in cells:
            total: Row = {}
            for name in trained:
                total["p", name, cell] = total.get(("p", name, cell), 0) + 1
            self.equations.require(total)

    def free_fields(self, name: str, wires: Sequence[int], cells: Iterable[Cell]) -> None:
        """Constant fields of a parameter that no loss feels, whatever the rest does."""
        if not self.admissions.frozen(name):
            self._admit(name, wires, cells)

    def fields(self) -> list[dict[tuple[str, Cell], Number]]:
        """A spanning list of the constant fields: coefficient per parameter and sector."""
        rows = [{(k[1], k[2]): a for k, a in v.items() if k[0] == "p"} for v in self.equations.nullspace()]
        return [r for r in rows if r]
