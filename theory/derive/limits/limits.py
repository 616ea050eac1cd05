"""What the rules do not cover: named in the result, never guessed."""

from __future__ import annotations

from collections.abc import Iterator

from ...gauge.rules import (
    CurveRule,
    DotRule,
    OpaqueRule,
    PositionMixRule,
    ReorderRule,
    Rule,
    TurnRule,
    WholeRule,
)
from ...gauge.solution import Solution
from .cancelling import cancelling_limits
from .factors import factor_limits
from .frozen import fixed_number_limits, frozen_limits
from .functions import function_limits
from .gates import gate_limits
from .inputs import computed_limits
from .norms import norm_limits, normed
from .paths import path_limits
from .sums import sum_limits
from .tokens import token_limits


def limits(solution: Solution) -> list[str]:
    """Reasons why a list of laws may be incomplete, one sentence each (empty: none is known).

    A frozen matrix lets laws pass that follow its own singular directions, and a frozen vector leaves those of its
    complement; both depend on the frozen values and are not listed.
    """
    found = [
        *computed_limits(solution),
        *token_limits(solution),
        *path_limits(solution.drawn),
        *cancelling_limits(solution.drawn),
        *sum_limits(solution),
        *function_limits(solution),
        *fixed_number_limits(solution),
        *gate_limits(solution.drawn),
        *factor_limits(solution),
        *norm_limits(solution),
        *_opaque(solution),
        *_narrow(solution),
        *frozen_limits(solution),
        *_unlike(solution),
        *_unwritten(solution),
    ]
    return list(dict.fromkeys(found))


def _opaque(solution: Solution) -> Iterator[str]:
    for site in solution.drawn.sites:
        if type(site.rule) in (Rule, OpaqueRule):
            yield f"{site.name} is opaque: no law crosses it, so laws through it may be missing"


def _narrow(solution: Solution) -> Iterator[str]:
    """Operations of which only the degrees are known."""
    for site in solution.drawn.sites:
        if isinstance(site.rule, WholeRule) and site.rule.narrow:
            what = "is known by its degrees only (how its size follows that of its inputs)"
            yield f"{site.name} {what}: laws through it, but for those of sizes, may be missing"
        if isinstance(site.rule, PositionMixRule) and site.rule.narrow:
            what = "mixes positions with weights that the network computes"
            yield f"{site.name} {what}: laws of single positions may be missing"
        if isinstance(site.rule, DotRule) and site.rule.mixes:
            what = "compares all positions with all others"
            yield f"{site.name} {what}: laws of single positions, and of what it adds to all of them, may be missing"
        if isinstance(site.rule, TurnRule) and site.rule.narrow:
            what = "turns positions into features"
            yield f"{site.name} {what}: laws of single positions through what reads it may be missing"
        if isinstance(site.rule, ReorderRule):
            what = "puts features in another order, and other blocks need the old one"
            yield f"{site.name} {what}: laws through it, but for those of sizes, may be missing"
        if isinstance(site.rule, CurveRule) and not normed(solution, site.inputs[0]):
            what = "multiplies by a function of a parameter, such as a learned temperature"
            yield f"{site.name} {what}: laws with that function in them are not listed"


def _unlike(solution: Solution) -> Iterator[str]:
    """Parameters whose sectors two blocks see in different ways."""
    for name in solution.shifts.admissions.unlike:
        yield f"{name} is split in different ways by the blocks that use it: its linear laws are not listed"
    for name in (*solution.entangled, *solution.shifts.fields.turned):
        yield f"{name} has laws that join its rows with its columns: these are not listed"
    for name, uses in solution.uses.items():
        rows = any(use.constant and len(use.views[0].shape) == 2 and use.views[0].shape[0] > 1 for use in uses)
        if rows and not all(use.constant for use in uses) and not solution.diagram.parameters[name].frozen:
            yield f"{name} is used both as a table and as a matrix: laws that join the two uses are not listed"
        kinds = {use.constant for use in uses if len(use.axes) == 1}
        if len(kinds) > 1 and not solution.diagram.parameters[name].frozen:
            yield f"{name} is used both as a factor and as a constant: laws that join the two uses are not listed"
        gain = any(not use.constant and len(use.axes) == 1 for use in uses)
        if gain and any(len(use.axes) > 1 for use in uses) and not solution.diagram.parameters[name].frozen:
            yield f"{name} is used both as a factor and as a matrix: laws that join the two uses are not listed"
        pairs = any(view.paired for use in uses for view in use.views)
        if pairs and not all(solution.layouts.alike(uses[0], use) for use in uses[1:]):
            yield f"{name} is used as complex, and by parts of its numbers: laws that join the two uses are not listed"
        if len({use.offset for use in uses}) > 1:
            yield f"{name} is used both as it is and with a fixed number added: laws that join the two are not listed"


def _unwritten(solution: Solution) -> Iterator[str]:
    """Gauges that join sectors of several kinds, of more than one scalar."""
    for w in dict.fromkeys(w for row in solution.unwritten for (w, _), _ in list(row)[:1]):
        name = solution.drawn.wires[w].name
        yield f"{name} may have its heads mixed, in each feature by itself: laws of that are not listed"
