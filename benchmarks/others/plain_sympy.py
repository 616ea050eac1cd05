"""The counting algorithm of marcotte2023 in plain sympy: symbolic fields, symbolic brackets, ranks at a rational point.

    python benchmarks/others/plain_sympy.py '[2, 3, 2]' linear 6

The second word is linear, relu or bias, the third the number of laws that are known.

It is what one writes first, and it is exact; `exact_counting.py` compares with it on what it can finish.
"""

from __future__ import annotations

import itertools
import json
import random
import sys

import sympy as sp
from sympy.polys.matrices import DomainMatrix


def outputs(widths: list[int], relu: bool, bias: bool) -> tuple[list[sp.Symbol], list[sp.Expr]]:
    """Parameters, and the polynomials of them that the network is a function of."""
    layers = [sp.Matrix(b, a, sp.symbols(f"w{i}_:{a * b}")) for i, (a, b) in enumerate(itertools.pairwise(widths))]
    biases = [sp.symbols(f"b{i}_:{n}") if bias else () for i, n in enumerate(widths[1:])]
    theta = [x for layer in layers for x in layer] + [x for row in biases for x in row]
    if not relu:
        product = sp.eye(widths[0])
        for layer in layers:
            product = layer * product
        return theta, [sp.expand(x) for x in product]
    found = []
    for start in range(len(layers)):  # every path from an input or a bias to an output is a function of its own
        for path in itertools.product(*(range(n) for n in widths[start:])):
            steps = [layers[start + i][b, a] for i, (a, b) in enumerate(itertools.pairwise(path))]
            if start == 0:
                found.append(sp.prod(steps))
            elif bias:
                found.append(biases[start - 1][path[0]] * sp.prod(steps))
    return theta, found + [x for x in biases[-1] if bias]


def count(widths: list[int], relu: bool, bias: bool, known: int) -> int:
    """`D - dim Lie`, where reaching `known` ends the search (as in the published code)."""
    theta, functions = outputs(widths, relu, bias)
    draw = random.Random(0)
    point = {x: sp.Rational(draw.randint(1, 1000), draw.randint(1, 1000)) for x in theta}
    fields = [[sp.diff(f, x) for x in theta] for f in functions]
    newest, rows, rank = fields, [], -1
    while newest:
        before, fresh = rank, []
        for field in newest:
            row = [x.subs(point) for x in field]
            found = DomainMatrix.from_list_sympy(len(rows) + 1, len(theta), [*rows, row]).to_field().rank()
            if found > max(rank, 0):
                rows.append(row)
                fresh.append(field)
                rank = found
            if rank >= len(theta) - known:
                return len(theta) - rank
        if rank == before:
            break
        newest = [bracket(a, b, theta) for a in fresh for b in fields]
    return len(theta) - rank


def bracket(a: list[sp.Expr], b: list[sp.Expr], theta: list[sp.Symbol]) -> list[sp.Expr]:
    """`[a, b]` of two symbolic fields."""
    return [
        sp.expand(sum(sp.diff(y, t) * x - sp.diff(z, t) * w for t, x, w in zip(theta, a, b, strict=True)))
        for y, z in zip(b, a, strict=True)
    ]


if __name__ == "__main__":
    print(count(json.loads(sys.argv[1]), sys.argv[2] != "linear", sys.argv[2] == "bias", int(sys.argv[3])))
