"""Learned tokens and tables of rows that meet what depends on data."""

from __future__ import annotations

from collections.abc import Iterator

from ...gauge.rules import (
    AddRule,
    AttentionRule,
    DiscardRule,
    OpaqueRule,
    OutputRule,
    PassRule,
    ProductRule,
    TableRule,
    TokensRule,
    WholeRule,
)
from ...gauge.solution import Solution


def token_limits(solution: Solution) -> Iterator[str]:
    """Reasons of this kind why laws may be missing, one sentence each."""
    yield from _tokens_alone(solution)


def _tokens_alone(solution: Solution) -> Iterator[str]:
    """Tokens whose place is known have gauges of their own, token by token."""
    sites = solution.drawn.sites
    rules = [site.rule for site in sites]
    unread = {s.inputs[0] for s in sites if isinstance(s.rule, DiscardRule)}
    tables = {w for s in sites if isinstance(s.rule, TableRule) for w in s.outputs} - unread
    joined = [s for s in sites if isinstance(s.rule, TokensRule)]
    if ((joined and tables) or _rows_meet(solution, tables)) and not any(isinstance(r, AttentionRule) for r in rules):
        yield "no block lets tokens see one another: laws of the row of a single token may be missing"
    taken = [s.name for s in sites if isinstance(s.rule, PassRule) and isinstance(s.rule.weights, int)]
    if taken and joined:
        yield f"{taken[0]} reads one token of several kinds: laws that move the tokens apart are not listed"
    if any(s.inputs[0] in tables for s in joined):
        ordered = [s.name for s in sites if isinstance(s.rule, AttentionRule) and s.rule.ordered]
        if ordered:
            yield f"{ordered[0]} lets the learned first token see nothing else: laws of that token are not listed"


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
