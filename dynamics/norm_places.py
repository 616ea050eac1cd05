"""Which module of a model is the norm that a law speaks of."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

from .names import bare
from .norm_forms import KNOWN, epsilon_of


def norms_of(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that do nothing but normalise, by their bare names."""
    out = {}
    for name, module in model.named_modules():
        small = all(p.ndim <= 1 for p in module.parameters()) or isinstance(module, nn.LayerNorm)
        said = epsilon_of(module) is not None or (type(module) not in KNOWN and any(True for _ in module.parameters()))
        if "norm" in type(module).__name__.lower() and said and small:
            out[bare(name)] = module
    return out


def place_of(site: str, modules: Mapping[str, nn.Module]) -> str | None:
    """The norm that a block of the laws is, in a model that may be wrapped or hold it as a part."""
    plain = re.sub(r"#\d+$", "", site)
    at = [n for n in modules if plain == n or plain.startswith(n + ".")]
    if not at:
        at = [n for n in modules if n.endswith("." + plain) or any(n.endswith("." + p) for p in _heads(plain))]
        at = at if len(at) == 1 else []
    return max(at, key=len) if at else None


def _heads(name: str) -> list[str]:
    """What a name begins with, the longest first: `a.b.c` gives `a.b`."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(len(parts) - 1, 1, -1)]
