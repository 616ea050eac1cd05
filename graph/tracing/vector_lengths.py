"""What a call measures of a tensor: its length, whether it is written as a norm, a mean of squares or a deviation."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch.fx import Node

from .steps.patterns import plain

SPREAD = ("unsqueeze", "view", "reshape", "_unsafe_view")
NORMS = ("norm", "linalg_vector_norm")


@dataclass(frozen=True)
class Length:
    """`scale * sqrt(||x||^2 + under)`, `scale * max(||x||, floor)` or `scale * (||x|| + beside)`.

    Attributes:
        x: what is measured.
        dims: over which dimensions.
        scale: a number.
        under: what is added under the root.
        floor: what the length is at least.
        beside: what is added to the length.
        centred: whether it is `x - mean(x)` that is measured.
    """

    x: Node
    dims: tuple[int, ...]
    scale: float = 1.0
    under: float = 0.0
    floor: float = 0.0
    beside: float = 0.0
    centred: bool = False

    @property
    def plain(self) -> bool:
        """Whether nothing is added to it."""
        return not (self.under or self.floor or self.beside)

    @property
    def mean(self) -> bool:
        """Whether it is drawn as the root of a mean."""
        return bool(self.under or self.beside or self.centred)

    @property
    def count(self) -> int:
        """How many numbers are measured together."""
        return math.prod(int(shape_of(self.x)[d]) for d in self.dims)


def name_of_call(node: Any) -> str:
    """The operation without namespace and overload; empty for what is no call."""
    if not isinstance(node, Node) or node.op != "call_function" or node.target is operator.getitem:
        return ""
    return str(node.target).removeprefix("aten.").partition(".")[0]


def shape_of(node: Node) -> tuple[int, ...]:
    """The shape of what a call gives."""
    return tuple(node.meta["val"].shape)


def measures(length: Length, node: Any) -> bool:
    """Whether a factor is what is measured."""
    if not length.centred:
        return node is length.x
    if name_of_call(node) != "sub" or node.kwargs:
        return False
    x, mean = (plain(a) for a in node.args[:2])
    if x is not length.x or name_of_call(mean) != "mean" or len(mean.args) < 2 or plain(mean.args[0]) is not x:
        return False
    return _dims(mean.args[1], len(shape_of(x))) == length.dims


def divisor(node: Any, up: bool) -> Length | None:
    """What a factor divides by.

    Args:
        node: the factor.
        up: whether it stands above the line, as an inverse root.
    """
    node = top = plain(node)
    while name_of_call(node) in SPREAD:
        node = plain(node.args[0])
    inner, power = _powered(node)
    found = _length(node) if not up else _root(inner) if power == -0.5 else None
    return found if found is not None and shape_of(top) == _beside(found) else None


def _powered(node: Any) -> tuple[Any, float]:
    """A node as a power of another one."""
    name = name_of_call(node)
    if name in ("sqrt", "rsqrt"):
        return plain(node.args[0]), 0.5 if name == "sqrt" else -0.5
    if name == "pow" and isinstance(node.args[1], (int, float)):
        return plain(node.args[0]), float(node.args[1])
    return node, 1.0


def _length(node: Any) -> Length | None:
    node = plain(node)
    name = name_of_call(node)
    if name in NORMS:
        return _plain_length(node)
    if name in ("clamp_min", "clamp"):
        low, high = (*node.args[1:], None, None)[:2]
        low = node.kwargs.get("min", low)
        inside = _length(node.args[0]) if isinstance(low, (int, float)) and high is None else None
        if inside is None or not inside.plain or node.kwargs.get("max") is not None or inside.scale <= 0:
            return None
        return replace(inside, floor=float(low) / inside.scale)
    if name == "add" and isinstance(node.args[1], (int, float)) and not node.kwargs:
        inside = _length(node.args[0])
        whole = inside is not None and inside.plain and inside.scale > 0 and node.args[1] > 0
        return replace(inside, beside=float(node.args[1]) / inside.scale) if whole and inside else None
    if name == "std":
        return _spread(node)
    inner, power = _powered(node)
    if power == 0.5:
        return _root(inner)
    return _times(node, _length)


def _plain_length(node: Node) -> Length | None:
    order, dims = (*node.args[1:], None, None)[:2]
    order = 2 if len(node.args) == 1 else order
    x = plain(node.args[0])
    if order not in (2, 2.0) or dims is None or node.kwargs or not isinstance(x, Node):
        return None
    return _kept(node, Length(x, _dims(dims, len(shape_of(x)))))


def _root(node: Any) -> Length | None:
    """The square root of what a node stands for."""
    node = plain(node)
    if name_of_call(node) == "add" and not isinstance(node.args[1], Node) and not node.kwargs:
        inside = _square(node.args[0])
        if inside is None or not inside.plain:
            return None
        return replace(inside, under=float(node.args[1]) / inside.scale**2)
    if name_of_call(node) in ("clamp_min", "clamp"):
        low, high = (*node.args[1:], None, None)[:2]
        inside = _square(node.args[0]) if isinstance(low, (int, float)) and high is None and not node.kwargs else None
        if inside is None or not inside.plain or inside.centred or low <= 0:
            return None
        return replace(inside, floor=float(low) ** 0.5 / inside.scale)
    return _square(node)


def _square(node: Any) -> Length | None:
    """What a node is the square of: a sum or mean of squares."""
    node = plain(node)
    name = name_of_call(node)
    if name in SPREAD:
        inside = _square(node.args[0])
        return inside if inside is not None and shape_of(node) == _beside(inside) else None
    if name == "var":
        return _spread(node)
    if name in ("mean", "sum") and len(node.args) > 1:
        x = _squared(node.args[0])
        if x is None or node.args[1] is None:
            return None
        found = Length(x, _dims(node.args[1], len(shape_of(x))))
        return _kept(node, replace(found, scale=found.count**-0.5) if name == "mean" else found)
    if name == "pow" and node.args[1] == 2:
        inside = _length(node.args[0])
        return inside if inside is not None and inside.plain else None
    multiple = _times(node, _square)
    return replace(multiple, scale=multiple.scale**0.5) if multiple is not None and multiple.scale > 0 else None


def _spread(node: Node) -> Length | None:
    """A variance or a standard deviation."""
    x = plain(node.args[0])
    if not isinstance(x, Node) or len(node.args) < 2 or node.args[1] is None:
        return None
    correction: Any = node.kwargs.get("correction", 1)
    if isinstance(node.args[1], bool):
        return None
    if len(node.args) > 2:
        correction = int(node.args[2]) if isinstance(node.args[2], bool) else 1
    found = Length(x, _dims(node.args[1], len(shape_of(x))), centred=True)
    if correction is None or found.count <= correction:
        return None
    return _kept(node, replace(found, scale=(found.count - correction) ** -0.5))


def _times(node: Any, what: Callable[[Any], Length | None]) -> Length | None:
    """A multiple of a length or of a square."""
    if name_of_call(node) in SPREAD:
        inside = what(node.args[0])
        return inside if inside is not None and shape_of(node) == _beside(inside) else None
    if name_of_call(node) not in ("mul", "div") or not isinstance(node.args[0], Node) or node.kwargs:
        return None
    number = node.args[1]
    if isinstance(number, Node) or number == 0:
        return None
    inside = what(node.args[0])
    if inside is None:
        return None
    factor = float(number) if name_of_call(node) == "mul" else 1 / float(number)
    scale = inside.scale**2 * factor if what is _square else inside.scale * factor
    return replace(inside, scale=scale)


def _squared(node: Any) -> Node | None:
    node = plain(node)
    name = name_of_call(node)
    if name == "square" or (name == "pow" and node.args[1] == 2):
        return plain(node.args[0])
    if name == "mul" and plain(node.args[0]) is plain(node.args[1]):
        return plain(node.args[0])
    return None


def _beside(length: Length) -> tuple[int, ...]:
    """The shape in which a length stands beside what it measures."""
    return tuple(1 if d in length.dims else n for d, n in enumerate(shape_of(length.x)))


def _kept(node: Node, length: Length) -> Length | None:
    """A length whose dimensions were kept, or that is put beside what it measures afterwards."""
    if shape_of(node) == _beside(length):
        return length
    without = tuple(n for d, n in enumerate(shape_of(length.x)) if d not in length.dims)
    return length if shape_of(node) == without else None


def _dims(dims: Any, rank: int) -> tuple[int, ...]:
    every = dims if isinstance(dims, (list, tuple)) else [dims]
    return tuple(sorted(d % rank for d in every))
