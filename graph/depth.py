"""Repeated parts of a network: consecutive copies of one group of nodes, found and cut."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

from lawful.blocks import Block

from .architecture import Architecture, Edge
from .compile import Port


@dataclass
class _Wires:
    """A network that can be cut: blocks and what every node reads; `"output"` is one more reader."""

    blocks: dict[str, Block]
    reads: dict[str, list[Port]]


@dataclass(frozen=True)
class _Window:
    """A few consecutive children of one prefix, seen from outside.

    Attributes:
        nodes: relative name -> node.
        key: what must agree in two copies: blocks and inner wires by relative name.
        entry: the one port that is read from outside.
        exit: the one port that is read outside.
    """

    nodes: dict[str, str]
    key: frozenset
    entry: Port
    exit: Port


def cut_repeats(arch: Architecture, keep: int = 1) -> Architecture:
    """The same architecture with `keep` copies of every chain of equal groups of nodes.

    Groups are the children `prefix.0`, `prefix.1`, ... of a name; a period of several children (convolution, ReLU) is
    found too.  Copies that share parameters are cut to no less than two, since sharing is what they are about.
    """
    net = _Wires({n: arch.block(n) for n in arch.nodes}, {n: arch.sources(n) for n in (*arch.nodes, "output")})
    before = len(net.blocks)
    done: set[str] = set()
    while pending := [p for p in _prefixes(net) if p not in done]:
        _cut_children(arch, net, pending[0], keep)
        done.add(pending[0])
    if len(net.blocks) == before:
        return arch
    edges: list[Edge] = [(u, out, v, i) for v in net.blocks for i, (u, out) in enumerate(net.reads[v])]
    order = [n for n in arch.graph.nodes if n in net.blocks]
    return Architecture.from_parts({n: net.blocks[n] for n in order}, edges, net.reads["output"], arch.inputs)


def _prefixes(net: _Wires) -> list[str]:
    """Names that have numbered children, outermost first."""
    found = {}
    for name in net.blocks:
        parts = name.split(".")
        for i, part in enumerate(parts):
            if part.isdigit():
                found[".".join(parts[:i])] = i
    return sorted(found, key=found.__getitem__)


def _cut_children(arch: Architecture, net: _Wires, prefix: str, keep: int) -> None:
    depth = len(prefix.split(".")) if prefix else 0
    members: dict[int, list[str]] = {}
    for name in net.blocks:
        parts = name.split(".")
        if len(parts) > depth and parts[:depth] == (prefix.split(".") if prefix else []) and parts[depth].isdigit():
            members.setdefault(int(parts[depth]), []).append(name)
    children = [members[i] for i in sorted(members)]
    period = 1
    while 2 * period <= len(children):
        start = 0
        while start + 2 * period <= len(children):
            first = start - (max(keep, 2) - 1) * period
            spans = [children[i : i + period] for i in range(first, start + 2 * period, period) if i >= 0]
            windows = [_window(net, span, depth) for span in spans]
            if _is_copy(arch, net, windows, keep):
                kept, gone = windows[-2:]
                assert kept is not None and gone is not None
                _remove(net, kept, gone)
                del children[start + period : start + 2 * period]
            else:
                start += 1
        period += 1


def _window(net: _Wires, children: list[list[str]], depth: int) -> _Window | None:
    """A window, None if more than one wire enters or leaves it."""
    relative = {n: ".".join([str(i), *n.split(".")[depth + 1 :]]) for i, names in enumerate(children) for n in names}
    entries: set[Port] = set()
    key: list[tuple] = []
    for node, name in relative.items():
        reads = []
        for u, out in net.reads[node]:
            if u not in relative:
                entries.add((u, out))
            reads.append((relative.get(u, ""), out if u in relative else 0))
        key.append((name, tuple(reads), _block_key(net, net.blocks[node], relative)))
    exits = {p for n, ports in net.reads.items() if n not in relative for p in ports if p[0] in relative}
    if len(entries) != 1 or len(exits) != 1:
        return None
    exit_ = exits.pop()
    key.append(("", (relative[exit_[0]], exit_[1]), None))
    return _Window({r: n for n, r in relative.items()}, frozenset(key), entries.pop(), exit_)


def _block_key(net: _Wires, block: Block, relative: dict[str, str]) -> tuple:
    owners = {id(net.blocks[n]): r for n, r in relative.items()}
    fields = tuple((f.name, getattr(block, f.name)) for f in dataclasses.fields(block) if f.name != "tie")
    ties = tuple((k, owners.get(id(t.block), id(t.block)), t.parameter, t.transposed) for k, t in block.ties.items())
    return (type(block), fields, ties)


def _is_copy(arch: Architecture, net: _Wires, windows: list[_Window | None], keep: int) -> bool:
    """Whether the last window repeats enough windows before it and nothing is lost without it."""
    first, second = windows[-2:]
    if first is None or second is None or not _follows(arch, first, second):
        return False
    shared = _shared(net, first, second)
    rest = [b for n, b in net.blocks.items() if n not in second.nodes.values()]
    outside = {id(b) for b in rest} | {id(t.block) for b in rest for t in b.ties.values()}
    if {id(net.blocks[n]) for r, n in second.nodes.items() if r not in shared} & outside:
        return False
    needed = max(keep, 2 if shared else 1) + 1
    chain = windows[-needed:]
    if len(chain) < needed:
        return False
    return all(
        a is not None and b is not None and _follows(arch, a, b) and _shared(net, a, b) == shared
        for a, b in itertools.pairwise(chain)
    )


def _follows(arch: Architecture, first: _Window, second: _Window) -> bool:
    """Whether a window is a copy that reads the other."""
    same = first.key == second.key and arch.signals[first.exit] == arch.signals[second.exit]
    return same and second.entry == first.exit


def _shared(net: _Wires, first: _Window, second: _Window) -> set[str]:
    """Relative names of blocks that both windows use."""
    return {r for r, n in first.nodes.items() if net.blocks[n] is net.blocks[second.nodes[r]]}


def _remove(net: _Wires, first: _Window, second: _Window) -> None:
    for name in second.nodes.values():
        del net.blocks[name], net.reads[name]
    for name, ports in net.reads.items():
        net.reads[name] = [first.exit if p == second.exit else p for p in ports]
