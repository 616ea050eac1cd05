"""Parameters of which overlapping parts are used: no two parts of an architecture may share a number.

Laws take parameters of different names for different ones.  Where a parameter is read whole in one place and in part in
another, or in two overlapping parts, it is cut into sectors at every edge of these parts, each a parameter of its own;
where its parts are no rectangles, or a sector is used in a way that no rule covers, the blocks that read it are opaque.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch

from lawful.blocks import Block, Opaque, Run, Signal
from lawful.theory.parts import base, read

from ..architecture.compile import Port
from .builder import Builder

LARGEST = 10**7  # entries of a parameter whose parts are looked at one by one
REASON = "a part of a parameter that it uses is used in another part elsewhere"


def sectors(
    builder: Builder, outputs: Sequence[Port], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, list[list[int]]]:
    """Where to cut parameters of which overlapping parts are read, so that each part is made of whole sectors.

    Args:
        builder: the blocks.
        outputs: ports that the network ends in.
        shapes: of all parameters of the module.

    Returns:
        For every such parameter, and each of its first two axes, the edges of its sectors; parameters of which a part
        is no rectangle are left out.
    """
    found: dict[str, list[list[int]]] = {}
    for whole in _overlapping(builder, outputs, shapes):
        shape = shapes[whole]
        names = {n for own in builder.names.values() for n in own.values() if base(n) == whole}
        edges = [{0, n} for n in shape[:2]]
        fits = 0 < len(shape) and math.prod(shape) <= LARGEST
        for name in names if fits else ():
            index = read(name, {whole: torch.arange(math.prod(shape)).reshape(shape)})
            inside = torch.zeros(math.prod(shape), dtype=torch.bool)
            inside[index.reshape(-1)] = True
            inside = inside.reshape(*shape[:2], -1) if len(shape) > 1 else inside.reshape(-1, 1)
            ends = [_ends(inside.flatten(1).any(1))]
            if len(shape) > 1:
                ends.append(_ends(inside.transpose(0, 1).flatten(1).any(1)))
            box = inside[(*(slice(a, b) for a, b in ends),)]
            fits &= bool(box.all()) and len({*index.reshape(-1).tolist()}) == int(inside.sum())
            for own, pair in zip(edges, ends, strict=True):
                own.update(pair)
        if fits:
            found[whole] = [sorted(own) for own in edges]
    return found


def _ends(places: torch.Tensor) -> tuple[int, int]:
    """The first place that is marked, and the one behind the last."""
    marked = places.nonzero()
    return int(marked[0]), int(marked[-1]) + 1


def make_opaque(builder: Builder, outputs: Sequence[Port], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Replaces the blocks that read overlapping parts of one parameter by opaque ones; gives their names.

    Args:
        builder: the blocks.
        outputs: ports that the network ends in; what they do not need does not count.
        shapes: of all parameters of the module.
    """
    bad = _overlapping(builder, outputs, shapes)
    alive = builder.alive(outputs)
    found = [n for n in alive if any(base(name) in bad for name in builder.names[n].values())]
    for node in found:
        builder.blocks[node] = _opaque(builder.blocks[node], [builder.signals[p] for p in builder.reads[node]])
    return found


def _overlapping(builder: Builder, outputs: Sequence[Port], shapes: Mapping[str, tuple[int, ...]]) -> set[str]:
    """The parameters of which overlapping parts are read."""
    alive = builder.alive(outputs)
    used: dict[str, set[str]] = {}
    for node in alive:
        for name in builder.names[node].values():
            used.setdefault(base(name), set()).add(name)
    known: dict[tuple[tuple[int, ...], tuple[str, ...]], bool] = {}
    bad = set()
    for whole, names in used.items():
        parts = tuple(sorted(n.removeprefix(whole) for n in names))
        if len(parts) > 1:
            at = (shapes[whole], parts)
            if at not in known:
                known[at] = overlap(shapes[whole], parts)
            if known[at]:
                bad.add(whole)
    return bad


def overlap(shape: tuple[int, ...], parts: Collection[str]) -> bool:
    """Whether some parts of a parameter share a number.

    Args:
        shape: of the parameter.
        parts: what follows its name: `[0:8]`, `.view(2,4)[:,0:1]`; empty for the whole of it.
    """
    taken = torch.zeros(shape, dtype=torch.bool, device="cpu")
    for part in parts:
        if not part:
            return len(parts) > 1
        mine = read(f"w{part}", {"w": taken})
        if bool(mine.any()):
            return True
        mine.fill_(True)
        if not bool(read(f"w{part}", {"w": taken}).any()):  # a view that had to copy: by the numbers of its elements
            index = torch.arange(taken.numel(), device="cpu").reshape(shape)
            taken.reshape(-1)[read(f"w{part}", {"w": index}).reshape(-1)] = True
    return False


def _opaque(block: Block, signals: Sequence[Signal]) -> Opaque:
    """An opaque block that computes what a block computes."""
    shapes = tuple((local, spec.shape) for local, spec in block.parameters.items())
    axis = signals[0].axis if signals else -1
    return Opaque(
        block.kind,
        len(signals),
        tuple(block.output(*signals)),
        shapes,
        lambda x, p: block.forward(p, x, Run(axis, training=False)),
        block.frozen,
    )
