"""A small copy of an architecture: one of each repeated part, few positions, small windows, narrow wires."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import networkx as nx

from lawful.blocks import (
    Block,
    DotProductAttention,
    HeadAffine,
    HeadNormCore,
    Rotary,
    SelectToken,
    ShapeError,
    Signal,
    Split,
    Table,
)
from lawful.blocks.spectators import sides

from .architecture import Architecture
from .compile import Port
from .depth import cut_experts, cut_repeats
from .widths import Widths

TOKENS = 4
SIDES = (*range(3, 13), 14, 16, 20, 24, 28, 32, 48, 64)


def shrink(arch: Architecture) -> Architecture:
    """The same architecture with tiny axes and few repeated blocks, small enough for the oracle.

    Repeated groups of nodes are cut to one (two if they share parameters or one token is selected at the end), equal
    experts to as many as their router can tell apart, token axes to 4, images to the least side that leaves two
    positions wherever there were several, kernels to at most 3, strides to 1, attention to two key heads with at most
    two query heads each, and every width to the least that keeps norms, classes and heads meaningful.
    What cannot be narrowed keeps its size.

    Args:
        arch: the architecture, composed or read from a file.

    Returns:
        A smaller architecture, or the same one if nothing can be cut.

    Raises:
        ShapeError: for a traced architecture.
    """
    if arch.trace is not None:
        raise ShapeError(
            "a traced network has the sizes of its module built in and cannot be shrunk; trace a smaller instance of it"
        )
    # Where one token is selected, what writes the others before the last layer is seen through norms alone: a single
    # layer has laws of its first map that a deep network does not have.
    selects = any(isinstance(arch.block(n), SelectToken) for n in arch.nodes)
    short = cut_repeats(cut_experts(arch), keep=2 if selects else 1)
    for change in (_small_blocks(short), _same_blocks(short)):
        for side in SIDES:
            try:
                few = _fewer_positions(short, change, side)
            except ShapeError:
                continue
            for widths in (_narrow, _wide):
                try:
                    return _assemble(short, few, widths(short, few))
                except ShapeError:
                    continue
    return short


@dataclass
class _Draft:
    """Blocks and signals after a pass."""

    blocks: dict[str, Block] = field(default_factory=dict)
    signals: dict[Port, Signal] = field(default_factory=dict)


def _small_blocks(arch: Architecture) -> dict[str, Block]:
    """Every block with fewer heads and smaller windows; what turns or norms heads has those of the attention."""
    blocks = {n: arch.block(n).shrunk() for n in arch.nodes}
    for name in arch.nodes:
        block = blocks[name]
        if isinstance(block, DotProductAttention):
            for port, heads in enumerate((block.heads, block.kv_heads, block.kv_heads)):
                for source in _up_to_its_map(arch, arch.sources(name)[port][0]):
                    before = blocks[source]
                    if isinstance(before, (Rotary, HeadNormCore, HeadAffine)):
                        blocks[source] = dataclasses.replace(before, heads=heads)
    return _once(arch, blocks)


def _up_to_its_map(arch: Architecture, node: str) -> Iterator[str]:
    """The nodes from one back to the map, or the attention, that writes what it reads."""
    while node != "input" and not arch.block(node).chooses_width and arch.sources(node):
        if isinstance(arch.block(node), DotProductAttention):
            return
        yield node
        node = arch.sources(node)[0][0]


def _same_blocks(arch: Architecture) -> dict[str, Block]:
    return {n: arch.block(n) for n in arch.nodes}


def _once(arch: Architecture, blocks: Mapping[str, Block]) -> dict[str, Block]:
    """A block that appears twice stays one block."""
    first: dict[int, Block] = {}
    return {n: first.setdefault(id(arch.block(n)), b) for n, b in blocks.items()}


def _fewer_positions(arch: Architecture, blocks: Mapping[str, Block], side: int) -> _Draft:
    """All signals with fewer positions and their old widths.

    Raises:
        ShapeError: if some axis would vanish.
    """
    inputs = [dataclasses.replace(s, space=tuple(_length(s, n, side) for n in s.space)) for s in arch.inputs]
    pairs = zip(arch.inputs, inputs, strict=True)
    lengths = {n: m for old, new in pairs for n, m in zip(old.space, new.space, strict=True)}

    draft = _Draft(signals={("input", i): s for i, s in enumerate(inputs)})

    def adapt(name: str, block: Block, signals: list[Signal]) -> Block:
        if isinstance(block, Table):
            rows = _bias_rows(arch, blocks, draft, name)
            short = lengths.get(block.tokens, min(block.tokens, TOKENS)) if block.tokens > 1 else 1
            return dataclasses.replace(block, tokens=rows or short)
        old = arch.block(name)
        if isinstance(old, DotProductAttention) and isinstance(block, DotProductAttention):
            few = _few_biases(block, signals[0])
            return dataclasses.replace(old, rows=few.rows, distance=few.distance, window_shape=few.window_shape)
        if isinstance(block, (Split, Rotary, HeadAffine, HeadNormCore)):
            return old  # fewer heads need other widths, which come later
        return block.resize(signals, arch.signals[name, 0].features)

    for name in _tables_last(arch):
        block = blocks[name]
        _run(arch, draft, name, block, adapt)
        for i in range(block.outputs):
            old, new = arch.signals[name, i], draft.signals[name, i]
            _check_positions(name, old, new)
            if len(new.space) == 1 and not isinstance(block, Table):
                lengths.setdefault(old.space[0], new.space[0])
        if isinstance(block, DotProductAttention):
            block = _few_biases(block, draft.signals[arch.sources(name)[0]])
        if not isinstance(block, Table):
            draft.blocks[name] = block
    return draft


def _few_biases(block: DotProductAttention, queries: Signal) -> DotProductAttention:
    """Attention whose relative biases are those of so many positions."""
    if block.relative != "window":
        return block
    shape = block.window_shape
    few = sides(queries.space[-1], *shape) if len(shape) == 2 else (queries.space[-1],)
    return dataclasses.replace(block, window_shape=few)


def _bias_rows(arch: Architecture, blocks: Mapping[str, Block], draft: _Draft, name: str) -> int:
    """The rows of a table of relative biases, 0 for any other table."""
    for _, reader, wire in arch.graph.out_edges(name, data=True):
        block = blocks.get(reader)
        if isinstance(block, DotProductAttention) and wire["target"] == 3:
            return _few_biases(block, draft.signals[arch.sources(reader)[0]]).rows
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


def _tables_last(arch: Architecture) -> list[str]:
    """Topological order in which tables come as late as they can: their length is that of the stream they join."""
    graph = arch.graph.subgraph(arch.nodes)
    rank = {n: (isinstance(arch.block(n), Table), i) for i, n in enumerate(arch.nodes)}
    return list(nx.lexicographical_topological_sort(graph, key=rank.__getitem__))


def _run(
    arch: Architecture, draft: _Draft, name: str, block: Block, adapt: Callable[[str, Block, list[Signal]], Block]
) -> None:
    signals = [draft.signals[p] for p in arch.sources(name)]
    draft.blocks[name] = adapt(name, block, signals)
    for i, s in enumerate(draft.blocks[name].output(*signals)):
        draft.signals[name, i] = s


def _narrow(arch: Architecture, draft: _Draft) -> Callable[[Port], int]:
    """The least widths."""
    return Widths(arch, draft.blocks, draft.signals).__getitem__


def _wide(arch: Architecture, draft: _Draft) -> Callable[[Port], int]:
    """The widths as they are."""
    return lambda port: draft.signals[port].features


def _assemble(arch: Architecture, few: _Draft, width: Callable[[Port], int]) -> Architecture:
    """Resizes every block to the chosen widths, ties included."""
    draft = _Draft()
    for i, s in enumerate(arch.inputs):
        new = few.signals["input", i]
        draft.signals["input", i] = dataclasses.replace(new, features=width(("input", i)), tokens=s.tokens)

    def adapt(name: str, block: Block, signals: list[Signal]) -> Block:
        if isinstance(block, Split):
            return dataclasses.replace(block, widths=tuple(width((name, i)) for i in range(block.outputs)))
        return block.resize(signals, width((name, 0)))

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
    return Architecture.from_parts({n: blocks[n] for n in order}, arch.edges(), arch.sources("output"), inputs)
