"""Block kinds by name, and blocks from plain data whose source nobody vouches for."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

from lawful.theory.typed import named_arguments

from .base import Block, ShapeError, Tie

LARGEST = 2**40  # beyond every real width, and small enough for products of a few of them to stay finite as floats
LONGEST = 10_000
_KINDS: dict[str, type[Block]] = {}


def register(block: type[Block]) -> type[Block]:
    """Makes a block class known to JSON under its class name; usable as a decorator.

    A class that is defined again at the same place (a cell of a notebook, a module that is loaded again) takes the
    place of the one before.

    Raises:
        ShapeError: if it is no class of blocks, or a class of another place has the name.
    """
    if not (isinstance(block, type) and issubclass(block, Block)):
        raise ShapeError(
            f"register gets {shown(block)}, expected a class of blocks; write @register above class X(Block)"
        )
    if missing := sorted(getattr(block, "__abstractmethods__", ())):
        raise ShapeError(
            f"register gets {block.__name__}, which lacks {', '.join(missing)}; a block has output, rule and forward"
        )
    known = _KINDS.get(block.__name__)
    again = known is not None and (known.__module__, known.__qualname__) == (block.__module__, block.__qualname__)
    if known is not None and not again:
        raise ShapeError(
            f"the block kind {block.__name__} is registered already by {known.__module__}; take another name"
        )
    if known is not block and dataclasses.is_dataclass(block) and "__init__" in vars(block):
        named_arguments(block)
    _KINDS[block.__name__] = block
    return block


def kinds() -> dict[str, type[Block]]:
    """All registered block classes by name."""
    return dict(_KINDS)


def build(kind: Any, config: Any, where: str, frozen: tuple[str, ...] = (), tie: Tie | None = None) -> Block:
    """A block from plain data.  Nothing is looked up but a registered kind, nothing runs but its constructor.

    Args:
        kind: a registered name.
        config: its fields but `frozen` and `tie`.
        where: the place of the data, for messages (`nodes[3]`).
        frozen: local names of its parameters that training does not move.
        tie: the parameter of another block that it reads.

    Raises:
        ShapeError: for an unknown kind, unknown or missing fields, wrong types, numbers out of range; names the place.
    """
    check(kind, config, where)
    cls = _KINDS[kind]
    extra = {name: value for name, value in (("frozen", frozen), ("tie", tie)) if value}
    for name in extra:
        if name not in _fields(cls):
            verb = "tied" if name == "tie" else name
            raise ShapeError(f"{where}: {kind} has nothing that could be {verb}; leave it out")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    try:
        block = cls(**values, **extra)
    except ShapeError as error:
        raise ShapeError(f"{where}: {error}") from error
    own = (*block.parameters, *block.ties)
    for name in frozen:
        if name not in own:
            raise ShapeError(f"{where}.frozen names {shown(name)}, but {block} has {', '.join(own) or 'no parameters'}")
    return block


def check(kind: Any, config: Any, where: str) -> None:
    """Checks that `build` can read a kind and its fields.

    Raises:
        ShapeError: as `build`.
    """
    if not isinstance(kind, str) or kind not in _KINDS:
        close = difflib.get_close_matches(kind, _KINDS, 4) if isinstance(kind, str) and len(kind) < 100 else []
        near = ", ".join(close) or f"{', '.join(sorted(_KINDS)[:8])}, ..."
        raise ShapeError(
            f"{where}.kind is {shown(kind)}, expected one of the {len(_KINDS)} kinds ({near}; blocks.kinds() has all); "
            "register your own with blocks.register"
        )
    check_fields(_KINDS[kind], config, f"{where}.config", without=("frozen", "tie"))


def check_fields(cls: type, config: Any, where: str, without: tuple[str, ...] = ()) -> None:
    """Checks plain data against the fields of a dataclass: names, types and the range of every number.

    Args:
        cls: a dataclass; its `least` gives the smallest value of integer fields for which it is not 1.
        config: the data.
        where: its place.
        without: fields that are not read from it.

    Raises:
        ShapeError: for unknown or missing fields and values that do not fit; names the place.
    """
    if not isinstance(config, Mapping):
        raise ShapeError(f"{where} is {shown(config)}, expected an object with fields")
    fields = {name: hint for name, hint in _fields(cls).items() if name not in without}
    for name, value in config.items():
        if name not in fields:
            known = ", ".join(fields) or "none"
            raise ShapeError(f"{where} has the field {shown(name)}, but the fields of {cls.__name__} are {known}")
        least = getattr(cls, "least", {}).get(name, 1)
        if not _fits(value, fields[name], least):
            raise ShapeError(f"{where}.{name} is {shown(value)}, expected {_expected(fields[name], least)}")
    for f in dataclasses.fields(cls):
        needed = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if needed and f.name in fields and f.name not in config:
            wanted = _expected(fields[f.name], getattr(cls, "least", {}).get(f.name, 1))
            raise ShapeError(f"{where} lacks the field {f.name!r} of {cls.__name__}; give it {wanted}")


def shown(value: Any) -> str:
    """A value as messages show it: short, and never by a walk into what may be nested a thousand deep."""
    if isinstance(value, Mapping):
        return "an object" if value else "an empty object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**30:
        return "an integer of more than 30 digits"
    text = repr(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 70 else f"{text[:70]}..."


@functools.cache
def _fields(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _fits(value: Any, hint: Any, least: int) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, h, least) for h in typing.get_args(hint))
    if origin is tuple:
        inner = typing.get_args(hint)[0]
        return isinstance(value, (list, tuple)) and len(value) <= LONGEST and all(_fits(v, inner, least) for v in value)
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return type(value) is int and least <= value <= LARGEST
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
    return hint is type(value) and hint in (str, type(None))


def _expected(hint: Any, least: int) -> str:
    if typing.get_origin(hint) is tuple:
        return f"a list of at most {LONGEST} values, each {_expected(typing.get_args(hint)[0], least)}"
    if hint is int:
        return f"an integer from {least} to {LARGEST}"
    if hint is float:
        return f"a number from {-LARGEST} to {LARGEST}"
    return {bool: "true or false", str: "text"}.get(hint, str(hint))
