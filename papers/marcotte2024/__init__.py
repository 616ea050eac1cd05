"""Marcotte, Gribonval, Peyré 2024: laws under momentum and under mirror flows, on digits."""

from ..paper import Paper
from . import counts, limit, linear, mirror, mlp

PAPER = Paper(
    "marcotte2024",
    "Keep the momentum",
    (
        mlp.PART,
        limit.PART,
        linear.PART,
        mirror.PART,
        counts.PART,
    ),
)
