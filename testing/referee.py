"""An independent referee: gradients and Lie algebras of a torch module, on plain autograd.

It shares no code with the library that it judges, not even an import; `tests/test_referee.py` sees to that.  Fields are
gradients of `<w, module(x)>` for random data `x` and random output gradients `w` that the losses can send, brackets are
second derivatives of second derivatives, all by `torch.autograd.grad` in float64, one at a time, without vmap.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

Tensors = dict[str, torch.Tensor]
Field = Callable[[torch.Tensor], torch.Tensor]

KEPT, DROPPED = 1e-7, 1e-10  # relative singular values: above is signal, below is rounding, between is doubt
LEVELS = 4  # of brackets
SECONDS = 6.0  # for one point; a count that takes longer is undecided
PATIENCE = 6  # brackets that must add nothing before a level counts as spanned
FLOOR = 1e-3  # what is far smaller than this part of its natural size is rounding, whatever stands beside it
REACH = (1.0, 1.0, 2.5)  # sizes of the data, so that gates and clamps see all their sides
# Sizes of the parameters and whether none is negative: values read off a table meet no data that opens their gates.
PLACES = ((1.0, False), (1.0, False), (0.2, True), (0.3, False))


class Primitive(torch.overrides.TorchFunctionMode):
    """Norms in primitive operations: third derivatives of the fused kernels are wrong."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        written = _WRITTEN.get(func)
        return (written or func)(*args, **(kwargs or {}))


def _standard(x: torch.Tensor, dims: list[int], eps: float) -> torch.Tensor:
    centred = x - x.mean(dims, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(dims, keepdim=True) + eps)


