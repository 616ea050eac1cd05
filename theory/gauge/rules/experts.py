"""Rules of sparse mixtures of experts: the choice of some experts, and groups of features with a weight each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algebra import Blocks, Full, Nothing
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace, Vector, ones


@dataclass(frozen=True)
class ChoiceRule(Rule):
    """The largest few of some weights, the others replaced by 0: `S = 0`; scores that only choose are unseen.

    Which ones are largest changes by jumps alone, so no gradient passes to the scores (port 1, if there is one).

    Attributes:
        normalised: whether what is left is divided by its sum.
        single: whether one weight is left.
    """

    normalised: bool
    single: bool

    @property
    def statement(self) -> str:
        return "choice of the largest: S = 0 on the weights; nothing is seen of scores that only choose"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        for w in (site.inputs[0], site.outputs[0]):
            layouts.meet(w, Nothing(layouts.size(w)))

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        if not (self.normalised and self.single):
            shifts.forbid(site.inputs[0])
        shifts.emit(site.outputs[0], {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        every = [Subspace.everything(directions.layout(w)) for w in site.inputs]
        unseen = [Blind(e, e, e) for e in every]
        return unseen if self.normalised and self.single else [Blind(), *unseen[1:]]

    def fixed(self, directions: DirectionPass, site: Site) -> Sequence[Sequence[tuple[Vector, Number]]]:
        return [[(ones(directions.layout(site.outputs[0])), 1)] if self.normalised else []]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return 0 if self.normalised else degrees[0]


@dataclass(frozen=True)
class GroupProductRule(Rule):
    """`y_ei = p_e h_ei`: one weight for every group of features: `S_y = S_h` group by group, `S_p = 0`.

    Weights that a linear map writes could answer with a factor of their own; that is not listed.

    Attributes:
        groups: number of groups.
    """

    groups: int

    @property
    def statement(self) -> str:
        return "one weight for every group: S_out = S_in group by group, S = 0 on the weights; t = 0"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        p, h = site.inputs
        layouts.meet(p, Nothing(layouts.size(p)))
        full = Full(layouts.size(h) // self.groups)
        layouts.meet(h, Blocks(self.groups, full) if self.groups > 1 else full)
        layouts.equal(h, site.outputs[0])

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.equal(site.inputs[1], site.outputs[0])

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if degrees[0] else degrees[1]
