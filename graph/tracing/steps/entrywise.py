"""Functions of single numbers that no block names: what matters of them is seen in their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.fx import Node

from lawful.blocks import Entrywise

from ..context import Context
from ..values import NotUnderstood, Stream, Value
from .pointwise import mapped

REACH = 4.0  # a function is looked at closely between minus this and this
NUMBERS = 2001
FAR = (5.0, 6.5, 10.0, 25.0, 70.0, 150.0, 700.0, 1e4, 1e6)  # and here, on both sides
MET = 20.0  # larger numbers are met seldom
CLOSE = 1e-9  # relative
UNKNOWN = "no rule is known for it"


def entrywise(low: Context, node: Node, x: Value, *options: Any, **named: Any) -> Value:
    """A call that torch marks as point-wise, of one stream and numbers, and that scales with no power of its input.

    Raises:
        NotUnderstood: for other calls: degrees may be known of these.
    """
    target = node.target
    pointwise = isinstance(target, torch._ops.OpOverload) and torch.Tag.pointwise in target.tags
    plain = all(v is None or isinstance(v, (bool, int, float, str)) for v in (*options, *named.values()))
    if not pointwise or not plain or not isinstance(x, Stream) or node.meta["val"].shape != x.shape:
        raise NotUnderstood(UNKNOWN)

    def call(tensors: Sequence[torch.Tensor], parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return target(tensors[0], *options, **named)  # type: ignore[operator]

    said = ", ".join([*map(str, options), *(f"{k}={v}" for k, v in named.items())])
    name = low.place(node).op.partition(".")[0]
    properties = seen(lambda t: call((t,), {}))
    return mapped(low, node, x, Entrywise(f"{name}({said})" if said else name, call, *properties), name)


class Seen(NamedTuple):
    """What values tell of a function of single numbers: the same words as of `Entrywise`."""

    exponential: bool
    keeps_zero: bool
    positive: bool
    parity: int
    pieces: bool
    far: bool


def seen(function: Callable[[torch.Tensor], torch.Tensor]) -> Seen:
    """What matters of a function, by its values and slopes.

    Raises:
        NotUnderstood: for what obeys `x f' = k f` (a power between jumps: laws of sizes hold, with no scale behind
            them), for what has no slope anywhere, and for what gives no numbers.
    """
    far = torch.tensor(FAR, dtype=torch.float64)
    near = torch.linspace(-REACH, REACH, NUMBERS, dtype=torch.float64)
    x = torch.cat([-far.flip(0), near, far]).requires_grad_()
    try:
        with torch.enable_grad():
            y = function(x)
            (slope,) = torch.autograd.grad(y.sum(), x)
    except Exception as error:
        raise NotUnderstood(UNKNOWN) from error
    y, x = y.detach(), x.detach()
    finite = y.isfinite() & slope.isfinite()
    if y.shape != x.shape or not finite.any() or not slope[finite].any():
        raise NotUnderstood(UNKNOWN)
    if _multiple((x * slope)[finite], y[finite]):
        raise NotUnderstood(UNKNOWN)
    zero = float(function(torch.zeros((), dtype=torch.float64)))
    both = finite & finite.flip(0)
    parity = next((sign for sign in (1, -1) if both.any() and _same(y[both], sign * y.flip(0)[both])), 0)
    exponential = _multiple(slope[finite], y[finite])
    pieces = _has_kinks(slope[len(FAR) : -len(FAR)])
    near = x.abs() <= MET
    between = bool(finite[near].all()) and _multiple((x * slope)[near], y[near])
    return Seen(exponential, zero == 0, bool((y[finite] >= 0).all()), parity, pieces, between)


def _has_kinks(slope: torch.Tensor) -> bool:
    """Whether slopes jump: steps between neighbours that do not get smaller where these lie closer."""
    slope = slope[slope.isfinite()]
    if len(slope) < 3:
        return True
    near, far = slope.diff().abs().amax(), slope[::2].diff().abs().amax()
    return bool(near >= 0.75 * far)  # also of a straight piece, whose ends lie farther out


def _multiple(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether one tensor is a multiple of another."""
    at = int(b.abs().argmax())
    return bool(b[at]) and _same(a, b * (a[at] / b[at]))


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(((a - b).abs() <= CLOSE * (1 + b.abs())).all())


__all__ = ["REACH", "Seen", "entrywise", "seen"]
