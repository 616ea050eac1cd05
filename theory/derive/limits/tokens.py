"""Learned tokens and tables of rows that meet what depends on data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from ...gauge.contract import Site
from ...gauge.diagram import Diagram
from ...gauge.rules import (
    AddRule,
    AttentionRule,
    BlendRule,
    ConcatRule,
    DiscardRule,
    DotRule,
    FixedGainRule,
    FixedMapRule,
    GainRule,
    HeadGainRule,
    HomogeneousRule,
    LargerRule,
    LinearRule,
    NormRule,
    OffsetRule,
    OpaqueRule,
    OutputRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    ReorderRule,
    RepeatRule,
    ScalarGainRule,
    SoftmaxRule,
    SumFeaturesRule,
    TableRule,
    TokensRule,
    TurnRule,
    WholeRule,
)
from ...gauge.solution import Solution

# blocks that read every position by itself, unless they say that they mix
LOCAL = (
    AddRule,
    BlendRule,
    ConcatRule,
    DotRule,
    FixedGainRule,
    FixedMapRule,
    GainRule,
    HeadGainRule,
    HomogeneousRule,
    LargerRule,
    LinearRule,
    NormRule,
    OffsetRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    ReorderRule,
    RepeatRule,
    ScalarGainRule,
    SoftmaxRule,
    SumFeaturesRule,
)


def token_limits(solution: Solution) -> Iterator[str]:
    """Reasons of this kind why laws may be missing, one sentence each."""
    yield from _tokens_alone(solution)
    yield from _places_unread(solution.drawn)
    yield from _mixed_biases(solution)


def _tokens_alone(solution: Solution) -> Iterator[str]:
    """Tokens whose place is known have gauges of their own, token by token."""
    sites = solution.drawn.sites
    rules = [site.rule for site in sites]
    unread = {s.inputs[0] for s in sites if isinstance(s.rule, DiscardRule)}
    tables = {w for s in sites if isinstance(s.rule, TableRule) for w in s.outputs} - unread
    joined = [s for s in sites if isinstance(s.rule, TokensRule)]
    mixed = any(isinstance(r, AttentionRule) or (isinstance(r, DotRule) and r.mixes) for r in rules)
    if ((joined and tables) or _rows_meet(solution, tables)) and not mixed:
        what = "has learned tokens or positions, and no attention follows in which they see one another"
        yield f"{solution.drawn.writer[min(tables)].name} {what}: laws of single rows are not listed"
    taken = [s.name for s in sites if isinstance(s.rule, PassRule) and isinstance(s.rule.weights, int)]
    if taken and joined:
        what = "reads a single position where tokens of several kinds were joined"
        yield f"{taken[0]} {what}: laws that move one kind alone are not listed"
    if any(s.inputs[0] in tables for s in joined):
        ordered = [s.name for s in sites if isinstance(s.rule, AttentionRule) and s.rule.ordered]
        if ordered:
            what = "is causal, so that the learned first token sees itself alone"
            yield f"{ordered[0]} {what}: laws of that token are not listed"


def _places_unread(diagram: Diagram) -> Iterator[str]:
    """Rows of tables that stand at positions which nothing reads, behind blocks that read every position by itself."""
    places: dict[int, set[int]] = {}  # of every wire the positions that are read, where they are known
    for site in reversed(diagram.sites):
        for w in site.outputs:
            found = [_places(reader, places) for reader, _ in diagram.readers[w]]
            if found and all(f is not None for f in found):
                places[w] = set().union(*(f for f in found if f is not None))
    for site in diagram.sites:
        for w in site.outputs if isinstance(site.rule, TableRule) else ():
            if (
                w in places and 0 < len(places[w]) < diagram.wires[w].positions
            ):  # of one that nothing reads all rows are laws
                yield f"{site.name} has rows at positions that nothing reads: laws of these rows are not listed"


def _places(reader: Site, places: Mapping[int, set[int]]) -> set[int] | None:
    """The positions that a block reads of an input, None where it may read all."""
    rule = reader.rule
    if isinstance(rule, DiscardRule):
        return set()
    if isinstance(rule, PassRule) and isinstance(rule.weights, int):
        return {rule.weights}
    if isinstance(rule, PassRule) and rule.mixes:
        return set()  # an average tells no position from the others
    if not isinstance(rule, LOCAL) or rule.mixes or not set(places).issuperset(reader.outputs):
        return None
    if (isinstance(rule, LinearRule) and math.prod(rule.shape_[2:]) > 1) or (
        isinstance(rule, NormRule) and not rule.local
    ):
        return None
    return set().union(*(places[y] for y in reader.outputs))


def _rows_meet(solution: Solution, tables: set[int]) -> bool:
    """Whether tables of several rows meet what depends on data so that a single row may have laws of its own.

    A table that is added is a map of the position, which is read beside the data by what all positions share.
    """
    wires = solution.drawn.wires
    alone = {w for w in tables if wires[w].positions > 1}
    products = 0
    for site in solution.drawn.sites:
        read = alone.intersection(site.inputs)
        if read and read == set(site.inputs) and not isinstance(site.rule, OutputRule):
            alone.update(w for w in site.outputs if wires[w].positions > 1)
        elif read and isinstance(site.rule, ProductRule):
            products += 1  # between two of them a token has a wire of its own
        elif read and not isinstance(site.rule, (AddRule, WholeRule, OpaqueRule)):
            return True
    return products > 1


def _mixed_biases(solution: Solution) -> Iterator[str]:
    """Biases of token mixers, whose positions somebody else tells apart."""
    for site in solution.drawn.sites:
        before = solution.drawn.writer.get(site.inputs[0]) if isinstance(site.rule, TurnRule) else None
        if before is not None and isinstance(before.rule, LinearRule) and before.rule.bias:
            if len(solution.layouts.tokens[site.outputs[0]]) > 1:
                what = "mixes positions behind a bias, and other blocks treat these positions differently"
                yield f"{site.name} {what}: laws of that bias are not listed"
