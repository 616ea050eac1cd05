"""Public doors that check their arguments against their own annotations: one sentence instead of a traceback.

`typed` is for functions, `typed_methods` for classes.
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
        self.name = function.__qualname__.rpartition("<locals>.")[2].removesuffix(".__init__")
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
            hints = hints_of(self.function)
            self.rules = {
                p.name: (hints[p.name], self.least.get(p.name, _least(p.default)))
                for p in self.signature.parameters.values()
                if p.name not in (INPUTS, *self.skip) and hints.get(p.name, Any) is not Any
            }
        if not self._binds(args, kwargs):
            try:
                self.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self.name}: {error}; it is {self.name}({self._shape()})") from None
        for rule, name, value in self._values(args, kwargs):
            if rule in self.rules and (wanted := misfit(value, *self.rules[rule])):
                way = f"; {self.ways[rule]}" if rule in self.ways else _way_out(value)
                raise self.kind(f"{self.name}: {name} is {shown(value)}; it must be {wanted}{way}")

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

    def _shape(self) -> str:
        return ", ".join(_named(p) for p in self.signature.parameters.values() if p.name != "self")


def _least(default: Any) -> int:
    """The smallest integer that an argument may be, by its default: 1, or the default if that is smaller."""
    values = default if isinstance(default, (list, tuple)) else (default,)
    numbers = [v for v in values if type(v) is int]
    return min([1, *numbers]) if numbers else 1


def _named(p: inspect.Parameter) -> str:
    return STARS.get(p.kind, "") + p.name + ("" if p.default is p.empty else f"={shown(p.default)}")


def _way_out(value: Any) -> str:
    """What else to write, where what was meant is plain."""
    if isinstance(value, type) and "lawful.blocks" in value.__module__:
        return f"; write {value.__name__}() with parentheses"
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__.startswith("torch.nn"):
        return f"; {kind.__name__} is a torch module: take the block of this name from lawful.blocks, or lw.trace"
    return ""
