"""Laws as sympy expressions, and what their symbols stand for.

A parameter with one or two axes is the `MatrixSymbol` of its name (a vector is a column).  One with more axes is read
as its unfolding along the wire: `name_(1)` has one row per index of axis 1.  `(I + name)` is a parameter inside a skip.
A law that is one matrix product is a matrix expression; every other law is its entry at the free indices that
`indices` lists.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache

import sympy as sp

from ..gauge.families import is_matrix, skew_axes
from .notation import latex, letters, text
from .statement import Part, Statement, Term
from .unfold import arrays, columns, matrix_name
from .written import Ones, symbol, written, written_matrix

MAX_TERMS = 200

__all__ = ["MAX_TERMS", "arrays", "formula", "indices", "latex", "text"]


def formula(law: Statement) -> sp.Basic:
    """The law as a sympy expression.

    Args:
        law: any law; the cost follows the number of its terms, not their sizes.

    Returns:
        A matrix expression for a single full matrix or a row or column sum, a `Tuple` for a pair of scalars, otherwise
        a scalar expression in the free `indices(law)`.  A law with more than `MAX_TERMS` terms ends in one symbol for
        all that follow.
    """
    terms = law.terms[:MAX_TERMS]
    hidden = len(law.terms) - len(terms)
    build = _quadratic_matrix if law.kind == "balance" else _linear_matrix
    pieces = [build(law, t) for t in terms]
    shapes = {p.shape for p in pieces if p is not None}
    if None not in pieces and len(shapes) == 1:
        if hidden:
            pieces.append(sp.MatrixSymbol(f"({hidden} more terms)", *shapes.pop()))
        return _centred_product(law, written_matrix(pieces))
    if "pair" in law.axis_kinds:
        return sp.Tuple(*(_entry(law, terms, hidden, together) for together in (False, True)))
    return _entry(law, terms, hidden, False)


def indices(law: Statement) -> tuple[tuple[sp.Symbol, int], ...]:
    """The free indices of an entry with their lengths, in the order of the axes of `law.value`.

    A matrix has two indices; a linear law of a convolution ends in the kernel position.  A pair of scalars has none for
    its last axis: its formula is a `Tuple`.
    """
    free, matrix = _axis_symbols(law)
    sizes = _kept_sizes(law.terms[0].part)
    out = [(s, sizes[i]) for i, s in enumerate(free) if s is not None]
    skew = skew_axes(law.axis_kinds, tuple(sizes))
    at = skew[1] if skew else next((i for i, s in enumerate(free) if s is None), None)
    if matrix and at is not None and "pair" not in law.axis_kinds:
        partner = law.terms[0].partner
        out += [(matrix[0], sizes[at]), (matrix[1], _kept_sizes(partner)[0] if partner else sizes[at])]
    kernel = columns(law.terms[0].part)[1]
    if law.kind != "balance" and kernel > 1:
        out.append((_symbol("p"), kernel))
    return tuple(out)


@cache
def _symbol(name: str) -> sp.Symbol:
    return sp.Symbol(name, integer=True, nonnegative=True)


def _matrix(part: Part) -> sp.MatrixExpr:
    """The matrix whose rows the part reads: one row per index of its first run."""
    name, plain = matrix_name(part)
    if plain and part.view.order == (1, 0):
        return sp.MatrixSymbol(name, *part.view.shape).T
    return symbol(name, part.sizes[0], columns(part)[0])


def _cut(x: sp.MatrixExpr, part: Part) -> sp.MatrixExpr:
    """The rows (and for a linear law the columns) of the part's runs."""
    rows = part.slices[0]
    columns = part.slices[1] if len(part.slices) > 1 else (0, x.shape[1])
    whole = rows == (0, x.shape[0]) and columns == (0, x.shape[1])
    return x if whole else x[rows[0] : rows[1], columns[0] : columns[1]]


def _plain(part: Part) -> bool:
    """Whether every run is read with one index, so that no block structure shows."""
    return part.dims == tuple(b - a for a, b in part.slices)


def _quadratic_matrix(law: Statement, term: Term) -> sp.MatrixExpr | None:
    """`c X X^T`, None for a law that is not one matrix."""
    if len(term.part.dims) != 1 or not _plain(term.part) or term.part.axes == (-1,):
        return None
    if law.axis_kinds not in (("matrix",), ("centred",), ("cross", "cross")):
        return None
    x = _cut(_matrix(term.part), term.part)
    y = x if term.partner is None else _cut(_matrix(term.partner), term.partner)
    return sp.Rational(term.coefficient) * x * y.T


