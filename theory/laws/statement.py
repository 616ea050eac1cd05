"""What a law says, as data: which parameters it reads, cut and folded in which way, and what it adds up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from ..gauge.contract import View

if TYPE_CHECKING:
    import torch

Parameters = Mapping[str, "torch.Tensor"]


@dataclass(frozen=True, slots=True)
class Part:
    """A parameter as a law reads it: viewed, sliced and folded into the law's axes.

    Attributes:
        parameter: its name.
        view: reshape and permutation that bring the wire's indices to the front.
        sizes: lengths of the leading axes after the view.
        slices: the run of each of them that belongs to the law.
        dims: the multi-index of those runs.
        axes: the law axis of every entry of `dims`, -1 where it is summed over.
        offset: add this multiple of the identity first (`I + W` of a skip around a linear branch).
        ramp: weigh the entries unevenly, which makes a true law false (the control of a check).
    """

    parameter: str
    view: View
    sizes: tuple[int, ...]
    slices: tuple[tuple[int, int], ...]
    dims: tuple[int, ...]
    axes: tuple[int, ...]
    offset: Fraction = Fraction(0)
    ramp: bool = False

    def read(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor with the law's axes first, then what is summed, then the rest as one axis each."""
        if self.offset:
            tensor = tensor + float(self.offset) * self.identity_like(tensor)
        if self.ramp:
            tensor = tensor * ramp_like(tensor)
        x = self.viewed(tensor).reshape(*self.sizes, -1)
        for axis, (start, stop) in enumerate(self.slices):
            x = x.narrow(axis, start, stop - start)
        x = x.reshape(*self.dims, -1)
        kept = sorted((a, i) for i, a in enumerate(self.axes) if a >= 0)
        summed = [i for i, a in enumerate(self.axes) if a < 0]
        x = x.permute(*(i for _, i in kept), *summed, len(self.dims))
        lead = [self.dims[i] for _, i in kept]
        return x.reshape(*lead, math.prod(self.dims[i] for i in summed), -1)

    def sizes_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sizes of what `read` gives."""
        return replace(self, view=replace(self.view, conjugate=False)).read(tensor.abs())

    def viewed(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor as its view orders it."""
        import torch

        x = tensor.reshape(self.view.shape).permute(self.view.order)
        if not self.view.conjugate:
            return x
        real, imaginary = x.unbind(self.view.lead - 1)
        return torch.stack([real, -imaginary], self.view.lead - 1)

    def identity_like(self, tensor: torch.Tensor) -> torch.Tensor:
        """The weight of the identity map with the shape of a tensor that is read as a gain, a matrix or a convolution.

        A row of a table that is read as a gain, `b[0:1]`, has two axes and is no matrix.
        """
        import torch

        if tensor.ndim == 1 or len(self.view.shape) == 1:
            return torch.ones_like(tensor)
        out = torch.zeros_like(tensor)
        centre = tuple(n // 2 for n in tensor.shape[2:])
        for i in range(tensor.shape[0]):
            out[(i, i % tensor.shape[1], *centre)] = 1
        return out


def ramp_like(tensor: torch.Tensor) -> torch.Tensor:
    """Uneven weights for the entries of a tensor."""
    import torch

    i = torch.arange(tensor.numel(), dtype=torch.float64, device=tensor.device)
    return (1.5 + torch.cos(i * i)).to(tensor.dtype).reshape(tensor.shape)


@dataclass(frozen=True, slots=True)
class Term:
    """`coefficient * X X^T` (or `X Y^T`) in a quadratic law, `coefficient * sum(X)` in a linear one.

    `signs` weighs the `c` and `j` sectors of a scalar that mixes them: `signs[0] * tr G + signs[1] * (1^T G 1 - tr G)`.
    """

    coefficient: Fraction
    part: Part
    partner: Part | None = None
    off_diagonal: bool = False


@dataclass(frozen=True, eq=False)
class Statement:
    """What a family of conserved quantities says; everything that evaluates or writes a law reads this alone.

    Attributes:
        name: readable and unique within its set.
        kind: `balance` (quadratic), `shift` (linear) or `frozen` (a parameter that never moves).
        wire: the wire or parameter it belongs to.
        algebra: which matrices or vectors index it, as text (`Full(4)`, `Diagonal(16)`).
        count: number of scalars in the family.
        independent: how many of them are independent at a generic point.
        exact: False where it holds only up to the epsilon of a norm.
        shape: shape of `value`, without a trailing axis for kernel positions.
        axis_kinds: what each value axis is (`free`, `traceless`, `matrix`, `centred`, `pair`).
        terms: how it reads the parameters.
        wires: names of all wires that its gauge moves, for a quadratic law.
    """

    name: str
    kind: str
    wire: str
    algebra: str
    count: int
    independent: int
    exact: bool
    shape: tuple[int, ...]
    axis_kinds: tuple[str, ...]
    terms: tuple[Term, ...]
    wires: tuple[str, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters it depends on, each once."""
        names = (p.parameter for t in self.terms for p in (t.part, t.partner) if p is not None)
        return tuple(dict.fromkeys(names))
