"""Normalisations, fused and written out."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from lawful.blocks import (
    Affine,
    BatchNormCore,
    Block,
    FrozenBatchNorm,
    GroupNormCore,
    HeadNormCore,
    InstanceNormCore,
    L2Norm,
    LayerNormCore,
    RMSNormCore,
    Scale,
)
from lawful.theory.oracle.composed import DEFAULT

from ..arrange import exact, focus
from ..layout import Atom, size
from ..lowering import Lowering, handles
from ..values import Fixed, NotUnderstood, Stream, Value, Weight
from .maps import bias_name
from .parts import standardised

CASTS = ("to.", "_to_copy", "float", "contiguous", "clone", "type_as", "alias", "expand")


def gained(low: Lowering, node: Node, s: Stream, weight: Value, bias: Value) -> Stream:
    """A gain and a shift per feature behind a norm."""
    names: dict[str, str] = {}
    for local, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            names[local] = bias_name(value, s.signal.features)["bias"]
    if not names:
        return s
    block = Affine(s.signal.features, "weight" in names, "bias" in names)
    base = next(iter(names.values())).rpartition(".")[0].rpartition(".")[2]
    label = "affine" if low.place(node).module.endswith(base) else f"{base}.affine" if base else "affine"
    (y,) = low.emit(node, block, [s], names, label=label)
    return y.arranged(s.dims)


def over_features(low: Lowering, node: Node, x: Value, count: int, epsilon: float, centre: bool) -> Stream:
    """LayerNorm or RMSNorm over the last dimensions: all features, or those of every head."""
    s = low.stream(x, node, channels_first=False)
    if count > 1:
        from ..layout import view

        lead = s.shape[:-count]
        merged = s.arranged(view(s.dims, (*lead, math.prod(s.shape[-count:]))))
        out = over_features(low, node, merged, 1, epsilon, centre)
        return out.arranged(view(out.dims, s.shape))
    return _normed(low, node, s, len(s.dims) - 1, epsilon, centre)


def _normed(low: Lowering, node: Node, s: Stream, dim: int, epsilon: float, centre: bool) -> Stream:
    own, every = s.dims[dim], s.feature_atoms
    block: Block
    if own and len(own) < len(every) and own == every[-len(own) :]:
        heads = math.prod(a.size for a in every[: -len(own)])
        block = HeadNormCore(heads, centre, epsilon)
    else:
        whole = size(own) == s.signal.features and all(a.axis == s.feature_axis for a in own)
        if not whole:
            s = focus(low, node, s, dim)
        block = (LayerNormCore if centre else RMSNormCore)(s.signal.features, epsilon)
    (y,) = low.emit(node, block, [s])
    return y.arranged(s.dims)


@handles("layer_norm", "native_layer_norm")
def layer_norm(
    low: Lowering,
    node: Node,
    x: Value,
    shape: Sequence[int],
    weight: Value = None,
    bias: Value = None,
    epsilon: float = 1e-5,
    *rest: Any,
) -> Value:
    """LayerNorm."""
    s = low.stream(x, node, channels_first=False)
    feature = s.feature_dims
    lead = len(s.dims) - len(shape)
    if len(shape) > 1 and feature and len(feature) == 1 and feature[0] >= lead and lead == 1 and s.signal.positions > 1:
        # over features and positions of an example: a GroupNorm with one group
        if weight is not None or bias is not None:
            raise NotUnderstood("gains of LayerNorm that differ from position to position")
        (y,) = low.emit(node, GroupNormCore(s.signal.features, 1, epsilon), [s])
        return y.arranged(s.dims)
    out = over_features(low, node, s, len(shape), epsilon, centre=True)
    return _affine(low, node, out, weight, bias, len(shape))


def _affine(low: Lowering, node: Node, s: Stream, weight: Value, bias: Value, count: int) -> Value:
    from .joins import add, mul

    out: Value = s
    if (
        len(s.feature_atoms) == sum(len(d) for d in s.dims[-count:])
        and s.feature_dims == list(range(len(s.dims) - count, len(s.dims)))
        and size(tuple(s.feature_atoms)) == s.signal.features
    ):
        return gained(low, node, s, weight, bias)
    if weight is not None:
        out = mul(low, node, out, weight)
    return out if bias is None else add(low, node, out, bias)


@handles("rms_norm")
def rms_norm(
    low: Lowering, node: Node, x: Value, shape: Sequence[int], weight: Value = None, epsilon: float | None = None
) -> Value:
    """RMSNorm."""
    tiny = DEFAULT if epsilon is None else epsilon
    out = over_features(low, node, x, len(shape), tiny, centre=False)
    return _affine(low, node, out, weight, None, len(shape))


@handles("group_norm")
def group_norm(
    low: Lowering,
    node: Node,
    x: Value,
    groups: int,
    weight: Value = None,
    bias: Value = None,
    epsilon: float = 1e-5,
    *rest: Any,
) -> Value:
    """GroupNorm over groups of channels and all positions."""
    s = exact(low, node, low.stream(x, node, channels_first=True), 1, first=True)
    (y,) = low.emit(node, GroupNormCore(s.signal.features, groups, epsilon), [s])
    return gained(low, node, y.arranged(s.dims), weight, bias)


@handles("instance_norm")
def instance_norm(
    low: Lowering,
    node: Node,
    x: Value,
    weight: Value,
    bias: Value,
    mean: Value,
    var: Value,
    use_input: bool,
    momentum: float,
    epsilon: float,
    *rest: Any,
) -> Value:
    """InstanceNorm."""
    if not use_input:
        raise NotUnderstood("InstanceNorm with fixed statistics")
    s = exact(low, node, low.stream(x, node, channels_first=True), 1, first=True)
    (y,) = low.emit(node, InstanceNormCore(s.signal.features, epsilon), [s])
    return gained(low, node, y.arranged(s.dims), weight, bias)


@handles("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm")
def batch_norm(
    low: Lowering,
    node: Node,
    x: Value,
    weight: Value,
    bias: Value,
    mean: Value,
    var: Value,
    training: bool = False,
    momentum: float = 0.1,
    epsilon: float = 1e-5,
    *rest: Any,
) -> Value:
    """BatchNorm, by the batch or by fixed statistics."""
    if isinstance(x, Weight) and training and bias is None:
        gain = node.args[1] if len(node.args) > 1 else None
        return standardised(low, node, x, gain if isinstance(gain, Node) else None, epsilon)
    first = len(node.meta["val"].shape) > 2 if not isinstance(node.meta["val"], (tuple, list)) else True
    s = low.stream(x, node, channels_first=first)
    if s.dims[1] != (Atom(s.feature_axis, s.signal.features),):  # positions may stand in any order
        s = exact(low, node, s, 1, first=first)
    if training or mean is None:
        (y,) = low.emit(node, BatchNormCore(s.signal.features, epsilon), [s])
    else:
        if not isinstance(mean, Fixed) or not isinstance(var, Fixed):
            raise NotUnderstood("BatchNorm with statistics that are computed")
        (y,) = low.emit(node, FrozenBatchNorm(s.signal.features, epsilon), [s])
        low.builder.state[f"{y.port[0]}.running_mean"] = mean.tensor
        low.builder.state[f"{y.port[0]}.running_var"] = var.tensor
    return gained(low, node, y.arranged(s.dims), weight, bias)


def plain(node: Any) -> Any:
    """A node without the casts and copies around it."""
    while isinstance(node, Node) and node.op == "call_function" and _op(node).startswith(CASTS):
        node = node.args[0]
    return node


def _op(node: Any) -> str:
    if not isinstance(node, Node) or node.op != "call_function" or node.target is operator.getitem:
        return ""
    return str(node.target).removeprefix("aten.")


def rms_pattern(node: Node) -> tuple[Node, float, list[int]] | None:
    """`x * rsqrt(mean(x^2) + epsilon)` or `x / sqrt(...)`: x, epsilon and the dimensions of the mean."""
    for a, b in ((node.args[0], node.args[1]), (node.args[1], node.args[0])):
        found = _inverse_root(plain(b), divided=_op(node).startswith("div"))
        if found is None or (_op(node).startswith("div") and b is not node.args[1]):
            continue
        square, epsilon = found
        square = plain(square)
        if not _op(square).startswith("mean.dim"):
            continue
        x = _squared(plain(square.args[0]))
        if x is not None and plain(x) is plain(a):
            return plain(a), epsilon, list(square.args[1])
    return None


def layer_pattern(node: Node) -> tuple[Node, float, list[int]] | None:
    """`(x - mean(x)) / sqrt(var(x) + epsilon)`: x, epsilon and the dimensions."""
    for a, b in ((node.args[0], node.args[1]), (node.args[1], node.args[0])):
        found = _inverse_root(plain(b), divided=_op(node).startswith("div"))
        if found is None or (_op(node).startswith("div") and b is not node.args[1]):
            continue
        var, epsilon = found
        var, centred = plain(var), plain(a)
        if not _op(centred).startswith("sub"):
            continue
        x, mean = (plain(n) for n in centred.args[:2])
        if not _op(mean).startswith("mean.dim") or plain(mean.args[0]) is not x:
            continue
        if _op(var).startswith("var.correction") and plain(var.args[0]) is x and var.kwargs.get("correction") == 0:
            return x, epsilon, list(mean.args[1])
        if _op(var).startswith("var.dim") and plain(var.args[0]) is x and var.args[2] is False:
            return x, epsilon, list(mean.args[1])
        if _op(var).startswith("mean.dim"):
            inner = _squared(plain(var.args[0]))
            inner = plain(inner) if inner is not None else None
            same = inner is centred or (
                _op(inner).startswith("sub") and [plain(n) for n in inner.args[:2]] == [x, mean]
            )
            if same:
                return x, epsilon, list(mean.args[1])
    return None


def length_pattern(node: Node) -> tuple[Node, float, list[int]] | None:
    """`x / max(||x||, epsilon)`: x, epsilon and the dimensions."""
    if not _op(node).startswith("div"):
        return None
    a, b = plain(node.args[0]), plain(node.args[1])
    epsilon = 0.0
    if _op(b).startswith("clamp_min") or _op(b).startswith("clamp."):
        epsilon, b = float(b.args[1]), plain(b.args[0])
    if _op(b).startswith(("norm.", "linalg_vector_norm")) and plain(b.args[0]) is a:
        order = b.args[1] if len(b.args) > 1 else 2
        dims = b.args[2] if len(b.args) > 2 else None
        if order in (2, 2.0) and dims is not None:
            return a, epsilon, [dims] if isinstance(dims, int) else list(dims)
    return None


def _inverse_root(b: Any, divided: bool) -> tuple[Any, float] | None:
    """What stands under an inverse root, and the number added to it."""
    op = _op(b)
    if divided:
        if not (op.startswith("sqrt") or (op.startswith("pow.Tensor_Scalar") and b.args[1] == 0.5)):
            return None
    elif not (op.startswith("rsqrt") or (op.startswith("pow.Tensor_Scalar") and b.args[1] == -0.5)):
        return None
    inner = plain(b.args[0])
    if _op(inner).startswith("add.") and not isinstance(inner.args[1], Node):
        return plain(inner.args[0]), float(inner.args[1])
    return inner, 0.0


def _squared(node: Any) -> Any:
    """What is squared, None if it is no square."""
    op = _op(node)
    if op.startswith("pow.Tensor_Scalar") and node.args[1] == 2:
        return node.args[0]
    if op.startswith("square"):
        return node.args[0]
    if op.startswith("mul.Tensor") and node.args[0] is node.args[1]:
        return node.args[0]
    return None


def written_out(low: Lowering, node: Node) -> Value | None:
    """The norm that a product or quotient is the end of, if it is one."""
    for pattern, centre in ((rms_pattern, False), (layer_pattern, True)):
        found = pattern(node)
        if found is not None:
            x, epsilon, dims = found
            s = low.stream(low.env[x], node, channels_first=False)
            if [d % len(s.dims) for d in dims] == s.feature_dims and len(dims) == 1:
                return _normed(low, node, s, dims[0] % len(s.dims), epsilon, centre)
            if [d % len(s.dims) for d in dims] == [len(s.dims) - 1]:
                return over_features(low, node, s, 1, epsilon, centre)
    found = length_pattern(node)
    if found is not None:
        x, epsilon, dims = found
        s = low.stream(low.env[x], node, channels_first=False)
        if len(dims) == 1:
            dim = dims[0] % len(s.dims)
            own, every = s.dims[dim], s.feature_atoms
            if own and len(own) < len(every) and own == every[-len(own) :]:
                y = _normed(low, node, s, dim, 0.0, False)
                (y,) = low.emit(node, Scale(size(own) ** -0.5), [y], label="length")
                return y.arranged(s.dims)
            if size(own) != s.signal.features or any(a.axis != s.feature_axis for a in own):
                s = focus(low, node, s, dim)
            (y,) = low.emit(node, L2Norm(s.signal.features, epsilon), [s])
            return y.arranged(s.dims)
    return None


__all__ = ["gained", "over_features", "written_out"]
