"""Lie algebras of rotations: the skew matrices that a wire may carry."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Rotations:
    """Block-diagonal skew matrices: one `Skew(width)` for each of `groups` blocks, in `copies` copies.

    Attributes:
        groups: number of blocks that turn apart.
        copies: how often each is repeated (query heads of one key).
        width: features of a block; 0 for the algebra that is zero.
        still: whether `S 1 = 0` in every block.
        strided: how many blocks lie feature by feature beside each other (planes of rotary position); the indices of a
            wire run `(groups / strided, copies, width, strided)`.
    """

    groups: int
    copies: int
    width: int
    still: bool = False
    strided: int = 1

    @property
    def block(self) -> int:
        """Dimension of the space in which one block turns."""
        return max(self.width - self.still, 0)

    @property
    def zero(self) -> bool:
        """Whether nothing turns."""
        return self.block < 2

    def meet(self, other: Rotations) -> Rotations | None:
        """The rotations that both allow, None where their blocks do not nest."""
        still = self.still or other.still
        if self.zero or other.zero:
            return NONE
        a, b = sorted((self, other), key=lambda r: r.width, reverse=True)
        if replace(a, still=still) == replace(b, still=still):
            return replace(a, still=still)
        if a.width == b.width or a.strided > 1:
            return None
        # What leaves 1 alone in a block of blocks, or of copies, leaves it alone in each of them.
        if a.copies == 1:
            nests = a.width % (b.width * b.strided * b.copies) == 0
            return replace(b, still=still) if nests else None
        if b.copies == 1 and b.width * b.strided == a.width:
            return Rotations(a.groups * b.strided, a.copies, b.width, still, b.strided)
        return None


NONE = Rotations(1, 1, 0)
