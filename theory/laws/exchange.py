"""Laws as plain data, and in again from data that nobody vouches for; no code of the data runs."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ..arguments import ArgumentError, hints_of, misfit, shown
from .leak import Leak
from .proof import Proof
from .statement import Statement

LOWEST = -(2**40)


def statement_data(law: Statement) -> dict[str, Any]:
    """All that a law says, as plain data: numbers, text, lists and dicts; fractions are text."""
    return {f.name: _plain(getattr(law, f.name)) for f in dataclasses.fields(Statement)}


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def statement_fields(data: Any, where: str) -> dict[str, Any]:
    """The fields of a statement from plain data; what else the data holds is left out.

    Raises:
        ArgumentError: for data that is none; names the place.
    """
    return _fields(Statement, data, where, further=True)


def leak_data(leaks: Sequence[Leak]) -> list[dict[str, Any]]:
    """What the norms do to a law, as plain data."""
    return [_plain(leak) for leak in leaks]


def leaks_from(data: Any, where: str) -> tuple[Leak, ...] | None:
    """The same from plain data, None where it does not say.

    Raises:
        ArgumentError: for data that is none; names the place.
    """
    found = data.get("leaks") if isinstance(data, Mapping) else None
    if found is None:
        return None
    out: tuple[Leak, ...] = _value(tuple[Leak, ...], found, f"{where}.leaks")
    return out


def _fields(cls: type, data: Any, where: str, further: bool = False) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ArgumentError(f"{where} is {shown(data)}, expected an object with the fields of a {cls.__name__}")
    hints = hints_of(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    missing, unknown = [n for n in names if n not in data], [n for n in data if n not in names]
    if missing or (unknown and not further):
        what = f"lacks the field {missing[0]!r}" if missing else f"has the unknown field {shown(unknown[0])}"
        raise ArgumentError(f"{where} {what} of a {cls.__name__}; write it with LawSet.to_dict")
    return {n: _value(hints[n], data[n], f"{where}.{n}") for n in names}


def _value(hint: Any, data: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if data is None else _value(inner[0], data, where)
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            raise ArgumentError(f"{where} is {shown(data)}, expected a list")
        several = len(inner) == 2 and inner[1] is Ellipsis
        if not several and len(data) != len(inner):
            raise ArgumentError(f"{where} is {shown(data)}, expected {len(inner)} values")
        return tuple(_value(inner[0] if several else inner[i], v, f"{where}[{i}]") for i, v in enumerate(data))
    if hint is Fraction:
        try:
            if isinstance(data, str) and len(data) < 100 and "e" not in data.lower():
                return Fraction(data)
        except (ValueError, ZeroDivisionError):
            pass
        raise ArgumentError(f"{where} is {shown(data)}, expected a fraction as text, such as '1/2'")
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint(**_fields(hint, data, where))
    if wrong := misfit(data, hint, LOWEST):
        raise ArgumentError(f"{where} is {shown(data)}, expected {wrong}")
    return data


def unproved(law: Statement) -> Proof:
    """What stands for the proof of a law that was read from data: nothing can be checked again."""
    return Proof(
        "read from a file", f"{law.name} was derived elsewhere; derive the laws of the network for a proof of it"
    )
