"""Rules of features that are repeated and of neighbouring features that are added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..boxes import LayoutError
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, Place, ShiftPass
from ..subspace import Subspace, VectorKey, vector_keys
from .factors import FixedGainRule
from .joins import AddRule, ConcatRule
from .maps import GainRule
from .pointwise import PassRule
from .reorder import ReorderRule

Wires = LayoutPass | BalancePass


def _with(kind: str, copies: int) -> str:
    return kind if copies > 1 else ""


def beside(wires: Wires, site: Site) -> bool:
    """Whether something is added to copies, or something else reads the terms of sums.

    Only then do their differences matter to matrices: else they are never there, or never seen.
    """
    repeats = isinstance(site.rule, RepeatRule)
    many = (site.outputs if repeats else site.inputs)[0]
    near: list[Place] = [r for r, _ in wires.readers(many)]
    if not repeats:
        return len(near) > 1
    for reader in near:  # grows: what only moves positions hands copies on
        if isinstance(reader.rule, AddRule) or (isinstance(reader.rule, GainRule) and reader.rule.bias is not None):
            return True
        if isinstance(reader.rule, (ConcatRule, FixedGainRule, PassRule, ReorderRule)):
            near += [r for w in reader.outputs for r, _ in wires.readers(w) if r not in near]
    return False


def centred(wires: Wires, site: Site, cut: bool) -> bool:
    """Whether it is copies, or terms, of one feature whose differences matter: a matrix may do anything to these."""
    one, many = site.wires if isinstance(site.rule, RepeatRule) else site.wires[::-1]
    sizes = wires.layout(one).size, wires.layout(many).size
    return sizes[0] == 1 < sizes[1] and not cut and beside(wires, site)


def _one_axis(layouts: LayoutPass, many: int) -> None:
    """Copies of one feature are moved along one axis.

    Raises:
        LayoutError: if others see this axis cut.
    """
    layouts.centred(many)
    if not layouts.is_cut(many) and len(layouts.layout(many).boxes[0].dims) > 1:
        raise LayoutError("copies of one feature are cut into groups")


def act_on_ones(balance: BalancePass, one: int, many: int) -> None:
    """What a matrix does to copies of one feature alike is what is done to the feature."""
    key, k = balance.key(one, 0, balance.layout(one).boxes[0].constant), balance.layout(many).size
    balance.require({key: -1, balance.key(many, 0, "c"): 1, balance.key(many, 0, "j"): k - 1})


@dataclass(frozen=True)
class RepeatRule(Rule):
    """Every feature `copies` times in a row: `S_out = S_in (x) I`; differences of copies are absent.

    Of copies of a single feature `S_out` maps 1 to `S_in 1`, and does anything to their differences.
    """

    copies: int

    @property
    def tells_mean(self) -> bool:
        return True

    @property
    def statement(self) -> str:
        return "repeated features: S_out = S_in (x) I, t_out = t_in (x) 1"

    def _copy(self, key: VectorKey, kind: str = "c") -> VectorKey:
        return (key[0], key[1] + _with(kind, self.copies))

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        layouts.told_apart_alike(x, y)
        if centred(layouts, site, layouts.is_cut(y)):
            _one_axis(layouts, y)
        else:
            layouts.flatten(x, y, 1, self.copies)

    def balance(self, balance: BalancePass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if centred(balance, site, balance.is_cut(y)):
            act_on_ones(balance, x, y)
            return
        balance.equal(site.inputs[0], site.outputs[0], rename=lambda b, s: self._copy((b, s)))

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        shifts.match_tokens(x, y)
        shifts.emit(y, shifts.wire_terms(x, y, rename=self._copy))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        names = {k: self._copy(k) for k in directions.keys(site.inputs[0])}
        return [Blind(directions.moving(y).preimage(names), directions.still(y).preimage(names))]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        x = site.inputs[0]
        absent = directions.absent(x).relabel(self._copy)
        if self.copies == 1:
            return [absent]
        return [absent.join(Subspace(tuple({self._copy(k, "d"): 1} for k in directions.keys(x))))]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0]


@dataclass(frozen=True)
class SumFeaturesRule(Rule):
    """The sum of every `copies` neighbouring features: `S_in = S_out (x) I`; their differences are unseen."""

    copies: int

    @property
    def tells_mean(self) -> bool:
        return True

    @property
    def statement(self) -> str:
        return "sums of neighbouring features: S_in = S_out (x) I, t_out = sum of t_in"

    def _copy(self, key: VectorKey, kind: str = "c") -> VectorKey:
        return (key[0], key[1] + _with(kind, self.copies))

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if centred(layouts, site, layouts.is_cut(x)):
            _one_axis(layouts, x)
        else:
            layouts.flatten(y, x, 1, self.copies)

    def balance(self, balance: BalancePass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if centred(balance, site, balance.is_cut(x)):
            act_on_ones(balance, y, x)
            return
        balance.equal(site.outputs[0], site.inputs[0], rename=lambda b, s: self._copy((b, s)))

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        alike = {self._copy(k): k for k in vector_keys(shifts.layout(y))}
        shifts.match_tokens(x, y)
        terms = shifts.wire_terms(x, y, keys=alike)
        shifts.emit(y, {at: {k: a * self.copies for k, a in row.items()} for at, row in terms.items()})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        moving = directions.moving(y).relabel(self._copy)
        still = directions.still(y).relabel(self._copy)
        if self.copies > 1:
            moving = moving.join(Subspace(tuple({self._copy(k, "d"): 1} for k in directions.keys(y))))
        return [Blind(moving, moving.join(still))]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        names = {k: self._copy(k) for k in directions.keys(site.outputs[0])}
        return [directions.absent(site.inputs[0]).preimage(names)]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0]
