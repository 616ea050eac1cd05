"""Marcotte, Gribonval, Peyré 2025: drift of a ResNet and of a Transformer, ranks of gradients, sign descent."""

from ..paper import Paper
from . import counts, drifts, ranks, signs

PAPER = Paper(
    "marcotte2025",
    "Transformative or conservative?",
    (
        *drifts.PARTS,
        ranks.PART,
        signs.PART,
        counts.PART,
    ),
)
