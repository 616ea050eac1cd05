"""What a wire carries as a fixed linear function of other wires: its roots.

Sums, factors, cuts, copies and activations of two straight pieces are followed back to the wires that something else
writes.  With `h+ = max(h, 0)` every activation of two pieces is `a h + b h+`, so that relu, leaky relu, the absolute
value and `h` itself span two dimensions.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Hashable
from fractions import Fraction
from functools import cached_property

from .contract import Rule, Site
from .diagram import Diagram
from .directions import Directions
from .linalg import Equations, Number
from .rewrites import is_factor
from .rules import (
    AddRule,
    ConcatRule,
    FixedGainRule,
    GainRule,
    HomogeneousRule,
    OffsetRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    RepeatRule,
    SumFeaturesRule,
)
from .subspace import VectorKey

Root = tuple[Hashable, int]  # ("", wire) for what a wire carries, ("+", wire) for its positive part, (function, wire)
AVERAGED = "averaged"  # with a wire: averages, or picks, of its positions, which lack what it lacks
Pull = dict[VectorKey, dict[tuple[Root, VectorKey], Number]]
Push = dict[VectorKey, dict[VectorKey, Number]]
Chain = tuple[tuple[Hashable, Number], ...]  # odd functions, and the size of the factor before each


def one_place(diagram: Diagram, site: Site) -> bool:
    """Whether the positions of all inputs of a site are those of its output."""
    return len({(diagram.wires[w].tokens, diagram.wires[w].positions) for w in site.wires}) == 1


def merge(target: dict, row: dict, factor: Number = 1) -> None:
    """Adds a multiple of a row to another; what cancels is dropped."""
    for key, a in row.items():
        total = target.get(key, 0) + (a if factor == 1 else a * factor)
        if total:
            target[key] = total
        else:
            target.pop(key, None)


class Roots:
    """The roots of all wires of a diagram.

    Args:
        directions: the wires and how they are cut.
        diagram: the network.
        loose: whether constants that are added on the way are left out.
    """

    def __init__(self, directions: Directions, diagram: Diagram, loose: bool = False) -> None:
        self._loose = loose
        self._directions = directions
        self._diagram = diagram
        self._writer = diagram.writer
        self._known: dict[int, Pull] = {}

    def of(self, w: int) -> Pull:
        """For every sector of a wire, its product with what the wire carries as a sum over sectors of its roots."""
        waiting = [w]
        while waiting:  # without recursion: streams are long
            x = waiting[-1]
            site = self._writer.get(x)
            before = [v for v in self._sources(site) if v not in self._known] if site else []
            if x in self._known or not before:
                waiting.pop()
                if x not in self._known:
                    self._known[x] = self._made(x, site)
            else:
                waiting += before
        return self._known[w]

    def related(self, w: int) -> bool:
        """Whether a fixed linear relation joins what a wire carries: copies, multiples, a sum beside its terms."""
        if self._masks.get(w, 1):
            return False
        known: Equations[tuple[Root, tuple[int, str]]] = Equations()
        for row in self.of(w).values():
            if not known.reduce(row):
                return True
            known.require(row)
        return False

    def apart(self, site: Site) -> bool:
        """Whether a sum is one of whole wires, no two of which have a root in common."""
        return all(self._masks[w] for w in site.outputs)

    @cached_property
    def _masks(self) -> dict[int, int]:
        """One bit for every root of a wire that is a sum of different whole roots, 0 for any other wire.

        For a stream of 1,000 layers that is a number of 2,000 bits, where a pull has as many rows.
        """
        masks: dict[int, int] = {}
        for site in self._diagram.sites:
            sources = self._sources(site)
            summed = isinstance(site.rule, AddRule) or is_factor(site.rule)
            parts = [masks.get(x, 1 << x) for x in sources]
            total = sum(parts) if all(parts) and sum(parts) == functools.reduce(operator.or_, parts, 0) else 0
            masks |= {w: (total if summed else 0) if sources else 1 << w for w in site.outputs}
        return masks

    def _sources(self, site: Site) -> tuple[int, ...]:
        """The inputs that an output is a fixed function of."""
        rule = site.rule
        if isinstance(rule, (AddRule, ConcatRule)):
            return site.inputs if one_place(self._diagram, site) else ()
        if is_factor(rule) or isinstance(rule, (FixedGainRule, RepeatRule, SumFeaturesRule)):
            return site.inputs
        if self._loose and (adds_constants(rule) or _averages(rule)):
            return site.inputs
        return site.inputs if is_function(site) else ()

    def _itself(self, w: int) -> Pull:
        return {k: self._own(w, k) for k in self._directions.keys(w)}

    @staticmethod
    def _own(w: int, k: VectorKey) -> dict[tuple[Root, VectorKey], Number]:
        return {(("", w), k): 1}

    def _made(self, w: int, site: Site | None) -> Pull:
        if site is None or not self._sources(site):
            return self._itself(w)
        rule = site.rule
        parts = [self._known[x] for x in site.inputs]
        if isinstance(rule, ConcatRule):
            whole = ((site.inputs[0], site.outputs) if rule.cut else (site.outputs[0], site.inputs))[1]
            found: Pull = {}
            for p, start in self._directions.offsets(whole):
                for b, s in self._directions.keys(p):
                    if rule.cut and p == w:
                        found[b, s] = parts[0][b + start, s]
                    elif not rule.cut:
                        found[b + start, s] = self._known[p][b, s]
            return found
        out: Pull = {}
        for k in self._directions.keys(w):
            row: dict[tuple[Root, VectorKey], Number] = {}
            if isinstance(rule, AddRule):
                for part in parts:
                    merge(row, part[k])
            elif isinstance(rule, PassRule) and is_factor(rule):
                merge(row, parts[0][k], rule.factor)
            elif _averages(rule):
                plain = all(root[0] == "" for root, _ in parts[0][k])
                merge(
                    row, {((AVERAGED, r[1]), at): a for (r, at), a in parts[0][k].items()} if plain else self._own(w, k)
                )
            elif isinstance(rule, FixedGainRule):
                merge(row, parts[0][k], rule.factors(self._directions.layout(w))[k[0]])
            elif isinstance(rule, HomogeneousRule) and rule.negative is not None:
                x, key, above, below = self.straight(w, k)
                merge(row, self.of(x)[key], below)
                merge(row, {(("+", x), key): 1}, above - below)
            elif is_function(site):
                merge(row, self._function(site, k))
            elif adds_constants(rule):
                merge(row, parts[0][k], rule.factor if isinstance(rule, OffsetRule) else 1)
            elif isinstance(rule, SumFeaturesRule):
                merge(row, parts[0][copy_key(k, rule.copies)])
            elif isinstance(rule, RepeatRule) and (base := copied_key(k, rule.copies)):
                merge(row, parts[0][base], rule.copies)
            out[k] = row
        return out

    def _function(self, site: Site, key: VectorKey) -> dict[tuple[Root, VectorKey], Number]:
        """A sector of a function of single features, as one of the features that its own inputs are multiples of."""
        itself: dict[tuple[Root, VectorKey], Number] = {(("", site.outputs[0]), key): 1}
        rule = site.rule
        if isinstance(rule, ProductRule):
            found = sorted(self.straight(x, key) for x in site.inputs)
            if any(above != below for *_, above, below in found):
                return itself
            (first, start, *_), *others = found
            label: Hashable = ("*", *((w, k[0]) for w, k, *_ in others))
            return {((label, first), start): math.prod(a for *_, a, _ in found)}
        assert isinstance(rule, (HomogeneousRule, PointwiseRule))
        even, odd = rule.parity > 0, rule.parity < 0
        chain: Chain = ()
        if even:
            first, start, factor, chain = self.signless(site.inputs[0], key)
        else:
            first, start, factor, below = self.straight(site.inputs[0], key)
            factor = factor if factor == below else 0
        if not factor:
            return itself
        size = _size(factor)
        # `f(-h)` is another function than `f(h)`, but for the sign of an odd one
        turned, sign = factor < 0 and not odd, -1 if factor < 0 and odd else 1
        if not isinstance(rule, HomogeneousRule):
            return {(((site.function, -size if turned else size, chain), first), start): sign}
        if rule.power != int(rule.power):
            return itself
        # an `int` to a negative power is no rational number in Python
        return {(((site.function, turned, chain), first), start): sign * Fraction(size) ** int(rule.power)}

    def signless(self, x: int, key: VectorKey) -> tuple[int, VectorKey, Number, Chain]:
        """The feature that the size of one is a function of, by which factor, and the odd functions in between.

        The factor is 0 where the two pieces of the feature are not of one size.
        """
        x, key, above, below = self.straight(x, key)
        factor = _size(above) if abs(above) == abs(below) else 0
        chain: Chain = ()
        while factor and (site := self._writer.get(x)) and is_function(site) and _is_odd(site.rule):
            y, k, above, below = self.straight(site.inputs[0], key)
            if not above or abs(above) != abs(below):
                break
            x, key, chain = y, k, (*chain, (site.function, _size(above)))
        return x, key, factor, chain

    def straight(self, x: int, key: VectorKey) -> tuple[int, VectorKey, Number, Number]:
        """The feature that one is a function of two straight pieces of, its slope above 0 and its slope below."""
        steps: list[tuple[Number, Number]] = []
        while site := self._writer.get(x):
            rule = site.rule
            if isinstance(rule, ConcatRule) and (rule.cut or one_place(self._diagram, site)):
                for p, start in self._directions.offsets(site.outputs if rule.cut else site.inputs):
                    boxes = len(self._directions.layout(p).boxes)
                    if rule.cut and p == x:
                        x, key = site.inputs[0], (key[0] + start, key[1])
                        break
                    if not rule.cut and start <= key[0] < start + boxes:
                        x, key = p, (key[0] - start, key[1])
                        break
                continue
            if isinstance(rule, PassRule) and is_factor(rule):
                steps.append((rule.factor, rule.factor))
            elif isinstance(rule, FixedGainRule):
                steps.append((rule.factors(self._directions.layout(x))[key[0]],) * 2)
            elif isinstance(rule, HomogeneousRule) and rule.negative is not None:
                steps.append((1, rule.negative))
            else:
                break
            x = site.inputs[0]
        above: Number = 1
        below: Number = 1  # the value below 0 is `below h`, so that it is positive for a negative slope
        for positive, negative in reversed(steps):
            above *= positive if above >= 0 else negative
            below *= negative if below >= 0 else positive
        return x, key, above, below


def copy_key(key: VectorKey, copies: int) -> VectorKey:
    """The sector of equal copies of a sector."""
    return (key[0], key[1] + "c") if copies > 1 else key


def copied_key(key: VectorKey, copies: int) -> VectorKey | None:
    """The sector whose equal copies a sector is, None for differences of copies."""
    if copies == 1:
        return key
    return (key[0], key[1][:-1]) if key[1].endswith("c") else None


def moves_on(site: Site) -> bool:
    """Whether a block may be a fixed linear move of features."""
    rule = site.rule
    fixed = isinstance(rule, (AddRule, ConcatRule, FixedGainRule, RepeatRule, SumFeaturesRule))
    return fixed or is_factor(rule) or adds_constants(rule)


def onward(directions: Directions, diagram: Diagram, site: Site, port: int) -> list[tuple[int, Push]] | None:
    """Where a data-dependent change of an input goes, as the sectors of each output, None where it goes nowhere fixed.

    A constant that is added on the way changes nothing.
    """
    if not moves_on(site):
        return None
    rule, x = site.rule, site.inputs[port]
    keys = directions.keys(x)

    def same(factor: Number = 1) -> Push:
        return {k: {k: factor} for k in keys}

    wires = diagram.wires
    before, after = ((wires[w].tokens, wires[w].positions) for w in (x, site.outputs[0]))
    if isinstance(rule, AddRule) and before == after:  # what is added to all positions alike stays where it is
        return [(site.outputs[0], same())]
    if is_factor(rule) and isinstance(rule, PassRule):
        return [(site.outputs[0], same(rule.factor))]
    if isinstance(rule, FixedGainRule):
        factors = rule.factors(directions.layout(x))
        return [(site.outputs[0], {k: {k: factors[k[0]]} for k in keys})]
    if adds_constants(rule):
        return [(site.outputs[0], same(rule.factor if isinstance(rule, OffsetRule) else 1))]
    if isinstance(rule, ConcatRule) and (rule.cut or one_place(diagram, site)):
        found = []
        for i, (p, start) in enumerate(directions.offsets(site.outputs if rule.cut else site.inputs)):
            if rule.cut:
                own: Push = {(b + start, s): {(b, s): 1} for b, s in directions.keys(p)}
                found.append((p, own))
            elif i == port:
                found.append((site.outputs[0], {(b, s): {(b + start, s): 1} for b, s in keys}))
        return found
    if isinstance(rule, RepeatRule):
        return [(site.outputs[0], {k: {copy_key(k, rule.copies): 1} for k in keys})]
    if isinstance(rule, SumFeaturesRule):
        below = {k: copied_key(k, rule.copies) for k in keys}
        return [(site.outputs[0], {k: {b: rule.copies} if b else {} for k, b in below.items()})]
    return None


def is_function(site: Site) -> bool:
    """Whether a block is a function of single features, the same at every position and whenever it runs."""
    rule = site.rule
    if isinstance(rule, HomogeneousRule):
        power = rule.alike and site.function is not None and rule.power == int(rule.power)
        return power or (rule.negative is not None and rule.power == 1)
    return isinstance(rule, ProductRule) or (isinstance(rule, PointwiseRule) and rule.alike and bool(site.function))


def adds_constants(rule: Rule) -> bool:
    """Whether a rule adds a bias or fixed numbers, and does nothing else but a factor."""
    return isinstance(rule, OffsetRule) or (isinstance(rule, GainRule) and rule.gain is None)


def _averages(rule: Rule) -> bool:
    """Whether positions are averaged or picked, so that constants of all of them may be added afterwards as well."""
    return isinstance(rule, PassRule) and rule.keeps_constants and not is_factor(rule)


def _is_odd(rule: Rule) -> bool:
    return isinstance(rule, (HomogeneousRule, PointwiseRule)) and rule.parity < 0


def _size(a: Number) -> Number:
    """The absolute value, of the type that it has."""
    return a if a >= 0 else -a
