"""Assertions about whole sets of laws: two networks conserve the same, and a list is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lawful.blocks import Net
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import check
from lawful.graph.questions.check_report import CheckReport
from lawful.graph.questions.derive import derive
from lawful.graph.questions.reading import network_of
from lawful.theory.derive.lawset import LawSet
from lawful.theory.losses import LossLike

from .assertions import quiet_helpers

Network = Architecture | Net | torch.nn.Module | LawSet
SHOWN = 20  # lines of a difference


@quiet_helpers()
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
        AssertionError: one line for every law that is only in one of them.
    """
    __tracebackhide__ = True
    first, second = (_laws(n, args, kwargs, loss) for n in (one, other))
    lines = difference(statements(first), statements(second))
    if lines:
        rest = len(lines) - SHOWN
        shown = [*lines[:SHOWN], *([f"... and {rest} more"] if rest > 0 else [])]
        raise AssertionError("the two do not conserve the same (- the first, + the second)\n" + "\n".join(shown))


@quiet_helpers()
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
    """What each law says, by its name and the parameters it reads: the text of the law and how often it stands."""
    return {f"{law.name} ({', '.join(law.parameters)})": f"{law.algebra}: {law.text}" for law in laws}


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The laws that disappeared (-), appeared (+) or changed, one line each."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        lines += [f"- {name}: {old}"] if old is not None else []
        lines += [f"+ {name}: {new}"] if new is not None else []
    return lines


def _laws(
    network: Network, args: torch.Tensor | Sequence[Any], kwargs: Mapping[str, Any] | None, loss: LossLike
) -> LawSet:
    if isinstance(network, LawSet):
        return network
    target = network_of(network, "assert_same_laws")
    if isinstance(target, Architecture):
        return derive(target, loss)
    return derive(target, loss, args=args, kwargs=kwargs)


__all__ = ["assert_complete", "assert_same_laws", "difference", "statements"]
