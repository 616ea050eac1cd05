"""Random numbers that a forward draws, as inputs of the network: laws hold for whatever comes.

No gradient passes a draw, whatever it is drawn with (`bernoulli(p)`, `multinomial`): what it gives is as good as data.
When the module itself runs beside the rebuilt network, it is given the numbers that the rebuilt network reads.
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


def _coins(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    return torch.rand(tuple(shape), generator=generator, dtype=torch.float64).round()


def _counts(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    return _exponential(shape, generator).round()


# What draws real numbers, and numbers that it may give.
REAL: dict[str, Draw] = {
    "randn": _normal,
    "randn_like": _normal,
    "rand": _uniform,
    "rand_like": _uniform,
    "uniform": _uniform,
    "exponential": _exponential,
    "bernoulli": _coins,
    "normal": _normal,
    "normal_functional": _normal,
    "log_normal": _exponential,
    "cauchy": _normal,
    "geometric": _counts,
    "poisson": _counts,
}
WHOLE = frozenset({"randint", "randint_like", "randperm", "multinomial", "random"})


def draw_of(node: Node) -> str:
    """The name of a draw; empty for any other call."""
    name = _plain(name_of(node))
    return name if (name in REAL or name in WHOLE) and isinstance(node.meta.get("val"), torch.Tensor) else ""


def _plain(name: str) -> str:
    return name.removesuffix("_")


def as_placeholders(graph: Graph) -> dict[Node, str]:
    """Puts an input in the place of every draw; gives the inputs, in the order of the draws, with their names.

    What was drawn, where a run was recorded, and the range of whole numbers are in the metadata of the inputs.
    """
    found: dict[Node, str] = {}
    calls = [(n, draw_of(n)) for n in graph.nodes if n.op == "call_function"]
    last = [n for n in graph.nodes if n.op == "placeholder"]
    for node, name in calls:
        if not name:
            continue
        where = graph.inserting_after([*last, *found][-1]) if last or found else graph.inserting_before(node)
        with where:
            given = graph.placeholder(f"noise_{node.name}")
        given.meta = {"val": node.meta["val"], "drawn": node.meta.get("drawn"), "range": _range(node, name)}
        node.replace_all_uses_with(given)
        graph.erase_node(node)
        found[given] = name
    return found


def _range(node: Node, name: str) -> tuple[int, int]:
    """The whole numbers that a draw may give."""
    if name == "randperm":
        return 0, int(node.args[0])  # type: ignore[arg-type]
    if name == "multinomial":
        return 0, int(node.args[0].meta["val"].shape[-1])
    ends = [a for a in node.args if type(a) is int]
    return (0, *ends[:1])[-2:] if len(ends) == 1 else (ends[0], ends[1]) if len(ends) > 1 else (0, 2)  # type: ignore[return-value]


def drawn_example(node: Node, name: str, generator: torch.Generator) -> torch.Tensor:
    """What a draw gave when it was recorded, or what it may give."""
    if isinstance(kept := node.meta.get("drawn"), torch.Tensor):
        return kept
    value = node.meta["val"]
    shape = tuple(int(n) for n in value.shape)
    if name in REAL and value.is_floating_point():
        return REAL[name](shape, generator).to(value.dtype)
    low, high = node.meta["range"]
    if name == "randperm":
        return torch.randperm(high, generator=generator).to(value.dtype)
    return torch.randint(low, max(high, low + 1), shape, generator=generator).to(value.dtype)


def drawn_again(name: str, example: torch.Tensor, lead: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Other numbers of a draw, of another leading size; whole numbers are those of the example."""
    if example.is_floating_point():
        return REAL[name]((*lead, *example.shape[1:]), generator)
    return example if not lead else example[torch.arange(lead[0]) % example.shape[0]]


class Fed(TorchDispatchMode):
    """Inside, draws give known numbers, one after the other.

    Args:
        numbers: of every draw, in order; None where it is to draw by itself.
    """

    def __init__(self, numbers: Sequence[torch.Tensor | None]) -> None:
        super().__init__()
        self._numbers = list(numbers)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        out = func(*args, **(kwargs or {}))
        if not self._numbers or not (_plain(name) in REAL or _plain(name) in WHOLE):
            return out
        given = self._numbers.pop(0)
        if given is None or given.shape != out.shape:
            return out
        return out.copy_(given) if name.endswith("_") else given.to(out)


class Kept(TorchDispatchMode):
    """Inside, what draws give is kept, in order.

    Attributes:
        numbers: what they gave.
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _plain(func.overloadpacket.__name__)
        out = func(*args, **(kwargs or {}))
        if name in REAL or name in WHOLE:
            self.numbers.append(out.detach().clone())
        return out


__all__ = ["Fed", "Kept", "as_placeholders", "draw_of", "drawn_again", "drawn_example"]
