"""Block kinds by name, for reading JSON."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from .base import Block, ShapeError

_KINDS: dict[str, type[Block]] = {}


def register(block: type[Block]) -> type[Block]:
    """Makes a block class known to JSON under its class name; usable as a decorator.

    Raises:
        ShapeError: if another class has the name.
    """
    known = _KINDS.get(block.__name__)
    if known is not None and known is not block:
        raise ShapeError(f"a block kind {block.__name__!r} is registered already by {known.__module__}; choose another name")
    _KINDS[block.__name__] = block
    return block


def kinds() -> dict[str, type[Block]]:
    """All registered block classes by name."""
    return dict(_KINDS)


def build(kind: str, config: dict[str, Any], where: str) -> Block:
    """A block from plain data.

    Raises:
        ShapeError: for an unknown kind, unknown or missing fields and wrong types; names the place.
    """
    if kind not in _KINDS:
        raise ShapeError(f"{where}: no block kind {kind!r}; there are {', '.join(sorted(_KINDS))}; register your own with blocks.register")
    cls = _KINDS[kind]
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.name != "tie"}
    for name, value in config.items():
        if name not in fields:
            raise ShapeError(f"{where}: {kind} has no field {name!r}; it has {', '.join(fields) or 'none'}")
        if not _fits(value, hints[name]):
            raise ShapeError(f"{where}: field {name!r} of {kind} is {value!r:.60}, expected {_type_name(hints[name])}")
    missing = [f.name for f in fields.values() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in config]
    if missing:
        raise ShapeError(f"{where}: {kind} needs the field {missing[0]!r}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    try:
        return cls(**values)
    except ShapeError as error:
        raise ShapeError(f"{where}: {error}") from error


_LARGEST = 2**40


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, h) for h in typing.get_args(hint))
    if origin is tuple:
        return isinstance(value, (list, tuple)) and len(value) <= 10_000 and all(_fits(v, typing.get_args(hint)[0]) for v in value)
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    return hint is str and isinstance(value, str)


def _type_name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))
