"""Means and sums over the examples of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.fx import Node

from ..context import Context
from ..opaque import emit_opaque
from ..values import Stream, Value
from .positions import reduced


def over_examples(
    low: Context, node: Node, x: Value, dims: Sequence[int] | None, keep: bool, mean: bool
) -> Stream | None:
    """A mean or a sum over everything, examples included; None for any other.

    Features are added up first, then positions: both have rules of their own.  What is left is one number for every
    example, whose mean any factor passes.
    """
    s = low.stream(x, node)
    rank = len(s.dims)
    asked = sorted(d % rank for d in dims) if dims else list(range(rank))
    batch = [i for i, d in enumerate(s.dims) if any(a.axis == 0 for a in d)]
    if batch != [0] or asked != list(range(rank)) or len(s.dims[0]) != 1:
        return None
    y: Value = s
    for kind in (s.feature_dims, [i for i in range(1, rank) if i not in s.feature_dims and s.shape[i] > 1]):
        if kind:
            y = reduced(low, node, y, kind, True, mean)

    def call(x: Sequence[torch.Tensor], p: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return x[0].mean() if mean else x[0].sum()

    known = (((("y0", 1), ("x0", -1)),), False)
    gives = node.meta["val"].new_empty(())
    out: Stream = emit_opaque(low, node, [y], "a mean or a sum over examples", call, known=known, gives=gives)
    return out.arranged(((),) * rank if keep else ())
