"""Takes out of a module what does nothing after a fold, so that a trace no longer sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from lawful.symmetry.running import Setting, distance, outputs
from lawful.symmetry.symmetry import TOLERANCE
from lawful.theory.refusals import ModuleError


def without(model: torch.nn.Module, gone: Mapping[str, float | str], setting: Setting, seed: int) -> dict[str, str]:
    """Changes a model in place; gives what had to stay, with the reason.

    Args:
        model: the model after its folds.
        gone: parameters that do nothing, with the number that each holds, LayerNorms whose stream is centred, and
            BatchNorms that only add their shift, with the map that can take it.
        setting: the inputs on which it must compute the same in its mode, and run in the other one.
        seed: of the inputs.
    """
    kept = {n: why for n, taker in gone.items() if (why := _obstacle(model, n, taker))}
    chosen = [n for n in gone if n not in kept]
    chosen.sort(key=lambda n: n in dict(model.named_modules()))  # an RMSNorm takes what a LayerNorm has left
    before = _runs(model, setting, seed)
    whole = [_removed(model, n, gone[n]) for n in chosen]
    if _agrees(before, _runs(model, setting, seed), model):
        return kept | _shifted(model, chosen)
    for undo in reversed(whole):
        undo()
    for n in chosen:
        for value in _ways(model, n, gone[n]):
            undo = _removed(model, n, value)
            if _agrees(before, _runs(model, setting, seed), model):
                break
            undo()
        else:
            kept[n] = "the model does not run, or computes something else, without it"
    return _shifted(model, chosen) | kept


def _shifted(model: torch.nn.Module, chosen: Iterable[str]) -> dict[str, str]:
    """The LayerNorms that have to stay what they are."""
    modules = dict(model.named_modules())
    why = "its shift stays, which an nn.RMSNorm does not have"
    return {n: why for n in chosen if isinstance(modules.get(n), torch.nn.LayerNorm)}


Undo = Callable[[], None]
MAPS = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)


@dataclass(frozen=True)
class Runs:
    """What a model does: its outputs in float64 in the mode that it is in, and the modes in which it runs as it is."""

    outputs: list[torch.Tensor] | None
    modes: frozenset[bool]


def _runs(model: torch.nn.Module, setting: Setting, seed: int) -> Runs:
    try:
        found = outputs(replace(setting, network=model), [{}], seed)[0]
    except ModuleError:
        found = None
    return Runs(found, frozenset(mode for mode in (True, False) if _starts(model, setting, mode)))


def _agrees(before: Runs, after: Runs, model: torch.nn.Module) -> bool:
    """Whether a model computes what it did, up to rounding of its own type, and runs in every mode that it ran in."""
    if before.outputs is not None:
        types = [p.dtype for p in model.parameters() if p.is_floating_point()]
        limit = max([TOLERANCE, *(100 * torch.finfo(t).eps for t in types)])
        if after.outputs is None or not distance(before.outputs, after.outputs) <= limit:
            return False
    return before.modes <= after.modes


def _starts(model: torch.nn.Module, setting: Setting, training: bool) -> bool:
    """Whether a model runs in a mode; kernels for evaluation read weights of layers without calling these."""
    held = {b: b.clone() for b in model.buffers()}
    with _mode(model, training), torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            model(*setting.args, **setting.kwargs)
        except Exception:  # whatever a user's module does without its parameter
            return False
        finally:
            for buffer, value in held.items():
                buffer.copy_(value)
    return True


@contextmanager
def _mode(model: torch.nn.Module, training: bool) -> Iterator[None]:
    modes = {m: m.training for m in model.modules()}
    if model.training != training:
        model.train(training)
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode


def _obstacle(model: torch.nn.Module, name: str, taker: float | str) -> str:
    """Why something cannot be taken out; empty if it can."""
    if isinstance(taker, str):
        return _bias_missing(model, name, taker)
    if name in dict(model.named_parameters(remove_duplicate=False)):
        return ""
    module = dict(model.named_modules()).get(name)
    return "" if type(module) is torch.nn.LayerNorm else "it is no nn.LayerNorm that an nn.RMSNorm could replace"


def _bias_missing(model: torch.nn.Module, norm: str, path: str) -> str:
    """Why a map cannot take the shift of a norm; empty if it can."""
    shift = getattr(model.get_submodule(norm), "bias", None)
    taker = model.get_submodule(path)
    if not isinstance(shift, torch.Tensor) or not bool((shift != 0).any()):
        return ""
    registered = "bias" in taker._parameters and taker._parameters["bias"] is None
    return "" if registered and isinstance(taker, MAPS) else f"{path} has no bias that could take its shift"


def _without_batchnorm(model: torch.nn.Module, name: str, path: str) -> Undo:
    """Puts what a BatchNorm does besides its norm (an activation of its own) in its place; its shift becomes a bias."""
    home, _, local = name.rpartition(".")
    parent, taker = model.get_submodule(home), model.get_submodule(path)
    norm = parent._modules[local]
    assert norm is not None
    shift = getattr(norm, "bias", None)
    new = taker._parameters.get("bias") is None and isinstance(shift, torch.Tensor) and bool((shift != 0).any())
    if new:
        assert isinstance(shift, torch.nn.Parameter)
        taker.bias = torch.nn.Parameter(shift.detach().clone(), shift.requires_grad)
    rest = [m for m in norm.children() if not isinstance(m, torch.nn.Identity)]
    left = torch.nn.Sequential(*rest) if rest else torch.nn.Identity()
    parent._modules[local] = left.train(norm.training)

    def undo() -> None:
        parent._modules[local] = norm
        if new:
            taker._parameters["bias"] = None

    return undo


def _ways(model: torch.nn.Module, name: str, value: float | str) -> list[float | str | torch.Tensor | None]:
    """What may stand in the place of a parameter: its number, nothing (in fused norms), a tensor that is none."""
    held = dict(model.named_parameters(remove_duplicate=False)).get(name)
    if held is None or isinstance(value, str):
        return [value]
    return [value, None, torch.full_like(held.detach(), value)]


def _removed(model: torch.nn.Module, name: str, value: float | str | torch.Tensor | None) -> Undo:
    """Takes a parameter out of its module, puts an RMSNorm in the place of a LayerNorm, or nothing for a BatchNorm."""
    if isinstance(value, str):
        return _without_batchnorm(model, name, value)
    home, _, local = name.rpartition(".")
    module = model.get_submodule(home)
    if local in module._parameters:
        return _without_parameter(module, local, value)
    norm = module._modules[local]
    assert isinstance(norm, torch.nn.LayerNorm)
    if norm.bias is not None:
        return lambda: None  # its shift stays, which an RMSNorm does not have
    plain = torch.nn.RMSNorm(norm.normalized_shape, norm.eps, elementwise_affine=False)
    plain.weight = norm.weight
    module._modules[local] = plain.train(norm.training)

    def undo() -> None:
        module._modules[local] = norm

    return undo


def _without_parameter(module: torch.nn.Module, local: str, value: float | torch.Tensor | None) -> Undo:
    held = module._parameters.pop(local)
    norms = torch.nn.LayerNorm | torch.nn.RMSNorm | torch.nn.GroupNorm
    if isinstance(module, norms):
        module.register_parameter(local, None)
    else:
        module.__dict__[local] = value

    def undo() -> None:
        module.__dict__.pop(local, None)
        module._parameters.pop(local, None)
        module.register_parameter(local, held)

    return undo
