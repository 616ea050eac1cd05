"""Rewrites of fixed numbers that are added.

*Skips around a product*: `x + g x` is `(1 + g) x`.
*Biases*: behind a trained bias `b` a fixed number is part of it, `b + c`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from .contract import Site
from .diagram import Diagram
from .rewrites import Rewrite, identity_sources, is_factor
from .rules import AddRule, GainRule, LinearRule, MixtureRule, OffsetRule, PassRule, ProductRule


@dataclass(frozen=True)
class _Skip:
    """A sum of a product and of one of its factors.

    Attributes:
        add: the name of the sum.
        rest: what it adds beside that factor.
        product: the name of the product.
        port: of its other factor.
        number: what is added there.
    """

    add: str
    rest: tuple[int, ...]
    product: str
    port: int
    number: Fraction


def join_skips(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws `a x + f g x`, a product and what it is a multiple of, as `f (a/f + g) x`."""
    notes: list[Rewrite] = []
    while found := list(_skips_around_products(diagram)):  # a sum of three may hold another one
        wires = list(diagram.wires)
        sums, products = {s.add: s for s in found}, {s.product: s for s in found}
        sites: list[Site] = []
        for site in diagram.sites:
            if skip := sums.get(site.name):
                site = replace(site, inputs=skip.rest, rule=site.rule if len(skip.rest) > 1 else PassRule())
            if skip := products.get(site.name):
                gate, shifted = site.inputs[skip.port], len(wires)
                wires.append(replace(wires[gate], name=f"{wires[gate].name} + {skip.number}"))
                offset = OffsetRule(every=True, number=skip.number)
                function = ("offset", str(skip.number))
                sites.append(Site(f"number in {site.name}", offset, (gate,), (shifted,), function=function))
                site = replace(site, inputs=tuple(shifted if i == skip.port else w for i, w in enumerate(site.inputs)))
                notes.append(Rewrite(site.name, f"with the skip into {skip.add} it is the product with 1 + g"))
            sites.append(site)
        diagram = replace(diagram, sites=tuple(sites), wires=tuple(wires))
    return diagram, notes


def _skips_around_products(diagram: Diagram) -> Iterator[_Skip]:
    """Sums of a product and one of its factors, one for each sum."""
    sites = list(diagram.sites)
    place = {w: i for i, s in enumerate(sites) for w in s.outputs}
    origin = identity_sources(sites)
    for site in sites:
        for skip, w in itertools.permutations(site.inputs, 2) if isinstance(site.rule, AddRule) else ():
            found = _before_factors(diagram, sites, place, w)
            if found is None:
                continue
            product, factor = sites[found[0]], found[1]
            rule = product.rule
            if not isinstance(rule, ProductRule | MixtureRule) or len(product.inputs) != 2:
                continue
            first = 1 if isinstance(rule, MixtureRule) else 0  # the weights of a mixture are no factor that is added
            if isinstance(rule, MixtureRule) and rule.normalised:
                continue
            start, times = origin.get(skip, (skip, Fraction(1)))
            ports = [origin.get(x, (x, Fraction(1))) for x in product.inputs]
            shared = next((k for k in range(first, 2) if ports[k][0] == start), None)
            if shared is None or not times * ports[shared][1]:
                continue
            rest = list(site.inputs)
            rest.remove(skip)
            yield _Skip(site.name, tuple(rest), product.name, 1 - shared, times / ports[shared][1] / factor)
            break


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
