"""Operations without a formula for their gradient, and those of torch whose formula is documented to be another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .tape import PLAIN, Step, Tape

FREQUENCY = ("aten.embedding", "aten._embedding_bag", "aten.embedding_bag")
SCALED = 3  # which of their arguments is `scale_grad_by_freq`
FAKE = ("fake_quantize", "obs_fq")  # in the names of what rounds and passes its gradient on

FORMULAS = ("Autograd", "AutogradCPU", "AutogradCUDA", "CompositeImplicitAutograd")


def has_formula(function: Callable[..., Any]) -> bool:
    """Whether torch can differentiate a kernel: its own, and operators with a backward that someone registered.

    A `torch.library.custom_op` has a kernel for autograd in any case, and only its definition tells of a backward.
    """
    space = getattr(function, "namespace", None)
    if space is None or space in PLAIN:
        return True
    if function._schema.is_mutable:  # type: ignore[attr-defined]
        return False  # none can be registered for what writes into its arguments
    name = function._schema.name  # type: ignore[attr-defined]
    known = torch.library._maybe_get_opdef(name)  # type: ignore[attr-defined]
    if known is not None:
        return known._backward_fn is not None
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(name, key) for key in FORMULAS)


def by_frequency(step: Step) -> bool:
    """Whether the gradient of a table is divided by how often each of its rows is read."""
    if step.name not in FREQUENCY:
        return False
    return bool(step.args[SCALED] if len(step.args) > SCALED else step.kwargs.get("scale_grad_by_freq", False))


def by_torch(tape: Tape) -> list[str]:
    """What is to be said about such operations on a tape."""
    said: list[str] = []
    for step in tape.steps:
        if by_frequency(step):
            said.append(f"scale_grad_by_freq divides each row's gradient by how often it is read: {step.place}")
        elif any(f in step.name for f in FAKE):
            said.append(f"{step.name} has a straight-through gradient: {step.place}")
    return [f"by design of torch, {text}" for text in dict.fromkeys(said)]


__all__ = ["FREQUENCY", "SCALED", "by_frequency", "by_torch", "has_formula"]
