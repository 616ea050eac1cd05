"""Count formulas of the laws of a setting, read off many sizes."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp

from lawful.graph.engine import derive
from lawful.theory.laws import Law, LawSet

from .polynomials import evaluate, fit, monomials, written
from .settings import Setting

CHECKS = 12  # sizes beyond those that determine a formula


@dataclass(frozen=True)
class _Observation:
    """One law at some sizes: its counts, the width of its matrices, and the vectors that its parameters put there."""

    sizes: Mapping[str, int]
    count: int
    independent: int
    width: int
    vectors: int


def count_formulas(setting: Setting, laws: LawSet) -> dict[str, tuple[str, str]]:
    """Count and independent count (empty where it is the same) of every law, as formulas in the widths.

    Raises:
        ValueError: for a law whose counts are no polynomial of the widths, or that some sizes do not have.
    """
    widths = list(setting.sizes)
    seen: dict[str, list[_Observation]] = {law.name: [] for law in laws}
    for sizes in sample_sizes(setting):
        there = {law.name: law for law in derive(setting.architecture(**sizes), setting.loss)}
        still = {p for law in there.values() if law.kind == "frozen" for p in law.parameters}
        for name in seen:
            if name not in there:
                raise ValueError(f"{setting.name}: {name!r} does not exist at {sizes}, only {', '.join(there)}")
            seen[name].append(_observe(there[name], sizes, still))
    return {name: _formulas(f"{setting.name}, {name}", widths, rows) for name, rows in seen.items()}


def sample_sizes(setting: Setting) -> list[dict[str, int]]:
    """Sizes that determine a polynomial in the widths, and more to check it; always the same ones."""
    chooser = random.Random(0)
    widths = list(setting.sizes)
    wanted = len(monomials(widths)) + CHECKS
    low = {w: 40 if w in setting.ample else setting.least.get(w, 2) for w in widths}
    span = 4
    while (span + 1) ** len(widths) < 2 * wanted:
        span += 1
    ranges = [range(low[w], low[w] + span + 1) for w in widths]
    every = list(itertools.product(*ranges)) if len(widths) < 3 else None
    if every:
        chosen = chooser.sample(every, min(wanted + CHECKS, len(every)))
    else:
        chosen = list({tuple(chooser.choice(r) for r in ranges): None for _ in range(4 * wanted)})[: wanted + CHECKS]
    own = tuple(setting.sizes[w] for w in widths)
    points = chosen if setting.ample else [own, *(c for c in chosen if c != own), *_extremes(widths, low)]
    return [dict(zip(widths, c, strict=True)) for c in points]


def _extremes(widths: list[str], low: Mapping[str, int]) -> list[tuple[int, ...]]:
    """One width far above all others: there a full matrix has fewer independent entries than entries."""
    return [tuple(30 + low[w] if w == wide else low[w] for w in widths) for wide in widths]


def _observe(law: Law, sizes: Mapping[str, int], still: set[str]) -> _Observation:
    vectors = 0
    for t in law.terms:
        if t.part.parameter in still:
            continue
        summed = math.prod(d for d, a in zip(t.part.dims, t.part.axes, strict=True) if a < 0)
        vectors += summed * (math.prod(t.part.view.shape) // t.part.sizes[0])
    width = law.shape[-1] if law.kind == "balance" and len(law.axis_kinds) < len(law.shape) else 1
    return _Observation(sizes, law.count, law.independent, width, vectors)


def _formulas(where: str, widths: list[str], rows: list[_Observation]) -> tuple[str, str]:
    total = fit(widths, [(r.sizes, r.count) for r in rows])
    if total is None:
        raise ValueError(f"{where}: the counts are no polynomial of degree 3 in {', '.join(widths)}")
    if all(r.count == r.independent for r in rows):
        return written(total), ""
    independent = fit(widths, [(r.sizes, r.independent) for r in rows])
    if independent is not None:
        return written(total), written(independent)
    return written(total), _by_rank(where, widths, rows, total)


def _by_rank(where: str, widths: list[str], rows: list[_Observation], total: sp.Expr) -> str:
    """`copies rank (2 n + 1 - rank) / 2`, `rank = min(n, vectors)`: a full matrix on a wire that few vectors span."""
    n = fit(widths, [(r.sizes, r.width) for r in rows])
    v = fit(widths, [(r.sizes, r.vectors) for r in rows])
    if n is None or v is None:
        raise ValueError(f"{where}: the independent counts follow no formula that the generator knows")
    copies = sp.cancel(total / (n * (n + 1) / 2))
    for r in rows:
        rank = min(evaluate(n, r.sizes), evaluate(v, r.sizes))
        if evaluate(copies, r.sizes) * rank * (2 * evaluate(n, r.sizes) + 1 - rank) // 2 != r.independent:
            raise ValueError(
                f"{where}: {r.independent} independent laws at {dict(r.sizes)}, the rank formula gives another number"
            )
    factor = "" if copies == 1 else f"{written(copies)} "
    return f"{factor}rank ({written(2 * n + 1)} - rank) / 2 with rank = min({written(n)}, {written(v)})"
