"""Hooks of one module: a copy of the module, and what is saved of it, does not have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class Hook:
    """A hook that is called for one module and is not copied with it (an EMA copies the whole model).

    Args:
        module: the module.
        call: what is called, with the arguments of the hook.
    """

    def __init__(self, module: nn.Module, call: Callable[..., Any]) -> None:
        self.module, self.call = module, call

    def __call__(self, module: nn.Module, *args: Any) -> Any:
        """Calls it, for the module."""
        return self.call(module, *args) if module is self.module else None

    def __deepcopy__(self, memo: Any) -> Any:
        return nothing

    def __reduce__(self) -> Any:
        return _gone, ()


class Unsaved(dict[str, Any]):
    """A dict that is empty in copies."""

    def __deepcopy__(self, memo: Any) -> dict[str, Any]:
        return {}

    def __reduce__(self) -> Any:
        return dict, ()


def nothing(*_: Any) -> None:
    """What is left of a hook in a copy."""


def _gone() -> Any:
    return nothing
