"""Which entries a network instantiates, law by law: laws with equal signatures are one law in two networks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from lawful.blocks import Signal
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.derive import derive
from lawful.graph.questions.reading import NetworkLike
from lawful.theory.arguments import of_right_kinds, plural
from lawful.theory.derive.lawset import LawSet
from lawful.theory.laws.law import Law
from lawful.theory.laws.pages import Printed
from lawful.theory.typed import typed

from .entry import Entry
from .find import search
from .own import as_architecture
from .settings.groups import settings
from .signature import signature
from .store import laws as catalog_laws


@dataclass(frozen=True)
@of_right_kinds
class Match:
    """A law of a network and the entry that states it.

    Attributes:
        law: the law.
        entry: the entry with the same terms on the same blocks; None where the catalog has none.
        near: where `entry` is None, the entry of the same kind that shares most of its blocks; None for none.
    """

    law: Law
    entry: Entry | None
    near: Entry | None = None

    def __str__(self) -> str:
        if self.entry is not None:
            return f"{self.law.name}: {self.entry.id}"
        return f"{self.law.name}: no entry states it" + (f"; near is {self.near.id}" if self.near else "")


class Matches(Printed, list[Match]):
    """The laws of a network with their entries, in the order of the laws.

    Attributes:
        laws: all laws of the network.
        notes: why some may be missing.
    """

    def __init__(self, found: list[Match], laws: LawSet) -> None:
        super().__init__(found)
        self.laws = laws
        self.notes = tuple(laws.notes)

    @property
    def gist(self) -> str:
        """How many of the laws an entry states."""
        return f"{sum(m.entry is not None for m in self)} of {plural(len(self), 'law')} stated by entries"

    def __str__(self) -> str:
        runs: dict[tuple[str, str], int] = {}
        for m in self:
            name = re.sub(r"(?<![A-Za-z])\d+(?![A-Za-z])", "*", m.law.name)
            said = m.entry.id if m.entry else "no entry states it" + (f"; near is {m.near.id}" if m.near else "")
            runs[name, said] = runs.get((name, said), 0) + 1
        lines = [f"{name}{f' ({n} times)' if n > 1 else ''}: {said}" for (name, said), n in runs.items()]
        return "\n".join([*lines, *self.notes]) or "the network has no law"


@typed()
def for_network(
    network: NetworkLike,
    loss: str = "mse",
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    input: Signal | None = None,
) -> Matches:
    """The entries that a network instantiates, law by law.

    Args:
        network: an expression of blocks, an architecture, a spec, or a torch module with `args`.
        loss: the loss it is trained with.
        args: what a module reads.
        kwargs: the same by name.
        input: what an expression of blocks reads, where its first block does not say.
    """
    arch = as_architecture(network, "for_network", args, kwargs, input)
    found = derive(arch, loss)
    return Matches([_match(law, arch) for law in found], found)


def _match(law: Law, arch: Architecture) -> Match:
    mark = signature(law, arch)
    same = _signatures().get(mark)
    if same is not None:
        return Match(law, same)
    return Match(law, None, _nearest(mark))


@cache
def _signatures() -> Mapping[str, Entry]:
    """The plainest entry for each signature: of the network with the fewest kinds of blocks, of those the first."""
    order = {s.name: i for i, s in enumerate(settings())}
    found: dict[str, Entry] = {}
    for e in sorted(catalog_laws(), key=lambda e: (len(e.blocks), order.get(e.setting, len(order)), e.id)):
        if e.signature:
            found.setdefault(e.signature, e)
    return found


def _nearest(mark: str) -> Entry | None:
    kind, terms, sites = (part.strip() for part in mark.split("|"))
    wanted = {*terms.split(), *sites.split()}

    def shared(other: str) -> float:
        head, terms, sites = (part.strip() for part in other.split("|"))
        said = {*terms.split(), *sites.split()}
        same = len(wanted & said) / len(wanted | said)
        return same if head == kind else same / 2 if head.split()[0] == kind.split()[0] else 0.0

    best = max(_signatures().items(), key=lambda item: (shared(item[0]), -len(item[1].id)), default=None)
    return best[1] if best and shared(best[0]) >= 0.3 else None


@typed()
def for_module(module: Any) -> list[Entry]:
    """The entries about a torch module or a class of modules: `nn.MultiheadAttention`, `nn.LayerNorm(8)`.

    Args:
        module: a class of torch modules, a module, a block of lawful, or its name.

    Raises:
        ValueError: where no entry is about it.
    """
    kind = module if isinstance(module, (type, str)) else type(module)
    name = kind if isinstance(kind, str) else kind.__name__
    found = search(name)
    if found.nearest:
        raise ValueError(
            f"no entry of the catalog is about {name}; lw.catalog.ask(module, args=...) derives its laws, "
            "lw.catalog.search(...) finds entries by words"
        )
    return [e for e in found if e.is_law] or list(found)
