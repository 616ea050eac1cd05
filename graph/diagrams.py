"""An architecture as the theorems see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lawful.theory.diagram import Diagram, Parameter, Site, Wire
from lawful.theory.losses import LossLike
from lawful.theory.rules import HeldRule, OutputRule, SourceRule

from .compile import Port
from .naming import losses_of, output_sites, port_name

if TYPE_CHECKING:
    from .architecture import Architecture


def diagram(arch: Architecture, loss: LossLike, cut: bool = True) -> Diagram:
    """Wires, sites and parameters; each output is a site of its own, with the rule of its loss.

    Wires come in the order of `arch.signals`; those inside a block come after them.  What is computed of the inputs
    alone has the rule that says what was measured of it; without `cut` only that it was not used.

    Raises:
        ShapeError: for losses that do not fit the outputs.
    """
    losses = losses_of(arch, loss)
    index: dict[Port, int] = {}
    wires: list[Wire] = []
    sites: list[Site] = []
    for port, s in arch.signals.items():
        index[port] = len(wires)
        tokens = s.space[0] if len(s.space) == 1 and not s.channels_first else 1
        wires.append(Wire(port_name(arch, port), s.features, tokens, s.positions))
    sites.append(Site("input", SourceRule(), (), tuple(index["input", i] for i in range(len(arch.inputs)))))
    for n in arch.nodes:
        block, ports = arch.block(n), arch.sources(n)
        outs = [(n, i) for i in range(block.outputs)]
        rule = block.rule(arch.parameter_names(n), [arch.signals[p] for p in ports], [arch.signals[p] for p in outs])
        if n in arch.sources_alone.rules:
            rule = arch.sources_alone.rules[n] if cut else arch.sources_alone.rules[n].uncut()
        # What a traced call computes is no plain data: it is a function of its own.
        function = None if getattr(block, "call", None) else (block.kind, *block.config().items())
        inner = range(len(wires), len(wires) + len(rule.inner))
        wires += [Wire(f"{label} of {n}", size) for label, size in rule.inner]
        ends = (tuple(index[p] for p in ports), tuple(index[p] for p in outs))
        sites.append(Site(n, rule, *ends, function, tuple(inner), tuple(arch.parameter_names(n).values())))
    sites += _holders(sites, wires, arch.parameters)
    ports = arch.sources("output")
    for name, port, each in zip(output_sites(len(ports)), ports, losses, strict=True):
        sites.append(Site(name, OutputRule(each), (index[port],), ()))
    return Diagram(tuple(wires), tuple(sites), arch.parameters)


def _holders(sites: Sequence[Site], wires: list[Wire], parameters: Mapping[str, Parameter]) -> list[Site]:
    """Sites that hold what a block computes with and its rule does not speak of, where another block uses it too.

    Their wires, one for each axis of a parameter, are appended to `wires`.
    """
    spoken = {s.name: {use.parameter for use in s.rule.uses(s)} for s in sites}
    everywhere = set().union(*spoken.values())
    out = []
    for site in sites:
        tied = tuple(n for n in dict.fromkeys(site.parameters) if n in everywhere and n not in spoken[site.name])
        if tied:
            rule = HeldRule(tuple((n, parameters[n].shape or (1,)) for n in tied))
            inner = range(len(wires), len(wires) + len(rule.inner))
            wires += [Wire(f"{label}, held by {site.name}", size) for label, size in rule.inner]
            out.append(Site(f"what {site.name} holds", rule, (), (), None, tuple(inner), tied))
    return out
