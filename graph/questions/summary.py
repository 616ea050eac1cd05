"""A network as a table: one row per module, with its parameters, the laws it takes part in, and what is in none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import torch

from lawful.theory.arguments import plural
from lawful.theory.derive.lawset import LawSet
from lawful.theory.laws.notes import once
from lawful.theory.laws.pages import lines, table
from lawful.theory.losses import LossLike
from lawful.theory.parts import base

from ..architecture.architecture import Architecture
from ..architecture.module import Network
from .derive import architecture_of, derive
from .reading import NetworkLike, question

MOST = 3  # laws that a row names


@dataclass(frozen=True)
class Row:
    """One module.

    Attributes:
        module: its path, or the node of a composed network.
        kind: its class.
        parameters: number of its own scalars.
        frozen: how many of them training does not move.
        laws: names of the laws that read them.
        untouched: its own parameters that no law reads, by local name.
    """

    module: str
    kind: str
    parameters: int
    frozen: int
    laws: tuple[str, ...]
    untouched: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """What a table shows of it."""
        shown = ", ".join(self.laws[:MOST]) + (f" and {len(self.laws) - MOST} more" if len(self.laws) > MOST else "")
        still = f" ({self.frozen:,} frozen)" if self.frozen else ""
        return self.module, self.kind, f"{self.parameters:,}{still}", shown or "-", ", ".join(self.untouched) or "-"


@dataclass(frozen=True)
class Summary:
    """A table of modules; `print` it.

    Attributes:
        rows: one for every module with parameters of its own.
        laws: the laws of the network.
    """

    rows: tuple[Row, ...]
    laws: LawSet

    HEAD = ("module", "type", "parameters", "takes part in", "in no law")

    @property
    def total(self) -> str:
        """Parameters and laws in one line."""
        size, lost = sum(r.parameters for r in self.rows), sum(bool(r.untouched) for r in self.rows)
        return (
            f"{plural(size, 'parameter')} in {plural(len(self.rows), 'module')}; "
            f"{plural(self.laws.count, 'scalar law')} in {plural(len(self.laws), 'family', 'families')}, "
            f"{self.laws.independent:,} independent; {plural(lost, 'module has', 'modules have')} parameters in no law"
        )

    def __str__(self) -> str:
        cells = [self.HEAD, *(r.cells for r in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.HEAD))]
        text = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join([text[0], "-" * max(map(len, text)), *text[1:], self.total, *once(self.laws.notes)])

    def _repr_html_(self) -> str:
        return table(self.HEAD, (tuple(map(escape, r.cells)) for r in self.rows), self.total) + lines(
            once(self.laws.notes)
        )


@question()
def summary(
    network: NetworkLike,
    loss: LossLike = "mse",
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Summary:
    """What every module of a network has to do with its laws.

    Args:
        network: an architecture, an expression of blocks, a torch module or a spec.
        loss: the loss of every output (see `derive`).
        args: example inputs of a module.
        kwargs: its keyword inputs.

    Returns:
        A table to be printed, with `rows` and `laws`.

    Raises:
        ShapeError: as `derive`.

    >>> from lawful import blocks as b
    >>> print(summary(b.chain(fc1=b.Linear(3, 4), act=b.GELU(), fc2=b.Linear(4, 2))).rows[0].untouched)
    ('weight', 'bias')
    """
    assert isinstance(network, Architecture | torch.nn.Module)
    laws = derive(network, loss, args=args, kwargs=kwargs)
    arch = architecture_of(network, tuple(args), kwargs)
    module = network if isinstance(network, torch.nn.Module) and not isinstance(network, Network) else None
    return Summary(tuple(_rows(arch, laws, module)), laws)


def _rows(arch: Architecture, laws: LawSet, module: torch.nn.Module | None) -> Iterator[Row]:
    readers: dict[str, list[str]] = {}
    for law in laws:
        for name in dict.fromkeys(base(n) for n in law.parameters):
            readers.setdefault(name, []).append(law.name)
    if module is not None:
        sizes = {n: (p.numel(), not p.requires_grad) for n, p in module.named_parameters()}
        kinds = {n: type(m).__name__ for n, m in module.named_modules()}
        known = {id(p): n for n, p in module.named_parameters()}
        used = {n: [known[id(p)] for p in m._parameters.values() if p is not None] for n, m in module.named_modules()}
    else:
        sizes = {n: (p.size, n in arch.frozen) for n, p in arch.parameters.items()}
        kinds = {n: arch.block(n).kind for n in arch.nodes}
        used = {n: list(arch.parameter_names(n).values()) for n in arch.nodes}
    owned: dict[str, list[str]] = {}
    for name in sizes:
        owned.setdefault(name.rpartition(".")[0], []).append(name)
    for owner, names in owned.items():
        found = dict.fromkeys(law for n in names for law in readers.get(n, ()))
        untouched = tuple(n.rpartition(".")[2] for n in names if n not in readers)
        frozen = sum(sizes[n][0] for n in names if sizes[n][1])
        size = sum(sizes[n][0] for n in names)
        yield Row(owner or "(the module itself)", kinds.get(owner, ""), size, frozen, tuple(found), untouched)
    for name, kind in kinds.items():  # a tied head has no parameter of its own, and takes part in laws all the same
        if used[name] and name not in owned:
            found = dict.fromkeys(law for n in used[name] for law in readers.get(n, ()))
            yield Row(name, f"{kind}, tied to {', '.join(used[name])}", 0, 0, tuple(found), ())
