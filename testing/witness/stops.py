"""Where gradients are stopped: of which stops it is known that they are meant, and which ones are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .tape import Cut, Place, Stop, Tape

COMMENT = "lawful: by design"  # on a line that stops gradients


@dataclass
class Stops:
    """The stops of a tape.

    Attributes:
        meant: reads behind those that are declared, or belong to straight-through estimators.
        asked: all others, with the reads behind each.
        straight: those that belong to straight-through estimators and are not declared.
        declared: whether some are declared.
    """

    meant: list[Cut] = field(default_factory=list)
    asked: dict[Stop, list[Cut]] = field(default_factory=dict)
    straight: dict[Stop, list[Cut]] = field(default_factory=dict)
    declared: bool = False


def sort_stops(tape: Tape, by_design: Sequence[str]) -> Stops:
    """Which stops of a tape are meant.

    Args:
        tape: what ran.
        by_design: lines, modules, or `"detach"` for all.
    """
    found = Stops()
    for stop, cuts in tape.stops.items():
        declared = not stop.sure and _declared([p for c in cuts for p in (c.stop.place, c.read)], by_design)
        if declared or stop in tape.straight:
            found.meant += cuts
            found.declared |= declared
            if not declared:
                found.straight[stop] = cuts
        else:
            found.asked[stop] = cuts
    return found


def undeclared(tape: Tape, by_design: Sequence[str]) -> list[Stop]:
    """Where numbers may leave torch, without those places of which it is said that it is meant."""
    return [stop for stop in dict.fromkeys(tape.past) if not _declared([stop.place], by_design)]


def _declared(places: Sequence[Place], by_design: Sequence[str]) -> bool:
    """Whether `by_design=`, or a comment on a line, says that gradients are meant to stop there."""
    if any(COMMENT in place.code or not place.names.isdisjoint(by_design) for place in places):
        return True
    return "detach" in by_design


__all__ = ["COMMENT", "Stops", "sort_stops", "undeclared"]
