"""Where an architecture came from: what is known of the module that was traced, besides the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from lawful.theory.arguments import of_right_kinds, plural
from lawful.theory.oracle.modules import Point


@dataclass(frozen=True)
class Comparison:
    """How far two networks are from each other.

    Attributes:
        outputs: largest relative error of an output.
        gradients: largest relative error of the gradient of a parameter.
        worst: the output or the parameter with the largest error.
        agrees: whether both are rounding.
        summary: a sentence for people, which says where a difference comes from.
        notes: what the module's forward changes in itself, without a consequence.
        limits: what it changes that may have one.
        fault: whether a difference is a mistake of tracing, as far as can be told.
        backward: whether the outputs agree and the gradients do not, and tracing is not to blame.
        point: where the module's own gradient was taken, if the two agree.
        moving: whether the module is another function at a later call.
    """

    outputs: float
    gradients: float
    worst: str
    agrees: bool
    summary: str
    notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    fault: bool = False
    backward: bool = False
    point: Point | None = field(default=None, repr=False, compare=False)
    moving: bool = False


@dataclass(frozen=True)
class OpaqueOp:
    """An operation that no rule covers, or of which only the degrees are known.

    Attributes:
        node: the node of the architecture.
        op: the ATen operation.
        module: path of the submodule that it stands in, empty for the module itself.
        module_type: class of that submodule.
        line: `file:line: code`.
        reason: why no rule covers it.
        shadowed: number of trained scalars that it uses itself; they are in no law.
    """

    node: str
    op: str
    module: str
    module_type: str
    line: str
    reason: str
    shadowed: int

    def __str__(self) -> str:
        where = f"{self.module or 'the module'} ({self.module_type.rpartition('.')[2]})"
        at = f" at {self.line}" if self.line else ""
        lost = f", which hides {plural(self.shadowed, 'parameter')}" if self.shadowed else ""
        return f"{self.op} in {where}{at}: {self.reason}{lost}"


@dataclass(frozen=True)
@of_right_kinds
class Trace:
    """Where an architecture came from.

    Attributes:
        opaque: operations that no rule covers, in the order of the forward.
        narrow: operations of which only the degrees are known: they let laws of sizes pass, and may hide others.
        aliases: other names of parameters, with the first one.
        unused: parameters that no output depends on.
        notes: what a reader of the laws should know, limits included.
        limits: those of the notes that every list of laws repeats: what was not compared or holds for the example only.
        comparison: the rebuilt network against the module; None on the meta device.
        seconds: what took how long.
        axes: the axis of the features (the classes) in every output of the module, None where they fill none.
        inputs: from the tensors of the module's inputs to those of the architecture.
        state: running statistics and other buffers that the rebuilt network reads.
        rows: examples in each of these tensors, as they were traced.
        behind: nodes without a rule that read nothing but what `opaque` ones give, and hide nothing more.
        copied: inputs of the module that the architecture has more than once, in other arrangements: a count of the
            architecture would take the copies for independent.
        training: whether the module was read in training mode.
        branches: whether another call may take other branches, or be another function, than the one that was traced.
        outputs: what the module calls its outputs: keys of a dict, fields, or numbers in a tuple.
    """

    opaque: tuple[OpaqueOp, ...]
    narrow: tuple[OpaqueOp, ...]
    aliases: dict[str, str]
    unused: tuple[str, ...]
    notes: tuple[str, ...]
    limits: tuple[str, ...]
    comparison: Comparison | None
    seconds: dict[str, float]
    axes: tuple[int | None, ...]
    inputs: Callable[[Sequence[torch.Tensor]], list[torch.Tensor]] = field(repr=False)
    state: dict[str, torch.Tensor] = field(repr=False)
    rows: tuple[int, ...] = ()
    behind: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    training: bool = False
    branches: bool = False
    outputs: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """A few lines for people."""
        lines = []
        if self.comparison is not None:
            lines.append(f"the rebuilt network {self.comparison.summary}")
        if self.opaque:
            lost = sum(o.shadowed for o in self.opaque)
            lines.append(
                f"{plural(len(self.opaque), 'opaque operation')}, which hide{'s' if len(self.opaque) == 1 else ''} "
                f"{plural(lost, 'parameter')}; laws may be missing:"
            )
            lines += [f"  {o}" for o in self.opaque]
        if self.narrow:
            how = "operation is known by its degree", "operations are known by their degrees"
            lines.append(f"{plural(len(self.narrow), *how)} only; laws may be missing:")
            lines += [f"  {o}" for o in self.narrow]
        if self.aliases:
            shown = ", ".join(f"{a} is {b}" for a, b in list(self.aliases.items())[:6])
            lines.append(f"shared parameters: {shown}" + (", ..." if len(self.aliases) > 6 else ""))
        if self.unused:
            lines.append(f"parameters that no output depends on: {', '.join(self.unused[:6])}")
        return "\n".join([*lines, *self.notes])
