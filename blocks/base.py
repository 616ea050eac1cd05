"""What a block is, and the expressions that compose blocks.

A primitive `Block` declares its ports, its parameters, a torch forward and one gauge rule.  Everything else is an
expression over blocks; `lawful.Architecture` turns an expression into a graph.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from lawful.theory.gauge.rules import Rule

if TYPE_CHECKING:
    import torch

    from .run import Run


class ShapeError(ValueError):
    """Blocks that do not fit; says where, both sides and what to do."""


@dataclass(frozen=True)
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


class Net:
    """Anything that can be composed: a block or an expression of blocks."""

    def __rshift__(self, other: Net) -> Series:
        return Series.of(self, other)


@dataclass(frozen=True, eq=False)
class Block(Net, ABC):
    """A primitive building block.  Subclasses are frozen dataclasses whose fields are plain data.

    Using one block object twice shares its parameters, as with torch modules.

    Class attributes:
        kind: name in JSON and in the registry (the class name).
        inputs: number of input ports, None for any number from two on.
        outputs: number of output ports.
        summary: one line on what it computes.
        source: where its law is from.
        least: smallest value of its integer fields where that is not 1.
        portable: whether its fields are plain data, so that a file can hold it and anyone may compose with it; blocks
            that only tracing makes are not.
    """

    inputs: ClassVar[int | None] = 1
    summary: ClassVar[str] = ""
    source: ClassVar[str] = ""
    least: ClassVar[Mapping[str, int]] = {}
    portable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, least = getattr(self, f.name), self.least.get(f.name, 1)
            if f.type in ("int", int) and (type(value) is not int or value < least):
                raise ShapeError(f"{self} has the {f.name} {value!r}; it must be an integer of at least {least}")

    @property
    def kind(self) -> str:
        """Name in JSON and messages."""
        return type(self).__name__

    @property
    def outputs(self) -> int:
        """Number of output ports."""
        return 1

    @property
    def parameters(self) -> dict[str, Spec]:
        """Its parameters by local name."""
        return {}

    @property
    def ties(self) -> dict[str, Tie]:
        """Parameters that belong to another block, by local name."""
        return {}

    @abstractmethod
    def output(self, *signals: Signal) -> Sequence[Signal]:
        """Signals on the output ports.

        Raises:
            ShapeError: if the input signals do not fit.
        """

    @abstractmethod
    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        """Its gauge rule, with the global names of its parameters."""

    @abstractmethod
    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        """Computes the outputs: one tensor, or a tuple for several ports."""

    def input_signal(self) -> Signal | None:
        """The signal it would read as the first block of a network, None where it cannot tell."""
        return None

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        """The same block for narrower inputs, with `width` features on its output where it may choose."""
        return self

    @property
    def chooses_width(self) -> bool:
        """Whether its output width is its own choice (a linear map), not that of its inputs."""
        return False

    def shrunk(self) -> Block:
        """The same block with fewer heads and smaller windows; its widths are chosen afterwards, by `resize`."""
        return self

    def width_minimum(self, port: int) -> int:
        """The least width on a port when shrunk; output ports count -1, -2, ..."""
        return 2

    def width_multiple(self, port: int) -> int:
        """The width on a port must be a multiple of this when shrunk; output ports count -1, -2, ..."""
        return 1

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        """How the widths on its ports depend on one another: by default all are equal unless it chooses its own."""
        if self.chooses_width or not signals:
            return []
        ports = (*range(1, len(signals)), *(~i for i in range(self.outputs)))
        return [WidthRelation(p, {0: Fraction(1)}) for p in ports]

    def laws(self) -> list[str]:
        """Its own laws in words: the rule it obeys."""
        signals = [self.input_signal() or Signal(4)] * (self.inputs or 2)
        names = {n: n for n in (*self.parameters, *self.ties)}
        return [self.rule(names, signals, self.output(*signals)).statement]

    def expect(self, signal: Signal, features: int) -> None:
        """Checks the width of an input.

        Raises:
            ShapeError: with both widths.
        """
        if signal.features != features:
            raise ShapeError(f"{self} reads {features} features but gets {signal}; change one of the two widths")

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Small nets around this block that random architectures may put after a signal.

        Each keeps the positions of the signal and may change its width.  Widths are at least 2 (3 before a norm), so
        that no law is an accident of size.

        Args:
            signal: what the net will read.

        Returns:
            Nets, none where the block cannot read such a signal.
        """
        return ()

    def config(self) -> dict[str, Any]:
        """Its fields as plain data, without ties."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("tie", "frozen")}

    def __repr__(self) -> str:
        shown = [
            f"{f.name}={getattr(self, f.name)!r}" if i else repr(getattr(self, f.name))
            for i, f in enumerate(dataclasses.fields(self))
            if not (f.default is not dataclasses.MISSING and getattr(self, f.name) == f.default) and f.name != "tie"
        ]
        return f"{self.kind}({', '.join(shown)})"


@dataclass(frozen=True, eq=False)
class Tie:
    """A parameter taken from another block.

    Attributes:
        block: the block that owns it.
        parameter: its local name there.
        transposed: whether it is read as its transpose.
    """

    block: Block
    parameter: str = "weight"
    transposed: bool = False


@dataclass(frozen=True, eq=False)
class Series(Net):
    """One net after the other."""

    parts: tuple[tuple[str, Net], ...]

    @staticmethod
    def of(*nets: Net) -> Series:
        """A series of nets; series without names are joined into one."""
        flat: list[Net] = []
        for n in nets:
            if isinstance(n, Series) and all(name.isdigit() for name, _ in n.parts):
                flat += [part for _, part in n.parts]
            else:
                flat.append(n)
        return Series(tuple((str(i), n) for i, n in enumerate(flat)))

    def __repr__(self) -> str:
        return " >> ".join(f"({p!r})" if isinstance(p, Series) else repr(p) for _, p in self.parts)


@dataclass(frozen=True, eq=False)
class Parallel(Net):
    """Branches that read the same input and meet in a joining block."""

    branches: tuple[tuple[str, Net], ...]
    join: Block

    def __repr__(self) -> str:
        return f"parallel({', '.join(repr(n) for _, n in self.branches)}, join={self.join!r})"


@dataclass(frozen=True, eq=False)
class Wiring(Net):
    """Explicit wiring: named nets and the ports they read.

    Attributes:
        nodes: name -> net.
        reads: name -> sources, each `"name"`, `"name:port"` or `"input"`, `"input:port"`.
        output: sources of the result.
    """

    nodes: dict[str, Net] = field(default_factory=dict)
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    output: tuple[str, ...] = ()
    inputs: int = 1


def chain(**parts: Net) -> Series:
    """A series whose parts have names: `chain(conv1=..., bn1=...)`."""
    return Series(tuple(parts.items()))


def repeat(nets: Sequence[Net]) -> Series:
    """A series of blocks that stay apart under their own number."""
    return Series(tuple((str(i), n) for i, n in enumerate(nets)))
