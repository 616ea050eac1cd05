"""Laws of a module that is another function at other calls: those that no other call refutes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lawful.blocks import Discard, Table
from lawful.theory.derive.lawset import LawSet
from lawful.theory.losses import LossLike
from lawful.theory.oracle.modules import ClassAxes, Point, module_points
from lawful.theory.oracle.verification import refuted

from ..architecture.architecture import Architecture

DRAWS = 8  # other inputs and parameters, as `verify` draws them first
LATER = (1, 2)  # calls before the one whose gradient is taken


def elsewhere(
    laws: LawSet,
    arch: Architecture,
    module: object,
    loss: LossLike,
    inputs: tuple[tuple[Any, ...], Mapping[str, Any]],
) -> LawSet:
    """The laws of one run that other runs of the module do not refute.

    A branch that another input takes, or a state that an earlier call left, makes another function of a module.  Its
    laws are those of all of these functions.  They cannot be listed, but they can be tested.

    Args:
        laws: those of the run that was traced.
        arch: the network of that run.
        module: the user's module, or what else was asked about.
        loss: of its outputs.
        inputs: the example, positional and by keyword.

    Returns:
        The laws without those that other inputs or later calls move, and without those of parameters that the run did
        not read, with a note on each; the same set where every call is the same function.
    """
    trace = arch.trace
    if trace is None or not trace.branches or not isinstance(module, torch.nn.Module):
        return laws
    resting = {*trace.unused, *_resting(arch)}
    unread = [w for w in laws if w.kind == "frozen" and set(w.parameters) <= resting]
    names = ", ".join(w.name for w in unread[:6]) + (f" and {len(unread) - 6} more" if len(unread) > 6 else "")
    notes = [f"not listed, as another branch may read what this run did not: {names}"]
    kept = laws.without(unread, notes) if unread else laws
    points, stuck = _points(module, loss, inputs, ClassAxes(trace.axes))
    false = refuted([w for w in kept if w.exact], points)
    notes = [
        f"{w.name} is a law of the run on the example, but another call moves it (by {r:.0e} of its terms), so that it "
        "is not listed"
        for w, r in false
    ]
    if stuck:
        notes.append(f"other calls could not be tried, so that the laws are only those of calls like this one: {stuck}")
    return kept.without([w for w, _ in false], notes) if notes else kept


def _resting(arch: Architecture) -> set[str]:
    """Parts of parameters that the run did not read: experts that got no token."""
    ends: set[str] = set()
    read: set[str] = set()
    for node in (*arch.nodes, "output"):
        sources = {port[0] for port in arch.sources(node)}
        (ends if node != "output" and isinstance(arch.block(node), Discard) else read).update(sources)
    tables = (n for n in ends - read if n != "input" and isinstance(arch.block(n), Table))
    return {name for n in tables for name in arch.parameter_names(n).values()}


def _points(
    module: torch.nn.Module, loss: LossLike, inputs: tuple[tuple[Any, ...], Mapping[str, Any]], axes: ClassAxes
) -> tuple[list[Point], str]:
    """Gradients of the module at other inputs and at later calls, and why there are none, if there are none."""
    found: list[Point] = []
    stuck = ""
    for before, samples in ((0, DRAWS), *((n, 2) for n in LATER)):
        try:
            found += module_points(module, loss, inputs[0], samples, 0, axes, None, inputs[1], True, before)
        except Exception as error:  # inputs that its own checks do not take, states that no second call takes
            stuck = stuck or str(error)
    return found, "" if found else stuck


__all__ = ["elsewhere"]
