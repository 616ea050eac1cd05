"""One trace of a module: exported, lowered, compared, and lowered again where the rebuilt network is wrong.

This file is long because a trace is one sequence of many small steps.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import torch
from torch.fx import Node

from lawful.blocks import Whole
from lawful.theory.laws.notes import Fact
from lawful.theory.losses import OWN_LOSS, LossLike
from lawful.theory.oracle.double import double
from lawful.theory.oracle.lending.holders import LendingError
from lawful.theory.oracle.lending.lent import lent
from lawful.theory.oracle.lending.storage import own_parameters
from lawful.theory.oracle.modules import Point, as_double
from lawful.theory.refusals import said

from ..architecture.architecture import Architecture
from ..architecture.origin import Comparison, OpaqueOp, Trace
from ..architecture.outputs import losses_of
from ..architecture.sources import computed_alone
from .calls import FlatCall
from .compare import compare
from .computed import fold
from .copied import copied_inputs, without_numbers
from .errors import BackwardError, TraceError, first_line
from .exporting import own_error
from .faults import first_fault
from .gaps import Probes
from .lengths import left_over, of_numbers, one_step, special, unreached
from .lowering import Broken, Lowering
from .observe import backward_hooks, watch
from .opaque import ONLY_CHOICES
from .overlaps import REASON, make_opaque, sectors
from .own_functions import own_functions
from .program import Program, export_program
from .purity import name_of
from .quarantine import Quarantine
from .rebuilt import inputs_of, rebuilt
from .regions import Region
from .running import with_noise
from .unheard import unheard
from .values import NotUnderstood, Stream

NOT_COMPARED = "not compared"  # how the summary of a comparison that could not be made begins
RECORDED = "laws are those of the run on the example, and of runs that take its branches: {}"
OWN_BACKWARD = (
    "backwards that are written by hand are taken as they are: laws are those of training by these, at the example's "
    "shape"
)
COMPLEX = (
    "complex inputs are not read ({}); pass torch.view_as_real(x), and join it by torch.view_as_complex in forward"
)
UNHEARD = "{}: no output changes with it; laws that hold because of that are not listed"
OWN = (
    "the module computes its loss itself: the laws are those of training on its output {!r}, and no loss reads what it "
    "returns beside it; called without labels, it is asked about its other outputs"
)
SINGLE = (
    "the output {} is one number, and is taken for a loss, beside those of the other outputs; if training uses it "
    "alone, return it alone, or in a dict as {!r}"
)
COMPARABLE = 300_000_000  # parameters that are compared in float64


def attempt(
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    check: bool,
    loss: LossLike | None,
    axis: int | None,
) -> tuple[Architecture, Point | None]:
    """A trace with examples on the first or the second axis of the inputs, or with a single example without an axis.

    What torch.export shows no graph of, or another one than what runs, is recorded on the example.

    Raises:
        TraceError: for what cannot be read in either way.
    """
    try:
        return _attempt(module, args, kwargs, check, loss, axis)
    except TraceError as error:
        if any(p.device.type == "meta" for p in module.parameters()):
            raise
        try:
            return _attempt(module, args, kwargs, check, loss, axis, str(error))
        except (TraceError, LookupError, RuntimeError, TypeError):
            raise error from error.__cause__


def _attempt(
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    check: bool,
    loss: LossLike | None,
    axis: int | None,
    refused: str = "",
) -> tuple[Architecture, Point | None]:
    """One of the two; recorded where the other was refused."""
    program = export_program(module, args, kwargs, axis, bool(refused))
    complexes = [i.name for i in program.inputs if i.example.is_complex() and i.node.users and not i.draw]
    _refuse(module, COMPLEX.format(", ".join(complexes)) if complexes else "")
    if refused:
        text = RECORDED.format(refused.partition("; ")[0]) if program.branches else OWN_BACKWARD
        program = replace(program, limits=(*program.limits, text))
    quarantine, seconds = Quarantine(program), dict(program.seconds)
    while True:
        start = time.perf_counter()
        low, arch, outputs = _lowered(program, module, quarantine)
        seconds["lower"] = seconds.get("lower", 0.0) + time.perf_counter() - start
        start = time.perf_counter()
        axes = tuple(_class_axis(s) for s in outputs)
        found = _compared(low, arch, outputs, module, loss, axes) if check else _Compared()
        seconds["compare"] = seconds.get("compare", 0.0) + time.perf_counter() - start
        if not found.fault or quarantine.exhausted:
            break
        quarantine.wrong(first_fault(low, arch, module))
    if program.doubted and (found.refusal or not _was_compared(found)):
        raise TraceError(program.doubted)
    if found.comparison is not None and found.comparison.backward and found.refusal:
        raise BackwardError(f"{type(module).__name__}: {found.refusal}", found.comparison.gradients)
    _refuse(module, found.refusal)
    sizes = {n: p.numel() for n, p in own_parameters(module).items()}
    notes = [*program.notes, *low.notes]
    if axis == 1:
        notes.append("examples are on the second axis of the inputs, where the module takes them")
    if axis is None:
        notes.append("the inputs are one example, without an axis of examples")
    facts = [*_numbers(program), *program.limits, *low.facts, *unreached(arch, program), *of_numbers(program)]
    facts += without_numbers(low)
    said = [*map(Fact, facts), *left_over(arch, sizes), *one_step(arch), *special(arch, module)]
    cut = {name: node for name, (node, _) in low.reasons.items() if name_of(node) == "detach" and name in arch.graph}
    silent = unheard(program, module, set(cut.values())) if cut and check else set()
    low.behind |= {name for name, node in cut.items() if node in silent}
    low.reasons = {name: why for name, why in low.reasons.items() if name not in low.behind}
    said += [Fact(UNHEARD.format(program.place(node))) for node in silent]
    limits = list(dict.fromkeys([*said, *map(Fact, found.limits)]))
    prepare = inputs_of(low)
    arch.trace = Trace(
        opaque=_places(_last(low.reasons, arch), arch, program),
        narrow=_places(_narrow(low.narrow, arch), arch, program),
        behind=tuple(sorted(n for n in low.behind if n in arch.graph)),
        aliases=dict(program.aliases),
        unused=tuple(program.unused),
        notes=(*notes, *found.notes, *limits),
        limits=tuple(limits),
        comparison=found.comparison,
        seconds=seconds,
        axes=axes if axis is not None else tuple(None if a is None else a - 1 for a in axes),
        inputs=lambda tensors: prepare(with_noise(program, program.call.batched(tensors))),
        state=low.builder.state,
        rows=_rows(low, program, prepare),
        copied=copied_inputs(low) if check else (),
        training=module.training,
        branches=program.branches or (found.comparison is not None and found.comparison.moving),
        outputs=tuple(name for name, _ in program.outputs),
    )
    return arch, found.point


def _numbers(program: Program) -> list[str]:
    """What is to be said about outputs that are single numbers: losses, as no axis of examples is left."""
    names = [name for name, _ in program.outputs]
    if names == [OWN_LOSS]:
        return [OWN.format(OWN_LOSS)]
    single = [name for name, node in program.outputs if node.meta["val"].ndim == 0]
    return [SINGLE.format(name, OWN_LOSS) for name in single] if len(names) > 1 else []


def _rows(
    low: Lowering, program: Program, prepare: Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]
) -> tuple[int, ...]:
    """How long the first axis of every input of the architecture is for the example."""
    try:
        with double():
            return tuple(x.shape[0] for x in prepare([as_double(i.example) for i in program.inputs]))
    except Exception:  # no numbers on the meta device, or calls that do not run by themselves
        return (low.batch,) * len(low.builder.used_inputs)


@dataclass(frozen=True)
class _Compared:
    """What a comparison of the rebuilt network with the module has shown.

    Attributes:
        comparison: the comparison, None where none was made.
        refusal: why the module cannot be read; empty if it can.
        fault: whether that is a mistake of tracing.
        notes: for a reader of the trace.
        limits: for every reader of the laws.
        point: where the module's own gradient was taken.
    """

    comparison: Comparison | None = None
    refusal: str = ""
    fault: bool = False
    notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    point: Point | None = None


def _was_compared(found: _Compared) -> bool:
    """Whether the rebuilt network was compared with the module."""
    return found.comparison is not None and not found.comparison.summary.startswith(NOT_COMPARED)


def _compared(
    low: Lowering,
    arch: Architecture,
    outputs: Sequence[Stream],
    module: torch.nn.Module,
    loss: LossLike | None,
    axes: Sequence[int | None],
) -> _Compared:
    """The rebuilt network against the module, where that has numbers and is not too large."""
    if any(p.device.type == "meta" for p in module.parameters()):
        text = "on the meta device there are no numbers: the rebuilt network was not compared with the module"
        seen = watch(low.program, module)
        return _Compared(refusal=seen.refusal, notes=seen.notes, limits=(text, *seen.limits))
    if sum(p.numel() for p in module.parameters()) > COMPARABLE:
        text = f"more than {COMPARABLE:,} parameters: the rebuilt network was not compared with the module"
        return _Compared(refusal=backward_hooks(module), limits=(text,))
    known = not any(n in low.reasons or n in low.narrow for n in arch.nodes)
    probes = None if loss is None else _probes(arch, loss, axes, [n for n, _ in low.program.outputs])
    made = compare(low.program, module, rebuilt(low, arch, outputs), same_batch=not known, probes=probes)
    point = made.point if loss is None or probes else None
    made = replace(made, point=None)  # as large as the module
    if made.summary.startswith(NOT_COMPARED):
        refusal = _raised(low.program, module) or backward_hooks(module)
        return _Compared(made, refusal, False, made.notes, (made.summary, *made.limits), point)
    return _Compared(made, "" if made.agrees else made.summary, made.fault, made.notes, made.limits, point)


def _raised(program: Program, module: torch.nn.Module) -> str:
    """What the forward raises on the example inputs, in its own numbers; empty if it runs."""
    if program.recorded:  # it has run
        return ""
    examples = tuple(i.example for i in program.inputs if not i.draw)
    try:
        with lent(module):
            error = own_error(FlatCall(module, program.call, lambda outputs: None), examples)
    except LendingError:
        return ""
    if error is None:
        return ""
    return f"its forward does not run on the example inputs ({said(error)}); call it on them to see the whole error"


def _probes(arch: Architecture, loss: LossLike, axes: Sequence[int | None], names: Sequence[str]) -> Probes | None:
    """What the losses can send to every output; None where an output has no axis that holds the classes."""
    losses = losses_of(arch, loss, names)
    if any(axis is None and m.probe != "all" for axis, m in zip(axes, losses, strict=True)):
        return None
    return [(m.probe, -1 if axis is None else axis) for axis, m in zip(axes, losses, strict=True)]


def _refuse(module: torch.nn.Module, reason: str) -> None:
    if reason:
        raise TraceError(f"{type(module).__name__}: {reason}")


def _lowered(
    program: Program, module: torch.nn.Module, quarantine: Quarantine
) -> tuple[Lowering, Architecture, list[Stream]]:
    """The architecture of a program; what cannot be lowered is set apart.

    Raises:
        TraceError: for an output that cannot be read.
    """
    collecting = gc.isenabled()
    gc.disable()  # a graph of many thousand nodes makes the collector look at all of them again and again
    try:
        while True:
            try:
                return _architecture(program, module, quarantine.regions)
            except TraceError:
                raise
            except Exception as error:
                if quarantine.exhausted:
                    kind = type(module).__name__
                    raise TraceError(f"{kind}: its forward cannot be read: {first_line(error)}") from error
                quarantine.broken(error) if isinstance(error, Broken) else quarantine.wrong(None)
    finally:
        if collecting:
            gc.enable()


def _architecture(
    program: Program, module: torch.nn.Module, regions: Sequence[Region]
) -> tuple[Lowering, Architecture, list[Stream]]:
    shapes = {n: tuple(int(k) for k in p.shape) for n, p in own_parameters(module).items()}
    low, outputs = _run(program, regions, None)
    apart = {n for r in regions for n in r.calls}
    alive = low.builder.alive([s.port for s in outputs])
    unknown = {node for name, (node, _) in (low.reasons | low.narrow).items() if name in alive} - apart
    own = [r for r in own_functions(program, unknown) if apart.isdisjoint(r.calls)]
    if own:
        regions = (*regions, *own)
        low, outputs = _run(program, regions, None)
    cuts = sectors(low.builder, [s.port for s in outputs], shapes)
    if cuts:
        try:
            low, outputs = _run(program, regions, cuts)
        except (Broken, NotUnderstood, TraceError):  # a sector is used in a way that no block can show
            pass
    outputs = fold(low, outputs, None)
    ports = [s.port for s in outputs]
    for node in make_opaque(low.builder, ports, shapes):
        low.reasons[node] = (low.origins[node], REASON)
    arch = low.builder.architecture(ports, shapes)
    if any(n in arch.graph for n in low.computed):
        before = len(low.data)
        outputs = fold(low, outputs, computed_alone(arch).tied)
        if len(low.data) > before:
            arch = low.builder.architecture([s.port for s in outputs], shapes)
    return low, arch, outputs


def _run(
    program: Program, regions: Sequence[Region], cuts: Mapping[str, Sequence[Sequence[int]]] | None
) -> tuple[Lowering, list[Stream]]:
    low = Lowering(program, regions, cuts)
    with torch.device("cpu"), double():  # what is folded is compared with the module in float64
        return low, low.run()


def _class_axis(output: Stream) -> int | None:
    """The dimension of an output that holds all of its features and nothing else."""
    found = output.feature_dims
    alone = len(found) == 1 and all(a.axis == output.feature_axis for a in output.dims[found[0]])
    return found[0] if alone else None


def _last(reasons: Mapping[str, tuple[Node, str]], arch: Architecture) -> dict[str, tuple[Node, str]]:
    """Opaque operations, without those that only prepare another by which choices are made: it is named for them."""
    made = {n for n, (_, reason) in reasons.items() if reason == ONLY_CHOICES and n in arch.graph}
    return {n: why for n, why in reasons.items() if n not in made or made.isdisjoint(nx.descendants(arch.graph, n))}


def _narrow(reasons: Mapping[str, tuple[Node, str]], arch: Architecture) -> dict[str, tuple[Node, str]]:
    """Those of the operations that are known by their degrees which may hide laws."""
    blocks = {n: arch.block(n) for n in reasons if n in arch.graph}
    return {n: reasons[n] for n, block in blocks.items() if not isinstance(block, Whole) or block.narrow}


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


__all__ = ["attempt"]
