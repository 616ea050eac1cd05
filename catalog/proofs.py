"""The law behind an entry, derived again: its proof, its sympy formula, its values on parameters."""

from __future__ import annotations

from lawful.graph.questions.derive import derive
from lawful.theory.laws.law import Law
from lawful.theory.typed import typed

from .entry import Entry
from .find import get
from .settings.groups import settings


@typed()
def law_of(entry: Entry | str) -> Law:
    """The law that an entry states, on the network of its certificate.

    Args:
        entry: an entry or its id.

    Returns:
        The law; `proof` is why it holds, `formula` a sympy expression.

    Raises:
        ValueError: for an entry that is no law of a network of the catalog.
        KeyError: for an id that does not exist; names those that are close.
    """
    found = get(entry) if isinstance(entry, str) else entry
    setting = {s.name: s for s in settings()}.get(found.setting)
    if setting is None or not found.is_law:
        raise ValueError(f"{found.id} is no law of a network of the catalog; `related` and `evidence` name such laws")
    for law in derive(setting.architecture(**setting.sizes), setting.loss):
        if law.short == found.statement_text:
            return law
    raise ValueError(f"{found.id} says that there is no law, so there is no proof; its certificate counts none")
