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
    from lawful.graph.questions.summary import summary
    from lawful.graph.tracing import Trace, TraceError, register_op, trace
    from lawful.page import report
    from lawful.symmetry import export
    from lawful.symmetry.align import align
    from lawful.symmetry.audit import Audit, audit
    from lawful.symmetry.balance import balance
    from lawful.symmetry.barrier import barrier, barriers
    from lawful.symmetry.equalise import equalise
    from lawful.symmetry.fold.folding import Folded, fold
    from lawful.symmetry.param_groups import param_groups
    from lawful.symmetry.same import same_function
    from lawful.symmetry.symmetries import Symmetries, symmetries
    from lawful.symmetry.symmetry import Symmetry
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
    "Audit": "lawful.symmetry.audit",
    "Certificate": "lawful.graph.questions.certificate",
    "CheckReport": "lawful.graph.questions.check",
    "Count": "lawful.theory.oracle.counting",
    "Folded": "lawful.symmetry.fold.folding",
    "Law": "lawful.theory.laws.law",
    "Ledger": "lawful.dynamics.ledger",
    "LawSet": "lawful.theory.derive.lawset",
    "ParameterCount": "lawful.graph.questions.parameters",
    "PolynomialLaws": "lawful.theory.search",
    "Report": "lawful.theory.oracle.verification",
    "Symmetries": "lawful.symmetry.symmetries",
    "Symmetry": "lawful.symmetry.symmetry",
    "Trace": "lawful.graph.tracing",
    "TraceError": "lawful.graph.tracing",
    "Verdict": "lawful.theory.verdict",
    "align": "lawful.symmetry.align",
    "audit": "lawful.symmetry.audit",
    "balance": "lawful.symmetry.balance",
    "barrier": "lawful.symmetry.barrier",
    "barriers": "lawful.symmetry.barrier",
    "certificate": "lawful.graph.questions.certificate",
    "check": "lawful.graph.questions.check",
    "count": "lawful.graph.questions.count",
    "derive": "lawful.graph.questions.derive",
    "equalise": "lawful.symmetry.equalise",
    "fold": "lawful.symmetry.fold.folding",
    "lora": "lawful.graph.questions.lora",
    "param_groups": "lawful.symmetry.param_groups",
    "parameter_count": "lawful.graph.questions.parameters",
    "register_op": "lawful.graph.tracing",
    "report": "lawful.page",
    "same_function": "lawful.symmetry.same",
    "search_laws": "lawful.graph.questions.search",
    "summary": "lawful.graph.questions.summary",
    "symmetries": "lawful.symmetry.symmetries",
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
    "export": "lawful.symmetry.export",
}

__all__ = [
    "Architecture",
    "Audit",
    "Certificate",
    "CheckReport",
    "Count",
    "Folded",
    "Law",
    "LawSet",
    "Ledger",
    "ParameterCount",
    "PolynomialLaws",
    "Report",
    "Symmetries",
    "Symmetry",
    "Trace",
    "TraceError",
    "Verdict",
    "__version__",
    "align",
    "audit",
    "balance",
    "barrier",
    "barriers",
    "blocks",
    "catalog",
    "certificate",
    "check",
    "count",
    "derive",
    "dynamics",
    "equalise",
    "export",
    "families",
    "flows",
    "fold",
    "lora",
    "losses",
    "param_groups",
    "parameter_count",
    "register_op",
    "report",
    "same_function",
    "search_laws",
    "summary",
    "symmetries",
    "testing",
    "trace",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used (PEP 562)."""
    if name in _MODULES or name in _HOMES:
        from lawful.graph.architecture.architecture import Architecture as Drawn
        from lawful.graph.questions.reading import read_specs_with

        from .drawn import paint
        from .specs import instance_of, load

        read_specs_with(load, instance_of)
        Drawn.painter = staticmethod(paint)
    if name in _MODULES:
        value: Any = importlib.import_module(_MODULES[name])
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise NoSuchName(name=name)
    globals()[name] = value
    return value


class NoSuchName(AttributeError):
    """A name that is not here.

    Where else it is, is looked up when somebody reads the message: `from lawful import specs` asks here first, and
    must not load everything.
    """

    def __str__(self) -> str:
        from lawful.theory.arguments import no_such

        name = str(self.name)
        if name.startswith("_") or not (homes := _homes(name)):
            return str(no_such("lawful", name, __all__))
        return f"lawful has no attribute {name!r}; it is {' or '.join(homes)}"


def _homes(name: str) -> list[str]:
    """Where else a name is: in a part of the library, as a method, as a command."""
    parts = [part for part in _MODULES if part != "losses"]  # whose names are about how losses are written
    homes = [f"lawful.{part}.{name}" for part in parts if name in importlib.import_module(_MODULES[part]).__all__]
    if homes:
        return homes
    from typer.main import get_command

    from lawful.graph.architecture.architecture import Architecture as Owner

    from .cli import app

    homes += [f"a method, lawful.Architecture(...).{name}"] * callable(getattr(Owner, name, None))
    return homes + [f"a command, lawful {name}"] * (name in getattr(get_command(app), "commands", ()))


def __dir__() -> list[str]:
    return sorted(__all__)
