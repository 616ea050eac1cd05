"""Whether a module is in other modes than when its laws were derived: a BatchNorm has other laws in evaluation."""

from __future__ import annotations

from collections.abc import Collection

import torch


def since(module: torch.nn.Module, evaluated: Collection[str] | None) -> str:
    """Says which parts of a module that read their mode are in another one; empty if none is.

    Args:
        module: the module now.
        evaluated: the parts that were in evaluation mode; where that is not known, laws are those of training.
    """
    parts = dict(module.named_modules())
    now = {n for n, part in parts.items() if not part.training}
    other = [n for n in parts if n in now.symmetric_difference(evaluated or ()) and _reads_mode(type(parts[n]))]
    if not other:
        return ""
    mode = "evaluation" if other[0] in now else "training"
    more = f" and {len(other) - 1} more are" if len(other) > 1 else " is"
    return f"{other[0] or type(module).__name__}{more} in {mode} mode now"


def _reads_mode(kind: type) -> bool:
    """Whether the code of a class of modules reads `training`; yes where no code is seen."""
    if not issubclass(kind, torch.nn.Module) or issubclass(kind, torch.jit.ScriptModule):
        return True
    own = [c for c in kind.__mro__ if c not in torch.nn.Module.__mro__]
    codes = [getattr(f, "__code__", None) for c in own for f in vars(c).values()]
    return any("training" in code.co_names for code in codes if code is not None)


__all__ = ["since"]
