"""Rewrites before solving: the same function, drawn so that the rules see all of its symmetry.

*Repeated computation*: two sites with one function, one set of parameters and the same inputs are one site.
*Invisible norms*: a norm divides each token by a positive number.  If every path from it runs through homogeneous maps
into norms that are blind to such a number, the division is invisible and only the centring stays.
*Norm of a norm*: what has been normalised already has norm one.
*Rows*: where nothing sees the scale of a single token, every row of a table has a scale of its own.
*Linear skips*: `x + W x` is the one linear map `I + W`.
*Bundles*: linear maps with one reader and one writer in common only act through their sum.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from fractions import Fraction

from .contract import Rule, Site
from .diagram import Diagram, Wire
from .linalg import Number
from .rules import (
    AddRule,
    ConcatRule,
    GainRule,
    HomogeneousRule,
    LargerRule,
    LinearRule,
    NormRule,
    PassRule,
    TableRule,
    UnflattenRule,
    UnitNormRule,
)


@dataclass(frozen=True)
class Rewrite:
    """What was changed and why, for the proof."""

    site: str
    reason: str


def representatives(sites: tuple[Site, ...]) -> dict[str, str]:
    """For every site the first site that computes the same thing (itself if there is none)."""
    first: dict[tuple, Site] = {}
    wire: dict[int, int] = {}
    out: dict[str, str] = {}
    for site in sites:
        inputs = tuple(wire.get(w, w) for w in site.inputs)
        fresh = site.function is None or site.rule.noisy
        key = (site.name,) if fresh else (site.function, site.rule, inputs, site.parameters)
        twin = first.setdefault(key, site)
        out[site.name] = twin.name
        for mine, theirs in zip(site.outputs, twin.outputs, strict=True):
            wire[mine] = theirs
    return out


def merge_repeated(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws repeated computations once."""
    same = representatives(diagram.sites)
    by_name = {s.name: s for s in diagram.sites}
    wire = {
        mine: theirs
        for s in diagram.sites
        for mine, theirs in zip(s.outputs, by_name[same[s.name]].outputs, strict=True)
    }
    kept = [replace(s, inputs=tuple(wire.get(w, w) for w in s.inputs)) for s in diagram.sites if same[s.name] == s.name]
    notes = [Rewrite(s, f"computes the same as {t}") for s, t in same.items() if s != t]
    for i, site in enumerate(kept):
        if isinstance(site.rule, LargerRule) and len(set(site.inputs)) == 1:
            kept[i] = replace(site, rule=PassRule(), inputs=site.inputs[:1], function=None)
            notes.append(Rewrite(site.name, "the larger of a number and itself is that number"))
    return diagram.with_sites(kept), notes


def drop_invisible_norms(diagram: Diagram, exact: bool = False) -> tuple[Diagram, list[Rewrite]]:
    """Removes divisions that nothing downstream can see; if `exact`, not even through the epsilon of another norm."""
    sites, notes = (list(diagram.sites), []) if exact else _drop_norms_of_norms(list(diagram.sites))
    for i, site in reversed(list(enumerate(sites))):
        rule = site.rule
        if type(rule) is UnitNormRule and invisible(sites, i, False, exact):
            notes.append(Rewrite(site.name, "every reader is blind to its scale, so the size of the weight is unseen"))
            sites[i] = replace(site, rule=LinearRule(rule.weight, rule.shape_, geometry=("linear",)), inner=())
        if not isinstance(rule, NormRule) or not rule.scale or rule.groups > 1:
            continue
        if invisible(sites, i, rule.local, exact):
            notes.append(Rewrite(site.name, "every reader is blind to its scale, so only the centring is left"))
            rest = replace(rule, scale=False, epsilon=0.0) if rule.centre else PassRule()
            sites[i] = replace(site, rule=rest)
    return diagram.with_sites(sites), notes


