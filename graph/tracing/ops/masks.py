"""Entries that a mask chooses: hidden keys of attention, and gates."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch.fx import Node

from ..context import Context, handles
from ..steps.arithmetic import add, mul
from ..steps.pointwise import Positive, chosen
from ..steps.routed import hidden_below
from ..steps.scores import SMALL, fixed_bias, with_bias
from ..values import Bias, Fixed, NotUnderstood, Rows, Scores, Stream, Value, number


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
    if not isinstance(x, Scores) or not isinstance(mask, Fixed) or c is None or c > SMALL or not mask.known:
        raise NotUnderstood("some entries are replaced")
    t = torch.zeros(mask.tensor.shape).masked_fill(mask.tensor, -math.inf)
    return with_bias(x, Bias(fixed=fixed_bias(x, t)))


@handles("where.self", "where.ScalarOther")
def where(low: Context, node: Node, mask: Value, a: Value, b: Value) -> Value:
    """Scores without the keys that a mask hides."""
    if isinstance(mask, Positive):
        return chosen(low, node, mask, a, b)
    for x, fill, shown in ((a, b, True), (b, a, False)):
        kept = hidden_below(low, x, node.args[0], fill, shown)
        if kept is not None:
            return kept
    c = number(b)
    if isinstance(a, Rows) and isinstance(mask, Fixed) and mask.known and c is not None and c < SMALL:
        hidden = torch.zeros(mask.tensor.shape).masked_fill(~mask.tensor, -math.inf)
        return replace(a, masks=(*a.masks, hidden))
    if not isinstance(a, Scores) or not isinstance(mask, Fixed) or c is None or c > SMALL or not mask.known:
        raise NotUnderstood("a choice between two tensors")
    t = torch.zeros(mask.tensor.shape).masked_fill(~mask.tensor, -math.inf)
    return with_bias(a, Bias(fixed=fixed_bias(a, t)))
