"""Takes out of a module what does nothing after a fold, so that a trace no longer sees it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lawful.symmetry.running import Setting


def without(model: torch.nn.Module, gone: Mapping[str, float], setting: Setting) -> dict[str, str]:
    """Changes a model in place; gives what had to stay, with the reason.

    Args:
        model: the model after its folds.
        gone: parameters that do nothing, with the number that each holds, and LayerNorms whose stream is centred.
        setting: the inputs on which it must still run.
    """
    kept = {}
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    for name, value in gone.items():
        if name in parameters and not _parameter(model, name, value, setting):
            kept[name] = "its module does not run without it"
    for name in gone.keys() - parameters.keys():
        module = modules.get(name)
        if type(module) is not torch.nn.LayerNorm:
            kept[name] = "it is no nn.LayerNorm that an nn.RMSNorm could replace"
        elif module.bias is not None:
            kept[name] = "its shift stays, which an nn.RMSNorm does not have"
        else:
            _as_rms(model, name, module)
    return kept


def _as_rms(model: torch.nn.Module, name: str, norm: torch.nn.LayerNorm) -> None:
    """Puts an RMSNorm in the place of a LayerNorm whose input has mean zero."""
    plain = torch.nn.RMSNorm(norm.normalized_shape, norm.eps, elementwise_affine=False)
    plain.weight = norm.weight
    parent, _, local = name.rpartition(".")
    setattr(model.get_submodule(parent), local, plain.train(norm.training))


def _parameter(model: torch.nn.Module, name: str, value: float, setting: Setting) -> bool:
    """Takes a gain or shift that does nothing out of its module; whether the module still runs."""
    home, _, local = name.rpartition(".")
    module = model.get_submodule(home)
    held = module._parameters.pop(local)
    layers = torch.nn.LayerNorm | torch.nn.RMSNorm | torch.nn.GroupNorm
    if isinstance(module, layers):
        module.register_parameter(local, None)
    else:
        module.__dict__[local] = value
    try:
        with torch.no_grad():
            model(*setting.args, **setting.kwargs)
    except Exception:  # whatever a user's module does without its parameter
        module.__dict__.pop(local, None)
        module.register_parameter(local, held)
        return False
    return True
