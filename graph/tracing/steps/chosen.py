"""What calls between a choice of experts and the sum over the chosen stand for."""

from __future__ import annotations

from dataclasses import dataclass

from torch.fx import Node

from ..layout import Atom, Dim, Dims, size
from ..values import NotUnderstood, Stream, Weight

CHOSEN = -2  # the axis of atoms that run over the experts a token is sent to


OUT = -3  # the axis of atoms that run over what the experts write


@dataclass(frozen=True)
class Chosen:
    """Weights of the chosen experts.

    Attributes:
        choice: the call that chose.
        stream: the weights of all experts, in the arrangement `(positions, experts)`.
        scores: what the choice was made by, where that is not the weights.
        dims: the traced tensor, with an atom of the axis `CHOSEN`.
        normalised: whether they are divided by their sum.
        factor: what they are multiplied by after that.
        total: whether it is their sum that is meant.
    """

    choice: Node
    stream: Stream
    scores: Stream | None
    dims: Dims
    normalised: bool = False
    factor: float = 1.0
    total: bool = False


@dataclass(frozen=True)
class Choice:
    """The numbers of the chosen experts."""

    choice: Node
    stream: Stream
    dims: Dims


@dataclass(frozen=True)
class Picked:
    """The weights of the chosen experts: `lead` runs over tokens, `own` over the parameter's further axes."""

    choice: Node
    weight: Weight
    lead: Dims
    own: Dims

    @property
    def expert(self) -> Dim:
        """The atoms of the parameter that run over experts."""
        return self.weight.dims[0]

    @property
    def experts(self) -> int:
        """Number of experts."""
        return size(self.expert)


@dataclass(frozen=True)
class Routed:
    """What the chosen experts make of their tokens: groups of features of a stream, one for every expert."""

    choice: Node
    stream: Stream
    experts: int

    @property
    def group(self) -> Atom:
        """The atom of all experts."""
        return Atom(self.stream.feature_axis, self.experts, self.stream.signal.features // self.experts)

    def opened(self) -> Stream:
        """The stream with all experts in place of the chosen ones."""
        return self.stream.arranged(exchanged(self.stream.dims, CHOSEN, self.group))

    def closed(self, s: Stream) -> Routed:
        """A stream of all experts as that of the chosen ones."""
        many = Atom(s.feature_axis, self.experts, s.signal.features // self.experts)
        taken = next(a for d in self.stream.dims for a in d if a.axis == CHOSEN)
        dims = tuple(tuple(taken if a == many else a for a in d) for d in s.dims)
        if sum(a == taken for d in dims for a in d) != 1:
            raise NotUnderstood("experts are mixed")
        return Routed(self.choice, s.arranged(dims), self.experts)


@dataclass(frozen=True)
class Written:
    """What the last maps of the chosen experts write, before it is summed."""

    hidden: Routed
    weight: Picked
    out: Dim
    inn: Dim
    dims: Dims
    bias: Picked | None = None
    by: Chosen | None = None


def exchanged(dims: Dims, axis: int, atom: Atom) -> Dims:
    """Dimensions with another atom in place of those of an axis."""
    return tuple(tuple(atom if a.axis == axis else a for a in d) for d in dims)
