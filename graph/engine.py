"""The engine: from an architecture to its laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lawful.blocks import ShapeError
from lawful.theory.algebra import LayoutError
from lawful.theory.derive import solve
from lawful.theory.laws import LawSet
from lawful.theory.losses import LossLike, label

from .architecture import Architecture
from .diagrams import diagram
from .module import Network
from .naming import losses_of


def derive(
    network: Architecture | torch.nn.Module,
    loss: LossLike = "mse",
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> LawSet:
    """All conservation laws of gradient flow on a network, each with its proof.

    Args:
        network: an architecture, or a torch module, which is traced (see `lawful.trace`).
        loss: `"mse"`, `"cross_entropy"` (softmax over the output's features, which has more laws), or another of
            `theory.losses.NAMES`; for several outputs one name for all, or one for each, in their order or by name.
        args: example inputs of a module; not needed for one made by `Architecture.to_torch`.
        kwargs: its keyword inputs.

    Returns:
        The laws; cost follows the number of blocks, not the width.  `notes` names what may be missing: the operations
        of a traced module that no rule covers, with their place, and what was not compared or holds for the example's
        shape only.

    Raises:
        ShapeError: for an unknown loss, for losses that do not fit the outputs, and for a module without inputs.
        LayoutError: if a feature axis is cut in two ways that do not nest.
        TraceError: for a module that cannot be read.
    """
    arch = architecture_of(network, args, kwargs)
    losses = losses_of(arch, loss)
    try:
        laws = solve(arch.diagram(losses), label(losses))
    except LayoutError:
        if not arch.sources_alone.rules:
            raise
        laws = solve(diagram(arch, losses, cut=False), label(losses))
    opaque = [str(op) for op in arch.trace.opaque] if arch.trace else []
    hidden = {op.node for op in arch.trace.opaque} if arch.trace else set()
    known = [n for n in laws.notes if n.partition(" is opaque")[0] not in hidden]
    laws.axes = arch.trace.axes if arch.trace else ()
    limits = arch.trace.limits if arch.trace else ()
    laws.notes = (*opaque, *known, *limits, *dict.fromkeys(m.limit for m in losses if m.limit))
    return laws


def architecture_of(
    network: Architecture | torch.nn.Module, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Architecture:
    """The architecture of a network: its own, or what tracing makes of a module.

    Raises:
        ShapeError: for a module without example inputs.
        TraceError: for a module that cannot be read.
    """
    if isinstance(network, Architecture):
        return network
    if isinstance(network, Network):
        return network.arch
    if not isinstance(network, torch.nn.Module):
        raise ShapeError(
            f"expected an architecture or a torch module, got {type(network).__name__}; use lw.Architecture(blocks)"
        )
    if not args and not kwargs:
        raise ShapeError(f"tracing a {type(network).__name__} needs example inputs; pass args=(x,) or kwargs={{...}}")
    from .tracing import trace_module

    return trace_module(network, args, kwargs)
