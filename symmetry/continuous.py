"""From laws to the groups behind them.

A law `h = sum_t c_t <S, X_t X_t^T>` is half of the gauge `X_t -> c_t S X_t`, which is tangent to the level sets of the
network for every symmetric `S` and at every parameter.  So its flow leaves the function alone: `X_t -> exp(c_t S) X_t`.
Products of such flows are all matrices of positive determinant, where `S` is any symmetric matrix: writers answer by
`g`, readers by the inverse transpose.  A linear law `<t, theta>` is the constant field `t` and its flow a shift.

Source: Noether's theorem, read backwards; the wire-balance theorem (`theory/derive/prove.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial

import torch

from lawful.theory.gauge.families import is_matrix
from lawful.theory.laws.evaluate import project_symmetric, remove_means
from lawful.theory.laws.law import Law
from lawful.theory.laws.proof import Proof
from lawful.theory.laws.statement import Part

from .element import Element
from .moves import Move
from .running import Setting
from .symmetry import Symmetry

SPREAD = 0.4  # size of a random generator: outputs change visibly, and nothing is lost to rounding


def from_law(law: Law, setting: Setting) -> Symmetry:
    """The symmetry behind a law that holds exactly."""
    moves = tuple(Move(t.part, t.coefficient, t.partner, t.off_diagonal) for t in law.terms)
    kind, group = _kind(law, moves)
    widest = max([1, *(d for m in moves if m.off_diagonal for d in m.part.dims)])  # 11^T stretches by its width
    degrees = tuple({abs(m.power) for m in moves} - {Fraction(1)})
    shape = law.shape

    if kind == "shift":
        first = law.terms[0].part
        rest = _columns(first)
        shape = (*shape, rest) if rest > 1 and len(shape) < len(law.axis_kinds) + 1 else shape

    exponential = partial(_exponential, law, kind, degrees)
    make = partial(_make, exponential, kind, shape, widest)
    find, prove = partial(_itself, law), partial(_prove, law)
    return Symmetry(law.name, group, shape, moves, law.axis_kinds, kind, find, "", prove, make, exponential, setting)


def _itself(law: Law) -> Law:
    return law


def _exponential(law: Law, kind: str, degrees: tuple[Fraction, ...], s: torch.Tensor) -> Element:
    """The element of a generator."""
    if kind == "shift":
        return Element("shift", remove_means(s, law))
    if kind == "scale":
        return Element("scale", torch.exp(remove_means(s, law)))
    a = _generator(law, s)
    return Element("matrix", torch.linalg.matrix_exp(a), {c: torch.linalg.matrix_exp(float(c) * a) for c in degrees})


def _make(
    exponential: Callable[[torch.Tensor], Element],
    kind: str,
    shape: tuple[int, ...],
    widest: int,
    generator: torch.Generator,
) -> Element:
    """A random element; of matrices a product of two, which need not be symmetric."""
    size = SPREAD / (shape[-1] ** 0.5 if kind == "matrix" and shape else float(widest))
    drawn = [
        exponential(size * torch.randn(shape, generator=generator, dtype=torch.float64))
        for _ in range(1 + (kind == "matrix"))
    ]
    return drawn[0] @ drawn[1] if kind == "matrix" else drawn[0]


def _prove(law: Law) -> Proof:
    return Proof(
        "Noether",
        f"the gradient of {law.name} is tangent to the level sets everywhere, so its flow keeps the function",
        "Noether 1918; the field is linear or constant, so its flow is the group that acts",
        (law.proof,),
    )


def _columns(part: Part) -> int:
    """Numbers of a parameter behind every index of a linear law (kernel positions)."""
    return math.prod(part.view.shape) // math.prod(part.sizes)


def _kind(law: Law, moves: tuple[Move, ...]) -> tuple[str, str]:
    """How elements act, and the name of the group."""
    if law.kind != "balance":
        return "shift", "shift"
    kinds = law.axis_kinds
    if any(m.partner is not None for m in moves):
        return "matrix", "joint linear"
    if "skew" in kinds:
        return "matrix", "complex linear"
    matrix = next((k for k in kinds if is_matrix(k) or k == "pair"), None)
    if matrix is None:
        return "scale", "positive diagonal" if law.shape else "scalar"
    if matrix == "matrix" and all(abs(m.power) == 1 for m in moves):
        return "matrix", "general linear"
    return "matrix", "linear on a sum of zero" if matrix == "centred" else "positive definite"


def _generator(law: Law, s: torch.Tensor) -> torch.Tensor:
    """The matrix that a law's indices stand for: symmetric, or two by two blocks of such."""
    kinds = law.axis_kinds
    if kinds == ("cross", "cross"):
        n, m = s.shape
        zeros = (s.new_zeros(n, n), s.new_zeros(m, m))
        return torch.cat([torch.cat([zeros[0], s], 1), torch.cat([s.T, zeros[1]], 1)])
    if "pair" in kinds:
        n = _width(law, law.terms[0].part)
        eye, every = torch.eye(n, dtype=s.dtype), torch.ones(n, n, dtype=s.dtype)
        return s[..., 0, None, None] * eye + s[..., 1, None, None] * every
    if "skew" in kinds:
        k = remove_means((s - s.transpose(-1, -2)) / 2, law)
        zero = torch.zeros_like(k)
        return torch.cat([torch.cat([zero, k], -1), torch.cat([-k, zero], -1)], -2)
    a = (s + s.transpose(-1, -2)) / 2
    kind = next(k for k in kinds if is_matrix(k))
    if kind == "centred":
        a = a - a.mean(-1, keepdim=True)
        a = a - a.mean(-2, keepdim=True)
    elif kind.startswith("sectors:"):
        a = project_symmetric(a, kind.removeprefix("sectors:"))
    return remove_means(a, law)


def _width(law: Law, part: Part) -> int:
    """Length of the axis of the pair."""
    at = law.axis_kinds.index("pair")
    kept = sorted((a, d) for a, d in zip(part.axes, part.dims, strict=True) if a >= 0)
    return kept[at][1]
