"""Something that can change: how it is read, compared and put back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

# whole numbers of so many bytes: the bits of a tensor are compared a number at a time
WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}
SCALARS = (int, float, complex, str, bytes)


class LendingError(TypeError):
    """A module that cannot be run without leaving a trace."""


class Holder:
    """Something with places for values.

    Args:
        path: where it stands.

    Attributes:
        saved: what its places held when it was made.
    """

    saved: dict[Any, Any]

    def __init__(self, path: str) -> None:
        self.path = path
        self.saved = self.read()

    def name(self, key: Any) -> str:
        """What a place is called."""
        return f"{self.path}[{key!r}]" if not isinstance(key, str) else f"{self.path}.{key}".strip(".")

    def read(self) -> dict[Any, Any]:
        """What its places hold now."""
        raise NotImplementedError

    def write(self, values: Mapping[Any, Any]) -> None:
        """Makes its places hold given values, and no others."""
        raise NotImplementedError


class State:
    """The state of a generator, compared by what it says."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and repr(_plain(self.value)) == repr(_plain(other.value))

    __hash__ = None  # type: ignore[assignment]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


def same_bits(one: torch.Tensor, other: torch.Tensor | None) -> bool:
    """Whether two tensors have the same shape, kind and bits (NaN is NaN)."""
    if other is None or one.shape != other.shape or one.dtype != other.dtype:
        return False
    whole = WHOLE.get(one.element_size(), torch.uint8)
    flat = (t.detach().contiguous().reshape(-1).view(whole) for t in (one, other))
    return torch.equal(next(flat), next(flat))


def same(one: Any, other: Any) -> bool:
    """Whether a place holds what it held: the same object, or an equal number or text."""
    if one is other:
        return True
    plain = isinstance(one, (*SCALARS, State)) and type(one) is type(other)
    return plain and (one == other or repr(one) == repr(other))
