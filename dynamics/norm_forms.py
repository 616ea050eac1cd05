"""What a normalisation divides by, found out from what it does: the weight `epsilon / (s + epsilon)` of its epsilon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lawful.blocks.batchnorm import BatchNormCore
from lawful.blocks.heads import HeadNormCore
from lawful.blocks.norms import GroupNormCore, InstanceNormCore, LayerNormCore, RMSNormCore

CLOSE = 1e-3  # how close a module of unknown make comes to a form that it has
LARGE = 2**16  # entries
TOKENS = 64  # rows that are tried
BLOCKS = (BatchNormCore, LayerNormCore, RMSNormCore, GroupNormCore, InstanceNormCore, HeadNormCore)
KNOWN = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
BATCH, INSTANCE = nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm


def epsilon_of(module: nn.Module, kind: torch.dtype = torch.float32) -> float | None:
    """The epsilon of a norm, None for a module without one.

    Args:
        module: the norm.
        kind: the type that it reads, which says what torch takes where a norm is given none.
    """
    if type(module) is nn.RMSNorm and module.eps is None:
        return float(torch.finfo(torch.float64 if kind == torch.float64 else torch.float32).eps)
    found = (getattr(module, a, None) for a in ("eps", "epsilon", "variance_epsilon"))
    return next((x for x in found if isinstance(x, float) and x > 0), None)


@torch.no_grad()
def measured(module: nn.Module, x: Tensor, axis: int) -> float | None:
    """The epsilon of a norm that does not say it, from what it makes of small numbers; None if it shows none.

    Args:
        module: the norm.
        x: an input, of which only the shape and the type count.
        axis: the axis that may be normalised.
    """
    length = x.shape[axis]
    signs = torch.ones(length, dtype=torch.float64)
    signs[1::2] = -1
    signs[2 * (length // 2) :] = 0  # mean zero and mean square one: the same for every norm over this axis
    if length < 2:
        return None
    signs = signs * (length / signs.square().sum()).sqrt()
    shape = [1] * x.ndim
    shape[axis] = length
    row = signs.reshape(shape).expand(1, *x.shape[1:])

    def size(scale: float) -> float:
        given = (scale * row).to(x)
        return float((module.forward(given) - module.forward(torch.zeros_like(given))).double().norm())

    whole = size(1e3)
    for scale in (10.0**-k for k in range(1, 10)):
        ratio = size(scale) / whole if whole > 0 else 1.0
        if ratio < 0.97:
            if not 0.05 < ratio:
                return None
            epsilon = scale**2 * (ratio**-2 - 1)
            near = float(f"{epsilon:.2g}")
            return near if abs(near - epsilon) <= CLOSE * epsilon else epsilon
    return None


class Form:
    """How a module normalises.

    Args:
        module: the module.
    """

    def __init__(self, module: nn.Module) -> None:
        self.channels = isinstance(module, (BATCH, INSTANCE, nn.GroupNorm))
        self.batch = isinstance(module, BATCH)
        self.known = isinstance(module, (BATCH, INSTANCE)) or type(module) in KNOWN
        self._tried = self.known
        self._epsilon = epsilon_of(module)
        self.inner: torch.dtype | None = None  # what it computes in, where that is less precise than what it writes
        self.centre = type(module) is not nn.RMSNorm
        self.axes: tuple[int, ...] = (-1,)
        if type(module) in (nn.LayerNorm, nn.RMSNorm):
            shape = module.normalized_shape
            assert isinstance(shape, tuple)
            self.axes = tuple(range(-len(shape), 0))

    def find(self, module: nn.Module, x: Tensor, out: Tensor) -> None:
        """Tries which form a module of unknown make has, where epsilon is small and where it is not."""
        if self._tried:
            return
        self._tried = True
        if out.shape != x.shape or x.ndim < 2:
            return
        said = self._epsilon
        for axis in dict.fromkeys((-1, 1 - x.ndim)):
            epsilon = said or measured(module, x, axis)
            if x.shape[axis] == 1 or epsilon is None:
                continue
            self._epsilon = epsilon
            rows = x.movedim(axis, -1)
            some = rows.reshape(-1, rows.shape[-1])[:TOKENS].double()
            if x.ndim > 2 and axis != -1:
                some = some.reshape(1, *[1] * (x.ndim - 3), *some.shape)
            some = some * (epsilon / some.square().mean().clamp(min=1e-300)).sqrt()
            small = some.movedim(-1, axis).to(x.dtype)
            alike = small.reshape(1, *[1] * (x.ndim - 3), *small.shape) if small.ndim < x.ndim else small
            made = module.forward(alike)
            for centre in (False, True):
                left = self._misfit(module, x, out, axis, centre)
                if max(left, self._misfit(module, alike, made, axis, centre)) <= max(CLOSE, 4 * _unit(out)):
                    self.known, self.axes, self.centre = True, (axis,), centre
                    self.inner = torch.float32 if _unit(out) < 1e-12 < left else None
                    return

    def _misfit(self, module: nn.Module, x: Tensor, out: Tensor, axis: int, centre: bool) -> float:
        """How far the output is from this normalised input times a gain, plus the bias, relative to its size."""
        self.axes, self.centre = (axis,), centre
        x, z = x.double(), (out - _fit(self.bias(module, out), out)).double()
        y = (x - x.mean(axis, keepdim=True) if centre else x) * self._inverse(module, x)
        others = [i for i in range(x.ndim) if i != axis % x.ndim]
        gain = (y * z).sum(others, keepdim=True) / y.square().sum(others, keepdim=True).clamp(min=1e-300)
        size = float(z.norm())
        return float((z - gain * y).norm()) / size if size > 0 else 1.0

    def _inverse(self, module: nn.Module, x: Tensor) -> Tensor:
        return (_size(x, self.axes, self.centre) + (self._epsilon or 0.0)).rsqrt()

    def inverse_square(self, module: nn.Module, x: Tensor) -> Tensor:
        """`1 / (s + epsilon)`, in a shape that expands to that of `x`."""
        if isinstance(module, BATCH):
            size = _size(x, [i for i in range(x.ndim) if i != 1], True)
        elif isinstance(module, INSTANCE):
            size = _size(x, range(2, x.ndim), True)
        elif isinstance(module, nn.GroupNorm):
            size = _size(x.reshape(x.shape[0], module.num_groups, -1), (2,), True)
            size = size.repeat_interleave(x.shape[1] // module.num_groups, 1).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
        else:
            size = _size(x, self.axes, self.centre)
        return 1 / (size + self._epsilon_for(module, x))

    def weight(self, module: nn.Module, x: Tensor) -> Tensor:
        """`epsilon / (s + epsilon)`, in a shape that expands to that of `x`."""
        return self._epsilon_for(module, x) * self.inverse_square(module, x)

    def _epsilon_for(self, module: nn.Module, x: Tensor) -> float:
        return epsilon_of(module, x.dtype) or self._epsilon or 0.0

    def bias(self, module: nn.Module, out: Tensor) -> Tensor | None:
        """What the norm adds at the end, in a shape that expands to that of the output."""
        bias = getattr(module, "bias", None)
        if not isinstance(bias, Tensor):
            return None
        axis = 1 if self.channels else self.axes[0] % out.ndim
        return bias.detach() if bias.ndim > 1 else bias.detach().reshape(-1, *[1] * (out.ndim - 1 - axis))


def of_block(block: Any, x: Tensor, axis: int) -> Tensor | None:
    """The weight of epsilon for a norm that is a block of an architecture, in the shape of `x`; None for another block.

    Args:
        block: the block.
        x: what it reads.
        axis: of the features.
    """
    inverse = inverse_square_of_block(block, x, axis)
    return None if inverse is None else block.epsilon * inverse


def inverse_square_of_block(block: Any, x: Tensor, axis: int) -> Tensor | None:
    """`1 / (s + epsilon)` of a norm that is a block of an architecture, in the shape of `x`; None for another block.

    Args:
        block: the block.
        x: what it reads.
        axis: of the features.
    """
    axis %= x.ndim
    if isinstance(block, BatchNormCore):
        size = _size(x, [i for i in range(x.ndim) if i != axis], True)
    elif isinstance(block, (LayerNormCore, RMSNormCore)):
        size = _size(x, (axis,), isinstance(block, LayerNormCore))
        size = size.sqrt() if block.beside else size
    elif isinstance(block, (GroupNormCore, InstanceNormCore, HeadNormCore)):
        y = x.movedim(axis, -1 if isinstance(block, HeadNormCore) else 1)
        if isinstance(block, HeadNormCore):
            size = _size(y.unflatten(-1, (block.heads, -1)), (-1,), block.centre)
            size = size.expand(*size.shape[:-1], y.shape[-1] // block.heads).flatten(-2).movedim(-1, axis)
        else:
            groups = block.groups if isinstance(block, GroupNormCore) else y.shape[1]
            centre = isinstance(block, GroupNormCore) or block.centre
            size = _size(y.reshape(y.shape[0], groups, -1), (2,), centre).repeat_interleave(y.shape[1] // groups, 1)
            size = size.reshape(*y.shape[:2], *[1] * (y.ndim - 2)).movedim(1, axis)
    else:
        return None
    inverse: Tensor = 1 / (size + block.epsilon)
    return inverse


def _fit(bias: Tensor | None, out: Tensor) -> Tensor:
    return out.new_zeros(()) if bias is None else bias


def _size(x: Tensor, axes: Sequence[int], centre: bool) -> Tensor:
    """The mean square, at least in float32."""
    x = x if x.dtype in (torch.float32, torch.float64) else x.float()
    axes = list(axes)
    if centre and (x.dtype == torch.float64 or x.numel() < LARGE):
        return x.var(axes, correction=0, keepdim=True)
    square = x.square().mean(axes, keepdim=True)
    if not centre:
        return square
    # two plain sums take a fraction of the time of a variance, and a weight of epsilon needs no more digits
    return (square - x.mean(axes, keepdim=True).square()).clamp(min=0)


def _unit(x: Tensor) -> float:
    return torch.finfo(x.dtype).eps
