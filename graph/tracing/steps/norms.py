"""Normalisations over features, fused or written out, and the gain behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch.fx import Node

from lawful.blocks import Affine, Block, HeadNormCore, InstanceNormCore, L2Norm, LayerNormCore, RMSNormCore, Scale
from lawful.blocks.norms import GUARD

from ..arrange import focus
from ..context import Context
from ..layout import COPIES, size, view
from ..values import Stream, Value
from .parameters import bias_name
from .patterns import beside_pattern, layer_pattern, length_pattern, rms_pattern


def gained(low: Context, node: Node, s: Stream, weight: Value, bias: Value) -> Stream:
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


def over_features(low: Context, node: Node, x: Value, count: int, epsilon: float, centre: bool) -> Stream:
    """LayerNorm or RMSNorm over the last dimensions: all features, or those of every head."""
    s = low.stream(x, node, channels_first=False)
    if count > 1:
        lead = s.shape[:-count]
        merged = s.arranged(view(s.dims, (*lead, math.prod(s.shape[-count:]))))
        out = over_features(low, node, merged, 1, epsilon, centre)
        return out.arranged(view(out.dims, s.shape))
    return _normed(low, node, s, len(s.dims) - 1, epsilon, centre)


def _normed(
    low: Context, node: Node, s: Stream, dim: int, epsilon: float, centre: bool, beside: bool = False
) -> Stream:
    own, every = s.dims[dim], s.feature_atoms
    block: Block
    if not beside and own and len(own) < len(every) and own == every[-len(own) :]:
        heads = math.prod(a.size for a in every[: -len(own)])
        block = HeadNormCore(heads, centre, epsilon)
    else:
        whole = size(own) == s.signal.features and all(a.axis == s.feature_axis for a in own)
        if not whole:
            s = focus(low, node, s, dim)
        block = (LayerNormCore if centre else RMSNormCore)(s.signal.features, epsilon, beside)
    (y,) = low.emit(node, block, [s])
    return y.arranged(s.dims)


def _over_positions(
    low: Context, node: Node, s: Stream, dims: Sequence[int], epsilon: float, centre: bool
) -> Stream | None:
    """A norm over all positions of an example, for every feature by itself; None for any other."""
    own = [a for d in dims for a in s.dims[d]]
    positions = all(a.axis not in (0, s.feature_axis, COPIES) for a in own)
    if not positions or not math.prod(a.size for a in own) == s.signal.positions > 1:
        return None
    (y,) = low.emit(node, InstanceNormCore(s.signal.features, epsilon, centre), [s])
    return y.arranged(s.dims)


def written_out(low: Context, node: Node) -> Value | None:
    """The norm that a product or quotient is the end of, if it is one."""
    for pattern, centre in ((rms_pattern, False), (layer_pattern, True)):
        found = pattern(node)
        if found is not None:
            x, epsilon, dims = found
            s = low.stream(low.env[x], node, channels_first=False)
            alone = _over_positions(low, node, s, [d % len(s.dims) for d in dims], epsilon, centre)
            if alone is not None:
                return alone
            if [d % len(s.dims) for d in dims] == s.feature_dims and len(dims) == 1:
                return _normed(low, node, s, dims[0] % len(s.dims), epsilon, centre)
            if [d % len(s.dims) for d in dims] == [len(s.dims) - 1]:
                return over_features(low, node, s, 1, epsilon, centre)
    guarded = beside_pattern(node)
    if guarded is not None:
        x, epsilon, dims, centre = guarded
        s = low.stream(low.env[x], node, channels_first=False)
        if len(dims) == 1:
            return _normed(low, node, s, dims[0] % len(s.dims), epsilon, centre, beside=True)
    found = length_pattern(node)
    if found is not None:
        x, epsilon, dims = found
        s = low.stream(low.env[x], node, channels_first=False)
        if epsilon <= GUARD:
            alone = _over_positions(low, node, s, [d % len(s.dims) for d in dims], 0.0, False)
            if alone is not None:
                (y,) = low.emit(node, Scale(s.signal.positions**-0.5), [alone], label="length")
                return y.arranged(s.dims)
        if len(dims) == 1:
            dim = dims[0] % len(s.dims)
            own, every = s.dims[dim], s.feature_atoms
            if epsilon <= GUARD and own and len(own) < len(every) and own == every[-len(own) :]:
                y = _normed(low, node, s, dim, 0.0, False)
                (y,) = low.emit(node, Scale(size(own) ** -0.5), [y], label="length")
                return y.arranged(s.dims)
            if size(own) != s.signal.features or any(a.axis != s.feature_axis for a in own):
                if len(s.feature_dims) > 1 and dim not in s.feature_dims:
                    return None  # a length over positions of every feature of a head
                s = focus(low, node, s, dim)
            (y,) = low.emit(node, L2Norm(s.signal.features, epsilon), [s])
            return y.arranged(s.dims)
    return None
