"""Rewrites of fixed numbers that are added.

*Skips around a product*: `x + g x` is `(1 + g) x`.
*Biases*: behind a trained bias `b` a fixed number is part of it, `b + c`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from fractions import Fraction

from .contract import Site
from .diagram import Diagram
from .rewrites import Rewrite, identity_sources, is_factor
from .rules import AddRule, GainRule, LinearRule, MixtureRule, OffsetRule, PassRule, ProductRule


def join_skips(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws `a x + f g x`, a product and what it is a multiple of, as `f (a/f + g) x`."""
    notes: list[Rewrite] = []
    while found := _skip_around_product(diagram):
        add, rest, at, port, number = found
        sites, wires = list(diagram.sites), list(diagram.wires)
        product, gate = sites[at], sites[at].inputs[port]
        wires.append(replace(wires[gate], name=f"{wires[gate].name} + {number}"))
        inputs = tuple(len(wires) - 1 if i == port else w for i, w in enumerate(product.inputs))
        rule = sites[add].rule if len(rest) > 1 else PassRule()
        sites[add] = replace(sites[add], inputs=rest, rule=rule)
        sites[at] = replace(product, inputs=inputs)
        offset = OffsetRule(every=True, number=number)
        name = f"number in {product.name}"
        sites.insert(at, Site(name, offset, (gate,), (len(wires) - 1,), function=("offset", str(number))))
        notes.append(
            Rewrite(product.name, f"with the skip into {diagram.sites[add].name} it is the product with 1 + g")
        )
        diagram = replace(diagram, sites=tuple(sites), wires=tuple(wires))
    return diagram, notes


def _skip_around_product(diagram: Diagram) -> tuple[int, tuple[int, ...], int, int, Fraction] | None:
    """A sum of a product and one of its factors.

    Returns:
        The place of the sum, what it adds beside the factor, the place of the product, the port of its other factor,
        and the number that is added there.
    """
    sites = list(diagram.sites)
    place = {w: i for i, s in enumerate(sites) for w in s.outputs}
    origin = identity_sources(sites)
    for i, site in enumerate(sites):
        if not isinstance(site.rule, AddRule):
            continue
        for skip, w in itertools.permutations(site.inputs, 2):
            found = _before_factors(diagram, sites, place, w)
            if found is None or not isinstance(sites[found[0]].rule, ProductRule | MixtureRule):
                continue
            at, factor = found
            rule = sites[at].rule
            if isinstance(rule, MixtureRule) and rule.normalised:
                continue
            start, times = origin.get(skip, (skip, Fraction(1)))
            ports = [origin.get(x, (x, Fraction(1))) for x in sites[at].inputs]
            shared = [
                k for k, (x, _) in enumerate(ports) if x == start and (k or isinstance(sites[at].rule, ProductRule))
            ]
            if len(ports) != 2 or not shared or not times * ports[shared[0]][1]:
                continue
            rest = list(site.inputs)
            rest.remove(skip)
            return i, tuple(rest), at, 1 - shared[0], times / ports[shared[0]][1] / factor
    return None


def _before_factors(
    diagram: Diagram, sites: list[Site], place: dict[int, int], wire: int
) -> tuple[int, Fraction] | None:
    """The site behind fixed factors, and these, where nothing else reads on the way."""
    factor = Fraction(1)
    while wire in place and len(diagram.readers[wire]) == 1:
        site = sites[place[wire]]
        if not isinstance(site.rule, PassRule) or not is_factor(site.rule) or not site.rule.factor:
            return place[wire], factor
        factor *= site.rule.factor
        wire = site.inputs[0]
    return None


def join_offsets(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws `(W x + b) + c` with one number c, read by nothing else on the way, as `W x + (b + c)`.

    The fixed number alone lets no matrix through; what is trained beside it can answer (the `1 + scale` of a
    modulation by features: Perez et al. 2018, Peebles and Xie 2023).
    """
    uses = Counter(use.parameter for site in diagram.sites for use in site.rule.uses(site))
    sites, notes = list(diagram.sites), []
    place = {w: i for i, s in enumerate(sites) for w in s.outputs}
    for i, site in enumerate(sites):
        rule = site.rule
        if not isinstance(rule, OffsetRule) or not rule.number:
            continue
        found = _before_factors(diagram, sites, place, site.inputs[0])
        if found is None or not isinstance(sites[found[0]].rule, LinearRule | GainRule):
            continue
        at, factor = found
        writer = sites[at].rule
        assert isinstance(writer, LinearRule | GainRule)
        if writer.bias is None or uses[writer.bias] > 1 or diagram.parameters[writer.bias].frozen:
            continue
        joined = writer.bias_offset + rule.number / (factor * rule.factor)
        sites[at] = replace(sites[at], rule=replace(writer, bias_offset=joined))
        sites[i] = replace(site, rule=PassRule(factor=Fraction(rule.factor)))
        notes.append(Rewrite(site.name, f"adds a fixed number to the bias of {sites[at].name}"))
    return diagram.with_sites(sites), notes
