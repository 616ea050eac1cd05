"""Objects that hold others: containers, attributes, closures, and the names that a user's code looks up."""

from __future__ import annotations

import copyreg
import dis
import functools
import os
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from .holders import Holder

PASSIVE = frozenset({"lawful", "logging", "networkx", "sympy", "threading", "weakref"})  # no forward changes them
INSTALLED = tuple(f"{os.sep}{folder}{os.sep}" for folder in ("site-packages", "dist-packages"))


class Dict(Holder):
    """The entries of a dict."""

    def __init__(self, path: str, owner: dict[Any, Any]) -> None:
        self.owner = owner
        super().__init__(path)

    def name(self, key: Any) -> str:
        """What an entry is called."""
        registry = self.path.rpartition(".")[2]
        if registry in ("_parameters", "_buffers", "_modules"):  # a module shows them as its attributes
            return f"{self.path.removesuffix(registry)}{key}"
        return f"{self.path}[{key!r}]"

    def read(self) -> dict[Any, Any]:
        """Its entries."""
        return dict(dict.items(self.owner))

    def write(self, values: Mapping[Any, Any]) -> None:
        """Replaces its entries."""
        kind = OrderedDict if isinstance(self.owner, OrderedDict) else dict
        kind.clear(self.owner)
        for key, value in values.items():
            kind.__setitem__(self.owner, key, value)


class _Attributes(Holder):
    """The attributes of an object."""

    def __init__(self, path: str, owner: Any) -> None:
        self.owner = owner.__dict__
        super().__init__(path)

    def read(self) -> dict[Any, Any]:
        return dict(self.owner)

    def write(self, values: Mapping[Any, Any]) -> None:
        self.owner.clear()
        self.owner.update(values)


class _Slots(Holder):
    """The attributes of an object whose class lists them in `__slots__`."""

    def __init__(self, path: str, owner: Any) -> None:
        self.owner = owner
        super().__init__(path)

    def read(self) -> dict[Any, Any]:
        return {n: getattr(self.owner, n) for n in _slots(type(self.owner)) if hasattr(self.owner, n)}

    def write(self, values: Mapping[Any, Any]) -> None:
        for name in _slots(type(self.owner)):
            if name in values:
                object.__setattr__(self.owner, name, values[name])
            elif hasattr(self.owner, name):
                object.__delattr__(self.owner, name)


class Items(Holder):
    """The items of a list or a deque."""

    def __init__(self, path: str, owner: Any) -> None:
        self.owner = owner
        super().__init__(path)

    def read(self) -> dict[Any, Any]:
        """Its items by number."""
        return dict(enumerate(self.owner))

    def write(self, values: Mapping[Any, Any]) -> None:
        """Replaces its items."""
        self.owner.clear()
        self.owner.extend(values.values())


class _Members(Items):
    """The members of a set."""

    def read(self) -> dict[Any, Any]:
        return {id(v): v for v in self.owner}

    def write(self, values: Mapping[Any, Any]) -> None:
        self.owner.clear()
        self.owner.update(values.values())


class _Names(Holder):
    """Some names of a namespace (the globals that a function reads); a name may be missing."""

    def __init__(self, path: str, owner: dict[str, Any], names: Sequence[str]) -> None:
        self.owner, self.names = owner, names
        super().__init__(path)

    def name(self, key: Any) -> str:
        return f"the global {key}"

    def read(self) -> dict[Any, Any]:
        return {n: self.owner[n] for n in self.names if n in self.owner}

    def write(self, values: Mapping[Any, Any]) -> None:
        for name in self.names:
            if name in values:
                self.owner[name] = values[name]
            else:
                self.owner.pop(name, None)


class _ClassNames(Holder):
    """The values that a class holds, beside its code."""

    CODE = (types.FunctionType, staticmethod, classmethod, property, types.MemberDescriptorType)

    def __init__(self, path: str, owner: type) -> None:
        self.owner = owner
        super().__init__(path)

    def name(self, key: Any) -> str:
        return f"{self.owner.__name__}.{key}"

    def read(self) -> dict[Any, Any]:
        own = vars(self.owner).items()
        return {n: v for n, v in own if not n.startswith("__") and not isinstance(v, self.CODE)}

    def write(self, values: Mapping[Any, Any]) -> None:
        now = self.read()
        for name in now.keys() - values.keys():
            delattr(self.owner, name)
        for name, value in values.items():
            if now.get(name) is not value or name not in now:
                setattr(self.owner, name, value)


