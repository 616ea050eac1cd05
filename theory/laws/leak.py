"""Where a law that holds up to the epsilon of norms moves at first order: at these norms, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Leak:
    """One normalisation whose epsilon sees the gauge of a law.

    The gauge multiplies what the norm reads by `1 + t coefficient`.  Without epsilon nothing comes of it; with epsilon
    the loss moves by `coefficient <x, dL/dx>`, where `x` is what the norm reads and `dL/dx` what comes back through the
    norm.  So `<grad h, g> = sum 2 coefficient <x, dL/dx>` over all leaks of a law, exactly.

    Attributes:
        site: the block that divides.
        coefficient: of the gauge there.
        size: number of features that it reads.
        run: those that belong to the law.
        dims: the multi-index of this run.
        axes: the law axis of every entry of `dims`, -1 where it is summed over.
    """

    site: str
    coefficient: Fraction
    size: int
    run: tuple[int, int]
    dims: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether only the sum over all features counts."""
        return self.run == (0, self.size) and all(a < 0 for a in self.axes)

    @property
    def leading(self) -> int | None:
        """Length of the axis that alone counts, where it leads and the rest is summed over (heads, groups)."""
        alone = self.run == (0, self.size) and self.axes == (0, *(-1 for _ in self.axes[1:]))
        return self.dims[0] if alone else None

    def read(self, products: torch.Tensor) -> torch.Tensor:
        """`<x, dL/dx>` in the axes of the law.

        Args:
            products: one for every feature, or one for every entry of the leading axis, or a single one.
        """
        if products.numel() == self.size or not self.whole:
            if products.numel() == self.size:
                products = products.reshape(-1)[slice(*self.run)].reshape(self.dims)
            else:
                products = products.reshape(-1, *(1 for _ in self.dims[1:]))
            kept = sorted((a, i) for i, a in enumerate(self.axes) if a >= 0)
            summed = [i for i, a in enumerate(self.axes) if a < 0]
            return products.permute(*(i for _, i in kept), *summed).flatten(len(kept)).sum(-1) if summed else products
        return products.sum()


def slopes(leaks: Sequence[Leak], products: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """`<grad h, g>` of every scalar of a law, from what its norms show; see `Leak`."""
    parts = [2 * float(k.coefficient) * k.read(products[k.site]) for k in leaks]
    return sum(parts[1:], parts[0])
