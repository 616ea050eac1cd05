"""What a block answers when it is asked, checked: a mistake in a block of the user's own is one sentence about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch

from lawful.theory.arguments import plural, shown
from lawful.theory.gauge.rules import Rule
from lawful.theory.refusals import is_own, said

from .signals import DeclarationError, Signal, Spec

if TYPE_CHECKING:
    from .run import Run


class Asked:
    """What any block is asked; a block of which something else is true has a field of that name.

    Attributes:
        frozen: local names of its parameters that training does not move.
        epsilon: the constant under its root, None for a block without one.
        call: what a traced call computes, which is no plain data; None for a block that its fields say all of.
    """

    frozen: tuple[str, ...] = ()
    epsilon: float | None = None
    call: Callable[..., Any] | None = None


class Answering(Protocol):
    """What is asked of a block here (see `Block`)."""

    @property
    def outputs(self) -> int: ...

    @property
    def parameters(self) -> dict[str, Spec]: ...

    def output(self, *signals: Signal) -> Sequence[Signal]: ...

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule: ...

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any: ...


def outputs_of(block: Answering, signals: Sequence[Signal]) -> tuple[Signal, ...]:
    """The signals on the output ports of a block.

    Raises:
        ShapeError: if the signals do not fit.
        DeclarationError: if its `output` or `parameters` are not what a block has.
    """
    with _asking(block, "output", ()):
        out = block.output(*signals)
    if isinstance(out, Signal):
        raise DeclarationError(
            f"output of {block} returns one Signal, expected a tuple of them; write return (signal,)"
        )
    if not isinstance(out, (tuple, list)) or not all(isinstance(s, Signal) for s in out):
        inside = f" with {', '.join(map(_kind, out))}" if isinstance(out, (tuple, list)) else ""
        raise DeclarationError(
            f"output of {block} returns {_kind(out)}{inside}, expected a tuple of Signals; write return (signal,)"
        )
    if len(out) != block.outputs:
        raise DeclarationError(
            f"output of {block} returns {plural(len(out), 'signal')}, but its outputs says "
            f"{plural(block.outputs, 'port')}; make the two equal"
        )
    _expect_specs(block)
    return tuple(out)


def rule_of(block: Answering, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
    """The gauge rule of a block, with the global names of its parameters.

    Raises:
        DeclarationError: if it has none.
    """
    with _asking(block, "rule", names):
        rule = block.rule(names, inputs, outputs)
    if isinstance(rule, type) and issubclass(rule, Rule):
        raise DeclarationError(
            f"rule of {block} returns the class {rule.__name__}, expected a rule; write {rule.__name__}() with its "
            "arguments"
        )
    if not isinstance(rule, Rule):
        raise DeclarationError(
            f"rule of {block} returns {_kind(rule)}, expected a rule of lawful.blocks.rules; return Rule() where "
            "nothing is known to pass"
        )
    return rule


def values_of(
    block: Answering,
    p: Mapping[str, torch.Tensor],
    x: Sequence[torch.Tensor],
    run: Run,
    reads: Sequence[Signal],
    writes: Sequence[Signal],
) -> tuple[torch.Tensor, ...]:
    """What the forward pass of a block computes, one tensor for each output port.

    Args:
        block: the block.
        p: its parameters by local name.
        x: its inputs.
        run: the pass.
        reads: the signals of its inputs.
        writes: the signals that it promises.

    Raises:
        DeclarationError: if a block of the user's own does not run on inputs that fit, or writes something else.
    """
    with _asking(block, "forward", p):
        out = block.forward(p, x, run)
    found = out if isinstance(out, tuple) else (out,)
    if of_library(block):
        return found
    if not all(isinstance(y, torch.Tensor) for y in found):
        what = f"a tuple with {', '.join(map(_kind, found))}" if isinstance(out, tuple) else _kind(out)
        raise DeclarationError(
            f"forward of {block} returns {what}, expected {plural(len(writes), 'tensor')}; "
            "return one tensor, or a tuple of one for each output port"
        )
    if len(found) != len(writes):
        raise DeclarationError(
            f"forward of {block} returns {plural(len(found), 'tensor')}, but its output promises "
            f"{plural(len(writes), 'signal')}; make the two equal"
        )
    if fit(x, reads):
        for y, s in zip(found, writes, strict=True):
            if not _fits(y, s):
                batch = f"(batch, {', '.join(map(str, s.shape))})"
                raise DeclarationError(
                    f"forward of {block} writes a tensor of shape {tuple(y.shape)}, but its output promises {s}, "
                    f"which is {batch} in a batch; change one of the two"
                )
    return found


def fit(values: Sequence[torch.Tensor], signals: Sequence[Signal]) -> bool:
    """Whether tensors have the shapes of some signals, behind an axis of examples."""
    return all(_fits(v, s) for v, s in zip(values, signals, strict=True))


def of_library(block: Answering) -> bool:
    """Whether a block is one of the library, whose mistakes are the library's."""
    return type(block).__module__.startswith("lawful.")


def _fits(value: torch.Tensor, signal: Signal) -> bool:
    return tuple(value.shape[1:]) == signal.shape and value.ndim > 0


def _expect_specs(block: Answering) -> None:
    with _asking(block, "parameters", ()):
        specs = block.parameters
    if not isinstance(specs, Mapping):
        raise DeclarationError(f"parameters of {block} are {_kind(specs)}, expected a dict of Specs; make it one")
    for name, spec in specs.items():
        if not isinstance(spec, Spec):
            raise DeclarationError(
                f"the parameter {name!r} of {block} is {shown(spec)}, expected its shape and start; write Spec(shape)"
            )


@contextmanager
def _asking(block: Answering, member: str, names: Mapping[str, object] | tuple[()]) -> Iterator[None]:
    """Inside, what goes wrong in a block of the user's own becomes one sentence.

    What torch says of shapes is left to whoever knows the inputs; what goes wrong in a block of the library is a
    mistake of the library.
    """
    try:
        yield
    except Exception as error:
        if of_library(block) or is_own(error) or (member == "forward" and isinstance(error, RuntimeError)):
            raise
        missing = error.args[0] if isinstance(error, KeyError) and error.args else None
        if isinstance(missing, str) and member != "output" and missing not in names:
            raise DeclarationError(
                f"{member} of {block} reads the parameter {missing!r}, but it has {', '.join(names) or 'none'}; "
                "declare it in parameters"
            ) from error
        raise DeclarationError(f"{member} of {block} does not run ({said(error)}); correct it in its class") from error


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
