"""A call of `torch.export`, and what it could not read in our words."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any
from unittest.mock import patch

import torch
import torch.utils.checkpoint
from torch.distributions import Distribution

from .calls import FlatCall
from .errors import OpenError, TraceError, first_line, user_line
from .exported import Exported, of_program
from .made import Made
from .recording import record

LOGGERS = ("torch.fx.experimental.symbolic_shapes", "torch.export", "torch._subclasses.fake_tensor", "torch._export")
TRACE = "torch.__trace"  # pages of notes for TORCH_TRACE, which pytest prints beside whatever fails
TRANSFORMS = "torch._functorch"  # calls inside of a transform (vmap), which run nowhere else


@contextmanager
def quietly() -> Iterator[None]:
    """Keeps quiet what torch.export logs beside its errors."""
    asked = "TORCH_TRACE" in os.environ
    quiet = [logging.getLogger(name) for name in (*LOGGERS, *(() if asked else (TRACE,)))]
    before = [logger.level for logger in quiet]
    try:
        for logger in quiet:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(quiet, before, strict=True):
            logger.setLevel(level)


@contextmanager
def on_meta(module: torch.nn.Module) -> Iterator[None]:
    """Inside, buffers stand on the meta device; they may have numbers where the parameters have none."""
    own = [(part, dict(part._buffers)) for part in module.modules()]
    try:
        for part, buffers in own:
            part._buffers.update({n: b.to("meta") for n, b in buffers.items() if b is not None})
        yield
    finally:
        for part, buffers in own:
            part._buffers.update(buffers)


class _Plainly:
    """Stands in for the function of a reentrant checkpoint, whose forward no graph sees with its gradients."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        """What the checkpoint computes, without forgetting it."""
        return function(*args)


def _as_told(mask: torch.Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
    """Whether a mask is causal, as the caller says: torch looks at its numbers, which no graph can."""
    return bool(is_causal)


def _batched_experts(interface: Any, asked: str | None, default: Callable[..., Any]) -> Callable[..., Any]:
    """The experts of transformers as batched products, whatever was asked for: loops and sorting no graph shows."""
    found: Callable[..., Any] = interface["batched_mm"]
    return found


@contextmanager
def _experts_in_batches() -> Iterator[None]:
    """Inside, mixtures of experts of transformers, where it is loaded, choose the one implementation a graph shows."""
    kind = getattr(sys.modules.get("transformers.integrations.moe"), "ExpertsInterface", None)
    if kind is None:
        yield
        return
    with patch.object(kind, "get_interface", _batched_experts):
        yield


@contextmanager
def _readably(module: torch.nn.Module) -> Iterator[None]:
    """Inside, habits of torch and transformers that no graph shows are left: the same outputs and gradients without.

    Reentrant checkpoints keep what they compute, layers of `nn.Transformer` use the mask that they are given,
    distributions do not look at their arguments, a module that is moved to where it is already stays what it is, batch
    norms do not count their batches for the averages that they keep, and experts are picked, not sorted.
    """
    counting = [
        m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._NormBase) and m.momentum is None
    ]
    kept = torch.utils.checkpoint.CheckpointFunction
    looked = torch.nn.modules.transformer._detect_is_causal_mask
    checked, moved = Distribution._validate_args, torch.nn.Module._apply
    try:
        for m in counting:
            m.momentum = 0.1
        Distribution._validate_args = False
        torch.nn.Module._apply = _moved_if_elsewhere(moved)  # type: ignore[method-assign]
        torch.utils.checkpoint.CheckpointFunction = _Plainly  # type: ignore[misc, assignment]
        torch.nn.modules.transformer._detect_is_causal_mask = _as_told
        with _experts_in_batches():
            yield
    finally:
        for m in counting:
            m.momentum = None
        torch.utils.checkpoint.CheckpointFunction = kept  # type: ignore[misc]
        torch.nn.modules.transformer._detect_is_causal_mask = looked
        Distribution._validate_args = checked
        torch.nn.Module._apply = moved  # type: ignore[method-assign]


def _moved_if_elsewhere(apply: Callable[..., Any]) -> Callable[..., Any]:
    """`nn.Module._apply`, which torch.export forbids, without the calls that change nothing."""

    def moved(module: torch.nn.Module, function: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        own = (*module.parameters(recurse), *module.buffers(recurse))
        if all(function(t) is t for t in own):
            return module
        return apply(module, function, recurse)

    return moved


def export(
    flat: FlatCall, examples: tuple[torch.Tensor, ...], module: torch.nn.Module, recorded: bool = False
) -> Exported:
    """Exports a call of a module.

    Args:
        flat: the call.
        examples: its tensors.
        module: the user's module, for the error.
        recorded: whether the run on the example is recorded instead (see `record`).

    Raises:
        TraceError: for what torch.export cannot read, or what does not run.
    """
    try:
        with redirect_stderr(io.StringIO()), _readably(flat):
            if recorded:
                return record(flat, examples)
            made = Made()
            with made.watched():
                exported = torch.export.export(flat, examples, strict=False)
            inside = any(getattr(n.target, "__module__", "").startswith(TRANSFORMS) for n in exported.graph.nodes)
            return of_program(exported.run_decompositions({}) if inside else exported, made.exact)
    except Exception as error:
        raise _explained(error, flat, examples, module) from error


def _explained(
    error: Exception, flat: FlatCall, examples: tuple[torch.Tensor, ...], module: torch.nn.Module
) -> TraceError:
    """What torch.export raised, in our words."""
    kind, line = type(module).__name__, user_line(error.__traceback__)
    at = f" at {line}" if line else ""
    if "DataDependent" in type(error).__name__:
        return OpenError(
            f"the forward of {kind} branches on the values of a tensor{at}; a graph has no such branch: use "
            "torch.where, or trace each branch as a module of its own"
        )
    if own := own_error(flat, examples):
        return TraceError(
            f"the forward of {kind} raises {first_line(own)}{at}; call it with the example inputs to see the whole "
            "error"
        )
    return TraceError(
        f"torch.export cannot read {kind}: {first_line(error)}{at}; rewrite that line, or trace the submodules around "
        "it"
    )


def own_error(flat: FlatCall, examples: tuple[torch.Tensor, ...]) -> Exception | None:
    """What the forward raises without torch.export; it runs on copies of the buffers."""
    buffers = {n: b.detach().clone() for n, b in flat.named_buffers()}
    try:
        with torch.enable_grad():
            torch.func.functional_call(flat, buffers, tuple(t.clone() for t in examples))
    except Exception as error:
        return error
    return None
