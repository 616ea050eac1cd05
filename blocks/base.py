"""What a block is, and the expressions that compose blocks.

A primitive `Block` declares its ports, its parameters, a torch forward and one gauge rule.  Everything else is an
expression over blocks; `lawful.Architecture` turns an expression into a graph.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from lawful.theory.arguments import expect_fields
from lawful.theory.gauge.rules import Rule
from lawful.theory.typed import typed

from .answers import Asked, outputs_of
from .nets import Net, Series, Wiring, chain, expect_named, expect_net, repeat
from .signals import ShapeError, Signal, Spec, WidthError, WidthRelation, small_window

if TYPE_CHECKING:
    import torch

    from .run import Run

__all__ = [
    "Block",
    "Net",
    "Parallel",
    "Series",
    "ShapeError",
    "Signal",
    "Spec",
    "Tie",
    "WidthError",
    "WidthRelation",
    "Wiring",
    "chain",
    "expect_net",
    "repeat",
    "small_window",
]
SPACES: tuple[tuple[tuple[int, ...], bool], ...] = (((), False), ((24,), False), ((24, 36), True), ((24, 36), False))


@dataclass(frozen=True, eq=False)
class Block(Asked, Net, ABC):
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
        over_batch: whether the examples of a batch see each other.
        selects: whether it reads one position of several.
    """

    inputs: ClassVar[int | None] = 1
    summary: ClassVar[str] = ""
    source: ClassVar[str] = ""
    least: ClassVar[Mapping[str, int]] = {}
    portable: ClassVar[bool] = True
    over_batch: ClassVar[bool] = False
    selects: ClassVar[bool] = False

    def __post_init__(self) -> None:
        expect_fields(self, self.least, ShapeError)

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
    def buffers(self) -> dict[str, Spec]:
        """Numbers that a module keeps beside its parameters, by local name: what they are at the start."""
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

    def resize_ports(self, signals: Sequence[Signal], widths: Sequence[int]) -> Block:
        """The same block for narrower inputs, with a number of features for each output port, where it may choose."""
        return self.resize(signals, widths[0]) if widths else self

    @property
    def port_heads(self) -> tuple[int, ...]:
        """Number of heads on each input port that is cut into heads, from the first port on; none by default."""
        return ()

    def with_heads(self, heads: Sequence[int]) -> Block:
        """The same block with other numbers of heads, as in `port_heads`: shrinking asks it of blocks that have some.

        A core of attention hands its heads on to the blocks between its ports and the maps that write them.
        """
        return self

    @property
    def chooses_width(self) -> bool:
        """Whether its output width is its own choice (a linear map), not that of its inputs."""
        return False

    @property
    def chooses_length(self) -> bool:
        """Whether its number of positions is its own choice (a table), not that of its inputs."""
        return False

    def with_length(self, positions: int) -> Block:
        """The same block with another number of positions, where it may choose."""
        return self

    def shrunk(self) -> Block:
        """The same block with fewer heads and smaller windows; its widths are chosen afterwards, by `resize`."""
        return self

    def at_fewer(self, old: Sequence[Signal], new: Sequence[Signal]) -> Block:
        """The same block where it reads fewer positions or features: what it holds of fixed numbers for them is cut.

        Args:
            old: what its ports read.
            new: what they read in a smaller network.

        Raises:
            ShapeError: if what is left would be of another kind.
        """
        return self

    def wanted_positions(self, port: int, old: Sequence[Signal], new: Sequence[Signal]) -> int:
        """How many positions a port has to read in a smaller network, 0 where any number will do.

        Args:
            port: an input port.
            old: what its ports read.
            new: what those before `port` read in the smaller network.
        """
        return 0

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
            raise WidthError(f"{self} reads {features} features but gets {signal}; change one of the two widths")

    @typed(ShapeError)
    def carry(self, width: int | None) -> int | None:
        """The number of features that it writes, where that is the same for every kind of signal that it reads."""
        if self.inputs not in (0, 1):
            return None
        reads = self._fixed_input()
        if reads is not None and width is not None and (reads.tokens or width != reads.features):
            wanted = "integer tokens" if reads.tokens else f"{reads.features} features"
            way_out = "put it first" if reads.tokens else "change one of the two widths"
            raise WidthError(f"{self} reads {wanted} but gets {width} features; {way_out}")
        forms: list[tuple[Signal, ...]] = [(reads,)] if reads is not None else []
        if self.inputs == 0:
            forms = [()]
        elif reads is None and width is not None:
            forms = [(Signal(width, space, first),) for space, first in SPACES]
        found = set()
        for form in forms:
            try:
                written = outputs_of(self, form)
            except WidthError:
                raise
            except ShapeError:  # another kind of signal
                continue
            found |= {s.features for s in written} if len(written) == 1 else {0}
        return (found.pop() or None) if len(found) == 1 else None

    def wanted(self) -> int | None:
        """The only number of features that it can read, None where it reads others too or what it reads has none."""
        signal = self._fixed_input()
        return None if signal is None or signal.tokens else signal.features

    def _fixed_input(self) -> Signal | None:
        """What it reads as the first block of a network, None if it reads other numbers of features as well."""
        reads = self.input_signal() if self.inputs == 1 else None
        if reads is None or reads.tokens:
            return reads
        try:
            outputs_of(self, [reads.with_features(reads.features + 1)])
        except WidthError:
            return reads
        except ShapeError:
            return None
        return None

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

    def __post_init__(self) -> None:
        expect_fields(self, kind=ShapeError)
        if self.parameter not in (own := (*self.block.parameters, *self.block.ties)):
            raise ShapeError(
                f"{self.block} has no parameter {self.parameter!r} to tie to; it has {', '.join(own) or 'none'}"
            )


@dataclass(frozen=True, eq=False)
class Parallel(Net):
    """Branches that read the same input and meet in a joining block."""

    branches: tuple[tuple[str, Net], ...]
    join: Block

    def __post_init__(self) -> None:
        expect_named(self, "branches", self.branches)
        expect_fields(self, kind=ShapeError)

    def carry(self, width: int | None) -> int | None:
        """The number of features that the join writes."""
        widths = []
        width = self.wanted() if width is None else width
        for name, branch in self.branches:
            try:
                widths.append(branch.carry(width))
            except WidthError as error:
                raise error.inside(name) from None
        known = [w for w in widths if w is not None]
        if self.join.inputs is not None or not known or len(known) < len(widths):
            return known[0] if known and self.join.kind == "Add" else None
        try:
            (out,) = outputs_of(self.join, [Signal(w) for w in known])
        except ShapeError as error:
            if len(set(known)) == 1:  # it is not the widths that do not fit
                return None
            raise WidthError(str(error), (self.join.kind.lower(),), tuple(name for name, _ in self.branches)) from error
        return out.features

    def wanted(self) -> int | None:
        """The number of features that one of the branches reads: all read the same input."""
        return next((w for _, branch in self.branches if (w := branch.wanted()) is not None), None)

    def __repr__(self) -> str:
        return f"parallel({', '.join(repr(n) for _, n in self.branches)}, join={self.join!r})"
