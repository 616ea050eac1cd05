"""Normalisations: LayerNorm, RMSNorm, GroupNorm, InstanceNorm, BatchNorm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from lawful.blocks import BatchNormCore, FrozenBatchNorm, GroupNormCore, InstanceNormCore
from lawful.theory.oracle.composed import DEFAULT

from ..arrange import exact
from ..context import Context, handles
from ..layout import Atom, merged, size, view
from ..steps.arithmetic import add, mul
from ..steps.norms import gained, over_features
from ..steps.reparametrised import standardised
from ..values import Fixed, NotUnderstood, Stream, Value, Weight


@handles("native_layer_norm")
def native_layer_norm(low: Context, node: Node, *args: Any) -> Value:
    """LayerNorm with its statistics, which only its backward reads."""
    return layer_norm(low, node, *args), None, None


@handles("layer_norm")
def layer_norm(
    low: Context,
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


def _affine(low: Context, node: Node, s: Stream, weight: Value, bias: Value, count: int) -> Value:
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
    low: Context, node: Node, x: Value, shape: Sequence[int], weight: Value = None, epsilon: float | None = None
) -> Value:
    """RMSNorm."""
    tiny = DEFAULT if epsilon is None else epsilon
    out = over_features(low, node, x, len(shape), tiny, centre=False)
    return _affine(low, node, out, weight, None, len(shape))


@handles("group_norm")
def group_norm(
    low: Context,
    node: Node,
    x: Value,
    groups: int,
    weight: Value = None,
    bias: Value = None,
    epsilon: float = 1e-5,
    *rest: Any,
) -> Value:
    """GroupNorm over groups of channels and all positions, or at every position that counts as an example."""
    if isinstance(x, Stream) and len(x.dims[0]) > 1:
        if len(x.dims) > 2:
            raise NotUnderstood("groups that are normalised window by window")
        parts = x.arranged((x.dims[0], *view(x.dims[1:], [groups, x.shape[1] // groups])))
        y = over_features(low, node, parts, 1, epsilon, True)
        return gained(low, node, y.arranged((y.dims[0], merged((*y.dims[1], *y.dims[2])))), weight, bias)
    s = exact(low, node, low.stream(x, node, channels_first=True), 1, first=True)
    (y,) = low.emit(node, GroupNormCore(s.signal.features, groups, epsilon), [s])
    return gained(low, node, y.arranged(s.dims), weight, bias)


@handles("instance_norm")
def instance_norm(
    low: Context,
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
    if not use_input or (isinstance(x, Stream) and len(x.dims[0]) > 1):
        raise NotUnderstood("InstanceNorm with fixed statistics, or window by window")
    s = exact(low, node, low.stream(x, node, channels_first=True), 1, first=True)
    (y,) = low.emit(node, InstanceNormCore(s.signal.features, epsilon), [s])
    return gained(low, node, y.arranged(s.dims), weight, bias)


@handles("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm")
def batch_norm(
    low: Context,
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
