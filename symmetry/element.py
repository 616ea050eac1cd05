"""Elements of the groups: one factor, matrix, shift, permutation or sign for everything that a symmetry moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import torch

from lawful.theory.typed import typed_methods


@typed_methods(leave=("__init__",))
@dataclass(frozen=True, eq=False, repr=False)
class Element:
    """An element of a symmetry's group.

    Attributes:
        kind: `scale` (positive factors), `matrix`, `shift`, `permutation` (of indices) or `signs`.
        value: the factors, matrices (the last two axes), shifts, indices (along the last axis) or signs.
        powers: matrices for readers of another degree than 1 (behind `relu(x)^2`), by that degree.
    """

    kind: str
    value: torch.Tensor
    powers: Mapping[Fraction, torch.Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Element: {self.kind} of shape {tuple(self.value.shape)}>"

    @property
    def inverse(self) -> Element:
        """The element that undoes it."""
        if self.kind == "scale":
            return Element(self.kind, 1 / self.value)
        if self.kind == "shift":
            return Element(self.kind, -self.value)
        if self.kind == "permutation":
            return Element(self.kind, self.value.argsort(-1))
        if self.kind == "signs":
            return self
        return Element(
            self.kind, torch.linalg.inv(self.value), {c: torch.linalg.inv(m) for c, m in self.powers.items()}
        )

    def __matmul__(self, other: Element) -> Element:
        """First `other`, then this one.

        Raises:
            TypeError: for elements of two kinds of groups.
        """
        if not isinstance(other, Element) or other.kind != self.kind or other.value.shape != self.value.shape:
            raise TypeError("elements of two groups have no product; take both from one symmetry")
        if self.kind in ("scale", "signs"):
            return Element(self.kind, self.value * other.value)
        if self.kind == "shift":
            return Element(self.kind, self.value + other.value)
        if self.kind == "permutation":
            return Element(self.kind, other.value.gather(-1, self.value))
        powers = {c: m @ other.powers[c] for c, m in self.powers.items()}
        return Element(self.kind, self.value @ other.value, powers)

    def matrix(self, power: Fraction) -> torch.Tensor:
        """What acts on a parameter of this degree: the matrix, or its inverse transpose for a reader.

        Raises:
            ValueError: for a degree that the element was not made for.
        """
        found = self.value if abs(power) == 1 else self.powers.get(abs(power))
        if found is None:
            raise ValueError(f"the element has no matrix of degree {abs(power)}; make it with symmetry.exp(generator)")
        return found if power > 0 else torch.linalg.inv(found).transpose(-1, -2)
