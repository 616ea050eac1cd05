"""A sequence whose members are also found by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar, overload

from ..arguments import near_or_all


class Family(Protocol):
    """What such a sequence holds: scalar laws under one name."""

    @property
    def name(self) -> str:
        """Unique within the sequence."""

    @property
    def count(self) -> int:
        """Number of scalars."""


T = TypeVar("T", bound=Family)


class Named(Sequence[T]):
    """Families of laws by position and by name.

    Args:
        laws: the families.
    """

    def __init__(self, laws: Sequence[T]) -> None:
        self._laws = tuple(laws)

    @property
    def count(self) -> int:  # type: ignore[override]
        """Number of scalar laws, dependent ones included."""
        return sum(law.count for law in self._laws)

    def __len__(self) -> int:
        return len(self._laws)

    @overload
    def __getitem__(self, key: int | str) -> T: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[T, ...]: ...

    def __getitem__(self, key: int | str | slice) -> T | tuple[T, ...]:
        if isinstance(key, str):
            for law in self._laws:
                if law.name == key:
                    return law
            names = [law.name for law in self._laws]
            raise KeyError(f"no law named {key!r}; {near_or_all(key, names)}")
        try:
            return self._laws[key]
        except IndexError:
            n = len(self._laws)
            there = {0: "there are none", 1: "there is one, number 0"}.get(n, f"there are {n}, numbers 0 to {n - 1}")
            raise IndexError(f"there is no number {key} here: {there}") from None

    def __contains__(self, item: object) -> bool:
        return any(law.name == item for law in self._laws) if isinstance(item, str) else item in self._laws

    def __iter__(self) -> Iterator[T]:
        return iter(self._laws)
