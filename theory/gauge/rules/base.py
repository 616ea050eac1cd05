"""What a rule is: one row of the table of the gauge calculus.

A gauge gives every wire a symmetric matrix `S` and a constant shift `t`.  A rule says which of them a block turns into
one another, with its own parameters allowed to answer, and which directions its inputs may move in unseen.  The
default is the rule of an unknown block: nothing passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from ..algebra import Nothing
from ..diagram import Site, View
from ..subspace import Subspace, Vector

if TYPE_CHECKING:
    from ..balance import Balance
    from ..directions import Directions
    from ..layouts import Layouts
    from ..linalg import Number
    from ..shifts import Shifts

Terms = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Use:
    """One use of a parameter, seen through the gauge.

    A matrix moves by `xi = S_0 p + p S_1`, a vector by `xi = S_0 p`, a tensor of three axes by all three, where `S_k`
    is the signed sum of the wires in `axes[k]`.

    Attributes:
        parameter: its name.
        axes: for every feature axis of the parameter the signed wires that act on it.
        views: how a law sees the parameter from each of those axes.
        groups: number of blocks of a grouped map (the leading axis that both sides share).
        constant: True where the parameter is added to a wire as it is (bias, position, token).
        offset: the multiple of the identity that the map adds to the parameter.
    """

    parameter: str
    axes: tuple[Terms, ...]
    views: tuple[View, ...]
    groups: int = 1
    constant: bool = False
    offset: Fraction = Fraction(0)


@dataclass(frozen=True)
class Blind:
    """Directions in which an input may move unseen.

    Attributes:
        moving: by any amount at every position of every example.
        still: by one constant.
        shared: by an amount that depends on the example but is the same at all of its positions.
    """

    moving: Subspace = field(default_factory=Subspace)
    still: Subspace = field(default_factory=Subspace)
    shared: Subspace = field(default_factory=Subspace)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shared", self.shared.join(self.moving) if self.moving else self.shared)

    def meet(self, other: Blind) -> Blind:
        """What neither of two readers sees."""
        shared = self.shared.meet(other.shared)
        return Blind(self.moving.meet(other.moving), self.still.meet(other.still), shared)


@dataclass(frozen=True)
class Rule:
    """The rule of a block.  Subclasses state theirs in `statement`; this one lets nothing through."""

    @property
    def statement(self) -> str:
        """The row of the table, in words, as a proof quotes it."""
        return "nothing passes: S = 0 and t = 0 on every port"

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        """Name and width of the wires inside the block."""
        return ()

    def uses(self, site: Site) -> list[Use]:
        """The parameters it uses."""
        return []

    def shape(self, layouts: Layouts, site: Site) -> None:
        """Restricts and aligns the algebras of its wires; called until nothing changes."""
        for w in site.wires:
            layouts.meet(w, Nothing(layouts.size(w)))

    def balance(self, balance: Balance, site: Site) -> None:
        """Adds the equations between the `S` of its wires."""

    def shift(self, shifts: Shifts, site: Site) -> None:
        """Adds the equations between the `t` of its wires, and names the constant fields that its parameters may have.

        A use of a parameter that is not named here (by `parameter_terms`, `move_matrix`, ...) admits none.
        """
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

    def fixed(self, directions: Directions, site: Site) -> Sequence[Sequence[tuple[Vector, Number]]]:
        """For every output, vectors `u` with `u^T x = c` for every input, and `c` (not 0)."""
        return [() for _ in site.outputs]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        """Degree of homogeneity of the output in a positive factor on the inputs, None if there is none.

        `local` tells one factor per position from one per example.
        """
        return None if any(degrees) else 0


@dataclass(frozen=True)
class OpaqueRule(Rule):
    """An operation that nobody understands: nothing passes, and the parameters that it uses never answer.

    Attributes:
        parameters: names and shapes of its parameters.
    """

    parameters: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def statement(self) -> str:
        return "opaque: S = 0 and t = 0 on every port, and its parameters stay"

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        return tuple((f"axis {i} of {name}", n) for name, shape in self.parameters for i, n in enumerate(shape))

    def uses(self, site: Site) -> list[Use]:
        wires = iter(site.inner)
        return [
            Use(
                name,
                tuple(((next(wires), 1),) for _ in shape),
                tuple(View.axis(shape, i) for i in range(len(shape))),
            )
            for name, shape in self.parameters
        ]


@dataclass(frozen=True)
class HeldRule(OpaqueRule):
    """Parameters that a block computes with and its rule does not speak of: no gauge moves them."""

    @property
    def statement(self) -> str:
        return "its parameters stay"


@dataclass(frozen=True)
class DiscardRule(Rule):
    """The end of a wire that nothing reads: whatever moves there is unseen."""

    @property
    def statement(self) -> str:
        return "nothing reads it: every t is unseen, so that what writes it never moves"

    def shape(self, layouts: Layouts, site: Site) -> None:
        pass

    def shift(self, shifts: Shifts, site: Site) -> None:
        pass

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        everything = Subspace.everything(directions.layout(site.inputs[0]))
        return [Blind(everything, everything, everything)]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return 0


OPAQUE = Rule()
