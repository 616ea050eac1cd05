"""What `lawful demo` found about one network."""

from __future__ import annotations

from dataclasses import dataclass

from lawful.dynamics.train import Recording
from lawful.graph.questions.check import CheckReport

from .demo_networks import Subject

STEP_TOLERANCE = 1e-13  # of a step, relative to the size of the terms that a law adds up: rounding in float64
DRIFT_TOLERANCE = 1e-9  # of the drift of a whole run, relative to that drift


@dataclass(frozen=True)
class Result:
    """What the demo found about one network."""

    subject: Subject
    check: CheckReport
    runs: tuple[Recording, ...]

    @property
    def step_deviation(self) -> float:
        """Largest |measured - predicted| of a step of an exact law, relative to the scale of the law."""
        return max(t.step_deviation for run in self.runs for t in run.traces if t.law.exact)

    @property
    def drift_deviation(self) -> float:
        """Largest unexplained part of the drift of an exact law, relative to its drift."""
        return max(t.drift_deviation for run in self.runs for t in run.traces if t.law.exact)

    @property
    def explained(self) -> bool:
        """Whether every step changed every exact law as predicted, to rounding."""
        return self.step_deviation <= STEP_TOLERANCE and self.drift_deviation <= DRIFT_TOLERANCE

    @property
    def good(self) -> bool:
        """Whether the laws hold, are complete, and change in training as predicted."""
        return self.check.lawful and self.explained
