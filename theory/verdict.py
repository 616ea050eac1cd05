"""What a check can say."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of a check; only `HOLDS` passes.

    Attributes:
        HOLDS: shown within the stated tolerance.
        APPROXIMATE: true up to the epsilon of a norm; the size is measured.
        VIOLATED: false, or not a number.
        VACUOUS: nothing was tested (zero gradients, frozen parameters only).
        UNDECIDED: the numbers do not separate signal from rounding.
    """

    HOLDS = "holds"
    APPROXIMATE = "approximate"
    VIOLATED = "violated"
    VACUOUS = "vacuous"
    UNDECIDED = "undecided"

    @property
    def passed(self) -> bool:
        """Whether a check may accept it."""
        return self is Verdict.HOLDS
