"""The numbers of tensors and arrays, and the states of generators of random numbers, to the bit."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Mapping
from typing import Any

import torch

from .holders import Holder, State, same_bits


class _Draws(Holder):
    """The state of a generator of random numbers."""

    def __init__(self, path: str, owner: Any) -> None:
        self.owner = owner
        super().__init__(path)

    def name(self, key: Any) -> str:
        return f"{self.path} (random numbers)"

    @staticmethod
    def reads(owner: Any) -> bool:
        """Whether an object is such a generator."""
        return _draws(type(owner))  # type: ignore[arg-type]  # a class is hashable

    def read(self) -> dict[Any, Any]:
        if isinstance(self.owner, random.Random):
            return {"": State(self.owner.getstate())}
        if isinstance(self.owner, torch.Generator):
            return {"": State(self.owner.get_state())}
        source = self.owner if hasattr(self.owner, "get_state") else getattr(self.owner, "bit_generator", self.owner)
        if hasattr(source, "get_state"):
            return {"": State(source.get_state())}
        return {"": State(source.state)} if hasattr(source, "state") else {}

    def write(self, values: Mapping[Any, Any]) -> None:
        for state in values.values():
            if isinstance(self.owner, random.Random):
                self.owner.setstate(state.value)
            elif hasattr(self.owner, "set_state"):
                self.owner.set_state(state.value)
            else:
                getattr(self.owner, "bit_generator", self.owner).state = state.value


class _Bits(Holder):
    """A tensor: its numbers to the bit, its gradient and its hooks.

    Args:
        path: where it stands.
        owner: the tensor.
        numbers: whether its numbers are kept; those of what is lent are not.
    """

    HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")

    def __init__(self, path: str, owner: torch.Tensor, numbers: bool) -> None:
        self.owner = owner
        self.memory = owner.data if numbers and owner.device.type != "meta" and not owner.is_inference() else None
        self.kept = None if self.memory is None else self.memory.clone()
        self.version = owner._version if self.memory is not None else 0
        self.unmoved = object()
        super().__init__(path)

    def name(self, key: Any) -> str:
        return self.path if key == "numbers" else f"{self.path}.{key}"

    def read(self) -> dict[Any, Any]:
        own: dict[Any, Any] = {"numbers": self.unmoved if self._still() else object()}
        if self.owner.is_leaf and not self.owner.is_inference():
            own |= {n: getattr(self.owner, n) for n in ("requires_grad", "grad", *self.HOOKS)}
        return own

    def _still(self) -> bool:
        now = self.owner.data
        return self.memory is None or (
            (now.data_ptr(), now.dtype, now.stride())
            == (self.memory.data_ptr(), self.memory.dtype, self.memory.stride())
            and same_bits(now, self.kept)
        )

    def write(self, values: Mapping[Any, Any]) -> None:
        if self.memory is not None and self.kept is not None and not self._still():
            self.owner.data = self.memory
            self.memory.copy_(self.kept)
            torch._C._autograd._unsafe_set_version_counter((self.owner,), (self.version,))
        for name in values.keys() - {"numbers"}:
            if getattr(self.owner, name) is not values[name]:
                setattr(self.owner, name, values[name])


class _Array(Holder):
    """An array of numpy."""

    def __init__(self, path: str, owner: Any) -> None:
        self.owner, self.kept, self.unmoved = owner, owner.copy(), object()
        super().__init__(path)

    def name(self, key: Any) -> str:
        return self.path

    def read(self) -> dict[Any, Any]:
        return {"": self.unmoved if self.owner.tobytes() == self.kept.tobytes() else object()}

    def write(self, values: Mapping[Any, Any]) -> None:
        self.owner[...] = self.kept


@functools.lru_cache(maxsize=4096)
def _draws(kind: type) -> bool:
    return issubclass(kind, (random.Random, torch.Generator)) or str(kind.__module__).startswith("numpy.random")


def contents_of(path: str, value: Any, numbers: bool) -> Holder | None:
    """The holder of a tensor, an array or a generator of random numbers; None for every other kind of object.

    Args:
        path: where it stands.
        value: the object.
        numbers: whether the numbers of a tensor are kept, not only its gradient and hooks.
    """
    if isinstance(value, torch.Tensor):
        plain = value.layout is torch.strided and type(value).__name__ != "FakeTensor"
        return _Bits(path, value, numbers) if plain else None
    if _is_array(value):
        return _Array(path, value)
    return _Draws(path, value) if _Draws.reads(value) else None


def _is_array(value: Any) -> bool:
    """Whether a value is an array of numpy that may be written to."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray) and value.flags.writeable
