# ruff: noqa: D102
"""Two blocks of one's own, as docs/add-a-block.md builds them: `lawful check examples/my_blocks.py:network`."""

from dataclasses import dataclass

import torch

from lawful import blocks as b
from lawful.blocks.rules import HomogeneousRule, Rule, Scalar, Use, View


@b.register
@dataclass(frozen=True, eq=False, repr=False)
class SignedSquare(b.Block):
    """`x * |x|`, feature by feature."""

    summary = "x |x|"
    source = "tran2026, section 4"

    def output(self, *signals):
        return (signals[0],)

    def rule(self, names, inputs, outputs):
        return HomogeneousRule(power=2)

    def forward(self, p, x, run):
        gate = run.gate(x[0], real=lambda: x[0] > 0)
        sign = torch.sign(x[0]) if gate is None else 2 * gate - 1
        return sign * x[0] ** 2

    @classmethod
    def examples(cls, signal):
        return () if signal.tokens else (cls(),)


@dataclass(frozen=True)
class RadialRule(Rule):
    """`y = gain |x|^2 x`: a factor `c` on x and `s` on the gain give `3 c + s` on y."""

    gain: str

    @property
    def statement(self):
        return "radial cube: S_in = c I, S_out = (3 c + s) I, xi_gain = s gain"

    @property
    def inner(self):
        return (("scale", 1),)

    def uses(self, site):
        return [Use(self.gain, (((site.inner[0], 1),),), (View.axis((1,), 0),))]

    def shape(self, layouts, site):
        for wire in (*site.inputs, *site.outputs):
            layouts.meet(wire, Scalar(layouts.size(wire)))

    def balance(self, balance, site):
        factor = {site.outputs[0]: 1, site.inputs[0]: -3, site.inner[0]: -1}
        balance.require({balance.key(w, 0, balance.layout(w).boxes[0].constant): a for w, a in factor.items()})

    def silent(self, directions, site):
        return [directions.absent(site.inputs[0])]

    def degree(self, degrees, local):
        return 3 * degrees[0]


@b.register
@dataclass(frozen=True, eq=False, repr=False)
class RadialCube(b.Block):
    """`y = gain * |x|^2 * x` with one trained gain."""

    frozen: tuple[str, ...] = ()

    summary = "gain |x|^2 x"
    source = "wire-balance theorem (lawful)"

    @property
    def parameters(self):
        return {"gain": b.Spec((1,), std=0.1, mean=1.0)}

    def output(self, *signals):
        return (signals[0],)

    def rule(self, names, inputs, outputs):
        return RadialRule(names["gain"])

    def forward(self, p, x, run):
        return p["gain"] * (x[0] ** 2).sum(run.axis, keepdim=True) * x[0]

    @classmethod
    def examples(cls, signal):
        return () if signal.tokens or signal.features < 2 else (cls(),)


def network():
    """Both of them between linear maps."""
    return b.Linear(2, 3) >> SignedSquare() >> b.Linear(3, 3) >> RadialCube() >> b.Linear(3, 2)
