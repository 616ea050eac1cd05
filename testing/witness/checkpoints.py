"""Reentrant checkpoints, looked into: what backward will run again is run now as it will be, with gradients recorded.

Their forward runs without gradients, so that nothing of it says where autograd would stop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import CheckpointFunction, detach_variable

from .tape import Place, Stop, Tape

LOST = "no input of it needs a gradient, so that it gives none to its parameters (use_reentrant=False does)"


class Looker(Protocol):
    """Who writes what runs.

    Attributes:
        tape: where to.
        deaf: whether what runs is not what backward goes through.
    """

    tape: Tape
    deaf: bool

    def place(self) -> Place:
        """The line that runs."""


def looked_into(looker: Looker, apply: Callable[..., Any], run: Callable[..., Any], *rest: Any) -> Any:
    """Calls a reentrant checkpoint.

    Args:
        looker: who writes what runs.
        apply: calls it with a function and what follows.
        run: the function that it runs again in backward.
        rest: whether it keeps random states, and the inputs.

    Returns:
        What it gives; values that autograd will not know are detached.
    """
    if not torch.is_grad_enabled():
        return apply(run, *rest)
    place, dead, again = looker.place(), [False], False

    def seen(*args: Any) -> Any:
        nonlocal dead, again
        if again:
            return run(*args)
        again = True
        with torch.utils._python_dispatch._disable_current_modes():
            given = detach_variable(args)
        before, looker.deaf = looker.deaf, True
        try:
            with torch.enable_grad():
                outs = run(*given)
            dead = [isinstance(t, torch.Tensor) and not t.requires_grad for t in _several(outs)]
            with torch.utils._python_dispatch._disable_current_modes():
                return pytree.tree_map(_cut_off, outs)
        finally:
            looker.deaf = before

    outs = apply(seen, *rest)
    with torch.utils._python_dispatch._disable_current_modes():
        kept = [_cut_off(t) if d else t for t, d in zip(_several(outs), dead, strict=True)]
    for t, d in zip(kept, dead, strict=True):
        if isinstance(t, torch.Tensor) and t.is_floating_point() and not t.requires_grad and not d:
            looker.tape.dead[looker.tape.spot(t).key] = Stop(place, LOST, sure=True)
    return type(outs)(kept) if isinstance(outs, (tuple, list)) else kept[0]


def _several(outs: Any) -> list[Any]:
    return list(outs) if isinstance(outs, (tuple, list)) else [outs]


def _cut_off(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


__all__ = ["CheckpointFunction", "looked_into"]
