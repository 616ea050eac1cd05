"""Norms that are written into longer products: `(g * x) * r`, `x * (g * r)` and `x / (sqrt(mean(x^2)) / g)` are one.

A product may be taken in any order.  Where one of its factors is an inverse length of another one, the two are taken
first, then numbers, then all others, so that what follows sees a norm and the gain behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node

from .purity import aten
from .steps.patterns import beside_pattern, layer_pattern, length_pattern, plain, rms_pattern
from .vector_lengths import Length, divisor, measures, name_of_call, shape_of

MARGIN = 1e-12  # relative: numbers that are 1 but for rounding
FUSED = {
    "rms_norm": ("normalized_shape", "weight", "eps"),
    "layer_norm": ("normalized_shape", "weight", "bias", "eps"),
}


@dataclass(frozen=True)
class Factor:
    """A node or a number of a product, above or below the line."""

    value: Any
    up: bool


def reorder(graph: Graph, detached: set[Node], outputs: Sequence[Any]) -> list[Any]:
    """Writes products with a norm in them so that the norm comes first.

    Args:
        graph: pure ATen calls; changed in place.
        detached: what is computed of parameters without gradients, which stays as it is.
        outputs: what the graph gives.

    Returns:
        What it gives afterwards.
    """
    found = dict(_Reordering(graph, detached).run())
    return [found.get(node, node) for node in outputs]


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
            if name_of_call(root) in FUSED and isinstance(root.args[0], Node):
                yield from self._apart(root)
            if not _is_product(root) or _known(root):
                continue
            opened: list[Node] = []
            factors = [f for a, up in _sides(root) for f in self._factors(a, up, opened)]
            with self.graph.inserting_before(root):
                new = self._rewritten(root, factors)
            if new is None or shape_of(new) != shape_of(root):
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
        given = {"x": root.args[0], **dict(zip(FUSED[name_of_call(root)], root.args[1:], strict=False)), **root.kwargs}
        gain, shift = given.get("weight"), given.get("bias")
        own = [k for k in given if k != "x"]
        made = [n for n in map(plain, (gain, shift)) if isinstance(n, Node) and n.op == "call_function"]
        if not made or not self.detached.isdisjoint(made):
            return
        names = FUSED[name_of_call(root)]
        bare = [None if k in ("weight", "bias") else given[k] for k in names[: 1 + max(map(names.index, own))]]
        with self.graph.inserting_before(root):
            new = self._call(root, root.target, given["x"], *bare)
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
        elif name_of_call(bare) in ("reciprocal", "neg"):
            opened.append(bare)
            if name_of_call(bare) == "neg":
                yield Factor(-1.0, True)
            yield from self._factors(bare.args[0], up == (name_of_call(bare) == "neg"), opened)
        else:
            yield Factor(node, up)

    def _rewritten(self, root: Node, factors: Sequence[Factor]) -> Node | None:
        """The product with its norm first; None where it has none, or where the norm is first already."""
        for i, factor in enumerate(factors):
            length = divisor(factor.value, factor.up)
            if length is None:
                continue
            for k, other in enumerate(factors):
                x = plain(other.value)
                if other.up and isinstance(x, Node) and measures(length, x):
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
    return (product.args[0], True), (product.args[1], name_of_call(product) == "mul")


def _is_product(node: Any) -> bool:
    if name_of_call(node) not in ("mul", "div") or "rounding_mode" in node.kwargs:
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
