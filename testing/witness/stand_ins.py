"""Operators whose gradient is meant to be another one than the derivative: in a replay their own backward stands in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .own_backward import DESIGN, WRONG, OperatorFinding
from .replay import Memory
from .tape import OwnCall, Tape


def stand_ins(
    tape: Tape, operators: Sequence[OperatorFinding], by_design: Sequence[str]
) -> dict[int, Callable[[OwnCall, Memory], None]]:
    """What puts the backward of an operator in the place of the derivative: it is meant to be another, or knows it."""
    found: dict[int, Callable[[OwnCall, Memory], None]] = {}
    for number, call in enumerate(tape.calls):
        if call.by_torch or call.opaque or call.last < 0:
            continue
        if not {call.function.__name__, *call.place.names}.isdisjoint(by_design):
            found[number] = _own_instead(set(call.spots))
            continue
        alike = [f for f in operators if f.operator == call.function.__name__]
        own = [f for f in alike if f.call == number] or alike  # of many calls only the first ones were looked at
        through = {f.input for f in own if f.verdict is DESIGN or f.how in ("implicit", "kink")}
        through -= {f.input for f in own if f.verdict is WRONG}
        if through:
            order: list[tuple[object, ...]] = []
            numbers = set()
            for i, s in call.spots.items():
                if s.dtype.is_floating_point:
                    if (s.key, s.geometry) not in order:
                        order.append((s.key, s.geometry))
                    if order.index((s.key, s.geometry)) in through:
                        numbers.add(i)
            found[number] = _own_instead(numbers)
    return found


class _Alone(torch.autograd.Function):
    """A call of an operator in a graph of its own, where it is given the very parameters that it was given before."""

    @staticmethod
    def forward(ctx: Any, call: OwnCall, *values: Any) -> Any:
        assert call.dice is not None
        needs = ctx.needs_input_grad[1:]
        ctx.given = [
            call.own.get(i, v.detach().requires_grad_(needs[i])) if isinstance(v, torch.Tensor) else v
            for i, v in enumerate(values)
        ]
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.set_rng_state(call.dice)
            out = call.function.apply(*ctx.given)
        ctx.outs = out if isinstance(out, tuple) else (out,)
        made = tuple(t.detach() if isinstance(t, torch.Tensor) else t for t in ctx.outs)
        return made if isinstance(out, tuple) else made[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        live = [i for i, need in enumerate(ctx.needs_input_grad[1:]) if need]
        pairs = zip(ctx.outs, gradients, strict=True)
        ends = [(t, g) for t, g in pairs if isinstance(t, torch.Tensor) and t.requires_grad]
        found: list[torch.Tensor | None] = [None] * len(ctx.given)
        if ends:
            outs, sent = zip(*ends, strict=True)
            inputs = [ctx.given[i] for i in live]
            grads = torch.autograd.grad(outs, inputs, sent, retain_graph=True, allow_unused=True)
            for i, g in zip(live, grads, strict=True):
                found[i] = g
        return None, *found


def _own_instead(inputs: set[int]) -> Callable[[OwnCall, Memory], None]:
    """After a call of an operator: its own backward for some inputs, the derivative for all others."""

    def act(call: OwnCall, memory: Memory) -> None:
        whole = inputs == set(call.spots)
        values = [memory.read(call.spots[i]) if i in call.spots else a for i, a in enumerate(call.args)]
        given = [(v if i in inputs else v.detach()) if isinstance(v, torch.Tensor) else v for i, v in enumerate(values)]
        out = _Alone.apply(call, *given)
        outs = [t for t in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(t, torch.Tensor)]
        for spot, new in zip(call.results, outs, strict=True):
            if spot.dtype.is_floating_point:
                memory.write(spot, new if whole else memory.read(spot) + (new - new.detach()))

    return act


__all__ = ["stand_ins"]
