"""The engine: from an architecture to its laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from lawful.blocks import ShapeError
from lawful.theory.arguments import shown
from lawful.theory.derive.lawset import LawSet
from lawful.theory.derive.solve import solve
from lawful.theory.gauge.boxes import LayoutError
from lawful.theory.inputs import inputs_of
from lawful.theory.losses import LossLike, label
from lawful.theory.oracle.modules import Point
from lawful.theory.oracle.verification import refuted
from lawful.theory.parts import HALVES, base
from lawful.theory.refusals import InputsError

from ..architecture.architecture import Architecture
from ..architecture.diagrams import diagram
from ..architecture.module import Network
from ..architecture.outputs import losses_of
from ..architecture.sources import computed_alone
from .elsewhere import elsewhere
from .reading import NetworkLike, question
from .settled import settled

ROUNDING = 1e-12  # of the whole gradient: what is left of one that cancels


@question()
def derive(
    network: NetworkLike,
    loss: LossLike = "mse",
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> LawSet:
    """All conservation laws of gradient flow on a network, each with its proof.

    Args:
        network: an architecture, an expression of blocks, a torch module, which is traced (see `lawful.trace`), or a
            spec (`"family:gpt2"`).
        loss: `"mse"`, `"cross_entropy"` (softmax over the output's features, which has more laws), or another of
            `theory.losses.NAMES`; for several outputs one name for all, or one for each, in their order or by name.
        args: example inputs of a module, a tensor or a tuple of what its forward reads; not needed for one made by
            `Architecture.to_torch`.
        kwargs: its keyword inputs.

    Returns:
        The laws; cost follows the number of blocks, not the width.  `notes` names what may be missing: the operations
        of a traced module that no rule covers, with their place, and what was not compared or holds for the example's
        shape only; of a small module that can be compared also how many laws are counted and not listed.  Every exact
        law of such a module, small or large, was tested on a gradient of the module itself.

    Raises:
        ShapeError: for an unknown loss, for losses that do not fit the outputs, and for a module without inputs.
        LayoutError: if a feature axis is cut in two ways that do not nest.
        TraceError: for a module that cannot be read.
    """
    return listed(network, loss, tuple(args), kwargs).laws


class Listed(NamedTuple):
    """What is known of the laws of a network.

    Attributes:
        arch: the network.
        run: what the rules alone say.
        elsewhere: the same without what other calls of a module refute; `run` itself where every call is the same.
        laws: the laws that are left beside the network's own gradients, with what these say of others.
        still: a note on parameters whose gradient cancels; empty where none does.
    """

    arch: Architecture
    run: LawSet
    elsewhere: LawSet
    laws: LawSet
    still: str


def listed(network: NetworkLike, loss: LossLike, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Listed:
    """The laws of a network, and what they were found by (see `derive`)."""
    arch, point = _read(network, args, kwargs, loss)
    run = by_rules(arch, loss)
    if isinstance(network, torch.nn.Module):
        run.evaluated = frozenset(n for n, part in network.named_modules() if not part.training)
    there = elsewhere(run, arch, network, loss, (tuple(args), dict(kwargs or {})))
    tested, still = (there, "") if point is None else (_tested(there, point), _cancelled(there, point))
    tested = tested.noted((*tested.notes, still)) if still else tested
    return Listed(arch, run, there, settled(tested, arch, network, losses_of(arch, loss), run.gaps), still)


def by_rules(arch: Architecture, loss: LossLike) -> LawSet:
    """What the rules alone say about an architecture: laws, and every place behind which some may be missing.

    Args:
        arch: the network.
        loss: see `derive`.

    Raises:
        ShapeError: for losses that do not fit the outputs.
        LayoutError: if a feature axis is cut in two ways that do not nest.
    """
    losses = losses_of(arch, loss)
    try:
        laws = solve(arch.diagram(losses), label(losses))
    except LayoutError:
        if not computed_alone(arch).rules:
            raise
        laws = solve(diagram(arch, losses, cut=False), label(losses))
    opaque = [str(op) for op in arch.trace.opaque] if arch.trace else []
    hidden = {*(op.node for op in arch.trace.opaque), *arch.trace.behind} if arch.trace else set()
    known = [n for n in laws.notes if n.partition(" is opaque")[0] not in hidden]
    laws.axes = arch.trace.axes if arch.trace else ()
    limits = arch.trace.limits if arch.trace else ()
    return laws.noted((*opaque, *known, *_in_parts(arch), *limits, *dict.fromkeys(m.limit for m in losses if m.limit)))


def _in_parts(arch: Architecture) -> list[str]:
    """The note on complex parameters whose real and imaginary parts are read apart: no Hermitian law crosses these."""
    read = [part for node in arch.nodes for part in arch.parameter_names(node).values()]
    apart = dict.fromkeys(base(n) for n in read if any(half in n for half in HALVES))
    names = [n for n in apart if any(not p.frozen for m, p in arch.parameters.items() if base(m) == n)]
    if len(names) < 2:
        return []
    which = f"{', '.join(names[:4])}{', ...' * (len(names) > 4)} are complex"
    what = "laws that join real with imaginary parts (off the diagonal of a Hermitian matrix) may be missing"
    return [f"{which}: {what}"]


def _tested(laws: LawSet, point: Point) -> LawSet:
    """The laws that the module's own gradient does not refute.

    A law that is refuted is a mistake of the rules.  It is not listed, and a note says so.
    """
    false = refuted([law for law in laws if law.exact], [point])
    notes = [
        f"{law.name} follows from the rules, but the module's own gradient moves it (by {r:.0e} of its terms), so that "
        "it is not listed: this is a bug of lawful, please report the module"
        for law, r in false
    ]
    return laws.without([law for law, _ in false], notes) if false else laws


def _cancelled(laws: LawSet, point: Point) -> str:
    """The note on parameters whose gradient cancels: what is left of it is rounding, and the rules do not see why.

    A gradient that is exactly zero says less: it may be so at these parameters alone (adapters that start at zero).
    """
    least = ROUNDING * float(point.slope)
    still: dict[str, int] = {}
    for law in laws:
        owners = {base(n) for n in law.parameters}
        if law.kind != "balance" and len(owners) == 1:
            (owner,) = owners
            still[owner] = still.get(owner, 0) + law.count
    left = {n: g for n, g in point.gradient.items() if still.get(n, 0) < g.numel()}  # the others are known to rest
    names = [n for n, g in left.items() if 0 < float(g.norm()) <= least]
    if not names:
        return ""
    which = f"{', '.join(names[:4])}{', ...' * (len(names) > 4)}"
    what = "never moves, as it seems" if len(names) == 1 else "never move, as it seems"
    return f"{which} {what}: the gradient cancels, but for rounding, and laws that hold because of that are not listed"


def architecture_of(
    network: NetworkLike, args: torch.Tensor | Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Architecture:
    """The architecture of a network: its own, or what tracing makes of a module.

    Raises:
        ShapeError: for a module without example inputs.
        TraceError: for a module that cannot be read.
    """
    return _read(network, *inputs_of("trace", args, kwargs, ShapeError))[0]


def _read(
    network: NetworkLike,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    loss: LossLike | None = None,
) -> tuple[Architecture, Point | None]:
    """The architecture of a network, and for a module that was compared its own gradient of a loss."""
    if isinstance(network, Architecture):
        return network, None
    if isinstance(network, Network):
        return network.arch, None
    if not isinstance(network, torch.nn.Module):
        raise ShapeError(
            f"expected an architecture or a torch module, got {shown(network)}; use lw.Architecture(blocks)"
        )
    if not args and not kwargs:
        raise InputsError("tracing", network)
    from ..tracing import trace_with_point

    return trace_with_point(network, args, kwargs, loss=loss)
