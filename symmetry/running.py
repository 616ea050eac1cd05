"""What a network gives at given parameters: the user's own module in float64, or an architecture."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch

from lawful.blocks import Run
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.module import Network
from lawful.theory.arguments import shown
from lawful.theory.oracle.double import double
from lawful.theory.oracle.lending.complexes import real_parts
from lawful.theory.oracle.lending.lent import lent
from lawful.theory.oracle.modules import as_double, fresh_inputs
from lawful.theory.oracle.outputs import named_outputs, whole_numbers
from lawful.theory.parts import base
from lawful.theory.refusals import InputsError, refused

Tensors = dict[str, torch.Tensor]
Module = TypeVar("Module", bound=torch.nn.Module)
SAMPLES = 2  # batches of random inputs
BATCH = 3


@dataclass(frozen=True)
class Setting:
    """A network with example inputs.

    Attributes:
        network: an architecture or a module.
        args: example inputs of a module.
        kwargs: its keyword inputs.
        aliases: other names of tied parameters, with the first one.
    """

    network: Architecture | torch.nn.Module
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all whole parameters, by their first names; of complex ones as pairs of real numbers."""
        if isinstance(self.network, Architecture):
            return {n: p.shape for n, p in self.network.parameters.items() if base(n) == n}
        return {n: real_shape(p) for n, p in self.network.named_parameters() if n not in self.aliases}


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as real numbers, as complex parameters are lent."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def real_shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape of a tensor of real numbers; a complex one has two on a last axis."""
    return (*tensor.shape, 2) if tensor.is_complex() else tuple(tensor.shape)


def tensors_of(model: object, aliases: Mapping[str, str] | None = None) -> Tensors:
    """Whole parameters and buffers by name, tied ones under every name.

    Raises:
        TypeError: for what has no parameters.
    """
    if isinstance(model, torch.nn.Module):
        found: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
        found.update(model.named_buffers(remove_duplicate=False))
    elif isinstance(model, Mapping):
        found = dict(model)
        for name, value in found.items():
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"the model has {shown(value)} under {shown(name)}; pass a module, or tensors by name")
    else:
        raise TypeError(f"expected a module or a mapping of tensors, got {shown(model)}; it has no parameters")
    out = {n: t.detach() for n, t in found.items()}
    for alias, first in (aliases or {}).items():
        if first not in out and alias in out:
            out[first] = out[alias]
    return out


def copied(model: Module) -> Module:
    """A deep copy of a module; tensors that it computed and kept (`weight` under weight norm) are copied as numbers."""
    memo = {
        id(t): t.detach().clone()
        for m in model.modules()
        for t in vars(m).values()
        if isinstance(t, torch.Tensor) and not t.is_leaf
    }
    return copy.deepcopy(model, memo)


def outputs(setting: Setting, changes: Sequence[Mapping[str, torch.Tensor]], seed: int) -> list[list[torch.Tensor]]:
    """The outputs under several changes of the tensors, on the same random inputs and with the same noise, in float64.

    Args:
        setting: the network; of an architecture the changes hold all parameters.
        changes: parameters and buffers by name; what is left out stays.
        seed: of the inputs and of what the network draws.

    Returns:
        A list of outputs for every change, those of all inputs one after the other; codes and choices, which are
        integers, are compared like any other.

    Raises:
        ShapeError: for a module without example inputs.
        ModuleError: for a module that does not run.
    """
    network = setting.network
    generator = torch.Generator().manual_seed(seed)
    if isinstance(network, Architecture):
        return _composed(network, changes, seed, generator)
    args, kwargs = setting.args, setting.kwargs
    if not args and not kwargs:
        if not isinstance(network, Network):
            raise InputsError("running", network)
        args = tuple(network.arch.random_inputs(BATCH, generator))
    batches = [fresh_inputs(args, kwargs, generator) for _ in range(SAMPLES)]
    found: list[list[torch.Tensor]] = []
    with real_parts(network), lent(network, as_double) as own, double(), torch.no_grad():
        given = {n: as_double(p) for n, p in own.parameters.items()}
        for change in changes:
            out: list[torch.Tensor] = []
            for positional, named in batches:
                own.start({n: as_double(_real(change[n])) if n in change else p for n, p in given.items()})
                buffers = dict(network.named_buffers(remove_duplicate=False))
                for n, t in change.items():
                    if n in buffers:
                        buffers[n].copy_(t)
                torch.manual_seed(seed)
                with refused(f"{type(network).__name__} does not run on random inputs like the examples"):
                    result = network(*positional, **named)
                out += [t.detach().clone() for t in named_outputs(network, result).values()]
                out += [t.detach().to(torch.float64) for t in whole_numbers(result)]
            found.append(out)
    return found


def _composed(
    network: Architecture, changes: Sequence[Mapping[str, torch.Tensor]], seed: int, generator: torch.Generator
) -> list[list[torch.Tensor]]:
    inputs = network.random_inputs(BATCH, generator)
    state = dict(network.trace.state) if network.trace else {}
    found = []
    for change in changes:
        torch.manual_seed(seed)
        with torch.no_grad():
            held = {n: as_double(change.get(n, t)) for n, t in state.items()}
            values = {n: as_double(t) for n, t in change.items()}
            result = network.forward(values, inputs, Run(state=held) if held else Run())
        found.append(list(result) if isinstance(result, tuple) else [result])
    return found


def distance(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    """The largest difference of two lists of outputs, relative to the first; not a number where one is not."""
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        if not a.numel():
            continue
        same = (a == b) | (a.isnan() & b.isnan())
        gap = torch.where(same, 0.0, (a - b).abs())
        finite = a[a.isfinite()]
        scale = max(float(finite.abs().max()) if finite.numel() else 0.0, 1e-30)
        value = float(gap.max()) / scale
        worst = value if value != value else max(worst, value)
    return worst
