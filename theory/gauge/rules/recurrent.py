"""Rules of layers with a state: recurrent cells, diagonal state spaces, the selective scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algebra import Diagonal, Nothing
from ..contract import Rule, Site, Use, View
from ..linalg import Number
from ..passes import BalancePass, LayoutPass, ShiftPass
from ..subspace import vector_keys
from ..unknowns import Factor


@dataclass(frozen=True)
class RecurrentRule(Rule):
    """`h_t = f(W x_t + b + U h_{t-1} + c)`: `xi_W = S_z W - W S_x`, `xi_U = S_z U - U S_h`, `xi_b = S_z b`.

    `z` is the wire of all gates.  A single homogeneous `f` gives `S_z = S_h`; gates force both to 0.  Further inputs
    are initial states, which have the `S` of the states they stand for; a further output is the memory behind gates.

    Attributes:
        weight_ih: `W`, of shape `(gates * hidden, features)`.
        weight_hh: `U`, of shape `(gates * hidden, hidden)`.
        biases: `b` and `c`, or None.
        features: width of x.
        hidden: width of h.
        gates: rows of `W` for each hidden unit.
        state: what `S_h` may be: `full` (linear), `diagonal` (ReLU) or `nothing`.
        summed: number of leading gates that see `b` and `c` only through their sum.
    """

    weight_ih: str
    weight_hh: str
    biases: tuple[str, str] | None
    features: int
    hidden: int
    gates: int
    state: str
    summed: int

    @property
    def statement(self) -> str:
        return {
            "full": "linear recurrence: S_z = S_h, xi_U = S_h U - U S_h",
            "diagonal": "homogeneous recurrence: S_z = S_h diagonal, xi_U = S_h U - U S_h",
            "nothing": "gated recurrence: S_z = S_h = 0",
        }[self.state] + ("; the two biases are only summed" if self.biases else "")

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        return (("gates", self.gates * self.hidden),)

    @property
    def candidate(self) -> int | None:
        """The gate whose sign is that of the state, the other gates being factors; None for a map that is not odd."""
        return None if self.state == "diagonal" else {1: 0, 3: 2, 4: 2}[self.gates]

    def uses(self, site: Site) -> list[Use]:
        x, h, z = site.inputs[0], site.outputs[0], site.inner[0]
        rows = self.gates * self.hidden
        out = []
        for name, width, source in ((self.weight_ih, self.features, x), (self.weight_hh, self.hidden, h)):
            views = (View.axis((rows, width), 0), View.axis((rows, width), 1))
            out.append(Use(name, (((z, 1),), ((source, -1),)), views))
        view = (View.axis((rows,), 0),)
        return out + [Use(b, (((z, 1),),), view, constant=True) for b in self.biases or ()]

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        h, z = site.outputs[0], site.inner[0]
        states = (*site.outputs, *site.inputs[1:])
        if self.state == "nothing":
            for w in (z, *states):
                layouts.meet(w, Nothing(layouts.size(w)))
            layouts.cut_at(z, self.summed * self.hidden)
            return
        if self.state == "diagonal":
            layouts.meet(h, Diagonal(layouts.size(h)))
        for w in (z, *states[1:]):
            layouts.equal(h, w)

    def balance(self, balance: BalancePass, site: Site) -> None:
        if self.state != "nothing":
            for w in (site.inner[0], *site.inputs[1:]):
                balance.equal(site.outputs[0], w)

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, z = site.inputs[0], site.inner[0]
        for w in site.inputs:
            shifts.forbid(w)
        for w in site.outputs:
            shifts.emit(w, {})
        shifts.fields.move_tensor(site, self.weight_ih, (z, x))
        if self.biases:
            keys = vector_keys(shifts.layout(z))
            boxes = {b for b in range(len(shifts.layout(z).boxes)) if shifts.start(z, b) < self.summed * self.hidden}
            shifts.fields.sum_to_zero(site, self.biases, z, [(k,) for k in keys if k[0] in boxes])


@dataclass(frozen=True)
class ScanRule(Rule):
    """`h_t = a * h_{t-1} + x_t` for every feature: `S_out = S_in`, diagonal for a generic `a`."""

    @property
    def statement(self) -> str:
        return "diagonal recurrence: S_out = S_in, diagonal; t = 0"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        layouts.meet(x, Diagonal(layouts.size(x)))
        layouts.equal(x, y)

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.equal(site.inputs[0], site.outputs[0])

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if degrees[0] and local else degrees[0]


@dataclass(frozen=True)
class SelectiveScanRule(Rule):
    """`h_t = exp(dt A) h_{t-1} + dt B_t x_t`, `y_t = C_t h_t (+ D x_t)`, state by state; ports are x, dt, B, C.

    `S_B + S_C = c I` on the states (diagonal, because every state decays at its own rate), `S_y = S_x + c I` on the
    features (diagonal), `S_dt = 0`; with a gain `D` around the scan `xi_D = (S_y - S_x) D`.

    Attributes:
        gain: parameter name of `D`, or None.
        size: number of features.
    """

    gain: str | None
    size: int

    @property
    def statement(self) -> str:
        return "selective scan: S_B + S_C = c I diagonal, S_y = S_x + c I diagonal, S_dt = 0"

    def uses(self, site: Site) -> list[Use]:
        if not self.gain:
            return []
        x, y = site.inputs[0], site.outputs[0]
        return [Use(self.gain, (((y, 1), (x, -1)),), (View.axis((self.size,), 0),))]

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, dt, b, c = site.inputs
        for w in (x, b, c):
            layouts.meet(w, Diagonal(layouts.size(w)))
        layouts.meet(dt, Nothing(layouts.size(dt)))
        layouts.align(b, c)
        layouts.meet(site.outputs[0], Diagonal(layouts.size(x)))
        layouts.align(x, site.outputs[0])

    def balance(self, balance: BalancePass, site: Site) -> None:
        x, _, b, c = site.inputs
        balance.total([(b, 1), (c, 1)], scalar=(Factor(site.name, "c"), -1))
        balance.total([(site.outputs[0], 1), (x, -1)], scalar=(Factor(site.name, "c"), -1))
