"""Rules of blocks that join or cut wires."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..algebra import Diagonal
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace, Vector
from ..unknowns import add_terms
from .norms import whole_boxes


@dataclass(frozen=True)
class AddRule(Rule):
    """A residual junction: all wires carry the same `S`, shifts add up."""

    @property
    def statement(self) -> str:
        return "add: S equal on all wires, t_out = sum of t_in"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        for x in site.inputs:
            layouts.equal(x, site.outputs[0])

    def balance(self, balance: BalancePass, site: Site) -> None:
        for x in site.inputs:
            balance.equal(x, site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        y = site.outputs[0]
        terms = []
        for x in site.inputs:
            single = shifts.tokens(x) == [(0, "c")]  # what has one position is added to all of them
            if not single:
                shifts.match_tokens(x, y)
            terms.append(shifts.wire_terms(x, y, "uniform" if single else "same"))
        shifts.emit(y, add_terms(*terms))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        moving, still, shared = directions.moving(y), directions.still(y), directions.shared(y)
        many = directions.positions(y) > 1  # what has one position only ever adds what all positions share
        return [Blind(shared if many and directions.positions(x) == 1 else moving, still, shared) for x in site.inputs]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        common = directions.absent(site.inputs[0])
        for x in site.inputs[1:]:
            common = common.meet(directions.absent(x))
        return [common]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0] if len(set(degrees)) == 1 else None


@dataclass(frozen=True)
class ShiftedTermsRule(AddRule):
    """A sum of which only what is beside a common shift is seen: each term carries a multiple of `11^T` of its own.

    Source: wire-balance theorem (lawful).
    """

    @property
    def statement(self) -> str:
        return "add, up to a common shift: S = c 11^T on every wire by itself, t_out = sum of t_in"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        for x in site.inputs:
            layouts.align(x, site.outputs[0])
            layouts.ones(x)

    def balance(self, balance: BalancePass, site: Site) -> None:
        for x in site.inputs:
            balance.only_ones(x)


@dataclass(frozen=True)
class ProductRule(Rule):
    """Element-wise product: `S_out = S_1 + S_2`, diagonal."""

    @property
    def statement(self) -> str:
        return "product: S_out = sum of S_in, diagonal; t = 0"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        y = site.outputs[0]
        for w in (*site.inputs, y):
            layouts.meet(w, Diagonal(layouts.size(w)))
        for x in site.inputs:
            layouts.align(x, y)

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.total([(x, 1) for x in site.inputs] + [(site.outputs[0], -1)])

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        unread = whole_boxes(directions.moving(site.outputs[0]), directions.layout(site.outputs[0]))
        zero = [whole_boxes(directions.absent(x), directions.layout(x)) for x in site.inputs]
        found = []
        for i, _ in enumerate(site.inputs):
            space = unread
            for other in zero[:i] + zero[i + 1 :]:
                space = space.join(other)  # times a factor that is always 0
            found.append(Blind(space, space))
        return found

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        absent = Subspace()
        for x in site.inputs:
            absent = absent.join(whole_boxes(directions.absent(x), directions.layout(x)))
        return [absent]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return sum(degrees)


@dataclass(frozen=True)
class DotRule(Rule):
    """The inner product of two wires: `S_1 + S_2 = c I`, where `c` scales the output.

    Attributes:
        mixes: whether it is taken of every position of one with every position of the other.
    """

    mixes: bool = False

    @property
    def statement(self) -> str:
        return "inner product: S_1 + S_2 = c I with S_out = c; t = 0"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        layouts.align(*site.inputs)

    def balance(self, balance: BalancePass, site: Site) -> None:
        y = site.outputs[0]
        factor = balance.key(y, 0, balance.layout(y).boxes[0].constant)
        balance.total([(x, 1) for x in site.inputs], None if factor is None else (factor, -1))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        unread = bool(directions.moving(y))
        found = []
        for x, other in zip(site.inputs, reversed(site.inputs), strict=True):
            space = Subspace.everything(directions.layout(x)) if unread else directions.absent(other)
            found.append(Blind(space, space))
        return found

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if self.mixes and local and any(degrees) else sum(degrees)


@dataclass(frozen=True)
class ConcatRule(Rule):
    """Features side by side (`cut` False) or taken apart (`cut` True): `S` block diagonal."""

    cut: bool = False

    @property
    def statement(self) -> str:
        return ("split" if self.cut else "concat") + ": S block diagonal, t in parts"

    def _parts(self, site: Site) -> tuple[int, tuple[int, ...]]:
        return (site.inputs[0], site.outputs) if self.cut else (site.outputs[0], site.inputs)

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        layouts.concat(*self._parts(site))

    def balance(self, balance: BalancePass, site: Site) -> None:
        whole, parts = self._parts(site)
        for part, offset in balance.offsets(parts):
            balance.equal(part, whole, rename=_boxes_up(offset), partial=True)

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        whole, parts = self._parts(site)
        if self.cut:
            for part, offset in shifts.offsets(parts):
                shifts.match_tokens(whole, part)
                shifts.emit(part, shifts.wire_terms(whole, part, rename=_lift(-offset)))
        else:
            for part in parts:
                shifts.match_tokens(part, whole)
            pieces = [shifts.wire_terms(p, whole, rename=_lift(o)) for p, o in shifts.offsets(parts)]
            shifts.emit(whole, add_terms(*pieces))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        whole, parts = self._parts(site)
        if self.cut:
            moving, still, shared = Subspace(), Subspace(), Subspace()
            for p, o in directions.offsets(parts):
                moving = moving.join(directions.moving(p).relabel(_lift(o)))
                still = still.join(directions.still(p).relabel(_lift(o)))
                shared = shared.join(directions.shared(p).relabel(_lift(o)))
            return [Blind(moving, still, shared)]
        out = []
        for p, o in directions.offsets(parts):
            names = {k: _lift(o)(k) for k in directions.keys(p)}
            seen = (directions.moving(whole), directions.still(whole), directions.shared(whole))
            out.append(Blind(*(space.preimage(names) for space in seen)))
        return out

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        whole, parts = self._parts(site)
        if self.cut:
            return [
                directions.absent(whole).preimage({k: _lift(o)(k) for k in directions.keys(p)})
                for p, o in directions.offsets(parts)
            ]
        total = Subspace()
        first: dict[int, int] = {}
        copies: list[Vector] = []
        for p, o in directions.offsets(parts):
            total = total.join(directions.absent(p).relabel(_lift(o)))
            at = first.setdefault(p, o)
            copies += [{_lift(at)(k): 1, _lift(o)(k): -1} for k in directions.keys(p) if at != o]
        return [total.join(Subspace(tuple(copies))) if copies else total]

    def fixed(self, directions: DirectionPass, site: Site) -> Sequence[Sequence[tuple[Vector, Number]]]:
        if self.cut:
            return [() for _ in site.outputs]
        lifted = [(u, c, _lift(o)) for p, o in directions.offsets(site.inputs) for u, c in directions.fixed(p)]
        return [[({up(k): a for k, a in u.items()}, c) for u, c, up in lifted]]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0] if len(set(degrees)) == 1 else None


def _boxes_up(offset: int) -> Callable[[int, str], tuple[int, str]]:
    return lambda box, label: (box + offset, label)


def _lift(offset: int) -> Callable[[tuple[int, str]], tuple[int, str]]:
    return lambda key: (key[0] + offset, key[1])


@dataclass(frozen=True)
class TokensRule(Rule):
    """Token axes end to end (a class token before the patches): `S` equal on all wires, shifts keep their places."""

    @property
    def statement(self) -> str:
        return "tokens end to end: S equal on all wires, t token by token"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        for x in site.inputs:
            layouts.equal(x, site.outputs[0])
        layouts.join_tokens(site.outputs[0], site.inputs)

    def balance(self, balance: BalancePass, site: Site) -> None:
        for x in site.inputs:
            balance.equal(x, site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        shifts.emit(site.outputs[0], shifts.joined_tokens(site.outputs[0], site.inputs))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        return [Blind(directions.moving(site.outputs[0])) for _ in site.inputs]

    silent = AddRule.silent

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        if local and len({d for d in degrees if d}) == 1:
            return max(degrees)  # a factor of its own for every token is 1 on the others
        return degrees[0] if len(set(degrees)) == 1 else None


@dataclass(frozen=True)
class PlacesRule(TokensRule):
    """Positions of any kind beside each other: `S` equal on all wires, and one constant for all positions of all."""

    @property
    def statement(self) -> str:
        return "positions beside each other: S and t equal on all wires"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        for x in site.inputs:
            layouts.equal(x, site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        first = site.inputs[0]
        for x in site.inputs:
            shifts.require_uniform(x)
            if x != first:
                shifts.require_equal(first, x)
        shifts.emit(site.outputs[0], shifts.wire_terms(first, site.outputs[0], "uniform"))
