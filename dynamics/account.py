"""The running account of one law: what it was, what it is, what every cause did, and what is left over."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .forms import Forms
from .step import CAUSES, Outcome

EVALUATION = 32 * 2.0**-53  # rounding of a law's own value, added up in float64
COARSE = 8.0  # the same in units of less precise weights, which are added up in float32
HANDED_ON = 100.0  # times the rounding of all gradients that a norm of numbers alike makes of it
LARGE = 1e-2  # what is larger than this part of all gradients is never taken for rounding
DIRECT = 4.0  # units of rounding with which a stored weight and its update are known


@dataclass(frozen=True)
class Precision:
    """How precisely a step is known.

    Attributes:
        gradient: error of a product of gradient and law, relative to the largest it could be.
        unit: rounding of a stored parameter.
        rate: rounding of what a step is multiplied with, and weights that decay (a learning rate that is a tensor).
        summed: as `gradient`, for laws that are sums of weights: some ask that the gradient at the outputs sums to 0.
    """

    gradient: float
    unit: float
    rate: float = 0.0
    summed: float = 0.0


@dataclass
class Account:
    """One law's account; tensors hold its scalars, flattened, in float64.

    Attributes:
        form: the law.
        names: the law's parameters as the model calls them.
        first: its value when the account began.
        last: its value after the last step.
        causes: what every cause did so far.
        remainder: change minus causes.
        bound: how much of that rounding may be.
        scale: the law's sum with absolute values, the largest seen.
        leak: the worst `<grad h, g>` against what it may be, relative to the largest it could be, and its step.
        leak_first: the first step at which it was more than rounding.
        tolerance: what the same number may be by rounding, at its step.
        booked: the last step that was booked.
        judged: steps whose slope was compared with what it must be; where a norm's epsilon was not measured it is not.
        history: step, mean squared value, relative change and relative remainder.
        stale_step: the first step whose momentum buffer was not the one that the step before had left.
        off_first: the first step that did something else to the law than its causes say.
        broken: the first step with a number that is not finite.
        slope: the slope of the momentum buffer, by recursion.
        carried: the part of it that the epsilon of norms made.
        doubt: how far rounding may have carried it.
        pending: the step that is being made.
        slopes: at the worst step, what the gradient's slope was too much, and the slope of the weights themselves.
    """

    form: Forms
    names: dict[str, str]
    first: Tensor
    last: Tensor
    scale: Tensor
    causes: dict[str, Tensor] = field(default_factory=dict)
    steps: int = 0
    booked: int = 0
    remainder: Tensor = field(init=False)
    bound: Tensor = field(init=False)
    judged: int = 0
    carried: Tensor | None = None
    leak: float = 0.0
    leak_step: int = -1
    leak_first: int | None = None
    tolerance: float = 0.0
    history: list[tuple[int, float, float, float]] = field(default_factory=list)
    broken: int | None = None
    off_first: int | None = None
    stale_step: int | None = None
    slope: Tensor | None = None
    doubt: Tensor = field(init=False)
    pending: Outcome | None = None
    slopes: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        self.remainder, self.bound, self.doubt = (torch.zeros_like(self.first) for _ in range(3))

    @property
    def change(self) -> Tensor:
        """What the law moved by."""
        return self.last - self.first

    @property
    def norm(self) -> float:
        """The size of the whole law, against which a remainder is small or not."""
        return float(torch.linalg.vector_norm(self.scale)) or 1.0

    @property
    def relative(self) -> float:
        """The remainder over the law's scale."""
        return float(torch.linalg.vector_norm(self.remainder)) / self.norm

    def along(self, x: Tensor) -> float:
        """The part of a vector of scalars in the direction of the law's change, which makes causes add up."""
        change = self.change
        size = float(torch.linalg.vector_norm(change))
        if not size > 0:
            return float(x.sum()) if x.numel() == 1 else 0.0
        sign = -1.0 if float(change.sum()) < 0 else 1.0
        return sign * float((x * change).sum()) / size

    def moved(self, value: Tensor, cause: str, step: int) -> None:
        """Books a change that no step of the optimizer made."""
        if self.broken is None and not bool(torch.isfinite(value).all()):
            self.broken = step
        self._book({cause: value - self.last})
        self.bound = self.bound + EVALUATION * self.scale
        self.last, self.booked = value, step
        self.slope = self.carried = None

    def close(self, value: Tensor, step: int, exact: Precision, floor: float) -> None:
        """Books a step.

        Args:
            value: the law after it.
            step: its number.
            exact: how precisely it is known.
            floor: the largest entry of any gradient: products below its rounding say nothing.
        """
        made, self.pending = self.pending, None
        assert made is not None
        self._book(made.causes)
        left = value - self.last - sum(made.causes.values(), torch.zeros_like(value))
        self.remainder = self.remainder + left
        self.scale = torch.maximum(self.scale, made.size)
        known = exact.gradient if self.form.quadratic else max(exact.gradient, exact.summed)
        root = 2 * made.size.sqrt() if self.form.quadratic else torch.ones_like(made.size)
        most = max(1.0, min(HANDED_ON, LARGE / known))  # a law that reads only so much may read rounding only
        reach = made.reach + floor * root * torch.where(made.reach <= most * known * floor * root, most, 1.0)
        loss = known * reach
        unit = max(exact.unit, exact.rate)
        stored = torch.minimum(2 * unit * made.size, made.pace) + DIRECT * unit * made.pace
        own = (EVALUATION + (COARSE * exact.unit if exact.unit > EVALUATION else 0)) * made.size
        bound = made.share * loss + made.carry * self.doubt + stored + own
        self.bound = self.bound + bound
        if self.off_first is None and bool((left.abs() > bound).any()):
            self.off_first = step
        rounded = DIRECT * exact.unit * made.held  # without gradients it is decay alone that the buffer holds
        if self.stale_step is None and bool((made.stale.abs() > 4 * self.doubt + loss + rounded).any()):
            self.stale_step = step
        self.doubt = made.keep * self.doubt + made.take * loss + DIRECT * exact.unit * made.pace + rounded
        self.slope, self.carried = made.slope, made.carried
        # a law that holds all the same, although a part of it is left alone, is judged
        self.judged += made.judged and (made.apart is None or bool((made.apart.abs() <= loss).all()))
        ratio = float((made.leak.abs() / reach.clamp(min=1e-300)).max()) if reach.numel() else 0.0
        if self.leak_first is None and ratio > known:
            self.leak_first = step
        if ratio > 0 and ratio * self.tolerance >= self.leak * known:  # the worst against what it may be
            self.leak, self.leak_step, self.tolerance = ratio, step, known
            self.slopes = (made.leak, made.weights)
        finite = bool(torch.isfinite(value).all()) and math.isfinite(ratio) and bool(torch.isfinite(left).all())
        if not finite and self.broken is None:
            self.broken = step
        self.last, self.booked = value, step
        self.steps += 1
        size = self.norm
        change = float(torch.linalg.vector_norm(self.change)) / size
        self.history.append((step, float(torch.linalg.vector_norm(value)) / size, change, self.relative))

    def _book(self, causes: dict[str, Tensor]) -> None:
        for cause, x in causes.items():
            self.causes[cause] = self.causes[cause] + x if cause in self.causes else x

    def ordered(self) -> dict[str, Tensor]:
        """The causes in their usual order."""
        rank = {c: i for i, c in enumerate(CAUSES)}
        return dict(sorted(self.causes.items(), key=lambda item: rank.get(item[0], len(rank))))

    def state(self) -> dict[str, Any]:
        """All numbers, to resume a run."""
        tensors = ("first", "last", "scale", "remainder", "bound", "doubt", "slope", "carried", "slopes")
        plain = ("steps", "booked", "judged", "leak", "leak_step", "leak_first", "tolerance", "broken", "off_first")
        out: dict[str, Any] = {n: getattr(self, n) for n in (*tensors, *plain, "stale_step")}
        return {**out, "causes": dict(self.causes), "history": list(self.history)}

    def load(self, state: dict[str, Any]) -> None:
        """Takes the numbers of an earlier run."""
        for name, value in state.items():
            setattr(self, name, [tuple(row) for row in value] if name == "history" else value)
