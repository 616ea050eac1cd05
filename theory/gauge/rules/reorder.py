"""The rule of a move that puts features in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..algebra import Nothing, Scalar
from .base import Rule

if TYPE_CHECKING:
    from ..balance import Balance
    from ..diagram import Site
    from ..layouts import Layouts
    from ..linalg import Number


@dataclass(frozen=True)
class ReorderRule(Rule):
    """Feature `i` of the output is feature `order[i]` of the input.

    Where nothing forbids it, `straighten` names the features of all wires in the order that they have there, and no
    such block is left; what this rule says holds for one that is: the features of a scaled wire are scaled.
    """

    order: tuple[int, ...]

    @property
    def statement(self) -> str:
        return "features in another order: S = c I on both sides"

    def shape(self, layouts: Layouts, site: Site) -> None:
        for w in site.wires:
            layouts.meet(w, Scalar(layouts.size(w)))
        if any(len(layouts.algebras[w].boxes) > 1 for w in site.wires):
            for w in site.wires:
                layouts.meet(w, Nothing(layouts.size(w)))

    def balance(self, balance: Balance, site: Site) -> None:
        if not any(balance.is_cut(w) for w in site.wires):
            balance.same_scalar(site.inputs[0], site.outputs[0])

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0]
