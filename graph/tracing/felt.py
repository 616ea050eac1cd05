"""Which values of a program a gradient comes back to: what only chooses, compares or counts is never felt."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch.fx import Graph, Node

from .purity import name_of

# operations that read a shape only, and what they fill it with (None: their last argument); what is not filled at all
# may hold anything, zeros too
MAKERS = {
    **{"new_zeros": 0, "zeros_like": 0, "new_empty": 0, "empty_like": 0, "new_ones": 1, "ones_like": 1},
    **{"new_full": None, "full_like": None},
}
# what only switches where its arguments do, so that its derivative is zero
STEPS = frozenset(
    "gt ge lt le eq ne sign sgn round floor ceil trunc argmax argmin argsort isnan isinf isfinite logical_not "
    "logical_and logical_or heaviside signbit floor_divide".split()
)
STOPS = STEPS | set(MAKERS)


def unfelt(graph: Graph, outputs: Sequence[Node], detached: frozenset[Node]) -> frozenset[Node]:
    """The calls by which only choices are made: what they are made of may be cut off there.

    The groups of experts of a router that are compared by the sum of their two best scores are such values: only the
    numbers of the chosen experts depend on them.  A value that something reads which does feel a gradient (a mask that
    is multiplied by, the numbers of chosen rows) is not among them, and neither are numbers that are detached: whoever
    reads those has to say what it makes of them.

    Args:
        graph: pure ATen calls.
        outputs: the calls whose values a loss reads.
        detached: calls that are computed without gradients; they pass their numbers on.
    """
    passing: set[Node] = set(outputs)  # what reaches an output as a number, not by a choice alone
    inner: set[Node] = set()
    for node in reversed(graph.nodes):
        if node.op != "call_function":
            continue
        readers = [u for u in node.users if u.op == "call_function"]
        passed = any(u in passing and name_of(u) not in STOPS for u in readers)
        if passed and any(t.is_floating_point() or t.is_complex() for t in _tensors(node)):
            passing.add(node)
        alone = all(u in inner if u.target is operator.getitem else _stops(u) or u not in passing for u in readers)
        if node not in passing and node not in detached and alone:
            inner.add(node)
    return frozenset(inner)


def _stops(node: Node) -> bool:
    return name_of(node) in STOPS


def _tensors(node: Node) -> list[torch.Tensor]:
    example = node.meta.get("val")
    every = example if isinstance(example, (list, tuple)) else [example]
    return [t for t in every if isinstance(t, torch.Tensor)]