def _drop_norms_of_norms(sites: list[Site]) -> tuple[list[Site], list[Rewrite]]:
    unit: dict[int, bool] = {}  # wires of norm one, and whether their mean is zero
    out, notes = [], []
    for site in sites:
        rule = site.rule
        known = [unit.get(w) for w in site.inputs]
        if isinstance(rule, NormRule) and rule.local and rule.scale and rule.groups == 1:
            if rule.sees_scale(lax=True):
                pass  # its result has no fixed size
            elif known[0] is not None and (known[0] or not rule.centre):
                notes.append(Rewrite(site.name, "its input is normalised already"))
                unit[site.outputs[0]] = known[0]
                site = replace(site, rule=PassRule())
            else:
                unit[site.outputs[0]] = rule.centre
        elif known and all(k is not None for k in known):
            if isinstance(rule, HomogeneousRule) and rule.isometric:
                unit[site.outputs[0]] = False
            elif isinstance(rule, PassRule) and not rule.mixes:
                unit[site.outputs[0]] = bool(known[0])
            elif isinstance(rule, ConcatRule) and not rule.cut:
                unit[site.outputs[0]] = all(known)
        out.append(site)
    return out, notes


def invisible(sites: list[Site], start: int, local: bool, exact: bool = False) -> bool:
    """Whether a positive factor (`local`: one per token) on the output of a site is seen by no loss."""
    degree: dict[int, Number] = {sites[start].outputs[0]: 1}
    for i in range(start + 1, len(sites)):  # not a slice, which would walk to `start` for every norm
        site = sites[i]
        degrees = [degree.get(w, 0) for w in site.inputs]
        if not any(degrees):
            continue
        if site.rule.sees_scale(lax=not exact):
            return False
        result = site.rule.degree(degrees, local)
        if result is None:
            return False
        for w in site.outputs:
            degree[w] = result
    return True


