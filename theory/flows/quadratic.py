"""Laws of flows without momentum, from those of the gradient flow.

Every law of the gradient flow comes from a field `xi = grad h` that is tangent to the level sets of the network.  A
metric `M` asks for `grad h = M xi`, so `M xi` has to be a gradient; decay scales the parameters under a law.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import torch

from ..gauge.families import is_matrix
from ..laws.law import Law
from ..laws.statement import Part
from ..parts import base
from .kinds import Mirror, WeightDecay
from .laws import FlowLaw, Tensors
from .rate import Rate

DECAY = "Marcotte, Gribonval, Peyré 2025, theorem 2.1"
MIRROR = "wire balance in the metric of a separable potential; Marcotte, Gribonval, Peyré 2024"


def as_flow_law(law: Law, source: str = "wire balance; Marcotte, Gribonval, Peyré 2023") -> FlowLaw:
    """A law of the gradient flow, which is also one of the flow at hand."""
    return FlowLaw(
        law.name,
        law.kind,
        law.count,
        law.independent,
        law.parameters,
        law.text,
        source,
        False,
        False,
        lambda theta, speed, time: law.value(theta),
    )


def exponential(rate: Rate, symbol: str, times: int = 1) -> str:
    """`e^(times int rate)` as text, with a space behind it; empty where it is 1."""
    if rate.zero:
        return ""
    factor = f"{times} " if times > 1 else ""
    return f"e^({factor}int {symbol}) " if callable(rate.value) else f"e^({times * rate.value:g} t) "


def decay_laws(laws: Sequence[Law], flow: WeightDecay) -> tuple[list[FlowLaw], list[str]]:
    """The laws under weight decay, and what was not derived.

    `theta e^{int lambda}` moves by a multiple of the gradient, and `grad h` is linear for a quadratic `h`, so
    `h(theta e^{int lambda})` is conserved: a quadratic law times `e^{2 int lambda}`, a linear one times
    `e^{int lambda}`.  A law with both parts (of a matrix `I + W`) is none any more, unless the linear part is a law by
    itself, which is not looked for; the sum along a chain of such matrices is one, since their linear parts cancel.
    """
    plain = [law for law in laws if not _offsets(law) or flow.rate.zero]
    mixed = [law for law in laws if _offsets(law) and not flow.rate.zero]
    out = [_decayed((law,), flow.rate) for law in plain]
    notes = []
    for chain in _chains(mixed):
        names = " + ".join(law.name for law in chain)
        linear: dict[str, Fraction] = {}
        for law in chain:
            for name, a in _offsets(law).items():
                linear[name] = linear.get(name, Fraction(0)) + a
        if len({(law.shape, law.axis_kinds) for law in chain}) == 1 and not any(linear.values()):
            out.append(_decayed(chain, flow.rate))
        else:
            why = "whose linear part decays at another rate than its square"
            notes.append(f"{names}: no law was derived, since it reads I + W, {why}")
    return out, notes


def _decayed(laws: Sequence[Law], rate: Rate) -> FlowLaw:
    degree = 2 if laws[0].kind == "balance" else 1

    def measure(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
        total = torch.stack([law.value(theta) for law in laws]).sum(0)
        # The constant of (I + W)(I + W)^T cancels in a chain as its linear part does.
        return torch.exp(degree * rate.integral(time)) * total

    return FlowLaw(
        " + ".join(law.name for law in laws),
        laws[0].kind,
        laws[0].count,
        laws[0].independent,
        tuple(dict.fromkeys(n for law in laws for n in law.parameters)),
        exponential(rate, "lambda", degree) + "(" + " + ".join(law.text for law in laws) + ")",
        DECAY,
        not rate.zero,
        False,
        measure,
    )


def _offsets(law: Law) -> dict[str, Fraction]:
    """For every parameter that a law reads as `c I + W` the coefficient of its linear part."""
    out: dict[str, Fraction] = {}
    for term in law.terms:
        if term.part.offset:
            name = term.part.parameter
            out[name] = out.get(name, Fraction(0)) + term.coefficient * term.part.offset
    return out


def _chains(laws: Sequence[Law]) -> list[tuple[Law, ...]]:
    """Laws that read the same `I + W`, together."""
    chains: list[tuple[Law, ...]] = []
    for law in laws:
        near = [c for c in chains if any(_offsets(law).keys() & _offsets(other).keys() for other in c)]
        chains = [c for c in chains if c not in near] + [tuple([*(x for c in near for x in c), law])]
    return chains


def mirror_laws(laws: Sequence[Law], flow: Mirror) -> tuple[list[FlowLaw], list[str]]:
    """The laws under mirror flow, and what was not derived.

    `M xi` is a gradient for a separable metric `phi''(theta_i)` if `xi_i` depends on `theta_i` alone: constants `c_i`
    give `phi'(theta_i) c_i`, scalings `s_i theta_i` give `s_i int theta phi''`.  A full matrix mixes entries, and then
    only constant metrics, one number per parameter, will do; otherwise its diagonal is left.
    """
    out: list[FlowLaw] = []
    notes: list[str] = []
    for law in laws:
        weights = {n: flow.potential(base(n)).weight for n in law.parameters}
        if law.kind != "balance":
            out.append(_dual(law, flow))
        elif set(weights.values()) == {1.0}:
            out.append(as_flow_law(law, MIRROR))
        elif any(weights[n] is None or (weights[n] != 1.0 and None not in weights.values()) for n in _offsets(law)):
            notes.append(f"{law.name} reads I + W: no law in the metric of W was derived")
        elif None not in weights.values():
            out += _weighted(law, {n: w for n, w in weights.items() if w is not None})
        else:
            found = list(separable(law, flow))
            out += found
            if not found:
                notes.append(f"{law.name}: no law in this metric was derived from it")
    return out, notes


def _dual(law: Law, flow: Mirror) -> FlowLaw:
    """A linear law in the dual variables `phi'(theta)`."""

    def measure(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
        return law.value({n: flow.potential(base(n)).dual(theta[n]) for n in law.parameters})

    plain = all(flow.potential(base(n)).weight == 1.0 for n in law.parameters)
    text = law.text if plain else f"{law.text}, each parameter read through its mirror map phi'"
    return replace(as_flow_law(law, MIRROR), formula=text, measure=measure, positive=_positive(law, flow))


def _positive(law: Law, flow: Mirror) -> tuple[str, ...]:
    return tuple(n for n in law.parameters if flow.potential(base(n)).positive)


def _weighted(law: Law, weights: dict[str, float]) -> Iterator[FlowLaw]:
    """A quadratic law with a weight per parameter: both sides of a product need the same."""
    partners = [(t.part.parameter, t.partner.parameter) for t in law.terms if t.partner is not None]
    if any(weights[a] != weights[b] for a, b in partners):
        return

    def measure(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
        return law.value({n: math.sqrt(weights[n]) * theta[n] for n in law.parameters})

    listed = ", ".join(f"{n} times {w:g}" for n, w in weights.items() if w != 1.0)
    yield replace(as_flow_law(law, MIRROR), formula=f"{law.text}, squares of {listed}", measure=measure)


def separable(law: Law, flow: Mirror) -> Iterator[FlowLaw]:
    """The diagonal of a quadratic law, with `int theta phi''` in place of `theta^2 / 2`."""
    kinds = law.axis_kinds
    unread = {k for k in kinds if k in ("skew", "cross") or (k.startswith("sectors:") and "c" not in k[8:])}
    if unread or any(t.partner is not None or t.off_diagonal for t in law.terms):
        return
    names = sorted({a for t in law.terms for a in t.part.axes if a >= 0})
    whole = {a for a, k in zip(names, kinds, strict=True) if k in ("centred", "pair") or _only_scalars(k)}
    left = ["free" if is_matrix(k) else k for a, k in zip(names, kinds, strict=True) if a not in whole]
    parts = [(float(t.coefficient), _summed(t.part, whole)) for t in law.terms]

    def measure(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
        terms = [a * _energy(part, theta[part.parameter], flow).sum((-1, -2)) for a, part in parts]
        total = torch.stack(terms).sum(0)
        for axis, kind in enumerate(left):
            total = total - total.mean(axis, keepdim=True) if kind == "traceless" else total
        return total

    first = parts[0][1]
    sizes = [first.dims[first.axes.index(a)] for a in names if a not in whole]
    count = math.prod(n - (k == "traceless") for n, k in zip(sizes, left, strict=True))
    kernels = {n: flow.potential(base(n)).name for n in law.parameters}
    read = ", ".join(f"{n} by {kernel}" for n, kernel in kernels.items())
    yield replace(
        as_flow_law(law, MIRROR),
        count=count,
        independent=count,
        formula=f"diagonal of {law.text}, with theta^2/2 replaced by theta phi' - phi: {read}",
        measure=measure,
        positive=_positive(law, flow),
    )


def _energy(part: Part, tensor: torch.Tensor, flow: Mirror) -> torch.Tensor:
    """`int theta phi''` of the entries that a law reads; a quadratic one also of `I + W`."""
    potential = flow.potential(base(part.parameter))
    if potential.weight is not None:
        return potential.weight * part.read(tensor).square() / 2
    return part.read(potential.energy(tensor))


def _only_scalars(kind: str) -> bool:
    """Whether of a matrix only multiples of the identity are diagonal."""
    return kind.startswith("sectors:") and "d" not in kind[8:]


def _summed(part: Part, axes: set[int]) -> Part:
    return replace(part, axes=tuple(-1 if a in axes else a for a in part.axes))
