"""Entries for networks that the catalog does not have: derived, and where that is asked for verified and counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import check
from lawful.graph.questions.check_report import CheckReport
from lawful.graph.questions.derive import architecture_of, derive
from lawful.graph.questions.reading import NetworkLike, network_of
from lawful.theory.arguments import plural
from lawful.theory.laws.law import Law
from lawful.theory.laws.pages import Printed
from lawful.theory.typed import typed, typed_methods

from .entry import Entry
from .generate import NO_LAW
from .optimizers import fate
from .record import EPSILON, Certificate
from .shelf import OWN, checked_name
from .signature import signature, sites

ANY_LOSS = "any differentiable loss of the output"


@typed_methods()
class Answer(Printed, list[Entry]):
    """What the catalog derived: the laws of a network as entries, and the check of the whole.

    Attributes:
        report: what was derived, verified and counted.
    """

    def __init__(self, found: Sequence[Entry], report: CheckReport) -> None:
        super().__init__(found)
        self.report = report

    @property
    def gist(self) -> str:
        """How many entries, and the verdict on the network."""
        return f"{plural(len(self), 'entry', 'entries')}, {self.report.outcome}"

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self), self.report.summary])


@typed()
def ask(
    network: NetworkLike,
    loss: str = "mse",
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    input: b.Signal | None = None,
    name: str = "asked",
) -> Answer:
    """The laws of a network that no entry is about, in the form of entries: derived, verified and counted.

    Args:
        network: an expression of blocks, an architecture, a spec, or a torch module with `args`.
        loss: the loss.
        args: what a module reads.
        kwargs: the same by name.
        input: what an expression of blocks reads, where its first block does not say.
        name: what the entries are called.

    Returns:
        The entries; `report` is the check, and prints what is known of the whole list.
    """
    if isinstance(network, torch.nn.Module):  # itself, so that its other calls are tried too
        found = check(network, loss, args=args, kwargs=kwargs)
    else:
        found = check(as_architecture(network, "ask", args, kwargs, input), loss)
    return Answer(entries_of(found.arch, name, loss, found), found)


def as_architecture(
    network: NetworkLike,
    where: str,
    args: torch.Tensor | Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    input: b.Signal | None,
) -> Architecture:
    """An architecture from whatever describes a network; `where` is the function that was called, for messages."""
    if isinstance(network, b.Net):
        return Architecture(network, input=input)
    return architecture_of(network_of(network, where), args, kwargs)


def entries_of(arch: Architecture, name: str, loss: str = "mse", checked: CheckReport | None = None) -> list[Entry]:
    """The laws of a network as entries `own/NAME/kind/wire`.

    Args:
        arch: the network.
        name: what it is called.
        loss: its loss.
        checked: what `check` said of it; without it the entries say that nothing was measured.

    Raises:
        ShelfError: for a name that cannot be kept.
    """
    checked_name(name)
    laws = checked.laws if checked is not None else derive(arch, loss)
    kinds = tuple(sorted({arch.block(n).kind for n in arch.nodes}))
    known = _certificates(checked)
    marks: dict[tuple[str, ...], tuple[tuple[str, ...], str]] = {}  # once for the same law of all layers

    def mark(law: Law, text: str) -> tuple[tuple[str, ...], str]:
        key = (layers(law.name), law.algebra, layers(text))
        if key not in marks:
            marks[key] = (tuple(sites(law, arch)), signature(law, arch))
        return marks[key]

    notes = tuple(f"laws may be missing: {note}" for note in laws.notes)

    def entry(law: Law) -> Entry:
        what, text = fate(law), law.short
        touches, signed = mark(law, text)
        wire = law.name.split(" ", 1)[1].removeprefix("of ").replace(" ", "-").replace("/", "|")
        epsilon = () if law.exact else (f"{EPSILON} under the root of a norm; with epsilon > 0 it holds approximately",)
        return Entry(
            id=f"{OWN}/{name}/{law.kind}/{wire}",
            kind=law.kind,
            title=f"{law.name} in {name}",
            statement_text=text,
            statement_latex=law.short_latex,
            source="lawful",
            setting=name,
            group="Your networks",
            network=name,
            blocks=kinds,
            touches=touches,
            loss=loss,
            wire=law.wire,
            algebra=law.algebra,
            parameters=law.parameters,
            hypotheses=("gradient flow on any data set", f"loss {loss}", *epsilon, *notes),
            count_formula=f"{law.count:,}",
            independent_formula=f"{law.independent:,}" if law.independent != law.count else "",
            momentum=what.momentum,
            decay=what.decay,
            adam=what.adam,
            signature=signed,
            certificate=known(law.name),
        )

    made = [entry(law) for law in laws]
    if made:
        return made
    none = known("")
    said = NO_LAW if none is not None else "no conserved quantity was derived; whether one is missing was not counted"
    return [
        Entry(
            id=f"{OWN}/{name}/none",
            kind="none",
            title=f"{name} has no law" if none is not None else f"no law was derived for {name}",
            statement_text=said,
            statement_latex=r"\text{no conserved quantity}",
            source="lawful",
            setting=name,
            group="Your networks",
            network=name,
            blocks=kinds,
            loss=loss,
            algebra="Nothing",
            hypotheses=("gradient flow on any data set", f"loss {loss}", *notes),
            count_formula="0",
            certificate=none,
        )
    ]


def _certificates(checked: CheckReport | None) -> Callable[[str], Certificate | None]:
    """The certificate of each law of a network that was itself verified and counted, and is complete."""
    if checked is None or checked.count is None or checked.copied or checked.complete is not True:
        return lambda law: None
    count = checked.count
    rows = {r.law: r for r in checked.report.laws}

    def certificate(law: str) -> Certificate | None:
        row = rows.get(law)
        if law and (row is None or not row.verdict.passed):
            return None
        return Certificate(
            sizes={},
            parameters=count.parameters,
            seed=0,
            samples=1,
            residual=float(f"{row.residual:.1e}") if row else 0.0,
            control=float(f"{row.control:.1e}") if row else 0.0,
            engine=checked.small_laws.independent,
            oracle=count.laws,
            ranks=tuple(count.ranks),
            gap=float(f"{count.gap:.0e}"),
            verdict=str(row.verdict if row else count.verdict),
            version=version("lawful"),
        )

    return certificate


def layers(text: str) -> str:
    """A name with `*` for its numbers."""
    return re.sub(r"(?<![A-Za-z])\d+(?![A-Za-z])", "*", text)
