"""Which parameter of a wrapped model a law speaks of.

`torch.compile`, data parallel and sharded wrappers, checkpointing and PEFT put words into the names of parameters; a
law was derived from the model inside, or from the model as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch

from lawful.theory.laws.law import Law
from lawful.theory.parts import base

_WORDS = re.compile(
    r"(^|\.)(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|base_layer)(?=\.)"
)
_PEFT = re.compile(r"^base_model\.model\.")
_ADAPTER = re.compile(r"(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector)\.[^.]+(?=\.|$)")


def bare(name: str) -> str:
    """A parameter's name without the words of wrappers."""
    while (shorter := _WORDS.sub(r"\1", name).replace("..", ".").removeprefix(".")) != name:
        name = shorter
    return _ADAPTER.sub(r"\1", _PEFT.sub("", name)).replace("parametrizations.", "")


def watched(model: torch.nn.Module, laws: Sequence[Law]) -> dict[str, torch.nn.Parameter]:
    """The parameters that some laws read, by the names that the laws use.

    Args:
        model: the model, wrapped or not.
        laws: laws of it, of the model inside its wrappers, or of one submodule.

    Raises:
        ValueError: if the model has no such parameter; names it, and what the model has.
    """
    wanted = list(dict.fromkeys(base(n) for law in laws for n in law.parameters))
    have = dict(model.named_parameters(remove_duplicate=False))
    plain = {bare(n): p for n, p in have.items()}
    for prefix in _prefixes(wanted, plain):
        found = [have.get(n, plain.get(prefix + bare(n))) for n in wanted]
        if all(p is not None for p in found):
            return {n: p for n, p in zip(wanted, found, strict=True) if p is not None}
    missing = [n for n in wanted if n not in have and bare(n) not in plain]
    shown = ", ".join(sorted(plain)[:8])
    raise ValueError(
        f"the laws read {missing[0] if missing else wanted[0]!r}, which the model does not have; it has {shown}; "
        "pass the model that the laws were derived from, wrapped or not"
    )


def _prefixes(wanted: Sequence[str], plain: Iterable[str]) -> list[str]:
    """What may stand before the names of the laws: nothing, or the place of a submodule."""
    if not wanted:
        return [""]
    end = bare(wanted[0])
    return ["", *(n.removesuffix(end) for n in plain if n.endswith("." + end))]