def _linear_matrix(law: Statement, term: Term) -> sp.MatrixExpr | None:
    """`c X`, `c 1^T X` or `c X 1`, None for a law that is none of them."""
    part = term.part
    if not _plain(part) or len(part.dims) > 2 or "traceless" in law.axis_kinds or columns(part)[1] > 1:
        return None
    x = _cut(_matrix(part), part)
    axes = (*part.axes, 1) if len(part.axes) == 1 else part.axes
    if len(part.axes) == 2 and set(part.axes) == {-1}:
        x = Ones(1, x.shape[0]) * x * Ones(x.shape[1], 1)
    elif axes[0] < 0:
        x = Ones(1, x.shape[0]) * x
    elif axes[1] < 0:
        x = x * Ones(x.shape[1], 1)
    return sp.Rational(term.coefficient) * x


def _centred_product(law: Statement, product: sp.MatrixExpr) -> sp.MatrixExpr:
    if law.axis_kinds != ("centred",):
        return product
    n = product.shape[0]
    centre = sp.Identity(n) - sp.OneMatrix(n, n) / n
    return centre * product * centre


def _axis_symbols(law: Statement) -> tuple[list[sp.Symbol | None], tuple[sp.Symbol, ...]]:
    """A symbol per law axis (None for the axis of a matrix) and the two of the matrix."""
    kinds = ("matrix",) if law.axis_kinds == ("cross", "cross") else law.axis_kinds
    double = [is_matrix(k) or k in ("pair", "skew") for k in kinds]
    names = iter(letters(len(kinds), any(double)))
    free = [None if d else _symbol(next(names)) for d in double]
    return free, (_symbol("i"), _symbol("k")) if None in free else ()


def _kept(part: Part) -> list[int]:
    """Positions in `dims` of the law's axes, in the order of the law's axes."""
    return [i for _, i in sorted((a, i) for i, a in enumerate(part.axes) if a >= 0)]


def _kept_sizes(part: Part) -> list[int]:
    return [part.dims[i] for i in _kept(part)]


def _entry(law: Statement, terms: tuple[Term, ...], hidden: int, together: bool) -> sp.Expr:
    """The law at its free indices; `together` sums over both indices of a pair."""
    free, matrix = _axis_symbols(law)
    pieces = [sp.Rational(t.coefficient) * _term_entry(law, t, free, matrix, together) for t in terms]
    if hidden:
        pieces.append(sp.Symbol(f"({hidden} more terms)"))
    out = written(pieces)
    sizes = _kept_sizes(law.terms[0].part)
    for i, kind in enumerate(law.axis_kinds):
        if kind == "traceless":
            out = _remove_mean(out, free[i], sizes[i])
        if kind == "centred":
            for s in matrix:
                out = _remove_mean(out, s, sizes[i])
        if kind.startswith("sectors:"):
            out = _project(out, kind.removeprefix("sectors:"), matrix, sizes[i])
    return out


def _project(entry: sp.Expr, sectors: str, matrix: tuple[sp.Symbol, ...], n: int) -> sp.Expr:
    """The entry of the part of a symmetric matrix that lies in some sectors of `Sym(n)` (see `algebra`)."""
    i, k = matrix
    s, t = _symbol("s"), _symbol("t")
    same = sp.KroneckerDelta(i, k)
    trace = sp.Sum(entry.subs({i: t, k: t}), (t, 0, n - 1))
    total = sp.Sum(entry.subs({i: s, k: t}, simultaneous=True), (s, 0, n - 1), (t, 0, n - 1))
    hollow = (total - trace) / (n * (n - 1))
    inner = _remove_mean(_remove_mean(entry, i, n), k, n)
    parts = {
        "c": trace / n * same,
        "d": (entry - trace / n) * same,
        "j": hollow * (1 - same),
        "o": (entry - hollow) * (1 - same),
        "x": inner - (trace - total / n) / (n - 1) * (same - sp.Rational(1, n)),
    }
    return sp.Add(*(parts[x] for x in sectors))


def _remove_mean(expression: sp.Expr, index: sp.Symbol | None, n: int) -> sp.Expr:
    assert index is not None
    other = _symbol(f"{index}'")
    return expression - sp.Sum(expression.subs(index, other), (other, 0, n - 1)) / n


