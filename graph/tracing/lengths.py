"""What laws owe to the example: entries of parameters that nothing reads there, and numbers that were given."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from lawful.blocks import GRU, LSTM, RNN, Along, Discard, Table
from lawful.theory.arguments import plural
from lawful.theory.parts import base, is_part

from ..architecture.architecture import Architecture
from .program import Program

RUN = re.compile(r"^(.*)\[(\d+):(\d+)\]$")
MOST = 6  # parts that the note names
LOOKED = 100_000  # entries of a frozen parameter that are looked at


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


def of_numbers(program: Program) -> list[str]:
    """A note on the numbers of Python among the inputs: the graph holds what they were."""
    given = [f"{name} = {value!r}" for name, value in program.call.numbers]
    if not given:
        return []
    some = ", ".join(given[:MOST]) + (f" and {len(given) - MOST} more numbers" if len(given) > MOST else "")
    one = "a number" if len(given) == 1 else "numbers"
    verb = "is" if len(given) == 1 else "are"
    return [f"laws are those at {some}: {one} among the inputs {verb} part of the network"]


def left_over(arch: Architecture, sizes: Mapping[str, int]) -> list[str]:
    """A note on parameters of which only parts are read that do not add up to the whole.

    Args:
        arch: what a program was lowered to.
        sizes: number of entries of every parameter of the module.
    """
    read: dict[str, int] = {}
    for name, parameter in arch.parameters.items():
        if is_part(name) and not parameter.frozen:
            read[base(name)] = read.get(base(name), 0) + parameter.size
    return [
        f"{plural(sizes[name] - n, 'entry', 'entries')} of {name}: no part of it that is read has them; "
        "they never change, and are not listed as laws"
        for name, n in read.items()
        if n < sizes[name]
    ]


def one_step(arch: Architecture) -> list[str]:
    """A note on recurrent layers that run for one step from zeros: what would act on their state acts on nothing."""
    cells = {node: block for node in arch.nodes if isinstance(block := arch.block(node), (GRU, LSTM, RNN))}
    first = [n for n, cell in cells.items() if not cell.given and arch.signals[n, 0].space[-1:] == (1,)]
    later = {name for n in cells if n not in first for name in arch.parameter_names(n).values()}
    found = []
    for node in first:
        if later.isdisjoint(arch.parameter_names(node).values()):  # a cell in a loop goes on from other states
            what = "runs for one step from zeros, so that its recurrent weights never change"
            found.append(f"{node} {what}: these laws are not listed")
    return found


def special(arch: Architecture, module: torch.nn.Module) -> list[str]:
    """Notes on frozen numbers that are no generic ones: laws are derived, and counted, for any numbers in their place.

    Args:
        arch: what a program was lowered to.
        module: the module with its numbers.
    """
    frozen = {base(name) for name, parameter in arch.parameters.items() if parameter.frozen}
    own = [n for n, p in module.named_parameters() if n in frozen and _is_special(p)]
    what = "frozen, with zeros or equal numbers in it; laws that hold for such numbers only are not listed"
    notes = [f"{', '.join(own[:MOST])}{' and others' if len(own) > MOST else ''}: {what}"] if own else []
    fresh = [n for n, m in module.named_modules() if not m.training and _is_new(m)]
    if fresh:
        names = ", ".join(f"{n}.running_mean".lstrip(".") for n in fresh[:MOST]) + " and others" * (len(fresh) > MOST)
        what = "all zeros, as before any training; laws that hold for zeros only are not listed"
        notes.append(f"{names}: {what}")
    for name in arch.nodes:
        block = arch.block(name)
        if isinstance(block, Along) and block.gaps:
            what = (
                "does not read, or gives zeros at, some places: laws of parameters that meet only these are not listed"
            )
            notes.append(f"{name} {what}")
    return notes


def _is_new(norm: torch.nn.Module) -> bool:
    """Whether a module has running means, and these are 0."""
    mean = getattr(norm, "running_mean", None)
    return isinstance(mean, torch.Tensor) and not mean.is_meta and not bool(mean.any())


def _is_special(parameter: torch.Tensor) -> bool:
    """Whether one number stands in a parameter oftener than chance would put it there."""
    if parameter.is_meta or parameter.numel() < 2:
        return not parameter.is_meta and not bool(parameter.any())
    some = parameter.detach().flatten()[:LOOKED]
    return int(some.unique(return_counts=True)[1].max()) > max(1, some.numel() // 100)
