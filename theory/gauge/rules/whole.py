"""The rule of an operation of which only its degrees are known: how it answers when whole tensors are scaled."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..algebra import Diagonal, Scalar
from ..contract import Rule, Site, Use, View
from ..linalg import Number
from ..passes import BalancePass, LayoutPass
from ..unknowns import MatrixKey

Equation = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class WholeRule(Rule):
    """Multiples of the identity: every tensor is scaled as a whole, `S = c I`, and a parameter by `xi_p = c p`.

    The factors obey linear equations: `c_y = c_x + c_w` for a map that is linear in x and in w, `c_y = c_x = c_z` for a
    sum, `c_x = 0` for what is not homogeneous.  Other matrices, and constants, do not pass; where they would, laws are
    missing, which the limits of a list of laws say.

    Attributes:
        equations: sums that are 0, over the factors `x0, x1, ...` of the inputs, `y0, ...` of the outputs and `p0, ...`
            of the parameters.
        parameters: names and shapes of the parameters.
        narrow: whether more may pass than the rule lets through.
    """

    equations: tuple[Equation, ...]
    parameters: tuple[tuple[str, tuple[int, ...]], ...] = ()
    narrow: bool = True

    @property
    def statement(self) -> str:
        found = []
        for e in self.equations:
            left = " + ".join(n if a == 1 else f"{a} {n}" for n, a in e if a > 0)
            right = " + ".join(n if a == -1 else f"{-a} {n}" for n, a in e if a < 0)
            found.append(f"{left} = {right or 0}")
        return f"scaled as a whole, S = c I with factors {', '.join(found)}; t = 0"

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        return tuple((f"size of {name}", 1) for name, _ in self.parameters)

    def uses(self, site: Site) -> list[Use]:
        return [
            Use(name, (((wire, 1),),), (View((1, prod(shape)), (0, 1)),))
            for wire, (name, shape) in zip(site.inner, self.parameters, strict=True)
        ]

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        for w in (*site.inputs, *site.outputs):
            layouts.meet(w, Scalar(layouts.size(w)))
        for w in site.inner:
            layouts.meet(w, Diagonal(1))

    def balance(self, balance: BalancePass, site: Site) -> None:
        wires = {"x": site.inputs, "y": site.outputs, "p": site.inner}
        for equation in self.equations:
            row: dict[MatrixKey | None, Number] = {}
            for name, a in equation:
                w = wires[name[0]][int(name[1:])]
                key = balance.key(w, 0, balance.layout(w).boxes[0].constant)
                row[key] = row.get(key, 0) + a
            balance.require(row)
