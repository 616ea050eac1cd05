"""What is frozen or fixed: laws that depend on its values."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...arguments import plural
from ...gauge.contract import Site
from ...gauge.rules import (
    AddRule,
    ConcatRule,
    FixedMapRule,
    FlattenRule,
    FrozenNormRule,
    GainRule,
    HomogeneousRule,
    LinearRule,
    MixtureRule,
    OffsetRule,
    OutputRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    SoftmaxRule,
    SourceRule,
    TokensRule,
    Use,
)
from ...gauge.solution import Solution
from ...gauge.subspace import key_dimension
from .paths import averaged

# readers through which another constant can answer for a frozen one
PASSES_CONSTANTS = (AddRule, ConcatRule, FlattenRule, MixtureRule, PassRule, TokensRule)

BY_FEATURE = (HomogeneousRule, PointwiseRule, ProductRule)


def fixed_number_limits(solution: Solution) -> Iterator[str]:
    """Fixed numbers: matrices that kill them, or that a trained constant answers, depend on their values."""
    averages = averaged(solution.drawn)
    for site in solution.drawn.sites:
        rule = site.rule
        live = bool(site.inputs) and solution.shifts.live(site.inputs[0])
        if isinstance(rule, OffsetRule):
            x = site.inputs[0]
            few = rule.rows - live < solution.layouts.size(x) or site.outputs[0] in averages
            shut = isinstance(solution.drawn.writer[x].rule, (PointwiseRule, SoftmaxRule, SourceRule))
            if few and not shut and not (rule.every and not live and _by_feature(solution, site)):
                yield f"{site.name} adds fixed numbers: laws that depend on their values are not listed"
        if isinstance(rule, FixedMapRule):
            yield f"{site.name} multiplies by a fixed matrix: laws that depend on its values are not listed"
        if isinstance(rule, FrozenNormRule):
            unseen = solution.directions.moving(site.outputs[0]) or solution.directions.still(site.outputs[0])
            if live or unseen:
                yield f"{site.name} normalises by fixed statistics: laws that depend on their values are not listed"
        if isinstance(rule, PointwiseRule) and rule.exponential and live:
            yield f"{site.name} makes factors of constants (an exponential): laws that join the two are not listed"


def _by_feature(solution: Solution, site: Site) -> bool:
    """Whether only diagonal matrices could pass a site, for what stands beside it: none kills what is nowhere 0."""
    around = [r.rule for w in site.outputs for r, _ in solution.drawn.readers[w]]
    around += [solution.drawn.writer[w].rule for w in site.inputs]
    return any(isinstance(rule, BY_FEATURE) or (isinstance(rule, GainRule) and rule.gain) for rule in around)


def frozen_limits(solution: Solution) -> Iterator[str]:
    """What frozen values let through: it depends on these values, and so it is not listed."""
    for site in solution.drawn.sites:
        if isinstance(site.rule, LinearRule) and site.rule.still:
            name = site.rule.weight
            yield f"{name} has a row for padding that is never trained: laws that depend on its values are not listed"
    frozen = {n for n, p in solution.diagram.parameters.items() if p.frozen}
    matrices: dict[str, None] = {}
    vectors: dict[str, None] = {}
    for site in solution.drawn.sites:
        for use in site.rule.uses(site):
            if use.parameter not in frozen:
                continue
            if len(use.axes) > 1 and not use.constant:
                if _matrix_matters(solution, site, use):
                    matrices[use.parameter] = None
            elif _constant_matters(solution, site) if use.constant else _gain_matters(solution, site):
                vectors[use.parameter] = None
    for found in (matrices, vectors):
        if found:
            first, *others = found
            more = f"and {plural(len(others), 'more parameter')} are frozen" if others else "is frozen"
            yield f"{first} {more}: laws that depend on {'their' if others else 'its'} values are not listed"


def _matrix_matters(solution: Solution, site: Site, use: Use) -> bool:
    """Whether a frozen matrix may let a law or a constant through.

    `S_out W = W S_in` makes both commute with `W W^T` and `W^T W`.  Where one side carries no matrix off the diagonal a
    generic `W` leaves `c I` on it, so the other has `c I` as well but for what `W` kills: nothing if it is no wider.
    """
    if _sees_everything(solution, site):
        return False
    if not site.inputs or any(solution.shifts.live(w) for w in site.inputs) or len(use.axes) > 2:
        return True
    if use.groups > 1:
        gain = use.groups == solution.diagram.parameters[use.parameter].size  # one number for each feature
        return not gain or _gain_matters(solution, site)
    if any(solution.directions.moving(w) for w in site.outputs):
        return True  # what nothing reads of its outputs, it may kill of its inputs
    if isinstance(site.rule, LinearRule) and solution.layouts.size(site.outputs[0]) > _present(
        solution, site.inputs[0]
    ):
        # What it writes has directions that are never there, which a trained map may read, also behind a norm.
        if _read_alone(solution, site.outputs[0]):
            return True
    blocks = [solution.layouts.off_diagonal(axis[0][0]) for axis in use.axes]
    sizes = [solution.layouts.size(axis[0][0]) for axis in use.axes]
    return all(blocks) or any(block > sizes[1 - i] for i, block in enumerate(blocks))


def _present(solution: Solution, wire: int) -> int:
    """How many directions of a wire are ever there."""
    layout = solution.layouts.algebras[wire]
    never = solution.directions.absent(wire).vectors
    return layout.size - sum(key_dimension(layout, next(iter(u))) if len(u) == 1 else 1 for u in never)


def _sees_everything(solution: Solution, site: Site) -> bool:
    """Whether a loss sees every change of what a frozen matrix reads: it is no wider than what the loss sees."""
    rule, reading = site.rule, solution.drawn.readers
    if not isinstance(rule, LinearRule) or rule.groups > 1 or rule.lookup or math.prod(rule.shape_[2:]) > 1:
        return False
    ends = [r.rule for r, _ in reading[site.outputs[0]]]
    if not ends or not all(isinstance(r, OutputRule) and r.loss.span in ("all", "shift") for r in ends):
        return False
    unseen = any(isinstance(r, OutputRule) and r.loss.span == "shift" for r in ends)
    return solution.layouts.size(site.inputs[0]) <= solution.layouts.size(site.outputs[0]) - unseen


def _read_alone(solution: Solution, wire: int) -> bool:
    """Whether a map may read what a frozen matrix writes, with nothing trained added and nothing curved between."""
    writer = solution.drawn.writer
    for site, _ in solution.drawn.readers[wire]:
        rule = site.rule
        if isinstance(rule, (HomogeneousRule, OutputRule, PointwiseRule, ProductRule)):
            continue
        if isinstance(rule, AddRule):
            beside = [writer[w].rule for w in site.inputs if w != wire]
            if any(isinstance(r, LinearRule) and not solution.diagram.parameters[r.weight].frozen for r in beside):
                continue
        if not isinstance(rule, (AddRule, PassRule)) or _read_alone(solution, site.outputs[0]):
            return True
    return False


def _gain_matters(solution: Solution, site: Site) -> bool:
    """Whether constants reach a frozen gain, or a direction that its input never has is read by a trained map."""
    if not site.inputs:
        return True  # a source that scales a parameter
    x, y = site.inputs[0], site.outputs[0]
    if solution.shifts.live(x) or solution.directions.moving(y) or solution.directions.still(y):
        return True
    if not solution.directions.absent(x):
        return False
    parameters = solution.diagram.parameters
    readers = (r.rule for r, _ in solution.drawn.readers[y])
    return any(isinstance(rule, LinearRule) and not parameters[rule.weight].frozen for rule in readers)


def _constant_matters(solution: Solution, site: Site) -> bool:
    """Whether a matrix may kill a frozen constant `b`, or another constant may answer `S b`."""
    y = site.outputs[0]
    if all(isinstance(r.rule, OutputRule) for r, _ in solution.drawn.readers[y]):
        return False  # what a matrix makes of it is along 1, where a loss sees nothing
    if solution.layouts.off_diagonal(y):
        return True
    if any(solution.directions.absent(x) for x in site.inputs):
        return True  # a sum that was 0 is now a fixed number
    if not solution.layouts.algebras[y].count:
        return False
    unseen = solution.directions.moving(y) or solution.directions.still(y)
    return bool(unseen) or solution.shifts.live(y) or any(_passes(solution, r) for r, _ in solution.drawn.readers[y])


def _passes(solution: Solution, site: Site) -> bool:
    """Whether a constant, or its image under something frozen, goes through a block."""
    rule = site.rule
    if isinstance(rule, LinearRule):
        y = site.outputs[0]
        return solution.diagram.parameters[rule.weight].frozen or solution.directions.still(y).covers(
            solution.directions.layout(y)
        )
    return isinstance(rule, PASSES_CONSTANTS) or (isinstance(rule, GainRule) and rule.gain is None)
