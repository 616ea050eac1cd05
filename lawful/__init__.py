"""Which quantities does training a neural network conserve, why, and is the list complete?

`import lawful as lw` is instant: torch and everything else is loaded when a name is first used.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawful import blocks, catalog, dynamics, testing
    from lawful.dynamics.ledger import Ledger
    from lawful.graph import families
    from lawful.graph.architecture.architecture import Architecture
    from lawful.graph.questions import flows
    from lawful.graph.questions.certificate import Certificate, certificate
    from lawful.graph.questions.check import CheckReport, check, verify
    from lawful.graph.questions.count import count
    from lawful.graph.questions.derive import derive
    from lawful.graph.questions.lora import lora
    from lawful.graph.questions.parameters import ParameterCount, parameter_count
    from lawful.graph.questions.search import search_laws
    from lawful.graph.tracing import Trace, TraceError, register_op, trace
    from lawful.theory import losses
    from lawful.theory.derive.lawset import LawSet
    from lawful.theory.laws.law import Law
    from lawful.theory.oracle.counting import Count
    from lawful.theory.oracle.verification import Report
    from lawful.theory.search import PolynomialLaws
    from lawful.theory.verdict import Verdict

__version__ = version("lawful")

_HOMES = {
    "Architecture": "lawful.graph.architecture.architecture",
    "Certificate": "lawful.graph.questions.certificate",
    "CheckReport": "lawful.graph.questions.check",
    "Count": "lawful.theory.oracle.counting",
    "Law": "lawful.theory.laws.law",
    "Ledger": "lawful.dynamics.ledger",
    "LawSet": "lawful.theory.derive.lawset",
    "PolynomialLaws": "lawful.theory.search",
    "ParameterCount": "lawful.graph.questions.parameters",
    "Report": "lawful.theory.oracle.verification",
    "Verdict": "lawful.theory.verdict",
    "certificate": "lawful.graph.questions.certificate",
    "check": "lawful.graph.questions.check",
    "count": "lawful.graph.questions.count",
    "derive": "lawful.graph.questions.derive",
    "lora": "lawful.graph.questions.lora",
    "parameter_count": "lawful.graph.questions.parameters",
    "Trace": "lawful.graph.tracing",
    "TraceError": "lawful.graph.tracing",
    "register_op": "lawful.graph.tracing",
    "search_laws": "lawful.graph.questions.search",
    "trace": "lawful.graph.tracing",
    "verify": "lawful.graph.questions.check",
}
_MODULES = {
    "blocks": "lawful.blocks",
    "catalog": "lawful.catalog",
    "dynamics": "lawful.dynamics",
    "families": "lawful.graph.families",
    "flows": "lawful.graph.questions.flows",
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
    "Ledger",
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
    "dynamics",
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
