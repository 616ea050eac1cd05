"""Tran et al. 2026: one-step slopes of modern blocks, the refuted router law, and the models nobody could run."""

from ..paper import Paper
from . import counts, models, router, slopes

PAPER = Paper(
    "tran2026",
    "Conservation laws for modern neural architectures",
    (
        slopes.PART,
        router.PART,
        models.PART,
        counts.PART,
    ),
)
