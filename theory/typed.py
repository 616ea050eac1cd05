"""Public doors that check their arguments against their own annotations: one sentence instead of a traceback.

`typed` is for functions, `typed_methods` for classes, `named_arguments` for those that check what they are made of.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from .arguments import ArgumentError, hints_of, misfit, shown

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")

NO_LIMITS: Mapping[str, int] = types.MappingProxyType({})
NO_WAYS: Mapping[str, str] = types.MappingProxyType({})
INPUTS = "args"  # example inputs: whoever takes them says more about them than an annotation does
STARS: Mapping[object, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def typed(
    kind: type[Exception] = ArgumentError,
    skip: Sequence[str] = (),
    least: Mapping[str, int] = NO_LIMITS,
    ways: Mapping[str, str] = NO_WAYS,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the function checks its arguments against their annotations before it runs.

    An integer must be at least 1, or its default if that is smaller.

    Args:
        kind: of the error for an argument that does not fit.
        skip: arguments that the function checks itself.
        least: smallest values of integers where the rule is another.
        ways: what to do about an argument that does not fit, by its name.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        door = _Door(function, kind, skip, least, ways)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            __tracebackhide__ = True
            door.check(args, kwargs)
            return function(*args, **kwargs)

        return checked

    return decorate


def typed_methods(
    kind: type[Exception] = ArgumentError,
    skip: Sequence[str] = (),
    least: Mapping[str, int] = NO_LIMITS,
    leave: Sequence[str] = (),
    ways: Mapping[str, str] = NO_WAYS,
) -> Callable[[type[C]], type[C]]:
    """A decorator: what makes an object of the class, and every public method of it, is `typed`.

    Args:
        kind: of the error for an argument that does not fit.
        skip: arguments that the methods check themselves.
        least: smallest values of integers where the rule is another.
        leave: methods that are left as they are.
        ways: what to do about an argument that does not fit, by its name.
    """
    wrap = typed(kind, skip, least, ways)

    def decorate(cls: type[C]) -> type[C]:
        for name, member in list(vars(cls).items()):
            if name in leave or (name.startswith("_") and name != "__init__"):
                continue
            if isinstance(member, (staticmethod, classmethod)):
                setattr(cls, name, type(member)(wrap(member.__func__)))
            elif isinstance(member, types.FunctionType):
                setattr(cls, name, wrap(member))
        return cls

    return decorate


def named_arguments(cls: type[C]) -> type[C]:
    """A decorator for classes that check what they are made of: a wrong number or name of it is one sentence too."""
    make = vars(cls)["__init__"]
    setattr(cls, "__init__", typed(skip=tuple(inspect.signature(make).parameters))(make))  # noqa: B010 (mypy)
    return cls


class _Door:
    """The arguments of one function, with what each must be: read at the first call, when every name is there."""

    def __init__(
        self,
        function: Callable[..., Any],
        kind: type[Exception],
        skip: Sequence[str],
        least: Mapping[str, int],
        ways: Mapping[str, str],
    ) -> None:
        self.ways = ways
        self.function, self.kind, self.skip, self.least = function, kind, skip, least
        self.signature = inspect.signature(function)
        parameters = self.signature.parameters.values()
        self.name = function.__qualname__.rpartition("<locals>.")[2]
        self.order = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        self.needed = {p.name for p in parameters if p.default is p.empty and p.kind not in STARS}
        self.rest = {p.kind: p.name for p in parameters if p.kind in STARS}
        self.rules: dict[str, tuple[Any, int]] | None = None

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Checks a call.

        Raises:
            TypeError: for a wrong number or names of arguments; says what the function takes.
            Exception: of the door's kind, for the first argument that does not fit.
        """
        if self.rules is None:
            checked = [p for p in self.signature.parameters.values() if p.name not in (INPUTS, *self.skip)]
            hints = hints_of(self.function) if checked else {}
            self.rules = {
                p.name: (hints[p.name], self.least.get(p.name, _least(p.default)))
                for p in checked
                if hints.get(p.name, Any) is not Any
            }
        if not self._binds(args, kwargs):
            try:
                self.signature.bind(*args, **kwargs)
            except TypeError as error:
                name = self._called(args)
                raise TypeError(f"{name}: {error}; it is {name}({self._shape()})") from None
        for rule, name, value in self._values(args, kwargs):
            if rule in self.rules and (wanted := misfit(value, *self.rules[rule])):
                way = f"; {self.ways[rule]}" if rule in self.ways else _way_out(value, wanted)
                raise self.kind(f"{self._called(args)}: {name} is {shown(value)}; it must be {wanted}{way}")

    def _binds(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether a call surely fits the signature; cheaper than to bind it."""
        taken = self.order[: len(args)]
        return (
            (len(args) <= len(self.order) or inspect.Parameter.VAR_POSITIONAL in self.rest)
            and (kwargs.keys() <= self.named or inspect.Parameter.VAR_KEYWORD in self.rest)
            and self.needed.issubset((*taken, *kwargs))
            and kwargs.keys().isdisjoint(taken)
        )

    def _values(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
        """Every value with the parameter whose rule it has to follow, and its own name."""
        for i, value in enumerate(args):
            if i < len(self.order):
                yield self.order[i], self.order[i], value
            else:
                yield self.rest[inspect.Parameter.VAR_POSITIONAL], f"argument {i + 1 - len(self.order)}", value
        for name, value in kwargs.items():
            yield name if name in self.named else self.rest[inspect.Parameter.VAR_KEYWORD], name, value

    def _called(self, args: Sequence[Any]) -> str:
        """What was called: of a class that is made the one that was asked for, which may inherit how."""
        owner, _, method = self.name.rpartition(".")
        if method != "__init__":
            return self.name
        return type(args[0]).__name__ if args else owner

    def _shape(self) -> str:
        """The arguments as one would write them: behind `*` those that go by name only."""
        said = [(p, _named(p)) for p in self.signature.parameters.values() if p.name not in ("self", "cls")]
        bare = next((i for i, (p, _) in enumerate(said) if p.kind is p.KEYWORD_ONLY), None)
        texts = [text for _, text in said]
        if bare is not None and not any(p.kind is p.VAR_POSITIONAL for p, _ in said):
            texts.insert(bare, "*")
        return ", ".join(texts)


def _least(default: Any) -> int:
    """The smallest integer that an argument may be, by its default: 1, or the default if that is smaller."""
    values = default if isinstance(default, (list, tuple)) else (default,)
    numbers = [v for v in values if type(v) is int]
    return min([1, *numbers]) if numbers else 1


def _named(p: inspect.Parameter) -> str:
    return STARS.get(p.kind, "") + p.name + ("" if p.default is p.empty else f"={shown(p.default)}")


def _way_out(value: Any, wanted: str) -> str:
    """What else to write, where what was meant is plain."""
    kind = value if isinstance(value, type) else type(value)
    if "a block" in wanted:
        if isinstance(value, type) and "lawful.blocks" in value.__module__:
            return f"; write {value.__name__}() with parentheses"
        if kind.__module__.startswith("torch.nn") and "a torch module" not in wanted:
            return f"; {kind.__name__} is a torch module: take the block of this name from lawful.blocks, or lw.trace"
    if isinstance(value, (type, types.FunctionType)) and value.__name__.isidentifier() and "a function" not in wanted:
        return f"; if {value.__name__} makes one, call it: {value.__name__}(...)"
    return ""
