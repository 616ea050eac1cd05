"""Closed forms: what learning rate, decay, momentum and noise make of a law, without running anything.

Source: Kunin et al. 2021, *Neural mechanics*: a translation symmetry has a linear law, a scale symmetry the squared
norm of its weights, a rescale symmetry the difference of two.  These are limits of small rates;
`decayed` and `heavy_ball` are the exact discrete steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lawful.theory.typed import typed, typed_methods


@typed_methods()
@dataclass(frozen=True)
class Setting:
    """How a run is made.

    Attributes:
        rate: the learning rate.
        decay: weight decay, in the gradient.
        momentum: of the heavy ball.
        dampening: of the gradient in the buffer.

    Raises:
        ValueError: for a rate that is not positive, or a momentum or dampening outside of `[0, 1)`.
    """

    rate: float
    decay: float = 0.0
    momentum: float = 0.0
    dampening: float = 0.0

    def __post_init__(self) -> None:
        if not self.rate > 0 or not self.decay >= 0:
            raise ValueError(f"rate {self.rate} must be positive and decay {self.decay} not negative")
        if not (0 <= self.momentum < 1 and 0 <= self.dampening < 1):
            raise ValueError(f"momentum {self.momentum} and dampening {self.dampening} must be in [0, 1)")

    @property
    def unit(self) -> float:
        """Training time of one step."""
        return self.rate * (1 - self.dampening) if self.momentum else self.rate


@typed()
def translation(setting: Setting, first: Tensor, steps: Tensor) -> Tensor:
    """A linear law after some steps: only decay moves it.

    Args:
        setting: how the run is made.
        first: its scalars at the start, of any shape.
        steps: numbers of steps, shape `(times,)`.

    Returns:
        Shape `(times, *first.shape)`.
    """
    factor = _relaxation(setting, 1.0, steps)
    return factor.reshape(-1, *[1] * first.ndim) * first


def _expect_steps(where: str, name: str, first: Tensor, rows: Tensor) -> None:
    """Checks that there is a row of numbers for every step, as wide as the start.

    Raises:
        ValueError: if there is none; says both shapes.
    """
    if rows.ndim == 2 and first.ndim <= 1 and (not first.ndim or first.shape[0] == rows.shape[1]):
        return
    raise ValueError(
        f"{where}: {name} has the shape {tuple(rows.shape)} and first {tuple(first.shape)}; first is the law at the "
        f"start, (scalars,), and {name} has a row for every step, (steps, scalars)"
    )


@typed()
def scale(setting: Setting, first: Tensor, squares: Tensor) -> Tensor:
    """The squared norm of weights whose size the loss does not see, after every step.

    Without momentum `|theta|^2 = e^(-2 decay t) |theta_0|^2 + rate int e^(-2 decay (t-s)) |g|^2 ds`; with momentum the
    kernel is that of a damped oscillator, driven by the squared velocity.

    Args:
        setting: how the run is made.
        first: the squared norms at the start, shape `(scalars,)`.
        squares: after every step, without momentum `|g|^2` of the gradient without decay; with momentum `|theta'|^2`,
            the squared velocity: that of the step, `|theta_k - theta_(k-1)|^2`, over the square of `setting.unit`.
            Shape `(steps, scalars)`.

    Returns:
        Shape `(steps + 1, scalars)`.

    Raises:
        ValueError: for other shapes.
    """
    _expect_steps("scale", "squares", first, squares)
    n = squares.shape[0]
    k = torch.arange(n + 1, dtype=torch.float64)
    free = _relaxation(setting, 2.0, k)[:, None] * first
    kernel = (
        _kernel(setting, k) if setting.momentum else setting.rate * torch.exp(-2 * setting.decay * setting.unit * k)
    )
    weight = 2.0 if setting.momentum else 1.0
    return free + weight * setting.unit * _convolved(kernel, squares)


@typed()
def rescale(setting: Setting, first: Tensor, squares: tuple[Tensor, Tensor]) -> Tensor:
    """The difference of two squared norms that the loss lets grow against each other; arguments as for `scale`."""
    return scale(setting, first, squares[0] - squares[1])


@typed()
def decayed(setting: Setting, first: Tensor, forms: Tensor) -> Tensor:
    """Exactly, for SGD with decay: `h+ = (1 - rate decay)^2 h + rate^2 Q(g)`.

    Args:
        setting: how the run is made; without momentum.
        first: the law at the start, shape `(scalars,)`.
        forms: `Q` of every step's gradient, without decay, shape `(steps, scalars)`.

    Raises:
        ValueError: for a setting with momentum, which `heavy_ball` is for, and for other shapes.
    """
    if setting.momentum:
        raise ValueError("a setting with momentum has two numbers per law; use heavy_ball")
    _expect_steps("decayed", "forms", first, forms)
    out = [first]
    for q in forms:
        out.append((1 - setting.rate * setting.decay) ** 2 * out[-1] + setting.rate**2 * q)
    return torch.stack(out)


@typed()
def heavy_ball(setting: Setting, first: Tensor, forms: Tensor) -> Tensor:
    """Exactly, for SGD with momentum, dampening and decay: two numbers per law, `h` and the slope `p` of the buffer.

    Args:
        setting: how the run is made.
        first: the law at the start, shape `(scalars,)`.
        forms: `Q` of the momentum buffer after every step, shape `(steps, scalars)`.

    Raises:
        ValueError: for other shapes.
    """
    _expect_steps("heavy_ball", "forms", first, forms)
    out, slope = [first], torch.zeros_like(first)
    for k, q in enumerate(forms):
        load = setting.decay * (1 - setting.dampening if k else 1.0)  # the first buffer is the gradient itself
        slope = setting.momentum * slope + 2 * load * out[-1]
        out.append(out[-1] - setting.rate * slope + setting.rate**2 * q)
        slope = slope - 2 * setting.rate * q
    return torch.stack(out)


@typed()
def equilibrium_radius(setting: Setting, gradient: Tensor) -> Tensor:
    """The norm at which growth by steps and shrinking by decay balance, for weights whose size the loss does not see.

    The gradient of such weights falls as one over their norm: `|g| = G / |w|`.  Then `|w|^4 = rate G^2 / (2 decay)`,
    without dampening over `1 - momentum`; per channel before a BatchNorm, per row for a weight norm.

    Args:
        setting: how the run is made.
        gradient: `G = |w| |g|`, of any shape.

    Raises:
        ValueError: without decay there is no balance.
    """
    if not setting.decay:
        raise ValueError("without decay the norm grows for ever: there is no equilibrium")
    pace = setting.rate * (1 - setting.dampening if setting.momentum else 1.0) / (1 - setting.momentum)
    return (pace * gradient.square() / (2 * setting.decay)) ** 0.25


@typed()
def effective_rate(setting: Setting, norm: Tensor) -> Tensor:
    """The rate at which the direction of weights turns whose size the loss does not see: `rate / |w|^2`.

    Source: van Laarhoven 2017.
    """
    return setting.rate / ((1 - setting.momentum) * norm.square())


@typed()
def rate_bound(rates: Sequence[float] | Tensor, constant: float) -> Tensor:
    """How far a law may be from its start on average after every step of SGD: `constant / 2 sum rate^2`.

    Args:
        rates: the learning rate of every step.
        constant: twice the largest mean of `|Q(g)|`, measured (`measured_constant`).

    Source: Marcotte et al. 2025, proposition 5.1.
    """
    squares = torch.as_tensor(rates, dtype=torch.float64).square()
    return torch.cat([squares.new_zeros(1), constant / 2 * squares.cumsum(0)])


@typed()
def measured_constant(forms: Tensor) -> float:
    """The constant of `rate_bound` from `Q(g)` of some steps, shape `(steps, scalars)`."""
    return 2 * float(forms.abs().max()) if forms.numel() else 0.0


@typed()
def noise_drift(form: Callable[[Tensor], Tensor], gradients: Tensor, rate: float) -> Tensor:
    """What gradient noise adds to a law in one step on average, beyond the mean gradient: `rate^2 tr(A Sigma) / 2`.

    Args:
        form: `Q` of one gradient.
        gradients: minibatch gradients at one point, shape `(batches, ...)`.
        rate: the learning rate.

    Source: Ziyin et al. 2024, for the discrete step.
    """
    mean = gradients.mean(0)
    return rate**2 * torch.stack([form(g - mean) for g in gradients]).mean(0)


@typed()
def modified_loss(loss: Callable[[Tensor], Tensor], point: Tensor, rate: float) -> Tensor:
    """The loss whose gradient flow gradient descent follows to second order: `L + rate / 4 |grad L|^2`.

    Args:
        loss: a function of the flat parameters.
        point: the flat parameters.
        rate: the learning rate.

    Source: Barrett and Dherin 2021; Kunin et al. 2021.
    """
    gradient, value = torch.func.grad_and_value(loss)(point)
    return value + rate / 4 * gradient.square().sum()


@typed()
def modified_flow(
    loss: Callable[[Tensor], Tensor], point: Tensor, setting: Setting, steps: int, fine: int = 20
) -> Tensor:
    """The flow that a discrete run follows, integrated by Runge-Kutta.

    Without momentum the gradient flow of the modified loss, to second order in the rate; with momentum
    `rate (1 + momentum) / 2 theta'' + (1 - momentum) theta' = -(1 - dampening) grad L`, decay inside of the loss.  A
    run with momentum that starts at rest is met to first order only: it lags by another number of steps.

    Args:
        loss: a function of the flat parameters.
        point: where it starts.
        setting: how the run is made.
        steps: of the run.
        fine: steps of the integration for each step of the run.

    Returns:
        The points after every step, shape `(steps + 1, parameters)`.
    """

    def whole(x: Tensor) -> Tensor:
        return loss(x) + setting.decay / 2 * x.square().sum()

    if not setting.momentum:
        slope = torch.func.grad(lambda x: modified_loss(whole, x, setting.rate))
        return torch.stack(_integrated(lambda s: -slope(s), point, setting.rate, steps, fine))
    slope, n = torch.func.grad(whole), point.numel()
    mass, drag = setting.rate * (1 + setting.momentum) / 2, 1 - setting.momentum

    def field(state: Tensor) -> Tensor:
        x, velocity = state[:n], state[n:]
        return torch.cat([velocity, (-(1 - setting.dampening) * slope(x) - drag * velocity) / mass])

    states = _integrated(field, torch.cat([point, torch.zeros_like(point)]), setting.rate, steps, fine)
    return torch.stack([s[:n] for s in states])


@typed()
def relative_error(measured: Tensor, predicted: Tensor) -> float:
    """The largest distance of a prediction, over the largest distance that the measured law moved from its start."""
    moved = (measured - measured[0]).abs().max()
    return float((measured - predicted).abs().max() / moved) if moved > 0 else float((measured - predicted).abs().max())


def _integrated(field: Callable[[Tensor], Tensor], state: Tensor, rate: float, steps: int, fine: int) -> list[Tensor]:
    out, dt = [state], rate / fine
    for _ in range(steps):
        for _ in range(fine):
            k1 = field(state)
            k2 = field(state + dt / 2 * k1)
            k3 = field(state + dt / 2 * k2)
            k4 = field(state + dt * k3)
            state = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        out.append(state)
    return out


def _oscillator(setting: Setting, order: float) -> tuple[float, float]:
    """`gamma` and `omega^2` of kunin2021, for a law of degree `order`."""
    inertia = setting.rate * (1 - setting.dampening) * (1 + setting.momentum)
    return (1 - setting.momentum) / inertia, 2 * order * setting.decay / inertia


def _relaxation(setting: Setting, order: float, steps: Tensor) -> Tensor:
    """What decay leaves of a law after some steps."""
    t = steps.double() * setting.unit
    if not setting.momentum:
        return torch.exp(-order * setting.decay * t)
    gamma, square = _oscillator(setting, order)
    split = gamma**2 - square
    if split > 0:
        root = math.sqrt(split)
        slow = -square / (gamma + root)  # -gamma + root without cancellation
        fast = -gamma - root
        return (slow * torch.exp(fast * t) - fast * torch.exp(slow * t)) / (slow - fast)
    if split == 0:
        return torch.exp(-gamma * t) * (1 + gamma * t)
    s = math.sqrt(-split)
    return torch.exp(-gamma * t) * (torch.cos(s * t) + gamma / s * torch.sin(s * t))


def _kernel(setting: Setting, steps: Tensor) -> Tensor:
    """How a push of the squared velocity lives on: `G(u)` of kunin2021."""
    t = steps.double() * setting.unit
    gamma, square = _oscillator(setting, 2.0)
    split = gamma**2 - square
    if split > 0:
        root = math.sqrt(split)
        slow = -square / (gamma + root)
        return (torch.exp(slow * t) - torch.exp((-gamma - root) * t)) / (2 * root)
    if split == 0:
        return t * torch.exp(-gamma * t)
    s = math.sqrt(-split)
    return torch.exp(-gamma * t) * torch.sin(s * t) / s


def _convolved(kernel: Tensor, squares: Tensor) -> Tensor:
    """`sum_j kernel[k - j] squares[j]` after every step `k`, by Fourier transform."""
    n = squares.shape[0]
    size = 2 * n + 2
    product = torch.fft.rfft(kernel.to(squares), size)[:, None] * torch.fft.rfft(squares, size, dim=0)
    out = torch.fft.irfft(product, size, dim=0)[:n]
    return torch.cat([torch.zeros_like(squares[:1]), out])
