"""Which linear maps by complex matrices stay whole: those between which real and imaginary parts are never apart."""

from __future__ import annotations

import operator
import re
from collections.abc import Collection
from typing import Any

import torch
from torch.fx import Graph, Node

from .purity import name_of

# through which a parameter is still one, or a part of one
VIEWS = frozenset(
    "t transpose numpy_T mT permute slice narrow select alias view_as_complex chunk split split_with_sizes unbind view "
    "reshape _unsafe_view flatten unflatten squeeze unsqueeze".split()
)
FLAT = frozenset("view reshape _unsafe_view flatten clone contiguous".split())
EINSUM = re.compile(r"(\w*)(\w),(\w)(\w)->\1(\w)")


class ComplexMap:
    """A linear map by a matrix of complex numbers, on pairs: `y = x W^T + b`.

    Args:
        reads: whether x is complex, of shape `(..., features, 2)` and not `(..., features)`.
        writes: whether all of y is given, and not its real part alone.
    """

    def __init__(self, reads: bool, writes: bool) -> None:
        self.__name__ = "complex_linear"
        self.reads = reads
        self.writes = writes

    def __call__(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """The map; the weight has the shape `(width, features, 2)`, the bias `(width, 2)`."""
        w = torch.view_as_complex(weight.contiguous())
        y = (torch.view_as_complex(x.contiguous()) if self.reads else x.to(w.dtype)) @ w.transpose(0, 1)
        y = y if bias is None else y + torch.view_as_complex(bias.contiguous())
        return torch.view_as_real(y) if self.writes else y.real

    def __str__(self) -> str:
        return self.__name__


class PairPart:
    """The real (0) or the imaginary part (1) of a complex parameter, which is there as pairs."""

    def __init__(self, which: int) -> None:
        self.__name__ = "pair_part"
        self.which = which

    def __call__(self, pairs: torch.Tensor) -> torch.Tensor:
        """The part."""
        return pairs.select(-1, self.which)

    def __str__(self) -> str:
        return self.__name__


def as_map(node: Node) -> tuple[Any, Any, bool, Any]:
    """What a map reads, its weight, whether that has its inputs first, and its bias; no weight for any other call."""
    name, args = name_of(node), node.args
    if name == "linear":
        return args[0], args[1], False, args[2] if len(args) > 2 else None
    if name in ("matmul", "mm"):
        return args[0], args[1], True, None
    if name == "einsum" and isinstance(args[1], (list, tuple)) and len(args[1]) == 2:
        found = EINSUM.fullmatch(str(args[0]).replace(" ", ""))
        if found:
            _, inn, first, second, out = found.groups()
            if {first, second} == {inn, out} and inn != out and not {inn, out} & set(found[1]):
                return args[1][0], args[1][1], first == inn, None
    return None, None, False, None


def only_real(node: Node) -> bool:
    """Whether nothing but its real part is used."""
    return bool(node.users) and all(name_of(user) == "real" for user in node.users)


def complex_maps(graph: Graph, parameters: Collection[Node]) -> set[Node]:
    """The linear maps by complex parameters whose inputs and outputs are only read whole.

    Args:
        graph: pure calls.
        parameters: the placeholders of all parameters.
    """
    made: set[Node] = set(parameters)
    for node in graph.nodes:
        if any(n in made for n in node.all_input_nodes):
            made.add(node)
    maps = {n for n in graph.nodes if _is_candidate(n, parameters)}
    sums = {n for n in graph.nodes if name_of(n) in ("add", "sub") and _is_complex(n)}
    while True:
        whole = maps | sums
        bad = {n for n in maps if not _reads_whole(as_map(n)[0], whole, made)}
        bad |= {
            n
            for n in sums
            if not all(
                isinstance(a, Node) and (a in whole or a not in made or is_parameter(a, parameters)) for a in n.args[:2]
            )
        }
        bad |= {n for n in whole if not all(_is_whole_reader(user, n, whole) for user in n.users)}
        if not bad:
            return maps
        maps, sums = maps - bad, sums - bad


def _is_candidate(node: Node, parameters: Collection[Node]) -> bool:
    x, weight, *_ = as_map(node) if node.op == "call_function" else (None, None)
    return (
        isinstance(x, Node)
        and isinstance(weight, Node)
        and _is_complex(weight)
        and len(weight.meta["val"].shape) == 2 <= len(x.meta["val"].shape)
        and is_parameter(weight, parameters)
    )


def _reads_whole(x: Node, whole: Collection[Node], made: Collection[Node]) -> bool:
    """Whether a map reads pairs that are there, real numbers, or something that no parameter changes."""
    return x in whole or x not in made or not _is_complex(x)


def _is_whole_reader(user: Node, node: Node, whole: Collection[Node]) -> bool:
    """Whether a call reads both parts alike, or the real one where nothing reads another."""
    if user in whole:
        return node is not as_map(user)[1]  # and not its weight
    if name_of(user) == "view_as_real":
        return all(name_of(n) in FLAT and len(n.meta["val"].shape) < len(user.meta["val"].shape) for n in user.users)
    return name_of(user) == "abs" or only_real(node)


def is_parameter(node: Any, parameters: Collection[Node]) -> bool:
    """Whether something is a parameter that nothing but views has touched."""
    while isinstance(node, Node) and (node.target is operator.getitem or name_of(node) in VIEWS):
        node = node.args[0]
    return node in parameters


def _is_complex(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_complex()


__all__ = ["ComplexMap", "PairPart", "as_map", "complex_maps", "is_parameter", "only_real"]
