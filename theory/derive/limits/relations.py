"""Where a network can see that several numbers are computed of fewer, so that laws of their relations may exist.

What the inputs give flows through the network in three ways.  *Linearly*, on wires that are affine in it with every
activation pattern fixed.  *Curved*, behind a function that is not affine.  *Switched*, behind an activation with two
straight pieces: the patterns are free, so a gradient is affine in each of them, and what stands behind one never
cancels what does not, or stands behind another; but positions whose values are proportional share their patterns.  A
relation of values is seen only where they meet: at one site, at several positions of one wire that are mixed, or at two
uses of one parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ...gauge.contract import Site
from ...gauge.diagram import Diagram
from ...gauge.rules import (
    AddRule,
    BatchNormRule,
    ComputedRule,
    ConcatRule,
    DiscardRule,
    FlattenRule,
    FrozenNormRule,
    GainRule,
    HomogeneousRule,
    LinearRule,
    NormRule,
    OffsetRule,
    OutputRule,
    PassRule,
    PointwiseRule,
    RepeatRule,
    SoftmaxRule,
    SourceRule,
    SumFeaturesRule,
    TokensRule,
    UnflattenRule,
)
from ...gauge.rules.ends import Freedom, Port

# with their activation patterns fixed these are affine in what they read, beside parameters
LOCAL = (AddRule, ConcatRule, DiscardRule, FrozenNormRule, GainRule, OffsetRule)
AFFINE = (*LOCAL, FlattenRule, LinearRule, PassRule, RepeatRule, SumFeaturesRule, TokensRule, UnflattenRule)
CURVED_LOCAL = (BatchNormRule, PointwiseRule)  # no others see more than a position and the statistics of a feature


@dataclass(frozen=True)
class _Way:
    """How the values of a source came to a wire.

    Over mixed positions; through a function that is not affine; through patterns that some positions share.
    """

    mixed: bool = False
    curved: bool = False
    switched: bool = False

    def __or__(self, other: _Way) -> _Way:
        return _Way(self.mixed or other.mixed, self.curved or other.curved, self.switched or other.switched)


FREE = Freedom(frozenset(), True, True, True, True, True)  # inputs that nothing else is computed of
Content = dict[Port, _Way]


def related(diagram: Diagram) -> Iterator[str]:
    """One sentence for all wires of inputs whose relations the network may see."""
    known = {f.ports: f for s in diagram.sites if isinstance(s.rule, ComputedRule) for f in s.rule.freedoms}
    groups = {ports for ports in known if not any(ports < other for other in known)}
    said: set[frozenset[Port]] = set()
    for content in _meetings(diagram, known):
        way = _together(content.values())
        for group in groups:
            ports = group.intersection(content)
            if ports and not _free(known.get(ports, known[group]), way):
                said.add(ports)
    for ports in sorted((p for p in said if not any(other < p for other in said)), key=sorted):
        names = [repr(_name(diagram, port)) for port in sorted(ports)]
        outputs, any_ = ("the output of", "value") if len(names) == 1 else ("the outputs of", "combination of values")
        yield (
            f"{outputs} {' and '.join(names)} follow{'s' * (len(names) == 1)} from the inputs alone and cannot take "
            f"every {any_}: laws that hold only because of that are not listed"
        )


def _free(freedom: Freedom, way: _Way) -> bool:
    if way.switched and way.mixed and not freedom.apart:
        return False
    if way.curved:
        return freedom.open if way.mixed else freedom.open_at
    return freedom.spanning if way.mixed else freedom.spanning_at


def _name(diagram: Diagram, port: Port) -> str:
    site = next(s for s in diagram.sites if s.name == port[0])
    return diagram.wires[site.outputs[port[1]]].name


def _meetings(diagram: Diagram, known: Mapping[frozenset[Port], Freedom]) -> Iterator[Content]:
    """The sources that every site, and every parameter that is used more than once, reads."""
    flow: dict[int, Content] = {}
    users: dict[str, list[Content]] = {}
    for site in diagram.sites:
        if isinstance(site.rule, SourceRule | ComputedRule):
            flow |= {w: {(site.name, i): _Way()} for i, w in enumerate(site.outputs)}
            continue
        read = _joined(flow.get(w, {}) for w in site.inputs)
        if not read or isinstance(site.rule, DiscardRule):
            continue
        found = {port: _onward(site, way) for port, way in read.items()}
        yield found
        for name in {use.parameter for use in site.rule.uses(site)}:
            users.setdefault(name, []).append(found)
        if _switches(site):
            apart = any(f.apart for port in found if (f := known.get(frozenset((port,)), FREE)))
            found = {} if apart else {port: _Way(switched=True) for port in found}
        flow |= dict.fromkeys(site.outputs, found)
    for contents in users.values():
        yield _joined(contents)


def _onward(site: Site, way: _Way) -> _Way:
    """How a site hands values on; averages over positions, whose weights have one sign, cancel no shared pattern."""
    averaged = isinstance(site.rule, PassRule) and way.switched
    return way | _Way(not _is_local(site) and not averaged, not _is_affine(site))


def _joined(contents: Iterable[Content]) -> Content:
    out: Content = {}
    for content in contents:
        for port, way in content.items():
            out[port] = out.get(port, way) | way
    return out


def _together(ways: Iterable[_Way]) -> _Way:
    out = _Way()
    for way in ways:
        out |= way
    return out


def _switches(site: Site) -> bool:
    """Whether free patterns, feature by feature, stand between what a site reads and what it gives."""
    rule = site.rule
    return isinstance(rule, HomogeneousRule) and rule.power == 1 and not rule.mixes and rule.slope is None


def _is_affine(site: Site) -> bool:
    rule = site.rule
    if isinstance(rule, OutputRule):
        return rule.loss.span in ("all", "shift")
    if isinstance(rule, HomogeneousRule):
        return rule.power == 1
    return isinstance(rule, AFFINE)


def _is_local(site: Site) -> bool:
    rule = site.rule
    if isinstance(rule, LinearRule | HomogeneousRule):
        return not rule.mixes
    if isinstance(rule, PassRule):
        return rule.weights == "same" and not rule.mixes
    if isinstance(rule, NormRule):
        return rule.local
    if isinstance(rule, SoftmaxRule):
        return False
    return isinstance(rule, (*LOCAL, *CURVED_LOCAL, OutputRule))
