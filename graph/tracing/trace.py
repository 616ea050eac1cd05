"""From a torch module to an architecture."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from lawful.theory.arguments import shown
from lawful.theory.inputs import inputs_of
from lawful.theory.laws.notes import Fact
from lawful.theory.losses import LossLike
from lawful.theory.oracle.lending.complexes import real_parts
from lawful.theory.oracle.lending.transforms import no_transform_left
from lawful.theory.oracle.modules import Point, tensors_in
from lawful.theory.own_runs import own_run
from lawful.theory.refusals import InputsError
from lawful.theory.typed import typed

from ..architecture.architecture import Architecture
from . import ops  # noqa: F401  (registers how operations are lowered)
from .attempt import attempt
from .errors import TraceError
from .quarantine import REPORT


@typed(skip=("module", "kwargs"))
def trace(
    module: torch.nn.Module, *inputs: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None, **named: Any
) -> Architecture:
    """The architecture of any torch module, by `torch.export`.

    Every operation becomes a block with a rule, a change of view, or, where none is known, an opaque block that no law
    crosses; `arch.trace` lists these and everything else that is worth knowing.  The rebuilt network is compared with
    the module: outputs and gradients of all parameters, in float64, on new inputs of another batch size.  Parameters
    have the names that they have in the module; parts of one that are used apart are called `in_proj_weight[0:64]`.
    The module stays exactly as it was, and is read in the mode that it is in (training or evaluation).

    Args:
        module: any module; on the meta device only shapes are read, and nothing is compared.
        *inputs: example inputs, as in a call of the module, with the batch as their first axis; or as the second one
            for modules with layers of torch that are not `batch_first`.  A lone tuple stands for all of them, as in
            `torch.export`, if the forward takes as many.
        args: the same as everywhere in lawful: a tensor, or a tuple of what the forward reads.
        kwargs: the same as everywhere in lawful: a dict of what it reads by name.
        **named: example keyword inputs, as in a call of the module.

    Returns:
        The architecture; `arch.trace` is a `Trace`.

    Raises:
        TraceError: for anything that is no module with its inputs, for a module that cannot be exported, and for one
            that does not do what its graph says (a backward
            of its own, a branch that depends on shapes or data); the message names the place.
    """
    if not isinstance(module, torch.nn.Module):
        hint = "make one of it first" if isinstance(module, type) else "blocks need no tracing: use lw.Architecture"
        hint = "lw.derive and every other question read specs" if isinstance(module, str) else hint
        raise TraceError(f"trace: the module is {shown(module)}; expected a torch module: {hint}")
    if len(inputs) == 1 and isinstance(inputs[0], (tuple, list)) and _takes(module, inputs[0], named):
        inputs = tuple(inputs[0])
    if inputs and not (isinstance(args, tuple) and not args):
        raise TraceError("trace: inputs are given twice; pass them either as in a call, or as args=")
    args, kwargs = inputs_of("trace", inputs or args, kwargs, TraceError)
    if not (args or kwargs or named):
        raise InputsError("tracing", module)
    return trace_module(module, args, {**kwargs, **named})


def _takes(module: torch.nn.Module, inputs: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Whether the forward of a module takes these inputs one by one."""
    try:
        inspect.signature(module.forward).bind(*inputs, **named)
    except (TypeError, ValueError):
        return False
    return True


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


@own_run()
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
    with no_transform_left(), real_parts(module):  # whatever was raised inside of a vmap of the module's own
        return _trace(module, args, kwargs, check, loss)


def _trace(
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None, check: bool, loss: LossLike | None
) -> tuple[Architecture, Point | None]:
    """The best of the ways to read the inputs of a module."""
    turnable = any(getattr(m, "batch_first", None) is False for m in module.modules())
    best: tuple[Architecture, Point | None] | None = None
    refusal: TraceError | None = None
    # Layers of torch take examples on the second axis unless they are told otherwise; and what is no batch at all mixes
    # what would be its examples.
    for axis in (0, *((1,) if turnable else ()), None):
        if best is not None and not any(_unknown(best[0])):
            break
        if axis is None and not _single(args, kwargs or {}):
            break
        try:
            found = attempt(module, args, kwargs, check, loss, axis)
        except Exception as error:
            if axis == 0 and isinstance(error, TraceError):
                refusal = error
            elif axis == 0:
                raise
            continue
        # Mapping over examples hides `no_grad` from the export: only a comparison of gradients shows it.
        sure = axis is not None or found[0].trace is None or found[0].trace.comparison is not None
        if best is None or (sure and _unknown(found[0]) < _unknown(best[0])):
            best = found
    if best is None:
        assert refusal is not None
        raise refusal
    trace = best[0].trace
    if refusal is not None and trace is not None:
        fact = Fact(f"read as inputs of one example, for which alone these are the laws: {refusal}")
        trace = replace(trace, notes=(*trace.notes, fact), limits=(*trace.limits, fact))
    best[0].trace = trace
    return best


def _single(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether all inputs may be one example: features, tokens or nodes with features, numbers of tokens or edges."""
    tensors = [*tensors_in(list(args)).values(), *tensors_in(dict(kwargs)).values()]
    real = [t for t in tensors if t.is_floating_point()]
    ranks = all(t.ndim in (1, 2) for t in real) and all(t.ndim in (1, 2) for t in tensors)
    return ranks and (bool(real) or all(t.ndim == 1 for t in tensors)) and bool(tensors)


def _unknown(arch: Architecture) -> tuple[int, int]:
    """How much of a trace is unknown: what was rebuilt wrongly first, which a way that is not the module's shows.

    After that an opaque operation counts twice as much as one that is known by its degrees.
    """
    if arch.trace is None:
        return 0, 0
    wrong = sum(REPORT in op.reason for op in arch.trace.opaque)
    return wrong, 2 * len(arch.trace.opaque) + len(arch.trace.narrow)


__all__ = ["trace", "trace_module", "trace_with_point"]
