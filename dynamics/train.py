"""Training by plain SGD while every law is measured and predicted at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.graph.architecture.module import Network
from lawful.graph.architecture.outputs import losses_of
from lawful.theory.laws.law import Law
from lawful.theory.losses import Loss, LossLike
from lawful.theory.oracle.modules import Axes, fit_losses
from lawful.theory.oracle.outputs import named_outputs

from .identities import sgd_change

Batch = tuple[torch.Tensor, Any]  # an input, and a target or a sequence of one for each output
Objective = Callable[[Any, Any], torch.Tensor]
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class LawTrace:
    """One law along a training run; scalars of the law are flattened.

    Attributes:
        law: the law.
        values: its scalars before the first step and after each, shape `(steps + 1, scalars)`.
        predicted: what the identity of the optimizer says each step adds, shape `(steps, scalars)`.
        scale: the law's sum with absolute values in place of signed terms, at the start or the end, whichever is
            larger: the size against which float64 rounds (1 for a law whose parameters are all zero).
    """

    law: Law
    values: torch.Tensor
    predicted: torch.Tensor
    scale: float

    @property
    def measured(self) -> torch.Tensor:
        """What each step added, shape `(steps, scalars)`."""
        return self.values[1:] - self.values[:-1]

    @property
    def drift(self) -> torch.Tensor:
        """Distance of every scalar from its first value, shape `(steps + 1, scalars)`."""
        return self.values - self.values[0]

    @property
    def predicted_drift(self) -> torch.Tensor:
        """The predictions added up, shape `(steps + 1, scalars)`."""
        return torch.cat([torch.zeros_like(self.values[:1]), self.predicted.cumsum(0)])

    @property
    def unexplained(self) -> torch.Tensor:
        """Drift that the predictions do not account for, shape `(steps + 1, scalars)`: rounding for an exact law."""
        return self.drift - self.predicted_drift

    @property
    def step_deviation(self) -> float:
        """Largest difference of a measured and a predicted step, relative to the scale of the law."""
        return _largest(self.measured - self.predicted) / self.scale

    @property
    def drift_deviation(self) -> float:
        """Largest unexplained drift, relative to the largest drift predicted (to the scale of the law if none is)."""
        reference = _largest(self.predicted_drift)
        return _largest(self.unexplained) / (reference if reference > 0 else self.scale)


@dataclass(frozen=True)
class Recording:
    """A training run.

    Attributes:
        rate: the learning rate.
        losses: the minibatch loss before every step.
        traces: one for every law, in the order the laws were given.
    """

    rate: float
    losses: tuple[float, ...]
    traces: tuple[LawTrace, ...]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.losses)

    def __getitem__(self, name: str) -> LawTrace:
        for trace in self.traces:
            if trace.law.name == name:
                return trace
        raise KeyError(f"no law named {name!r} was recorded")

    def total_drift(self, step: int = -1) -> float:
        """Euclidean norm, after `step`, of the drift of all exact laws that a step may change."""
        moving = [t for t in self.traces if t.law.exact and t.law.kind == "balance"]
        return float(sum(t.drift[step].square().sum() for t in moving)) ** 0.5


def train(
    module: torch.nn.Module,
    laws: Sequence[Law],
    batches: Iterable[Batch],
    rate: float,
    loss: LossLike | Objective,
    progress: Progress | None = None,
    *,
    axis: Axes = -1,
) -> Recording:
    """Trains a module in place by plain SGD and records every law at every step.

    Args:
        module: a module in float64 whose parameters have the names in the laws.
        laws: the laws to follow; each needs memory for `2 * steps * law.count` numbers.
        batches: inputs and targets (one for every output of a module with several); one step is made for each.
        rate: the learning rate.
        loss: the loss of every output by name (see `derive`), or a function from output and target to a scalar.
        progress: called after each step with the number of steps made and the loss before the last.
        axis: the axis of the features (the classes) in the output of a module, for a loss by name; that of a module
            made from an architecture is known.

    Returns:
        The losses and a trace for every law.

    Raises:
        ValueError: if the module is not in float64, there is no batch, or a loss is not finite or does not fit.
    """
    parameters = dict(module.named_parameters())
    for name, p in parameters.items():
        if p.dtype != torch.float64:
            raise ValueError(
                f"parameter {name} is {p.dtype}, recording needs torch.float64; call module.double() first"
            )
    value = loss if callable(loss) and not isinstance(loss, Loss) else _objective(module, loss, axis)
    optimizer = torch.optim.SGD((p for p in parameters.values() if p.requires_grad), lr=rate)
    scales = _scales(laws, parameters)
    values = [[_scalars(law, parameters)] for law in laws]
    predicted: list[list[torch.Tensor]] = [[] for _ in laws]
    losses: list[float] = []
    for x, y in batches:
        optimizer.zero_grad()
        objective = value(module(x), y)
        if not bool(torch.isfinite(objective.detach())):
            raise ValueError(f"the loss is {objective.item()} at step {len(losses)}; lower the learning rate {rate:g}")
        objective.backward()
        gradient = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in parameters.items()}
        optimizer.step()
        for i, law in enumerate(laws):
            predicted[i].append(sgd_change(law, gradient, rate).reshape(-1))
            values[i].append(_scalars(law, parameters))
        losses.append(objective.item())
        if progress:
            progress(len(losses), losses[-1])
    if not losses:
        raise ValueError("there is no batch to train on; pass at least one (input, target) pair")
    largest = [max(start, end) or 1.0 for start, end in zip(scales, _scales(laws, parameters), strict=True)]
    traces = (
        LawTrace(w, torch.stack(v), torch.stack(p), s)
        for w, v, p, s in zip(laws, values, predicted, largest, strict=True)
    )
    return Recording(rate, tuple(losses), tuple(traces))


def drift_slope(recordings: Sequence[Recording], equal_time: bool = False) -> float:
    """The power of the learning rate with which the drift of the exact laws falls, fitted on a log-log scale.

    Args:
        recordings: runs from one start that differ in their rate only.
        equal_time: compare after equal training time (rate times steps) instead of after equally many steps.
    """
    rates = torch.tensor([r.rate for r in recordings], dtype=torch.float64).log()
    drifts = torch.tensor([drift for _, drift in drifts_by_rate(recordings, equal_time)], dtype=torch.float64).log()
    centred = rates - rates.mean()
    return float((centred * drifts).sum() / centred.square().sum())


def drifts_by_rate(recordings: Sequence[Recording], equal_time: bool = False) -> list[tuple[float, float]]:
    """Pairs of learning rate and drift of the exact laws (see `drift_slope`)."""
    time = min(r.rate * r.steps for r in recordings)
    steps = min(r.steps for r in recordings)
    return [(r.rate, r.total_drift(round(time / r.rate) if equal_time else steps)) for r in recordings]


def _objective(module: torch.nn.Module, loss: LossLike, axis: Axes) -> Objective:
    """The sum of the losses on all outputs."""
    if isinstance(module, Network):
        loss, axis = losses_of(module.arch, loss), module.output_axes

    def value(output: Any, target: Any) -> torch.Tensor:
        outputs = named_outputs(module, output)
        losses, axes = fit_losses(outputs, loss, axis)
        targets = (target,) if isinstance(target, torch.Tensor) else tuple(target)
        if len(targets) != len(outputs):
            raise ValueError(f"a batch has {len(targets)} targets for {len(outputs)} outputs; give one for each output")
        values = [m(z, y, a) for m, z, y, a in zip(losses, outputs.values(), targets, axes, strict=True)]
        return sum(values[1:], start=values[0])

    return value


def _detached(parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n: p.detach() for n, p in parameters.items()}


def _scales(laws: Sequence[Law], parameters: Mapping[str, torch.Tensor]) -> list[float]:
    return [_largest(law.value(_detached(parameters), magnitude=True)) for law in laws]


def _scalars(law: Law, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return law.value(_detached(parameters)).reshape(-1)


def _largest(x: torch.Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0
