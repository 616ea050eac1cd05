"""Answers of the catalog: entries, best first, and how the question was read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from lawful.theory.arguments import plural
from lawful.theory.typed import typed_methods

from .entry import Entry
from .fates import OPTIMIZERS
from .html import item
from .page import short

HOLDS = (  # what can be asked, where something else was
    "it holds conservation laws of blocks and of published networks, theorems and claims of papers on them, and what "
    f"these do to them: {', '.join(OPTIMIZERS.values())}"
)


@dataclass(frozen=True)
class Understood:
    """How a question was read.

    Attributes:
        optimizer: the optimizer that it names, empty for none.
        loss: the loss that it names, empty for none.
        between: the two blocks it asks between.
        corrected: words that were read as others.
        unknown: words that no entry has.
        beside: other optimizers that it names; what is said of `optimizer` is without them.
    """

    optimizer: str = ""
    loss: str = ""
    between: tuple[str, str] | None = None
    corrected: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"read {a!r} as {b!r}" for a, b in self.corrected]
        parts += [f"optimizer: {OPTIMIZERS[self.optimizer]}"] if self.optimizer else []
        if self.beside:
            named = ", ".join(OPTIMIZERS[key] for key in self.beside)
            parts.append(f"also named, and no part of what is said here: {named}")
        parts += [f"loss: {self.loss}"] if self.loss else []
        parts += [f"between {self.between[0]} and {self.between[1]}"] if self.between else []
        parts += [f"nothing is known of {', '.join(map(repr, self.unknown))}"] if self.unknown else []
        return "; ".join(parts)


@typed_methods()
class Found(list[Entry]):
    """Entries, best first.

    Attributes:
        nearest: True where nothing answers, and the entries are only the nearest.
        understood: how the question was read.
    """

    def __init__(self, found: Iterable[Entry], nearest: bool = False, understood: Understood | None = None) -> None:
        super().__init__(found)
        self.nearest = nearest
        self.understood = understood or Understood()

    def __str__(self) -> str:
        return _listing(self)

    def _repr_html_(self) -> str:
        items = "".join(item(e, self.understood.optimizer) for e in self)
        said = escape(str(self.understood))
        near = f"<p>Nothing in the catalog answers this; {escape(HOLDS)}. The nearest entries are:</p>"
        near = near if self.nearest else ""
        return f'<div class="lawful-found">{f"<p>{said}</p>" if said else ""}{near}<ol>{items}</ol></div>'


def _listing(found: Found) -> str:
    """A list of entries: what each states, and what the optimizer in question does to it."""
    lines = [f"({found.understood})"] if str(found.understood) else []
    if found.nearest:
        lines += ["nothing in the catalog answers this", HOLDS, *["the nearest entries are:"][: len(found)]]
    elif not found:
        lines.append("nothing found")
    else:
        lines.append(plural(len(found), "entry", "entries"))
    for i, e in enumerate(found, 1):
        lines += [
            f"{i:>2}. {e.id}",
            f"    {e.title}",
            *(f"    {line}" for line in short(e, found.understood.optimizer)),
        ]
    if found.nearest:
        lines.append("to derive the laws of a network: lw.catalog.ask(network), or lawful catalog ask SPEC")
        lines.append("to measure what any other optimizer does to them: lw.Ledger around your training loop")
    return "\n".join(lines)
