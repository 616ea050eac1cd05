"""Rows that a mask chooses, and the numbers of their entries, as all rows of a tensor (see `choices`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

MARK = "_lawful_rows"  # what a tensor of rows, or of their numbers, is a part of
# what gives a tensor of the same entries
SAME = frozenset(
    "to long int float double type contiguous clone view reshape squeeze unsqueeze flatten cpu detach".split()
)


class Unreadable(RuntimeError):
    """Rows that are used in a way that has no counterpart with all of them."""


@dataclass
class Rows:
    """The rows that a mask chooses: all entries of its axis of tokens, or of all its axes.

    Attributes:
        mask: the mask.
        axis: its axis of tokens, None while nobody knows, -1 where every axis is one.
    """

    mask: torch.Tensor
    axis: int | None

    def chosen(self) -> torch.Tensor:
        """For every token whether it is chosen."""
        m = self.mask
        if self.axis == -1:
            return m.reshape(-1)
        return (m.movedim(self._axis, 0).flatten(1) != 0).any(1) if m.ndim > 1 else m != 0

    @property
    def _axis(self) -> int:
        if self.axis is None:
            self.axis = max(range(self.mask.ndim), key=lambda i: self.mask.shape[i])
        return self.axis

    def settle(self, axis: int) -> None:
        """Fixes the axis of tokens.

        Raises:
            Unreadable: if it was another one.
        """
        if self.axis is None:
            self.axis = axis
        if self.axis != axis:
            raise Unreadable("tokens are taken by another axis of a mask than before")

    def entries(self, x: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
        """`x[i, j]` at the entries that the mask chooses: for every token the sum over its other axes."""
        order = [self._axis, *(i for i in range(self.mask.ndim) if i != self._axis)]  # tokens first
        values = x.permute(*(axes.index(i) for i in order), *range(len(order), x.ndim))
        kept = self.mask.permute(*order) != 0
        rest = values.shape[len(order) :]
        picked = values * kept.reshape(*kept.shape, *[1] * len(rest)).to(values)
        return picked.sum(list(range(1, len(order)))) if len(order) > 1 else picked


@dataclass(frozen=True)
class Column:
    """One of the tensors of numbers that `torch.where(mask)` gives.

    Attributes:
        rows: what they are the numbers of.
        axis: of the mask.
    """

    rows: Rows
    axis: int


@dataclass(frozen=True)
class Taken:
    """Rows of a tensor, maybe with something added to them.

    Attributes:
        source: the tensor.
        rows: which.
        added: what was added, None for nothing.
    """

    source: torch.Tensor
    rows: Rows
    added: torch.Tensor | None = None


class Numbers(list[Any]):
    """Numbers of experts that may be chosen, as what a loop runs over: all of them."""

    def __getattr__(self, name: str) -> Any:
        if name in SAME or name in ("tolist", "sort", "unique"):
            return lambda *args, **kwargs: self
        raise AttributeError(name)


class Number(int):
    """The number of an expert, as a tensor of one entry would be used."""

    def __getitem__(self, index: Any) -> Number:
        return self

    def item(self) -> int:
        """The number."""
        return int(self)


def mark(tensor: Any, mark: Any) -> Any:
    """A tensor, marked."""
    if isinstance(tensor, torch.Tensor):
        setattr(tensor, MARK, mark)
    return tensor


def marked(value: Any) -> Any:
    """What a tensor is marked as, None for everything else."""
    return getattr(value, MARK, None) if isinstance(value, torch.Tensor) else None
