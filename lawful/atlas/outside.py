"""Builds the models of the atlas' own list, from packages that nothing else here knows: `outside.toml` says how."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import torch

from lawful.theory.arguments import near_or_all

from .built import Built, NotBuilt, NotInstalled, awaken, said
from .stubs import declare_torchvision
from .vision import quiet

WORD = re.compile(r"(normal|uniform|ones|eye|complex|below\d+|edges\d+)((?: \d+)+)")
SEED = 0


@cache
def _rows() -> Mapping[str, Mapping[str, Any]]:
    """What the data file says of every model, by `package/model`."""
    found = tomllib.loads(files("lawful.atlas").joinpath("outside.toml").read_text(encoding="utf-8"))
    return {f"{p}/{name}": {"package": p, **row} for p, rows in found.items() for name, row in rows.items()}


def outside_names() -> tuple[str, ...]:
    """All models of the list, by `package/model`."""
    return tuple(_rows())


def outside_model(
    name: str, full: bool = True, training: bool = False, chosen: Mapping[str, Any] = MappingProxyType({})
) -> Built:
    """A model of the list; all of them are small instances.

    Args:
        name: package and model, `vit-pytorch/vit`.
        full: means nothing here.
        training: the mode.
        chosen: further keyword arguments of its maker.

    Raises:
        NotInstalled: if its package is not there.
        NotBuilt: if there is no such model, or the package cannot make it.
    """
    row = _rows().get(name)
    if row is None:
        raise NotBuilt(f"the list of the atlas has no model {name!r}; {near_or_all(name, outside_names())}")
    package = row["package"]
    try:
        number = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise NotInstalled(f"{package} is not installed") from None
    declare_torchvision()
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            module = _called(_made({**row, "options": {**row.get("options", {}), **chosen}}), row.get("call", ""))
            args, kwargs = tuple(map(_value, row.get("inputs", ()))), _value(row.get("named", {}))
            module = awaken(module.eval(), *args, **kwargs).train(training)
    except Exception as error:
        raise NotBuilt(f"{package} {number} cannot make it here: {said(error)}") from error
    loss = row.get("loss", "mse")
    return Built(module, args, kwargs, loss, published=False, family=name, how=f"{package} {number}")


class Called(torch.nn.Module):
    """A module that is used by a method of its own in the place of forward.

    Args:
        module: the module.
        method: the name of the method, with dots for one of a part; "()." before it asks what forward gives.
    """

    def __init__(self, module: torch.nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the method says."""
        target, names = self.module, self.method
        if names.startswith("()."):
            target, names = target(), names[3:]
        for part in names.split("."):
            target = getattr(target, part)
        return target(*args, **kwargs)


def _called(module: torch.nn.Module, method: str) -> torch.nn.Module:
    return Called(module, method) if method else module


def _made(row: Mapping[str, Any]) -> Any:
    """What a table with `make` stands for."""
    make: Callable[..., Any] = _named(row["make"])
    return make(*map(_value, row.get("args", ())), **{k: _value(v) for k, v in row.get("options", {}).items()})


def _named(path: str) -> Any:
    """An object by its full name: the longest part of it that is a module, then attributes."""
    parts = path.split(".")
    for k in range(len(parts), 0, -1):
        module = ".".join(parts[:k])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and not f"{module}.".startswith(f"{error.name}."):
                raise  # the module is there; what it imports is not
            continue
        for part in parts[k:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(f"No module named {parts[0]!r}")


def _value(value: Any) -> Any:
    """A value of the data file: tables and lists are read through, words for tensors become tensors."""
    if isinstance(value, str):
        found = WORD.fullmatch(value)
        return value if found is None else _tensor(found[1], tuple(map(int, found[2].split())))
    if isinstance(value, list):
        return [_value(v) for v in value]
    if isinstance(value, dict):
        if "make" in value:
            return _made(value)
        if "tuple" in value:
            return tuple(map(_value, value["tuple"]))
        if "object" in value:
            return None if value["object"] == "None" else _named(value["object"])
        return {k: _value(v) for k, v in value.items()}
    return value


def _tensor(kind: str, shape: tuple[int, ...]) -> torch.Tensor:
    if kind in ("ones", "eye", "uniform"):
        makers: dict[str, Callable[..., torch.Tensor]] = {"ones": torch.ones, "eye": torch.eye, "uniform": torch.rand}
        return makers[kind](*shape)
    if kind in ("normal", "complex"):
        return torch.randn(shape, dtype=torch.complex64 if kind == "complex" else torch.float32)
    return torch.randint(int(kind[5:]), shape)


__all__ = ["outside_model", "outside_names"]
