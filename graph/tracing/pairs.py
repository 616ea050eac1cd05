"""Complex numbers as pairs of real ones: a graph without complex values, which real rules read.

What is linear and mixes no pair (moves, sums, fixed real factors) acts on the first axes of pairs as it did before,
products are sums of real products, and any other call, a Fourier transform first of all, becomes one call on pairs.
What depends on no input and no parameter stays as it is: it is a number.

This file is long because what is known of every call stands beside the one walk over the graph that asks for it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.fx.node import map_arg
from torch.utils import _pytree

from .complex_maps import ComplexMap, PairPart, as_map, complex_maps, is_parameter, only_real
from .purity import OpOverload, aten, name_of

# the same on pairs, behind whose axes there is one more
ALIKE = frozenset(
    "clone contiguous alias detach neg positive lift_fresh_copy transpose select slice narrow unsqueeze squeeze flip "
    "roll unbind split split_with_sizes chunk tensor_split cat concat stack sum mean cumsum index_select index "
    "movedim swapaxes flatten repeat_interleave".split()
)
SAME = frozenset("resolve_conj resolve_neg view_as_complex view_as_real".split())
SIZED = frozenset("view reshape _unsafe_view expand unflatten".split())
AXES = frozenset("dim dims dim0 dim1 axis0 axis1 source destination start_dim end_dim axis".split())
LONGER = frozenset({"unsqueeze", "stack"})  # their axes are counted in what they give
CONTRACTIONS = frozenset("matmul bmm mm einsum mv linear".split())


class OnPairs:
    """A call on pairs in the place of complex numbers.

    Args:
        name: of the operation.
        target: what runs on complex numbers.
        pairs: which of its arguments, all lists flattened, are pairs.
    """

    def __init__(self, name: str, target: Callable[..., Any], pairs: Sequence[bool]) -> None:
        self.__name__ = name
        self.__module__, self.__qualname__ = __name__, name
        self._target = target
        self._pairs = pairs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the operation gives, with pairs in the place of complex numbers."""
        leaves, form = _pytree.tree_flatten((args, kwargs))
        given = [torch.view_as_complex(v.contiguous()) if p else v for v, p in zip(leaves, self._pairs, strict=True)]
        args, kwargs = _pytree.tree_unflatten(given, form)
        return _pytree.tree_map(_real, self._target(*args, **kwargs))


def _real(value: Any) -> Any:
    """A complex tensor as pairs; all else as it is."""
    complex_ = isinstance(value, torch.Tensor) and value.is_complex()
    return torch.view_as_real(value.resolve_conj()) if complex_ else value


def in_pairs(
    graph: Graph, detached: set[Node], moving: set[Node], parameters: Collection[Node], outputs: Sequence[Any]
) -> list[Any]:
    """Writes a graph on pairs of real numbers wherever it is on complex ones.

    Args:
        graph: pure ATen calls; changed in place.
        detached: what is computed of parameters without gradients; what stands in its place is added.
        moving: what depends on inputs or parameters.
        parameters: the placeholders of these.
        outputs: what the graph gives.

    Returns:
        What it gives afterwards.
    """
    if not any(_complex(node) for node in graph.nodes):
        return list(outputs)
    return _Pairs(graph, detached, moving, parameters).run(outputs)


def _complex(node: Any) -> bool:
    """Whether a node is, or is a list of, complex numbers."""
    value = node.meta.get("val") if isinstance(node, Node) else None
    found = value if isinstance(value, (list, tuple)) else (value,)
    return any(isinstance(t, torch.Tensor) and t.is_complex() for t in found)


