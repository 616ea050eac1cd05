"""Random numbers that a forward draws, as inputs of the network: laws hold for whatever comes.

Only draws whose numbers depend on nothing are taken out of the graph (`randn_like`, not `bernoulli(p)`).  When the
module itself runs beside the rebuilt network, it is given the numbers that the rebuilt network reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.utils._python_dispatch import TorchDispatchMode

from .purity import name_of

Draw = Callable[[Sequence[int], torch.Generator], torch.Tensor]


def _normal(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64)


def _uniform(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    return 0.02 + 0.96 * torch.rand(tuple(shape), generator=generator, dtype=torch.float64)


def _exponential(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    return -torch.log(_uniform(shape, generator))


# What draws numbers that depend on the shape of its arguments only, and numbers that it may give.
DRAWS: dict[str, Draw] = {
    "randn": _normal,
    "randn_like": _normal,
    "rand": _uniform,
    "rand_like": _uniform,
    "exponential": _exponential,
}


def draw_of(node: Node) -> str:
    """The name of a draw of real numbers; empty for any other call."""
    name = name_of(node).removesuffix("_")
    value = node.meta.get("val")
    real = isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 0
    default = name != "exponential" or len(node.args) < 2 or node.args[1] == 1
    return name if name in DRAWS and real and default else ""


def as_placeholders(graph: Graph) -> dict[Node, str]:
    """Puts an input in the place of every draw; gives the inputs, in the order of the draws, with their names."""
    found: dict[Node, str] = {}
    calls = [(n, draw_of(n)) for n in graph.nodes if n.op == "call_function"]
    last = [n for n in graph.nodes if n.op == "placeholder"]
    for node, name in calls:
        if not name:
            continue
        where = graph.inserting_after([*last, *found][-1]) if last or found else graph.inserting_before(node)
        with where:
            given = graph.placeholder(f"noise_{node.name}")
        given.meta = {"val": node.meta["val"]}
        node.replace_all_uses_with(given)
        graph.erase_node(node)
        found[given] = name
    return found


class Fed(TorchDispatchMode):
    """Inside, draws give known numbers, one after the other.

    Args:
        numbers: of every draw, in order.
    """

    def __init__(self, numbers: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self._numbers = list(numbers)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if self._numbers and name.removesuffix("_") in DRAWS:
            given = self._numbers[0]
            if not name.endswith("_"):
                out = func(*args, **(kwargs or {}))
                if out.is_floating_point():
                    self._numbers.pop(0)
                    return given.to(out)
                return out
            if args[0].shape == given.shape:
                self._numbers.pop(0)
                return args[0].copy_(given)
        return func(*args, **(kwargs or {}))


__all__ = ["DRAWS", "Fed", "as_placeholders", "draw_of"]
