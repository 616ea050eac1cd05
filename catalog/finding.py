"""Networks with more laws than the rules give: how many the oracle counts, why, and the laws themselves.

The limits of the rules have names in `lawful.theory.derive.limits`; each finding is the smallest network that we know
for one of them.  The tests count all of them again, and check that the laws given here
hold and fill the gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture

P = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Finding:
    """A network whose laws are not all found by the rules.

    Attributes:
        name: what is particular about it.
        build: the network.
        oracle: number of independent laws that brute force counts.
        reason: where the laws that the rules miss come from.
        missing: conserved quantities as a function of the parameters by name, which with those that the engine derives
            are all laws; None where no formula is known.
        input: what the network reads, where its first block does not say.
        space: position axes of the input.
        loss: the loss.
    """

    name: str
    build: Callable[[], b.Net]
    oracle: int
    reason: str
    missing: Callable[[P], torch.Tensor] | None
    input: b.Signal | None = None
    space: tuple[int, ...] | None = None
    loss: str = "mse"

    def architecture(self) -> Architecture:
        """The network."""
        return Architecture(self.build(), input=self.input, space=self.space)


def within(basis: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """A symmetric matrix on the span of the columns of a basis."""
    return basis.T @ matrix @ basis


def complement(rows: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis, as columns, of what all rows are orthogonal to."""
    return torch.linalg.svd(rows)[2][len(rows) :].T


def plane(columns: torch.Tensor) -> torch.Tensor:
    """Coordinates of the space that the columns of a tall matrix span: the rows below a unit matrix."""
    k = columns.shape[1]
    return columns[k:] @ torch.linalg.inv(columns[:k])
