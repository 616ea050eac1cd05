"""How many scalars of a full matrix law are independent.

`S` on a wire moves nothing when it kills every vector that the wire's parameters put on it.  With `r = min(n, number of
vectors)` generic vectors, `n (n + 1) / 2 - (n - r)(n - r + 1) / 2 = r (2n + 1 - r) / 2` scalars are independent.  A
neighbour wire whose own vectors span only `r'` dimensions contributes `r'` of its columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .families import Family, gather, has_off_diagonal, is_matrix

if TYPE_CHECKING:
    from .solution import Solution


def deficits(solution: Solution, family: Family) -> int:
    """Scalars of a family with full matrices that depend on the others."""
    axis = next((i for i, k in enumerate(family.kinds) if is_matrix(k)), None)
    if axis is None:
        return 0
    (w, b), _ = family.support[0]
    dims = solution.layouts.algebras[w].boxes[b].dims
    n = dims[axis] - any("x" in s for s in family.labels if family.kinds[axis] != "matrix")
    copies = 1
    for i, k in enumerate(family.kinds):
        if k == "free":
            copies *= dims[i]
    missing = n - min(n, full_rank(solution, w))
    return copies * missing * (missing + 1) // 2


def full_rank(solution: Solution, wire: int) -> int:
    """Number of generic vectors on a wire that carries full matrices, at most its width for this purpose unbounded."""
    return _ranks(solution)[wire]


def _ranks(solution: Solution) -> dict[int, int]:
    """Vectors on every wire with a full law, per block of that law."""
    cached = getattr(solution, "_full_ranks", None)
    if cached is not None:
        return cached
    widths: dict[int, int] = {}  # width of the matrix axis, for every wire of a full law
    members: dict[int, list[int]] = {}  # all wires of that law
    copies: dict[int, int] = {}
    for family in gather(solution.gauges):
        axis = next((i for i, k in enumerate(family.kinds) if is_matrix(k)), None)
        if axis is None or family.mixed or not has_off_diagonal(family):
            continue
        wires = [w for (w, _), _ in family.support]
        (w, b), _ = family.support[0]
        dims = solution.layouts.algebras[w].boxes[b].dims
        blocks = 1
        for i, k in enumerate(family.kinds):
            blocks *= dims[i] if k == "free" else 1
        for w in wires:
            widths[w], members[w], copies[w] = dims[axis], wires, blocks
    reads = _reads(solution)
    vectors = {w: sum(n for m in members[w] for n, _ in reads.get(m, [])) // (widths[w] * copies[w]) for w in widths}
    changed = True
    while changed:
        changed = False
        for w, n in widths.items():
            total = 0
            for m in members[w]:
                for entries, neighbour in reads.get(m, []):
                    columns = entries // (n * copies[w])
                    if neighbour in widths and neighbour not in members[w]:
                        spanned = min(vectors[neighbour], widths[neighbour])
                        columns = columns * spanned // widths[neighbour]
                    total += columns
            if total < vectors[w]:
                vectors[w] = total
                changed = True
    solution._full_ranks = vectors  # type: ignore[attr-defined]
    return vectors


def _reads(solution: Solution) -> dict[int, list[tuple[int, int | None]]]:
    """For every wire the parameters on it: number of entries, and the wire on their other side."""
    out: dict[int, list[tuple[int, int | None]]] = {}
    for name, uses in solution.uses.items():
        parameter = solution.diagram.parameters[name]
        if parameter.frozen:
            continue
        use = uses[0]
        vector = use.constant or len(use.axes) == 1
        if vector and solution.vector_is_constant(name, use):
            continue
        if not vector and solution.matrix_is_constant(name, use):
            continue
        for axis, wires in enumerate(use.axes):
            other = None if vector else use.axes[1 - axis][0][0]
            for w, _ in wires:
                out.setdefault(w, []).append((parameter.size, other))
    return out
