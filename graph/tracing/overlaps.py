"""Parameters of which overlapping parts are used: no two parts of an architecture may share a number.

Laws take parameters of different names for different ones.  Where a parameter is read whole in one place and in part in
another, or in two overlapping parts, the blocks that read it become opaque.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from lawful.blocks import Block, Opaque, Run, Signal
from lawful.theory.laws.parts import base, read

from ..architecture.compile import Port
from .builder import Builder

REASON = "a part of a parameter that it uses is used in another part elsewhere"


def make_opaque(builder: Builder, outputs: Sequence[Port], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Replaces the blocks that read overlapping parts of one parameter by opaque ones; gives their names.

    Args:
        builder: the blocks.
        outputs: ports that the network ends in; what they do not need does not count.
        shapes: of all parameters of the module.
    """
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
    found = [n for n in alive if any(base(name) in bad for name in builder.names[n].values())]
    for node in found:
        builder.blocks[node] = _opaque(builder.blocks[node], [builder.signals[p] for p in builder.reads[node]])
    return found


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
        getattr(block, "frozen", ()),
    )
