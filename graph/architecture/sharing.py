"""The sharing of parameters: which node owns each, and under which name all others read it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from lawful.blocks import Block, ShapeError, Tie


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
