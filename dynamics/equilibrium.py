"""Weights whose size the loss does not see: at what rate their direction turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from lawful.theory.parts import base

if TYPE_CHECKING:
    from .watcher import Watcher


def effective_rates(ledger: Watcher) -> dict[str, Tensor]:
    """`lr / ||w||^2` for every scalar of every law that is a sum of squares.

    Such a law says that the loss does not change with the size of its weights; what a step does is to turn them.

    Source: van Laarhoven 2017, "L2 regularization versus batch and weight normalization".
    """
    homes = {id(p): group for o in ledger.optimizers for group in o.param_groups for p in group["params"]}
    out = {}
    for name, account in ledger.accounts.items():
        law = account.form.law
        positive = account.form.quadratic and all(t.coefficient > 0 and t.partner is None for t in law.terms)
        matrix = any(kind not in ("free",) for kind in law.axis_kinds)
        rates = {
            float(homes[id(ledger.parameters[base(n)])]["lr"])
            for n in law.parameters
            if id(ledger.parameters[base(n)]) in homes
        }
        if positive and not matrix and len(rates) == 1:
            out[name] = rates.pop() / account.last.abs()
    return out
