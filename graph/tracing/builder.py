"""Collects the blocks of a traced network and makes the architecture of them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import torch

from lawful.blocks import Block, Discard, ShapeError, Signal, Table
from lawful.blocks.opaque import Opaque
from lawful.theory.parts import HALVES, base
from lawful.theory.parts import read as read_part

from ..architecture.architecture import Architecture
from ..architecture.block_graph import Edge
from ..architecture.compile import Port
from .layout import canonical
from .values import NotUnderstood, Stream

LARGEST = 10**8  # entries of a parameter whose parts are looked at one by one


class Builder:
    """Blocks, edges and the names of their parameters.

    Args:
        frozen: names of the parameters that training does not move.
    """

    def __init__(self, frozen: frozenset[str]) -> None:
        self.blocks: dict[str, Block] = {}
        self.reads: dict[str, list[Port]] = {}
        self.names: dict[str, dict[str, str]] = {}
        self.signals: dict[Port, Signal] = {}
        self.inputs: list[Signal] = []
        self.state: dict[str, torch.Tensor] = {}
        self._frozen = frozen
        self._taken: dict[str, int] = {}

    def add_input(self, signal: Signal, batch: int) -> Stream:
        """One more input of the network."""
        port = ("input", len(self.inputs))
        self.inputs.append(signal)
        self.signals[port] = signal
        return Stream(port, signal, canonical((batch, *signal.shape)))

    def turned_input(self, node: str, batch: int) -> Port:
        """An input of the network in the place of a node with one output, which is gone then."""
        port = self.add_input(self.signals[node, 0], batch).port
        del self.blocks[node], self.reads[node], self.names[node]
        for reads in self.reads.values():
            reads[:] = [port if p == (node, 0) else p for p in reads]
        return port

    def emit(
        self, name: str, block: Block, sources: Sequence[Port], parameters: Mapping[str, str], batch: int
    ) -> tuple[Stream, ...]:
        """Adds a block and gives the streams that it writes.

        Args:
            name: what the node is to be called; a number is added where the name is taken.
            block: the block.
            sources: the ports that it reads.
            parameters: the names of its parameters in the module by local name.
            batch: length of the batch axis of what it writes (1 for what has no examples).

        Raises:
            NotUnderstood: where the block cannot read these signals.
        """
        still = tuple(local for local, full in parameters.items() if base(full) in self._frozen)
        if still:
            block = dataclasses.replace(block, frozen=still)  # type: ignore[call-arg]
        try:
            signals = block.output(*(self.signals[p] for p in sources))
        except ShapeError as error:
            raise NotUnderstood(str(error)) from error
        node = self.fresh(name)
        self.blocks[node] = block
        self.reads[node] = list(sources)
        self.names[node] = dict(parameters)
        streams = []
        for i, s in enumerate(signals):
            self.signals[node, i] = s
            streams.append(Stream((node, i), s, canonical((batch, *s.shape))))
        return tuple(streams)

    def fresh(self, name: str) -> str:
        """A name that no node has."""
        name = name or "network"
        if name in ("input", "output") or name.startswith("output:"):
            name = f"{name}_"
        count = self._taken.get(name, 0)
        self._taken[name] = count + 1
        while count and f"{name}#{count + 1}" in self._taken:
            count += 1
        return f"{name}#{count + 1}" if count else name

    def alive(self, outputs: Sequence[Port]) -> set[str]:
        """The nodes that some ports need."""
        found: set[str] = set()
        stack = [p[0] for p in outputs]
        while stack:
            node = stack.pop()
            if node not in found and node != "input":
                found.add(node)
                stack += [p[0] for p in self.reads[node]]
        return found

    def architecture(self, outputs: Sequence[Port], parameters: Mapping[str, tuple[int, ...]]) -> Architecture:
        """The network that ends in some ports; what nothing reads is left out.

        Args:
            outputs: the ports.
            parameters: shapes of all parameters of the module; those that nothing reads become tables that nothing
                reads, so that the laws say that they never move.
        """
        alive = self.alive(outputs)
        read = {*outputs, *(p for n in alive for p in self.reads[n])}
        blocks = {n: b for n, b in self.blocks.items() if n in alive}
        edges: list[Edge] = [(*p, n, i) for n in blocks for i, p in enumerate(self.reads[n])]
        names = {n: self.names[n] for n in blocks}
        used = [i for i in range(len(self.inputs)) if ("input", i) in read]
        self.used_inputs = tuple(used)
        place = {i: k for k, i in enumerate(used)}
        edges = [("input", place[o], t, k) if s == "input" else (s, o, t, k) for s, o, t, k in edges]
        for n in list(blocks):
            for i in range(blocks[n].outputs):
                if (n, i) not in read:
                    end = self.fresh(f"{n}.unused")
                    blocks[end] = Discard()
                    names[end] = {}
                    edges.append((n, i, end, 0))
        for part, (rows, width) in self._resting(names, parameters).items():
            source, end = self.fresh(part), self.fresh(f"{part}.unused")
            blocks |= {source: Table(rows, width), end: Discard()}
            names |= {source: {"weight": part}, end: {}}
            edges.append((source, 0, end, 0))
        ends = [("input", place[i]) if n == "input" else (n, i) for n, i in outputs]
        return Architecture.from_parts(blocks, edges, ends, [self.inputs[i] for i in used], names)

    def _resting(
        self, names: Mapping[str, Mapping[str, str]], parameters: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[int, int]]:
        """Trained parameters, or runs of their rows, that nothing reads, with the shape of a table for each."""
        used: dict[str, set[str]] = {}
        for own in names.values():
            for name in own.values():
                used.setdefault(base(name), set()).add(name)
        out: dict[str, tuple[int, int]] = {}
        for name, shape in parameters.items():
            if name in self._frozen or not math.prod(shape):
                continue
            found = used.get(name, set())
            if not found:
                out[name] = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
            elif name not in found and shape and math.prod(shape) <= LARGEST:
                left = _unread(name, found, shape)
                matrix = left.reshape(*shape[:2], -1).all(-1) if len(shape) > 1 else left.reshape(-1, 1)
                for index, rows, columns in _rectangles(matrix):
                    out[f"{name}{index}"] = (rows, columns * math.prod(shape[2:]))
                if len(shape) > 2 and not matrix.any():
                    pairs = any(part in n for n in found for part in HALVES)
                    for k in range(shape[-1]):
                        if left[..., k].all():  # a tap of a kernel, or a part of complex numbers
                            index = HALVES[k] if pairs else f"[{':,' * (len(shape) - 1)}{k}:{k + 1}]"
                            out[f"{name}{index}"] = (shape[0], math.prod(shape[1:-1]))
        return out

    def opaque(self) -> list[str]:
        """The nodes that no rule covers."""
        return [n for n, b in self.blocks.items() if isinstance(b, Opaque)]


def _unread(name: str, parts: set[str], shape: tuple[int, ...]) -> torch.Tensor:
    """Which entries of a parameter are in none of its parts."""
    index = torch.arange(math.prod(shape), device="cpu").reshape(shape)
    taken = torch.zeros(math.prod(shape), dtype=torch.bool, device="cpu")
    for part in parts:
        taken[read_part(part, {name: index}).reshape(-1)] = True
    return ~taken.reshape(shape)


def _rectangles(unread: torch.Tensor) -> Iterator[tuple[str, int, int]]:
    """Marked entries of a matrix as runs of rows that are alike: the index of each, its rows and its columns."""
    rows, columns = unread.shape
    marks = unread.tolist()
    at = 0
    for pattern, group in itertools.groupby(marks):
        first, at = at, at + len(list(group))
        ends = [i for i in range(1, columns) if pattern[i] != pattern[i - 1]]
        for left, right in itertools.pairwise([0, *ends, columns]):
            if pattern[left]:
                run = f"[{first}:{at}" if (first, at) != (0, rows) or (left, right) == (0, columns) else "[:"
                yield f"{run}]" if (left, right) == (0, columns) else f"{run},{left}:{right}]", at - first, right - left
