"""Hooks on gradients that a module carries, with the lines that they are written at."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from .tape import Place

OF_PARAMETERS = ("_backward_hooks", "_post_accumulate_grad_hooks")
OF_MODULES = ("_backward_hooks", "_backward_pre_hooks")


def hooks_of(module: torch.nn.Module, parameters: Mapping[str, torch.Tensor]) -> dict[str, list[Place]]:
    """The hooks on gradients of parameters and of modules, by their names."""
    found: dict[str, list[Place]] = {}
    for name, p in parameters.items():
        for kind in OF_PARAMETERS:
            _add(found, name, (getattr(p, kind, None) or {}).values())
    for name, part in module.named_modules():
        for kind in OF_MODULES:
            _add(found, name, getattr(part, kind).values())
    return found


def _add(found: dict[str, list[Place]], name: str, hooks: Iterable[Callable[..., Any]]) -> None:
    for hook in hooks:
        function = hook.func if isinstance(hook, functools.partial) else hook
        code = getattr(inspect.unwrap(function), "__code__", None) or getattr(type(function).__call__, "__code__", None)
        if code is not None and not str(getattr(function, "__module__", "")).startswith("torch."):
            found.setdefault(name, []).append(Place(name, code.co_filename, code.co_firstlineno))


__all__ = ["hooks_of"]
