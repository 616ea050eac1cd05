"""Which values of a program a gradient comes back to: what only chooses, compares or counts is never felt."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch.fx import Graph, Node

from .purity import name_of

# operations that read a shape only, and what they fill it with (None: their last argument)
MAKERS = {"new_zeros": 0, "zeros_like": 0, "new_ones": 1, "ones_like": 1, "new_full": None, "full_like": None}
# what only switches where its arguments do, so that its derivative is zero
STEPS = frozenset(
    "gt ge lt le eq ne sign sgn round floor ceil trunc argmax argmin argsort isnan isinf isfinite logical_not "
    "logical_and logical_or heaviside signbit floor_divide".split()
)
STOPS = STEPS | {"detach", *MAKERS}


def unfelt(graph: Graph, outputs: Sequence[Node], detached: frozenset[Node]) -> frozenset[Node]:
    """The calls whose values nothing that feels a gradient reads: what they are made of may be cut off there.

    The groups of experts of a router that are compared by the sum of their two best scores are such values: only the
    numbers of the chosen experts depend on them.  A value that something reads which does feel one (a mask that is
    multiplied by, the numbers of chosen rows) is not among them: whoever reads it has to say what it makes of it.

    Args:
        graph: pure ATen calls.
        outputs: the calls whose values a loss reads.
        detached: calls that are computed without gradients.
    """
    felt: set[Node] = set()
    ends = set(outputs)
    inner: set[Node] = set()

    def feels(reader: Node) -> bool:
        return reader in felt and name_of(reader) not in STOPS and reader not in detached

    for node in reversed(graph.nodes):
        if node.op != "call_function":
            continue
        readers = [u for u in node.users if u.op == "call_function"]
        if node in ends or (
            any(map(feels, readers)) and any(t.is_floating_point() or t.is_complex() for t in _tensors(node))
        ):
            felt.add(node)
        if node not in ends and all(u in inner if u.target is operator.getitem else not feels(u) for u in readers):
            inner.add(node)
    return frozenset(inner)


def _tensors(node: Node) -> list[torch.Tensor]:
    example = node.meta.get("val")
    every = example if isinstance(example, (list, tuple)) else [example]
    return [t for t in every if isinstance(t, torch.Tensor)]
