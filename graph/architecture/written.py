"""An architecture as an expression of Python that makes it again, and what two equal ones have in common."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from lawful.blocks import Block, Tie

from .block_graph import BlockGraph
from .shapes import ENDS


def written(arch: BlockGraph) -> str:
    """Python for an architecture, to be run after `from lawful import Architecture` and `from lawful.blocks import *`.

    Only blocks that are plain data can be written; others are shown as they print themselves.
    """
    blocks = {n: arch.block(n) for n in arch.graph.nodes if n not in ENDS}
    uses: dict[int, int] = {}
    for block in blocks.values():
        for each in (block, *(t.block for t in block.ties.values())):
            uses[id(each)] = uses.get(id(each), 0) + 1
    names: dict[int, str] = {}
    before: list[str] = []

    def of(block: Block) -> str:
        if id(block) in names:
            return names[id(block)]
        text = _block(block, of)
        if uses.get(id(block), 0) > 1:
            names[id(block)] = f"shared_{len(names)}"
            before.append(f"{names[id(block)]} := {text}")
            return names[id(block)]
        return text

    nodes = ", ".join(f"{n!r}: {of(b)}" for n, b in blocks.items())
    parts = [f"{{{nodes}}}", repr(arch.edges()), repr(arch.sources("output")), repr(list(arch.inputs))]
    if arch.given_names is not None:
        parts.append(f"names={arch.given_names!r}")
    text = f"Architecture.from_parts({', '.join(parts)})"
    return text if not before else f"({', '.join(f'({b})' for b in before)}, {text})[-1]"


def _block(block: Block, of: Any) -> str:
    fields: list[str] = []
    for i, f in enumerate(dataclasses.fields(block)):
        value = getattr(block, f.name)
        if f.default is not dataclasses.MISSING and (value is f.default or value == f.default):
            continue
        text = _value(value, of)
        fields.append(text if i == len(fields) and not f.kw_only else f"{f.name}={text}")
    return f"{block.kind}({', '.join(fields)})"


def _value(value: Any, of: Any) -> str:
    if isinstance(value, Tie):
        return f"Tie({of(value.block)}, {value.parameter!r}, {value.transposed!r})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value)


def identity(arch: BlockGraph) -> tuple[Any, ...]:
    """What makes two architectures the same: nodes with their blocks, wires, inputs, names of parameters."""
    names = [n for n in arch.graph.nodes if n not in ENDS]
    first: dict[int, str] = {}
    for n in names:
        first.setdefault(id(arch.block(n)), n)
    blocks = tuple((n, *_alike(arch.block(n), first), first[id(arch.block(n))]) for n in names)
    parameters = tuple((n, tuple(arch.parameter_names(n).items())) for n in names)
    return (blocks, tuple(sorted(arch.edges())), tuple(arch.sources("output")), arch.inputs, parameters)


def _alike(block: Block, first: dict[int, str]) -> tuple[Any, ...]:
    ties = tuple((k, first.get(id(t.block)), t.parameter, t.transposed) for k, t in block.ties.items())
    fields = ((f.name, getattr(block, f.name)) for f in dataclasses.fields(block) if f.name != "tie")
    return type(block), tuple(fields), ties
