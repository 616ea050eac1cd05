"""The backward of an operator for other gradients than the one that comes in: it is linear, and changes none of them.

A loss that is divided, scaled (`GradScaler`) or negated hands every operator another gradient; one that a sum hands to
several branches is the same memory for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from .resemblance import dense

SCALES = (-4.0, 1024.0)  # powers of two, which change no last bit
IGNORED = "it ignores the gradient that comes in"
BENT = "it is not linear in the gradient that comes in"
WRITES = "it writes into the gradient that comes in, which belongs to others too"


def other_gradients(
    forward: Callable[[], list[torch.Tensor]],
    live: Sequence[torch.Tensor],
    cotangents: Mapping[int, torch.Tensor],
    bound: float,
) -> tuple[dict[int, tuple[float, str]], bool]:
    """Hands the backward of an operator some gradients.

    Args:
        forward: runs the operator, with the same random numbers.
        live: its inputs.
        cotangents: a gradient for each of its results.
        bound: largest relative difference.

    Returns:
        For each input whose gradient does not grow with the one that comes in the relative difference, and what the
        backward seems to do; whether the backward wrote into what it was given.
    """
    try:
        once, writes = _pulled(forward, live, cotangents, 1.0)
        found: dict[int, tuple[float, str]] = {}
        for scale in SCALES:
            other, _ = _pulled(forward, live, cotangents, scale)
            for j, (one, more) in enumerate(zip(once, other, strict=True)):
                size = abs(scale) * float(one.norm())
                error = float((more - scale * one).norm()) / size if size else 0.0
                if error > bound and bool(torch.isfinite(more).all()) and j not in found:
                    found[j] = error, IGNORED if torch.equal(one, more) else f"{BENT} (one {scale:g} times as large)"
    except Exception:  # a user's code, which may refuse what it cannot read: that is no wrong gradient
        return {}, False
    return found, writes


def _pulled(
    forward: Callable[[], list[torch.Tensor]],
    live: Sequence[torch.Tensor],
    cotangents: Mapping[int, torch.Tensor],
    scale: float,
) -> tuple[list[torch.Tensor], bool]:
    outs = forward()
    able = [i for i in cotangents if outs[i].requires_grad]
    if not able:
        return [torch.zeros_like(v) for v in live], False
    given = [scale * cotangents[i] for i in able]
    before = [g.clone() for g in given]
    grads = torch.autograd.grad([outs[i] for i in able], list(live), given, allow_unused=True)
    found = [torch.zeros_like(v) if g is None else dense(g) for v, g in zip(live, grads, strict=True)]
    return found, not all(torch.equal(g, b) for g, b in zip(given, before, strict=True))


__all__ = ["WRITES", "other_gradients"]
