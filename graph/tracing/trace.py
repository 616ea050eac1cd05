"""From a torch module to an architecture."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node

from lawful.theory.double import double
from lawful.theory.losses import LossLike
from lawful.theory.modules import Point, as_double
from lawful.theory.notes import Fact
from lawful.theory.storage import own_parameters

from ..architecture import Architecture
from ..naming import losses_of
from . import ops  # noqa: F401  (registers how operations are lowered)
from .compare import compare
from .computed import fold
from .copied import copied_inputs
from .errors import TraceError
from .gaps import Probes
from .lengths import left_over, unreached
from .lowering import Lowering
from .observe import backward_hooks, watch
from .overlaps import REASON, make_opaque, sectors
from .program import Program, export_program
from .rebuilt import inputs_of, rebuilt
from .report import OpaqueOp, Trace
from .values import NotUnderstood, Stream

NOT_COMPARED = "not compared"  # how the summary of a comparison that could not be made begins
COMPARABLE = 300_000_000  # parameters that are compared in float64


def trace(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Architecture:
    """The architecture of any torch module, by `torch.export`.

    Every operation becomes a block with a rule, a change of view, or, where none is known, an opaque block that no law
    crosses; `arch.trace` lists these and everything else that is worth knowing.  The rebuilt network is compared with
    the module: outputs and gradients of all parameters, in float64, on new inputs of another batch size.  Parameters
    have the names that they have in the module; parts of one that are used apart are called `in_proj_weight[0:64]`.
    The module stays exactly as it was, and is read in the mode that it is in (training or evaluation).

    Args:
        module: any module; on the meta device only shapes are read, and nothing is compared.
        *args: example inputs, with the batch as their first axis; or as the second one for modules with layers of torch
            that are not `batch_first`.
        **kwargs: example keyword inputs.

    Returns:
        The architecture; `arch.trace` is a `Trace`.

    Raises:
        TraceError: for a module that cannot be exported, and for one that does not do what its graph says (a backward
            of its own, a branch that depends on shapes or data); the message names the place.
    """
    return trace_module(module, args, kwargs)


def trace_module(
    module: torch.nn.Module, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, check: bool = True
) -> Architecture:
    """As `trace`, with the inputs as a sequence and a mapping.

    Args:
        module: any module.
        args: example inputs.
        kwargs: example keyword inputs.
        check: whether the rebuilt network is compared with the module.

    Raises:
        TraceError: as `trace`.
    """
    return trace_with_point(module, args, kwargs, check)[0]


def trace_with_point(
    module: torch.nn.Module,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    check: bool = True,
    loss: LossLike | None = None,
) -> tuple[Architecture, Point | None]:
    """As `trace_module`, with the point at which the module was compared, and its own gradient there.

    Args:
        module: any module.
        args: example inputs.
        kwargs: example keyword inputs.
        check: whether the rebuilt network is compared with the module.
        loss: what the gradient is one of; without a loss its outputs are multiplied by any numbers.

    Returns:
        The architecture; and the point, None where nothing was compared, or where the classes that the loss needs fill
        no axis of an output.

    Raises:
        TraceError: as `trace`.
        ShapeError: for losses that do not fit the outputs.
    """
    turnable = any(getattr(m, "batch_first", None) is False for m in module.modules())
    first: tuple[Architecture, Point | None] | None = None
    try:
        first = _attempt(module, args, kwargs, check, loss, second=False)
        if not turnable or not _unknown(first[0]):
            return first
    except TraceError:
        if not turnable:
            raise
    try:  # layers of torch take examples on the second axis unless they are told otherwise
        other = _attempt(module, args, kwargs, check, loss, second=True)
    except TraceError:
        if first is None:
            raise
        return first
    return other if first is None or _unknown(other[0]) < _unknown(first[0]) else first


def _unknown(arch: Architecture) -> int:
    """How many operations of a trace are opaque."""
    return len(arch.trace.opaque) if arch.trace else 0


def _attempt(
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    check: bool,
    loss: LossLike | None,
    second: bool,
) -> tuple[Architecture, Point | None]:
    """A trace with examples on the first or the second axis of the inputs."""
    collecting = gc.isenabled()
    gc.disable()  # a graph of many thousand nodes makes the collector look at all of them again and again
    try:
        program = export_program(module, args, kwargs, second)
        start = time.perf_counter()
        low, arch, outputs = _architecture(program, module)
        seconds = {**program.seconds, "lower": time.perf_counter() - start}
    finally:
        if collecting:
            gc.enable()
    comparison, point, prepare = None, None, inputs_of(low)
    axes = tuple(_class_axis(s) for s in outputs)
    sizes = {n: p.numel() for n, p in own_parameters(module).items()}
    notes: list[str] = [*program.notes, *low.notes]
    limits: list[str] = [*map(Fact, unreached(arch, program)), *left_over(arch, sizes)]
    if second:
        notes.append("examples are on the second axis of the inputs, where the module takes them")
    start = time.perf_counter()
    if check and any(p.device.type == "meta" for p in module.parameters()):
        text = "on the meta device there are no numbers: the rebuilt network was not compared with the module"
        limits.append(Fact(text))
        seen = watch(program, module)
        _refuse(module, seen.refusal)
        notes, limits = [*notes, *seen.notes], [*limits, *map(Fact, seen.limits)]
    elif check and sum(p.numel() for p in module.parameters()) > COMPARABLE:
        text = f"more than {COMPARABLE:,} parameters: the rebuilt network was not compared with the module"
        limits.append(Fact(text))
        _refuse(module, backward_hooks(module))
    elif check:
        known = not any(n in low.reasons or n in low.narrow for n in arch.nodes)
        probes = None if loss is None else _probes(arch, loss, axes)
        comparison = compare(program, module, rebuilt(low, arch, outputs), same_batch=not known, probes=probes)
        point = comparison.point if loss is None or probes else None
        comparison = replace(comparison, point=None)  # as large as the module
        if comparison.summary.startswith(NOT_COMPARED):
            limits.append(Fact(comparison.summary))
            _refuse(module, backward_hooks(module))
        elif not comparison.agrees:
            _refuse(module, comparison.summary)
        notes, limits = [*notes, *comparison.notes], [*limits, *map(Fact, comparison.limits)]
    seconds["compare"] = time.perf_counter() - start
    arch.trace = Trace(
        opaque=_places(low.reasons, arch, program),
        narrow=_places(low.narrow, arch, program),
        aliases=dict(program.aliases),
        unused=tuple(program.unused),
        notes=(*notes, *limits),
        limits=tuple(limits),
        comparison=comparison,
        seconds=seconds,
        axes=axes,
        inputs=lambda tensors: prepare(program.call.turn(tensors)),
        state=low.builder.state,
        rows=_rows(low, program, prepare),
        copied=copied_inputs(low) if check else (),
    )
    return arch, point


def _rows(
    low: Lowering, program: Program, prepare: Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]
) -> tuple[int, ...]:
    """How long the first axis of every input of the architecture is for the example."""
    try:
        with double():
            return tuple(x.shape[0] for x in prepare([as_double(i.example) for i in program.inputs]))
    except Exception:  # no numbers on the meta device, or calls that do not run by themselves
        return (low.batch,) * len(low.builder.used_inputs)


def _probes(arch: Architecture, loss: LossLike, axes: Sequence[int | None]) -> Probes | None:
    """What the losses can send to every output; None where an output has no axis that holds the classes."""
    losses = losses_of(arch, loss)
    if any(axis is None and m.probe != "all" for axis, m in zip(axes, losses, strict=True)):
        return None
    return [(m.probe, -1 if axis is None else axis) for axis, m in zip(axes, losses, strict=True)]


def _refuse(module: torch.nn.Module, reason: str) -> None:
    if reason:
        raise TraceError(f"{type(module).__name__}: {reason}")


def _architecture(program: Program, module: torch.nn.Module) -> tuple[Lowering, Architecture, list[Stream]]:
    shapes = {n: tuple(int(k) for k in p.shape) for n, p in own_parameters(module).items()}
    low, outputs = _lowered(program, None)
    cuts = sectors(low.builder, [s.port for s in outputs], shapes)
    if cuts:
        try:
            low, outputs = _lowered(program, cuts)
        except TraceError:  # a sector is used in a way that no block can show
            pass
    outputs = fold(low, outputs, None)
    ports = [s.port for s in outputs]
    for node in make_opaque(low.builder, ports, shapes):
        low.reasons[node] = (low.origins[node], REASON)
    arch = low.builder.architecture(ports, shapes)
    if any(n in arch.graph for n in low.computed):
        before = len(low.data)
        outputs = fold(low, outputs, arch.sources_alone.tied)
        if len(low.data) > before:
            arch = low.builder.architecture([s.port for s in outputs], shapes)
    return low, arch, outputs


def _lowered(program: Program, cuts: Mapping[str, Sequence[Sequence[int]]] | None) -> tuple[Lowering, list[Stream]]:
    low = Lowering(program, cuts)
    try:
        with torch.device("cpu"), double():  # what is folded is compared with the module in float64
            return low, low.run()
    except NotUnderstood as error:
        raise TraceError(f"an output cannot be read: {error}") from error


def _class_axis(output: Stream) -> int | None:
    """The dimension of an output that holds all of its features and nothing else."""
    found = output.feature_dims
    alone = len(found) == 1 and all(a.axis == output.feature_axis for a in output.dims[found[0]])
    return found[0] if alone else None


def _places(reasons: Mapping[str, tuple[Node, str]], arch: Architecture, program: Program) -> tuple[OpaqueOp, ...]:
    """Where the nodes of an architecture stand that no rule, or a narrow one, covers."""
    found = []
    parameters = arch.parameters
    for name, (node, reason) in reasons.items():
        if name in arch.graph:
            place = program.place(node)
            own = arch.parameter_names(name).values()
            shadowed = sum(parameters[n].size for n in own if not parameters[n].frozen)
            found.append(OpaqueOp(name, place.op, place.module, place.module_type, place.line, reason, shadowed))
    return tuple(found)


__all__ = ["trace", "trace_module", "trace_with_point"]
