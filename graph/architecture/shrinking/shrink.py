"""A small copy of an architecture: one of each repeated part, few positions, small windows, narrow wires."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx

from lawful.blocks import Block, ShapeError, Signal
from lawful.blocks.answers import outputs_of

from ..batches import runs
from ..block_graph import BlockGraph, G
from ..compile import Port
from ..diagrams import diagram
from .depth import cut_experts, cut_repeats
from .likeness import Comparison, Key, comparisons, differing
from .untraced import untraced
from .widths import Widths

CHEAP = 150  # trainable scalars of a copy that keeps more than it must
TRIES = 6  # numbers of positions that are tried for a copy that keeps what it must
LARGEST = 1000  # trainable scalars of a copy that is counted in a minute
RUNNABLE = 10_000_000  # parameters of a copy that is run once
TOKENS = 4
SIDES = (*range(3, 13), 14, 16, 20, 24, 28, 32, 48, 64)


def shrink(arch: G, extra: int = 0) -> G:
    """The same architecture with tiny axes and few repeated blocks, small enough for the oracle.

    Repeated groups of nodes are cut to one (two if they share parameters or one token is selected at the end), equal
    experts to as many as their router can tell apart, token axes to 4, images to the least side that leaves two
    positions wherever there were several, kernels to at most 3, strides to 1, attention to two key heads with at most
    two query heads each, and every width to the least that keeps norms, classes and heads meaningful.
    What cannot be narrowed keeps its size.  Widths stand to one another, and to the numbers of vectors on their wires,
    as those of the network do wherever a number of laws may depend on it and `LARGEST` trainable scalars allow it; the
    copy runs.

    Args:
        arch: the architecture, composed or read from a file.
        extra: how much wider than needed every wire is at least.

    Returns:
        A smaller architecture, or the same one if nothing can be cut.

    Raises:
        ShapeError: for a traced architecture whose blocks have sizes of its module built in.
    """
    arch = arch if arch.trace is None else untraced(arch)
    # Where one token is selected, what writes the others before the last layer is seen through norms alone: a single
    # layer has laws of its first map that a deep network does not have.
    selects = any(arch.block(n).selects for n in arch.nodes)
    short = cut_repeats(cut_experts(arch), keep=2 if selects else 1)
    large = comparisons(arch)
    first: G | None = None
    tries = 0
    for change in (_small_blocks(short), _same_blocks(short)):
        for side in SIDES:
            try:
                few = _fewer_positions(short, change, side)
                widths = Widths(short, few.blocks, few.signals)
                wanted = {p: widths[p] + extra for p in few.signals if extra}
                small = _assemble(short, few, Widths(short, few.blocks, few.signals, wanted).__getitem__)
            except ShapeError:
                continue
            ordered = _ordered(large, short, few, small, wanted)
            if ordered is not None:
                return ordered
            first, tries = first or small, tries + 1
            if tries == TRIES:
                return first
    return first or _with_its_widths(short)


def _ordered(large: Mapping[Key, Comparison], short: G, few: _Draft, small: G, wanted: Mapping[Port, int]) -> G | None:
    """A copy widened until its widths stand as those of the network do, None if that takes too many parameters.

    All comparisons are kept if that is cheap, else those that a number of laws may depend on.
    """
    matters = {key: c for key, c in large.items() if c.matters}
    for kept, most in ((large, CHEAP), (matters, LARGEST)):
        found = _widened(kept, short, few, small, dict(wanted), most)
        if found is not None:
            return found
    return None


def _widened(
    large: Mapping[Key, Comparison],
    short: G,
    few: _Draft,
    small: G,
    wanted: dict[Port, int],
    most: int,
) -> G | None:
    while differ := differing(large, comparisons(small)):
        before = dict(wanted)
        for network, copied in differ:
            _ask(short, small, network, copied, wanted)
        if wanted == before:
            return None
        try:
            small = _assemble(short, few, Widths(short, few.blocks, few.signals, wanted).__getitem__)
        except ShapeError:
            return None
        if trainable_scalars(small) > most:
            return None
    return small


def _with_its_widths(short: G) -> G:
    """A network with few positions that keeps its widths, or all of it, where that is not possible."""
    for change in (_small_blocks(short), _same_blocks(short)):
        for side in SIDES:
            try:
                few = _fewer_positions(short, change, side)
                return _assemble(short, few, lambda port, found=few: found.signals[port].features)  # type: ignore[misc]
            except ShapeError:
                continue
    return short


def _ask(short: BlockGraph, small: BlockGraph, large: Comparison, copied: Comparison, wanted: dict[Port, int]) -> None:
    """Asks for a wider wire, or for a wider one on the other side of what writes and reads it."""
    lack = large.margin - copied.margin
    ports = copied.ports[:1] if lack > 0 else _across(small, copied.ports)
    able = [p for p in ports if small.signals[p].features < short.signals[p].features]
    if able:
        port = min(able, key=lambda p: small.signals[p].features)
        wanted[port] = max(wanted.get(port, 0), small.signals[port].features + (lack if lack > 0 else 1))


def _across(arch: BlockGraph, ports: Sequence[Port]) -> list[Port]:
    """Wires on the other side of the matrices that write or read some wires."""
    drawn, order = diagram(arch, "mse"), list(arch.signals)
    mine = {i for i, p in enumerate(order) if p in ports}
    found: dict[Port, None] = {}
    for site in drawn.sites:
        for use in site.rule.uses(site):
            wires = [{w for w, _ in terms} for terms in use.axes]
            if any(w & mine for w in wires):
                found |= {order[w]: None for side in wires if not side & mine for w in side if w < len(order)}
    return list(found)


def trainable_scalars(arch: BlockGraph) -> int:
    """Number of scalars that training moves."""
    return sum(p.size for p in arch.parameters.values() if not p.frozen)


@dataclass
class _Draft:
    """Blocks and signals after a pass."""

    blocks: dict[str, Block] = field(default_factory=dict)
    signals: dict[Port, Signal] = field(default_factory=dict)


def _small_blocks(arch: BlockGraph) -> dict[str, Block]:
    """Every block with fewer heads and smaller windows; what turns or norms heads has those of the attention."""
    blocks = {n: arch.block(n).shrunk() for n in arch.nodes}
    for name in arch.nodes:
        if _is_core(blocks[name]):
            for port, heads in enumerate(blocks[name].port_heads):
                for source in _up_to_its_map(arch, arch.sources(name)[port][0]):
                    if blocks[source].port_heads:
                        blocks[source] = blocks[source].with_heads((heads,))
    return _once(arch, blocks)


def _up_to_its_map(arch: BlockGraph, node: str) -> Iterator[str]:
    """The nodes from one back to the map, or the attention, that writes what it reads."""
    while node != "input" and not arch.block(node).chooses_width and arch.sources(node):
        if _is_core(arch.block(node)):
            return
        yield node
        node = arch.sources(node)[0][0]


def _is_core(block: Block) -> bool:
    """Whether several of its ports are cut into heads, as those of attention are."""
    return len(block.port_heads) > 1


def _same_blocks(arch: BlockGraph) -> dict[str, Block]:
    return {n: arch.block(n) for n in arch.nodes}


def _once(arch: BlockGraph, blocks: Mapping[str, Block]) -> dict[str, Block]:
    """A block that appears twice stays one block."""
    first: dict[int, Block] = {}
    return {n: first.setdefault(id(arch.block(n)), b) for n, b in blocks.items()}


def _fewer_positions(arch: BlockGraph, blocks: Mapping[str, Block], side: int) -> _Draft:
    """All signals with fewer positions and their old widths.

    Raises:
        ShapeError: if some axis would vanish.
    """
    inputs = [dataclasses.replace(s, space=tuple(_length(s, n, side) for n in s.space)) for s in arch.inputs]
    pairs = zip(arch.inputs, inputs, strict=True)
    lengths = {n: m for old, new in pairs for n, m in zip(old.space, new.space, strict=True)}

    draft = _Draft(signals={("input", i): s for i, s in enumerate(inputs)})

    def adapt(name: str, block: Block, signals: list[Signal]) -> Block:
        if block.chooses_length:
            long = math.prod(arch.signals[name, 0].space)
            short = lengths.get(long, min(long, TOKENS)) if long > 1 else 1
            return block.with_length(_wanted_rows(arch, blocks, draft, name) or short)
        block = block.at_fewer(_read(arch, arch.signals, name), signals)
        block = block.with_heads(arch.block(name).port_heads)  # fewer heads need other widths, which come later
        return block.resize_ports(signals, [arch.signals[name, i].features for i in range(block.outputs)])

    for name in _tables_last(arch):
        block = blocks[name]
        _run(arch, draft, name, block, adapt)
        for i in range(block.outputs):
            old, new = arch.signals[name, i], draft.signals[name, i]
            _check_positions(name, old, new)
            if len(new.space) == 1 and not block.chooses_length:
                lengths.setdefault(old.space[0], new.space[0])
        if not block.chooses_length:
            draft.blocks[name] = block.at_fewer(_read(arch, arch.signals, name), _read(arch, draft.signals, name))
    return draft


def _read(arch: BlockGraph, signals: Mapping[Port, Signal], name: str) -> list[Signal]:
    """What the ports of a node read, up to the first that nothing is known of."""
    return [signals[p] for p in itertools.takewhile(signals.__contains__, arch.sources(name))]


def _wanted_rows(arch: BlockGraph, blocks: Mapping[str, Block], draft: _Draft, name: str) -> int:
    """The rows that a reader of a table asks for (attention, of its relative biases), 0 if none does."""
    for _, reader, wire in arch.graph.out_edges(name, data=True):
        if reader in blocks:
            old, new = (_read(arch, signals, reader) for signals in (arch.signals, draft.signals))
            rows = blocks[reader].wanted_positions(wire["target"], old, new) if len(new) >= wire["target"] else 0
            if rows:
                return rows
    return 0


def _length(signal: Signal, n: int, side: int) -> int:
    """New length of a position axis of the input."""
    images = signal.channels_first or len(signal.space) > 1
    return min(n, side) if images else min(n, max(side, TOKENS))


def _check_positions(name: str, old: Signal, new: Signal) -> None:
    least = 3 if len(old.space) == 1 and not old.channels_first else 2
    for n, m in zip(old.space, new.space, strict=True):
        if m < min(n, least):
            raise ShapeError(f"{name} has {m} positions left of {n}")


def _tables_last(arch: BlockGraph) -> list[str]:
    """Topological order in which tables come as late as they can: their length is that of the stream they join."""
    graph = arch.graph.subgraph(arch.nodes)
    rank = {n: (arch.block(n).chooses_length, i) for i, n in enumerate(arch.nodes)}
    return list(nx.lexicographical_topological_sort(graph, key=rank.__getitem__))


def _run(
    arch: BlockGraph, draft: _Draft, name: str, block: Block, adapt: Callable[[str, Block, list[Signal]], Block]
) -> None:
    signals = [draft.signals[p] for p in arch.sources(name)]
    draft.blocks[name] = adapt(name, block, signals)
    for i, s in enumerate(outputs_of(draft.blocks[name], signals)):
        draft.signals[name, i] = s


def _assemble(arch: G, few: _Draft, width: Callable[[Port], int]) -> G:
    """Resizes every block to the chosen widths, ties included."""
    draft = _Draft()
    for i, s in enumerate(arch.inputs):
        new = few.signals["input", i]
        draft.signals["input", i] = dataclasses.replace(new, features=width(("input", i)), tokens=s.tokens)

    def adapt(name: str, block: Block, signals: list[Signal]) -> Block:
        block = block.at_fewer(_read(arch, arch.signals, name), signals)
        return block.resize_ports(signals, [width((name, i)) for i in range(block.outputs)])

    for name in arch.nodes:
        _run(arch, draft, name, few.blocks[name], adapt)
    blocks = _once(arch, draft.blocks)
    renewed = {id(arch.block(n)): b for n, b in blocks.items()}
    for n, b in blocks.items():
        for tie in b.ties.values():
            # A block is written again because its tie still names the wide owner.
            tied = dataclasses.replace(tie, block=renewed[id(tie.block)])
            renewed[id(arch.block(n))] = dataclasses.replace(b, tie=tied)  # type: ignore[call-arg]
    blocks = {n: renewed[id(arch.block(n))] for n in blocks}
    inputs = [draft.signals["input", i] for i in range(len(arch.inputs))]
    order = [n for n in arch.graph.nodes if n in blocks]
    small = arch.from_parts({n: blocks[n] for n in order}, arch.edges(), arch.sources("output"), inputs)
    if sum(p.size for p in small.parameters.values()) <= RUNNABLE and not runs(small):
        raise ShapeError("a copy with so few positions and features does not run")
    return small
