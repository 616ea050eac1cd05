"""Linear and bilinear maps."""

from __future__ import annotations

from torch.fx import Node

from lawful.blocks import Bilinear

from ..arrange import focus
from ..context import Context, handles
from ..layout import Atom
from ..sources import arranged_name
from ..steps.maps import dense
from ..steps.parameters import bias_name
from ..values import NotUnderstood, Value, Weight


@handles("linear")
def linear(low: Context, node: Node, x: Value, weight: Value, bias: Value = None) -> Value:
    """`x W^T + b`."""
    return dense(low, node, x, weight, bias, out=0, inn=1)


@handles("addmm")
def addmm(low: Context, node: Node, bias: Value, x: Value, weight: Value) -> Value:
    """`b + x W`."""
    return dense(low, node, x, weight, bias, out=1, inn=0)


@handles("bilinear")
def bilinear(low: Context, node: Node, x: Value, y: Value, weight: Value, bias: Value = None) -> Value:
    """`y_k = u^T W_k v + b_k`."""
    if not isinstance(weight, Weight):
        raise NotUnderstood("a bilinear form whose weight is computed")
    width, first, second = weight.shape
    u, v = (focus(low, node, low.stream(t, node, channels_first=False), -1) for t in (x, y))
    if u.signal.space != v.signal.space:
        raise NotUnderstood("a bilinear form of tensors at other positions")
    names = {"weight": arranged_name(weight, [a for d in weight.dims for a in d])} | bias_name(bias, width)
    (z,) = low.emit(node, Bilinear(first, second, width, "bias" in names), [u, v], names)
    return z.arranged((*u.dims[:-1], (Atom(z.feature_axis, width),) if width > 1 else ()))
