"""Norms that are written into longer products: `(g * x) * r`, `x * (g * r)` and `x / (sqrt(mean(x^2)) / g)` are one.

A product may be taken in any order.  Where one of its factors is an inverse length of another one, the two are taken
first, then numbers, then all others, so that what follows sees a norm and the gain behind it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.fx import Graph, Node

from .purity import aten
from .steps.patterns import beside_pattern, layer_pattern, length_pattern, plain, rms_pattern

MARGIN = 1e-12  # relative: numbers that are 1 but for rounding
SPREAD = ("unsqueeze", "view", "reshape", "_unsafe_view")
FUSED = {
    "rms_norm": ("normalized_shape", "weight", "eps"),
    "layer_norm": ("normalized_shape", "weight", "bias", "eps", "cudnn_enable"),
}
NORMS = ("norm", "linalg_vector_norm")


@dataclass(frozen=True)
class Factor:
    """A node or a number of a product, above or below the line."""

    value: Any
    up: bool


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
        return math.prod(int(_shape(self.x)[d]) for d in self.dims)


def reorder(graph: Graph, detached: set[Node]) -> dict[Node, Node]:
    """Writes products with a norm in them so that the norm comes first; gives what stands in the place of what.

    Args:
        graph: pure ATen calls; changed in place.
        detached: what is computed of parameters without gradients, which stays as it is.
    """
    return dict(_Reordering(graph, detached).run())


class _Reordering:
    """A graph on the way."""

    def __init__(self, graph: Graph, detached: set[Node]) -> None:
        self.graph = graph
        self.detached = detached
        self.normed: set[Node] = set()  # products that begin with a norm
        self.norms: dict[tuple[Node, Node], Node] = {}

    def run(self) -> Iterator[tuple[Node, Node]]:
        for root in list(self.graph.nodes):
            if root in self.detached:
                continue
            if _name(root) in FUSED and isinstance(root.args[0], Node):
                yield from self._apart(root)
            if not _is_product(root) or _known(root):
                continue
            opened: list[Node] = []
            factors = [f for a, up in _sides(root) for f in self._factors(a, up, opened)]
            with self.graph.inserting_before(root):
                new = self._rewritten(root, factors)
            if new is None or _shape(new) != _shape(root):
                continue
            new.meta["val"] = root.meta["val"]
            self.normed.add(new)
            root.replace_all_uses_with(new)
            for node in (root, *opened):
                if not node.users:
                    self.graph.erase_node(node)
            yield root, new

    def _apart(self, root: Node) -> Iterator[tuple[Node, Node]]:
        """A fused norm by itself, and the gain behind it, where the gain is computed: `rms_norm(x, n, 1 + g)`."""
        given = {"x": root.args[0], **dict(zip(FUSED[_name(root)], root.args[1:], strict=False)), **root.kwargs}
        gain, shift = given.get("weight"), given.get("bias")
        if not any(isinstance(n, Node) and n.op == "call_function" and n not in self.detached for n in (gain, shift)):
            return
        own = {k: v for k, v in given.items() if k not in ("x", "weight", "bias", "normalized_shape")}
        with self.graph.inserting_before(root):
            new = self._call(root, root.target, given["x"], given["normalized_shape"], **own)
            new = new if gain is None else self._call(root, aten.mul.Tensor, new, gain)
            new = new if shift is None else self._call(root, aten.add.Tensor, new, shift)
        root.replace_all_uses_with(new)
        self.graph.erase_node(root)
        yield root, new

    def _factors(self, node: Any, up: bool, opened: list[Node]) -> Iterator[Factor]:
        """What is multiplied; what others read too is one factor, and so is a norm."""
        bare = plain(node)
        if not isinstance(bare, Node) or bare in self.detached or not _alone(node, bare):
            yield Factor(node, up)
        elif _is_product(bare) and bare not in self.normed and not _known(bare):
            opened.append(bare)
            for a, above in _sides(bare):
                yield from self._factors(a, up == above, opened)
        elif _name(bare) in ("reciprocal", "neg"):
            opened.append(bare)
            if _name(bare) == "neg":
                yield Factor(-1.0, True)
            yield from self._factors(bare.args[0], up == (_name(bare) == "neg"), opened)
        else:
            yield Factor(node, up)

    def _rewritten(self, root: Node, factors: Sequence[Factor]) -> Node | None:
        """The product with its norm first; None where it has none, or where the norm is first already."""
        for i, factor in enumerate(factors):
            length = _inverse(factor)
            if length is None:
                continue
            for k, other in enumerate(factors):
                x = plain(other.value)
                if other.up and isinstance(x, Node) and _measured(length, x):
                    rest = [f for n, f in enumerate(factors) if n not in (i, k)]
                    norm = self._norm(root, x, length, plain(factor.value))
                    scale = length.scale * length.count**0.5 if length.mean else length.scale
                    return self._multiplied(root, norm, [*rest, Factor(scale, False)])
        for i, factor in enumerate(factors):
            norm = plain(factor.value)
            if factor.up and len(factors) > 2 and isinstance(norm, Node) and self._is_norm(norm):
                rest = [f for n, f in enumerate(factors) if n != i]
                return None if self._first(root, norm) else self._multiplied(root, norm, rest)
        return None

    def _is_norm(self, node: Node) -> bool:
        return node in self.normed or (_is_product(node) and _known(node))

    def _first(self, root: Node, norm: Node) -> bool:
        """Whether a norm is multiplied by one factor after the other, and never by a product."""
        node: Any = root
        while node is not norm:
            inside = [s for s in map(plain, node.args) if _is_product(s)]
            if len(inside) != 1:
                return False
            node = inside[0]
        return True

    def _norm(self, root: Node, x: Node, length: Length, by: Node) -> Node:
        """A norm as patterns know it."""
        if (x, by) in self.norms:
            return self.norms[x, by]
        dims = list(length.dims)
        if length.mean:
            if length.centred:
                square = self._call(root, aten.var.correction, length.x, dims, correction=0, keepdim=True)
            else:
                square = self._call(root, aten.mean.dim, self._call(root, aten.pow.Tensor_Scalar, x, 2), dims, True)
            if length.beside:
                below = self._call(root, aten.sqrt.default, square)
                below = self._call(root, aten.add.Tensor, below, length.beside / length.count**0.5)
                self.norms[x, by] = self._call(root, aten.div.Tensor, x, below)
                return self.norms[x, by]
            inside = self._call(root, aten.add.Tensor, square, length.under / length.count)
            norm = self._call(root, aten.mul.Tensor, x, self._call(root, aten.rsqrt.default, inside))
        else:
            own = self._call(root, aten.linalg_vector_norm.default, x, 2, dims, True)
            own = self._call(root, aten.clamp_min.default, own, length.floor) if length.floor else own
            norm = self._call(root, aten.div.Tensor, x, own)
        self.norms[x, by] = norm
        return norm

    def _multiplied(self, root: Node, norm: Node, rest: Sequence[Factor]) -> Node:
        """A norm, then numbers, then everything else."""
        number = math.prod(float(f.value) ** (1 if f.up else -1) for f in rest if not isinstance(f.value, Node))
        out = norm if abs(number - 1) <= MARGIN else self._call(root, aten.mul.Tensor, norm, number)
        for f in rest:
            if isinstance(f.value, Node):
                out = self._call(root, (aten.mul if f.up else aten.div).Tensor, out, f.value)
        return out

    def _call(self, root: Node, target: Any, *args: Any, **kwargs: Any) -> Node:
        """A call at the place of another."""
        node = self.graph.create_node("call_function", target, args, kwargs)
        values = [a.meta["val"] if isinstance(a, Node) else a for a in args]
        with torch.no_grad():
            node.meta = dict(root.meta) | {"val": target(*values, **kwargs)}
        return node


def _sides(product: Node) -> tuple[tuple[Any, bool], tuple[Any, bool]]:
    """Both sides of a product, and whether each stands above the line."""
    return (product.args[0], True), (product.args[1], _name(product) == "mul")


def _name(node: Any) -> str:
    if not isinstance(node, Node) or node.op != "call_function" or node.target is operator.getitem:
        return ""
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def _is_product(node: Any) -> bool:
    if _name(node) not in ("mul", "div") or "rounding_mode" in node.kwargs:
        return False
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _known(node: Node) -> bool:
    """Whether a product is a norm as it stands."""
    return any(pattern(node) is not None for pattern in (rms_pattern, layer_pattern, beside_pattern, length_pattern))


def _alone(node: Any, bare: Node) -> bool:
    """Whether nothing else reads what stands between a factor and its casts."""
    while isinstance(node, Node):
        if len(node.users) > 1:
            return False
        if node is bare:
            return True
        node = node.args[0]
    return False


def _measured(length: Length, node: Any) -> bool:
    """Whether a factor is what is measured."""
    if not length.centred:
        return node is length.x
    if _name(node) != "sub" or node.kwargs:
        return False
    x, mean = (plain(a) for a in node.args[:2])
    if x is not length.x or _name(mean) != "mean" or len(mean.args) < 2 or plain(mean.args[0]) is not x:
        return False
    return _dims(mean.args[1], len(_shape(x))) == length.dims


def _inverse(factor: Factor) -> Length | None:
    """What a factor divides by."""
    node = top = plain(factor.value)
    while _name(node) in SPREAD:
        node = plain(node.args[0])
    inner, power = _powered(node)
    found = _length(node) if not factor.up else _root(inner) if power == -0.5 else None
    return found if found is not None and _shape(top) == _beside(found) else None


def _powered(node: Any) -> tuple[Any, float]:
    """A node as a power of another one."""
    name = _name(node)
    if name in ("sqrt", "rsqrt"):
        return plain(node.args[0]), 0.5 if name == "sqrt" else -0.5
    if name == "pow" and isinstance(node.args[1], (int, float)):
        return plain(node.args[0]), float(node.args[1])
    return node, 1.0


def _length(node: Any) -> Length | None:
    node = plain(node)
    name = _name(node)
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
    return _kept(node, Length(x, _dims(dims, len(_shape(x)))))


def _root(node: Any) -> Length | None:
    """The square root of what a node stands for."""
    node = plain(node)
    if _name(node) == "add" and not isinstance(node.args[1], Node) and not node.kwargs:
        inside = _square(node.args[0])
        if inside is None or not inside.plain:
            return None
        return replace(inside, under=float(node.args[1]) / inside.scale**2)
    if _name(node) in ("clamp_min", "clamp"):
        low, high = (*node.args[1:], None, None)[:2]
        inside = _square(node.args[0]) if isinstance(low, (int, float)) and high is None and not node.kwargs else None
        if inside is None or not inside.plain or inside.centred or low <= 0:
            return None
        return replace(inside, floor=float(low) ** 0.5 / inside.scale)
    return _square(node)


def _square(node: Any) -> Length | None:
    """What a node is the square of: a sum or mean of squares."""
    node = plain(node)
    name = _name(node)
    if name in SPREAD:
        inside = _square(node.args[0])
        return inside if inside is not None and _shape(node) == _beside(inside) else None
    if name == "var":
        return _spread(node)
    if name in ("mean", "sum") and len(node.args) > 1:
        x = _squared(node.args[0])
        if x is None or node.args[1] is None:
            return None
        found = Length(x, _dims(node.args[1], len(_shape(x))))
        return _kept(node, replace(found, scale=found.count**-0.5) if name == "mean" else found)
    if name == "pow" and node.args[1] == 2:
        inside = _length(node.args[0])
        return inside if inside is not None and inside.plain else None
    found = _times(node, _square)
    return None if found is None else replace(found, scale=abs(found.scale) ** 0.5) if found.scale > 0 else None


def _spread(node: Node) -> Length | None:
    """A variance or a standard deviation."""
    x = plain(node.args[0])
    if not isinstance(x, Node) or len(node.args) < 2 or node.args[1] is None:
        return None
    correction = node.kwargs.get("correction", 1)
    if isinstance(node.args[1], bool):
        return None
    if len(node.args) > 2:
        correction = int(node.args[2]) if isinstance(node.args[2], bool) else 1
    found = Length(x, _dims(node.args[1], len(_shape(x))), centred=True)
    if correction is None or found.count <= correction:
        return None
    return _kept(node, replace(found, scale=(found.count - correction) ** -0.5))


def _times(node: Any, what: Any) -> Length | None:
    """A multiple of a length or of a square."""
    if _name(node) in SPREAD:
        inside = what(node.args[0])
        return inside if inside is not None and _shape(node) == _beside(inside) else None
    if _name(node) not in ("mul", "div") or not isinstance(node.args[0], Node) or node.kwargs:
        return None
    number = node.args[1]
    if isinstance(number, Node) or number == 0:
        return None
    inside = what(node.args[0])
    if inside is None:
        return None
    factor = float(number) if _name(node) == "mul" else 1 / float(number)
    scale = inside.scale**2 * factor if what is _square else inside.scale * factor
    return replace(inside, scale=scale)


def _squared(node: Any) -> Node | None:
    node = plain(node)
    name = _name(node)
    if name == "square" or (name == "pow" and node.args[1] == 2):
        return plain(node.args[0])
    if name == "mul" and plain(node.args[0]) is plain(node.args[1]):
        return plain(node.args[0])
    return None


def _beside(length: Length) -> tuple[int, ...]:
    """The shape in which a length stands beside what it measures."""
    return tuple(1 if d in length.dims else n for d, n in enumerate(_shape(length.x)))


def _kept(node: Node, length: Length) -> Length | None:
    """A length whose dimensions were kept, or that is put beside what it measures afterwards."""
    if _shape(node) == _beside(length):
        return length
    without = tuple(n for d, n in enumerate(_shape(length.x)) if d not in length.dims)
    return length if _shape(node) == without else None


def _dims(dims: Any, rank: int) -> tuple[int, ...]:
    every = dims if isinstance(dims, (list, tuple)) else [dims]
    return tuple(sorted(d % rank for d in every))
