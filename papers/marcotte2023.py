"""Marcotte, Gribonval, Peyré 2023: the worked examples, the 100 networks, all laws of degree 2."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.graph.questions.search import search_laws

from .figure import BLUE, GREY, ORANGE
from .paper import Claim, Paper, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

Drawn = list[tuple[list[int], bool]]  # widths of the layers, and whether they have biases


def network(widths: list[int], relu: bool, bias: bool) -> Architecture:
    """A chain of linear maps, with ReLU between them or not."""
    parts: dict[str, b.Block] = {}
    for i, (n, m) in enumerate(pairwise(widths)):
        parts[f"fc{i}"] = b.Linear(n, m, bias)
        if relu and i < len(widths) - 2:
            parts[f"act{i}"] = b.ReLU()
    return Architecture(b.chain(**parts), input=b.Signal(widths[0]))


def drawn(relu: bool, many: int, depth: int, width: int) -> Drawn:
    """Networks as the paper's notebook draws them; `depth` and `width` are the ends of their ranges."""
    state = np.random.RandomState(0)  # the same numbers as numpy.random.seed(0)
    out: Drawn = []
    for _ in range(many):
        layers = state.randint(2, depth)
        widths = [int(state.randint(2, width)) for _ in range(layers + 1)]
        out.append((widths, bool(state.random_sample() < 0.5) if relu and depth == 5 else False))
    return out


