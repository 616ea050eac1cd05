"""JSON whose source nobody vouches for: parsed within limits, then taken apart with errors that name the place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lawful.blocks import ShapeError
from lawful.blocks.registry import shown
from lawful.theory.arguments import of_a_file

MOST_BYTES = 20_000_000
MOST_DIGITS = 20
LONGEST_NAME = 1000


@dataclass(frozen=True)
class Refused:
    """Stands for a value that JSON allows and no field of ours does, until the place where it stands is known.

    Attributes:
        why: what it is, as messages show it.
    """

    why: str

    def __repr__(self) -> str:
        return self.why


def parse(text: str | bytes) -> Any:
    """Plain data from JSON text.

    Long integers, NaN, infinities and objects that name a field twice become `Refused`, which no later check accepts.

    Raises:
        ShapeError: for text that is too long, no UTF-8, no JSON or nested too deeply.
    """
    if not isinstance(text, (str, bytes)):
        raise ShapeError(f"expected JSON as text or bytes, got {type(text).__name__}")
    if len(text) > MOST_BYTES:
        raise ShapeError(f"the file is longer than {MOST_BYTES:,} bytes, the most that is read; split the network")
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise ShapeError(f"byte {error.start} of the file is no UTF-8; save the file as UTF-8") from error
    try:
        return json.loads(decoded, object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)
    except json.JSONDecodeError as error:
        if file := of_a_file(decoded):
            raise ShapeError(file) from error
        where = f"line {error.lineno}, column {error.colno}"
        raise ShapeError(f"{where}: this is no JSON ({error.msg}); repair the file there") from error
    except RecursionError:
        raise ShapeError(
            "the file nests too many lists or objects in one another; nothing in it needs more than six"
        ) from None


def _object(pairs: list[tuple[str, Any]]) -> Any:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            return Refused(f"an object with the field {shown(key)} twice")
        found[key] = value
    return found


def _integer(digits: str) -> Any:
    return int(digits) if len(digits) <= MOST_DIGITS else Refused(f"an integer of {len(digits.lstrip('-'))} digits")


def _constant(name: str) -> Any:
    return Refused(f"the constant {name}, which is no JSON")


def fields(value: Any, where: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """An object with exactly these fields; the optional ones may be missing.

    Raises:
        ShapeError: for anything else.
    """
    if not isinstance(value, dict):
        raise ShapeError(f"{where} is {shown(value)}, expected an object with the fields {', '.join(needed)}")
    known = (*needed, *optional)
    for key in value:
        if key not in known:
            raise ShapeError(f"{where} has the field {shown(key)}, but there are only {', '.join(known)}")
    for key in needed:
        if key not in value:
            raise ShapeError(f"{where} lacks the field {key!r}; it needs {', '.join(needed)}")
    return value


def entries(value: Any, where: str, most: int) -> list[Any]:
    """A list of at most so many values.

    Raises:
        ShapeError: for anything else.
    """
    if not isinstance(value, list):
        raise ShapeError(f"{where} is {shown(value)}, expected a list")
    if len(value) > most:
        raise ShapeError(f"{where} has {len(value):,} entries, but at most {most:,} are read; split the network")
    return value


def row(value: Any, where: str, columns: tuple[str, ...]) -> list[Any]:
    """A list with one value for each column.

    Raises:
        ShapeError: for anything else.
    """
    if not isinstance(value, list) or len(value) != len(columns):
        raise ShapeError(f"{where} is {shown(value)}, expected [{', '.join(columns)}]")
    return value


def name(value: Any, where: str, taken: tuple[str, ...] = ()) -> str:
    """A name that can be printed.

    Raises:
        ShapeError: for anything else, and for the names that mean something already.
    """
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or not value.isprintable():
        raise ShapeError(f"{where} is {shown(value)}, expected a printable name of 1 to {LONGEST_NAME} characters")
    if value in taken:
        raise ShapeError(f"{where} is {value!r}, which stands for an end of the network; choose another name")
    return value
