"""Architectures as JSON: plain data out, and in again from files that nobody vouches for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import networkx as nx

from lawful.blocks import Block, ShapeError, Signal, Tie, kinds
from lawful.blocks.registry import LONGEST, build, check, check_fields, shown
from lawful.theory.arguments import a_or_an

from .block_graph import BlockGraph, Edge, G
from .compile import Port
from .plain import MOST_BYTES, entries, fields, name, parse, row
from .shapes import ENDS

FORMAT, VERSION = "lawful-architecture", 1
MOST_NODES, MOST_EDGES = 200_000, 2_000_000
SOURCE = ("source node", "source port")


def to_json(arch: BlockGraph) -> str:
    """An architecture as JSON, one node or edge a line; no weights.

    Shared blocks, tied and frozen parameters are part of it, and so is the order of the nodes.

    Raises:
        ShapeError: for blocks that `from_json` could not read: what tracing made of code of the module, unregistered
            kinds, and fields that are no plain data.
    """
    for node in arch.nodes:
        if not arch.block(node).portable:
            raise ShapeError(
                f"the network cannot be written as JSON: {node} is {a_or_an(arch.block(node).kind)}, which holds "
                "numbers or code of the traced module; keep the module, and trace it again"
            )
    owner: dict[int, str] = {}
    blocks = {node: arch.block(node) for node in arch.graph.nodes if node not in ENDS}
    for node, block in blocks.items():
        owner.setdefault(id(block), node)
    nodes = []
    for i, (node, block) in enumerate(blocks.items()):
        name(node, f"nodes[{i}].name")
        first = owner[id(block)]
        nodes.append({"name": node} | ({"shares": first} if first != node else _entry(block, f"nodes[{i}]", owner)))
    outputs = arch.sources("output")
    named = {} if arch.given_names is None else {"names": json.dumps(arch.given_names)}
    lines = {
        "format": json.dumps(FORMAT),
        "version": json.dumps(VERSION),
        "inputs": _lines(map(dataclasses.asdict, arch.inputs)),
        "nodes": _lines(nodes),
        "edges": _lines(arch.edges()),
        "output": json.dumps(outputs[0]) if len(outputs) == 1 else _lines(outputs),
        **named,
    }
    return "{\n" + ",\n".join(f' "{key}": {text}' for key, text in lines.items()) + "\n}\n"


def _entry(block: Block, where: str, owner: Mapping[int, str]) -> dict[str, Any]:
    config = block.config()
    check(block.kind, config, where)
    if kinds()[block.kind] is not type(block):
        raise ShapeError(f"{where}: {block} is not the registered {block.kind}; give its class a name of its own")
    entry: dict[str, Any] = {"kind": block.kind, "config": config}
    if frozen := block.frozen:
        entry["frozen"] = frozen
    if block.ties:
        entry["ties"] = {
            local: {"node": owner[id(tie.block)], "parameter": tie.parameter, "transposed": tie.transposed}
            for local, tie in block.ties.items()
        }
    return entry


def _lines(values: Iterable[Any]) -> str:
    inner = ",\n".join(f"  {json.dumps(v)}" for v in values)
    return f"[\n{inner}\n ]" if inner else "[]"


def load(path: str | Path, kind: type[G]) -> G:
    """Reads a file that holds what `to_json` wrote; runs no code.

    Args:
        path: the file.
        kind: the class to make.

    Raises:
        ShapeError: as `from_json`, with the name of the file in front.
        OSError: if the file cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    try:
        return from_json(data, kind)
    except ShapeError as error:
        raise ShapeError(f"{path}: {error}") from error


def from_json(text: str | bytes, kind: type[G]) -> G:
    """An architecture from what `to_json` wrote.  It looks up registered block kinds and runs no other code.

    Args:
        text: the file, as text or as UTF-8 bytes.
        kind: the class to make.

    Raises:
        ShapeError: for anything that is not such a file; names the place in it (`nodes[3].config.width`).
    """
    file = fields(parse(text), "the file", ("format", "version", "inputs", "nodes", "edges", "output"), ("names",))
    if file["format"] != FORMAT:
        raise ShapeError(f"format is {shown(file['format'])}, expected {FORMAT!r}; write it with Architecture.to_json")
    if type(file["version"]) is not int or file["version"] != VERSION:
        raise ShapeError(
            f"version is {shown(file['version'])}, expected {VERSION}; use the release that wrote the file"
        )
    inputs = [_signal(s, f"inputs[{i}]") for i, s in enumerate(entries(file["inputs"], "inputs", LONGEST))]
    if not inputs:
        raise ShapeError("inputs is an empty list, expected the signal of every network input; give at least one")
    blocks = _blocks(_nodes(entries(file["nodes"], "nodes", MOST_NODES)))
    ports = {"input": len(inputs)} | {node: block.outputs for node, block in blocks.items()}
    edges = [_edge(e, f"edges[{i}]", ports) for i, e in enumerate(entries(file["edges"], "edges", MOST_EDGES))]
    names = _names(file["names"], blocks) if "names" in file else None
    found = kind.from_parts(blocks, edges, _outputs(file["output"], ports), inputs, names)
    shapes: dict[str, tuple[int, ...]] = {}
    for node in found.nodes if names else ():
        for local, spec in found.block(node).parameters.items():
            name_ = found.parameter_names(node)[local]
            if _long(shapes.setdefault(name_, spec.shape)) != _long(spec.shape):
                raise ShapeError(
                    f"names.{node}.{local} is {shown(name_)} of shape {shapes[name_]}, expected shape {spec.shape}"
                )
    return found


def _long(shape: tuple[int, ...]) -> list[int]:
    """The axes of a parameter that count: one block may see a vector where another one sees a row."""
    return [n for n in shape if n > 1]


