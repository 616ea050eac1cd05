"""Exceptions that a test declares (`allow_untested=`, `by_design=`) and that except nothing: renamed, or misspelt."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import torch

from .witness.tape import Place, Tape

EVERY_CUT = "detach"


def stale_untested(module: torch.nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """What is to be said about names in `allow_untested=` that are no parameter and no module."""
    known = {n for n, _ in module.named_parameters(remove_duplicate=False)} | {
        n for n, _ in module.named_modules() if n
    }
    return tuple(
        f"allow_untested has {name!r}, which is no parameter and no module of it{_near(name, known)}"
        for name in names
        if name not in known
    )


def stale_designs(tapes: Sequence[Tape], names: Sequence[str]) -> tuple[str, ...]:
    """What is to be said about names in `by_design=` that nothing has of all that they can except.

    That are operators with a backward of their own, stops, and places where numbers leave torch.
    """
    known: set[str] = {EVERY_CUT} if any(tape.stops or tape.past for tape in tapes) else set()
    for tape in tapes:
        own = [call for call in tape.calls if not call.by_torch]
        known.update(call.function.__name__ for call in own)
        known.update(_names_of(call.place for call in own))
        cuts = [cut for some in tape.stops.values() for cut in some]
        known.update(_names_of(place for cut in cuts for place in (cut.stop.place, cut.read)))
        known.update(_names_of(stop.place for stop in tape.past))
    return tuple(
        f"by_design has {name!r}, and nothing of this name stops or changes a gradient in this step{_near(name, known)}"
        for name in names
        if name not in known
    )


def _names_of(places: Iterable[Place]) -> set[str]:
    """What places may be called."""
    return set().union(*(place.names for place in places))


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1)
    return f"; did you mean {near[0]!r}?" if near else "; take it out"


__all__ = ["stale_designs", "stale_untested"]