def join_what_was_cut(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """A wire that is cut and put together again in the same order was never cut."""
    readers = diagram.readers
    writer = diagram.writer
    gone: set[str] = set()
    sites, notes = [], []
    for site in diagram.sites:
        if isinstance(site.rule, ConcatRule) and not site.rule.cut:
            cut = writer[site.inputs[0]]
            alone = all(len(readers[w]) == 1 for w in site.inputs)
            if isinstance(cut.rule, ConcatRule) and cut.rule.cut and cut.outputs == site.inputs and alone:
                gone.add(cut.name)
                notes.append(Rewrite(site.name, f"joins what {cut.name} cut"))
                site = replace(site, rule=PassRule(), inputs=cut.inputs)
        sites.append(site)
    return diagram.with_sites([s for s in sites if s.name not in gone]), notes


def merge_linear_skips(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws `x + W x` as the one map `I + W`: then the two sides of the junction need not carry the same matrices."""
    uses: dict[str, int] = {}
    for site in diagram.sites:
        for use in site.rule.uses(site):
            uses[use.parameter] = uses.get(use.parameter, 0) + 1
    sites = list(diagram.sites)
    notes: list[Rewrite] = []
    origin = identity_sources(sites)
    readers = diagram.readers
    place = {w: i for i, s in enumerate(sites) for w in s.outputs}
    for i, site in enumerate(sites):
        if not isinstance(site.rule, AddRule):
            continue
        for skip, w in itertools.permutations(site.inputs, 2):
            branch, factor = sites[place[w]], Fraction(1)
            while len(readers[w]) == 1 and (is_factor(branch.rule) or _shifts_only(branch.rule)):
                if isinstance(branch.rule, PassRule):
                    factor *= branch.rule.factor
                w = branch.inputs[0]  # x + a (W x + b) = a (I / a + W) x + a b
                branch = sites[place[w]]
            rule = branch.rule
            if not isinstance(rule, (LinearRule, GainRule)) or len(readers[w]) > 1:
                continue
            (start, times), (same, by) = (origin.get(x, (x, Fraction(1))) for x in (skip, branch.inputs[0]))
            if start != same or not by or not factor or not _keeps_positions(rule):
                continue
            weight = rule.weight if isinstance(rule, LinearRule) else rule.gain
            if weight is None or uses[weight] > 1 or diagram.parameters[weight].frozen:
                continue
            rest = list(site.inputs)
            rest.remove(skip)
            sites[place[w]] = replace(branch, rule=replace(rule, offset=rule.offset + times / by / factor))
            sites[i] = replace(site, inputs=tuple(rest), rule=site.rule if len(rest) > 1 else PassRule())
            notes.append(Rewrite(branch.name, f"with the skip into {site.name} it is the one linear map I + W"))
            break
    return diagram.with_sites(sites), notes


def identity_sources(sites: list[Site]) -> dict[int, tuple[int, Fraction]]:
    """The wire that a copy, or a fixed multiple, is one of."""
    origin: dict[int, tuple[int, Fraction]] = {}
    for site in sites:
        if isinstance(site.rule, PassRule) and is_factor(site.rule):
            source, factor = origin.get(site.inputs[0], (site.inputs[0], Fraction(1)))
            origin[site.outputs[0]] = (source, factor * site.rule.factor)
    return origin


def is_factor(rule: Rule) -> bool:
    """Whether a rule is that of a fixed factor, the same at every position."""
    return isinstance(rule, PassRule) and rule == PassRule(factor=rule.factor)


def _shifts_only(rule: Rule) -> bool:
    return isinstance(rule, GainRule) and rule.gain is None


def _keeps_positions(rule: LinearRule | GainRule) -> bool:
    """Whether the identity is a map of this shape."""
    if isinstance(rule, GainRule):
        return True
    square = rule.shape_[0] == rule.shape_[1] * rule.groups
    if not rule.shape_[2:]:
        return square and not rule.transposed and rule.geometry == ("linear",)
    if rule.geometry[:1] not in (("conv",), ("transposed conv",)):
        return False
    _, stride, padding, dilation, *extra = rule.geometry
    centred = all(k % 2 and 2 * padding == dilation * (k - 1) for k in rule.shape_[2:])
    return square and stride == 1 and centred and not any(extra)


def scale_rows(diagram: Diagram, exact: bool = False) -> tuple[Diagram, list[Rewrite]]:
    """Gives rows of tables, and pieces that become positions, a scale each where nothing sees that of one position."""
    diagram, notes = _split_patches(diagram)
    sites = list(diagram.sites)
    wires = list(diagram.wires)
    for i, site in enumerate(sites):
        rule = site.rule
        if isinstance(rule, UnflattenRule) and not rule.choose and invisible(sites, i, True, exact):
            reason = "every reader is blind to the scale of a position, so each piece has its own"
            notes.append(Rewrite(site.name, reason))
            sites[i] = replace(site, rule=replace(rule, apart=True))
            continue
        if not isinstance(rule, TableRule) and not (isinstance(rule, LinearRule) and rule.lookup and rule.bias is None):
            continue
        if invisible(sites, i, True, exact):
            rows = rule.shape_[0]
            notes.append(
                Rewrite(site.name, "every reader is blind to the scale of a token, so each row has a scale of its own")
            )
            sites[i] = replace(site, rule=replace(rule, rows=True), inner=(len(wires),))
            wires.append(Wire(f"rows of {site.name}", rows))
    return replace(diagram, sites=tuple(sites), wires=tuple(wires)), notes


def _split_patches(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws a transposed convolution whose patches do not overlap as a linear map and a move of features to pixels."""
    uses: dict[str, int] = {}
    for site in diagram.sites:
        for use in site.rule.uses(site):
            uses[use.parameter] = uses.get(use.parameter, 0) + 1
    before = list(diagram.sites)
    sites, wires, notes = [], list(diagram.wires), []
    for i, site in enumerate(before):
        rule = site.rule
        sites.append(site)
        if not isinstance(rule, LinearRule) or rule.geometry[:1] != ("transposed conv",) or rule.mixes:
            continue
        pieces = math.prod(rule.shape_[2:])
        if rule.bias is not None or pieces == 1 or uses[rule.weight] > 1 or not invisible(before, i, local=True):
            continue
        inner = len(wires)
        wires.append(Wire(f"patches of {site.name}", rule.shape_[1] * rule.groups * pieces))
        flat = replace(rule, shape_=(rule.shape_[0], rule.shape_[1] * pieces), geometry=("patches", site.name))
        sites[-1] = replace(site, rule=flat, outputs=(inner,))
        sites.append(Site(f"{site.name} to pixels", UnflattenRule(pieces), (inner,), site.outputs))
        notes.append(Rewrite(site.name, "a linear map to patches, whose pixels are features that lie together"))
    return replace(diagram, sites=tuple(sites), wires=tuple(wires)), notes
