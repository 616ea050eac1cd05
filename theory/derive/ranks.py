"""How many scalars of a full matrix law are independent.

`S` on a wire moves nothing when it kills every vector that the wire's parameters put on it.  With `r = min(n, number of
vectors)` generic vectors, `n (n + 1) / 2 - (n - r)(n - r + 1) / 2 = r (2n + 1 - r) / 2` scalars are independent.  A
neighbour wire whose own vectors span only `r'` dimensions contributes `r'` of its columns.

Of a Hermitian matrix `n^2 - (n - r)^2` scalars are independent, for `r` complex vectors: its real part is symmetric and
its imaginary part skew-symmetric, of which `(n - r)(n - r - 1) / 2` depend on the others.
"""

from __future__ import annotations

from itertools import product

from ..gauge.families import Family, gather, has_off_diagonal, is_matrix, skew_axes
from ..gauge.solution import Solution, once
from ..gauge.subspace import key_dimension, vector_keys

Entity = tuple[int, int]  # a wire and one of its boxes


def deficits(solution: Solution, family: Family) -> int:
    """Scalars of a family with full matrices that depend on the others."""
    (w, b), _ = family.support[0]
    dims = solution.layouts.algebras[w].boxes[b].dims if not family.mixed else ()
    skew = skew_axes(family.kinds, dims)
    axis = skew[1] if skew else next((i for i, k in enumerate(family.kinds) if is_matrix(k)), None)
    if axis is None or (w, b) not in _ranks(solution):
        return 0
    n = dims[axis] - any("x" in s for s in family.labels if family.kinds[axis] != "matrix")
    copies = 1
    for i, k in enumerate(family.kinds):
        if k == "free":
            copies *= dims[i]
    missing = n - min(n, full_rank(solution, w, b))
    return copies * missing * (missing + (-1 if skew else 1)) // 2


def full_rank(solution: Solution, wire: int, box: int = 0) -> int:
    """Number of generic vectors on a box of a wire that carries full matrices (it may exceed the width)."""
    return _ranks(solution)[wire, box]


def vectors_on(solution: Solution, wire: int) -> int:
    """Number of vectors that the parameters next to a wire put on it, each as wide as the wire."""
    return sum(per_index for per_index, _ in _reads(solution).get(wire, []))


def rows_on(solution: Solution, wire: int) -> int:
    """Number of vectors that matrices next to a wire put on it."""
    return sum(per_index for per_index, other in _reads(solution).get(wire, []) if other is not None)


@once
def _ranks(solution: Solution) -> dict[Entity, int]:
    """Vectors on every box of a wire with a full law, per block of that law."""
    widths: dict[Entity, int] = {}  # width of the matrix axis, for every box of a full law
    members: dict[Entity, list[Entity]] = {}  # all boxes of that law
    copies: dict[Entity, int] = {}
    for family in gather(solution.gauges):
        axis = next((i for i, k in enumerate(family.kinds) if is_matrix(k)), None)
        if axis is None or family.mixed or not has_off_diagonal(family):
            continue
        entities = [(w, b) for (w, b), _ in family.support]
        w, b = entities[0]
        dims = solution.layouts.algebras[w].boxes[b].dims
        blocks = 1
        for i, k in enumerate(family.kinds):
            blocks *= dims[i] if k == "free" else 1
        for entity in entities:
            widths[entity], members[entity], copies[entity] = dims[axis], entities, blocks
    turning = {entity for f in gather(solution.gauges) if "skew" in f.kinds for entity, _ in f.support}
    reads = _reads(solution)
    vectors: dict[Entity, int] = {}

    def columns(entity: Entity) -> int:
        total = 0
        for w, b in members[entity]:
            size = solution.layouts.algebras[w].boxes[b].size
            for per_index, neighbour in reads.get(w, []):
                found = per_index * size // (widths[entity] * copies[entity])
                if vectors and neighbour is not None and all(m[0] != neighbour for m in members[entity]):
                    found = found * spanned(neighbour) // solution.layouts.size(neighbour)
                total += found
        return total // (1 + (entity in turning)) - settled(solution, members[entity])

    def spanned(wire: int) -> int:
        """Dimension of what the parameters of a wire put on it, at most its width."""
        total = 0
        for b, box in enumerate(solution.layouts.algebras[wire].boxes):
            n = widths.get((wire, b), box.size)
            total += min(vectors.get((wire, b), n), n) * (box.size // n)
        return total

    vectors = {entity: columns(entity) for entity in widths}
    changed = True
    while changed:
        changed = False
        for entity in widths:
            total = columns(entity)
            if total < vectors[entity]:
                vectors[entity] = total
                changed = True
    return vectors


@once
def _reads(solution: Solution) -> dict[int, list[tuple[int, int | None]]]:
    """For every wire the parameters on it: number of entries per index, and the wire on their other side."""
    out: dict[int, list[tuple[int, int | None]]] = {}
    for name in solution.uses:
        parameter = solution.diagram.parameters[name]
        if parameter.frozen:
            continue
        use = solution.first_use(name)
        vector = use.constant or len(use.axes) == 1
        if vector and solution.vector_is_constant(name, use):
            continue
        if not vector and solution.matrix_is_constant(name, use):
            continue
        for axis, wires in enumerate(use.axes):
            other = use.axes[1 - axis][0][0] if len(use.axes) == 2 and not vector else None
            for w, _ in wires:
                per_index = parameter.size // solution.layouts.size(w)
                if other is not None:
                    size = solution.layouts.size(other)
                    per_index = per_index * (size - _still(solution, name, axis, w, other)) // size
                out.setdefault(w, []).append((per_index, other))
    return out


def settled(solution: Solution, entities: list[Entity]) -> int:
    """How many vectors on some boxes only act through others: a linear law for every feature takes one away.

    Two biases that are added up are one vector; so are the means of a table of tokens and of one of positions.
    """
    found: dict[str, int] = {}
    for row in solution.fields:
        names = {name for name, _ in row}
        if len(row) < 2 or any(solution.vector_is_constant(n, solution.first_use(n)) for n in names):
            continue
        hit: dict[str, int] = {}
        for name, cell in row:
            use = solution.first_use(name)
            # A cell has one sector where the parameter is a vector, and where a grouped map shares its leading axis.
            for axis, (box, label) in [(0, cell[-1])] if len(cell) == 1 or use.constant else enumerate(cell):
                for w, _ in use.axes[axis]:
                    if (w, box) in entities:
                        layout = solution.layouts.algebras[w]
                        hit[label] = solution.field_dimension(row) // key_dimension(layout, (box, label))
        for label, n in hit.items():
            found[label] = found.get(label, 0) + n
    w, b = entities[0]
    dims = solution.layouts.algebras[w].boxes[b].dims
    return min(found.get("".join(p), 0) for p in product("cd", repeat=len(dims)))


def _still(solution: Solution, name: str, axis: int, w: int, other: int) -> int:
    """Directions of the other side of a matrix in which its vectors on a wire never move."""
    layout = solution.layouts.algebras[other]
    mine = vector_keys(solution.layouts.algebras[w])
    cells = {k: [(a, k) if axis == 0 else (k, a) for a in mine] for k in vector_keys(layout)}
    return sum(key_dimension(layout, k) for k, row in cells.items() if all(solution.constant(name, c) for c in row))
