"""Curth, Jeffares, van der Schaar 2023: double descent over raw parameters, a U over effective ones."""

from ..paper import Paper
from . import boosting, features, networks, trees

PAPER = Paper(
    "curth2023",
    "A U-turn on double descent",
    (features.PART, trees.PART, boosting.PART, networks.PART),
)
