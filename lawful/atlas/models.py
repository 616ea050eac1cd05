"""The models of the atlas by name: `torchvision:vgg16`, `timm:resnet50`, `hf:gpt2`, `ours:zuko/maf`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from lawful.theory.extras import how_to_install

from .built import Built, NotBuilt

SOURCES = ("torchvision", "timm", "hf", "ours")
NEEDS = {"torchvision": ("torchvision",), "timm": ("timm", "torchvision"), "hf": ("transformers",), "ours": ()}


def names(only: str = "*") -> list[str]:
    """All models whose name matches a pattern such as `timm:vit_*`, by source.

    Raises:
        NotBuilt: if a library that the pattern names is not installed.
    """
    found: list[str] = []
    for source in SOURCES:
        if not only.startswith(("*", "?", "[")) and not fnmatchcase(source, only.partition(":")[0]):
            continue
        expect_installed(source)
        found += [name for name in (f"{source}:{n}" for n in _names_of(source)) if fnmatchcase(name, only)]
    return found


def build(
    name: str,
    *,
    full: bool,
    training: bool = False,
    attention: str | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Built:
    """A model by name.

    Args:
        name: source and model.
        full: at its published size, on the meta device where that works; transformers' types at their default size.
            Else a small instance with random weights: the smallest image that runs, or a tiny configuration.
        training: training mode; BatchNorm then uses the statistics of the batch.
        attention: transformers' attention implementation.
        options: for the maker of the model: attributes of a configuration of transformers, else keyword arguments.

    Raises:
        NotBuilt: if there is no such model, or it cannot be made.
    """
    source, _, model = name.partition(":")
    if source not in SOURCES:
        raise NotBuilt(f"no source {source!r}; there are {', '.join(SOURCES)}")
    expect_installed(source)
    if source == "hf":
        from .hugging import hugging_model

        return hugging_model(model, full, training, attention, options)
    if source == "ours":
        from .outside import outside_model

        return outside_model(model, full, training, options)
    from .vision import timm_model, torchvision_model

    make: Callable[..., Built] = timm_model if source == "timm" else torchvision_model
    return make(model, full, training, options)


def instance(name: str, training: bool = False, options: Mapping[str, Any] = MappingProxyType({})) -> Built:
    """An instance of a model that brute force can count, from the model's own configuration.

    Raises:
        NotBuilt: if the model's own options do not make it small enough; says which do.
    """
    source, _, model = name.partition(":")
    expect_installed(source)
    if source == "hf":
        from .hugging import counted_model

        return counted_model(model, training, options)
    from .smaller import small_timm, small_torchvision

    return (small_timm if source == "timm" else small_torchvision)(model, training, options)


def expect_installed(source: str) -> None:
    """Checks that the library of a source is there.

    Raises:
        NotBuilt: if it is not; says what to install.
    """
    for library in NEEDS[source]:
        if importlib.util.find_spec(library) is None:
            raise NotBuilt(f"{source}: models need {library}, which is not installed; {how_to_install('models')}")


def _names_of(source: str) -> tuple[str, ...]:
    if source == "hf":
        from .hugging import types

        return types()
    if source == "ours":
        from .outside import outside_names

        return outside_names()
    from .vision import timm_names, torchvision_names

    return timm_names() if source == "timm" else torchvision_names()
