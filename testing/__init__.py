"""Hypothesis strategies, assertions and the pytest plugin.

Everything is loaded when it is first used: pytest imports this package in every run, also where nobody asks for laws.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lawful.theory.arguments import no_such

if TYPE_CHECKING:
    from lawful.testing import strategies
    from lawful.testing.assertions import assert_lawful
    from lawful.testing.conserved import assert_conserved
    from lawful.testing.lock import assert_locked
    from lawful.testing.sets import assert_complete, assert_same_laws
    from lawful.testing.step import assert_same_step, assert_step_lawful
    from lawful.testing.symmetric import assert_symmetric

__all__ = [
    "assert_complete",
    "assert_conserved",
    "assert_lawful",
    "assert_locked",
    "assert_same_laws",
    "assert_same_step",
    "assert_step_lawful",
    "assert_symmetric",
    "strategies",
]

_HOMES = {
    "assert_complete": "sets",
    "assert_conserved": "conserved",
    "assert_lawful": "assertions",
    "assert_locked": "lock",
    "assert_same_laws": "sets",
    "assert_same_step": "step",
    "assert_step_lawful": "step",
    "assert_symmetric": "symmetric",
}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used (PEP 562)."""
    if name == "strategies":
        value: Any = importlib.import_module("lawful.testing.strategies")
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"lawful.testing.{_HOMES[name]}"), name)
    else:
        raise no_such("lawful.testing", name, __all__)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