class _Cell(Holder):
    """A variable that a closure reads."""

    def __init__(self, path: str, owner: types.CellType) -> None:
        self.owner = owner
        super().__init__(path)

    def name(self, key: Any) -> str:
        return self.path

    def read(self) -> dict[Any, Any]:
        try:
            return {"": self.owner.cell_contents}
        except ValueError:  # not filled yet
            return {}

    def write(self, values: Mapping[Any, Any]) -> None:
        if values:
            self.owner.cell_contents = values[""]
        else:
            del self.owner.cell_contents


def containers_of(path: str, value: Any) -> list[Holder]:
    """How the places of an object are read and written; none for one that has no places.

    Args:
        path: where it stands.
        value: the object.
    """
    if isinstance(value, types.FunctionType):
        return _function(path, value)
    if isinstance(value, type):
        return [_ClassNames(path, value)] if own_code(value.__module__) else []
    if isinstance(value, types.CellType):
        return [_Cell(path, value)]
    holds = _holds(type(value))  # type: ignore[arg-type]  # a class is hashable
    if holds is None:
        return []
    found = [kind(path, value) for kind in holds]
    if isinstance(getattr(value, "__dict__", None), dict):
        found.append(_Attributes(path, value))
    if _slots(type(value)):
        found.append(_Slots(path, value))
    return found


@functools.lru_cache(maxsize=4096)
def _holds(kind: type) -> tuple[Callable[[str, Any], Holder], ...] | None:
    """How the items of objects of a class are read, beside its attributes; None where nothing of it is."""
    passive = kind.__module__.partition(".")[0] in PASSIVE and not issubclass(kind, torch.nn.Module)
    if passive or issubclass(kind, (types.ModuleType, types.MethodType, functools.partial)):
        return None
    if issubclass(kind, dict):
        return (Dict,)
    if issubclass(kind, (list, deque)):
        return (Items,)
    return (_Members,) if issubclass(kind, set) else ()


def inside(path: str, value: Any) -> list[tuple[str, Any]]:
    """Objects that hang on one that cannot be exchanged itself, and where they stand.

    Args:
        path: where the one stands.
        value: it.
    """
    if isinstance(value, types.FunctionType):
        names = [f"the variable {n} of {value.__name__}" for n in value.__code__.co_freevars]
        cells = list(zip(names, value.__closure__ or (), strict=True))
        return [*cells, (path, value.__defaults__), (path, value.__kwdefaults__)]
    if isinstance(value, types.MethodType):
        return [(path, value.__func__), (path, value.__self__)]
    if isinstance(value, functools.partial):
        return [(path, value.func), (path, value.args), (path, value.keywords)]
    if isinstance(value, (tuple, frozenset)):
        return [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    if isinstance(value, (staticmethod, classmethod)):
        return [(path, value.__func__)]
    if isinstance(value, property):
        return [(path, f) for f in (value.fget, value.fset) if f is not None]
    if isinstance(value, type):
        if not own_code(value.__module__):
            return []
        code = (types.FunctionType, staticmethod, classmethod, property)
        return [(value.__name__, v) for v in (*value.__bases__, *vars(value).values()) if isinstance(v, (type, *code))]
    return [(path, type(value))]


def _function(path: str, function: types.FunctionType) -> list[Holder]:
    """The attributes of a function, and the globals that it names if the user wrote it."""
    found: list[Holder] = [_Attributes(path, function)]
    if own_code(function.__module__):
        names = _names(function.__code__, "_GLOBAL")
        found.append(_Names(path, function.__globals__, names))
        for name in names:
            other = function.__globals__.get(name)
            if isinstance(other, types.ModuleType) and own_code(other.__name__):
                found.append(_Names(name, vars(other), _names(function.__code__, "_ATTR")))
    return found


def _slots(kind: Any) -> tuple[str, ...]:  # mypy takes no class for hashable
    """Names of the slots of a class, which Python itself keeps for classes of users only."""
    return _slot_names(kind)


@functools.lru_cache(maxsize=4096)
def _slot_names(kind: type) -> tuple[str, ...]:
    return tuple(copyreg._slotnames(kind))  # type: ignore[attr-defined]


@functools.cache
def _names(code: types.CodeType, kind: str) -> list[str]:
    """The globals, or the attributes, that some code and the functions made in it look up."""
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    own = (i.argval for i in dis.get_instructions(code) if i.opname.endswith(kind))
    return list(dict.fromkeys([*own, *(n for c in inner for n in _names(c, kind))]))


@functools.cache
def own_code(module: str | None) -> bool:
    """Whether a Python module is the user's own: neither installed, nor Python's, nor a part of this library."""
    known = (*sys.stdlib_module_names, "lawful", "torch")
    if not module or (module.partition(".")[0] in known and module != "__main__"):
        return False
    path = os.path.abspath(getattr(sys.modules.get(module), "__file__", None) or "")
    return not any(folder in path for folder in INSTALLED)
