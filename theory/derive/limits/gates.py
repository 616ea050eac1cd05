"""Gates that stand on one side for every input: what they read is bounded, and fixed numbers move it, or the gate."""

from __future__ import annotations

from collections.abc import Iterator

from ...gauge.contract import Site
from ...gauge.diagram import Diagram
from ...gauge.rewrites import is_factor
from ...gauge.rules import (
    AddRule,
    BatchNormRule,
    ChoiceRule,
    ComputedRule,
    FixedGainRule,
    FrozenNormRule,
    HomogeneousRule,
    LinearRule,
    NormRule,
    OffsetRule,
    PassRule,
    PointwiseRule,
    Rule,
    SimilarityRule,
    SoftmaxRule,
    SumFeaturesRule,
    UnitRowsRule,
    WholeRule,
)

SOFT = (PointwiseRule, SoftmaxRule)  # what hands on weights, which have no sizes of their own
# What is computed of the inputs alone may be bounded as well.
BOUNDED = (BatchNormRule, ComputedRule, NormRule, PointwiseRule, SimilarityRule, SoftmaxRule, UnitRowsRule)


def gate_limits(diagram: Diagram) -> Iterator[str]:
    """Activations of several pieces of which only one may be met: there they are a smaller or a linear network."""
    for site in diagram.sites:
        rule = site.rule
        if isinstance(rule, ChoiceRule) and not rule.normalised and not isinstance(_behind(diagram, site), SOFT):
            yield f"{site.name} passes on the largest of its inputs: laws of the sizes of these are not listed"
        if isinstance(rule, PointwiseRule) and rule.far:
            yield f"{site.name} changes large numbers only: laws that hold while none gets that large are not listed"
        unknown = isinstance(rule, WholeRule) and not rule.narrow and len(site.inputs) == 1  # a clamp on one side
        moved = unknown or (isinstance(rule, PointwiseRule) and rule.pieces)
        if not moved and not (isinstance(rule, HomogeneousRule) and rule.negative is not None):
            continue
        before = diagram.writer.get(site.inputs[0])
        while before is not None and _is_fixed(before.rule):
            moved = moved or not _is_positive(before.rule)
            before = diagram.writer.get(before.inputs[0])
        if _one_number(diagram, before):
            what = "reads multiples of one number, so that several units are on for the same inputs"
            yield f"{site.name} {what}: laws of such units are not listed"
        if moved and before is not None and (_has_bound(before.rule) if unknown else _is_bounded(diagram, before)):
            what = "reads bounded numbers, so that a unit may be on, or off, for every input"
            way = "; where no number gets as small, the network without this clip has them" if unknown else ""
            yield f"{site.name} {what}: laws of such units are not listed{way}"


def _one_number(diagram: Diagram, site: Site | None) -> bool:
    """Whether a map gives several multiples of one number: those of one sign are all on, or all off."""
    if site is None or not isinstance(site.rule, LinearRule) or site.rule.bias or site.rule.shape_[2:] != ():
        return False
    wires = diagram.wires
    return wires[site.inputs[0]].size == 1 < wires[site.outputs[0]].size and not site.rule.lookup


def _behind(diagram: Diagram, site: Site) -> Rule:
    """The rule of what writes the first input of a block, behind moves of positions."""
    before = diagram.writer[site.inputs[0]]
    while isinstance(before.rule, PassRule):
        before = diagram.writer[before.inputs[0]]
    return before.rule


def _is_fixed(rule: Rule) -> bool:
    """Whether a block moves its input by fixed numbers."""
    return isinstance(rule, (FixedGainRule, FrozenNormRule, OffsetRule)) or is_factor(rule)


def _is_positive(rule: Rule) -> bool:
    """Whether it only has positive factors, which leave every number on its side of 0."""
    if isinstance(rule, FixedGainRule):
        return all(a >= 0 for _, a in rule.runs)
    return isinstance(rule, PassRule) and rule.factor > 0


def _is_bounded(diagram: Diagram, site: Site) -> bool:
    """Whether what a block gives has a bound, on one side at least; sums of what has one have one too."""
    rule = site.rule
    if isinstance(rule, (AddRule, PassRule, SumFeaturesRule)):
        made = [diagram.writer[w] for w in site.inputs if w in diagram.writer]
        return len(made) == len(site.inputs) and all(_is_bounded(diagram, s) for s in made)
    return _has_bound(rule)


def _has_bound(rule: Rule) -> bool:
    """The same for a block that sums nothing."""
    return isinstance(rule, BOUNDED) or (isinstance(rule, HomogeneousRule) and (rule.positive or rule.negative == 0))
