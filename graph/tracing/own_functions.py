"""What several calls compute of one parameter alone, where no rule is known for one of them: a function of its own.

Spectral normalisation is such: `W / (u^T W v)` has the degree zero in `W`, which none of its calls shows by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch.fx import Node

from .program import Program
from .regions import Region, closed

REASON = "no rule is known for this function of one parameter"


def own_functions(program: Program, unknown: Collection[Node]) -> Iterator[Region]:
    """The regions of a program that are one function of one parameter: from the first call without a rule on.

    Args:
        program: the module as a flat graph.
        unknown: the calls without a rule.
    """
    if not unknown:
        return
    touched: dict[Node, Node] = {}  # such a call, or what is computed of one, with the parameter
    for node, parameter in _sole(program).items():
        if node in unknown or any(n in touched for n in node.all_input_nodes):
            touched[node] = parameter
    for parameter in dict.fromkeys(touched.values()):
        calls = closed(n for n, of in touched.items() if of is parameter)
        whole = len(calls) > 1 and all(touched.get(n) is parameter for n in calls)
        if whole and all(_is_real(n) for n in calls if any(u not in calls for u in n.users)):
            yield Region(calls, REASON, measured=True)


def _is_real(node: Node) -> bool:
    """Whether a call gives real numbers: of choices and counts no degree says anything."""
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _sole(program: Program) -> dict[Node, Node]:
    """The calls that one trained parameter reaches and nothing else that moves, each with that parameter."""
    moving = {i.node for i in program.inputs}
    sole: dict[Node, Node] = {}
    for node in program.graph.nodes:
        above = {sole.get(n, n) for n in node.all_input_nodes if n in sole or n in moving or n in program.parameters}
        if len(above) == 1 and moving.isdisjoint(above):
            sole[node] = above.pop()
        elif above:
            moving.add(node)
    return sole


__all__ = ["own_functions"]
