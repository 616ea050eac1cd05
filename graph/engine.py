"""The engine: from an architecture to its laws."""

from __future__ import annotations

from lawful.theory.derive import solve
from lawful.theory.laws import LawSet
from lawful.theory.losses import LossLike, label

from .architecture import Architecture
from .naming import losses_of


def derive(arch: Architecture, loss: LossLike = "mse") -> LawSet:
    """All conservation laws of gradient flow on an architecture, each with its proof.

    Args:
        arch: the network.
        loss: `"mse"`, `"cross_entropy"` (softmax over the output's features, which has more laws), or another of
            `theory.losses.NAMES`; for several outputs one name for all, or one for each, in their order or by name.

    Returns:
        The laws; cost follows the number of blocks, not the width.

    Raises:
        ShapeError: for an unknown loss, and for losses that do not fit the outputs.
        LayoutError: if a feature axis is cut in two ways that do not nest.
    """
    losses = losses_of(arch, loss)
    laws = solve(arch.diagram(losses), label(losses))
    laws.notes = (*laws.notes, *dict.fromkeys(m.limit for m in losses if m.limit))
    return laws
