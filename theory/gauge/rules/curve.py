"""The rule of a factor that is a function of a parameter: a learned temperature."""

from __future__ import annotations

from dataclasses import dataclass

from ..algebra import Blocks, Full, Nothing
from ..contract import Rule, Site, Use, View
from ..passes import BalancePass, LayoutPass


@dataclass(frozen=True)
class CurveRule(Rule):
    """`y_h = f(p_h) x_h` for every head: `S_out = S_in` block by block, and p stays.

    A multiple of the identity that only one side carries would be answered by `xi_p = c f / f'`, which for an
    exponential is a constant; such laws, quadratic in some parameters and not in p, are not listed.

    Attributes:
        factor: name of p, of shape `(heads,)`.
        heads: number of heads; 1 for one factor of everything.
    """

    factor: str
    heads: int

    @property
    def statement(self) -> str:
        return "factor f(p) per head: S_out = S_in block diagonal, xi_p = 0; t = 0"

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        return (("factors", self.heads),)

    def uses(self, site: Site) -> list[Use]:
        return [Use(self.factor, (((site.inner[0], 1),),), (View.axis((self.heads,), 0),))]

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if self.heads > 1:
            layouts.meet(x, Blocks(self.heads, Full(layouts.size(x) // self.heads)))
        layouts.equal(x, y)
        layouts.meet(site.inner[0], Nothing(self.heads))

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.equal(site.inputs[0], site.outputs[0])
