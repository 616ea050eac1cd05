"""First pass: how every wire is cut, and which matrices its readers and writer allow."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise

from .algebra import Algebra, Centred, Copies, Nothing, Scalar, ScalarPlusOnes, side_by_side
from .boxes import Box, LayoutError, common_dims
from .contract import Site, Use
from .diagram import Diagram
from .repeats import axes_over


class Layouts:
    """The algebra of every wire: the meet of what all its blocks allow.

    Args:
        diagram: the network.
        lax: whether an epsilon under a root is read as 0 (laws up to epsilon) or forbids the scale part.

    Raises:
        LayoutError: if a wire is cut in two ways that do not nest; names the wire and the block.
    """

    def __init__(self, diagram: Diagram, lax: bool) -> None:
        self.diagram = diagram
        self.lax = lax
        self.algebras = [_start(w.size) for w in diagram.wires]
        self.tokens: list[tuple[int, ...]] = [(w.tokens,) for w in diagram.wires]
        self.uses: dict[str, list[Use]] = {}  # in the order of the blocks
        self.users: dict[str, list[str]] = {}  # the blocks of all uses
        for site in diagram.sites:
            for use in site.rule.uses(site):
                self.uses.setdefault(use.parameter, []).append(use)
                self.users.setdefault(use.parameter, []).append(site.name)
        self._solve()

    def _solve(self) -> None:
        """Asks every block for its restrictions, and again those next to a wire that changed."""
        near: dict[int, list[int]] = {}
        for i, site in enumerate(self.diagram.sites):
            for w in set(site.wires):
                near.setdefault(w, []).append(i)
        waiting: Sequence[int] = range(len(self.diagram.sites))
        while waiting:
            before, runs = list(self.algebras), list(self.tokens)
            for i in waiting:
                site = self.diagram.sites[i]
                try:
                    site.rule.shape(self, site)
                except LayoutError as error:
                    failed = LayoutError(f"{site.name}: {error}")
                    failed.site = site.name
                    raise failed from error
            self._share()
            moved = [
                w
                for w, (a, t) in enumerate(zip(before, runs, strict=True))
                if (a is not self.algebras[w] and a != self.algebras[w]) or t != self.tokens[w]
            ]
            waiting = sorted({i for w in moved for i in near.get(w, ())})

    def _share(self) -> None:
        """Uses of one parameter see its axes cut alike."""
        for uses in self.uses.values():
            for other in uses[1:]:
                if not self.alike(uses[0], other):
                    # The two see different axes (one may only know the size of the whole): nothing is claimed.
                    for w, _ in (t for use in (uses[0], other) for axis in use.axes for t in axis):
                        self.meet(w, Nothing(self.size(w)))
                    continue
                for mine, theirs in zip(uses[0].axes, other.axes, strict=True):
                    for w, _ in (*mine, *theirs):
                        self.align(mine[0][0], w)

    def alike(self, one: Use, other: Use) -> bool:
        """Whether two uses of a parameter see the same axes of it."""
        sizes = [[self.size(axis[0][0]) for axis in use.axes] for use in (one, other)]
        pairs = [[(view.paired, view.conjugate) for view in use.views] for use in (one, other)]
        # Only of Hermitian matrices, on both sides, is it known what the conjugate is (see `Balance.share`).
        known = pairs[0] == pairs[1] or all(paired for paired, _ in (*pairs[0], *pairs[1]))
        return sizes[0] == sizes[1] and known and one.groups == other.groups

    def tabular(self, name: str) -> bool:
        """Whether a parameter is only ever a table, so that its sectors name a run of rows as well."""
        return all(use.constant and len(use.views[0].shape) == 2 for use in self.uses[name])

    def size(self, w: int) -> int:
        """Width of a wire."""
        return self.diagram.wires[w].size

    def layout(self, w: int) -> Algebra:
        """What a wire may carry so far."""
        return self.algebras[w]

    def readers(self, w: int) -> Sequence[tuple[Site, int]]:
        """The blocks that read a wire and the port they read it on."""
        return self.diagram.readers[w]

    def frozen(self, name: str) -> bool:
        """Whether training leaves a parameter alone."""
        return self.diagram.parameters[name].frozen

    def meet(self, w: int, algebra: Algebra) -> None:
        """Restricts a wire."""
        self.algebras[w] = self.algebras[w].meet(algebra)

    def equal(self, a: int, b: int) -> None:
        """Two wires carry the same matrices."""
        if self.algebras[a] is not self.algebras[b]:
            both = self.algebras[a].meet(self.algebras[b])
            self.algebras[a] = self.algebras[b] = both
        self._match_tokens(a, b)

    def _match_tokens(self, a: int, b: int) -> None:
        if self.tokens[a] != self.tokens[b] and sum(self.tokens[a]) == sum(self.tokens[b]):
            self.tokens[a] = self.tokens[b] = _merge_cuts(self.tokens[a], self.tokens[b])

    def align(self, a: int, b: int) -> None:
        """Two wires are cut alike."""
        left, right = self.algebras[a], self.algebras[b]
        if left is not right:
            self.algebras[a], self.algebras[b] = left.restrict(right), right.restrict(left)
        self._match_tokens(a, b)

    def ones(self, w: int) -> None:
        """A wire may carry multiples of `11^T` only (and nothing where it is cut)."""
        self.meet(w, ScalarPlusOnes(self.size(w)))
        boxes = self.algebras[w].boxes
        if len(boxes) != 1 or boxes[0].labels != {"c", "j"}:
            self.meet(w, Nothing(self.size(w)))

    def told_apart_alike(self, a: int, b: int) -> None:
        """Tokens of two wires are cut alike."""
        self._match_tokens(a, b)

    def centred(self, w: int) -> None:
        """A wire may carry what commutes with removing the mean."""
        self.meet(w, Centred(self.size(w)))
        if len(self.algebras[w].boxes) != 1 or len(self.algebras[w].boxes[0].dims) != 1:
            self.meet(w, ScalarPlusOnes(self.size(w)))

    def flatten(self, x: int, y: int, before: int, after: int) -> None:
        """Every feature of `x` stands for `before x after` features of `y`."""
        boxes = self.algebras[x].boxes
        if len(boxes) != 1:
            if before > 1:
                raise LayoutError("cannot flatten tokens whose features are cut into parts of different kinds")
            whole = Algebra(tuple(Copies(after, _alone(b), inner=True).boxes[0] for b in boxes), self.algebras[x].ties)
        else:
            whole = Copies(after, self.algebras[x], inner=True)
            whole = Copies(before, whole)
        self.meet(y, whole)
        inner = tuple(Box.of(*_unflatten(b, before, after)) for b in self.algebras[y].boxes)
        self.meet(x, Algebra(inner, self.algebras[y].ties))

    def concat(self, whole: int, parts: Sequence[int]) -> None:
        """`whole` is the parts side by side."""
        for p in parts:
            self._match_tokens(whole, p)
        self.meet(whole, side_by_side([self.algebras[p] for p in parts]))
        at = 0
        merged = self.algebras[whole]
        for p in parts:
            mine, size = [], 0
            while size < self.size(p):
                size += merged.boxes[at].size
                mine.append(at)
                at += 1
            self.meet(p, Algebra(tuple(merged.boxes[i] for i in mine), tuple(merged.ties[i] for i in mine)))

    def repeated(self, many: int, few: int, groups: int, copies: int, apart: bool = False) -> None:
        """Cuts a wire of `groups x copies x width` features and one of `groups x width` alike.

        Where either is cut into parts of different kinds, or with `apart`, both are cut at every head and every head
        alike.
        """
        if apart or self.is_cut(many) or self.is_cut(few):
            self._cut_heads({many: groups * copies, few: groups})
            return
        few_dims = self.algebras[few].boxes[0].dims
        at = axes_over(few_dims, groups)
        target = few_dims[:at] + ((copies,) if copies > 1 else ()) + few_dims[at:]
        self.algebras[many] = self.algebras[many].restrict(_cut(target))
        refined = self.algebras[many].boxes[0].dims
        at = axes_over(refined, groups)
        back = refined[:at] + refined[at + axes_over(refined[at:], copies) :]
        if back != few_dims:
            self.algebras[few] = self.algebras[few].restrict(_cut(back))

    def _cut_heads(self, heads: dict[int, int]) -> None:
        """Cuts every head of some wires, given with their number of heads, at the same places."""
        width = min(self.size(w) // n for w, n in heads.items())
        edges = {e % width for w in heads for e in self.algebras[w].edges()} - {0}
        places = sorted({0, *edges})
        for w in heads:
            starts = range(0, self.size(w), width)
            self.algebras[w] = self.algebras[w].cut(s + e for s in starts for e in places if s + e)
        dims: list[tuple[int, ...]] = [
            functools.reduce(common_dims, (b.dims for w in heads for b in self.algebras[w].boxes[p :: len(places)]))
            for p in range(len(places))
        ]
        for w, n in heads.items():
            self.algebras[w] = self.algebras[w].restrict(_cut(*dims * n))

    def cut_at(self, w: int, position: int) -> None:
        """Cuts a wire in two."""
        self.algebras[w] = self.algebras[w].cut([position])

    def cut_groups(self, x: int, y: int, groups: int) -> None:
        """Where a grouped map's input or output is cut into parts, both are cut into groups."""
        if any(len(self.algebras[w].boxes) > 1 for w in (x, y)):
            for w in (x, y):
                width = self.size(w) // groups
                self.algebras[w] = self.algebras[w].cut(range(width, self.size(w), width))

    def off_diagonal(self, w: int) -> int:
        """Width of the largest block on which a wire carries matrices off the diagonal, 0 if there is none."""
        found = 0
        for box in self.algebras[w].boxes:
            for label in box.labels:
                for i, a in enumerate(label):
                    with_diagonal = label[:i] + "d" + label[i + 1 :] in box.labels  # 11^T beside the diagonal
                    if a in "oxk" or (a == "j" and with_diagonal):
                        found = max(found, box.dims[i])
        return found

    def frozen_matrix(self, x: int, y: int) -> None:
        """A generic frozen matrix: `S_y W = W S_x` makes both commute with `W W^T` and `W^T W`.

        Where one side carries nothing off the diagonal both are one multiple of the identity, on the other side as far
        as `W` reaches.
        """
        for one, other in ((x, y), (y, x)):
            if not self.off_diagonal(one) and self.off_diagonal(other) <= self.size(one):
                nothing = not self.algebras[one].count
                for w in (one, other):
                    self.meet(w, Nothing(self.size(w)) if nothing else Scalar(self.size(w)))

    def is_cut(self, w: int) -> bool:
        """Whether a wire is cut into parts of different kinds."""
        return len(self.algebras[w].boxes) > 1

    def cut_tokens(self, w: int, index: int, length: int = 1) -> None:
        """A run of tokens of a wire is read apart from the others."""
        total = sum(self.tokens[w])
        ends = [index, length, total - index - length]
        self.tokens[w] = _merge_cuts(self.tokens[w], tuple(n for n in ends if n))

    def join_tokens(self, whole: int, parts: Sequence[int]) -> None:
        """The token axis of `whole` is those of the parts end to end."""
        ends = tuple(n for p in parts for n in self.tokens[p])
        self.tokens[whole] = _merge_cuts(self.tokens[whole], ends)
        at = 0
        for p in parts:
            mine, size, total = [], 0, sum(self.tokens[p])
            while size < total:
                mine.append(self.tokens[whole][at])
                size += mine[-1]
                at += 1
            self.tokens[p] = tuple(mine)


def _start(n: int) -> Algebra:
    return Algebra((Box.of((n,), "cdjox"),), (0,))


def _cut(*boxes: tuple[int, ...]) -> Algebra:
    return Algebra(tuple(Box.of(dims, ["c" * len(dims)]) for dims in boxes), tuple(range(len(boxes))))


def _alone(box: Box) -> Algebra:
    return Algebra((box,), (0,))


def _unflatten(box: Box, before: int, after: int) -> tuple[tuple[int, ...], set[str]]:
    """Dims and labels of the box without the axes of the copies."""
    head, tail = int(before > 1), int(after > 1)
    end = len(box.dims) - tail
    if (head and (not box.dims or box.dims[0] != before)) or (tail and (not box.dims or box.dims[-1] != after)):
        raise LayoutError("flattened features are cut across the copies of one feature")
    return box.dims[head:end], {s[head:end] for s in box.labels}


def _merge_cuts(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    def ends(lengths: tuple[int, ...]) -> set[int]:
        total, out = 0, set()
        for n in lengths:
            total += n
            out.add(total)
        return out

    cuts = sorted({0} | ends(a) | ends(b))
    return tuple(y - x for x, y in pairwise(cuts))
