"""Functions of single numbers that a forward writes out in several calls: `where(x > 1, x, 0.1 x)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import Entrywise, ReLU
from lawful.theory.oracle.double import WIDE

from ..context import Context
from ..purity import name_of
from ..values import Fixed, NotUnderstood, Stream, Value
from .arithmetic import times
from .entrywise import REACH, seen
from .pointwise import leaky, mapped

CHOICES = ("where", "masked_fill")
CASTS = ("to", "_to_copy", "clone", "alias", "contiguous")
MOST = 40  # calls that are looked at
POWERS = (-12, 6)  # of 10, between which a function is looked at
CLOSE = 1e-12  # relative


def composed(low: Context, node: Node, reason: str) -> Stream:
    """A call that is made of one stream by maps of single numbers, as one map: straight pieces, or any function.

    Args:
        low: the program.
        node: the last of the calls.
        reason: what is said where it is none.

    Raises:
        NotUnderstood: for what is made of several streams, and for what jumps between powers.
    """
    base = _source(low, node)
    if base is None:
        raise NotUnderstood(reason)
    x, function = low.env[base], _function(low, node, base)
    slopes = _slopes(function)
    if slopes is None:
        name = low.place(node).op.partition(".")[0]
        block = Entrywise(f"{name}(written out)", lambda t, p: function(t[0]), *seen(function))
        return mapped(low, node, x, block, name)
    above, below = slopes
    if above == below:
        y = times(low, node, x, above)
    elif above:
        y = times(low, node, leaky(low, node, x, below / above), above)
    else:
        y = times(low, node, mapped(low, node, times(low, node, x, -1.0), ReLU(), "gate"), -below)
    if not isinstance(y, Stream):
        raise NotUnderstood(reason)
    return y


def _source(low: Context, node: Node) -> Node | None:
    """The nearest call of which alone, and of fixed numbers, another one is made; None if there is none."""
    shape = node.meta["val"].shape
    found = dict.fromkeys(_reached(low, node, None))
    for call in found:
        value = low.env.get(call)
        if call is not node and isinstance(value, Stream) and value.shape == shape:
            ends = [n for n in _reached(low, node, call) if n is call or not _is_map(n)]
            if all(n is call for n in ends):
                return call
    return None


def _reached(low: Context, node: Node, end: Node | None) -> Iterator[Node]:
    """Calls that one is made of through maps of single numbers, the nearest first, without fixed numbers."""
    waiting, known = [node], {node}
    while waiting and len(known) <= MOST:
        call = waiting.pop(0)
        yield call
        if call is end or not _is_map(call):
            continue
        for n in call.all_input_nodes:
            if n not in known and uniform(low.env.get(n)) is None:
                known.add(n)
                waiting.append(n)
    if waiting:
        yield from waiting


def _is_map(node: Node) -> bool:
    tags = node.target.tags if isinstance(node.target, torch._ops.OpOverload) else []
    pointwise = torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags
    return node.op == "call_function" and (pointwise or name_of(node) in (*CHOICES, *CASTS))


def uniform(value: Value) -> torch.Tensor | None:
    """A fixed number, or fixed numbers that are all the same."""
    if not isinstance(value, Fixed) or not value.known or not value.tensor.numel():
        return None
    one = value.tensor.reshape(-1)[0]
    return one if bool((value.tensor == one).all()) else None


def _function(low: Context, node: Node, base: Node) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a call is of another one, entry by entry."""
    fixed: dict[Node, torch.Tensor] = {}

    def run(t: torch.Tensor) -> torch.Tensor:
        env: dict[Node, Any] = {base: t}

        def value(argument: Any) -> Any:
            if isinstance(argument, Node):
                return of(argument)
            return WIDE.get(argument, argument) if isinstance(argument, torch.dtype) else argument

        def of(call: Node) -> Any:
            if call not in env:
                one = fixed[call] if call in fixed else uniform(low.env.get(call))
                if one is not None:
                    fixed[call] = env[call] = one
                else:
                    args, kwargs = map(value, call.args), {k: value(v) for k, v in call.kwargs.items()}
                    env[call] = call.target(*args, **kwargs)  # type: ignore[operator]
            return env[call]

        out: torch.Tensor = of(node)
        return out.expand(t.shape) if out.shape != t.shape else out

    run(torch.zeros(1, dtype=torch.float64))  # all fixed numbers are looked up now
    return run


def _slopes(function: Callable[[torch.Tensor], torch.Tensor]) -> tuple[float, float] | None:
    """The slopes above and below 0 of a function of two straight pieces that meet there; None for any other."""
    x = torch.cat([torch.linspace(REACH / 100, REACH, 100), torch.logspace(*POWERS, 181)]).double()
    above, below = (function(x) / x).double(), (function(-x) / -x).double()
    a, b = float(above[-1]), float(below[-1])
    straight = all(bool(((s - c).abs() <= CLOSE * max(1.0, abs(c))).all()) for s, c in ((above, a), (below, b)))
    return (a, b) if straight and (a or b) and not float(function(torch.zeros(1, dtype=torch.float64))) else None


__all__ = ["composed", "uniform"]
