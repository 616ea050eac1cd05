"""What a rule is: one row of the table of the gauge calculus.

A gauge gives every wire a symmetric matrix `S` and a constant shift `t`.  A rule says which of them a block turns into
one another, with its own parameters allowed to answer, and which directions its inputs may move in unseen.  The
default is the rule of an unknown block: nothing passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..algebra import Nothing
from ..diagram import Site, View
from ..subspace import Subspace

if TYPE_CHECKING:
    from ..balance import Balance
    from ..directions import Directions
    from ..layouts import Layouts
    from ..shifts import Shifts

Terms = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Use:
    """One use of a parameter, seen through the gauge.

    A matrix moves by `xi = S_0 p + p S_1`, a vector by `xi = S_0 p`, where `S_k` is the signed sum of the wires in
    `axes[k]`.

    Attributes:
        parameter: its name.
        axes: for every feature axis of the parameter the signed wires that act on it.
        views: how a law sees the parameter from each of those axes.
        groups: number of blocks of a grouped map (the leading axis that both sides share).
        constant: True where the parameter is added to a wire as it is (bias, position, token).
        offset: True where the map is the identity plus the parameter.
    """

    parameter: str
    axes: tuple[Terms, ...]
    views: tuple[View, ...]
    groups: int = 1
    constant: bool = False
    offset: bool = False


@dataclass(frozen=True)
class Blind:
    """Directions in which an input may move unseen: for any data (`moving`), or by one constant (`still`)."""

    moving: Subspace = field(default_factory=Subspace)
    still: Subspace = field(default_factory=Subspace)


@dataclass(frozen=True)
class Rule:
    """The rule of a block.  Subclasses state theirs in `statement`; this one lets nothing through."""

    @property
    def statement(self) -> str:
        """The row of the table, in words, as a proof quotes it."""
        return "nothing passes: S = 0 and t = 0 on every port"

    def uses(self, site: Site) -> list[Use]:
        """The parameters it uses."""
        return []

    def shape(self, layouts: Layouts, site: Site) -> None:
        """Restricts and aligns the algebras of its wires; called until nothing changes."""
        for w in (*site.inputs, *site.outputs):
            layouts.meet(w, Nothing(layouts.size(w)))

    def balance(self, balance: Balance, site: Site) -> None:
        """Adds the equations between the `S` of its wires."""

    def shift(self, shifts: Shifts, site: Site) -> None:
        """Adds the equations between the `t` of its wires."""
        for w in site.inputs:
            shifts.forbid(w)
        for w in site.outputs:
            shifts.emit(site, w, {})

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        """For every input, what may move unseen when the outputs' blind directions are known."""
        return [Blind() for _ in site.inputs]

    def silent(self, directions: Directions, site: Site) -> Sequence[Subspace]:
        """For every output, the directions it never has (`u^T x = 0` for every input)."""
        return [Subspace() for _ in site.outputs]

    def degree(self, degrees: Sequence[int], local: bool) -> int | None:
        """Degree of homogeneity of the output in a positive factor on the inputs, None if there is none.

        `local` tells one factor per position from one per example.
        """
        return None if any(degrees) else 0


OPAQUE = Rule()
