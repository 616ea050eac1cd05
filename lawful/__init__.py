"""Which quantities does training a neural network conserve, why, and is the list complete?

`import lawful as lw` is instant: torch and everything else is loaded when a name is first used.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawful import blocks, catalog, testing
    from lawful.graph import families, flows
    from lawful.graph.architecture import Architecture
    from lawful.graph.certificate import Certificate, certificate
    from lawful.graph.check import CheckReport, check, verify
    from lawful.graph.counting import count
    from lawful.graph.engine import derive
    from lawful.graph.lora import lora
    from lawful.graph.parameters import ParameterCount, parameter_count
    from lawful.graph.search import search_laws
    from lawful.graph.tracing import Trace, TraceError, register_op, trace
    from lawful.theory import losses
    from lawful.theory.laws import Law
    from lawful.theory.lawset import LawSet
    from lawful.theory.oracle import Count
    from lawful.theory.search import PolynomialLaws
    from lawful.theory.verdict import Verdict
    from lawful.theory.verification import Report

__version__ = version("lawful")

_HOMES = {
    "Architecture": "lawful.graph.architecture",
    "Certificate": "lawful.graph.certificate",
    "CheckReport": "lawful.graph.check",
    "Count": "lawful.theory.oracle",
    "Law": "lawful.theory.laws",
    "LawSet": "lawful.theory.lawset",
    "PolynomialLaws": "lawful.theory.search",
    "ParameterCount": "lawful.graph.parameters",
    "Report": "lawful.theory.verification",
    "Verdict": "lawful.theory.verdict",
    "certificate": "lawful.graph.certificate",
    "check": "lawful.graph.check",
    "count": "lawful.graph.counting",
    "derive": "lawful.graph.engine",
    "lora": "lawful.graph.lora",
    "parameter_count": "lawful.graph.parameters",
    "Trace": "lawful.graph.tracing",
    "TraceError": "lawful.graph.tracing",
    "register_op": "lawful.graph.tracing",
    "search_laws": "lawful.graph.search",
    "trace": "lawful.graph.tracing",
    "verify": "lawful.graph.check",
}
_MODULES = {
    "blocks": "lawful.blocks",
    "catalog": "lawful.catalog",
    "families": "lawful.graph.families",
    "flows": "lawful.graph.flows",
    "losses": "lawful.theory.losses",
    "testing": "lawful.testing",
}

__all__ = [
    "Architecture",
    "Certificate",
    "CheckReport",
    "Count",
    "Law",
    "LawSet",
    "ParameterCount",
    "PolynomialLaws",
    "Report",
    "Trace",
    "TraceError",
    "Verdict",
    "__version__",
    "blocks",
    "catalog",
    "certificate",
    "check",
    "count",
    "derive",
    "families",
    "flows",
    "lora",
    "losses",
    "parameter_count",
    "register_op",
    "search_laws",
    "testing",
    "trace",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used (PEP 562)."""
    if name in _MODULES:
        value: Any = importlib.import_module(_MODULES[name])
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"lawful has no attribute {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
