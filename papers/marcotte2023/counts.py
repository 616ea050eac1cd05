"""The formula for linear networks, on chains that it counts and on chains from one number to one number."""

from __future__ import annotations

from functools import partial

from ..counting import Counted, counting
from .networks import network

CHAINS = ((3, 2, 3), (2, 4, 1), (2, 3, 4, 2), (1, 2, 2, 1), (1, 2, 3, 1), (1, 3, 3, 1), (1, 2, 2, 2, 1))


def _row(widths: tuple[int, ...]) -> Counted:
    name = "-".join(map(str, widths))
    scalar = widths[0] == widths[-1] == 1
    return Counted(
        f"laws_{name}",
        f"the formula, carried over to the linear network {name}, which the paper did not draw, gives its laws"
        if scalar
        else f"a linear network {name} has as many laws as its pairs of neighbouring layers, each counted alone",
        partial(network, list(widths), False, False),
    )


PART = counting(
    "marcotte2023",
    "counts",
    "The formula of linear networks",
    "Linear chains without biases, the squared loss. The formula is proved for two layers; the paper found it right "
    "on the deep networks that it drew, none of which leads from one number to one number.",
    tuple(map(_row, CHAINS)),
)
