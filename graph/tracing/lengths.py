"""Positions that the example is too short to reach: what is said of them holds for its length only."""

from __future__ import annotations

import re

from lawful.blocks import Discard, Table

from ..architecture import Architecture
from .program import Program

RUN = re.compile(r"^(.*)\[(\d+):(\d+)\]$")
MOST = 6  # parts that the note names


def unreached(arch: Architecture, program: Program) -> list[str]:
    """A note on runs of tables of positions that nothing reads, where another run of the same table is read.

    A run counts as positions if its rows are read as a table, or are as many as an input has along some axis.

    Args:
        arch: what the program was lowered to.
        program: the program.
    """
    resting: dict[str, list[str]] = {}
    positions: set[str] = set()
    sizes = {int(n) for i in program.inputs for n in i.example.shape[1:]}
    for node in arch.nodes:
        block = arch.block(node)
        idle = isinstance(block, Table) and all(isinstance(arch.block(t), Discard) for t in arch.graph.successors(node))
        for name in arch.parameter_names(node).values():
            run = RUN.match(name)
            if run and idle:
                resting.setdefault(run[1], []).append(name)
            elif isinstance(block, Table) or (run and int(run[3]) - int(run[2]) in sizes):
                positions.add(run[1] if run else name)
    found = [part for whole, parts in resting.items() if whole in positions for part in parts]
    if not found:
        return []
    shapes = " and ".join(str(tuple(i.example.shape[1:])) for i in program.inputs)
    names = ", ".join(found[:MOST]) + (f" and {len(found) - MOST} more" if len(found) > MOST else "")
    return [f"{names}: not read at the example's shape {shapes}; that they never move holds for that shape only"]
