"""Operations that stand for several blocks: gated units, bilinear forms, normalised weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from lawful.blocks import Affine, Bilinear, Pointwise, Product, UnitLinear

from ..arrange import focus
from ..layout import Atom
from ..lowering import Lowering, handles
from ..sources import arranged_name
from ..values import Data, Fixed, Lazy, NotUnderstood, Stream, Value, Weight
from .joins import joined
from .maps import bias_name, embedding
from .pointwise import mapped
from .positions import reduced
from .views import piece


@handles("glu")
def glu(low: Lowering, node: Node, x: Value, dim: int = -1) -> Value:
    """Half of the features times the sigmoid of the others."""
    s = low.stream(x, node)
    n = s.shape[dim] // 2
    value, gate = (piece(low, node, s, dim, [n, n], i, gone=False) for i in (0, 1))
    return joined(low, node, Product(), value, mapped(low, node, gate, Pointwise("sigmoid"), "gate"))


@handles("bilinear")
def bilinear(low: Lowering, node: Node, x: Value, y: Value, weight: Value, bias: Value = None) -> Value:
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


@dataclass(frozen=True, kw_only=True)
class Directed(Lazy):
    """A weight whose rows have given lengths: `g v / ||v||`.

    Attributes:
        v: the directions.
        g: the lengths, one for every row.
    """

    v: Weight
    g: Weight

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return self.v.shape


@dataclass(frozen=True, kw_only=True)
class Unit(Lazy):
    """A weight whose rows have length 1: `v / ||v||`.

    Attributes:
        v: the directions.
    """

    v: Weight

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return self.v.shape


def unit_map(low: Lowering, node: Node, x: Value, weight: Unit) -> Stream:
    """A linear map by a matrix whose rows have length 1."""
    width, features = weight.shape
    s = focus(low, node, low.stream(x, node, channels_first=False), -1)
    name = arranged_name(weight.v, [a for d in weight.v.dims for a in d])
    (y,) = low.emit(node, UnitLinear(features, width), [s], {"weight": name}, label="direction")
    return y.arranged((*s.dims[:-1], (Atom(y.feature_axis, width),) if width > 1 else ()))


@handles("_weight_norm_interface", "_weight_norm")
def weight_norm(low: Lowering, node: Node, v: Value, g: Value, dim: int = 0) -> Value:
    """A weight with the length of every row as a parameter of its own."""
    if not isinstance(v, Weight) or not isinstance(g, Weight) or dim != 0 or len(v.shape) != 2:
        raise NotUnderstood("normalised weights of another shape than a matrix by rows")
    found = Directed(v=v, g=g)
    return (found, None) if isinstance(node.meta["val"], (tuple, list)) else found


def directed_map(low: Lowering, node: Node, x: Value, weight: Directed, bias: Value) -> Stream:
    """A linear map by a weight-normalised matrix."""
    width, features = weight.shape
    s = focus(low, node, low.stream(x, node, channels_first=False), -1)
    name = arranged_name(weight.v, [a for d in weight.v.dims for a in d])
    (y,) = low.emit(node, UnitLinear(features, width), [s], {"weight": name}, label="direction")
    names = {"weight": arranged_name(weight.g, [a for d in weight.g.dims for a in d])} | bias_name(bias, width)
    (z,) = low.emit(node, Affine(width, True, "bias" in names), [y], names)
    return z.arranged((*s.dims[:-1], (Atom(z.feature_axis, width),) if width > 1 else ()))


@handles("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(
    low: Lowering, node: Node, weight: Value, tokens: Value, offsets: Value, *rest: Any, **options: Any
) -> Value:
    """The mean or the sum of rows of a table, as many for every example."""
    bags = node.args[1]
    source: Any = bags.args[0] if isinstance(bags, Node) and bags.op == "call_function" else None
    shape = tuple(source.meta["val"].shape) if isinstance(source, Node) else ()
    weighed = len(rest) > 3 and rest[3] is not None
    mode = rest[1] if len(rest) > 1 else 0
    even = isinstance(offsets, Fixed) and len(shape) == 2 and shape[0] == low.batch == offsets.shape[0]
    if not even or weighed or mode not in (0, 1) or not isinstance(low.env.get(source), Data):
        raise NotUnderstood("bags of tokens of different sizes, weights, or a maximum")
    s = embedding(low, node, weight, low.env[source])
    y = reduced(low, node, s, [1], False, mean=mode == 1)
    return (y, None, None, None) if isinstance(node.meta["val"], (tuple, list)) else y