def _layer_norm(x: torch.Tensor, shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    out = _standard(x, list(range(-len(shape), 0)), eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def _per_channel(x: torch.Tensor, out: torch.Tensor, weight: Any, bias: Any) -> torch.Tensor:
    shape = (-1, *[1] * (x.ndim - 2))
    out = out if weight is None else out * weight.reshape(shape)
    return out if bias is None else out + bias.reshape(shape)


def _group_norm(x: torch.Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    out = _standard(x.reshape(x.shape[0], groups, -1), [-1], eps).reshape(x.shape)
    return _per_channel(x, out, weight, bias)


def _instance_norm(
    x: torch.Tensor, mean: Any = None, var: Any = None, weight: Any = None, bias: Any = None, *rest: Any, **more: Any
) -> Any:
    eps = more.get("eps", rest[2] if len(rest) > 2 else 1e-5)
    return _per_channel(x, _standard(x, list(range(2, x.ndim)), eps), weight, bias)


def _batch_norm(
    x: torch.Tensor,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training:
        out = _standard(x, [0, *range(2, x.ndim)], eps)
    else:
        shape = (-1, *[1] * (x.ndim - 2))
        out = (x - mean.reshape(shape)) / torch.sqrt(var.reshape(shape) + eps)
    return _per_channel(x, out, weight, bias)


_WRITTEN: dict[Any, Callable[..., Any]] = {
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.instance_norm: _instance_norm,
    F.batch_norm: _batch_norm,
}


@dataclass(frozen=True)
class Found:
    """What counting says.

    Attributes:
        laws: the number of parameters minus the largest rank of a Lie algebra that was seen at a point.
        ranks: that rank at every point.
        decided: whether every gap between signal and rounding was wide, the levels of brackets came to an end, and
            the largest rank was seen more than once.
        gap: the narrowest ratio of a kept and a dropped singular value.
    """

    laws: int
    ranks: tuple[int, ...]
    decided: bool
    gap: float


class Referee:
    """A module in float64 with its losses, ready to be asked for gradients and counts.

    Args:
        module: any module whose forward gives a tensor or a tuple of tensors; a copy of it runs.
        args: example inputs: shapes, and the largest token.
        losses: `"mse"` or `"cross_entropy"` for every output.
        axes: the axis of the classes of every output.
    """

    def __init__(
        self, module: torch.nn.Module, args: Sequence[torch.Tensor], losses: Sequence[str], axes: Sequence[int]
    ) -> None:
        self.module = copy.deepcopy(module).double()
        self.args, self.losses, self.axes = list(args), list(losses), list(axes)
        self.shapes = {n: p.shape for n, p in self.module.named_parameters() if p.requires_grad}
        self.size = sum(s.numel() for s in self.shapes.values())

    def data(self, generator: torch.Generator) -> list[torch.Tensor]:
        """Random inputs like the examples."""
        reach = REACH[int(torch.randint(len(REACH), (1,), generator=generator))]
        return [
            reach * torch.randn(a.shape, generator=generator, dtype=torch.float64)
            if a.is_floating_point()
            else torch.randint(int(a.max()) + 1, a.shape, generator=generator)
            for a in self.args
        ]

    def point(self, generator: torch.Generator, place: int = 0) -> torch.Tensor:
        """Random trainable parameters, laid end to end."""
        size, positive = PLACES[place % len(PLACES)]
        found = size * torch.randn(self.size, generator=generator, dtype=torch.float64)
        return found.abs() if positive else found

    def named(self, theta: torch.Tensor) -> Tensors:
        """The same by name."""
        parts = theta.split([s.numel() for s in self.shapes.values()])
        return {n: p.reshape(s) for (n, s), p in zip(self.shapes.items(), parts, strict=True)}

    def gradient(self, seed: int) -> tuple[Tensors, Tensors, Tensors]:
        """All parameters at a random point, the gradient there of a real loss by `loss.backward()`, and its rounding.

        A frozen parameter has the gradient zero.  A loss sends differences of numbers of the size of the outputs, or of
        probabilities, so that what it sends is off by their last bit, however small it is: the rounding is what the
        parameters get from numbers of that size.
        """
        generator = torch.Generator().manual_seed(seed)
        module = copy.deepcopy(self.module)
        for name, value in self.named(self.point(generator)).items():
            module.get_parameter(name).data.copy_(value)
        outputs = _as_tuple(module(*self.data(generator)))
        total, last = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for z, loss, axis in zip(outputs, self.losses, self.axes, strict=True):
            if loss == "mse":
                total = total + F.mse_loss(z, torch.randn(z.shape, generator=generator, dtype=torch.float64))
            else:
                rows = z.movedim(axis, -1).flatten(0, -2)
                target = torch.randint(rows.shape[-1], rows.shape[:1], generator=generator)
                total = total + F.cross_entropy(rows, target)
            size = 1 + z.detach().abs() if loss == "mse" else torch.ones_like(z)
            last = last + (torch.randn(z.shape, generator=generator, dtype=torch.float64) * size * z).mean()
        every = dict(module.named_parameters())
        found = []
        for value in (total, torch.finfo(torch.float64).eps * last):
            module.zero_grad()
            if value.requires_grad:
                value.backward(retain_graph=True)
            found.append({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in every.items()})
        return {n: p.detach() for n, p in every.items()}, found[0], found[1]

    def potential(self, generator: torch.Generator) -> Callable[[torch.Tensor], torch.Tensor]:
        """A random `<w, module(x)>` as a function of the trainable parameters."""
        x = self.data(generator)
        weights: list[torch.Tensor] = []

        def value(theta: torch.Tensor) -> torch.Tensor:
            with Primitive(), sdpa_kernel(SDPBackend.MATH):  # other kernels have no second derivative
                outputs = _as_tuple(functional_call(self.module, self.named(theta), tuple(x)))
            if not weights:
                for z, loss, axis in zip(outputs, self.losses, self.axes, strict=True):
                    w = torch.randn(z.shape, generator=generator, dtype=torch.float64)
                    weights.append(w - w.mean(axis, keepdim=True) if loss == "cross_entropy" else w)
            return sum(((w * z).sum() for w, z in zip(weights, outputs, strict=True)), start=theta.new_zeros(()))

        return value

    def count(self, seed: int = 0, points: int = 2) -> Found:
        """Counts the laws that hold near random points; what is one everywhere holds at each of them."""
        results = [self._count_at(seed + 7919 * i, i) for i in range(points)]
        rank = max(r for r, _, _ in results)
        best = [d for r, d, _ in results if r == rank]
        # A rank that is seen once says that the points differ: there may be a larger one.
        decided = all(best) and len(best) > 1
        gap = min(g for _, _, g in results)
        return Found(self.size - rank, tuple(r for r, _, _ in results), decided, gap)

    def _count_at(self, seed: int, place: int = 0) -> tuple[int, bool, float]:
        generator = torch.Generator().manual_seed(seed)
        theta = self.point(generator, place)
        rows: list[torch.Tensor] = []
        rank, gap, start = 0, math.inf, time.process_time()
        for level in range(LEVELS + 1):
            before = rank
            while rank < self.size:
                wanted = min(self.size - rank, 24) + PATIENCE if level == 0 else PATIENCE
                for _ in range(wanted):
                    rows.append(self._row(level, theta, generator))
                    if time.process_time() - start > SECONDS:
                        return rank, False, gap
                stacked = torch.stack(rows)
                if not stacked.isfinite().all():
                    return 0, False, 0.0
                new, gap, kept = spectral_rank(stacked)
                grown, rank = new - rank, new
                rows = list(kept)
                if grown < wanted:
                    break
            if rank == self.size or (level and rank == before):
                return rank, gap >= KEPT / DROPPED, gap
        return rank, False, gap

    def _row(self, level: int, theta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """A random bracket at the point, in units of the terms that it is the difference of."""
        field: Field = _gradient_field(self.potential(generator))
        for _ in range(level):
            field = _Bracket(_gradient_field(self.potential(generator)), field)
        value = field(theta.clone().requires_grad_()).detach()
        size = field.size if isinstance(field, _Bracket) else max(float(value.norm()), FLOOR)
        return value / size


def _as_tuple(out: Any) -> tuple[torch.Tensor, ...]:
    if isinstance(out, Mapping):
        return tuple(out.values())
    return (out,) if isinstance(out, torch.Tensor) else tuple(out)


def _gradient_field(potential: Callable[[torch.Tensor], torch.Tensor]) -> Field:
    def field(theta: torch.Tensor) -> torch.Tensor:
        value = potential(theta)
        if not value.requires_grad:
            return torch.zeros_like(theta)
        (found,) = torch.autograd.grad(value, theta, create_graph=True, allow_unused=True)
        return torch.zeros_like(theta) if found is None else found

    return field


class _Bracket:
    """`[X, Y] = DY X - DX Y`, with its size before the two terms cancel, to tell a value from rounding."""

    def __init__(self, x: Field, y: Field) -> None:
        self.x, self.y = x, y
        self.size = 1.0

    def __call__(self, theta: torch.Tensor) -> torch.Tensor:
        x, y = self.x(theta), self.y(theta)
        first, second = along(y, theta, x), along(x, theta, y)
        length = float(y.detach().norm())
        natural = FLOOR * max(1.0, float(x.detach().norm()) * length / max(float(theta.detach().norm()), 1.0))
        self.size = max(float(first.detach().norm()), float(second.detach().norm()), natural)
        if isinstance(self.y, _Bracket):  # what a bracket inside lost by cancelling is lost here too
            self.size *= max(1.0, self.y.size / max(length, 1e-300))
        return first - second


def along(value: torch.Tensor, theta: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """The derivative of a value along a direction: the transposed derivative, transposed by a second backward."""
    if not value.requires_grad:
        return torch.zeros_like(theta)
    dual = torch.zeros_like(value, requires_grad=True)
    (pulled,) = torch.autograd.grad(value, theta, dual, create_graph=True, allow_unused=True)
    if pulled is None or not pulled.requires_grad:
        return torch.zeros_like(theta)
    (found,) = torch.autograd.grad(pulled, dual, direction, create_graph=True, allow_unused=True)
    return torch.zeros_like(theta) if found is None else found


def spectral_rank(rows: torch.Tensor) -> tuple[int, float, torch.Tensor]:
    """The rank of rows, the width of the gap below it, and an orthonormal basis of what is spanned."""
    _, s, v = torch.linalg.svd(rows, full_matrices=False)
    relative = s / max(float(s[0]), 1.0)  # a row that is no rounding has the length 1
    rank = int((relative > math.sqrt(KEPT * DROPPED)).sum())
    if not rank:
        return 0, math.inf if float(relative[0]) <= DROPPED else 1.0, rows[:0]
    last = float(relative[rank - 1])
    dropped = float(relative[rank]) if rank < len(s) else 0.0
    gap = last / max(dropped, 1e-17)
    clear = last >= KEPT and dropped <= DROPPED
    return rank, gap if clear else min(gap, 1.0), v[:rank]
