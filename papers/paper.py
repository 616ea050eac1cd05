"""What a paper is made of: parts, each with units of work, numbers, judged claims and a drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

HOLDS, REFUTED, UNTESTED = "holds", "refuted", "not testable here"

Plain = dict[str, Any]  # numbers, texts and lists of them: what JSON can say
Results = Mapping[str, Any]  # what each unit of a part gave, by its name
Units = dict[str, Callable[[], Plain]]


@dataclass(frozen=True)
class Claim:
    """What a paper says, and what came out.

    Attributes:
        name: short and stable; part of the id in the catalog.
        text: what the paper says.
        verdict: `holds`, `refuted` or `not testable here`.
        evidence: the numbers behind the verdict, or why it cannot be tested.
        counterexample: the smallest one, where it is refuted.
    """

    name: str
    text: str
    verdict: str
    evidence: str
    counterexample: str = ""


@dataclass(frozen=True)
class Report:
    """What a part found.

    Attributes:
        numbers: by the names that `published.json` has for them.
        claims: the judged claims.
    """

    numbers: dict[str, float]
    claims: list[Claim] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """One experiment of a paper.

    Attributes:
        name: `lawful reproduce PAPER/NAME` runs it alone.
        title: one line.
        setting: data, networks and steps, and in what they differ from the paper's.
        seeds: of everything random.
        units: the work in pieces, of the quick run (`True`) or the full one; a run that was killed goes on with the
            first piece that was not finished.
        report: numbers and claims from what the pieces gave.
        draw: draws into a figure of its own.
        width: of its share of the figure.
        packages: what the full run imports beside the libraries of every run.
    """

    name: str
    title: str
    setting: str
    seeds: tuple[int, ...]
    units: Callable[[bool], Units]
    report: Callable[[Results], Report]
    draw: Callable[[SubFigure, Results], None]
    width: float = 1.0
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Paper:
    """A paper, by its key in the bibliography of the catalog; `streams` is this library's own."""

    name: str
    title: str
    parts: tuple[Part, ...]


def judged(name: str, text: str, good: bool, evidence: str, otherwise: str) -> Claim:
    """A claim that holds, or is refuted by what stands in `otherwise`."""
    return Claim(name, text, verdict(good), evidence, "" if good else otherwise)


def verdict(good: bool) -> str:
    """`holds` or `refuted`."""
    return HOLDS if good else REFUTED
