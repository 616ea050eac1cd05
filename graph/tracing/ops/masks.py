"""Entries that a mask chooses: hidden keys of attention, and gates."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby

import torch
from torch.fx import Node

from lawful.blocks import Concat, Split

from ..arrange import joined_features
from ..context import Context, handles
from ..steps.arithmetic import add, mul
from ..steps.composed import composed
from ..steps.features import along_features, opened
from ..steps.masked import by_data
from ..steps.pointwise import Positive, chosen
from ..steps.routed import hidden_below
from ..steps.scores import SMALL, hidden_keys
from ..values import Data, Fixed, NotUnderstood, Rows, Scores, Stream, Value, number


@handles("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(low: Context, node: Node, x: Value, mask: Value, value: Value) -> Value:
    """Scores without the keys that a mask hides."""
    kept = hidden_below(low, x, node.args[1], value, shown=False)
    if kept is not None:
        return kept
    c = number(value)
    if isinstance(x, Rows) and isinstance(mask, Fixed) and mask.known and c is not None and c < SMALL:
        hidden = torch.zeros(mask.tensor.shape).masked_fill(mask.tensor, -math.inf)
        return replace(x, masks=(*x.masks, hidden))
    if isinstance(x, Stream) and isinstance(mask, Fixed) and mask.known and c is not None and (c == 0 or c < SMALL):
        added = torch.zeros(mask.tensor.shape, dtype=torch.float64).masked_fill(mask.tensor, -math.inf)
        return mul(low, node, x, Fixed((added == 0).to(added))) if c == 0 else add(low, node, x, Fixed(added))
    if isinstance(x, Stream) and isinstance(mask, Stream):
        return composed(low, node, "some entries are replaced")
    if isinstance(x, Stream) and isinstance(mask, Data):
        return by_data(low, node, mask, value, x)
    seen = hidden_keys(x, mask, c, hides=True) if isinstance(x, Scores) else None
    if seen is None:
        raise NotUnderstood("some entries are replaced")
    return seen


@handles("where.self", "where.ScalarOther", "where.ScalarSelf")
def where(low: Context, node: Node, mask: Value, a: Value, b: Value) -> Value:
    """Scores without the keys that a mask hides."""
    if isinstance(mask, Positive):
        try:
            return chosen(low, node, mask, a, b)
        except NotUnderstood as error:
            return composed(low, node, str(error))
    for x, fill, shown in ((a, b, True), (b, a, False)):
        kept = hidden_below(low, x, node.args[0], fill, shown)
        if kept is not None:
            return kept
    c = number(b)
    if isinstance(a, Rows) and isinstance(mask, Fixed) and mask.known and c is not None and c < SMALL:
        hidden = torch.zeros(mask.tensor.shape).masked_fill(~mask.tensor, -math.inf)
        return replace(a, masks=(*a.masks, hidden))
    if isinstance(mask, Stream):
        return composed(low, node, "a choice between two tensors")
    if isinstance(mask, Fixed) and mask.known and _are_streams(a, b) and c != -math.inf and number(a) != -math.inf:
        return _fixed_choice(low, node, mask.tensor, a, b)
    for x, fill in ((a, b), (b, a)):
        seen = hidden_keys(x, mask, number(fill), hides=x is b) if isinstance(x, Scores) else None
        if seen is not None:
            return seen
    if isinstance(mask, Data):
        return by_data(low, node, mask, a, b)
    raise NotUnderstood("a choice between two tensors")


def _are_streams(*values: Value) -> bool:
    """Whether there is a stream among some values, and but for numbers nothing else."""
    streams = [v for v in values if isinstance(v, Stream)]
    return bool(streams) and all(isinstance(v, Stream) or number(v) is not None for v in values)


def _fixed_choice(low: Context, node: Node, mask: torch.Tensor, a: Value, b: Value) -> Value:
    """Entries of two tensors by a mask that depends on nothing: by products with zeros and ones, or side by side."""
    if isinstance(a, Stream) and isinstance(b, Stream):
        return _side_by_side(low, node, mask, a, b)
    x, kept, fill = (a, mask, number(b)) if isinstance(a, Stream) else (b, ~mask, number(a))
    y = mul(low, node, x, Fixed(kept.to(torch.float64)))
    return add(low, node, y, Fixed((~kept).to(torch.float64) * fill)) if fill else y


def _side_by_side(low: Context, node: Node, mask: torch.Tensor, a: Stream, b: Stream) -> Stream:
    """Some features of one tensor, and the others of another one."""
    dim = len(a.dims) - 1
    alike = a.signal == b.signal and a.dims == b.dims and along_features(a, dim)
    if not alike or mask.numel() != mask.shape[-1:].numel() or mask.numel() != a.signal.features:
        raise NotUnderstood("a choice between two tensors")
    runs = [(side, len(list(own))) for side, own in groupby(mask.reshape(-1).tolist())]
    a, b = opened(low, node, a, dim), opened(low, node, b, dim)
    widths = tuple(n for _, n in runs)
    if len(runs) == 1:
        return a if runs[0][0] else b
    pieces = {k: low.emit(node, Split(widths), [s], label="split") for k, s in ((True, a), (False, b))}
    (y,) = low.emit(node, Concat(), [pieces[side][i] for i, (side, _) in enumerate(runs)], label="cat")
    return joined_features(a, y, dim)
