"""Numbers that weigh others, and fixed maps beside trained ones: laws that join what stands on their two sides."""

from __future__ import annotations

from collections.abc import Iterator

from ...gauge.carried import roots_of
from ...gauge.contract import Site
from ...gauge.rewrites import is_factor
from ...gauge.roots import Root
from ...gauge.rules import (
    AddRule,
    ChoiceRule,
    ConcatRule,
    DiscardRule,
    DotRule,
    GainRule,
    HomogeneousRule,
    LinearRule,
    MixtureRule,
    OutputRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    Rule,
    ScalarGainRule,
    SoftmaxRule,
    SumFeaturesRule,
    TableRule,
    TurnRule,
    WholeRule,
)
from ...gauge.solution import Solution
from ...gauge.subspace import VectorKey

# blocks that hand factors on, or make constants that a factor may follow
FREE = (
    ConcatRule,
    DotRule,
    GainRule,
    HomogeneousRule,
    LinearRule,
    MixtureRule,
    ProductRule,
    ScalarGainRule,
    SumFeaturesRule,
    WholeRule,
)

RIGID = (DiscardRule, OutputRule, PointwiseRule, SoftmaxRule)


def _is_answered(solution: Solution, site: Site) -> bool:
    """Whether a weighed sum has one weight, whose scale what it weighs can answer."""
    return solution.layouts.size(site.inputs[0]) == 1 and bool(solution.layouts.algebras[site.outputs[0]].count)


def factor_limits(solution: Solution) -> Iterator[str]:
    """Reasons why laws of factors and of fixed maps may be missing, one sentence each."""
    yield from _functions_of_sums(solution)
    for site in solution.drawn.sites:
        rule = site.rule
        weighed = isinstance(rule, MixtureRule) and not rule.normalised
        if weighed and not _is_answered(solution, site) and _is_free(_weights(solution, site.inputs[0])):
            what = "takes a weighted sum whose weights the network computes and nothing normalises"
            yield f"{site.name} {what}: laws that join the weights with what they multiply are not listed"
        if isinstance(rule, TurnRule):
            before = _before(solution, site.inputs[0])
            if before is not None and isinstance(before.rule, PassRule) and before.rule.repeats:
                yield f"{site.name} turns copies of one number into features: laws that compare these are not listed"
        if isinstance(rule, ProductRule) and _has_common_factor(solution, site):
            yield f"{site.name} multiplies several features by one number: laws that mix these features are not listed"
        if isinstance(rule, AddRule):
            yield from _beside_fixed_maps(solution, site)


def _functions_of_sums(solution: Solution) -> Iterator[str]:
    """Functions of a sum of parameters, which is no entry of one: `sigmoid(sum a)` as a factor."""
    made: set[int] = set()
    for site in solution.drawn.sites:
        if isinstance(site.rule, TableRule) and not site.inputs:
            made.update(site.outputs)
        elif site.inputs and made.issuperset(site.inputs):
            made.update(site.outputs)
            before = _before(solution, site.inputs[0])
            if isinstance(site.rule, PointwiseRule) and before is not None and isinstance(before.rule, SumFeaturesRule):
                yield f"{site.name} applies a function to a sum of parameters: laws with that function are not listed"


def _has_common_factor(solution: Solution, product: Site) -> bool:
    """Whether one feature is a factor of several products that something reads which may mix them."""
    y = product.outputs[0]
    if all(isinstance(r.rule, RIGID) for r, _ in solution.drawn.readers[y]):
        return False
    pulls = [solution.shifts.carried.roots.of(x) for x in product.inputs]
    seen: dict[tuple[Root, VectorKey], VectorKey] = {}
    for key in solution.directions.keys(y):
        for factor in {f for pull in pulls for f in pull.get(key, ())}:
            if seen.setdefault(factor, key) != key:
                return True
    return False


def _before(solution: Solution, wire: int) -> Site | None:
    """What writes a wire, before fixed factors."""
    site = solution.drawn.writer.get(wire)
    while site is not None and is_factor(site.rule):
        site = solution.drawn.writer.get(site.inputs[0])
    return site


def _weights(solution: Solution, wire: int) -> Site | None:
    """What writes weights, before fixed factors; before they are taken apart too, unless they have a fixed sum."""
    first = site = _before(solution, wire)
    while site is not None and isinstance(site.rule, ConcatRule) and site.rule.cut:
        site = _before(solution, site.inputs[0])
    chosen = site is not None and isinstance(site.rule, ChoiceRule) and not site.rule.normalised
    return site if chosen else first


def _is_free(site: Site | None) -> bool:
    return site is not None and isinstance(site.rule, FREE)


def _is_fixed(solution: Solution, rule: Rule) -> bool:
    return isinstance(rule, LinearRule) and solution.diagram.parameters[rule.weight].frozen


def _beside_fixed_maps(solution: Solution, add: Site) -> Iterator[str]:
    """A sum of a trained map and of a fixed one behind a trained one, of one wire: `q - F^T b` has fixed numbers."""
    fixed: list[tuple[str, set[Root]]] = []
    trained: list[set[Root]] = []
    for x in add.inputs:
        site = _before(solution, x)
        if site is None or not isinstance(site.rule, LinearRule):
            continue
        if not _is_fixed(solution, site.rule):
            trained.append(_roots(solution, site))
            continue
        inner = _before(solution, site.inputs[0])
        if inner is not None and isinstance(inner.rule, LinearRule) and not _is_fixed(solution, inner.rule):
            fixed.append((site.rule.weight, _roots(solution, inner)))
    for i, (name, roots) in enumerate(fixed):
        others = [*trained, *(r for k, (_, r) in enumerate(fixed) if k != i)]
        if any(roots & other for other in others):
            what = f"{name} is frozen, and {add.name} adds the outputs of trained layers to its own"
            yield f"{what}: laws that depend on its values are not listed"


def _roots(solution: Solution, site: Site) -> set[Root]:
    return roots_of(solution.shifts.carried.roots.of(site.inputs[0]))
