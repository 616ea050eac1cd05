"""The outputs of an architecture: what they are called, and the loss of each."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import ShapeError
from lawful.theory.losses import OWN_LOSS, Loss, LossError, LossLike, of_own, read

from .block_graph import BlockGraph


def output_sites(count: int) -> list[str]:
    """What the ends of a network are called in its diagram: `output`, or `output:0`, `output:1`, ..."""
    return ["output"] if count == 1 else [f"output:{i}" for i in range(count)]


def losses_of(arch: BlockGraph, loss: LossLike, names: Sequence[str] = ()) -> tuple[Loss, ...]:
    """The loss of every output of an architecture.

    Args:
        arch: the architecture.
        loss: the losses, see `theory.losses.read`.
        names: what a module that is being traced calls its outputs; one that was traced is known to.

    Raises:
        ShapeError: for an unknown loss, and for losses that do not fit the outputs.
    """
    called = tuple(names or (arch.trace.outputs if arch.trace is not None else ()))
    try:
        if called == (OWN_LOSS,) and arch.outputs[0].features == 1:
            return of_own(loss)
        losses = read(loss, arch.output_names, called)
        for each, signal, name in zip(losses, arch.outputs, arch.output_names, strict=True):
            each.expect(signal.features, name)
    except LossError as error:
        raise ShapeError(str(error)) from error
    return losses
