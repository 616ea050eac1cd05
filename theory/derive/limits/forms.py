"""Quadratic forms of maps: products and squares that are summed, inner products, and what leaves them alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from fractions import Fraction

from ...gauge.contract import Site
from ...gauge.rules import (
    AddRule,
    AttentionRule,
    BatchNormRule,
    ConcatRule,
    DotRule,
    FixedGainRule,
    GainRule,
    GroupProductRule,
    HomogeneousRule,
    LargerRule,
    LinearRule,
    MixtureRule,
    NormRule,
    OffsetRule,
    OutputRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    ScanRule,
    SoftmaxRule,
    SumFeaturesRule,
)
from ...gauge.solution import Solution
from ...gauge.subspace import key_dimension, vector_keys
from ..ranks import vectors_on
from .beside import source, sum_of

MOST = 16  # terms of one sum that are compared
WEIGHED = (GroupProductRule, MixtureRule)  # one factor for several features
FORMS = (*WEIGHED, HomogeneousRule, ProductRule)


def form_limits(solution: Solution) -> Iterator[str]:
    """Reasons why laws that mix the maps of a form may be missing, one sentence each."""
    yield from _summed_products(solution)
    yield from _forms_added(solution)
    yield from _forms_of_one(solution)
    yield from _squares_of_few(solution)


def _summed_products(solution: Solution) -> Iterator[str]:
    """Sums over features of products of maps: a bilinear form, which any matrix leaves alone with its inverse.

    Two classes under cross-entropy are seen through their difference alone, which is such a sum.
    """
    writer = solution.drawn.writer
    for site in solution.drawn.sites:
        y, rule = site.outputs[0] if site.outputs else -1, site.rule
        square = isinstance(rule, HomogeneousRule) and rule.power == 2 and not rule.mixes
        if isinstance(rule, ProductRule) or square:
            summed = any(isinstance(r.rule, SumFeaturesRule) for r, _ in solution.drawn.readers[y])  # named below
            if not summed and _seen(solution, y) == 1 < solution.layouts.size(y) and _multiplies_maps(writer, site):
                what = "multiplies features, and only one sum of these products is read"
                yield f"{site.name} {what}: laws that mix the features are not listed"
        elif isinstance(rule, LargerRule) and solution.directions.moving(y):
            what = "chooses the larger number, and nothing after it sees when both grow by a constant"
            yield f"{site.name} {what}: laws that shift all its inputs are not listed"
        elif isinstance(rule, SumFeaturesRule) and rule.copies > 1:
            made = source(writer, site.inputs[0])
            product = isinstance(made.rule, ProductRule) or (isinstance(made.rule, GainRule) and made.rule.gain)
            if product and _multiplies_maps(writer, made):
                yield f"{site.name} adds up products of features: laws that mix these features are not listed"


def _multiplies_maps(writer: Mapping[int, Site], product: Site) -> bool:
    """Whether all factors, up to fixed numbers, may be mixed."""
    return all(_may_be_mixed(writer, w) for w in product.inputs)


def _may_be_mixed(writer: Mapping[int, Site], w: int) -> bool:
    """Whether a wire, up to fixed numbers, is no function of single features, and not normalised."""
    single = (BatchNormRule, HomogeneousRule, NormRule, PointwiseRule, ScanRule, SoftmaxRule)
    while isinstance(writer[w].rule, (FixedGainRule, OffsetRule, PassRule)):
        w = writer[w].inputs[0]
    return not isinstance(writer[w].rule, single)


def _seen(solution: Solution, w: int) -> int:
    """How many directions of a wire its readers see move."""
    layout, unseen = solution.layouts.algebras[w], solution.directions.moving(w)
    return sum(key_dimension(layout, k) for k in vector_keys(layout) if not unseen.contains({k: 1}))


def _forms_of_one(solution: Solution) -> Iterator[str]:
    """Inner products of linear maps of one wire: of one position only the symmetric part of that form is seen."""
    writer = solution.drawn.writer
    for site in solution.drawn.sites:
        if isinstance(site.rule, DotRule) and len(set(site.inputs)) > 1 and not site.rule.mixes:
            one, other = (_linear_in(writer, w) for w in site.inputs)
            if not one.isdisjoint(other):
                what = "takes an inner product of two layers that read the same features"
                yield f"{site.name} {what}: laws of its antisymmetric part are not listed"


def _squares_of_few(solution: Solution) -> Iterator[str]:
    """Squares, or inner products with shared maps, of vectors that span less than their wire: the span never changes.

    What is seen are inner products of the vectors, so that each moves by a combination of all of them.
    """
    writer = solution.drawn.writer
    squares: set[int] = set()
    for site in solution.drawn.sites:
        if isinstance(site.rule, AddRule) and sum(_before(writer, w) in squares for w in site.inputs) > 1:
            yield f"{site.name} adds up sums of squares: laws of the space that the squared vectors span are not listed"
        read = _squared(writer, site)
        if not read:
            continue
        squares.update(site.outputs)
        parts = [sum_of(writer, w) for w in read]
        wires = parts[0].union(*parts)
        shared = len(parts) == 1 or not _drawn_by(writer, parts[0]).isdisjoint(_drawn_by(writer, parts[1]))
        size = solution.layouts.size(read[0]) // (site.rule.heads if isinstance(site.rule, AttentionRule) else 1)
        found = sum(vectors_on(solution, w) for w in wires)
        free = any(isinstance(r.rule, (OutputRule, PointwiseRule)) for w in wires for r, _ in solution.drawn.readers[w])
        if shared and 0 < found < size and not free:  # what comes back from a free reader may be any vector
            what = f"{site.name} takes inner products in {size} dimensions of vectors that span at most {found} of them"
            yield f"{what}: laws of the space that they span are not listed"


def _before(writer: Mapping[int, Site], w: int) -> int:
    """The wire that fixed factors and moves of positions make one of."""
    while isinstance(writer[w].rule, (FixedGainRule, PassRule)):
        w = writer[w].inputs[0]
    return w


def _squared(writer: Mapping[int, Site], site: Site) -> list[int]:
    """What a site takes inner products of: two wires, or one with itself; none for another site."""
    if isinstance(site.rule, AttentionRule):
        return list(site.inputs[:2])
    if isinstance(site.rule, DotRule):
        return list(dict.fromkeys(site.inputs))
    if isinstance(site.rule, SumFeaturesRule) and site.rule.copies > 1:
        made = writer[_before(writer, site.inputs[0])]
        if isinstance(made.rule, HomogeneousRule) and made.rule.power == 2 and not made.rule.mixes:
            return list(made.inputs)
        if isinstance(made.rule, ProductRule):
            return list(dict.fromkeys(made.inputs))
    return []


def _drawn_by(writer: Mapping[int, Site], wires: set[int]) -> set[object]:
    """The weights of the maps that write some wires, and the wires that no map writes."""
    made = [(w, writer[w].rule) for w in wires]
    return {rule.weight if isinstance(rule, LinearRule) else w for w, rule in made}


def _linear_in(writer: Mapping[int, Site], w: int) -> set[int]:
    """The wires that one is made of by linear maps, with itself."""
    found, waiting = set(), [w]
    while waiting:
        w = waiting.pop()
        if w not in found:
            found.add(w)
            site = writer.get(w)
            if site and isinstance(
                site.rule, (AddRule, ConcatRule, FixedGainRule, GainRule, LinearRule, PassRule, SumFeaturesRule)
            ):
                waiting += site.inputs
    return found


def _forms_added(solution: Solution) -> Iterator[str]:
    """Sums of products of maps, feature by feature: what mixes the maps of two terms may leave the sum alone.

    `a b + c d` stays while (a, c) moves by a matrix and (b, d) by its inverse, `a^2 - b^2 = (a + b) (a - b)` while one
    factor grows as the other shrinks.  A sum of squares only lets rotations through, which have no law, and terms of
    unequal size let nothing symmetric through.
    """
    writer = solution.drawn.writer
    for site in solution.drawn.sites:
        if isinstance(site.rule, AddRule):
            terms = [t for t in _added(writer, site) if isinstance(t[1].rule, FORMS)]
            if any(_mix(writer, one, other) for one, other in itertools.combinations(terms, 2)):
                what = "adds up products of layers that read the same features"
                yield f"{site.name} {what}: laws that mix these layers are not listed"


def _added(writer: Mapping[int, Site], site: Site) -> list[tuple[Fraction | None, Site]]:
    """What a sum adds up, with its factor, None where features have their own; nothing if there is too much."""
    found: list[tuple[Fraction | None, Site]] = []
    waiting: list[tuple[Fraction | None, Site]] = [(Fraction(1), site)]
    while waiting:
        factor, one = waiting.pop()
        rule = one.rule
        if isinstance(rule, AddRule):
            waiting += [(factor, writer[w]) for w in one.inputs]
        elif isinstance(rule, PassRule):
            waiting.append((None if factor is None else factor * rule.factor, writer[one.inputs[0]]))
        elif isinstance(rule, FixedGainRule):
            alike = factor is not None and len(rule.runs) == 1
            waiting.append((factor * rule.runs[0][1] if alike and factor else None, writer[one.inputs[0]]))
        else:
            found.append((factor, one))
        if len(found) + len(waiting) > MOST:
            return []
    return found


def _mix(writer: Mapping[int, Site], one: tuple[Fraction | None, Site], other: tuple[Fraction | None, Site]) -> bool:
    """Whether a symmetric matrix may mix the maps of two terms and leave their sum alone."""
    (p, first), (q, second) = one, other
    unequal = p is not None and q is not None and abs(p) != abs(q)
    if unequal or type(first.rule) is not type(second.rule):
        return False
    squares = [s for s in (first, second) if isinstance(s.rule, HomogeneousRule) or len(set(s.inputs)) == 1]
    if len(squares) == 1 or any(isinstance(s.rule, HomogeneousRule) and s.rule.power != 2 for s in squares):
        return False
    if (squares or isinstance(first.rule, WEIGHED)) and p is not None and p == q:
        return False  # a sum of squares
    left = [list(s.inputs * 2)[:2] for s in (first, second)]
    if len(set(left[0] + left[1])) == 3:  # one factor of both: the others are one map
        left = [[w for w in ws if w not in set(left[0]) & set(left[1])] for ws in left]
    if not all(_may_be_mixed(writer, w) for ws in left for w in ws):
        return False
    one_way, other_way = zip(*left, strict=True), zip(left[0], reversed(left[1]), strict=True)
    return any(all(_maps_of_one(writer, *pair) for pair in way) for way in (one_way, other_way))


def _maps_of_one(writer: Mapping[int, Site], w: int, other: int) -> bool:
    """Whether linear maps of one wire write two wires."""
    return not _linear_in(writer, w).isdisjoint(_linear_in(writer, other))
