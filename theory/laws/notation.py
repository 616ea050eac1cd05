"""Laws in plain text and in LaTeX, as people write them.

Both read the terms of a law; neither needs sympy or torch.  A vertical bar pair is a Frobenius norm, a colon an axis
that is summed over.  `text` and `latex` are whole; `short` and `short_latex` cut long sums, for tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..gauge.families import skew_axes
from .style import HTML, LATEX, TEXT, Style

if TYPE_CHECKING:
    from .statement import Part, Statement, Term

SHOWN = 8  # terms that are printed before a sum is cut
SECTORS = {
    "c": "multiples of the identity",
    "d": "diagonal of trace 0",
    "j": "multiples of all off-diagonal ones",
    "o": "off the diagonal with rows of sum 0",
    "x": "trace 0 on the complement of the ones",
}


def text(law: Statement) -> str:
    """The law in plain text; parameters have their own names, `.T` is a transpose as in torch."""
    return _write(law, TEXT)


def latex(law: Statement) -> str:
    """The law in LaTeX, without delimiters; `W`, `b` and `γ` of a node carry its name as index.

    It needs the package amsmath, or KaTeX or MathJax.
    """
    return _write(law, LATEX)


def short(law: Statement) -> str:
    """The law in plain text, for tables: a sum of more than `SHOWN` terms says how many are not printed."""
    return _write(law, TEXT, SHOWN)


def short_latex(law: Statement) -> str:
    """The same in LaTeX."""
    return _write(law, LATEX, SHOWN)


def html(law: Statement) -> str:
    """The law in HTML without scripts, long sums cut; every name in it is escaped."""
    return _write(law, HTML, SHOWN)


def _write(law: Statement, style: Style, most: int | None = None) -> str:
    names = axis_letters(law)
    if "pair" in law.axis_kinds:
        return style.both(_sum(law, style, names, _norm, most), _sum(law, style, names, _norm_of_sum, most))
    if law.kind != "balance":
        out = _sum(law, style, names, _short_linear if _is_short(law) else _linear, most)
    elif "skew" in law.axis_kinds:
        out = _sum(law, style, names, partial(_skew, law), most)
    elif any(map(_is_product, law.axis_kinds)):
        out = _sum(law, style, names, _product, most)
    else:
        out = _sum(law, style, names, _norm, most)
    if "centred" in law.axis_kinds:
        out = style.centre(out)
    for kind, letter in zip(law.axis_kinds, names, strict=True):
        if kind == "traceless":
            out = style.mean_removed(out, letter)
        if kind.startswith("sectors:"):
            out = style.part_of(out, ", ".join(SECTORS[s] for s in kind.removeprefix("sectors:")))
    return out


def axis_letters(law: Statement) -> list[str]:
    """A letter for every axis of a law; `:` for the one of a matrix or a pair."""
    double = [_is_product(k) or k in ("pair", "skew") for k in law.axis_kinds]
    names = iter(letters(len(double), any(double)))
    return [":" if d else next(names) for d in double]


def letters(axes: int, matrix: bool) -> str:
    """Index letters of the axes of a law; `i` is the last of them, or belongs to its matrix."""
    return "cdefgh"[7 - axes :] if matrix else "cdefghi"[7 - axes :]


def _is_product(kind: str) -> bool:
    return kind in ("matrix", "centred", "cross") or kind.startswith("sectors:")


def _sum(
    law: Statement,
    style: Style,
    letters: list[str],
    write: Callable[[Term, Style, list[str]], str],
    most: int | None = None,
) -> str:
    shown = law.terms if most is None or len(law.terms) <= most else law.terms[: most - 2]
    signs = [_sign(law, t.part) for t in shown]
    parts = [
        style.coefficient(s * t.coefficient, not i) + write(t, style, letters)
        for i, (s, t) in enumerate(zip(signs, shown, strict=True))
    ]
    if len(shown) < len(law.terms):
        parts.append(style.more(len(law.terms) - len(shown)))
    return " ".join(parts)


def _name(part: Part, style: Style) -> str:
    name = style.name(part.parameter, len(part.view.shape))
    if part.view.paired:
        return name if _over_parts(part) is not None else style.pairs(name, part.view.conjugate)
    if part.view.lead > 1:  # a grouped map: the groups come first
        name = style.groups(name)
    return style.shifted(name, part.offset, len(part.view.shape) == 1) if part.offset else name


def _over_parts(part: Part) -> int | None:
    """The axis of a law (-1: summed) over real and imaginary parts of a complex matrix; None if it joins other axes."""
    return part.axes[-1] if part.view.paired and len(part.dims) > 1 and part.dims[-1] == 2 else None


def _sign(law: Statement, part: Part) -> int:
    """The sign of what is written, against what is read: `X_0 X_1^T - X_1 X_0^T = - Im(X X^H)`."""
    if "skew" not in law.axis_kinds or _over_parts(part) is None:
        return 1
    return -1 if part.view.conjugate == (part.view.order[0] == 1) else 1


def _where(part: Part, letters: list[str], summed: str = ":") -> list[str]:
    """An index for every entry of `dims`: the law's letter, or what stands for a sum."""
    kept = [i for _, i in sorted((a, i) for i, a in enumerate(part.axes) if a >= 0)]
    out = [summed] * len(part.dims)
    for letter, d in zip(letters, kept, strict=False):
        out[d] = letter
    return out


