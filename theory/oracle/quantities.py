"""Checking a quantity that somebody wrote down himself, as a function of the parameters, against loss gradients.

Such a function has no terms that could be left out.  Its control is the same function of unevenly scaled parameters,
which has to change where it itself does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch.func import jacrev

from ..arguments import ArgumentError, near_or_all
from ..verdict import Verdict
from .modules import Point
from .verification import SEEN, TOLERANCE, LawReport

Quantity = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]


def quantities_of(given: object) -> dict[str, Quantity]:
    """Functions of the parameters, by name: of one, of several, of a mapping; empty for laws."""
    if callable(given):
        return {_name(given, 0): given}
    if isinstance(given, Mapping):
        return dict(given)
    several = list(given) if isinstance(given, Sequence) else []
    return {_name(each, i): each for i, each in enumerate(several)} if all(map(callable, several)) else {}


def _name(quantity: object, i: int) -> str:
    name = str(getattr(quantity, "__name__", type(quantity).__name__))
    return f"quantity {i}" if name == "<lambda>" else name


def judge_quantity(
    name: str, quantity: Quantity, points: Sequence[Point], seed: int, tolerance: float = TOLERANCE
) -> LawReport:
    """The verdict on a function of the parameters at some points.

    Args:
        name: of the function, for the report.
        quantity: from tensors by parameter name to a tensor of any shape, made of differentiable torch operations.
        points: parameters with a loss gradient.
        seed: of the control.
        tolerance: largest relative residual of what is conserved.

    Raises:
        TypeError: if it gives no tensor.
        ArgumentError: if it reads a parameter that the network does not have.
    """
    generator = torch.Generator().manual_seed(seed)
    factors = {
        n: (0.5 + torch.rand(p.shape, generator=generator, dtype=torch.float64)).to(p.device)
        for n, p in points[0].parameters.items()
    }

    def uneven(p: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return quantity({n: factors[n] * t for n, t in p.items()})

    residual, tested = _largest(name, quantity, points)
    control, _ = _largest(name, uneven, points)
    worst = float(residual.max()) if residual.numel() else 0.0
    weakest = float(control.min()) if control.numel() else 0.0
    reason = ""
    if not worst <= tolerance:
        verdict = Verdict.VIOLATED
        reason = "" if worst < float("inf") else "it, or a loss gradient, is not a number"
    elif not residual.numel() or not bool(tested.all()):
        verdict, still = Verdict.VACUOUS, int((~tested).sum())
        some = f"{still} of its {tested.numel()} numbers" if 0 < still < tested.numel() else "it"
        reason = f"{some} did not move with the loss gradient: dead units, inputs without examples, or a constant"
    elif weakest > SEEN * tolerance:
        verdict = Verdict.HOLDS
    else:
        verdict, reason = Verdict.UNDECIDED, "it holds for unevenly scaled parameters as well: the check shows nothing"
    return LawReport(name, verdict, worst, weakest, reason)


def _largest(name: str, quantity: Quantity, points: Sequence[Point]) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest relative derivative of every scalar along the loss gradients (else infinite), and what was tested."""
    residual = tested = torch.zeros(0)
    for point in points:
        value = _value(name, quantity, point.parameters)
        jacobian = jacrev(lambda p: quantity(p).reshape(-1))(point.parameters)
        rows = torch.cat([j.reshape(value.numel(), -1) for j in jacobian.values()], 1)
        gradient = torch.cat([point.gradient[n].reshape(-1) for n in jacobian])
        scale = rows.abs() @ gradient.abs()
        ceiling = rows.norm(dim=1) * gradient.norm()
        ratio = (rows @ gradient).abs() / (scale + 1e-6 * ceiling).clamp_min(1e-300)
        finite = torch.isfinite(ratio) & torch.isfinite(value.reshape(-1)) & torch.isfinite(ceiling)
        ratio = torch.where(finite, ratio, torch.inf)
        hit = (scale > 1e-12 * ceiling) & torch.tensor(point.moves)
        residual = ratio if not residual.numel() else torch.maximum(residual, ratio)
        tested = hit if not tested.numel() else tested | hit
    return residual, tested


def _value(name: str, quantity: Quantity, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The quantity at some parameters."""
    try:
        value = quantity(parameters)
    except KeyError as error:
        asked = error.args[0] if error.args else ""
        if not isinstance(asked, str) or asked in parameters:
            raise
        raise ArgumentError(
            f"{name} reads {asked!r}, which is no parameter; {near_or_all(asked, parameters)}"
        ) from None
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} gives a {type(value).__name__}, expected a tensor; do not use .item() in it")
    return value


__all__ = ["Quantity", "judge_quantity", "quantities_of"]
