"""The models that symmetries act on: their tensors for a trial, and copies with some tensors replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch

from lawful.graph.architecture.architecture import Architecture
from lawful.theory.oracle.modules import as_double

from .running import Setting, Tensors, copied, tensors_of

Model = TypeVar("Model", torch.nn.Module, dict[str, torch.Tensor])

EVEN = 0.3  # spread of what is drawn for a parameter whose numbers are all the same


def of_model(
    setting: Setting, model: object, generator: torch.Generator, everywhere: bool = False
) -> tuple[Setting, Tensors]:
    """The network that is tried, and its tensors in float64.

    In the setting's own module parameters that are all alike (gains of 1, biases of 0) get random values: as they are
    they would hide what is wrong with a symmetry.

    Args:
        setting: the network with its inputs.
        model: another one of its class, or tensors; None for the network itself.
        generator: of what is drawn.
        everywhere: whether all other parameters of the network itself move too, by their own size.
    """
    network = setting.network if model is None else model
    if isinstance(network, Architecture):
        values = network.random_parameters(generator)
        state = dict(network.trace.state) if network.trace else {}
        return setting, {**{n: as_double(t) for n, t in state.items()}, **values}
    if isinstance(network, torch.nn.Module):
        own = Setting(network, setting.args, setting.kwargs, setting.aliases)
        tensors = {n: as_double(t) for n, t in tensors_of(network, setting.aliases).items()}
        if model is None:
            ties = {n: setting.aliases.get(n, n) for n, _ in network.named_parameters(remove_duplicate=False)}
            for n in dict.fromkeys(ties.values()):  # in one order in every process: each draws from the same numbers
                size = _size(tensors[n], everywhere)
                if size > 0:
                    spread = tensors[n] + size * torch.randn(tensors[n].shape, generator=generator).to(tensors[n])
                    tensors |= {other: spread for other, first in ties.items() if first == n} | {n: spread}
        return own, tensors
    found = tensors_of(network, setting.aliases)
    return setting, {n: as_double(t) for n, t in found.items()}


def _size(tensor: torch.Tensor, everywhere: bool) -> float:
    """By how much a parameter is moved for a trial: one whose numbers are all the same always is."""
    if not tensor.is_floating_point() or tensor.numel() < 2 or tensor.is_meta:
        return 0.0
    if bool((tensor == tensor.flatten()[0]).all()):
        return EVEN
    return float(tensor.std()) if everywhere else 0.0


def write(model: Model, new: Mapping[str, torch.Tensor], aliases: Mapping[str, str], in_place: bool) -> Model:
    """A model with some tensors replaced; tied ones are replaced under every name.

    Args:
        model: a module or a dict of tensors.
        new: whole tensors by name.
        aliases: other names of tied parameters, with the first one.
        in_place: whether the model itself is changed.
    """
    if isinstance(model, torch.nn.Module):
        target = model if in_place else copied(model)
        places = dict(target.named_parameters(remove_duplicate=False)) | dict(
            target.named_buffers(remove_duplicate=False)
        )
        with torch.no_grad():
            for name, value in new.items():
                places[name].copy_(value)
        return target
    out: dict[str, torch.Tensor] = model if in_place else dict(model)
    before = dict(model)
    for name, value in new.items():
        ties = {n for n, first in aliases.items() if first == name} | {name}
        old = next(before[n] for n in ties if n in before)
        for other, tensor in before.items():
            shared = tensor.data_ptr() == old.data_ptr() and tensor.shape == old.shape and tensor.numel() > 0
            if other in ties or shared:
                if in_place:
                    with torch.no_grad():
                        tensor.copy_(value)
                else:
                    out[other] = value
    return out
