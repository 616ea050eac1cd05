"""Tensors that a forward makes of python's numbers: what they hold before a narrow type rounds them.

An export keeps `torch.tensor([0.7], dtype=x.dtype)` as a constant of float32.  The module that it is compared with runs
in float64, where the same line makes another number.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch

MAKERS = ("tensor", "as_tensor", "asarray")  # exact where a type is named (see `double`)
NARROW = (torch.float32, torch.bfloat16, torch.float16)


class Made:
    """Numbers that tensors of a named type were made of."""

    def __init__(self) -> None:
        self._data: list[Any] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, lists of numbers that become tensors are kept; a mode would see every other call of torch as well."""
        with ExitStack() as stack:
            for name in MAKERS:
                stack.enter_context(patch.object(torch, name, self._kept(getattr(torch, name), False)))
            method = self._kept(torch.Tensor.new_tensor, True)
            stack.enter_context(patch.object(torch.Tensor, "new_tensor", method))
            yield

    def _kept(self, plain: Callable[..., torch.Tensor], method: bool) -> Callable[..., torch.Tensor]:
        def make(*args: Any, **kwargs: Any) -> torch.Tensor:
            data = args[int(method)] if len(args) > int(method) else kwargs.get("data", kwargs.get("obj"))
            if (method or kwargs.get("dtype") is not None) and _numbers(data):
                self._data.append(copy.deepcopy(data))
            return plain(*args, **kwargs)

        return make

    def exact(self, constant: torch.Tensor) -> torch.Tensor:
        """A constant of a graph before it was rounded; itself if nothing was made that is rounded to it, or two things.

        Args:
            constant: of any type.
        """
        if constant.dtype not in NARROW or constant.device.type == "meta":
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
