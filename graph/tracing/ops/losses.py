"""Losses that a module computes itself: where its outputs end in single numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Node
from torch.nn import functional

from lawful.blocks import Pointwise

from ..arguments import Arguments
from ..context import Context, handles
from ..opaque import emit_opaque
from ..steps.pointwise import mapped
from ..values import Data, NotUnderstood, Stream, Value
from .pointwise import softmax

REDUCTIONS = ("none", "mean", "sum")


@handles("cross_entropy_loss")
def cross_entropy(
    low: Context,
    node: Node,
    x: Value,
    target: Value,
    weight: Value = None,
    reduction: int = 1,
    ignore: int = -100,
    smoothing: float = 0.0,
) -> Stream:
    """The softmax of the logits, and what their classes pick of its logarithm."""
    integers = isinstance(target, Data) and not target.example.is_floating_point()
    s = low.stream(x, node)
    if weight is not None or smoothing or not integers:
        raise NotUnderstood("a cross-entropy with weights, soft targets or targets that are computed")
    y = softmax(low, node, s, 1 if len(s.dims) > 1 else 0)
    logs = mapped(low, node, y, Pointwise("log"), "log")

    def call(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return functional.nll_loss(p, t, reduction=REDUCTIONS[reduction], ignore_index=ignore)

    return _end(low, node, [logs, target], call)


@handles("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
def distance(low: Context, node: Node, x: Value, y: Value, *options: Any, **named: Any) -> Stream:
    """A function of what the network gives minus a target of the data."""
    return _against_data(low, node, x, y, *options, **named)


@handles("binary_cross_entropy", "binary_cross_entropy_with_logits")
def binary(low: Context, node: Node, x: Value, y: Value, *options: Any, **named: Any) -> Stream:
    """The negative logarithm of what the network gives to the classes of the data."""
    return _against_data(low, node, x, y, *options, **named)


def _against_data(low: Context, node: Node, x: Value, y: Value, *options: Any, **named: Any) -> Stream:
    if isinstance(x, Data):
        x, y, turned = y, x, True
    else:
        turned = False
    if not isinstance(x, Stream) or not isinstance(y, Data) or any(isinstance(o, (Stream, Data)) for o in options):
        raise NotUnderstood("a loss between two things that are computed")
    target: Callable[..., Any] = node.target  # type: ignore[assignment]

    def call(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = target(*((b, a) if turned else (a, b)), *options, **named)
        return found

    return _end(low, node, [x, y], call)


def _end(low: Context, node: Node, values: Sequence[Value], call: Callable[..., torch.Tensor]) -> Stream:
    """A function of a prediction and the data that sees every change of the prediction, and is no power of it."""
    arguments = Arguments(low, node)
    plans = [arguments.plan(v) for v in values]
    read = [f"x{i}" for i in range(len(arguments.reads))]
    equations = tuple(((n, 1),) for n in (*read, "y0"))
    out: Stream = emit_opaque(
        low,
        node,
        arguments.reads,
        "a loss",
        lambda x, p: call(*[f(x, p) for f in plans]),
        names=arguments.names,
        known=(equations, False),
    )
    return out
