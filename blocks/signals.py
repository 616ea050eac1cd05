"""What wires carry, how parameters look, and the errors of what does not fit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from lawful.theory.arguments import expect_fields
from lawful.theory.refusals import ShapeError as ShapeError
from lawful.theory.typed import typed


class DeclarationError(ShapeError):
    """A block whose class is not written as a block is: no other input helps."""


class WidthError(ShapeError):
    """A block that reads another number of features than it gets.

    Args:
        text: the block, both widths and the way out.
        path: names of the parts of an expression that lead to the block, the outermost first.
        after: names of the parts that it follows.
    """

    def __init__(self, text: str, path: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> None:
        place = ".".join(path) + (f" (after {', '.join(after)})" if after else "")
        super().__init__(f"{place}: {text}" if place else text)
        self.text, self.path, self.after = text, path, after

    def inside(self, name: str, before: tuple[str, ...] = ()) -> WidthError:
        """The same, told by an expression in which the block, or what leads to it, has a name and follows others."""
        after = tuple(f"{name}.{a}" for a in self.after) or before
        return WidthError(self.text, (name, *self.path), after)


@dataclass(frozen=True, slots=True)
class Signal:
    """What a wire carries, without the batch axis.

    Attributes:
        features: length of the feature axis.
        space: lengths of the other axes (height and width, or tokens).
        channels_first: whether the feature axis comes before `space`.
        tokens: True for integer tokens, whose `features` is the size of the vocabulary.
    """

    features: int
    space: tuple[int, ...] = ()
    channels_first: bool = False
    tokens: bool = False

    def __post_init__(self) -> None:
        expect_fields(self, {"features": 0}, ShapeError)  # an empty slice has none

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        if self.tokens:
            return self.space
        return (self.features, *self.space) if self.channels_first else (*self.space, self.features)

    @property
    def axis(self) -> int:
        """Index of the feature axis in a batch."""
        return 1 if self.channels_first else -1

    @property
    def positions(self) -> int:
        """Number of positions."""
        return math.prod(self.space)

    def with_features(self, n: int) -> Signal:
        """The same positions with another width."""
        return dataclasses.replace(self, features=n, tokens=False)

    @typed(ShapeError)
    def expect_image(self, block: object, rank: int) -> None:
        """Refuses what is no image with channels first and so many space axes.

        Raises:
            ShapeError: says how to give or make one.
        """
        if not self.tokens and self.channels_first and len(self.space) == rank:
            return
        way = ""
        if len(self.space) == rank and not self.tokens:
            image = f"Signal({self.features}, {self.space}, channels_first=True)"
            way = f"; give such an input as {image} or by space={self.space}, elsewhere put ChannelsFirst() before it"
        raise ShapeError(
            f"{block} reads channels first with {rank} space {'axis' if rank == 1 else 'axes'} but gets {self}{way}"
        )

    def __str__(self) -> str:
        if self.tokens:
            return f"tokens below {self.features} of shape {self.space}"
        order = "channels first" if self.channels_first else "features last"
        return f"{self.features} features" + (f" at {self.space} positions, {order}" if self.space else "")


@dataclass(frozen=True)
class WidthRelation:
    """The width on one port of a block as a combination of others; output ports count -1, -2, ...

    Attributes:
        port: the port.
        terms: coefficient of the width on every other port.
        constant: added to them.
    """

    port: int
    terms: Mapping[int, Fraction]
    constant: int = 0


def small_window(kernel: int, stride: int, padding: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of a small window of the same kind: patches stay patches, padding stays padding."""
    if kernel == stride and not padding:
        return (min(kernel, 2), min(kernel, 2), 0)
    small = min(kernel, 3)
    return (small, 1, -(-(small - 1) * padding // (kernel - 1)) if kernel > 1 else padding)


@dataclass(frozen=True)
class Spec:
    """A parameter of a block: shape and initial distribution (standard deviation and mean)."""

    shape: tuple[int, ...]
    std: float = 0.0
    mean: float = 0.0
