"""The law catalog: ask it in words, trust it by its certificates, keep your own laws beside it.

Answers: which quantity does training conserve here, and what does an optimizer do to it?
Imports: `lawful.graph` where laws are derived; reading and searching the entries needs neither torch nor sympy.
Read first: `entry`, then `find`; `build` generates the laws, `data/` holds them as JSON, one file for each group.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lawful.theory.arguments import no_such

from .bibliography import Source, sources
from .entry import Entry
from .fates import OPTIMIZERS, OptimizerFate
from .find import between, get, search, which_laws_break
from .found import Found
from .record import Certificate
from .store import entries, laws

if TYPE_CHECKING:
    from .match import Match, for_module, for_network
    from .own import Answer, ask
    from .proofs import law_of
    from .verify import verify

_LATER = {  # they derive, so they load torch
    "Answer": "own",
    "Match": "match",
    "ask": "own",
    "for_module": "match",
    "for_network": "match",
    "law_of": "proofs",
    "verify": "verify",
}

__all__ = [
    "OPTIMIZERS",
    "Answer",
    "Certificate",
    "Entry",
    "Found",
    "Match",
    "OptimizerFate",
    "Source",
    "ask",
    "between",
    "entries",
    "for_module",
    "for_network",
    "get",
    "law_of",
    "laws",
    "search",
    "sources",
    "verify",
    "which_laws_break",
]


def __getattr__(name: str) -> Any:
    """Loads what derives when it is first used (PEP 562)."""
    if name not in _LATER:
        raise no_such("lawful.catalog", name, __all__)
    value = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    if name != "verify":  # the module of that name stands in its place once it is loaded
        globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
