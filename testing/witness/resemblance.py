"""A guess at what a backward does wrong, from how its gradient resembles the right one."""

from __future__ import annotations

import torch


def inner(one: torch.Tensor, other: torch.Tensor) -> float:
    """The inner product of two gradients; a complex number is two real ones, as in torch's gradients."""
    return float((one.conj() * other).real.sum(dtype=torch.float64))


def dense(grad: torch.Tensor) -> torch.Tensor:
    """A copy of a gradient, with the zeros that a sparse one leaves out."""
    return grad.detach().to_dense().clone() if grad.is_sparse else grad.detach().clone()


def resemblance(own: torch.Tensor | None, true: torch.Tensor, eps: float = 0.0) -> str:
    """A guess at what is wrong with a gradient, from how it resembles the right one.

    Args:
        own: the gradient.
        true: what it should be.
        eps: the last bit of the numbers that it was computed in.
    """
    if own is None:
        return "missing: it gets no gradient (None)"
    size, norm = float(own.norm()), float(true.norm())
    if not size:
        return "missing: it is zero everywhere"
    if not norm:
        return "not zero, where the derivative is"
    factor = inner(own, true) / norm**2
    gap = float((own - true).norm())

    def near(other: torch.Tensor) -> bool:
        return float((own - other).norm()) <= min(max(1e-3, 8 * eps) * size, 0.05 * gap)

    if near(-true):
        return "the sign is wrong"
    if own.is_complex() and near(true.conj()):
        return "the complex conjugate of the right one"
    if near(factor * true):
        said = f"{factor:.4g}" if eps < 1e-5 else f"{factor:.2g}"
        if float(said) == 1:
            return f"too {'large' if factor > 1 else 'small'} by {abs(factor - 1):.1g} of its size"
        if factor < 0:
            return f"{said} times what it should be"
        return f"{said} times too large" if factor > 1 else f"only {said} of what it should be"
    if own.ndim >= 2 and own.shape[-1] == own.shape[-2] and near(true.mT):
        return "transposed"
    for axis in range(own.ndim):
        n = own.shape[axis]
        for text, other in (
            (f"summed over axis {axis} and spread along it", true.sum(axis, keepdim=True).expand_as(true)),
            (f"averaged over axis {axis}", true.mean(axis, keepdim=True).expand_as(true)),
            (f"reversed along axis {axis}", true.flip(axis)),
            (f"shifted by one along axis {axis}", true.roll(1, axis)),
            (f"shifted by one along axis {axis}", true.roll(-1, axis)),
        ):
            if n > 1 and near(other):
                return text
    dead = (own == 0) & (true != 0)
    live = ~dead
    if bool(dead.any()) and float(((own - true) * live).norm()) <= 1e-3 * size:
        return f"missing in {int(dead.sum())} of {own.numel()} entries"
    rest = true - own
    if near(factor * true + (own - factor * true).mean()):
        return "off by a constant"
    spread = [
        a
        for a in range(rest.ndim)
        if rest.shape[a] > 1 and float((rest - rest.mean(a, keepdim=True)).norm()) <= 1e-3 * float(rest.norm())
    ]
    if spread:
        return f"a term that is constant along axis {spread[0]} is missing or wrong"
    return f"a part of it is missing or wrong ({share(gap / norm)} its size)"


def share(part: float) -> str:
    """A part of a size, to stand before it: `0.03% of`, `1e-06 of`, `100% of`, `19 times`."""
    if part < 1e-4:
        return f"{part:.1g} of"
    if part < 1.005:
        return f"{float(f'{100 * part:.2g}'):g}% of"
    return f"{part:.2g} times" if part < 100 else f"{part:,.0f} times"


__all__ = ["dense", "inner", "resemblance", "share"]
