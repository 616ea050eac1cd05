"""Sums, differences, products and quotients."""

from __future__ import annotations

from torch.fx import Node

from lawful.blocks import Blend, Pointwise

from ..context import Context, handles
from ..steps.arithmetic import add, mul
from ..steps.features import centred, log_softmax
from ..steps.norms import written_out
from ..steps.sinks import Sunk, without_largest
from ..values import Data, Fixed, NotUnderstood, Scores, Stream, Value, Weight, number

handles("add.Tensor", "add.Scalar")(add)
handles("mul.Tensor", "mul.Scalar")(mul)


@handles("sub.Tensor", "sub.Scalar")
def sub(low: Context, node: Node, a: Value, b: Value, alpha: float = 1) -> Value:
    """`a - alpha b`."""
    if isinstance(b, (int, float)):
        return add(low, node, a, -b * alpha)
    if isinstance(a, (Scores, Sunk)) and alpha == 1 and without_largest(node):
        return a
    if (
        isinstance(a, Stream)
        and alpha == 1
        and (found := centred(low, node, a) or log_softmax(low, node, a)) is not None
    ):
        return found
    return add(low, node, a, mul(low, node, b, -alpha))


@handles("rsub.Scalar", "rsub.Tensor")
def rsub(low: Context, node: Node, a: Value, b: Value, alpha: float = 1) -> Value:
    """`b - alpha a`."""
    if b == 1 and alpha == 1 and isinstance(a, Stream):
        (y,) = low.emit(node, Pointwise("one_minus"), [a], label="one_minus")
        return y.arranged(a.dims)
    return add(low, node, mul(low, node, a, -alpha), b)


@handles("div.Tensor", "div.Scalar", "true_divide.Tensor")
def div(low: Context, node: Node, a: Value, b: Value) -> Value:
    """`a / b`."""
    c = number(b)
    if c is not None:
        return mul(low, node, a, 1 / c)
    if isinstance(a, (Stream, Data, Weight)):
        found = written_out(low, node)
        if found is not None:
            return found
    if isinstance(b, Fixed):
        return mul(low, node, a, Fixed(1 / b.tensor))
    if isinstance(b, Data):
        b = low.stream(b, node)
    if isinstance(b, Stream):
        (inverse,) = low.emit(node, Pointwise("reciprocal"), [b], label="reciprocal")
        return mul(low, node, a, inverse.arranged(b.dims))
    raise NotUnderstood("a quotient")


@handles("addcmul")
def plus_product(low: Context, node: Node, x: Value, a: Value, b: Value, *, value: float = 1) -> Value:
    """`x + value a b`."""
    return add(low, node, x, mul(low, node, a, b), value)


@handles("addcdiv")
def plus_quotient(low: Context, node: Node, x: Value, a: Value, b: Value, *, value: float = 1) -> Value:
    """`x + value a / b`."""
    return add(low, node, x, div(low, node, a, b), value)


@handles("lerp.Tensor", "lerp.Scalar")
def lerp(low: Context, node: Node, a: Value, b: Value, g: Value) -> Value:
    """`a + g (b - a)`."""
    c = number(g)
    if c is not None:
        return add(low, node, mul(low, node, a, 1 - c), mul(low, node, b, c))
    x, y, z = (low.stream(v, node) for v in (g, b, a))
    if not x.dims == y.dims == z.dims or not x.signal == y.signal == z.signal:
        raise NotUnderstood("a blend of unlike tensors")
    (out,) = low.emit(node, Blend(), [x, y, z], label="blend")
    return out.arranged(x.dims)
