"""Two worked examples: a product, and a random cubic field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from lawful.graph.questions.search import search_laws

from ..figure import BLUE, GREY, ORANGE
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


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


PART = Part(
    "examples",
    "Two worked examples",
    "Exact search for polynomial laws, without knowing any: the gradient field of a product of D variables "
    "(degree 2), and fields with random integer coefficients of degree 3.",
    (0,),
    _examples,
    _examples_report,
    _examples_draw,
)
