"""What a block says to the theorems: its rule, the parameters that it uses, what it does not see, where it stands.

A gauge gives every wire a symmetric matrix `S` and a constant shift `t`.  A rule says which of them a block turns into
one another, with its own parameters allowed to answer, and which directions its inputs may move in unseen.  The
default is the rule of an unknown block: nothing passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from .algebra import Nothing
from .linalg import Number
from .passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from .subspace import Subspace, Vector

SignedWires = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class View:
    """How a law looks at a parameter: `p.reshape(shape).permute(order)`, whose leading `lead` axes form the wire.

    Attributes:
        shape: of the parameter.
        order: of its axes.
        lead: number of axes that form the wire.
        paired: whether the last of these counts real and imaginary parts.
        conjugate: whether the imaginary ones are negated.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    lead: int = 1
    paired: bool = False
    conjugate: bool = False

    @staticmethod
    def axis(shape: tuple[int, ...], i: int) -> View:
        """The wire is axis `i` of the tensor."""
        return View(shape, (i, *(k for k in range(len(shape)) if k != i)))


@dataclass(frozen=True, slots=True)
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
    axes: tuple[SignedWires, ...]
    views: tuple[View, ...]
    groups: int = 1
    constant: bool = False
    offset: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Site:
    """A block in place: its rule and the wires on its ports.

    `function` tells blocks with one rule apart (ReLU and LeakyReLU); None stands for a function of its own.  `inner`
    are wires inside the block, which no other block reads: the axes along which its own parameters move unseen.
    `parameters` names all that the block computes with, also those of which its rule says nothing.
    """

    name: str
    rule: Rule
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    function: tuple[object, ...] | None = None
    inner: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()

    @property
    def wires(self) -> tuple[int, ...]:
        """All wires that its rule speaks about."""
        return (*self.inputs, *self.outputs, *self.inner)


EPSILON = 1e-2  # the largest constant that is read as an epsilon: published ones go up to 1e-3, features are near 1


class Asked:
    """What any rule is asked; a rule of which something else is true has a field, or an attribute, of that name.

    Attributes:
        epsilon: the constant under its root, or beside it; above 0 part of what it lets through holds only
            approximately, and above `EPSILON` not at all.
        noisy: whether it draws at random.
        mixes: whether it reads several positions at once.
        positive: whether what it writes is never negative, whatever it reads.
    """

    epsilon: float = 0.0
    noisy: bool = False
    mixes: bool = False
    positive: bool = False

    @property
    def approximate(self) -> bool:
        """Whether it has a constant so small that laws hold up to it."""
        return 0 < self.epsilon <= EPSILON

    def sees_scale(self, lax: bool) -> bool:
        """Whether its constant lets it see a scale: one that is no epsilon always does, any other if not `lax`."""
        return self.epsilon > 0 and not (lax and self.approximate)


@dataclass(frozen=True)
class Rule(Asked):
    """The rule of a block.  Subclasses state theirs in `statement`; this one lets nothing through."""

    @property
    def statement(self) -> str:
        """The row of the table, in words, as a proof quotes it."""
        return "nothing passes: S = 0 and t = 0 on every port"

    @property
    def tells_mean(self) -> bool:
        """Whether it tells the mean of features from their differences."""
        return False

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        """Name and width of the wires inside the block."""
        return ()

    def uses(self, site: Site) -> list[Use]:
        """The parameters it uses."""
        return []

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        """Restricts and aligns the algebras of its wires; called until nothing changes."""
        for w in site.wires:
            layouts.meet(w, Nothing(layouts.size(w)))

    def balance(self, balance: BalancePass, site: Site) -> None:
        """Adds the equations between the `S` of its wires."""

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        """Adds the equations between the `t` of its wires, and names the constant fields that its parameters may have.

        A use of a parameter that is not named here (by `parameter_terms`, `fields.move_matrix`, ...) admits none.
        """
        for w in site.inputs:
            shifts.forbid(w)
        for w in site.outputs:
            shifts.emit(w, {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        """For every input, what may move unseen when the outputs' blind directions are known."""
        return [Blind() for _ in site.inputs]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        """For every output, the directions it never has (`u^T x = 0` for every input)."""
        return [Subspace() for _ in site.outputs]

    def fixed(self, directions: DirectionPass, site: Site) -> Sequence[Sequence[tuple[Vector, Number]]]:
        """For every output, vectors `u` with `u^T x = c` for every input, and `c` (not 0)."""
        return [() for _ in site.outputs]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        """Degree of homogeneity of the output in a positive factor on the inputs, None if there is none.

        `local` tells one factor per position from one per example.
        """
        return None if any(degrees) else 0
