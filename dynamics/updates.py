"""What the optimizers of torch are about to do to one parameter, from their own equations and their own state.

Every update is `delta = s (g a_g + v a_v + load a_d theta) + decay theta + ...`: a common rate `s` times what the
gradient, the momentum buffer `v` and the decay in the gradient enter with, decoupled decay, and what a preconditioner
makes of it.  The buffer itself moves by `v+ = keep v + take g + load theta`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .sharded import local

Group = Mapping[str, Any]
State = Mapping[str, Any]


@dataclass
class Move:
    """The update of one parameter, `theta - delta`.

    Attributes:
        gradient: coefficient of the gradient in the linear part.
        carried: coefficient of the momentum buffer in it.
        coupled: coefficient of `load * theta` in it.
        buffer: the momentum buffer before the step, if it is a plain sum of gradients.
        keep: what the step keeps of the buffer.
        take: what it adds of the gradient to the buffer.
        load: what it adds of the parameter to the buffer (decay in the gradient).
        decay: coefficient of the parameter in the step itself (decoupled decay).
        rate: the linear part counts this many times.
        whole: linear part and preconditioner together, where the update is not linear.
        extra: further parts of the step by cause, measured as they are.
        measured: `whole` is what the step does, seen after it.
        known: the equations of the optimizer are known.
        dots: what `products` gives, where it is known.
    """

    gradient: float
    carried: float = 0.0
    coupled: float = 1.0
    buffer: Tensor | None = None
    keep: float = 0.0
    take: float = 0.0
    load: float = 0.0
    decay: float = 0.0
    rate: float = 1.0
    whole: Tensor | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)
    measured: bool = False
    known: bool = True
    dots: tuple[float, float] | None = None

    def linear(self, theta: Tensor, g: Tensor) -> Tensor:
        """The linear part at rate 1."""
        out = self.gradient * g
        if self.load * self.coupled:
            out = out.add(theta, alpha=self.load * self.coupled)
        return out if self.buffer is None else out.add(self.buffer, alpha=self.carried)

    def products(self, theta: Tensor, g: Tensor) -> tuple[float, float]:
        """The product of the whole with the linear part, and the square of the linear part."""
        if self.whole is None:
            return 0.0, 0.0
        if self.dots is not None:
            return self.dots
        line = self.linear(theta, g).reshape(-1)
        return _dot(self.whole, line), _dot(line, line)

    def fit(self, product: float, size: float) -> None:
        """Sets the rate to the multiple of the linear part that comes closest to the whole."""
        if self.whole is not None:
            self.rate = product / size if size > 0 else 0.0


Rule = Callable[[Group, State, Tensor, Tensor], Move]


def move_of(
    optimizer: torch.optim.Optimizer,
    group: Group,
    theta: Tensor,
    g: Tensor,
    like: type[torch.optim.Optimizer] | None = None,
) -> Move:
    """What the optimizer will do to a parameter in the step that it is about to make.

    Args:
        optimizer: any; one whose equations are not known here is measured.
        group: the group of the parameter.
        theta: the parameter.
        g: its gradient, dense; what this process has of it.
        like: an optimizer of torch whose equations another one is held to.
    """
    rule = rule_of(optimizer)
    if rule is None and like is not None:
        rule, group = RULES[like], {**_defaults(like), **group}
    if rule is None:
        return Move(gradient=-1.0 if group.get("maximize") else 1.0, measured=True, known=False)
    state = {k: local(x) if isinstance(x, Tensor) else x for k, x in optimizer.state.get(theta, {}).items()}
    return rule(group, state, local(theta), g)


def _defaults(kind: type[torch.optim.Optimizer]) -> dict[str, Any]:
    """The settings of an optimizer of torch where nobody says otherwise."""
    made: Callable[[list[Tensor]], torch.optim.Optimizer] = kind
    group: dict[str, Any] = made([torch.zeros(())]).param_groups[0]
    return {k: v for k, v in group.items() if k != "params"}


def rule_of(optimizer: torch.optim.Optimizer) -> Rule | None:
    """The equations of an optimizer: those of the torch class whose `step` it runs, None for another."""
    step = inspect.unwrap(type(optimizer).step)
    return next((rule for kind, rule in RULES.items() if inspect.unwrap(kind.step) is step), None)


def _sgd(group: Group, state: State, theta: Tensor, g: Tensor) -> Move:
    sign, decay, mu = _sign(group), float(group["weight_decay"]), float(group["momentum"])
    rate = float(group["lr"])
    if not mu:
        return Move(sign, load=decay, rate=rate)
    buffer = state.get("momentum_buffer")
    keep, damp = (mu, 1 - float(group["dampening"])) if buffer is not None else (0.0, 1.0)
    move = Move(sign * damp, keep, buffer=buffer, keep=keep, take=sign * damp, load=damp * decay, rate=rate)
    if group["nesterov"]:  # asks for dampening 0, so that `damp` is 1
        move.gradient, move.carried, move.coupled = sign * (1 + mu), mu * keep, 1 + mu
    return move


def _moment(group: Group, state: State, theta: Tensor, g: Tensor, decay: float) -> tuple[Move, Tensor, Tensor]:
    """The first moment of the Adam family: its move, the moment after the step, and the gradient with decay."""
    sign, beta = _sign(group), float(group["betas"][0])
    buffer = state.get("exp_avg")
    move = Move(sign * (1 - beta), beta, buffer=buffer, keep=beta, take=sign * (1 - beta), load=(1 - beta) * decay)
    signed = _signed(sign, g, theta, decay)
    if buffer is None:
        return move, (1 - beta) * signed, signed
    return move, torch.lerp(buffer.to(signed.dtype), signed, 1 - beta), signed


def _second(group: Group, state: State, signed: Tensor) -> Tensor:
    beta = float(group["betas"][1])
    if "exp_avg_sq" not in state:
        return (signed * signed).mul_(1 - beta)
    out: Tensor = (beta * state["exp_avg_sq"]).addcmul_(signed, signed, value=1 - beta)
    return out


def _adam(group: Group, state: State, theta: Tensor, g: Tensor) -> Move:
    decay, rate, step = float(group["weight_decay"]), float(group["lr"]), _steps(state)
    decoupled = bool(group.get("decoupled_weight_decay", False))
    move, moment, signed = _moment(group, state, theta, g, 0.0 if decoupled else decay)
    second = _second(group, state, signed)
    if group["amsgrad"] and "max_exp_avg_sq" in state:
        second = torch.maximum(second, state["max_exp_avg_sq"])
    one, two = (1 - float(b) ** step for b in group["betas"])
    move.decay = rate * decay if decoupled else 0.0
    size = _dot(moment, moment)
    # rate m / one / (sqrt(s / two) + eps), its constants drawn out
    _divided(move, moment, second.sqrt_(), float(group["eps"]) * math.sqrt(two), rate * math.sqrt(two) / one)
    assert move.whole is not None
    move.dots = _dot(move.whole, moment), size  # the moment is the linear part
    return move


def _adamax(group: Group, state: State, theta: Tensor, g: Tensor) -> Move:
    move, moment, signed = _moment(group, state, theta, g, float(group["weight_decay"]))
    beta, step, eps = float(group["betas"][1]), _steps(state), float(group["eps"])
    old = beta * state["exp_inf"] if "exp_inf" in state else torch.zeros_like(signed)
    top = moment * (float(group["lr"]) / (1 - float(group["betas"][0]) ** step))
    move.whole = _ratio(top, torch.maximum(old, signed.abs() + eps))
    return _epsilon(move, _ratio(top, torch.maximum(old, signed.abs())))


def _nadam(group: Group, state: State, theta: Tensor, g: Tensor) -> Move:
    decay, rate, step = float(group["weight_decay"]), float(group["lr"]), _steps(state)
    decoupled = bool(group["decoupled_weight_decay"])
    move, moment, signed = _moment(group, state, theta, g, 0.0 if decoupled else decay)
    beta = float(group["betas"][0])
    now, then = (beta * (1 - 0.5 * 0.96 ** (t * float(group["momentum_decay"]))) for t in (step, step + 1))
    product = float(state.get("mu_product", torch.ones(())) * now)  # a tensor of the default type, as NAdam keeps it
    first, second = rate * (1 - now) / (1 - product), rate * then / (1 - product * then)
    move.gradient, move.carried = _sign(group) * first + second * move.take, second * beta
    move.coupled = first / (1 - beta) + second
    move.decay = rate * decay if decoupled else 0.0
    root = (_second(group, state, signed) / (1 - float(group["betas"][1]) ** step)).sqrt()
    return _divided(move, first * signed + second * moment, root, float(group["eps"]))


def _radam(group: Group, state: State, theta: Tensor, g: Tensor) -> Move:
    decay, rate, step = float(group["weight_decay"]), float(group["lr"]), _steps(state)
    decoupled = bool(group["decoupled_weight_decay"])
    move, moment, signed = _moment(group, state, theta, g, 0.0 if decoupled else decay)
    move.decay = rate * decay if decoupled else 0.0
    beta1, beta2 = (float(b) for b in group["betas"])
    one, two = 1 - beta1**step, 1 - beta2**step
    limit = 2 / (1 - beta2) - 1
    length = limit - 2 * step * beta2**step / two
    if length <= 5:
        move.rate = rate / one
        return move
    rectified = math.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
    root = _second(group, state, signed).sqrt()
    return _divided(move, moment * (rate * rectified * math.sqrt(two) / one), root, float(group["eps"]))


def _rmsprop(group: Group, state: State, theta: Tensor, g: Tensor) -> Move:
    move, signed = _plain(group, theta, g)
    alpha, rate, mu = float(group["alpha"]), float(group["lr"]), float(group["momentum"])
    square = (1 - alpha) * signed * signed
    if "square_avg" in state:
        square = square.add(state["square_avg"], alpha=alpha)
    if group["centered"]:
        mean = (1 - alpha) * signed
        mean = mean if "grad_avg" not in state else mean.add(state["grad_avg"], alpha=alpha)
        square = square.addcmul(mean, mean, value=-1)
    move = _divided(move, rate * signed, square.sqrt(), float(group["eps"]))
    if mu and "momentum_buffer" in state:
        move.extra["momentum"] = rate * mu * state["momentum_buffer"]
    return move


def _adagrad(group: Group, state: State, theta: Tensor, g: Tensor) -> Move:
    move, signed = _plain(group, theta, g)
    rate = float(group["lr"]) / (1 + (_steps(state) - 1) * float(group["lr_decay"]))
    total = (
        state["sum"] if "sum" in state else torch.full_like(signed, group["initial_accumulator_value"])
    ) + signed**2
    return _divided(move, rate * signed, total.sqrt(), float(group["eps"]))


def _adadelta(group: Group, state: State, theta: Tensor, g: Tensor) -> Move:
    move, signed = _plain(group, theta, g)
    rho, eps, zero = float(group["rho"]), float(group["eps"]), torch.zeros_like(signed)
    square = rho * state.get("square_avg", zero) + (1 - rho) * signed * signed
    move.whole = float(group["lr"]) * ((state.get("acc_delta", zero) + eps) / (square + eps)).sqrt() * signed
    return move


def _muon(group: Group, state: State, theta: Tensor, g: Tensor) -> Move:
    mu = float(group["momentum"])
    move = Move(1 - mu, mu, buffer=state.get("momentum_buffer"), keep=mu, take=1 - mu, measured=True)
    if group["nesterov"]:
        move.gradient, move.carried = (1 - mu) * (1 + mu), mu * mu
    move.decay = float(group["lr"]) * float(group["weight_decay"])
    return move


def _plain(group: Group, theta: Tensor, g: Tensor) -> tuple[Move, Tensor]:
    """An optimizer without a first moment: its move, and the gradient with decay."""
    sign, decay = _sign(group), float(group["weight_decay"])
    return Move(sign, load=decay), _signed(sign, g, theta, decay)


def _signed(sign: float, g: Tensor, theta: Tensor, decay: float) -> Tensor:
    """The gradient with its sign and the decay in it: itself where there is neither."""
    signed = g if sign == 1 else sign * g
    return signed.add(theta, alpha=decay) if decay else signed


def _divided(move: Move, top: Tensor, root: Tensor, eps: float, factor: float = 1.0) -> Move:
    """The step `factor top / (root + eps)`; what eps does to it is a cause of its own.  Root may be written over."""
    if not (root.numel() and bool(root.amin() > 0)):
        move.whole = factor * _ratio(top, root)
        if eps:
            move.extra["epsilon"] = factor * top / (root + eps) - move.whole
        return move
    move.whole = (top / root).mul_(factor)
    if eps:
        move.extra["epsilon"] = (move.whole / root.add_(eps)).mul_(-eps)
    return move


def _epsilon(move: Move, without: Tensor) -> Move:
    assert move.whole is not None
    move.extra["epsilon"] = move.whole.sub_(without)
    move.whole = without
    return move


def _ratio(top: Tensor, bottom: Tensor) -> Tensor:
    """A quotient that is 0 where the divisor is 0: nothing was ever seen there, so that nothing moves."""
    return (top / bottom).masked_fill_(bottom == 0, 0.0)


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.reshape(-1), b.reshape(-1)))


def _sign(group: Group) -> float:
    return -1.0 if group.get("maximize") else 1.0


def _steps(state: State) -> float:
    return float(state.get("step", 0)) + 1


RULES: dict[type[torch.optim.Optimizer], Rule] = {
    torch.optim.SGD: _sgd,
    torch.optim.Adam: _adam,
    torch.optim.AdamW: _adam,
    torch.optim.Adamax: _adamax,
    torch.optim.NAdam: _nadam,
    torch.optim.RAdam: _radam,
    torch.optim.RMSprop: _rmsprop,
    torch.optim.Adagrad: _adagrad,
    torch.optim.Adadelta: _adadelta,
    torch.optim.Muon: _muon,
}
