"""What optimizers do to laws: exact identities of their steps, the ledger, closed forms, and callbacks for loops.

Everything is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lawful.theory.arguments import no_such

if TYPE_CHECKING:
    from lawful.dynamics import callbacks, loggers, predict
    from lawful.dynamics.findings import Finding
    from lawful.dynamics.ledger import Ledger

__all__ = ["Finding", "Ledger", "callbacks", "loggers", "predict"]

_HOMES = {"Finding": "findings", "Ledger": "ledger"}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used (PEP 562)."""
    if name in _HOMES:
        value: Any = getattr(importlib.import_module(f"lawful.dynamics.{_HOMES[name]}"), name)
    elif name in __all__:
        value = importlib.import_module(f"lawful.dynamics.{name}")
    else:
        raise no_such("lawful.dynamics", name, __all__)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