def _run(where: list[str], run: tuple[int, int], whole: int) -> list[str]:
    """The indices of a run; where it is cut out of a longer axis, one index that counts from its start."""
    start, stop = run
    if run == (0, whole):
        return where
    if stop - start == 1:
        return [str(start)]
    if set(where) <= {":"}:
        return [f"{start}:{stop}"]
    inside = where[0] if len(where) == 1 else f"({','.join(where)})"
    return [f"{start}+{inside}" if start else inside]


def _rows(part: Part, where: list[str]) -> list[str]:
    """The indices of the rows that are read; a complex matrix has one row for both parts of its numbers."""
    run, size = part.slices[0], part.sizes[0]
    if _over_parts(part) is not None and where[-1] == ":":
        return _run(where[:-1], (run[0] // 2, run[1] // 2), size // 2)
    return _run(where, run, size)


def _is_flipped(part: Part) -> bool:
    """Whether a law reads the columns of a matrix."""
    return part.view.order[0] == 1 and (part.view.lead == 1 or part.view.paired)


def _indices(part: Part, letters: list[str]) -> list[str]:
    """All indices of a parameter as a quadratic law reads it, in the order of its axes; `[]` if all are `:`."""
    row = _rows(part, _where(part, letters))
    others = [":" for i in part.view.order[part.view.lead :] if not part.view.paired or part.view.shape[i] > 1]
    flipped = _is_flipped(part)
    where = [*others[:1], *row, *others[1:]] if flipped else [*row, *others]
    return [] if set(where) <= {":"} else where


def _norm(term: Term, style: Style, letters: list[str]) -> str:
    if term.off_diagonal:
        return f"({_norm_of_sum(term, style, [':'])} - {style.norm(_name(term.part, style))})"
    name, where = _name(term.part, style), _indices(term.part, letters)
    entry = style.entry(name, where)
    single = len(term.part.view.shape) == 1 and ":" not in where and where
    if single:
        return style.square(entry)
    return style.norm(entry)


def _norm_of_sum(term: Term, style: Style, letters: list[str]) -> str:
    where = _indices(term.part, [x for x in letters])
    name = style.entry(_name(term.part, style), where)
    return style.norm(style.ones(name, not _is_flipped(term.part)))


def _product(term: Term, style: Style, letters: list[str]) -> str:
    """`X X^T` of the rows that the law reads, block by block."""
    part = term.part
    if _over_parts(part) is not None:
        return style.real(_hermitian(part, style, letters))
    first = _oriented(part, style, letters)
    second = first if term.partner is None else _oriented(term.partner, style, letters)
    summed = sum(a < 0 for a in part.axes)
    product = style.product(first[0], second[1])
    return style.over(["stuv"[i] for i in range(summed)], product) if summed else product


def _skew(law: Statement, term: Term, style: Style, letters: list[str]) -> str:
    """`X_0 X_1^T - X_1 X_0^T` of the two coordinates of planes that turn alike."""
    part = term.part
    if _over_parts(part) is not None:
        return style.imaginary(_hermitian(part, style, letters))
    sizes = tuple(part.dims[i] for _, i in sorted((a, i) for i, a in enumerate(part.axes) if a >= 0))
    skew = skew_axes(law.axis_kinds, sizes)
    assert skew is not None
    coordinates = [_oriented(part, style, [c if a == skew[0] else x for a, x in enumerate(letters)]) for c in "01"]
    (x0, y0), (x1, y1) = coordinates
    return f"({style.product(x0, y1)} - {style.product(x1, y0)})"


def _hermitian(part: Part, style: Style, letters: list[str]) -> str:
    """`W W^H` of the rows of a complex matrix that a law reads, or `W^H W` of its columns."""
    where = _rows(part, _where(part, letters))
    while where and where[-1] == ":":
        where = where[:-1]
    name = style.name(part.parameter, 2)
    x = style.entry(name, [":", *where] if _is_flipped(part) and where else where)
    return style.product(style.adjoint(x), x) if _is_flipped(part) else style.product(x, style.adjoint(x))


def _oriented(part: Part, style: Style, letters: list[str]) -> tuple[str, str]:
    """The matrix with the wire in front, and its transpose."""
    spare = iter("stuv")
    row = [next(spare) if part.axes[i] < 0 else x for i, x in enumerate(_where(part, letters))]
    flipped = _is_flipped(part)
    where = _rows(part, row)
    while len(where) > 1 and where[-1] == ":" and not flipped:
        where = where[:-1]
    where = [] if where == [":"] else [":", *where] if flipped else where
    x = style.entry(_name(part, style), where)
    return (style.transpose(x), x) if flipped else (x, style.transpose(x))


def _linear(term: Term, style: Style, letters: list[str]) -> str:
    """An entry, or a sum of entries, of a parameter."""
    name, where = _name(term.part, style), _linear_indices(term.part, letters)
    entry = style.entry(name, where)
    return style.over([], entry) if any(":" in w for w in where) else entry


def _short_linear(term: Term, style: Style, letters: list[str]) -> str:
    """The same without indices: `X`, `1^T X` or `X 1`."""
    name, where = _name(term.part, style), _linear_indices(term.part, letters)
    if ":" not in where:
        return name
    if set(where) == {":"}:
        return style.ones(name, True) if len(where) == 1 else style.ones(style.ones(name, True), False)
    return style.ones(name, where[0] == ":")


def _is_short(law: Statement) -> bool:
    """Whether every term of a linear law reads whole axes, one index each, and all leave the same shape."""
    shapes = set()
    for part in (t.part for t in law.terms):
        whole = part.dims == part.sizes and math.prod(part.view.shape) == math.prod(part.sizes) and len(part.dims) <= 2
        if not whole:
            return False
        shapes.add(part.axes if len(law.terms) > 1 else None)
    return len(shapes) == 1


def _linear_indices(part: Part, letters: list[str]) -> list[str]:
    """One index for every run, in the order of the parameter's axes; a kernel position at the end."""
    names = _where(part, letters)
    out, d = [], 0
    for run, size in zip(part.slices, part.sizes, strict=True):
        length, mine = 1, []
        while d < len(part.dims) and (length < run[1] - run[0] or part.dims[d] == 1):
            mine.append(names[d])
            length, d = length * part.dims[d], d + 1
        out += _run(mine, run, size) if size > 1 else ["0"]
    kernel = math.prod(part.view.shape) // math.prod(part.sizes)
    return out + (["p"] if kernel > 1 else [])
