"""The 100 networks counted, and all laws of degree 2."""

from __future__ import annotations

from functools import partial

from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.graph.questions.search import search_laws

from ..paper import Claim, Part, Plain, Report, Results, Units, verdict
from .networks import draw, drawn, formula, network


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


PARTS = (
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
        draw,
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
        draw,
    ),
)
