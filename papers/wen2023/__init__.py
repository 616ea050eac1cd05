"""Wen, Li, Ma 2023: what SAM does to the laws, sharpness along an orbit, and flatness against generalisation."""

from ..paper import Paper
from . import orbit, sam, scenarios

PAPER = Paper(
    "wen2023",
    "Sharpness minimization algorithms do not only minimize sharpness",
    (
        sam.PART,
        orbit.PART,
        scenarios.PART,
    ),
)
