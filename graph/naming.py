"""The names in an architecture: those of its parameters, with their owners, and those of its outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lawful.blocks import Block, ShapeError, Signal, Tie
from lawful.theory.losses import Loss, LossError, LossLike, read

from .compile import Port

if TYPE_CHECKING:
    from .architecture import Architecture


def parameter_names(blocks: Mapping[str, Block]) -> dict[str, dict[str, str]]:
    """For every node its parameters' global names; a block that appears twice owns them where it appears first.

    Args:
        blocks: the block of every node, in the order in which the network was written.

    Raises:
        ShapeError: for a tie to a block that is not there, or to a parameter of another shape.
    """
    owner: dict[int, str] = {}
    for name, block in blocks.items():
        owner.setdefault(id(block), name)
    names = {}
    for name, block in blocks.items():
        own = {local: f"{owner[id(block)]}.{local}" for local in block.parameters}
        for local, tie in block.ties.items():
            if id(tie.block) not in owner:
                raise ShapeError(
                    f"{name} takes its {local} from {tie.block}, which is not in the network; add that block"
                )
            _check_tie(name, block, local, tie)
            own[local] = f"{owner[id(tie.block)]}.{tie.parameter}"
        names[name] = own
    return names


def _check_tie(name: str, block: Block, local: str, tie: Tie) -> None:
    owned = tie.block.parameters
    if tie.parameter not in owned:
        known = ", ".join(owned) or "no parameter"
        raise ShapeError(
            f"{name} takes its {local} from {tie.parameter!r} of {tie.block}, which owns {known}; tie to the owner"
        )
    untied = dataclasses.replace(block, tie=None)  # type: ignore[call-arg]
    wanted, found = untied.parameters[local].shape, owned[tie.parameter].shape
    if wanted != (found[::-1] if tie.transposed else found):
        read_as = "transposed" if tie.transposed else "as it is"
        raise ShapeError(
            f"{name} has a {local} of shape {wanted} but takes one of shape {found} from {tie.block}, {read_as}; "
            "make them fit"
        )


def port_name(arch: Architecture, port: Port) -> str:
    """The node that writes a port, with the port's number where it has several."""
    node, i = port
    single = (len(arch.inputs) if node == "input" else arch.block(node).outputs) == 1
    return node if single else f"{node}:{i}"


def output_sites(count: int) -> list[str]:
    """What the ends of a network are called in its diagram: `output`, or `output:0`, `output:1`, ..."""
    return ["output"] if count == 1 else [f"output:{i}" for i in range(count)]


def losses_of(arch: Architecture, loss: LossLike) -> tuple[Loss, ...]:
    """The loss of every output of an architecture.

    Raises:
        ShapeError: for an unknown loss, and for losses that do not fit the outputs.
    """
    try:
        losses = read(loss, arch.output_names)
        for each, signal, name in zip(losses, arch.outputs, arch.output_names, strict=True):
            each.expect(signal.features, name)
    except LossError as error:
        raise ShapeError(str(error)) from error
    return losses


def only(outputs: Sequence[Signal], names: Sequence[str]) -> Signal:
    """The only one of some outputs.

    Raises:
        ShapeError: if there are several.
    """
    if len(outputs) != 1:
        raise ShapeError(
            f"the network has {len(outputs)} outputs ({', '.join(names)}); use outputs, which lists their signals"
        )
    return outputs[0]
