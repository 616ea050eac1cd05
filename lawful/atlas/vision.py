"""Builds the image classifiers of torchvision and timm: at full size without weights, and small for verification."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import torch

from lawful.theory.arguments import near_or_all

from .built import BATCH, Built, NotBuilt, awaken, said, without_caches
from .stubs import declare_torchvision

SIDES = (64, 96, 128, 160, 192, 224, 256)  # image sizes tried for a small instance, the smallest that runs is taken

CALIBRATION = 8  # images that running statistics are taken from

Size = tuple[int, ...]
Maker = Callable[..., torch.nn.Module]


@cache
def torchvision_names() -> tuple[str, ...]:
    """Torchvision's classification models."""
    declare_torchvision()
    from torchvision import models

    return tuple(models.list_models(module=models))


@cache
def timm_names() -> tuple[str, ...]:
    """All of timm's models."""
    declare_torchvision()
    import timm

    return tuple(timm.list_models())


def torchvision_model(
    name: str, full: bool = True, training: bool = False, chosen: Mapping[str, Any] = MappingProxyType({})
) -> Built:
    """A classification model of torchvision.

    Args:
        name: as in `torchvision.models.list_models`.
        full: the published image size, on the meta device; else the smallest image that runs, with random weights.
        training: the mode.
        chosen: further keyword arguments of its maker.

    Raises:
        NotBuilt: if there is no such model, or it cannot be made.
    """
    _known(name, torchvision_names(), "torchvision")
    from torchvision import models

    entry = models.get_model_builder(name)
    # Weights tuned on larger images come beside those of the size that the model is made for.
    side = min((w.transforms().crop_size[0] for w in models.get_model_weights(name)), default=224)

    def make(**options: Any) -> torch.nn.Module:
        # Inception's and GoogLeNet's own initialisation draws for minutes, and random weights are random anyway.
        quick = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        return models.get_model(name, weights=None, **{**quick, **options, **chosen})

    native = (3, side, side)
    return _built(make, native, "image_size", entry.__module__.rpartition(".")[2], full, training)


def timm_model(
    name: str, full: bool = True, training: bool = False, chosen: Mapping[str, Any] = MappingProxyType({})
) -> Built:
    """A model of timm; see `torchvision_model`."""
    _known(name, timm_names(), "timm")
    import timm

    def make(**options: Any) -> torch.nn.Module:
        return timm.create_model(name, pretrained=False, **{**options, **chosen})

    family = timm.model_entrypoint(name).__module__.rpartition(".")[2]
    native = tuple((timm.get_pretrained_cfg(name, allow_unregistered=True) or _Sizes).input_size)
    if isinstance(chosen.get("img_size"), int):
        native = (native[0], chosen["img_size"], chosen["img_size"])
    return _built(make, native, "img_size", family, full, training)


class _Sizes:
    """What a model without a published configuration reads."""

    input_size = (3, 224, 224)


def _known(name: str, names: tuple[str, ...], source: str) -> None:
    if name not in names:
        raise NotBuilt(f"{source} has no model {name!r}; {near_or_all(name, names)}")


def _built(make: Maker, native: Size, option: str, family: str, full: bool, training: bool) -> Built:
    with quiet():
        if full:
            module, how = _on_meta(make)
            x = torch.randn(BATCH, *native, device=next(module.parameters()).device)
            return Built(without_caches(module.train(training)), (x,), family=family, how=how)
        size, options = _smallest(make, native, option)
        x = torch.randn(BATCH, *size)
        try:
            module = awaken(make(**options), torch.randn(CALIBRATION, *size))
        except Exception as error:
            raise NotBuilt(f"it cannot be made with weights: {said(error)}") from error
    module, how = without_caches(module.train(training)), f"image {size[-2]}x{size[-1]}"
    return Built(module, (x,), published=False, family=family, how=how)


def _on_meta(make: Maker, **options: Any) -> tuple[torch.nn.Module, str]:
    """The model without weights; with them, if its constructor reads values."""
    try:
        with parameters_on_meta():
            return make(**options), "meta"
    except Exception as first:
        try:
            return make(**options), "cpu"
        except Exception as error:
            raise NotBuilt(f"it cannot be made: {said(error)}") from first


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Modules made inside have parameters without numbers, and buffers with: masks and indices decide about laws."""
    register = torch.nn.Module.register_parameter

    def without_numbers(self: torch.nn.Module, name: str, parameter: torch.nn.Parameter | None) -> None:
        register(self, name, parameter)
        if parameter is not None:
            self._parameters[name] = torch.nn.Parameter(parameter.to("meta"), parameter.requires_grad)

    with patch.object(torch.nn.Module, "register_parameter", without_numbers):
        yield


def _smallest(make: Maker, native: Size, option: str) -> tuple[Size, dict[str, Any]]:
    """The smallest image that runs, and the option that the model needs for it."""
    reasons = []
    for size, options in _attempts(native, option):
        try:
            module, how = _on_meta(make, **options)
            if how == "meta":
                with torch.no_grad():
                    module.to("meta").eval()(torch.empty(BATCH, *size, device="meta"))
            elif size != native:
                continue  # running it takes too long only to find out
            return size, options
        except Exception as error:
            reasons.append(said(error))
    raise NotBuilt(f"it runs at no image size; at its own it says {reasons[-1]}")


def _attempts(native: Size, option: str) -> Iterator[tuple[Size, dict[str, Any]]]:
    """Sizes with and without the option that sets them: convolutions need none, patch embeddings do."""
    for side in SIDES:
        if side < native[-1]:
            yield (native[0], side, side), {}
            yield (native[0], side, side), {option: side}
    yield native, {}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that old models give when they are made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
