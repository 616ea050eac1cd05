"""Tensors that a forward makes of python's numbers: what they hold before a narrow type rounds them.

An export keeps `torch.tensor([0.7], dtype=x.dtype)` as a constant of float32.  The module that it is compared with runs
in float64, where the same line makes another number.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

OF_A_TYPE = frozenset({torch.tensor, torch.as_tensor, torch.asarray})  # exact where a type is named (see `double`)
OF_A_TENSOR = frozenset({torch.Tensor.new_tensor})


class Made(TorchFunctionMode):
    """Inside, lists of numbers that tensors of a named type are made of are kept."""

    def __init__(self) -> None:
        super().__init__()
        self._data: list[Any] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        typed = func in OF_A_TENSOR or (func in OF_A_TYPE and options.get("dtype") is not None)
        data = args[-1] if args else options.get("data", options.get("obj"))
        if typed and _numbers(data):
            self._data.append(copy.deepcopy(data))
        return func(*args, **options)

    def exact(self, constant: torch.Tensor) -> torch.Tensor:
        """A constant of a graph before it was rounded; itself if nothing was made that is rounded to it, or two things.

        Args:
            constant: of any type.
        """
        if constant.dtype not in (torch.float32, torch.bfloat16, torch.float16) or constant.device.type == "meta":
            return constant
        found = [t for t in (torch.tensor(d, dtype=torch.float64) for d in self._data) if _rounds_to(t, constant)]
        return found[0] if found and all(torch.equal(t, found[0]) for t in found) else constant


def _numbers(data: Any) -> bool:
    """Whether some data are python's own numbers, in lists of any depth."""
    if isinstance(data, (list, tuple)):
        return all(_numbers(d) for d in data)
    return type(data) in (int, float)


def _rounds_to(exact: torch.Tensor, constant: torch.Tensor) -> bool:
    return exact.shape == constant.shape and torch.equal(exact.to(constant.dtype), constant.cpu())


__all__ = ["Made"]
