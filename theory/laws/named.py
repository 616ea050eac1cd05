"""A sequence whose members are also found by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar, overload


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
            raise KeyError(f"no law named {key!r}; there are {', '.join(law.name for law in self._laws[:8])}")
        try:
            return self._laws[key]
        except IndexError:
            last = f"0 to {len(self._laws) - 1}" if self._laws else "none"
            raise IndexError(f"there is no number {key}: {len(self._laws)} are here, with the numbers {last}") from None

    def __iter__(self) -> Iterator[T]:
        return iter(self._laws)
