"""The backward of an operator for one gradient, which lies in memory in order, or otherwise.

Autograd promises no order: a `transpose` behind an operator, a `cat` or a `sum` hand it gradients with other strides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from .resemblance import dense


def _transposed(w: torch.Tensor) -> torch.Tensor:
    return w.transpose(0, -1).contiguous().transpose(0, -1)


def _part(w: torch.Tensor) -> torch.Tensor:
    return torch.cat([w, w + 1], -1)[..., : w.shape[-1]]


def _spread(w: torch.Tensor) -> torch.Tensor:
    return w.reshape(-1)[:1].reshape([1] * w.ndim).expand_as(w)


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "transposed": _transposed,
    "as a part of another tensor": _part,
    "as one number for all (of a sum)": _spread,
}


def out_of_order(
    forward: Callable[[], list[torch.Tensor]],
    live: Sequence[torch.Tensor],
    cotangents: Mapping[int, torch.Tensor],
    own: Sequence[torch.Tensor],
    bound: float,
) -> dict[int, tuple[float, str]]:
    """The inputs whose gradient depends on how the gradient that comes in lies in memory.

    Args:
        forward: runs the operator, with the same random numbers.
        live: its inputs.
        cotangents: a gradient for each of its results, in order.
        own: what its backward makes of them.
        bound: largest difference, relative to the gradient, or to what one of this size usually gives.

    Returns:
        The relative difference of each such input, and how the gradient lies.
    """
    found: dict[int, tuple[float, str]] = {}
    # One number for all is sent to zero by whatever takes a mean away: what is left is rounding of its terms.
    length = _length(cotangents.values())
    usual = [float(g.norm()) / length if length else 0.0 for g in own]
    cases = {name: {i: lay(w) for i, w in cotangents.items() if w.ndim} for name, lay in LAYOUTS.items()}
    for name, given in cases.items():
        if not given:
            continue
        rest = {i: w for i, w in cotangents.items() if i not in given}
        try:
            as_before = own if name != "as one number for all (of a sum)" else None
            if as_before is None:
                as_before = _pulled(forward(), live, rest | {i: w.contiguous() for i, w in given.items()})
            off = _pulled(forward(), live, rest | given)
        except Exception:  # a user's code, which may refuse what it cannot read: that is no wrong gradient
            continue
        for j, (one, other) in enumerate(zip(off, as_before, strict=True)):
            size = max(float(one.norm()), float(other.norm()), usual[j] * _length((rest | given).values()))
            error = float((one - other).norm()) / size if size else 0.0
            if error > bound and j not in found:
                found[j] = error, f"wrong for a gradient that lies in memory {name}: is contiguous() missing?"
    return found


def _length(tensors: Iterable[torch.Tensor]) -> float:
    return sum(float(t.norm()) ** 2 for t in tensors) ** 0.5


def _pulled(
    outs: Sequence[torch.Tensor], live: Sequence[torch.Tensor], cotangents: Mapping[int, torch.Tensor]
) -> list[torch.Tensor]:
    able = [i for i in cotangents if outs[i].requires_grad]
    if not able:
        return [torch.zeros_like(v) for v in live]
    weights = [cotangents[i] for i in able]
    grads = torch.autograd.grad([outs[i] for i in able], list(live), weights, allow_unused=True)
    return [torch.zeros_like(v) if g is None else dense(g) for v, g in zip(live, grads, strict=True)]


__all__ = ["out_of_order"]