def _names(value: Any, blocks: Mapping[str, Block]) -> dict[str, dict[str, str]]:
    """The names of the parameters of every node by local name, where the file gives them names of their own."""
    found = fields(value, "names", tuple(blocks))
    out = {}
    for node, block in blocks.items():
        own = fields(found[node], f"names.{node}", (*block.parameters, *block.ties))
        out[node] = {local: name(v, f"names.{node}.{local}") for local, v in own.items()}
    return out


def _outputs(value: Any, ports: Mapping[str, int]) -> list[Port]:
    """The port that the network ends in, or a list of several."""
    if not (isinstance(value, list) and value and all(isinstance(v, list) for v in value)):
        return [_source(row(value, "output", SOURCE), "output", ports)]
    found = entries(value, "output", MOST_EDGES)
    return [_source(row(v, f"output[{i}]", SOURCE), f"output[{i}]", ports) for i, v in enumerate(found)]


def _signal(value: Any, where: str) -> Signal:
    check_fields(Signal, value, where)
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
    return Signal(**fields)


def _source(value: list[Any], where: str, ports: Mapping[str, int]) -> Port:
    node, port = value
    if not isinstance(node, str) or node not in ports:
        raise ShapeError(f"{where} reads from {shown(node)}, which is neither 'input' nor a node of the file")
    if type(port) is not int or not 0 <= port < ports[node]:
        raise ShapeError(f"{where} reads port {shown(port)} of {node}, whose last output port is {ports[node] - 1}")
    return node, port


def _edge(value: Any, where: str, ports: Mapping[str, int]) -> Edge:
    _, _, target, port = row(value, where, (*SOURCE, "target node", "target port"))
    source = _source(value[:2], where, ports)
    if not isinstance(target, str) or target not in ports or target == "input":
        raise ShapeError(
            f"{where} leads to {shown(target)}, which is no node of the file; "
            "the field output says where the network ends"
        )
    if type(port) is not int or not 0 <= port < MOST_EDGES:
        raise ShapeError(f"{where} leads to port {shown(port)} of {target}, expected a port number from 0")
    return *source, target, port


def _nodes(values: list[Any]) -> dict[str, dict[str, Any]]:
    """The entries by node name, with their places; the data inside `config`, `frozen` and `ties` is still unchecked."""
    found: dict[str, dict[str, Any]] = {}
    for i, value in enumerate(values):
        where = f"nodes[{i}]"
        if isinstance(value, dict) and "shares" in value:
            entry = fields(value, where, ("name", "shares"))
            if not _owns(found, entry["shares"]):
                raise ShapeError(
                    f"{where}.shares is {shown(entry['shares'])}, expected an earlier node with its own kind"
                )
        else:
            entry = fields(value, where, ("name", "kind", "config"), ("frozen", "ties"))
        key = name(entry["name"], f"{where}.name", ENDS)
        if key in found:
            raise ShapeError(f"{where}.name is {key!r}, the name of {found[key]['where']}; give every node its own")
        found[key] = entry | {"where": where}
    return found


def _owns(found: Mapping[str, dict[str, Any]], node: Any) -> bool:
    return isinstance(node, str) and node in found and "kind" in found[node]


def _blocks(found: Mapping[str, dict[str, Any]]) -> dict[str, Block]:
    """The blocks by node name; each is made after those it takes parameters from."""
    ties = {node: _ties(found, entry) for node, entry in found.items() if "kind" in entry}
    order = nx.DiGraph()
    order.add_nodes_from(ties)
    order.add_edges_from((tie["node"], node) for node, mine in ties.items() for tie in mine.values())
    made: dict[str, Block] = {}
    try:
        for node in nx.topological_sort(order):
            made[node] = _block(found[node], ties[node], made)
    except nx.NetworkXUnfeasible:
        cycle = " -> ".join(found[node]["where"] for node, _ in nx.find_cycle(order))
        raise ShapeError(f"the ties of {cycle} form a cycle; one node has to own the parameter") from None
    return {node: made[entry.get("shares", node)] for node, entry in found.items()}


def _ties(found: Mapping[str, dict[str, Any]], entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    place = f"{entry['where']}.ties"
    ties = entry.get("ties", {})
    if not isinstance(ties, dict):
        raise ShapeError(f"{place} is {shown(ties)}, expected an object with one tie per parameter")
    out = {}
    for local, value in ties.items():
        where = f"{place}.{name(local, f'the field of {place}')}"
        tie = fields(value, where, ("node", "parameter", "transposed"))
        if not _owns(found, tie["node"]):
            raise ShapeError(f"{where}.node is {shown(tie['node'])}, expected a node of the file with its own kind")
        if not isinstance(tie["transposed"], bool):
            raise ShapeError(f"{where}.transposed is {shown(tie['transposed'])}, expected true or false")
        out[local] = tie | {"parameter": name(tie["parameter"], f"{where}.parameter")}
    return out


def _block(entry: Mapping[str, Any], ties: Mapping[str, dict[str, Any]], made: Mapping[str, Block]) -> Block:
    where = entry["where"]
    frozen = entries(entry.get("frozen", []), f"{where}.frozen", LONGEST)
    names = tuple(name(f, f"{where}.frozen[{i}]") for i, f in enumerate(frozen))
    try:
        tie = next((Tie(made[t["node"]], t["parameter"], t["transposed"]) for t in ties.values()), None)
    except ShapeError as error:
        raise ShapeError(f"{where}.ties: {error}") from error
    block = build(entry["kind"], entry["config"], where, names, tie)
    if set(block.ties) != set(ties):
        raise ShapeError(f"{where}.ties names {', '.join(ties)}, but {block} can tie only {', '.join(block.ties)}")
    return block
