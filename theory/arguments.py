"""Values that callers hand in, compared with annotations: what is wrong with one, in words.

Annotations that say nothing that can be checked (protocols, names that only type checkers import) let everything pass.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import inspect
import math
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

LARGEST = 2**40  # beyond every real width, and small enough for products of a few of them to stay finite as floats
ANY = -math.inf  # the smallest value of numbers that may be any: what was counted or measured
SHOWN = 70
NAMES = {bool: "True or False", str: "text", bytes: "bytes", type(None): "None", float: "a number", Any: "anything"}
OF_TORCH = {
    "Module": "a torch module",
    "Tensor": "a tensor",
    "Generator": "a torch.Generator",
    "dtype": "a torch.dtype",
}


@dataclasses.dataclass(frozen=True)
class Between:
    """A rule for numbers in an annotation: `Annotated[float, Between(0, 1)]` is above one and below the other."""

    low: float
    high: float

    def __contains__(self, value: Any) -> bool:
        return self.low < value < self.high

    def __str__(self) -> str:
        return f"above {self.low:g} and below {self.high:g}"


Tolerance = typing.Annotated[float, Between(0, 1)]  # of relative residuals: at 0 nothing passes, at 1 everything does

_KNOWN: dict[type, tuple[tuple[str, Any], ...]] = {}


class ArgumentError(ValueError):
    """An argument that is none; says which, what it is and what it must be."""


def shown(value: Any) -> str:
    """A value as messages show it: short, in one line, and never by a walk into what may be nested a thousand deep."""
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, (list, tuple)) and (len(value) > 4 or any(isinstance(v, (list, tuple)) for v in value)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**30:
        return "an integer of more than 30 digits"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if type(value).__module__.split(".")[0] in ("torch", "numpy") and hasattr(value, "shape"):
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    if type(value).__module__.startswith("torch.nn"):
        return f"the torch module {type(value).__name__}"
    if isinstance(value, (types.FunctionType, types.MethodType)):
        return f"the function {value.__name__}"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # what somebody else prints
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def plural(n: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 family`, `2 families`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def there_are(names: Iterable[str], most: int = 8) -> str:
    """The names that there are, the first ones of many: `there are a, b`, `there is a`, `there are none`."""
    known = list(names)
    more = f", ... ({len(known):,} in all)" if len(known) > most else ""
    return f"there {'is' if len(known) == 1 else 'are'} {', '.join(known[:most]) or 'none'}{more}"


def near_or_all(name: str, names: Iterable[str]) -> str:
    """What a name was meant to be, as a part of it says or as it is spelled, or all that there are."""
    known = list(names)
    near = [n for n in known if name and name.lower() in re.split(r"[ .]", n.lower())][:3]
    near = near or [n for n in known if len(name) > 2 and name.lower() in n.lower()][:3]
    near = near or difflib.get_close_matches(name, known, 3)
    return f"did you mean {' or '.join(near)}?" if near else there_are(known)


def of_a_file(text: str) -> str:
    """What to write where a text is the name of a file and not what is in it; empty for any other text."""
    name = text.strip()
    if len(name) > SHOWN or not name.endswith(".json"):
        return ""
    return f"{name!r} is the name of a file; pass what is in it: pathlib.Path({name!r}).read_text()"


def no_such(where: str, name: str, names: Iterable[str], noun: str = "attribute") -> AttributeError:
    """What a public module raises for a name that it does not have: with what was meant, or all that it has."""
    known = list(names)
    alike = difflib.get_close_matches(name.lower(), {n.lower() for n in known}, 3)
    near = [n for low in alike for n in known if n.lower() == low]
    every = f"it has {', '.join(known)}" if len(known) <= 100 else f"{where}.__all__ lists all"
    hint = f"did you mean {' or '.join(near)}?" if near else every
    return AttributeError(f"{where} has no {noun} {name!r}; {hint}")


def a_or_an(noun: str) -> str:
    """A noun with its article: `a str`, `an int`."""
    return f"{'an' if noun[:1].lower() in set('aeiou') else 'a'} {noun}"


def hints_of(thing: Callable[..., Any] | type) -> dict[str, Any]:
    """The annotations of a function, or of the fields of a class; `Any` for those that cannot be read."""
    found: dict[str, Any] = {}
    for owner in reversed(thing.__mro__) if isinstance(thing, type) else (thing,):
        module = sys.modules.get(owner.__module__)  # a script that `runpy` ran has none
        scope = vars(module) if module else {}
        for name, text in inspect.get_annotations(owner).items():
            try:
                found[name] = (
                    eval(text, dict(scope)) if isinstance(text, str) else text
                )  # as typing.get_type_hints does
            except Exception:
                found[name] = Any
    return found


def misfit(value: Any, hint: Any, least: float = 1) -> str:
    """What a value must be, if it does not fit its annotation; empty if it does."""
    if _fits(value, hint, least):
        return ""
    wanted = _expected(hint, least)
    endless = isinstance(value, float) and not math.isfinite(value)
    return wanted.replace("a number", "a finite number", 1) if endless else wanted


def _fits(value: Any, hint: Any, least: float) -> bool:
    if type(hint) is type:  # most are: a class is told before what it could be else is asked
        return _fits_class(value, hint, least)
    if isinstance(hint, TypeVar):
        options = hint.__constraints__ or ((hint.__bound__,) if hint.__bound__ else (Any,))
        return any(_fits(value, h, least) for h in options)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        base, *rules = typing.get_args(hint)
        return _fits(value, base, least) and all(value in r for r in rules if isinstance(r, Between))
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, h, least) for h in inner)
    if origin is typing.Literal:
        return any(type(value) is type(v) and value == v for v in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(inner) == 2 and inner[1] is Ellipsis:
            return all(_fits(v, inner[0], least) for v in value)
        return len(value) == len(inner) and all(_fits(v, h, least) for v, h in zip(value, inner, strict=True))
    if origin in (collections.abc.Sequence, list):
        several = isinstance(value, (Sequence if origin is not list else list)) and not isinstance(value, (str, bytes))
        return several and all(_fits(v, inner[0], least) for v in value)
    if origin in (collections.abc.Mapping, dict):
        if not isinstance(value, Mapping):
            return False
        return all(_fits(k, inner[0], least) and _fits(v, inner[1], least) for k, v in value.items())
    if origin is collections.abc.Callable or hint is collections.abc.Callable:
        return callable(value)
    if origin is collections.abc.Iterable and isinstance(value, (str, bytes)):
        return False  # one text where several are meant
    if isinstance(origin, type):
        return isinstance(value, origin)
    if hint is Any:
        return True
    if hint is None:
        return value is None
    if isinstance(hint, type) and getattr(hint, "_is_runtime_protocol", True):  # other protocols say nothing here
        return isinstance(value, hint)
    return True


def _fits_class(value: Any, hint: type, least: float) -> bool:
    if hint is int:
        return type(value) is int and least <= value and (value <= LARGEST or least == ANY)
    if hint is float:
        whole = type(value) is int and abs(value) <= LARGEST
        return whole or (isinstance(value, float) and (least == ANY or math.isfinite(value)))
    return isinstance(value, hint)


def _expected(hint: Any, least: float) -> str:
    if isinstance(hint, TypeVar):
        return " or ".join(_expected(h, least) for h in hint.__constraints__ or (hint.__bound__,))
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        base, *rules = typing.get_args(hint)
        return " ".join([_expected(base, least), *(str(r) for r in rules if isinstance(r, Between))])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_expected(h, least) for h in inner))
    if origin is typing.Literal:
        return " or ".join(map(repr, inner))
    if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
        return f"a tuple of {len(inner)} values"
    if origin in (tuple, collections.abc.Sequence, collections.abc.Iterable, list):
        kind = {tuple: "tuple", list: "list"}.get(origin, "list")
        if inner[0] is Any:
            return f"a {kind}"
        return f"a {kind} of values, each {_expected(inner[0], least)}"
    if origin in (collections.abc.Mapping, dict):
        if all(hint is Any for hint in inner):
            return "a dict"
        return f"a dict from {_expected(inner[0], least)} to {_expected(inner[1], least)}"
    if origin is collections.abc.Callable or hint is collections.abc.Callable:
        return "a function"
    if hint is int:
        return f"an integer of at least {least}" if least > -LARGEST else "an integer"
    if hint in NAMES or hint is None:
        return NAMES.get(hint, "None")
    name = getattr(origin or hint, "__name__", str(hint))
    if getattr(origin or hint, "__module__", "").startswith("torch") and name in OF_TORCH:
        return OF_TORCH[name]
    return {"Net": "a block or an expression of blocks", "Block": "a block, made with parentheses"}.get(
        name, f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
    )


def expect_fields(
    self: Any,
    least: Mapping[str, int] = types.MappingProxyType({}),
    kind: type[Exception] = ArgumentError,
) -> None:
    """Checks every field of a dataclass object against its annotation; for `__post_init__`.

    Args:
        self: the object.
        least: smallest value of integer fields where that is not 1, and of integers inside tuples, which else may be
            anything.
        kind: of the error.

    Raises:
        Exception: of that kind; names the class, the field and what it must be.
    """
    for name, hint in _field_hints(type(self)):
        value = getattr(self, name)
        low = least.get(name, 1 if hint is int else -LARGEST)
        if wanted := misfit(value, hint, low):
            large = f" and at most {LARGEST}" if hint is int and type(value) is int and value > LARGEST else ""
            raise kind(f"{_brief(self)} has the {name} {shown(value)}; it must be {wanted}{large}")


D = TypeVar("D", bound=type)


def of_right_kinds(cls: D) -> D:
    """A decorator below `dataclass`, for results: every field must be of the kind of its annotation.

    Numbers may be any, since they were counted or measured.
    """

    def check(self: Any) -> None:
        for name, hint in _field_hints(type(self)):
            if wanted := misfit(value := getattr(self, name), hint, ANY):
                raise ArgumentError(f"{type(self).__name__} has the {name} {shown(value)}; it must be {wanted}")

    cls.__post_init__ = check  # type: ignore[attr-defined]
    return cls


def expect_counted(where: str, **numbers: object) -> None:
    """Checks numbers that were counted: integers, however large."""
    for name, value in numbers.items():
        if wrong := misfit(value, int, ANY):
            raise ArgumentError(f"{where}: {name} is {shown(value)}; it must be {wrong}")


def expect_text(where: str, **texts: object) -> None:
    """Checks that arguments are texts."""
    for name, value in texts.items():
        if wrong := misfit(value, str):
            raise ArgumentError(f"{where}: {name} is {shown(value)}; it must be {wrong}")


def _brief(self: Any) -> str:
    text = shown(self)
    return text if len(text) < SHOWN else type(self).__name__


def _field_hints(cls: type) -> tuple[tuple[str, Any], ...]:
    if cls not in _KNOWN:
        hints = hints_of(cls)
        _KNOWN[cls] = tuple((f.name, hints[f.name]) for f in dataclasses.fields(cls) if hints[f.name] is not Any)
    return _KNOWN[cls]
