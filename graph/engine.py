"""The engine: from an architecture to its laws."""

from __future__ import annotations

from lawful.theory.derive import solve
from lawful.theory.laws import LawSet

from .architecture import Architecture


def derive(arch: Architecture, loss: str = "mse") -> LawSet:
    """All conservation laws of gradient flow on an architecture, each with its proof.

    Args:
        arch: the network.
        loss: `"mse"` or `"cross_entropy"` (softmax over the output's features, which has more laws).

    Returns:
        The laws; cost follows the number of blocks, not the width.

    Raises:
        ShapeError: for an unknown loss.
        LayoutError: if a feature axis is cut in two ways that do not nest.
    """
    return solve(arch.diagram(loss), loss)
