"""Stand-ins for numbers, lists and dicts of a module that tell whether its forward reads them or only adds to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

READS = (
    "lt le gt ge eq ne bool int float index hash mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow neg "
    "abs round trunc floor ceil and or xor rand ror rxor lshift rshift invert str repr format "
    "divmod rdivmod array complex"
).split()
LOOKS = (
    "__len__ __getitem__ __iter__ __contains__ __eq__ __ne__ __lt__ __gt__ __reversed__ __add__ __repr__ index count "
    "pop copy get keys values items popitem setdefault sort"
).split()


class Counter:
    """A number in an attribute of a module: adding to it gives another one, everything else is a reading of it.

    It is no `int`, so that code in C, which would read it unseen, refuses it.

    Args:
        value: the number.
    """

    def __init__(self, value: Any, family: list[str] | None = None) -> None:
        self.value = value
        self._readings: list[str] = [] if family is None else family

    @property
    def read(self) -> bool:
        """Whether it, or a number that was counted from it, was read."""
        return bool(self._readings)

    def _plus(self, other: Any) -> Any:
        if isinstance(other, (int, float)):
            return Counter(self.value + other, self._readings)
        self._readings.append("add")
        return self.value + (other.value if isinstance(other, Counter) else other)

    def _minus(self, other: Any) -> Any:
        return self._plus(-other)

    __add__ = __radd__ = __iadd__ = _plus
    __sub__ = __isub__ = _minus

    def __rsub__(self, other: Any) -> Any:
        self._readings.append("rsub")
        return other - self.value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._readings.append(name)
        return getattr(self.value, name)


class Log(list[Any]):
    """A list that knows whether anything but adding to it was done; code in C that reads it reads its items only."""

    read = False


class Entries(dict[Any, Any]):
    """A dict, likewise."""

    read = False


Watched = Counter | Log | Entries


def _put(own: Callable[..., None]) -> Callable[..., None]:
    def method(self: Any, key: Any, value: Any) -> None:
        own(self, key.value if isinstance(key, Counter) else key, value)  # a place to write to is no reading

    return method


Log.__setitem__ = _put(list.__setitem__)  # type: ignore[method-assign]
Entries.__setitem__ = _put(dict.__setitem__)  # type: ignore[method-assign]


def watched(value: Any) -> Watched | None:
    """A stand-in for a number, a list or a dict, None for everything else."""
    if isinstance(value, (int, float)):
        return Counter(value)
    return Log(value) if type(value) is list else Entries(value) if type(value) is dict else None


def _reading(name: str) -> Callable[..., Any]:
    def method(self: Counter, *args: Any) -> Any:
        self._readings.append(name)
        return getattr(self.value, name)(*(a.value if isinstance(a, Counter) else a for a in args))

    return method


def _looking(kind: type, name: str) -> Callable[..., Any]:
    own = getattr(kind, name)

    def method(self: Any, *args: Any) -> Any:
        self.read = True
        return own(self, *args)

    return method


for _name in READS:
    setattr(Counter, f"__{_name}__", _reading(f"__{_name}__"))
for _name in LOOKS:
    for _kind, _own in ((Log, list), (Entries, dict)):
        if hasattr(_own, _name):
            setattr(_kind, _name, _looking(_own, _name))

__all__ = ["Counter", "Watched", "watched"]
