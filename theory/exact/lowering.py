"""Reading a torch function as a polynomial program, operation by operation.

`make_fx` writes down what a function does in the few hundred operations that torch is made of.  Each is one of: a
movement of entries (which is *measured*, by moving their numbers), a sum, a product, a fixed map, a function of choices
alone (whose table is measured option by option), or no polynomial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from .program import Builder, NotPolynomialError, Program, Shape

Tensors = dict[str, torch.Tensor]

# what only moves entries, repeats them or replaces them by zeros
MOVES = frozenset(
    "view _unsafe_view reshape permute transpose t expand unsqueeze squeeze slice select flip roll index_select index "
    "gather unfold im2col repeat alias clone detach _to_copy diagonal split split_with_sizes chunk unbind narrow tril "
    "triu diag_embed upsample_nearest1d upsample_nearest2d pixel_shuffle pixel_unshuffle reflection_pad1d "
    "reflection_pad2d replication_pad1d replication_pad2d as_strided lift_fresh_copy constant_pad_nd "
    "channel_shuffle movedim".split()
)
# other linear maps with fixed coefficients, which are measured on a basis
MAPS = frozenset("avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d cumsum".split())
WIDEST = 4096  # entries of a value whose map is measured on a basis


@dataclass(frozen=True)
class Symbol:
    """A value that depends on parameters or drawn numbers: a step of the program."""

    step: int


@dataclass(frozen=True)
class Choice:
    """A value that depends on choices alone.

    Attributes:
        name: of the choices.
        places: the flat place of the choice that every entry depends on.
        table: the value for every option, shape `(options, *shape)`.
    """

    name: str
    places: np.ndarray
    table: torch.Tensor


def program_of(
    function: Callable[[Tensors, Tensors, Tensors], torch.Tensor],
    parameters: Mapping[str, torch.Tensor],
    data: Mapping[str, torch.Tensor],
    choices: Mapping[str, tuple[Shape, int]],
) -> Program:
    """The polynomial that a torch function computes.

    Args:
        function: of parameters, data and choices by name; gives a scalar.
        parameters: examples of the parameters, float64.
        data: examples of what is drawn from all numbers, float64.
        choices: shape and number of options of what is drawn from a few; the function gets integers.

    Raises:
        NotPolynomialError: names the operation that is no polynomial.
    """
    drawn = {n: torch.zeros(s, dtype=torch.long) for n, (s, _) in choices.items()}
    graph = make_fx(lambda p, x, c: function(p, x, c))(dict(parameters), dict(data), drawn)
    lowering = _Lowering(choices)
    names = [("parameter", n) for n in parameters] + [("data", n) for n in data] + [("choice", n) for n in drawn]
    places = iter(names)
    out: Any = None
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            kind, name = next(places)
            shape = tuple(node.meta["val"].shape)
            lowering.env[node] = lowering.source(kind, name, shape)
        elif node.op == "get_attr":
            lowering.env[node] = getattr(graph, node.target).detach()
        elif node.op == "output":
            (out,) = torch.utils._pytree.tree_leaves(torch.fx.node.map_arg(node.args[0], lambda n: lowering.env[n]))
        else:
            lowering.run(node)
    if not isinstance(out, Symbol):
        raise NotPolynomialError("nothing that moves reaches the output")
    shapes = {n: tuple(t.shape) for n, t in parameters.items()}
    inputs = {n: tuple(t.shape) for n, t in data.items()}
    return Program(shapes, inputs, dict(choices), lowering.builder.reachable(out.step))


class _Lowering:
    def __init__(self, choices: Mapping[str, tuple[Shape, int]]) -> None:
        self.builder, self.choices = Builder(), choices
        self.env: dict[torch.fx.Node, Any] = {}

    def source(self, kind: str, name: str, shape: Shape) -> Any:
        """What the program starts from."""
        if kind != "choice":
            return Symbol(self.builder.add(kind, (), shape, name))
        options = torch.arange(self.choices[name][1])
        table = options.reshape(-1, *[1] * len(shape)).expand(-1, *shape)
        return Choice(name, np.arange(math.prod(shape)).reshape(shape), table)

    def run(self, node: torch.fx.Node) -> None:
        """Lowers one call."""
        args: Any = torch.fx.node.map_arg(node.args, lambda n: self.env[n])
        kwargs: Any = torch.fx.node.map_arg(node.kwargs, lambda n: self.env[n])
        name = str(node.target).split(".")[1] if "." in str(node.target) else str(node.target)
        if node.target.__class__.__name__ == "builtin_function_or_method" or name == "getitem":
            self.env[node] = args[0][args[1]]
            return
        read = [a for a in _flat((args, kwargs)) if isinstance(a, (Symbol, Choice))]
        if any(isinstance(a, Symbol) for a in read):
            example = node.meta["val"] if "val" in node.meta else None
            self.env[node] = self._symbolic(name, node, args, kwargs, example)
        elif read:
            self.env[node] = self._chosen(name, node, args, kwargs)
        else:
            self.env[node] = node.target(*args, **kwargs)  # type: ignore[operator]

    def shape(self, value: Any) -> Shape:
        """Shape of anything."""
        if isinstance(value, Symbol):
            return self.builder.steps[value.step].shape
        if isinstance(value, Choice):
            return tuple(value.table.shape[1:])
        return tuple(value.shape) if isinstance(value, torch.Tensor) else ()

    def symbol(self, value: Any) -> Symbol:
        """Anything as a step."""
        if isinstance(value, Symbol):
            return value
        if isinstance(value, Choice):
            shape = self.shape(value)
            table = value.table.double().numpy()
            return Symbol(self.builder.add("pick", (), shape, value.name, value.places, np.ascontiguousarray(table)))
        numbers = torch.as_tensor(value, dtype=torch.float64)
        if not bool(torch.isfinite(numbers).all()):
            raise NotPolynomialError("a fixed number that is not finite is no coefficient of a polynomial")
        return Symbol(self.builder.add("constant", (), tuple(numbers.shape), table=numbers.numpy().copy()))

    def take(self, value: Symbol, index: np.ndarray) -> Symbol:
        """Entries of a value by their flat places."""
        return Symbol(self.builder.add("take", (value.step,), index.shape, index=index))

    def reshaped(self, value: Symbol, shape: Sequence[int]) -> Symbol:
        """The same entries in another shape."""
        return Symbol(self.builder.add("take", (value.step,), tuple(shape)))

    def broadcast(self, value: Symbol, shape: Shape) -> Symbol:
        """A value repeated to a shape."""
        own = self.shape(value)
        if own == shape:
            return value
        return self.take(value, np.broadcast_to(np.arange(math.prod(own)).reshape(own), shape))

    def add(self, terms: Sequence[tuple[Symbol, Fraction]]) -> Symbol:
        """A sum with coefficients, with broadcasting."""
        shape = tuple(np.broadcast_shapes(*(self.shape(t) for t, _ in terms)))
        steps = tuple(self.broadcast(t, shape).step for t, _ in terms)
        return Symbol(self.builder.add("add", steps, shape, factors=tuple(c for _, c in terms)))

    def multiply(self, a: Symbol, b: Symbol) -> Symbol:
        """A product entry by entry, with broadcasting."""
        shape = tuple(np.broadcast_shapes(self.shape(a), self.shape(b)))
        return Symbol(
            self.builder.add("multiply", (self.broadcast(a, shape).step, self.broadcast(b, shape).step), shape)
        )

    def matmul(self, a: Symbol, b: Symbol) -> Symbol:
        """A product of `(batch, n, k)` and `(batch, k, m)`."""
        (batch, n, _), (_, _, m) = self.shape(a), self.shape(b)
        return Symbol(self.builder.add("matmul", (a.step, b.step), (batch, n, m)))

    def total(self, value: Symbol, axes: Sequence[int], keep: bool) -> Symbol:
        """A sum over axes (all of them if there are none)."""
        shape = self.shape(value)
        axes = [a % len(shape) for a in axes] if len(axes) else list(range(len(shape)))
        kept = [i for i in range(len(shape)) if i not in axes]
        n = math.prod(shape[i] for i in axes)
        index = np.arange(math.prod(shape)).reshape(shape).transpose(*kept, *axes)
        moved = self.take(value, index.reshape(*(shape[i] for i in kept), n))
        out = Symbol(self.builder.add("total", (moved.step,), tuple(shape[i] for i in kept)))
        return self.reshaped(out, [1 if i in axes else k for i, k in enumerate(shape)]) if keep else out

    def _chosen(self, name: str, node: torch.fx.Node, args: Any, kwargs: Any) -> Any:
        """A function of choices: its value for each option."""
        chosen = [a for a in _flat((args, kwargs)) if isinstance(a, Choice)]
        options = len(chosen[0].table)
        target: Any = node.target
        if name in ("embedding", "index_select", "index", "gather"):
            raise NotPolynomialError(f"{name} of choices reads a table in a way that is not known here")
        if len({c.name for c in chosen}) > 1:
            return self._symbolic(name, node, args, kwargs, None)  # two kinds of choices: each as numbers
        if name in MOVES:
            numbers = [target(*_with(args, lambda c: torch.tensor(c.places)), **kwargs)]
            if not isinstance(numbers[0], torch.Tensor):
                raise NotPolynomialError(f"{name} of choices has several outputs")
            tables = [target(*_with(args, _option(k)), **kwargs) for k in range(options)]
            return Choice(chosen[0].name, numbers[0].numpy().astype(np.int64), torch.stack(tables))
        tables = [target(*_with(args, _option(k)), **_with(kwargs, _option(k))) for k in range(options)]
        shape = tuple(tables[0].shape)
        places = [np.broadcast_to(c.places, shape) for c in chosen if len(c.places.shape) <= len(shape)]
        same = len(places) == len(chosen) and all(np.array_equal(p, places[0]) for p in places)
        if not same or (torch.Tag.pointwise not in target.tags and name not in ("where", "_to_copy")):
            return self._symbolic(name, node, args, kwargs, None)
        return Choice(chosen[0].name, places[0], torch.stack(tables))

    def _symbolic(self, name: str, node: torch.fx.Node, args: Any, kwargs: Any, example: Any) -> Any:
        """An operation on values of the program."""
        if name in MOVES:
            return self._moved(node, args, kwargs)
        if name in MAPS:
            return self._mapped(node, args, kwargs)
        handler = _HANDLERS.get(name)
        if handler is None:
            if name in ("zeros_like", "ones_like", "new_zeros", "new_ones", "new_empty", "empty_like", "full_like"):
                target: Any = node.target
                return target(*_with(args, lambda s: torch.zeros(self.shape(s), dtype=torch.float64)), **kwargs)
            raise NotPolynomialError(f"{name} is no polynomial")
        return handler(self, *args, **kwargs)

    def _moved(self, node: torch.fx.Node, args: Any, kwargs: Any) -> Any:
        """A movement of entries, measured on their numbers."""
        value, *rest = args
        if not isinstance(value, Symbol) or any(isinstance(a, (Symbol, Choice)) for a in _flat((rest, kwargs))):
            raise NotPolynomialError(f"{node.target} moves entries to places that are computed")
        name = str(node.target).split(".")[1]
        if name == "constant_pad_nd" and len(rest) > 1 and rest[1]:
            raise NotPolynomialError("padding with a number other than zero")
        shape = self.shape(value)
        numbers = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).reshape(shape)
        kwargs = {k: v for k, v in kwargs.items() if k not in ("dtype", "memory_format")}
        target: Any = node.target
        out = target(numbers, *rest, **kwargs)
        if isinstance(out, torch.Tensor):
            return self.take(value, out.numpy().astype(np.int64) - 1)
        return [self.take(value, o.numpy().astype(np.int64) - 1) for o in out]

    def _mapped(self, node: torch.fx.Node, args: Any, kwargs: Any) -> Symbol:
        """A linear map with fixed coefficients, measured on a basis of one example."""
        value, *rest = args
        shape = self.shape(value)
        n = math.prod(shape[1:])
        if n > WIDEST:
            raise NotPolynomialError(f"{node.target} of {n} entries is too large to be written down")
        target: Any = node.target
        out = target(torch.eye(n, dtype=torch.float64).reshape(n, *shape[1:]), *rest, **kwargs)
        table = self.symbol(out.reshape(1, n, -1))
        y = self.matmul(self.reshaped(value, (1, shape[0], n)), table)
        return self.reshaped(y, (shape[0], *out.shape[1:]))


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in _flat(v)]
    if isinstance(value, dict):
        return [x for v in value.values() for x in _flat(v)]
    return [value]


def _with(value: Any, read: Callable[[Any], torch.Tensor]) -> Any:
    """Arguments with every value of the program replaced."""
    if isinstance(value, (list, tuple)):
        return type(value)(_with(v, read) for v in value)
    if isinstance(value, dict):
        return {k: _with(v, read) for k, v in value.items()}
    return read(value) if isinstance(value, (Symbol, Choice)) else value


def _option(k: int) -> Callable[[Choice], torch.Tensor]:
    """Reads what a value is for one option."""
    return lambda choice: choice.table[k]


def _exact(value: Any) -> Fraction | None:
    """A fixed number as a fraction, None for anything else."""
    if isinstance(value, torch.Tensor) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (int, float)) and math.isfinite(value):
        return Fraction(value)
    return None


def _add(low: _Lowering, a: Any, b: Any, *, alpha: Any = 1) -> Symbol:
    return low.add([(low.symbol(a), Fraction(1)), (low.symbol(b), Fraction(alpha))])


def _sub(low: _Lowering, a: Any, b: Any, *, alpha: Any = 1) -> Symbol:
    return _add(low, a, b, alpha=-alpha)


def _mul(low: _Lowering, a: Any, b: Any) -> Symbol:
    for x, y in ((a, b), (b, a)):
        c = _exact(x)
        if c is not None and isinstance(y, (Symbol, Choice)):
            return low.add([(low.symbol(y), c)])
    return low.multiply(low.symbol(a), low.symbol(b))


def _div(low: _Lowering, a: Any, b: Any, **options: Any) -> Symbol:
    c = _exact(b)
    if not c or options:
        raise NotPolynomialError("a division by something that is computed is no polynomial")
    return low.add([(low.symbol(a), 1 / c)])


def _sum(low: _Lowering, a: Symbol, axes: Any = (), keep: bool = False, **options: Any) -> Symbol:
    return low.total(a, [axes] if isinstance(axes, int) else list(axes or ()), keep)


def _mean(low: _Lowering, a: Symbol, axes: Any = (), keep: bool = False, **options: Any) -> Symbol:
    out = _sum(low, a, axes, keep)
    n = math.prod(low.shape(a)) // max(math.prod(low.shape(out)), 1)
    return low.add([(out, Fraction(1, n))])


def _pow(low: _Lowering, a: Any, n: Any) -> Symbol:
    if not isinstance(a, (Symbol, Choice)) or n != int(n) or not 1 <= n <= 16:
        raise NotPolynomialError(f"the power {n} is no polynomial")
    x = low.symbol(a)
    out = x
    for _ in range(int(n) - 1):
        out = low.multiply(out, x)
    return out


def _mm(low: _Lowering, a: Any, b: Any) -> Symbol:
    a, b = low.symbol(a), low.symbol(b)
    out = low.matmul(low.reshaped(a, (1, *low.shape(a))), low.reshaped(b, (1, *low.shape(b))))
    return low.reshaped(out, low.shape(out)[1:])


def _addmm(low: _Lowering, c: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Symbol:
    return low.add([(low.symbol(c), Fraction(beta)), (_mm(low, a, b), Fraction(alpha))])


def _bmm(low: _Lowering, a: Any, b: Any) -> Symbol:
    return low.matmul(low.symbol(a), low.symbol(b))


def _baddbmm(low: _Lowering, c: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Symbol:
    return low.add([(low.symbol(c), Fraction(beta)), (_bmm(low, a, b), Fraction(alpha))])


def _mv(low: _Lowering, a: Any, b: Any) -> Symbol:
    y = _mm(low, a, low.reshaped(low.symbol(b), (*low.shape(b), 1)))
    return low.reshaped(y, low.shape(y)[:1])


def _dot(low: _Lowering, a: Any, b: Any) -> Symbol:
    return low.total(low.multiply(low.symbol(a), low.symbol(b)), (), False)


def _cat(low: _Lowering, values: Sequence[Any], axis: int = 0) -> Symbol:
    shapes = [low.shape(v) for v in values]
    whole = torch.cat([torch.full(s, float(i)) for i, s in enumerate(shapes)], axis).numpy()
    terms = []
    for i, v in enumerate(values):
        index = np.full(whole.shape, -1, dtype=np.int64)
        index[whole == i] = np.arange(math.prod(shapes[i]))
        terms.append((low.take(low.symbol(v), index), Fraction(1)))
    return low.add(terms)


def _stack(low: _Lowering, values: Sequence[Any], axis: int = 0) -> Symbol:
    shape = low.shape(values[0])
    axis %= len(shape) + 1
    inserted = (*shape[:axis], 1, *shape[axis:])
    return _cat(low, [low.reshaped(low.symbol(v), inserted) for v in values], axis)


def _embedding(low: _Lowering, table: Any, index: Any, *rest: Any) -> Symbol:
    table = low.symbol(table)
    n, width = low.shape(table)
    if not isinstance(index, Choice):
        picked = np.arange(n * width).reshape(n, width)[index.numpy()]
        return low.take(table, picked)
    shape = low.shape(index)
    seen = index.table.unsqueeze(-1) == torch.arange(n)
    places = np.broadcast_to(index.places[..., None], (*shape, n))
    hot = low.symbol(Choice(index.name, places, seen))
    y = _mm(low, low.reshaped(hot, (math.prod(shape), n)), table)
    return low.reshaped(y, (*shape, width))


def _convolution(
    low: _Lowering,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Symbol:
    if transposed:
        raise NotPolynomialError("a transposed convolution is not written as windows")
    x, weight = low.symbol(x), low.symbol(weight)
    (n, _, *space), (out, inner, *kernel) = low.shape(x), low.shape(weight)
    number = np.arange(1, math.prod(low.shape(x)) + 1).reshape(low.shape(x))
    number = np.pad(number, [(0, 0), (0, 0), *((q, q) for q in padding)])
    sizes = [
        (m + 2 * q - d * (k - 1) - 1) // s + 1
        for m, q, d, k, s in zip(space, padding, dilation, kernel, stride, strict=True)
    ]
    windows = number
    for i, (size, s, d, k) in enumerate(zip(sizes, stride, dilation, kernel, strict=True)):
        places = np.arange(size)[:, None] * s + np.arange(k) * d
        windows = np.moveaxis(np.take(windows, places.ravel(), axis=2 + i), 2 + i, -1)
        windows = np.moveaxis(windows.reshape(*windows.shape[:-1], size, k), -2, 2 + i)
    # now (n, channels, *sizes, *kernel): one batch of products for every example and group
    axes = len(sizes)
    order = (0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes))
    cut = windows.transpose(order).reshape(n * groups, inner * math.prod(kernel), math.prod(sizes))
    rows = low.reshaped(weight, (groups, out // groups, inner * math.prod(kernel)))
    every = np.arange(math.prod(low.shape(rows))).reshape(low.shape(rows))
    y = low.matmul(low.take(rows, np.tile(every, (n, 1, 1))), low.take(x, cut - 1))
    y = low.reshaped(y, (n, out, *sizes))
    if bias is None:
        return y
    shift = low.reshaped(low.symbol(bias), (1, out, *[1] * axes))
    return low.add([(y, Fraction(1)), (shift, Fraction(1))])


_HANDLERS: dict[str, Callable[..., Any]] = {
    "add": _add,
    "sub": _sub,
    "rsub": lambda low, a, b, alpha=1: _sub(low, b, a, alpha=alpha),
    "neg": lambda low, a: low.add([(low.symbol(a), Fraction(-1))]),
    "mul": _mul,
    "div": _div,
    "sum": _sum,
    "mean": _mean,
    "pow": _pow,
    "square": lambda low, a: _pow(low, a, 2),
    "mm": _mm,
    "addmm": _addmm,
    "bmm": _bmm,
    "baddbmm": _baddbmm,
    "mv": _mv,
    "dot": _dot,
    "cat": _cat,
    "stack": _stack,
    "embedding": _embedding,
    "convolution": _convolution,
}
