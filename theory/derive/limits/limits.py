"""What the rules do not cover: named in the result, never guessed."""

from __future__ import annotations

from collections.abc import Iterator

from ...gauge.rules import (
    CurveRule,
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
            yield f"{site.name} is known by its degrees only: other laws through it than those of sizes may be missing"
        if isinstance(site.rule, PositionMixRule) and site.rule.narrow:
            yield f"{site.name} mixes positions by weights of the network: laws of single ones may be missing"
        if isinstance(site.rule, TurnRule) and site.rule.narrow:
            yield f"{site.name} makes features of positions: laws of single ones through what reads it may be missing"
        if isinstance(site.rule, ReorderRule):
            what = "puts features in another order that other blocks keep"
            yield f"{site.name} {what}: other laws through it than those of sizes may be missing"
        if isinstance(site.rule, CurveRule) and not normed(solution, site.inputs[0]):
            yield f"{site.name} is a factor that answers sizes by a function of its own: such laws are not listed"


def _unlike(solution: Solution) -> Iterator[str]:
    """Parameters whose sectors two blocks see in different ways."""
    for name in solution.shifts.admissions.unlike:
        yield f"{name} is used by blocks that see it cut in different ways: its linear laws are not listed"
    for name in (*solution.entangled, *solution.shifts.fields.turned):
        yield f"{name} has laws that join its rows with its columns: these are not listed"
    for name, uses in solution.uses.items():
        rows = any(use.constant and len(use.views[0].shape) == 2 and use.views[0].shape[0] > 1 for use in uses)
        if rows and not all(use.constant for use in uses) and not solution.diagram.parameters[name].frozen:
            yield f"{name} is a table here and a matrix there: laws that join the two are not listed"
        kinds = {use.constant for use in uses if len(use.axes) == 1}
        if len(kinds) > 1 and not solution.diagram.parameters[name].frozen:
            yield f"{name} is a gain here and a shift there: laws that join the two are not listed"
        gain = any(not use.constant and len(use.axes) == 1 for use in uses)
        if gain and any(len(use.axes) > 1 for use in uses) and not solution.diagram.parameters[name].frozen:
            yield f"{name} is a gain here and a matrix there: laws that join the two are not listed"
        if len({use.offset for use in uses}) > 1:
            yield f"{name} is used as it is and with a fixed number added: laws that join the two are not listed"


def _unwritten(solution: Solution) -> Iterator[str]:
    """Gauges that join sectors of several kinds, of more than one scalar."""
    for w in dict.fromkeys(w for row in solution.unwritten for (w, _), _ in list(row)[:1]):
        name = solution.drawn.wires[w].name
        yield f"{name} may be mixed head by head in each of its features by itself: these laws are not listed"
