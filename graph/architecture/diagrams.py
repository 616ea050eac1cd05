"""An architecture as the theorems see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lawful.blocks.answers import rule_of
from lawful.blocks.signals import DeclarationError
from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.diagram import Diagram, Parameter, Wire
from lawful.theory.gauge.rules import HeldRule, OutputRule, SourceRule
from lawful.theory.losses import LossLike

from .block_graph import BlockGraph
from .compile import Port
from .outputs import losses_of, output_sites
from .sources import computed_alone


def diagram(arch: BlockGraph, loss: LossLike, cut: bool = True) -> Diagram:
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
        wires.append(Wire(arch.port_name(port), s.features, tokens, s.positions, s.space))
    sites.append(Site("input", SourceRule(), (), tuple(index["input", i] for i in range(len(arch.inputs)))))
    alone = computed_alone(arch).rules
    for n in arch.nodes:
        block, ports = arch.block(n), arch.sources(n)
        outs = [(n, i) for i in range(block.outputs)]
        reads, writes = [arch.signals[p] for p in ports], [arch.signals[p] for p in outs]
        try:
            rule = rule_of(block, arch.parameter_names(n), reads, writes)
        except DeclarationError as error:
            raise DeclarationError(f"{n}: {error}") from error
        if n in alone:
            rule = alone[n] if cut else alone[n].uncut(n)
        # What a traced call computes is no plain data: it is a function of its own.
        function = None if block.call is not None else (block.kind, *block.config().items())
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
