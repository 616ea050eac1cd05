"""Wires before norms that are wider than the vectors on them, and scales that a norm does not see."""

from __future__ import annotations

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
    TurnRule,
    UnitRowsRule,
)
from ...gauge.solution import Solution
from ...gauge.subspace import key_dimension, vector_keys
from ..ranks import rows_on, vectors_on


def norm_limits(solution: Solution) -> Iterator[str]:
    """Reasons of this kind why laws may be missing, one sentence each."""
    yield from _large_constants(solution)
    yield from _thin_wires(solution)
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
            what = f"has {site.rule.epsilon:.3g} under or beside its norm, more than an epsilon ({EPSILON:g} at most)"
            yield f"{site.name} {what}: it sees every scale, and laws that only such a norm has are not listed"


def _copies_of_one_number(solution: Solution) -> Iterator[str]:
    """Multiples of one number that are normalised over a batch: one number again, up to signs."""
    wires, writer = solution.drawn.wires, solution.drawn.writer
    for site in solution.drawn.sites:
        before = writer.get(site.inputs[0]) if isinstance(site.rule, BatchNormRule) else None
        if before is not None and isinstance(before.rule, LinearRule) and before.rule.shape_[2:] == ():
            if wires[before.inputs[0]].size == 1 < wires[site.inputs[0]].size:
                yield f"{site.name} makes one number of multiples of one: laws of their differences are not listed"


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
            yield f"{site.name} centres features that are cut into parts: laws that mix the parts are not listed"


def _thin_wires(solution: Solution) -> Iterator[str]:
    """A wire before a norm that is wider than all vectors on it: the space that they span never changes.

    The vectors are those of the parameters next to the wire and, since what comes back through a norm is made of
    them, the rows of the maps that read the norm; a trained gain behind it turns these about, as any curved reader.
    """
    blind = (NormRule, UnitRowsRule, SimilarityRule)
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
        # As many vectors as features still have a determinant, which a map with normalised rows keeps.
        exact = any(isinstance(s.rule, UnitRowsRule) for s in read)
        if sum(vectors_on(solution, w) for w, _ in entities) == 1 and found == 2:
            yield f"{read[0].name} reads one vector for one row: only a sign is left of the input"
        elif found < size or (exact and found == size):
            what = f"{read[0].name} reads {size} features that only {found} vectors span"
            yield f"{what}: laws of their space are not listed"


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
            yield f"{site.name} normalises so few features that only a sign is left: nothing before it moves"
        unread = solution.directions.moving(y)
        if sum(key_dimension(layout, k) for k in vector_keys(layout) if unread.contains({k: 1})) > 1:
            yield f"{site.name} normalises features that nothing else reads: laws of their space are not listed"


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
            yield f"{site.name} is a gain that one row reads: laws of their ratios are not listed"


def _rows_of_what_is_not_there(solution: Solution) -> Iterator[str]:
    """Normalised rows `v / |v|` along directions that no input has: these parts of `v` keep their ratios."""
    for site in solution.drawn.sites:
        if isinstance(site.rule, UnitRowsRule):
            for w in site.inputs:
                if solution.directions.absent(w) or solution.directions.fixed(w):
                    what = "normalises rows along directions that never change"
                    yield f"{site.name} {what}: laws of these parts are not listed"


def _unseen_scales(solution: Solution) -> Iterator[str]:
    """Blocks that give every token, or every choice of an expert, a scale of its own which nothing sees."""
    sites = list(solution.drawn.sites)
    writer = solution.drawn.writer
    chosen = {w for s in sites if isinstance(s.rule, SoftmaxRule) and s.rule.unseen == "everything" for w in s.outputs}
    for i, site in enumerate(sites):
        rule = site.rule
        if isinstance(rule, AddRule) and all(_looked_up(writer[w]) for w in site.inputs) and invisible(sites, i, True):
            yield f"{site.name} adds rows of tables whose scale is unseen: laws of the scale of each row are not listed"
        hard = isinstance(rule, MixtureRule) and site.inputs[0] in chosen
        sunk = isinstance(rule, AttentionRule) and rule.heads == 1 and not rule.normalised
        mixed = isinstance(rule, TurnRule) and not rule.joined[1]
        if (hard or sunk or mixed) and invisible(sites, i, local=True):
            yield f"{site.name} scales what readers blind to a scale see: laws of that scale are not listed"


def _looked_up(site: Site) -> bool:
    return isinstance(site.rule, LinearRule) and site.rule.lookup


def normed(solution: Solution, wire: int) -> bool:
    """Whether a norm wrote what a wire carries, so that nothing before it can be scaled."""
    writer = solution.drawn.writer
    while isinstance(writer[wire].rule, PassRule):
        wire = writer[wire].inputs[0]
    return isinstance(writer[wire].rule, (NormRule, SimilarityRule))