def _term_entry(
    law: Statement, term: Term, free: list[sp.Symbol | None], matrix: tuple[sp.Symbol, ...], together: bool
) -> sp.Expr:
    part = term.part
    limits: list[tuple[sp.Symbol, int, int]] = []
    rest = _symbol("r")
    kernel = columns(part)[1]
    if law.kind != "balance":
        position = _symbol("p") if kernel > 1 else sp.S.Zero
        return _sum(_element(part, free, (), position, limits), limits)
    if kernel > 1:
        limits.append((rest, 0, kernel - 1))
    column = rest if kernel > 1 else sp.S.Zero
    if term.partner is not None:
        left = _element(part, [None], matrix[:1], column, limits)
        return _sum(left * _element(term.partner, [None], matrix[1:], column, limits), limits)
    if term.off_diagonal:  # all ordered pairs of different indices of the first axis
        return _pairs(part, column, limits) - _sum(_element(part, [], (), column, plain := list(limits)) ** 2, plain)
    if "pair" in law.axis_kinds:
        if together:
            return _pairs(part, column, limits, law.axis_kinds.index("pair"), free)
        at = law.axis_kinds.index("pair")
        i = _symbol("i")
        square = _element(part, free, (i,), column, limits) ** 2
        return _sum(square, [*limits, (i, 0, _kept_sizes(part)[at] - 1)])
    if "skew" in law.axis_kinds:
        return _skew_entry(law, part, free, matrix, column, limits)
    if matrix:
        inner: list[tuple[sp.Symbol, int, int]] = []
        left = _element(part, free, matrix[:1], column, inner)
        right = _element(part, free, matrix[1:], column, [])
        return _sum(left * right, [*inner, *limits])
    return _sum(_element(part, free, (), column, limits) ** 2, limits)


def _skew_entry(
    law: Statement,
    part: Part,
    free: list[sp.Symbol | None],
    matrix: tuple[sp.Symbol, ...],
    column: sp.Expr,
    limits: list[tuple[sp.Symbol, int, int]],
) -> sp.Expr:
    """`sum X_0i X_1k - X_1i X_0k` over the two coordinates of the planes."""
    skew = skew_axes(law.axis_kinds, tuple(_kept_sizes(part)))
    assert skew is not None
    inner: list[tuple[sp.Symbol, int, int]] = []

    def at(coordinate: int, index: sp.Symbol) -> sp.Expr:
        inner.clear()
        places = [sp.Integer(coordinate) if a == skew[0] else s for a, s in enumerate(free)]
        return _element(part, places, (index,), column, inner)

    i, k = matrix
    return _sum(at(0, i) * at(1, k) - at(1, i) * at(0, k), [*inner, *limits])


def _pairs(
    part: Part,
    column: sp.Expr,
    limits: list[tuple[sp.Symbol, int, int]],
    at: int = 0,
    free: list[sp.Symbol | None] | None = None,
) -> sp.Expr:
    """The squared norm of the sum over one axis."""
    n = _kept_sizes(part)[at]
    i, k = _symbol("i"), _symbol("k")
    inner = list(limits)
    product = _element(part, free or [None], (i,), column, inner) * _element(part, free or [None], (k,), column, [])
    return _sum(product, [*inner, (i, 0, n - 1), (k, 0, n - 1)])


def _element(
    part: Part,
    free: Sequence[sp.Expr | None],
    matrix: tuple[sp.Symbol, ...],
    column: sp.Expr,
    limits: list[tuple[sp.Symbol, int, int]],
) -> sp.Expr:
    """One entry of the parameter; indices that the law sums over are added to `limits`."""
    kept = {d: free[a] if a < len(free) and free[a] is not None else None for a, d in enumerate(_kept(part))}
    spare = itertools.count(1)
    chosen: list[sp.Expr] = []
    for d, n in enumerate(part.dims):
        index = kept.get(d)
        if index is None and d in kept and matrix:
            index = matrix[0]
        if index is None:
            index = _symbol(f"s{next(spare)}")
            limits.append((index, 0, n - 1))
        chosen.append(index)
    flat = []
    dims = list(zip(part.dims, chosen, strict=True))
    for start, stop in part.slices:
        position, size = sp.S.Zero, 1
        while dims and (size < stop - start or dims[0][0] == 1):
            n, index = dims.pop(0)
            position, size = position * n + index, size * n
        flat.append(start + position)
    across = sp.S.Zero
    for n, index in zip(part.sizes[1:], flat[1:], strict=True):
        across = across * n + index
    return _matrix(part)[flat[0], across * columns(part)[1] + column]


def _sum(expression: sp.Expr, limits: list[tuple[sp.Symbol, int, int]]) -> sp.Expr:
    """The sum over some indices; one that has a single value is written out."""
    alone = {index: start for index, start, stop in limits if start == stop}
    several = [limit for limit in limits if limit[0] not in alone]
    inside = expression.xreplace({i: sp.Integer(v) for i, v in alone.items()})
    return sp.Sum(inside, *several) if several else inside
