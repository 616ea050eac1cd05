"""Small instances of image models, from the arguments that the library itself makes the published ones with."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch

from .built import BATCH, Built, NotBuilt, awaken, said, without_caches
from .vision import parameters_on_meta, quiet, timm_names, torchvision_names

WIDE = re.compile(
    r"((embed|hidden|base|inner|stem_hidden|mlp|projection|key|state|feature|partial)_)?dims?|channels|widths|width_list"
    r"|hidden_sizes?|head_hidden_size|stem_(width|chs|channels)|(num_)?(init_)?features|inplanes|planes|init_channels"
    r"|initial_chs|growth_rate|stages_out_channels"
)
DEEP = re.compile(r"(serial_|parallel_)?depths?|layers|num_layers|block_config|depth_list|stages_repeats|num_blocks?")
HEADED = re.compile(r"num_heads?|heads|num_kv_heads|num_heads_(inner|outer)")
KEPT = re.compile(r"patch_sizes?|in_chans|image_size|img_size|window_sizes?|kernel_sizes?|stem_size")
SIDES = (8, 16, 32, 64, 96, 128)  # of images, the smallest that runs is taken
# layers: a single one before the token that is read has laws of its own, as in `shrink`
LAYERS, HEADS, CLASSES, PATCH, WINDOW, RATIO = 2, 2, 3, 4, 2, 2.0
# width of the first stage, by how much every further one is wider, and how many stages are kept (0: all)
PLANS = ((4, 2, 0), (8, 2, 0), (2, 2, 0), (4, 2, 2), (2, 2, 2), (8, 8, 2))
FAR = 40  # times the countable size, where what was made smaller are not the widths


class _Found(Exception):
    """The arguments of the class that a model is made with."""

    def __init__(self, kind: Callable[..., Any], values: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind, self.values = kind, values


def small_torchvision(name: str, training: bool, options: Mapping[str, Any]) -> Built:
    """A small instance of a classification model of torchvision.

    Raises:
        NotBuilt: if there is no such model, or the arguments of its class make none that is small enough.
    """
    if name not in torchvision_names():
        raise NotBuilt(f"torchvision has no model {name!r}")
    from torchvision import models

    entry = models.get_model_builder(name)
    module = importlib.import_module(entry.__module__)
    with quiet():
        kind, values = _torchvision_arguments(module, lambda: models.get_model(name, weights=None, **options))
        return _smallest("torchvision", name, module.__name__, kind, values, options, training)


def small_timm(name: str, training: bool, options: Mapping[str, Any]) -> Built:
    """A small instance of a model of timm; see `small_torchvision`."""
    if name not in timm_names():
        raise NotBuilt(f"timm has no model {name!r}")
    import timm

    module = importlib.import_module(timm.model_entrypoint(name).__module__)
    found: list[tuple[Callable[..., Any], Mapping[str, Any]]] = []

    def record(kind: Callable[..., Any], variant: str, *args: Any, **given: Any) -> Any:
        raise _Found(kind, given)

    with quiet():
        try:
            with patch.object(module, "build_model_with_cfg", record):
                timm.create_model(name, pretrained=False, **options)
        except _Found as stop:
            found.append((stop.kind, stop.values))
        except Exception as error:  # a foreign constructor raises what it likes
            raise NotBuilt(f"it cannot be made: {said(error)}") from error
        if not found:
            raise NotBuilt("its maker does not say how it is made, so that no smaller instance can be")
        kind, values = found[0]
        own = {k: v for k, v in values.items() if k in inspect.signature(kind).parameters}
        if values.get("model_cfg") is not None:
            own["cfg"] = values["model_cfg"]
        return _smallest("timm", name, module.__name__, kind, own, options, training)


def _torchvision_arguments(module: Any, make: Callable[[], Any]) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    """The class of a model and what it is called with: the first module that its maker makes."""

    def recorded(kind: Any) -> Callable[..., Any]:
        def stop(*args: Any, **kwargs: Any) -> Any:
            raise _Found(kind, inspect.signature(kind).bind(*args, **kwargs).arguments)

        return stop

    with ExitStack() as stack:
        for name, kind in list(vars(module).items()):
            if inspect.isclass(kind) and issubclass(kind, torch.nn.Module) and kind.__module__ == module.__name__:
                stack.enter_context(patch.object(module, name, recorded(kind)))
        try:
            make()
        except _Found as stop:
            return stop.kind, dict(stop.values)
        except Exception as error:  # a foreign constructor raises what it likes
            raise NotBuilt(f"it cannot be made: {said(error)}") from error
    raise NotBuilt("its maker does not say how it is made, so that no smaller instance can be")


def _smallest(
    source: str,
    name: str,
    family: str,
    kind: Callable[..., Any],
    values: Mapping[str, Any],
    chosen: Mapping[str, Any],
    training: bool,
) -> Built:
    """The first of the small instances that runs and can be counted."""
    from .hugging import COUNTED

    known = inspect.signature(kind).parameters
    whole = {k: p.default for k, p in known.items() if p.default is not inspect.Parameter.empty} | dict(values)
    whole.pop("kwargs", None)
    if not any(WIDE.fullmatch(k) and _is_number(v) for k, v in whole.items() if k not in chosen):
        raise NotBuilt(_fixed(source, name))
    trouble, least = "", 0
    for width, step, stages in PLANS:
        small = {k: v for k, v in ((k, _small(k, v, width, step)) for k, v in whole.items()) if v is not None}
        small |= _cut({k: small.get(k, v) for k, v in whole.items()}, stages) if stages else {}
        given = {**values, **small, **{k: v for k, v in chosen.items() if k in known}}
        for side in SIDES:
            sized = {k: side for k in ("img_size", "image_size") if k in known}
            try:
                scalars = _scalars(kind, {**given, **sized})
                if scalars > COUNTED:
                    least = min(least or scalars, scalars)
                    continue
                x = torch.randn(BATCH, int(whole.get("in_chans", 3)), side, side)
                module = awaken(kind(**{**given, **sized}), x)
                with torch.no_grad():
                    module.eval()(x)
            except Exception as error:  # a foreign constructor raises what it likes
                trouble = said(error)
                continue
            module = without_caches(module.train(training))
            how = ", ".join(f"{k}={v}" for k, v in {**small, **sized}.items())
            return Built(module, (x,), published=False, family=family.rpartition(".")[2], how=how)
    if least > FAR * COUNTED:
        raise NotBuilt(_fixed(source, name))
    if least:
        raise NotBuilt(
            f"its smallest instance has {least:,} parameters; {source}:{name}:OPTION=VALUE makes it smaller, with "
            f"arguments of {getattr(kind, '__name__', 'its class')}"
        )
    raise NotBuilt(f"no smaller instance of it runs ({trouble}); {source}:{name}:OPTION=VALUE passes options of yours")


def _scalars(kind: Callable[..., Any], values: Mapping[str, Any]) -> int:
    """How many parameters a module has, made without their numbers where that works."""
    try:
        with parameters_on_meta():
            module = kind(**values)
    except NotImplementedError:  # its constructor reads numbers
        module = kind(**values)
    return sum(p.numel() for p in module.parameters())


def _fixed(source: str, name: str) -> str:
    return (
        f"{source}:{name} has its widths in its code or in a table, and no option for them, so that no smaller "
        "instance of it can be made"
    )


def _cut(values: Mapping[str, Any], stages: int) -> dict[str, Any]:
    """The arguments that are lists of as many stages as there are depths, with the first few of them."""
    depths = next((v for k, v in values.items() if DEEP.fullmatch(k) and isinstance(v, (list, tuple))), ())
    if len(depths) <= stages:
        return {}
    return {k: v[:stages] for k, v in values.items() if isinstance(v, (list, tuple)) and len(v) == len(depths)}


def _small(name: str, value: Any, width: int, step: int) -> Any:
    """What an argument becomes in a small instance; None where it stays."""
    if name == "num_classes":
        return CLASSES
    if name in ("drop_path_rate", "stochastic_depth_prob"):
        return 0.0
    if name in ("patch_size", "window_size") and isinstance(value, int):
        return min(value, PATCH if name == "patch_size" else WINDOW)
    if name == "window_size" and isinstance(value, (list, tuple)):
        return type(value)(min(v, WINDOW) for v in value)
    if name == "mlp_ratio" and isinstance(value, (int, float)):
        return min(value, RATIO)
    if name == "mlp_ratios" and all(isinstance(v, (int, float)) for v in value or ()):
        return type(value)(min(v, RATIO) for v in value)
    if KEPT.fullmatch(name) or not _is_number(value):
        return None
    if HEADED.fullmatch(name):
        return _each(value, lambda v, i: min(v, HEADS))
    if DEEP.fullmatch(name):
        return _each(value, lambda v, i: min(v, 1 if isinstance(value, (list, tuple)) else LAYERS))
    if WIDE.fullmatch(name):
        return _each(value, lambda v, i: min(v, width + step * i))
    return None


def _is_number(value: Any) -> bool:
    """Whether an argument is a whole number above 0, or a list of such."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(_is_number(v) or v == 0 for v in value)
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _each(value: Any, change: Callable[[int, int], int]) -> Any:
    """A number, or every number of a list by its place, changed."""
    if not isinstance(value, (list, tuple)):
        return change(value, 0)
    return type(value)(
        _each(v, lambda n, _, at=i: change(n, at)) if isinstance(v, (list, tuple)) else change(v, i)  # type: ignore[misc]
        for i, v in enumerate(value)
    )


__all__ = ["small_timm", "small_torchvision"]
