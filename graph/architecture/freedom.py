"""How free several wires are together that are computed of the inputs alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch

from lawful.theory.gauge.rules.ends import Freedom
from lawful.theory.gauge.spans import affine_dimension

from .block_graph import BlockGraph
from .compile import Port

RANK = 1e-9  # relative singular values of a derivative below it are rounding
PROPORTIONAL = 1e-9  # from 1, a cosine
FEW = 4  # ports all of whose subsets are measured
KEPT = 2  # of features, or of positions, that are all treated alike and apart
ALIKE = 1e-9  # relative error

Prefix = Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]


@dataclass(frozen=True)
class Values:
    """Values of some ports.

    Attributes:
        ports: their names.
        tables: for each one values of shape `(samples, positions, features)`.
        own: the dimension of what each of them can carry at one position.
    """

    ports: Sequence[Port]
    tables: Sequence[torch.Tensor]
    own: Sequence[int]

    def moving(self, slopes: Sequence[Sequence[torch.Tensor]]) -> tuple[Freedom, ...]:
        """How free they are if real numbers go in.

        Args:
            slopes: derivatives at some points, for every port of shape `(positions, features, inputs)`.
        """
        out = []
        for chosen in self._subsets():
            at, room, level = self._sizes(chosen)
            stacked = [[rows[i] for i in chosen] for rows in slopes]
            free = not room or any(_rank(torch.cat([r.flatten(0, 1) for r in rows])) == room for rows in stacked)
            places = range(self.tables[chosen[0]].shape[1]) if level else ()
            each = [any(_rank(torch.cat([r[p] for r in rows])) == at for rows in stacked) for p in places]
            out.append(self._freedom(chosen, free, level and all(each)))
        return tuple(out)

    def chosen(self, reached: Sequence[torch.Tensor]) -> tuple[Freedom, ...]:
        """How free they are if whole numbers go in, which pick one of a few: free if every choice can come everywhere.

        Args:
            reached: for every place of the inputs which positions it reaches, those of all ports in a row.
        """
        out = []
        for chosen in self._subsets():
            ends = torch.tensor([t.shape[1] for t in self.tables]).cumsum(0).tolist()
            places = [p for i in chosen for p in range(ends[i] - self.tables[i].shape[1], ends[i])]
            single = all(int(row[places].sum()) <= 1 for row in reached)
            found = self._freedom(chosen, single, len(chosen) == 1)
            out.append(
                Freedom(
                    found.ports,
                    found.spanning,
                    found.spanning_at,
                    found.open and found.spanning,
                    found.open_at and found.spanning_at,
                    found.apart,
                )
            )
        return tuple(out)

    def _subsets(self) -> Iterator[tuple[int, ...]]:
        """Sets of ports that are measured together: all of a few; of many single ones, pairs and the whole."""
        n = len(self.ports)
        for k in range(1, n + 1):
            if n <= FEW or k <= 2 or k == n:
                yield from combinations(range(n), k)

    def _sizes(self, chosen: Sequence[int]) -> tuple[int, int, bool]:
        """Dimensions of all that can be there at one position and at all, and whether positions agree."""
        places = [self.tables[i].shape[1] for i in chosen]
        at = sum(self.own[i] for i in chosen)
        return at, sum(p * self.own[i] for p, i in zip(places, chosen, strict=True)), len(set(places)) == 1

    def _freedom(self, chosen: Sequence[int], free: bool, free_at: bool) -> Freedom:
        mine = [self.tables[i] for i in chosen]
        at, room, level = self._sizes(chosen)
        spanning = affine_dimension(torch.cat([v.flatten(1) for v in mine], 1)) == room
        spanning_at = spanning or (level and affine_dimension(torch.cat(mine, 2).flatten(0, 1)) == at)
        names = frozenset(self.ports[i] for i in chosen)
        return Freedom(names, spanning, spanning_at, free, free or free_at, any(_apart(v) for v in mine))


def _apart(values: torch.Tensor) -> bool:
    """Whether the values of no two positions are always proportional."""
    rows = values.transpose(0, 1).flatten(1)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)
    cosines = (rows @ rows.T).abs()
    n = len(rows)
    others = cosines[~torch.eye(n, dtype=torch.bool)]
    return n == 1 or bool((cosines.diagonal() > 0).all() and (others < 1 - PROPORTIONAL).all())


def alike(arch: BlockGraph, inputs: Iterable[int], run: Prefix, generator: torch.Generator, axis: int) -> int | None:
    """How many positions (axis 1) or features (axis 2) speak for all: None if they are not treated alike and apart."""
    found = drawn(arch, 2, generator, 1.0, 1)
    tables = {i: _flat(arch, i, found[i]) for i in inputs}
    sizes = {t.shape[axis] for t in (*tables.values(), *run(found))}
    if len(sizes) != 1 or any(arch.inputs[i].tokens for i in tables):
        return None
    (n,) = sizes
    order, half = torch.randperm(n, generator=generator), torch.arange(n) < n // 2
    moved, changed = list(found), list(found)
    for i, t in tables.items():
        moved[i] = _unflat(arch, i, t.index_select(axis, order))
        rows = t.movedim(axis, -1)
        changed[i] = _unflat(arch, i, torch.where(half, 1 + 2 * rows, rows).movedim(-1, axis))
    for y, z, other in zip(run(found), run(moved), run(changed), strict=True):
        size = ALIKE * float(y.abs().max())
        if not torch.allclose(z, y.index_select(axis, order), rtol=ALIKE, atol=size):
            return None
        rest = torch.arange(n)[~half]
        if not torch.allclose(other.index_select(axis, rest), y.index_select(axis, rest), rtol=ALIKE, atol=size):
            return None
    return KEPT


def _flat(arch: BlockGraph, i: int, x: torch.Tensor) -> torch.Tensor:
    """An input as `(examples, positions, features)`."""
    s = arch.inputs[i]
    return (x.movedim(1, -1) if s.channels_first else x).reshape(len(x), -1, s.features)


def _unflat(arch: BlockGraph, i: int, table: torch.Tensor) -> torch.Tensor:
    """What `_flat` made of an input, back in its shape."""
    s = arch.inputs[i]
    x = table.reshape(len(table), *s.space, s.features)
    return x.movedim(-1, 1) if s.channels_first else x


def drawn(arch: BlockGraph, batch: int, generator: torch.Generator, scale: float, beyond: int) -> list[torch.Tensor]:
    """Inputs of a size; whole numbers up to a multiple of what the example holds, a few below zero."""
    out = []
    for s in arch.inputs:
        shape = (batch, *s.shape)
        if s.tokens:
            whole = torch.randint(s.features * beyond, shape, generator=generator)
            low = torch.rand(shape, generator=generator) < 0.02 * (beyond > 1)
            out.append(torch.where(low, -1 - whole % 3, whole))
        else:
            out.append(scale * torch.randn(shape, generator=generator, dtype=torch.float64))
    return out


def derivatives(
    arch: BlockGraph, inputs: set[int], run: Prefix, generator: torch.Generator
) -> list[list[torch.Tensor]]:
    """At some points the derivatives of every port of one example, as `(positions, features, entries of inputs)`."""
    used = sorted(inputs)
    out = []
    for x in _points(arch, generator) if used else ():

        def function(*moved: torch.Tensor, x: list[torch.Tensor] = x) -> tuple[torch.Tensor, ...]:
            values = list(x)
            for i, t in zip(used, moved, strict=True):
                values[i] = t
            return tuple(v[0] for v in run(values))

        parts = torch.autograd.functional.jacobian(function, tuple(x[i] for i in used))
        out.append([torch.cat([p.flatten(2) for p in rows], 2) for rows in parts])
    return out


def _points(arch: BlockGraph, generator: torch.Generator) -> Iterator[list[torch.Tensor]]:
    """One example at a time, of any sign, positive, negative and small."""
    for change in (lambda t: t, torch.abs, lambda t: -t.abs(), lambda t: 0.1 * t, lambda t: t.abs() + 1):
        found = drawn(arch, 2, generator, 1.0, 1)
        yield [x if s.tokens else change(x) for x, s in zip(found, arch.inputs, strict=True)]


def _rank(rows: torch.Tensor) -> int:
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)
    s = torch.linalg.svdvals(rows)
    return int((s > RANK * s[0].clamp_min(1e-300)).sum()) if len(s) else 0


def reached(arch: BlockGraph, inputs: set[int], run: Prefix, generator: torch.Generator) -> list[torch.Tensor]:
    """For every position of the inputs which positions of the ports it reaches, those of all ports in a row."""
    out = []
    for i in sorted(inputs):
        signal = arch.inputs[i]
        inner = signal.space if signal.tokens else signal.shape
        for place in range(max(1, torch.Size(inner).numel())):
            changed: torch.Tensor | None = None
            for _ in range(6):
                x = drawn(arch, 2, generator, 1.0, 1)
                y = [t.clone() for t in x]
                fresh = drawn(arch, 2, generator, 1.0, 1)[i]
                y[i].reshape(2, -1)[:, place] = fresh.reshape(2, -1)[:, place]
                pairs = zip(run(x), run(y), strict=True)
                differ = torch.cat([(a != b).any(-1).any(0) for a, b in pairs])
                changed = differ if changed is None else changed | differ
            assert changed is not None
            out.append(changed)
    return out
