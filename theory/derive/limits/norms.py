"""Wires before norms that are wider than the vectors on them, and scales that a norm does not see."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...gauge.contract import EPSILON, Site
from ...gauge.families import gather
from ...gauge.rewrites import invisible
from ...gauge.rules import (
    AddRule,
    AttentionRule,
    BatchNormRule,
    ConcatRule,
    DiscardRule,
    FixedGainRule,
    GainRule,
    HeadGainRule,
    HomogeneousRule,
    LinearRule,
    MixtureRule,
    NormRule,
    OutputRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    SimilarityRule,
    SoftmaxRule,
    TableRule,
    TurnRule,
    UnitRowsRule,
)
from ...gauge.solution import Solution
from ...gauge.subspace import key_dimension, vector_keys
from ..ranks import rows_on, vectors_on
from .beside import SUMS, sum_of
from .paths import SIGN


def norm_limits(solution: Solution) -> Iterator[str]:
    """Reasons of this kind why laws may be missing, one sentence each."""
    yield from _large_constants(solution)
    yield from _thin_wires(solution)
    yield from _thin_rows(solution)
    yield from _unread_of_norms(solution)
    yield from _single_rows(solution)
    yield from _rows_of_what_is_not_there(solution)
    yield from _unseen_scales(solution)
    yield from _centred_parts(solution)
    yield from _copies_of_one_number(solution)


def _large_constants(solution: Solution) -> Iterator[str]:
    """Norms whose constant is no epsilon: they see every scale."""
    for site in solution.drawn.sites:
        if site.rule.sees_scale(lax=True):
            what = f"adds {site.rule.epsilon:.3g} to what it divides by, too much for an epsilon ({EPSILON:g} at most)"
            yield f"{site.name} {what}: it sees the scale of its input, and laws special to that are not listed"


def _copies_of_one_number(solution: Solution) -> Iterator[str]:
    """Multiples of one number (of a group) that are normalised, each over examples or positions: equal up to signs."""
    wires, writer = solution.drawn.wires, solution.drawn.writer
    for site in solution.drawn.sites:
        rule, w = site.rule, site.inputs[0] if site.inputs else None
        if w is None or not isinstance(rule, (BatchNormRule, NormRule)):
            continue
        alone = isinstance(rule, BatchNormRule) or (not rule.local and rule.groups == wires[w].size)  # each by itself
        before = writer.get(w)
        if alone and before is not None and isinstance(before.rule, LinearRule):
            if math.prod(before.rule.shape_) == wires[w].size > wires[before.inputs[0]].size:
                what = "normalises multiples of one number, which are equal then up to their signs"
                yield f"{site.name} {what}: laws that compare them are not listed"


def _drops(solution: Solution, site: Site) -> bool:
    """Whether it cuts features into parts: nothing reads some, and what answers factors reads others."""
    if not (isinstance(site.rule, ConcatRule) and site.rule.cut):
        return False
    parts = [[r.rule for r, _ in solution.drawn.readers[w]] for w in site.outputs]
    dropped = any(all(isinstance(r, DiscardRule) for r in part) for part in parts)
    rigid = (DiscardRule, OutputRule, PointwiseRule, SoftmaxRule)
    return dropped and any(not isinstance(r, rigid) for part in parts for r in part)


def _centred_parts(solution: Solution) -> Iterator[str]:
    """Features that are centred together and then scaled, or read, in parts: one law has the mean of all of them."""
    for site in solution.drawn.sites:
        rule = site.rule
        if not isinstance(rule, NormRule) or not rule.centre or rule.scale:
            continue
        after = [r for r, _ in solution.drawn.readers[site.outputs[0]]]
        for r in after:  # behind copies
            after += [z for z, _ in solution.drawn.readers[r.outputs[0]]] if r.rule == PassRule() else []
        scaled = solution.layouts.is_cut(site.inputs[0]) and any(isinstance(r.rule, FixedGainRule) for r in after)
        if scaled or any(_drops(solution, r) for r in after):
            what = "subtracts one mean from features that are used in parts"
            yield f"{site.name} {what}: laws that mix the parts are not listed"


def _thin_wires(solution: Solution) -> Iterator[str]:
    """A wire before a norm that is wider than all vectors on it: the space that they span never changes.

    The vectors are those of the parameters next to the wire and, since what comes back through a norm is made of
    them, the rows of the maps that read the norm; a trained gain behind it turns these about, as any curved reader.
    """
    blind = (NormRule, SimilarityRule)
    readers, place = solution.drawn.readers, solution.drawn.place
    for family in gather(solution.gauges):
        if (
            family.mixed
            or family.kinds[-1:] not in (("sum",), ("pair",))
            or any(k != "free" for k in family.kinds[:-1])
        ):
            continue
        entities = list(dict.fromkeys(at for at, _ in family.support))
        blinded = {s.name: s for w, _ in entities for s, _ in readers[w] if isinstance(s.rule, blind)}
        read = sorted(blinded.values(), key=lambda s: place[s.name])
        if not read or any(isinstance(s.rule, NormRule) and _turned(solution, s.outputs[0]) for s in read):
            continue
        w, box = entities[0]
        size = solution.layouts.algebras[w].boxes[box].dims[-1] - (family.kinds[-1] == "pair")  # without the mean
        through = (_seen_through(solution, s) for s in read if isinstance(s.rule, NormRule))
        wires = {w for w, _ in entities}.union(*through)
        found = sum(vectors_on(solution, w) for w in wires)
        if sum(vectors_on(solution, w) for w, _ in entities) == 1 and found == 2:
            what = "normalises multiples of one vector, of which only a sign is left"
            yield f"{read[0].name} {what}: laws that hold because of that are not listed"
        elif found < size:
            what = f"{read[0].name} normalises {size} features, and the weights around it span only {found} directions"
            yield f"{what}: laws of the space that they span are not listed"


def _thin_rows(solution: Solution) -> Iterator[str]:
    """A map with normalised rows that with the vectors on its wire are no more than the features of the wire.

    Each of these vectors moves by combinations of the others and in its own direction, so that their span stays, and
    of as many as there are features the determinant, up to the sizes of some.
    """
    writer, readers = solution.drawn.writer, solution.drawn.readers
    for site in solution.drawn.sites:
        rule = site.rule
        if not isinstance(rule, UnitRowsRule):
            continue
        wires = sum_of(writer, site.inputs[0])
        made = all(isinstance(writer[w].rule, (LinearRule, TableRule, *SUMS)) for w in wires)
        if not made or any(isinstance(r.rule, (OutputRule, PointwiseRule)) for w in wires for r, _ in readers[w]):
            continue
        width = rule.shape_[1]  # of one group
        size = solution.layouts.size(site.inputs[0])
        found = sum(vectors_on(solution, w) for w in wires) + math.prod(rule.shape_) // size
        if found <= width:
            what = f"has normalised rows of {width} features, and with the weights around it they span only {found}"
            yield f"{site.name} {what}: laws of the space that they span are not listed"


def _unread_of_norms(solution: Solution) -> Iterator[str]:
    """A norm of which some features are read only by their size: the space of their vectors never changes."""
    for site in solution.drawn.sites:
        rule = site.rule
        if not isinstance(rule, (NormRule, SimilarityRule, UnitRowsRule)):
            continue
        if isinstance(rule, NormRule) and not rule.scale:
            continue
        x, y = site.inputs[0], site.outputs[0]
        layout, before = solution.layouts.algebras[y], solution.layouts.algebras[x]
        never = solution.directions.absent(x)
        left = before.size - sum(key_dimension(before, k) for k in vector_keys(before) if never.contains({k: 1}))
        if left < 2 <= before.size and not rule.sees_scale(lax=True):
            yield f"{site.name} {SIGN}"
        unread = solution.directions.moving(y)
        if sum(key_dimension(layout, k) for k in vector_keys(layout) if unread.contains({k: 1})) > 1:
            what = "normalises features of which several are read through their common size only"
            yield f"{site.name} {what}: laws of the space that they span are not listed"


def _turned(solution: Solution, wire: int) -> bool:
    """Whether what comes back to a wire may be any vector."""
    for site, _ in solution.drawn.readers[wire]:
        rule = site.rule
        if isinstance(rule, (OutputRule, PointwiseRule, HomogeneousRule, ProductRule)):
            return True
        gain = isinstance(rule, HeadGainRule) or _trained_gain(solution, site)
        mapped = all(isinstance(r.rule, LinearRule) for r, _ in solution.drawn.readers[site.outputs[0]])
        if gain and (not mapped or rows_on(solution, site.outputs[0]) > 1):
            return True
    return False


def _seen_through(solution: Solution, norm: Site) -> set[int]:
    """The wires whose vectors come back through a norm: what it writes, and the other side of scores."""
    found = set(norm.outputs)
    writer = solution.drawn.writer
    for site, _ in solution.drawn.readers[norm.outputs[0]]:
        if isinstance(site.rule, AttentionRule):
            for w in site.inputs[:2]:
                found |= {w, *(writer[w].inputs if isinstance(writer[w].rule, NormRule) else ())}
    return found


def _trained_gain(solution: Solution, site: Site) -> bool:
    rule = site.rule
    return isinstance(rule, GainRule) and rule.gain is not None and not solution.diagram.parameters[rule.gain].frozen


def _single_rows(solution: Solution) -> Iterator[str]:
    """A gain `g` that one row `u` reads: `log (g + u) / (g - u)` moves as what the gain multiplies."""
    for site in solution.drawn.sites:
        if not _trained_gain(solution, site) or not site.inputs or not solution.directions.absent(site.inputs[0]):
            continue
        readers = [r for r, _ in solution.drawn.readers[site.outputs[0]]]
        if all(isinstance(r.rule, LinearRule) for r in readers) and rows_on(solution, site.outputs[0]) == 1:
            yield f"{site.name} is a gain before a single row of weights: laws of the ratios of the two are not listed"


def _rows_of_what_is_not_there(solution: Solution) -> Iterator[str]:
    """Normalised rows `v / |v|` along directions that no input has: these parts of `v` keep their ratios."""
    for site in solution.drawn.sites:
        if isinstance(site.rule, UnitRowsRule):
            for w in site.inputs:
                if solution.directions.absent(w) or solution.directions.fixed(w):
                    what = "normalises rows of weights, and its input never changes in some directions"
                    yield f"{site.name} {what}: laws of the weights along these are not listed"


def _unseen_scales(solution: Solution) -> Iterator[str]:
    """Blocks that give every token, or every choice of an expert, a scale of its own which nothing sees."""
    sites = list(solution.drawn.sites)
    writer = solution.drawn.writer
    chosen = {w for s in sites if isinstance(s.rule, SoftmaxRule) and s.rule.unseen == "everything" for w in s.outputs}
    for i, site in enumerate(sites):
        rule = site.rule
        if isinstance(rule, AddRule) and all(_looked_up(writer[w]) for w in site.inputs) and invisible(sites, i, True):
            what = "adds rows of tables, and nothing after it sees how large they are"
            yield f"{site.name} {what}: laws of the size of each row are not listed"
        hard = isinstance(rule, MixtureRule) and site.inputs[0] in chosen
        sunk = isinstance(rule, AttentionRule) and rule.heads == 1 and not rule.normalised
        mixed = isinstance(rule, TurnRule) and not rule.joined[1]
        if (hard or sunk or mixed) and invisible(sites, i, local=True):
            what = "gives every token or expert a scale of its own that nothing after it sees"
            yield f"{site.name} {what}: laws of these scales are not listed"


def _looked_up(site: Site) -> bool:
    return isinstance(site.rule, LinearRule) and site.rule.lookup


def normed(solution: Solution, wire: int) -> bool:
    """Whether a norm wrote what a wire carries, so that nothing before it can be scaled."""
    writer = solution.drawn.writer
    while isinstance(writer[wire].rule, PassRule):
        wire = writer[wire].inputs[0]
    return isinstance(writer[wire].rule, (NormRule, SimilarityRule))
