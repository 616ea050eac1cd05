"""From an expression of blocks to named nodes and edges."""

from __future__ import annotations

from dataclasses import dataclass, field

from lawful.blocks import Block, Net, Parallel, Series, ShapeError, Signal, Wiring
from lawful.blocks.answers import outputs_of
from lawful.theory.arguments import plural

Port = tuple[str, int]
READ = "say in reads= what it reads"


@dataclass
class Nodes:
    """What an expression becomes.

    Attributes:
        blocks: node name -> block, in the order of the expression.
        edges: `(source node, source port, target node, target port)`.
        outputs: the ports whose values the network returns.
    """

    blocks: dict[str, Block] = field(default_factory=dict)
    edges: list[tuple[str, int, str, int]] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)

    def add(self, name: str, net: Net, sources: list[Port]) -> list[Port]:
        """Adds an expression that reads `sources` and returns the ports it writes."""
        if isinstance(net, Block):
            return self._block(name, net, sources)
        if isinstance(net, Series):
            for part, inner in net.parts:
                sources = self.add(_join(name, part), inner, sources)
            return sources
        if isinstance(net, Parallel):
            ends: list[Port] = []
            for part, inner in net.branches:
                ends += self.add(_join(name, part), inner, sources)
            return self._block(_join(name, net.join.kind.lower()), net.join, ends)
        if isinstance(net, Wiring):
            return self._wiring(name, net, sources)
        raise ShapeError(
            f"{name or 'the network'} is a {type(net).__name__}, expected a block or an expression of blocks"
        )

    def _block(self, name: str, block: Block, sources: list[Port]) -> list[Port]:
        name = name or block.kind.lower()
        if block.inputs == 0:
            sources = []
        elif block.inputs is None and len(sources) < 2:
            raise ShapeError(f"{name}: {block} joins two or more inputs but gets {len(sources)}; give it more branches")
        elif block.inputs is not None and len(sources) != block.inputs:
            raise ShapeError(
                f"{name}: {block} has {plural(block.inputs, 'input port')} but gets {plural(len(sources), 'wire')}; "
                + ("join or split them first, or name the one that is meant, such as 'input:0'" if sources else READ)
            )
        if name in self.blocks:
            raise ShapeError(
                f"two nodes are named {name}: {self.blocks[name]} and {block}; give one of them another name"
            )
        self.blocks[name] = block
        for port, (node, out) in enumerate(sources):
            self.edges.append((node, out, name, port))
        return [(name, i) for i in range(block.outputs)]

    def _wiring(self, name: str, net: Wiring, sources: list[Port]) -> list[Port]:
        for n in net.reads:
            if n not in net.nodes:
                raise ShapeError(
                    f"{name or 'wiring'}: reads names {n!r}, which is no node; there are {', '.join(net.nodes)}"
                )
        written: dict[str, list[Port]] = {"input": sources}
        waiting = dict(net.nodes)
        while waiting:
            ready = [n for n in waiting if all(s.split(":")[0] not in waiting for s in net.reads.get(n, ()))]
            if not ready:
                raise ShapeError(
                    f"{name or 'wiring'}: {' and '.join(sorted(waiting))} read one another in a cycle; "
                    "unroll it with blocks.Recurrent"
                )
            for n in ready:
                ports = [p for s in net.reads.get(n, ()) for p in self._port(name, n, s, written)]
                written[n] = self.add(_join(name, n), waiting.pop(n), ports)
        return [p for s in net.output for p in self._port(name, "output", s, written)]

    @staticmethod
    def _port(where: str, reader: str, source: str, written: dict[str, list[Port]]) -> list[Port]:
        node, _, port = source.partition(":")
        if node not in written:
            raise ShapeError(
                f"{_join(where, reader)} reads {source!r}, but there is no such node; there are {', '.join(written)}"
            )
        ports = written[node]
        if not port:
            return ports
        if not port.isdigit() or int(port) >= len(ports):
            if node == "input" and not where:
                raise ShapeError(
                    f"{reader} reads {source!r}, but the network has {plural(len(ports), 'input')}; name all of them, "
                    "as in Architecture(net, input=(Signal(3), Signal(4)))"
                )
            raise ShapeError(
                f"{_join(where, reader)} reads {source!r}, but {node} has {plural(len(ports), 'output port')}"
            )
        return [ports[int(port)]]


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def output_signal(net: Net, signal: Signal) -> Signal:
    """What an expression makes of a signal, without building the network.

    Raises:
        ShapeError: if its blocks do not fit.
    """
    nodes = Nodes()
    (end,) = nodes.add("", net, [("input", 0)])
    signals: dict[Port, Signal] = {("input", 0): signal}
    reads: dict[str, list[Port]] = {}
    for source, out, target, _ in nodes.edges:
        reads.setdefault(target, []).append((source, out))
    for name, block in nodes.blocks.items():
        for i, s in enumerate(outputs_of(block, [signals[p] for p in reads.get(name, [])])):
            signals[name, i] = s
    return signals[end]
