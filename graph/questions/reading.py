"""What every question takes: an architecture, an expression of blocks, a torch module with inputs, or a spec."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

import torch

from lawful.blocks import Net, ShapeError
from lawful.theory.arguments import shown
from lawful.theory.inputs import inputs_of
from lawful.theory.losses import LossError, expect_loss
from lawful.theory.oracle.lending.complexes import real_parts
from lawful.theory.oracle.lending.randomness import random_states
from lawful.theory.oracle.lending.transforms import no_transform_left
from lawful.theory.telling import watched
from lawful.theory.typed import typed

from ..architecture.architecture import Architecture

P = ParamSpec("P")
R = TypeVar("R")

NetworkLike = Architecture | Net | torch.nn.Module | str
Maker = Callable[[], Architecture]
_readers: list[Callable[[str], Architecture]] = []
_instances: list[Callable[[str], Maker | None]] = []


def read_specs_with(reader: Callable[[str], Architecture], instance: Callable[[str], Maker | None]) -> None:
    """Says what makes an architecture of a spec (`family:gpt2`); the front door does, since it knows them all.

    Args:
        reader: makes the architecture.
        instance: gives what makes a small instance of the same model, None where nothing does.
    """
    _readers[:], _instances[:] = [reader], [instance]


def network_of(network: Any, where: str = "lawful") -> Architecture | torch.nn.Module:
    """A network in one of its two forms: as an architecture, or as a torch module.

    Args:
        network: an architecture, an expression of blocks, a torch module, or a spec.
        where: the function that was called, for messages.

    Raises:
        ShapeError: for anything else, and for blocks that do not fit.
        ValueError: for a spec that names no network (`lawful.bad_input.BadInput`); says which part of it is wrong.
    """
    if isinstance(network, Net):
        return Architecture(network)
    if isinstance(network, (Architecture, torch.nn.Module)):
        return network
    if isinstance(network, str):
        if not _readers:  # nobody has come through the front door: `from lawful.testing import assert_lawful`
            importlib.import_module("lawful").Architecture  # noqa: B018 - its first name opens it
        return _readers[0](network)
    hint = "; call it to make one" if callable(network) else ""
    raise ShapeError(
        f"{where}: the network is {shown(network)}; it must be an architecture, an expression of blocks, a torch "
        f"module or a spec such as 'family:gpt2'{hint}"
    )


def expect_numbers(network: Architecture | torch.nn.Module, what: str) -> None:
    """Refuses a module on the meta device, where parameters have shapes only: it cannot be run.

    Args:
        network: what is asked about; an architecture draws its own numbers.
        what: is asked, for the message.

    Raises:
        ShapeError: says which parameter, and what can be asked instead.
    """
    if isinstance(network, torch.nn.Module):
        name = next((n for n, p in network.named_parameters() if p.is_meta), None)
        if name is not None:
            raise ShapeError(
                f"{what}: {name} of {type(network).__name__} is on the meta device, which has shapes and no numbers; "
                "ask about its architecture, lw.trace(module, x), or of a large one about the small copy, .shrink()"
            )


def question(
    skip: Sequence[str] = (), least: Mapping[str, int] = MappingProxyType({})
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for what is asked of a network, its first argument: what callers hand in is read and checked.

    The function itself gets an architecture or a torch module, `args` as a tuple and `kwargs` as a dict.  Random states
    are afterwards what they were.  One that reports `progress` and is not told to whom tells a terminal, if it takes
    long.

    Args:
        skip: further arguments that the function checks itself, beside the axis.
        least: smallest values of integers where the rule of `theory.arguments.typed` does not fit.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        first = next(iter(signature.parameters))
        inputs = [name for name in ("args", "kwargs") if name in signature.parameters]
        checked = typed(ShapeError, (first, "loss", "axis", *inputs, *skip), least)(function)

        @functools.wraps(function)
        def ask(*given: P.args, **named: P.kwargs) -> R:
            try:
                bound = signature.bind(*given, **named)
            except TypeError:
                return checked(*given, **named)  # which says what it takes
            values = bound.arguments
            if "instance" in signature.parameters and isinstance(values[first], str) and _instances:
                values.setdefault("instance", _instances[0](values[first]))
            values[first] = network_of(values[first], function.__name__)
            if values.get("loss") is not None:
                try:
                    expect_loss(values["loss"])
                except LossError as error:
                    raise ShapeError(f"{function.__name__}: {error}") from None
            if inputs:
                found = inputs_of(function.__name__, values.get("args"), values.get("kwargs"), ShapeError)
                values.update(args=found[0], kwargs=found[1])
                if any(found) and isinstance(values[first], Architecture):
                    raise ShapeError(
                        f"{function.__name__}: an architecture brings its own inputs; leave out args= and kwargs="
                    )
            alone = "progress" in signature.parameters and values.get("progress") is None
            with watched(f"busy with {function.__name__}") if alone else nullcontext() as say:
                if say is not None:
                    values["progress"] = say
                with real_parts(values[first]), no_transform_left(), random_states():
                    return checked(*bound.args, **bound.kwargs)

        return ask

    return decorate
