"""Repeated parts of a network, found and cut: consecutive copies of one group of nodes, and experts side by side."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lawful.blocks import Block, Mixture

from ..block_graph import BlockGraph, Edge, G
from ..compile import Port

UNSEEN = ("tie", "probability")  # ties are compared by themselves; no law depends on how often something is dropped


@dataclass
class _Wires:
    """A network that can be cut: blocks and what every node reads; `"output"` is one more reader."""

    blocks: dict[str, Block]
    reads: dict[str, list[Port]]

    @classmethod
    def of(cls, arch: BlockGraph) -> _Wires:
        """Those of an architecture."""
        return cls({n: arch.block(n) for n in arch.nodes}, {n: arch.sources(n) for n in (*arch.nodes, "output")})

    def built(self, arch: G) -> G:
        """What is left of an architecture."""
        if len(self.blocks) == len(arch.nodes):
            return arch
        edges: list[Edge] = [(u, out, v, i) for v in self.blocks for i, (u, out) in enumerate(self.reads[v])]
        order = [n for n in arch.graph.nodes if n in self.blocks]
        return arch.from_parts({n: self.blocks[n] for n in order}, edges, self.reads["output"], arch.inputs)


@dataclass(frozen=True)
class _Window:
    """A few consecutive children of one prefix, seen from outside.

    Attributes:
        nodes: relative name -> node.
        entries: the ports outside that it reads: what the window before it writes, and ports that all copies read (what
            an encoder gives to every layer of a decoder).
        exit: the one port that is read outside.
    """

    nodes: dict[str, str]
    entries: frozenset[Port]
    exit: Port


def cut_repeats(arch: G, keep: int = 1) -> G:
    """The same architecture with `keep` copies of every chain of equal groups of nodes.

    Groups are the children `prefix.0`, `prefix.1`, ... of a name; a period of several children (convolution, ReLU) is
    found too.  Copies that share parameters are cut to no less than two, since sharing is what they are about.
    """
    net = _Wires.of(arch)
    done: set[str] = set()
    while pending := [p for p in _prefixes(net) if p not in done]:
        _cut_children(arch, net, pending[0], keep)
        done.add(pending[0])
    return net.built(arch)


def _prefixes(net: _Wires) -> list[str]:
    """Names that have numbered children, outermost first."""
    found = {}
    for name in net.blocks:
        parts = name.split(".")
        for i, part in enumerate(parts):
            if part.isdigit():
                found[".".join(parts[:i])] = i
    return sorted(found, key=found.__getitem__)


def _cut_children(arch: BlockGraph, net: _Wires, prefix: str, keep: int) -> None:
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
    """A window, None if more than one wire leaves it."""
    relative = {n: ".".join([str(i), *n.split(".")[depth + 1 :]]) for i, names in enumerate(children) for n in names}
    entries = {p for n in relative for p in net.reads[n] if p[0] not in relative}
    exits = {p for n, ports in net.reads.items() if n not in relative for p in ports if p[0] in relative}
    if len(exits) != 1:
        return None
    return _Window({r: n for n, r in relative.items()}, frozenset(entries), exits.pop())


def _key(net: _Wires, window: _Window, entry: Port | None = None) -> frozenset:
    """What must agree in two copies: blocks and wires by relative name, and what is read outside but for `entry`."""
    relative = {n: r for r, n in window.nodes.items()}

    def read(port: Port) -> tuple:
        if port[0] in relative:
            return (relative[port[0]], port[1])
        return ("entry",) if port == entry else ("outside", *port)

    key = {(r, tuple(map(read, net.reads[n])), _block_key(net, net.blocks[n], relative)) for n, r in relative.items()}
    return frozenset(key | {("exit", read(window.exit), None)})


def _block_key(net: _Wires, block: Block, relative: dict[str, str]) -> tuple:
    owners = {id(net.blocks[n]): r for n, r in relative.items()}
    fields = tuple((f.name, getattr(block, f.name)) for f in dataclasses.fields(block) if f.name not in UNSEEN)
    ties = tuple((k, owners.get(id(t.block), id(t.block)), t.parameter, t.transposed) for k, t in block.ties.items())
    return (type(block), fields, ties)


def _is_copy(arch: BlockGraph, net: _Wires, windows: list[_Window | None], keep: int) -> bool:
    """Whether the last window repeats enough windows before it and nothing is lost without it."""
    first, second = windows[-2:]
    if first is None or second is None or not _follows(arch, net, first, second):
        return False
    shared = _shared(net, first, second)
    rest = [b for n, b in net.blocks.items() if n not in second.nodes.values()]
    outside = {id(b) for b in rest} | {id(t.block) for b in rest for t in b.ties.values()}
    own = (net.blocks[n] for r, n in second.nodes.items() if r not in shared)
    if {id(b) for b in own if b.parameters} & outside:
        return False
    needed = max(keep, 2 if shared else 1) + 1
    chain = windows[-needed:]
    if len(chain) < needed:
        return False
    return all(
        a is not None and b is not None and _follows(arch, net, a, b) and _shared(net, a, b) == shared
        for a, b in itertools.pairwise(chain)
    )


def _follows(arch: BlockGraph, net: _Wires, first: _Window, second: _Window) -> bool:
    """Whether a window is a copy that reads the other; all else that the two read is the same."""
    own, others = first.entries - second.entries, second.entries - {first.exit}
    if first.exit not in second.entries or len(own) != 1 or first.entries - own != others:
        return False
    (entry,) = own
    same = _key(net, first, entry) == _key(net, second, first.exit)
    return same and arch.signals[first.exit] == arch.signals[second.exit]


def _shared(net: _Wires, first: _Window, second: _Window) -> set[str]:
    """Relative names of blocks with parameters that both windows use."""
    both = ((r, net.blocks[n], net.blocks[second.nodes[r]]) for r, n in first.nodes.items())
    return {r for r, a, b in both if a is b and a.parameters}


def _remove(net: _Wires, first: _Window, second: _Window) -> None:
    for name in second.nodes.values():
        del net.blocks[name], net.reads[name]
    for name, ports in net.reads.items():
        net.reads[name] = [first.exit if p == second.exit else p for p in ports]


def cut_experts(arch: G) -> G:
    """The same architecture with as few equal experts in every mixture as its router can tell apart."""
    net = _Wires.of(arch)
    for name in arch.nodes:
        if isinstance(net.blocks[name], Mixture):
            _cut_mixture(arch, net, name)
    return net.built(arch)


def _cut_mixture(arch: BlockGraph, net: _Wires, name: str) -> None:
    readers: dict[str, set[str]] = {}
    for node, ports in net.reads.items():
        for u, _ in ports:
            readers.setdefault(u, set()).add(node)
    # the blocks between the weights of the experts and the map that writes one logit for each
    path: list[str] = []
    while not path or not net.blocks[path[-1]].chooses_width:
        node = net.reads[path[-1] if path else name][0][0]
        if node == "input" or net.blocks[node].inputs != 1:
            return
        path.append(node)
    uses = Counter(id(b) for block in net.blocks.values() for b in (block, *(t.block for t in block.ties.values())))

    def shared(nodes: Iterable[str]) -> bool:
        return any(net.blocks[n].parameters and uses[id(net.blocks[n])] > 1 for n in nodes)

    if shared(path) or any(len(readers[n]) > 1 for n in path):
        return
    least = max(2, *(net.blocks[n].shrunk().width_minimum(-1) for n in path))
    first, *kept = net.reads[name]
    keys = [_key(net, _private(net, readers, name, p)) for p in kept]
    for i in reversed(range(len(kept))):
        own = _private(net, readers, name, kept[i]).nodes.values()
        if len(kept) > least and own and not shared(own) and keys.count(keys[i]) > 1:
            for node in own:
                del net.blocks[node], net.reads[node]
            del kept[i], keys[i]
    net.reads[name] = [first, *kept]
    for node in path:
        (port,) = net.reads[node]
        signal = arch.signals[port].with_features(len(kept)) if port[0] in path else arch.signals[port]
        net.blocks[node] = net.blocks[node].shrunk().resize([signal], len(kept))


def _private(net: _Wires, readers: dict[str, set[str]], name: str, port: Port) -> _Window:
    """All nodes that only lead to one port of a node."""
    found: list[str] = []
    pending = [port[0]]
    while pending:
        node = pending.pop()
        alone = readers.get(node, set()) <= {name, *found} and [p[0] for p in net.reads[name]].count(node) < 2
        if node in net.blocks and node not in found and alone:
            found.append(node)
            pending += [u for u, _ in reversed(net.reads[node])]
    entries = {p for n in found for p in net.reads[n] if p[0] not in found}
    return _Window({str(i): n for i, n in enumerate(found)}, frozenset(entries), port)
