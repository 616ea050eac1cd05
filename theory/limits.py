"""What the rules do not cover: named in the result, never guessed."""

from __future__ import annotations

from .algebra import OFF
from .diagram import Site
from .rewrites import bundles, leaves
from .rules import (
    AddRule,
    AttentionRule,
    ConcatRule,
    FlattenRule,
    GainRule,
    HomogeneousRule,
    LinearRule,
    MixtureRule,
    PassRule,
    ProductRule,
    Rule,
    TableRule,
    TokensRule,
)
from .solution import Solution

# readers through which another constant can answer for a frozen one
PASSES_CONSTANTS = (AddRule, ConcatRule, FlattenRule, GainRule, LinearRule, MixtureRule, PassRule, TokensRule)


def limits(solution: Solution) -> list[str]:
    """Reasons why a list of laws may be incomplete, one sentence each (empty: none is known).

    A frozen matrix lets laws pass that follow its own singular directions, and a frozen vector leaves those of its
    complement; both depend on the frozen values and are not listed.
    """
    out = []
    rules = [site.rule for site in solution.drawn.sites]
    if any(isinstance(r, TableRule) for r in rules) and not any(isinstance(r, AttentionRule) for r in rules):
        out.append("no block lets tokens see one another: laws of the row of a single token may be missing")
    out += _maps_in_a_row(solution)
    out += _products_of_rows(solution)
    out += _unlike_parallel_maps(solution)
    taken = [s.name for s in solution.drawn.sites if isinstance(s.rule, PassRule) and isinstance(s.rule.weights, int)]
    if taken and any(isinstance(r, TokensRule) for r in rules):
        out.append(f"{taken[0]} reads one token of several kinds: laws that move the tokens apart are not listed")
    frozen = {n for n, p in solution.diagram.parameters.items() if p.frozen}
    for site in solution.drawn.sites:
        rule = site.rule
        if isinstance(rule, AddRule) and _meets_its_own_parts(solution, site):
            out.append(f"{site.name} adds parts of one wire: laws of the differences of their writers are not listed")
        if type(rule) is Rule:
            out.append(f"{site.name} is opaque: no law crosses it, so laws through it may be missing")
        for use in rule.uses(site):
            if use.parameter not in frozen:
                continue
            matrix = len(use.axes) == 2 and not use.constant
            if _matters(solution, site, matrix):
                what = "its singular directions" if matrix else "the complement of its value"
                out.append(f"{use.parameter} is frozen: laws along {what} are not listed")
    return out


def _maps_in_a_row(solution: Solution) -> list[str]:
    """A shared matrix applied to its own result has laws that are no polynomials of degree two."""
    written = {w: s.rule.weight for s in solution.drawn.sites if isinstance(s.rule, LinearRule) for w in s.outputs}
    return [
        f"{site.name} applies {site.rule.weight} a second time in a row: laws of degree above two are not listed"
        for site in solution.drawn.sites
        if isinstance(site.rule, LinearRule) and written.get(site.inputs[0]) == site.rule.weight
    ]


def _products_of_rows(solution: Solution) -> list[str]:
    """Products of values that are read off a table without a map between: each row then has laws of its own."""
    rows: set[int] = set()
    out = []
    for site in solution.drawn.sites:
        rule = site.rule
        if isinstance(rule, TableRule) or (isinstance(rule, LinearRule) and rule.lookup):
            rows.update(site.outputs)
        elif site.inputs and rows.issuperset(site.inputs):
            if isinstance(rule, ProductRule):
                out.append(
                    f"{site.name} multiplies values read off a table: laws of single rows of the table are not listed"
                )
            if isinstance(rule, (AddRule, ConcatRule, HomogeneousRule, PassRule, TokensRule)):
                rows.update(site.outputs)
    return out


def _unlike_parallel_maps(solution: Solution) -> list[str]:
    """Sums of linear maps of one wire with different shapes: entries that act alike keep their difference."""
    readers = solution.drawn.readers()
    writer = {w: s for s in solution.drawn.sites for w in s.outputs}
    bundled = bundles(solution.drawn)
    out = []
    for site in solution.drawn.sites:
        if not isinstance(site.rule, AddRule):
            continue
        maps: dict[int, set[str]] = {}
        weights = [leaf.rule.weight for leaf in leaves(site, readers, writer) if isinstance(leaf.rule, LinearRule)]
        if len(set(weights)) < len(weights):
            out.append(
                f"{site.name} adds one shared map of several wires: laws of the differences of these are not listed"
            )
        for leaf in leaves(site, readers, writer):
            if isinstance(leaf.rule, LinearRule) or (isinstance(leaf.rule, GainRule) and leaf.rule.gain):
                maps.setdefault(leaf.inputs[0], set()).add(bundled.get(leaf.name, leaf.name))
        if any(len(kinds) > 1 for kinds in maps.values()):
            out.append(f"{site.name} adds unlike linear maps of one wire: laws of their differences are not listed")
    return out


def _meets_its_own_parts(solution: Solution, site: Site) -> bool:
    cuts = [w for s in solution.drawn.sites if isinstance(s.rule, ConcatRule) and s.rule.cut for w in [s.outputs]]
    return any(len(set(site.inputs) & set(outputs)) > 1 for outputs in cuts)


def _matters(solution: Solution, site: Site, matrix: bool) -> bool:
    algebras = [solution.layouts.algebras[w] for w in (*site.inputs, *site.outputs)]
    live = any(solution.shifts.live(w) for w in site.inputs)
    if matrix:
        writers = {w: s for s in solution.drawn.sites for w in s.outputs}
        learned = any(isinstance(writers[w].rule, (LinearRule, TableRule, GainRule)) for w in site.inputs)
        return live or learned or any(b.labels for a in algebras for b in a.boxes)
    if isinstance(site.rule, GainRule):
        unseen = solution.directions.moving(site.outputs[0]) or solution.directions.still(site.outputs[0])
        if live or unseen or solution.directions.absent(site.inputs[0]):
            return True
    if any(isinstance(r.rule, PASSES_CONSTANTS) for r, _ in solution.drawn.readers()[site.outputs[0]]):
        return bool(algebras[-1].count)
    out = solution.layouts.algebras[site.outputs[0]]
    return any(set(s) & OFF for b in out.boxes for s in b.labels)
