"""How the pieces of a law are written, in plain text and in LaTeX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from html import escape

from ..parts import HALVES


@dataclass(frozen=True)
class Style:
    """How the pieces of a formula are written.

    Attributes:
        name: a parameter and its number of axes.
        transpose: a transposed matrix.
        entry: a matrix with indices.
        norm: the squared norm.
        product: a matrix product.
        over: a sum with the letters of its indices; without letters, over every `:`.
        ones: the sum over all rows of a matrix (True) or over all its columns.
        fraction: a positive fraction.
        more: what stands for the terms that are not printed.
        identity: the identity matrix.
        brackets: brackets around a sum.
        both: two components side by side.
        centre: a matrix with its mean removed on both sides.
        mean_removed: an expression with its mean over a letter removed.
        part_of: the part of a matrix that lies in the named sectors.
        square: the square of a number.
        groups: a grouped map, whose groups come first.
        adjoint: the conjugate transpose of a complex matrix.
        real: the real part.
        imaginary: the imaginary part.
        pairs: a complex matrix (True: its conjugate) with a row for every real and every imaginary part.
    """

    name: Callable[[str, int], str]
    transpose: Callable[[str], str]
    entry: Callable[[str, list[str]], str]
    norm: Callable[[str], str]
    product: Callable[[str, str], str]
    over: Callable[[list[str], str], str]
    ones: Callable[[str, bool], str]
    fraction: Callable[[Fraction], str]
    more: Callable[[int], str]
    identity: str
    brackets: Callable[[str], str]
    both: Callable[[str, str], str]
    centre: Callable[[str], str]
    mean_removed: Callable[[str, str], str]
    part_of: Callable[[str, str], str]
    square: Callable[[str], str]
    groups: Callable[[str], str]
    adjoint: Callable[[str], str]
    real: Callable[[str], str]
    imaginary: Callable[[str], str]
    pairs: Callable[[str, bool], str]

    def shifted(self, name: str, offset: Fraction, vector: bool) -> str:
        """`(c I + W)` for a matrix, `(c + b)` for a vector to each of whose entries c is added."""
        sign, size = "-" if offset < 0 else "", self.fraction(abs(offset))
        return self.brackets(f"{sign}{size} + {name}" if vector else f"{self.multiple(offset)}{self.identity} + {name}")

    def multiple(self, value: Fraction) -> str:
        """A factor in front of a matrix, nothing for 1."""
        if value == 1:
            return ""
        return "-" if value == -1 else ("-" if value < 0 else "") + self.fraction(abs(value)) + " "

    def coefficient(self, value: Fraction | int, first: bool = False) -> str:
        """A sign and a factor, ready to be followed by a term."""
        value = Fraction(value)
        sign = ("-" if first else "- ") if value < 0 else ("" if first else "+ ")
        size = abs(value)
        return sign + ("" if size == 1 else self.fraction(size) + " ")


ESCAPES = {c: rf"\{c}" for c in "_#%&${}"} | {"^": r"\hat{}", "~": r"\sim{}", "\\": r"\backslash{}"}


def _of_part(write: Callable[[str, int], str], real: str, imaginary: str) -> Callable[[str, int], str]:
    """Names in which the real and the imaginary part of a complex parameter are written as such."""

    def name(parameter: str, axes: int) -> str:
        for ending, letters in zip(HALVES, (real, imaginary), strict=True):
            if parameter.endswith(ending):
                return letters.replace("*", write(parameter.removesuffix(ending), axes))
        return write(parameter, axes)

    return name


def _latex_name(parameter: str, axes: int) -> str:
    node, _, local = parameter.rpartition(".")
    letters = {"weight": "W" if axes > 1 else r"\gamma", "bias": "b"}
    if local not in letters:
        return rf"\mathrm{{{_escape(parameter)}}}"
    return letters[local] + (rf"_{{\mathrm{{{_escape(node)}}}}}" if node else "")


def _escape(name: str) -> str:
    return "".join(ESCAPES.get(c, c) for c in name)


def _indexed_latex(name: str, where: list[str]) -> str:
    return rf"\left({name}\right)_{{{','.join(where)}}}" if where else name


TEXT = Style(
    name=_of_part(lambda n, axes: n, "Re(*)", "Im(*)"),
    transpose=lambda x: f"{x}.T",
    entry=lambda x, where: f"{x}[{','.join(where)}]" if where else x,
    norm=lambda x: f"‖{x}‖²",
    product=lambda x, y: f"{x} @ {y}",
    over=lambda letters, x: f"Σ_{','.join(letters)} {x}" if letters else f"Σ {x}",
    ones=lambda x, rows: f"1ᵀ {x}" if rows else f"{x} 1",
    fraction=str,
    more=lambda n: f"+ ... ({n} more)",
    identity="I",
    brackets=lambda x: f"({x})",
    both=lambda x, y: f"({x}, {y})",
    centre=lambda x: f"C ({x}) C with C = I - 11ᵀ/n",
    mean_removed=lambda x, i: f"{x}, minus its mean over {i}",
    part_of=lambda x, sectors: f"{x}, its part in: {sectors}",
    square=lambda x: f"{x}²",
    groups=lambda x: f"{x}_(groups)",
    adjoint=lambda x: f"{x}.H",
    real=lambda x: f"Re({x})",
    imaginary=lambda x: f"Im({x})",
    pairs=lambda x, conjugate: f"pairs({x}{'.conj' if conjugate else ''})",
)

# Only what matplotlib's mathtext knows as well: a formula is also a title in a picture.
LATEX = Style(
    name=_of_part(_latex_name, r"\mathrm{Re}\left(*\right)", r"\mathrm{Im}\left(*\right)"),
    transpose=lambda x: rf"{x}^\top",
    entry=_indexed_latex,
    norm=lambda x: rf"\left\| {x} \right\|^2",
    product=lambda x, y: f"{x} {y}",
    over=lambda letters, x: rf"\sum_{{{','.join(letters)}}} {x}" if letters else rf"\sum {x}",
    ones=lambda x, rows: rf"\mathbf{{1}}^\top {x}" if rows else rf"{x} \mathbf{{1}}",
    fraction=lambda f: str(f.numerator) if f.denominator == 1 else rf"\frac{{{f.numerator}}}{{{f.denominator}}}",
    more=lambda n: rf"+ \cdots \; ({n}\text{{ more}})",
    identity="I",
    brackets=lambda x: rf"\left({x}\right)",
    both=lambda x, y: rf"\left({x},\; {y}\right)",
    centre=lambda x: rf"C \left({x}\right) C,\; C = I - \frac{{1}}{{n}} \mathbf{{1}}\mathbf{{1}}^\top",
    mean_removed=lambda x, i: rf"{x} \quad \text{{minus its mean over }} {i}",
    part_of=lambda x, sectors: rf"P \left({x}\right)\; \text{{(part in: {sectors})}}",
    square=lambda x: f"{x}^2",
    groups=lambda x: rf"{x}^{{(\mathrm{{groups}})}}",
    adjoint=lambda x: rf"{x}^\dagger",
    real=lambda x: rf"\mathrm{{Re}}\left({x}\right)",
    imaginary=lambda x: rf"\mathrm{{Im}}\left({x}\right)",
    pairs=lambda x, conjugate: rf"\left[{x}\right]_{{\mathrm{{{'Re,-Im' if conjugate else 'Re,Im'}}}}}",
)


def _html_name(parameter: str, axes: int) -> str:
    node, _, local = parameter.rpartition(".")
    letters = {"weight": "W" if axes > 1 else "γ", "bias": "b"}
    if local not in letters:
        return f"<span>{escape(parameter)}</span>"
    return f"<i>{letters[local]}</i>" + (f"<sub>{escape(node)}</sub>" if node else "")


# For pages without scripts.
HTML = Style(
    name=_of_part(_html_name, "Re(*)", "Im(*)"),
    transpose=lambda x: f"{x}<sup>⊤</sup>",
    entry=lambda x, where: f"{x}[{','.join(where)}]" if where else x,
    norm=lambda x: f"‖{x}‖²",
    product=lambda x, y: f"{x} {y}",
    over=lambda letters, x: f"Σ<sub>{','.join(letters)}</sub> {x}" if letters else f"Σ {x}",
    ones=lambda x, rows: f"<b>1</b><sup>⊤</sup> {x}" if rows else f"{x} <b>1</b>",
    fraction=str,
    more=lambda n: f"+ … ({n} more)",
    identity="<i>I</i>",
    brackets=lambda x: f"({x})",
    both=lambda x, y: f"({x}, {y})",
    centre=lambda x: f"<i>C</i> ({x}) <i>C</i> with <i>C</i> = <i>I</i> − <b>11</b><sup>⊤</sup>/n",
    mean_removed=lambda x, i: f"{x}, minus its mean over {i}",
    part_of=lambda x, sectors: f"{x}, its part in: {sectors}",
    square=lambda x: f"{x}²",
    groups=lambda x: f"{x}<sup>(groups)</sup>",
    adjoint=lambda x: f"{x}<sup>†</sup>",
    real=lambda x: f"Re({x})",
    imaginary=lambda x: f"Im({x})",
    pairs=lambda x, conjugate: f"[{x}]<sub>{'Re,−Im' if conjugate else 'Re,Im'}</sub>",
)
