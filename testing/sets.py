"""Assertions about whole sets of laws: two networks conserve the same, and a list is complete."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lawful.blocks import Net
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import check
from lawful.graph.questions.check_report import CheckReport
from lawful.graph.questions.derive import derive
from lawful.graph.questions.reading import network_of
from lawful.theory.arguments import plural
from lawful.theory.derive.lawset import LawSet
from lawful.theory.losses import LossLike
from lawful.theory.typed import typed

from .assertions import quiet

Network = Architecture | Net | torch.nn.Module | LawSet
SHOWN = 20  # lines of a difference
WIDEST = 200  # letters of a line


@quiet
@typed(skip=("loss", "axis"))
def assert_same_laws(
    one: Network,
    other: Network,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    loss: LossLike = "mse",
) -> None:
    """Fails unless two networks conserve the same: a refactor that changes a law is no refactor.

    Args:
        one: a module, an architecture, or laws that were derived.
        other: the other one, with the same names of parameters.
        args: example inputs of modules.
        kwargs: those by keyword.
        loss: see `derive`.

    Raises:
        AssertionError: which laws disappear, appear and change.
    """
    __tracebackhide__ = True
    first, second = (laws_of(n, args, kwargs, loss, "assert_same_laws") for n in (one, other))
    if first.loss != second.loss:
        raise ValueError(f"the laws are for different losses, {first.loss} and {second.loss}; derive both for one")
    lines = changes(statements(first), statements(second))
    if lines:
        head = f"the two do not conserve the same, from the first to the second: {lines.pop(0)}"
        rest = len(lines) - SHOWN
        shown = [*lines[:SHOWN], *([f"  ... and {plural(rest, 'more line')}"] if rest > 0 else [])]
        raise AssertionError("\n".join(line[:WIDEST] for line in [head, *shown]))


@quiet
@typed(skip=("loss", "axis"))
def assert_complete(
    network: Architecture | Net | torch.nn.Module,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    loss: LossLike = "mse",
    *,
    seed: int = 0,
) -> CheckReport:
    """Fails unless every law of a network holds and the oracle counts no law more (see `lawful.check`).

    Args:
        network: an architecture, an expression of blocks, or a module.
        args: example inputs of a module.
        kwargs: those by keyword.
        loss: see `derive`.
        seed: of everything random.

    Raises:
        AssertionError: the report of the check.
    """
    __tracebackhide__ = True
    target = network_of(network, "assert_complete")
    given: dict[str, Any] = {} if isinstance(target, Architecture) else {"args": args, "kwargs": kwargs}
    found = check(target, loss, seed=seed, **given)
    if not (found.lawful and found.complete):
        raise AssertionError(str(found))
    return found


def statements(laws: LawSet) -> dict[str, str]:
    """What each law says, by its name: the parameters it reads, how often it stands, and its text."""
    return {law.name: f"{law.algebra}: {law.text}" + ("" if law.exact else INEXACT) for law in laws}


INEXACT = " (up to the epsilon of a norm)"


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What happened to laws: their numbers in one line, then law by law; nothing where nothing did."""
    gone, new = [n for n in before if n not in after], [n for n in after if n not in before]
    other = [n for n in before if n in after and before[n] != after[n]]
    numbers = [f"{len(g)} {what}" for g, what in ((gone, "disappeared"), (other, "changed"), (new, "appeared")) if g]
    lines = [f"  - disappeared: {n}: {before[n]}" for n in gone]
    for n in other:
        lines += [f"  - changed:     {n}, was {before[n]}", f"  +              {n}, now {after[n]}"]
    lines += [f"  + appeared:    {n}: {after[n]}" for n in new]
    return [f"of {plural(len(before), 'law')} {', '.join(numbers)}", *lines] if numbers else []


def renamed(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """New names of parameters under which the laws before say the same as those after; empty if there are none.

    Args:
        before: by the name of each law what it `reads` and what it `says`, in the order of the network.
        after: likewise.
    """
    names: dict[str, str] = {}
    if len(before) != len(after):
        return {}
    for old, new in zip(before.values(), after.values(), strict=True):
        if len(old["reads"]) != len(new["reads"]):
            return {}
        for a, b in zip(old["reads"], new["reads"], strict=True):
            if names.setdefault(a, b) != b:
                return {}
        if _blanked(old) != _blanked(new):
            return {}
    return names if len(set(names.values())) == len(names) else {}


def _blanked(law: Mapping[str, Any]) -> str:
    """What a law says, with numbers in the place of its parameters."""
    order = {n: str(i) for i, n in enumerate(law["reads"])}
    longest = sorted(order, key=len, reverse=True)
    pattern = re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, longest)) + r")(?!\w)")
    return pattern.sub(lambda m: f"<{order[m[0]]}>", str(law["says"])) if longest else str(law["says"])


def laws_of(
    network: Network, args: torch.Tensor | Sequence[Any], kwargs: Mapping[str, Any] | None, loss: LossLike, asked: str
) -> LawSet:
    """The laws of a network in any form.

    Args:
        network: a module, an architecture, or laws that were derived.
        args: example inputs of a module.
        kwargs: those by keyword.
        loss: see `derive`.
        asked: the name of the function that asks, for messages.
    """
    if isinstance(network, LawSet):
        return network
    target = network_of(network, asked)
    if isinstance(target, Architecture):
        return derive(target, loss)
    return derive(target, loss, args=args, kwargs=kwargs)


__all__ = ["assert_complete", "assert_same_laws", "changes", "laws_of", "renamed", "statements"]
