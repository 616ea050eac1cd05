"""Marcotte, Gribonval, Peyré 2023: the worked examples, the 100 networks, all laws of degree 2, counts by formula."""

from ..paper import Paper
from . import counts, examples, many

PAPER = Paper(
    "marcotte2023",
    "Abide by the law and follow the flow",
    (
        examples.PART,
        *many.PARTS,
        counts.PART,
    ),
)