class _Pairs:
    """A graph on the way."""

    def __init__(self, graph: Graph, detached: set[Node], moving: set[Node], parameters: Collection[Node]) -> None:
        self._graph = graph
        self._parameters = parameters
        self._maps = complex_maps(graph, parameters)
        self._detached = detached
        self._moving = moving
        self._pairs: dict[Node, Any] = {}  # complex nodes as pairs
        self._reals: dict[Node, Node] = {}  # complex nodes that are real numbers
        self._parts: dict[Node, Sequence[Any]] = {}  # pairs whose real and imaginary parts are there by themselves
        self._at: Node = next(iter(graph.nodes))

    def run(self, outputs: Sequence[Any]) -> list[Any]:
        for node in list(self._graph.nodes):
            if node.op != "call_function" or node not in self._moving:
                continue
            if not _complex(node) and not any(map(_complex, node.all_input_nodes)):
                continue
            self._at = node
            with self._graph.inserting_before(node):
                new = self._rewritten(node)
            if _complex(node):
                self._pairs[node] = new
            elif new is not node:
                node.replace_all_uses_with(new)
                outputs = [new if out is node else out for out in outputs]
        last = [n for n in outputs if isinstance(n, Node) and n in self._pairs]
        for node in last:  # what it gives is what it gave
            with self._graph.inserting_after(self._pairs[node]):
                whole = self._graph.call_function(aten.view_as_complex.default, (self._pairs[node],))
            whole.meta = dict(node.meta)
            outputs = [whole if out is node else out for out in outputs]
        return list(outputs)

    def _rewritten(self, node: Node) -> Any:
        """What stands in the place of a call: real numbers, or pairs for complex ones."""
        name = name_of(node) or ("getitem" if node.target is operator.getitem else node.target.__name__)
        try:
            new = self._known(node, name)
        except (IndexError, TypeError, RuntimeError):  # arguments of a form that nobody foresaw
            new = None
        return new if new is not None else self._whole(node, name)

    def _known(self, node: Node, name: str) -> Any:
        """A call of which it is known what it does to pairs; None for any other."""
        first: Any = node.args[0] if node.args else None
        if name == "getitem":
            return self._call(operator.getitem, self._pair(first), node.args[1])
        if name in SAME:
            return self._pair(first) if _complex(first) else first
        if name in ("real", "imag"):
            return self._part(first, int(name == "imag"))
        if name == "zeros_like" and _complex(node) and not node.kwargs.get("dtype"):
            return self._call(aten.zeros_like.default, self._pair(first))
        if name in ("conj", "_conj", "conj_physical"):
            minus = self._call(aten.neg.default, self._part(first, 1))
            return self._stacked(self._part(first, 0), minus)
        if name == "abs":
            return self._call(aten.linalg_vector_norm.default, self._pair(first), 2, [-1])
        if name in ("to", "_to_copy"):
            if _complex(first):
                return self._pair(first) if _complex(node) else self._part(first, 0)
            real = torch.empty((), dtype=node.meta["val"].dtype).real.dtype
            self._reals[node] = self._call(aten.to.dtype, first, real)
            return self._from_real(self._reals[node])
        if name == "complex":
            return self._stacked(first, node.args[1])
        if name == "polar":
            return self._polar(first, node.args[1])
        if name == "exp":
            return self._polar(self._call(aten.exp.default, self._part(first, 0)), self._part(first, 1))
        if name in ("add", "sub") and not node.kwargs:
            return self._added(node)
        if name in ("mul", "div"):
            return self._product(node.args[0], node.args[1], name == "div")
        if node in self._maps:
            return self._mapped(node)
        if name in CONTRACTIONS:
            return self._contraction(node, name)
        return self._moved(node, name)

    def _moved(self, node: Node, name: str) -> Any:
        """A move or a sum along the axes before those of the pairs."""
        rank = len(_first(node).meta["val"].shape) + (name in LONGER)
        args: list[Any] = [map_arg(a, self._pair) for a in node.args]
        if name in SIZED:
            shaped: Any = aten.expand.default if name == "expand" else aten.reshape.default
            return self._call(shaped, args[0], [*(int(n) for n in node.meta["val"].shape), 2])
        if name == "permute":
            return self._call(node.target, args[0], [*(d % rank for d in args[1]), rank])
        if name == "repeat":
            return self._call(node.target, args[0], [*args[1], 1])
        if name in ("t", "numpy_T", "mT"):
            return self._call(aten.transpose.int, args[0], rank - 2, rank - 1)
        if name not in ALIKE or not isinstance(node.target, OpOverload):
            return None
        kwargs = dict(node.kwargs)
        known = node.target._schema.arguments
        names = [a.name for a in known]
        defaults = {a.name: a.default_value for a in known if a.has_default_value()}
        plain = [self._axis(n, a, rank) for n, a in zip(names, args, strict=False)]
        kwargs = {k: self._axis(k, map_arg(v, self._pair), rank) for k, v in kwargs.items() if k != "dtype"}
        given = {*names[: len(args)], *kwargs}
        asked = {n for n in names if n in AXES} - given
        if name in ("squeeze", "sum", "mean") and not (given & AXES):
            if name == "squeeze":
                return self._call(aten.reshape.default, args[0], [*(int(n) for n in node.meta["val"].shape), 2])
            packet = getattr(aten, name)
            return self._call(packet.dim, args[0], list(range(rank)))
        kwargs |= {n: self._axis(n, defaults[n], rank) for n in asked if n in defaults}
        return self._call(node.target, *plain, **kwargs)

    @staticmethod
    def _axis(name: str, value: Any, rank: int) -> Any:
        """An argument, counted from the front where it names axes."""
        if name not in AXES or value is None:
            return value
        return [d % rank for d in value] if isinstance(value, (list, tuple)) else value % rank

    def _mapped(self, node: Node) -> Any:
        """A linear map by a matrix of complex numbers."""
        x, weight, turned, bias = as_map(node)
        w = self._pair(weight)
        w = self._call(aten.transpose.int, w, 0, 1) if turned else w
        real = x if not _complex(x) else self._reals.get(x)
        writes = not only_real(node)
        given = [self._pair(x) if real is None else real, w]
        if bias is not None and writes and is_parameter(bias, self._parameters):
            given.append(self._pair(bias))
            bias = None
        y = self._call(ComplexMap(real is None, writes), *given)
        if bias is not None:
            b = self._pair(bias)
            y = self._call(aten.add.Tensor, y, b if writes else self._call(aten.select.int, b, 1, 0))
        if not writes:
            self._parts[y] = (y, y)  # nothing reads another part than the real one
        return y

    def _contraction(self, node: Node, name: str) -> Any:
        """A contraction of two tensors, of which one may be real."""
        operands: Any = node.args[1] if name == "einsum" else node.args[:2]
        if len(operands) != 2:
            return None

        def of(a: Any, b: Any) -> Node:
            return self._call(node.target, *((node.args[0], [a, b]) if name == "einsum" else (a, b)))

        return self._bilinear(of, *operands)

    def _product(self, a: Any, b: Any, quotient: bool) -> Any:
        """A product of two tensors or numbers; a quotient by a real one."""
        target = aten.div.Tensor if quotient else aten.mul.Tensor
        if isinstance(a, complex) or (quotient and _complex(b)):
            return None
        if isinstance(b, complex):
            b, quotient = 1 / b if quotient else b, False
            re, im = self._part(a, 0), self._part(a, 1)
            turned = [self._sum(re, b.real, im, -b.imag), self._sum(re, b.imag, im, b.real)]
            return self._stacked(*turned)
        if quotient or not isinstance(b, Node):
            below = self._call(aten.unsqueeze.default, b, -1) if isinstance(b, Node) else b
            return self._call(target, self._pair(a), below)
        return self._bilinear(lambda x, y: self._call(target, x, y), a, b)

    def _sum(self, x: Node, a: float, y: Node, b: float) -> Node:
        """`a x + b y` of real tensors and numbers."""
        terms = [v if c == 1 else self._call(aten.mul.Tensor, v, c) for v, c in ((x, a), (y, b)) if c]
        if not terms:
            return self._call(aten.zeros_like.default, x)
        return terms[0] if len(terms) == 1 else self._call(aten.add.Tensor, *terms)

    def _bilinear(self, of: Callable[[Any, Any], Node], a: Any, b: Any) -> Node:
        """What is linear in two tensors, by their real and imaginary parts."""
        if a in self._reals or b in self._reals:
            a, b = self._reals.get(a, a), self._reals.get(b, b) if a not in self._reals else b
        if not (_complex(a) and _complex(b)):
            parts = [(self._part(a, i), b) if _complex(a) else (a, self._part(b, i)) for i in (0, 1)]
            return self._stacked(*(of(x, y) for x, y in parts))
        (re, im), (re2, im2) = ((self._part(v, 0), self._part(v, 1)) for v in (a, b))
        real = self._call(aten.sub.Tensor, of(re, re2), of(im, im2))
        return self._stacked(real, self._call(aten.add.Tensor, of(re, im2), of(im, re2)))

    def _whole(self, node: Node, name: str) -> Node:
        """Any call, as one on pairs."""
        leaves, _ = _pytree.tree_flatten((node.args, dict(node.kwargs)))
        target = OnPairs(name, node.target, [_complex(v) for v in leaves])  # type: ignore[arg-type]
        args, kwargs = map_arg((node.args, dict(node.kwargs)), self._pair)
        return self._call(target, *args, val=_pytree.tree_map(_real, node.meta["val"]), **kwargs)

    def _added(self, node: Node) -> Node:
        """A sum or a difference, of the parts that are there."""
        one, other = node.args
        if not isinstance(one, Node):
            raise TypeError("the first term of a sum is a number")
        if isinstance(other, Node):
            return self._call(node.target, *(self._pair(v) if _complex(v) else self._from_real(v) for v in node.args))
        number = complex(other)  # type: ignore[arg-type]
        re, im = self._parts[self._from_real(one)] if not _complex(one) else (self._part(one, 0), self._part(one, 1))
        terms = ((re, number.real), (im, number.imag))
        return self._stacked(*(self._call(node.target, v, n) if n else v for v, n in terms))

    def _from_real(self, value: Any) -> Node:
        """Real numbers as pairs."""
        return self._stacked(value, self._call(aten.zeros_like.default, value))

    def _polar(self, size: Any, angle: Any) -> Node:
        """Pairs of sizes and angles."""
        turns = [self._call(f, angle) for f in (aten.cos.default, aten.sin.default)]
        return self._stacked(*(self._call(aten.mul.Tensor, size, turn) for turn in turns))

    def _part(self, value: Any, which: int) -> Node:
        """The real or the imaginary part."""
        pair = self._pair(value)
        if pair in self._parts:
            return self._parts[pair][which]
        if _complex(value) and is_parameter(value, self._parameters):
            return self._call(PairPart(which), pair)
        return self._call(aten.select.int, pair, len(value.meta["val"].shape), which)

    def _stacked(self, *parts: Any) -> Node:
        """Pairs of two real tensors."""
        pair = self._call(aten.stack.default, list(parts), len(parts[0].meta["val"].shape))
        self._parts[pair] = parts
        return pair

    def _pair(self, value: Any) -> Any:
        """A complex node as pairs; anything else as it is."""
        if not _complex(value):
            return value
        if value not in self._pairs:
            with self._graph.inserting_after(value):
                new = self._graph.call_function(_real, (value,))
            new.meta = dict(value.meta) | {"val": _real(value.meta["val"])}
            self._pairs[value] = new
        return self._pairs[value]

    def _call(self, target: Any, *args: Any, val: Any = None, **kwargs: Any) -> Node:
        """A call at the place of the one that is written anew."""
        new = self._graph.create_node("call_function", target, args, kwargs)
        new.meta = dict(self._at.meta)
        if val is None:
            given, named = _pytree.tree_map_only(Node, _shaped, (args, kwargs))
            with torch.no_grad():
                val = target(*given, **named)
        new.meta["val"] = val
        if self._at in self._detached:
            self._detached.add(new)
        return new


def _shaped(node: Node) -> Any:
    """Something of the shape and type of what a node gives, whatever made its example."""
    return _pytree.tree_map_only(
        torch.Tensor, lambda t: torch.empty(t.shape, dtype=t.dtype, device="meta"), node.meta["val"]
    )


def _first(node: Node) -> Node:
    """The first tensor that a call reads."""
    first: Any = node.args[0]
    return first[0] if isinstance(first, (list, tuple)) else first


__all__ = ["in_pairs"]