def formula(widths: list[int], relu: bool) -> int:
    """Independent laws by the paper."""
    if relu:
        return sum(widths[1:-1])
    rank = [min(n, widths[i] + widths[i + 2]) for i, n in enumerate(widths[1:-1])]
    return sum(r * (2 * n + 1 - r) // 2 for n, r in zip(widths[1:-1], rank, strict=True))


def _examples(quick: bool) -> Units:
    def product() -> Plain:
        rows = []
        for size in range(2, 5 if quick else 7):
            x, data = sp.symbols(f"x:{size}"), sp.Symbol("data")
            field = [data * sp.prod([y for y in x if y != z]) for z in x]
            rows.append([size, search_laws([field], x, degree=2).count])
        return {"rows": rows}

    def cubic() -> Plain:
        state, rows = np.random.RandomState(0), []
        for size in (2, 3):
            x = sp.symbols(f"x:{size}")
            monomials = sorted(sp.itermonomials(x, 3), key=str)
            field = [
                sum(int(c) * m for c, m in zip(state.randint(-9, 10, len(monomials)), monomials, strict=True))
                for _ in x
            ]
            rows.append([size, search_laws([field], x, degree=3 if quick else 5).count])
        return {"rows": rows}

    return {"product": product, "cubic": cubic}


def _examples_report(results: Results) -> Report:
    product, cubic = results["product"]["rows"], results["cubic"]["rows"]
    good = all(found == size - 1 for size, found in product)
    told = "; ".join(f"{size} variables: {found}" for size, found in product)
    none = "; ".join(f"{size} variables: {found}" for size, found in cubic)
    claims = [
        Claim("product", "a product of D variables has D - 1 laws, x_i² - x_j²", verdict(good), f"Found: {told}."),
        Claim(
            "cubic",
            "a random cubic field has no polynomial law",
            verdict(not any(found for _, found in cubic)),
            f"Exact search: {none}.",
        ),
    ]
    return Report({}, claims)


def _examples_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    rows = results["product"]["rows"]
    ax.plot(*zip(*((size, size - 1) for size, _ in rows), strict=True), color=GREY, label="D - 1")
    ax.plot(*zip(*rows, strict=True), "o", color=BLUE, label="found, product of D variables")
    ax.plot(*zip(*results["cubic"]["rows"], strict=True), "D", color=ORANGE, label="found, random cubic field")
    ax.set(xlabel="variables D", ylabel="independent polynomial laws", xticks=[size for size, _ in rows])
    ax.legend()


def _counted(quick: bool) -> Units:
    size = 10

    def some(relu: bool, start: int) -> Plain:
        rows = []
        for widths, bias in drawn(relu, 50, 5, 10 if relu else 6)[start : start + size]:
            arch = network(widths, relu, bias)
            engine = derive(arch).independent
            found = count(arch, exact=True, known=engine)
            rows.append([widths, found.parameters, formula(widths, relu), engine, found.laws])
        return {"rows": rows}

    starts = range(0, 10 if quick else 50, size)
    return {f"{'relu' if relu else 'linear'} {s}": partial(some, relu, s) for relu in (False, True) for s in starts}


def _searched(quick: bool) -> Units:
    def some(relu: bool) -> Plain:
        rows = []
        for widths, _ in drawn(relu, 4 if quick else 10, 4, 5):
            arch = network(widths, relu, False)
            found = search_laws(arch, degree=2).count
            rows.append([widths, sum(p.size for p in arch.parameters.values()), formula(widths, relu), found])
        return {"rows": rows}

    return {"linear": lambda: some(False), "relu": lambda: some(True)}


def _agreeing(results: Results, what: str, claim: str, names: tuple[str, str]) -> Report:
    numbers, claims = {}, []
    for kind, key in zip(("linear", "relu"), names, strict=True):
        rows = [row for unit, found in results.items() if unit.startswith(kind) for row in found["rows"]]
        good = [row for row in rows if len(set(row[2:])) == 1]
        numbers[key] = len(good) / len(rows)
        bad = min((row for row in rows if row not in good), key=lambda row: row[1], default=None)
        claims.append(
            Claim(
                f"{what}-{kind}",
                claim.format("linear" if kind == "linear" else "ReLU"),
                verdict(not bad),
                f"{len(good)} of {len(rows)} networks agree.",
                f"widths {bad[0]}: the formula says {bad[2]}, found {bad[-1]}" if bad else "",
            )
        )
    return Report(numbers, claims)


def _laws_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for kind, colour, mark in (("linear", BLUE, "o"), ("relu", ORANGE, "^")):
        rows = [row for unit, found in results.items() if unit.startswith(kind) for row in found["rows"]]
        label = "linear" if kind == "linear" else "ReLU"
        ax.plot([r[2] for r in rows], [r[-1] for r in rows], mark, color=colour, alpha=0.7, label=label)
    top = max(ax.get_xlim()[1], 2)
    ax.plot([0, top], [0, top], color=GREY, lw=0.8, label="equal")
    ax.set(xlabel="independent laws, formula of the paper", ylabel="independent laws, found")
    ax.legend()


PAPER = Paper(
    "marcotte2023",
    "Abide by the law and follow the flow",
    (
        Part(
            "examples",
            "Two worked examples",
            "Exact search for polynomial laws, without knowing any: the gradient field of a product of D variables "
            "(degree 2), and fields with random integer coefficients of degree 3.",
            (0,),
            _examples,
            _examples_report,
            _examples_draw,
        ),
        Part(
            "networks",
            "Brute force on the paper's networks",
            "The networks that numpy.random.seed(0) draws in the paper's notebook (100 in the full run, 20 in the "
            "quick one), counted without rounding: the formula, the rules and the Lie algebra.",
            (0,),
            _counted,
            lambda r: _agreeing(
                r,
                "count",
                "the Lie algebra of {} networks leaves as many laws as the formula of the paper",
                ("counted_linear", "counted_relu"),
            ),
            _laws_draw,
        ),
        Part(
            "search",
            "All laws of degree 2",
            "10 linear and 10 ReLU networks of depth 2 and 3 (4 and 4 in the quick run); the search is exact.",
            (0,),
            _searched,
            lambda r: _agreeing(
                r,
                "search",
                "the laws of degree 2 of {} networks are the known ones and no more",
                ("searched_linear", "searched_relu"),
            ),
            _laws_draw,
        ),
    ),
)
