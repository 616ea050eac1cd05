"""Loss gradients of a torch module in float64, without touching the module."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import torch
from torch.func import functional_call

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Point:
    """Parameters, a loss gradient there (zero for frozen parameters) and the loss, all in float64."""

    parameters: Tensors
    gradient: Tensors
    loss: float

    @property
    def moves(self) -> bool:
        """Whether the gradient is more than the rounding of the loss (False never for what is not a number)."""
        slope = float(norm(self.gradient))
        size = float(norm(self.parameters))
        return not slope * size <= 1e-12 * abs(self.loss)


def norm(tensors: Tensors) -> torch.Tensor:
    """The length of all tensors together."""
    return torch.sqrt(cast(torch.Tensor, sum((t * t).sum() for t in tensors.values())))


def module_points(
    module: torch.nn.Module,
    loss: str,
    args: Sequence[Any],
    samples: int,
    seed: int,
    axis: int = -1,
    training: bool | None = None,
) -> list[Point]:
    """Gradients of random losses at a module's own parameters and, every other time, at perturbed ones.

    What runs is a copy that shares no state with the module: its modes, buffers, gradients, attributes and the global
    random state stay exactly as they are.

    Args:
        module: any module whose forward gives one tensor.
        loss: `"mse"` or `"cross_entropy"`.
        args: example inputs; tensors of numbers are drawn anew with the same shape, everything else is passed on.
        samples: number of points.
        seed: of data, targets, perturbations and of what the module itself draws (dropout).
        axis: the axis of the classes in the output.
        training: put every submodule in training mode (True) or evaluation mode (False); None keeps their modes.

    Raises:
        ValueError: without example inputs.
        TypeError: for a module that cannot be copied or whose output is not one tensor.
    """
    if not args:
        raise ValueError("verifying on a module needs example inputs; pass args=(x,)")
    twin = structural_copy(module)
    if training is not None:
        twin.train(training)
    generator = torch.Generator().manual_seed(seed)
    named = dict(module.named_parameters())
    own = {n: _double(p) for n, p in named.items()}
    buffers = {n: _double(v) for n, v in module.named_buffers()}

    def run(parameters: Tensors, inputs: Sequence[Any]) -> torch.Tensor:
        state = {n: v.clone() for n, v in buffers.items()}
        out = functional_call(twin, {**parameters, **state}, tuple(inputs))
        if not isinstance(out, torch.Tensor):
            raise TypeError(
                f"{type(module).__name__} gives a {type(out).__name__}, expected one tensor; "
                "wrap it in a module that picks the output"
            )
        return out

    points = []
    with _own_randomness(seed, chain(own.values(), buffers.values())):
        for i in range(samples):
            values = {n: _perturbed(p, generator) for n, p in own.items()} if i % 2 else own
            frozen = {n: v for n, v in values.items() if not named[n].requires_grad}
            trainable = {n: v for n, v in values.items() if named[n].requires_grad}

            def forward(p: Tensors, x: Sequence[Any], fixed: Tensors = frozen) -> torch.Tensor:
                return run({**fixed, **p}, x)

            point = point_of(forward, trainable, [_like(a, generator) for a in args], loss, generator, axis)
            still = {n: torch.zeros_like(v) for n, v in frozen.items()}
            points.append(Point({**frozen, **point.parameters}, {**still, **point.gradient}, point.loss))
    return points


def structural_copy(module: torch.nn.Module) -> torch.nn.Module:
    """A copy of a module's structure and attributes that shares its parameters and buffers.

    `functional_call` on the copy replaces what is shared, so nothing it does reaches the module.

    Raises:
        TypeError: for a module that holds something that cannot be copied.
    """
    shared = {id(t): t for t in chain(module.parameters(), module.buffers())}
    try:
        return copy.deepcopy(module, shared)
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"{type(module).__name__} cannot be copied ({error}), and a check must not run the module itself; "
            "keep locks, files and results of a forward pass out of its attributes"
        ) from error


@contextmanager
def _own_randomness(seed: int, tensors: Iterator[torch.Tensor]) -> Iterator[None]:
    """Seeds what the module draws and restores the global random state afterwards."""
    devices = sorted({t.device.index or 0 for t in tensors if t.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.manual_seed(seed)
        yield


def _double(tensor: torch.Tensor) -> torch.Tensor:
    out = tensor.detach()
    return out.to(torch.float64, copy=True) if out.is_floating_point() else out.clone()


def _perturbed(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A generic point near a tensor: weights that start at zero or one hide laws and their failures."""
    size = float(tensor.square().mean().sqrt()) if tensor.numel() else 0.0
    noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype).to(tensor.device)
    return tensor + 0.5 * (size or 0.2) * noise


def _like(example: Any, generator: torch.Generator) -> Any:
    """Random data of the shape and kind of an example; masks and what is no tensor stay as they are."""
    if not isinstance(example, torch.Tensor) or example.dtype == torch.bool:
        return example
    if example.is_floating_point():
        return torch.randn(example.shape, generator=generator, dtype=torch.float64).to(example.device)
    high = int(example.max()) + 1 if example.numel() else 1
    return torch.randint(high, example.shape, generator=generator, dtype=example.dtype).to(example.device)


def point_of(
    forward: Any, parameters: Mapping[str, torch.Tensor], inputs: Any, loss: str, generator: torch.Generator, axis: int
) -> Point:
    """The gradient of a loss with random targets at given parameters."""
    leaves = {n: p.detach().clone().requires_grad_() for n, p in parameters.items()}
    value = random_loss(forward(leaves, inputs), loss, generator, axis)
    if leaves and value.requires_grad:
        grads: tuple[torch.Tensor | None, ...] = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    else:  # everything is frozen or detached: the gradient is zero
        grads = (None,) * len(leaves)
    gradient = {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(leaves.items(), grads, strict=True)}
    return Point({n: p.detach() for n, p in leaves.items()}, gradient, float(value.detach()))


def random_loss(output: torch.Tensor, loss: str, generator: torch.Generator, axis: int) -> torch.Tensor:
    """Squared error or softmax cross-entropy against random targets."""
    if loss == "mse":
        target = torch.randn(output.shape, generator=generator, dtype=output.dtype).to(output.device)
        return (output - target).square().mean()
    if loss != "cross_entropy":
        raise ValueError(f"no loss {loss!r}; there are mse, cross_entropy")
    logits = output.movedim(axis, -1).flatten(0, -2)
    classes = torch.randint(logits.shape[-1], logits.shape[:1], generator=generator).to(output.device)
    return torch.nn.functional.cross_entropy(logits, classes)
