"""Checking a graph of blocks: the order of its nodes, the ports they read, and the signal on every port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import networkx as nx

from lawful.blocks import Block, ShapeError, Signal, WidthError
from lawful.blocks.answers import outputs_of
from lawful.blocks.registry import LARGEST
from lawful.blocks.signals import DeclarationError

from .compile import Port

ENDS = ("input", "output")


def topological_order(graph: nx.MultiDiGraph) -> list[str]:
    """All nodes but the ends, each after those it reads, else in the order in which they were written.

    Raises:
        ShapeError: for a cycle.
    """
    rank = {n: i for i, n in enumerate(graph.nodes)}
    try:
        return [n for n in nx.lexicographical_topological_sort(graph, key=rank.__getitem__) if n not in ENDS]
    except nx.NetworkXUnfeasible:
        cycle = [u for u, _, _ in nx.find_cycle(graph)]
        raise ShapeError(f"the nodes {' -> '.join(cycle)} form a cycle; unroll it with blocks.Recurrent") from None


def read_sources(graph: nx.MultiDiGraph, name: str) -> list[Port]:
    """The ports a node reads, in the order of its own ports.

    Raises:
        ShapeError: for a port that is open or has two wires.
    """
    found: dict[int, Port] = {}
    for u, _, data in graph.in_edges(name, data=True):
        if data["target"] in found:
            raise ShapeError(f"input port {data['target']} of {name} has two wires; add them with Add")
        found[data["target"]] = (u, data["source"])
    if sorted(found) != list(range(len(found))):
        missing = next(i for i in range(len(found) + 1) if i not in found)
        raise ShapeError(f"input port {missing} of {name} is open; wire something to it")
    return [found[i] for i in range(len(found))]


def infer_signals(
    blocks: Mapping[str, Block],
    reads: Mapping[str, Sequence[Port]],
    inputs: Sequence[Signal],
    outputs: Sequence[Port],
) -> dict[Port, Signal]:
    """The signal on every port.

    Args:
        blocks: the block of every node, in topological order.
        reads: the ports that every node reads.
        inputs: signals of the network's inputs.
        outputs: the ports that the network ends in.

    Raises:
        ShapeError: for widths that do not fit and ports that nothing reads.
    """
    signals: dict[Port, Signal] = {("input", i): s for i, s in enumerate(inputs)}
    for name, block in blocks.items():
        for i, s in enumerate(_outputs(name, block, reads[name], signals)):
            if s.positions > LARGEST:
                raise ShapeError(
                    f"{name} (after {', '.join(p[0] for p in reads[name])}) makes a wire of more than "
                    f"{LARGEST} positions; make it smaller"
                )
            signals[name, i] = s
    _expect_ports("output", outputs, signals)
    read = {*outputs, *(p for ports in reads.values() for p in ports)}
    for port in signals:
        if port not in read:
            raise ShapeError(f"output port {port[1]} of {port[0]} is open; wire it to something or remove the block")
    for s in signals.values():
        if s.features < 1:
            raise ShapeError(f"a wire has {s.features} features; every width must be at least 1")
    return signals


def _outputs(name: str, block: Block, ports: Sequence[Port], signals: Mapping[Port, Signal]) -> Sequence[Signal]:
    wanted = block.inputs
    if (wanted is not None and len(ports) != wanted) or (wanted is None and len(ports) < 2):
        raise ShapeError(
            f"{name}: {block} has {wanted or '2 or more'} input ports, {len(ports)} are wired; wire every port once"
        )
    _expect_ports(name, ports, signals)
    try:
        return outputs_of(block, [signals[p] for p in ports])
    except ShapeError as error:
        after = ", ".join(p[0] for p in ports)
        kind = next((k for k in (WidthError, DeclarationError) if isinstance(error, k)), ShapeError)
        raise kind(f"{name} (after {after or 'nothing'}): {error}") from error


def _expect_ports(name: str, ports: Sequence[Port], signals: Mapping[Port, Signal]) -> None:
    for node, port in ports:
        if (node, port) not in signals:
            raise ShapeError(f"{name} reads port {port} of {node}, which has no such port")


def only(outputs: Sequence[Signal], names: Sequence[str]) -> Signal:
    """The only one of some outputs.

    Raises:
        ShapeError: if there are several.
    """
    if len(outputs) != 1:
        raise ShapeError(
            f"the network has {len(outputs)} outputs ({', '.join(names)}); use outputs, which lists their signals"
        )
    return outputs[0]
