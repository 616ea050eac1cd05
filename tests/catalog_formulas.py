"""Reads the formulas of the catalog as a reader would."""

import sympy as sp


def read(formula: str, sizes: dict[str, int]) -> int:
    """A formula of the catalog as a number; a factor stands beside another."""
    formula, _, rank = formula.partition(" with rank = ")
    names = dict(sizes)
    if rank:
        low, high = rank.removeprefix("min(").removesuffix(")").split(", ")
        names["rank"] = min(read(low, sizes), read(high, sizes))
    tight = formula.replace(" + ", "+").replace(" - ", "-").replace(" / ", "/").replace("^", "**").replace(" ", "*")
    value = sp.parse_expr(tight).subs({sp.Symbol(k): v for k, v in names.items()})
    assert value.is_integer
    return int(value)
