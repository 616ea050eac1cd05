"""What a forward gives, as tensors by name: tuples, lists, dicts, dataclasses, in any nesting."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from ..losses import OWN_LOSS

NO_EXAMPLE = "pass example inputs that hold at least one example"
# What language models return beside their answer: what the next call reads again, and states of inner layers.
CARRIED = frozenset(
    {
        "attentions",
        "cache_params",
        "cross_attentions",
        "decoder_attentions",
        "decoder_hidden_states",
        "encoder_attentions",
        "encoder_hidden_states",
        "encoder_last_hidden_state",
        "hidden_states",
        "mems",
        "past_key_values",
    }
)


def outputs_of(out: Any) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors of real numbers in what a module gave, by name, and the names of what is left out.

    A single tensor is called `output`, one inside of a container `heads[boxes][0]`; complex ones are pairs of real
    ones.  Left out are tensors without entries, integers, strings and other values, and what language models carry
    from call to call or show of their inner layers (`CARRIED`); None is nothing.  Of a module that computes its loss
    itself all else is left out: no loss reads what stands beside it (`own_loss`).
    """
    tensors: dict[str, torch.Tensor] = {}
    left: list[str] = []

    def walk(tree: Any, name: str) -> None:
        inside = named_items(tree)
        if is_empty(tree):
            left.append(name or "output")
        elif isinstance(tree, torch.Tensor) and tree.is_floating_point():
            tensors[name or "output"] = tree
        elif isinstance(tree, torch.Tensor) and tree.is_complex():
            tensors[name or "output"] = torch.view_as_real(tree.resolve_conj())
        elif inside is not None:
            for key, value in inside.items():
                if key in CARRIED:
                    left.append(str(key))
                else:
                    walk(value, f"{name}[{key}]" if name else str(key))
        elif tree is not None:
            left.append(name or "output")

    walk(out, "")
    if own_loss(tensors):
        left += [name for name in tensors if name != OWN_LOSS]
        tensors = {OWN_LOSS: tensors[OWN_LOSS]}
    return tensors, tuple(left)


def own_loss(outputs: Mapping[str, torch.Tensor]) -> bool:
    """Whether a module computes its loss itself: one of its outputs is called so, and is a number, or one an example.

    So do the models of transformers where they are given labels.  Training goes down this output alone.
    """
    return OWN_LOSS in outputs and (outputs[OWN_LOSS].ndim < 2 or outputs[OWN_LOSS].numel() == 1)


def whole_numbers(out: Any) -> list[torch.Tensor]:
    """The tensors of integers and truth values in what a module gave: codes, choices, masks; not what is `CARRIED`."""
    inside = named_items(out)
    if inside is not None:
        return [t for key, value in inside.items() if key not in CARRIED for t in whole_numbers(value)]
    whole = isinstance(out, torch.Tensor) and not (out.is_floating_point() or out.is_complex())
    return [out] if whole else []


def is_empty(value: Any) -> bool:
    """Whether something is a tensor without entries; nothing is asked of sizes that depend on values."""
    return isinstance(value, torch.Tensor) and any(type(n) is int and n == 0 for n in value.shape)


def named_items(out: Any) -> dict[Any, Any] | None:
    """What a mapping, a tuple, a list or a dataclass holds, by key, field or number; None for anything else."""
    if isinstance(out, Mapping):
        return dict(out)
    if isinstance(out, tuple) and hasattr(out, "_fields"):
        return dict(zip(out._fields, out, strict=True))
    if isinstance(out, (tuple, list)):
        return dict(enumerate(out))
    if dataclasses.is_dataclass(out) and not isinstance(out, type):
        return {f.name: getattr(out, f.name, None) for f in dataclasses.fields(out)}
    return None


def named_outputs(module: torch.nn.Module, out: Any) -> dict[str, torch.Tensor]:
    """The tensors of real numbers that a module gave, by name (see `outputs_of`).

    Raises:
        TypeError: if there is none.
    """
    found, left = outputs_of(out)
    if not found and (empty := why_empty(module, out)):
        raise TypeError(empty)
    if not found:
        kinds = f" ({', '.join(left)})" if left else ""
        raise TypeError(
            f"{type(module).__name__} gives a {type(out).__name__}{kinds}, expected a tensor of real numbers, or "
            "tuples, lists, dicts or dataclasses of them; wrap it in a module that picks the outputs"
        )
    return found


def why_empty(module: torch.nn.Module, out: Any) -> str:
    """What is said about an output that is a tensor without entries, as of a batch of no examples; else nothing."""
    tensors = [out] if is_empty(out) else [t for t in (named_items(out) or {}).values() if is_empty(t)]
    if not tensors:
        return ""
    return f"{type(module).__name__} gives a tensor without entries, of shape {tuple(tensors[0].shape)}; {NO_EXAMPLE}"


__all__ = [
    "CARRIED",
    "NO_EXAMPLE",
    "is_empty",
    "named_items",
    "named_outputs",
    "outputs_of",
    "own_loss",
    "whole_numbers",
    "why_empty",
]
