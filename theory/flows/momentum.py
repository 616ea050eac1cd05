"""Laws of momentum: angular momenta of wires, and two laws for every linear one.

With `theta'' + tau theta' = -grad L` and a Killing field `xi` that is tangent to the level sets of the network,

    d/dt (e^{int tau} <theta', xi>) = e^{int tau} (<theta', Dxi theta'> - <grad L, xi>) = 0,

since the linear part of `xi` is skew.  A constant field `c` gives `e^{int tau} <c, theta'>`, and the place
`<c, theta> - G(t) <c, theta'>` with `G' = tau G + 1`, that is `<c, theta> - t <c, theta'>` without damping.

Source: Marcotte, Gribonval, Peyré 2024 (two linear layers, complete there); the angular momenta of other wires and the
second law of a constant field are derived here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import torch

from ..derive.ranks import settled
from ..gauge.solution import Solution
from ..gauge.sums import Pair, parallel_pairs
from ..laws.law import Law
from ..laws.statement import Part
from ..parts import base
from .kinds import Momentum
from .laws import FlowLaw, Tensors
from .potentials import ENTROPY
from .quadratic import as_flow_law, exponential, separable
from .rate import Rate
from .rotations import Rotations
from .skew import Skew

SOURCE = "Noether's theorem for Killing fields; Marcotte, Gribonval, Peyré 2024"


def momentum_laws(solution: Solution, laws: Sequence[Law], flow: Momentum) -> tuple[list[FlowLaw], list[str]]:
    """The laws under momentum, and what was not derived.

    Args:
        solution: the gauges of the network, for its rewritten diagram and the parameters that never move.
        laws: its laws under the gradient flow.
        flow: the damping and the metric.

    With a metric `M` the field `M xi` has to be Killing.  That leaves what never moves, what reads only parameters of
    euclidean metric, and under entropy, where `M xi = s` for a scaling `xi = s theta`, the sums of mirror flow.
    """
    skew = Skew(solution.drawn)
    found = [law for wires in skew.classes for law in _angular(solution, skew, wires, flow.rate)]
    for pair in parallel_pairs(solution.drawn):
        found += _crossed(solution, skew, pair, flow.rate)
    sums: list[FlowLaw] = []
    for law in laws:
        metrics = [flow.metric.potential(base(n)) for n in law.parameters]
        if law.kind != "balance":
            found += _linear(as_flow_law(law), flow.rate)
        elif not flow.ahead and all(p is ENTROPY for p in metrics):
            sums += [one for total in separable(law, flow.metric) for one in _linear(total, flow.rate)]
    kept = [law for law in found if law.kind == "frozen" or _is_euclidean(law, flow)]
    lost = [law.name for law in found if law not in kept]
    notes = [f"{name}: no law was derived where it reads parameters whose metric is not euclidean" for name in lost]
    return kept + sums, skew.notes + notes


def _is_euclidean(law: FlowLaw, flow: Momentum) -> bool:
    return all(flow.metric.potential(base(n)).weight == 1.0 for n in law.parameters)


def independent(width: int, vectors: int) -> int:
    """Independent scalars of the angular momentum of `vectors` generic vectors and their velocities.

    A rotation of the complement of `r = min(width, 2 vectors)` vectors moves nothing, which leaves
    `r (2 width - r - 1) / 2` (Marcotte, Gribonval, Peyré 2024).
    """
    r = min(width, 2 * vectors)
    return r * (2 * width - r - 1) // 2


def _angular(solution: Solution, skew: Skew, wires: Sequence[int], rate: Rate) -> Iterator[FlowLaw]:
    turns = skew.rotations(wires[0])
    parts = [part for w in wires for part in _parts(solution, skew, w)]
    vectors = _vectors(solution, skew, wires)
    if not vectors:
        return

    def measure(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
        total = _wedge(parts, parts, theta, speed)
        if turns.still:
            total = total - total.mean(-1, keepdim=True)
            total = total - total.mean(-2, keepdim=True)
        return torch.exp(rate.integral(time)) * (total[0] if turns.groups == 1 else total)

    n = turns.block
    blocks = "" if turns.groups == 1 else f", for each of {turns.groups} blocks of {turns.width} features"
    centred = ", on the complement of 1" if turns.still else ""
    yield FlowLaw(
        f"angular momentum of {solution.drawn.wires[wires[0]].name}",
        "angular",
        turns.groups * n * (n - 1) // 2,
        turns.groups * independent(n, vectors),
        _names(parts),
        f"{exponential(rate, 'tau')}sum of X X'^T - X' X^T over X = {_listed(parts)}{blocks}{centred}",
        SOURCE,
        not rate.zero,
        True,
        measure,
    )


def _crossed(solution: Solution, skew: Skew, pair: Pair, rate: Rate) -> Iterator[FlowLaw]:
    """Rotations between two parallel linear branches, which are one wire of both widths."""
    first, second = (solution.drawn.wires[w] for w in (pair.first, pair.second))
    sizes = (first.size, second.size)
    if any(
        not skew.alone(w) or skew.rotations(w) != Rotations(1, 1, n) for w, n in zip(_ends(pair), sizes, strict=True)
    ):
        return
    one, two = (_parts(solution, skew, w) for w in _ends(pair))
    vectors = _vectors(solution, skew, [pair.first])
    joint = independent(sum(sizes), vectors) - sum(independent(n, vectors) for n in sizes)

    def measure(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
        return torch.exp(rate.integral(time)) * _wedge(one, two, theta, speed)[0]

    yield FlowLaw(
        f"angular momentum between {first.name} and {second.name}",
        "angular",
        sizes[0] * sizes[1],
        joint,
        _names([*one, *two]),
        f"{exponential(rate, 'tau')}sum of X Y'^T - X' Y^T over X = {_listed(one)} and Y = {_listed(two)}",
        SOURCE,
        not rate.zero,
        True,
        measure,
    )


def _ends(pair: Pair) -> tuple[int, int]:
    return pair.first, pair.second


def _parts(solution: Solution, skew: Skew, wire: int) -> list[Part]:
    """How every parameter on a wire is read, block by block; all of them turn with the wire alike."""
    turns, size = skew.rotations(wire), solution.drawn.wires[wire].size
    dims = (turns.groups // turns.strided, turns.copies, turns.width, turns.strided)
    return [
        Part(use.parameter, use.views[axis], (size,), ((0, size),), dims, (0, -1, 2, 1), use.offset)
        for use in skew.uses()
        for axis, ends in enumerate(use.axes)
        if ends[0][0] == wire
    ]


def _vectors(solution: Solution, skew: Skew, wires: Sequence[int]) -> int:
    """How many generic vectors the parameters put on one block of a class of wires."""
    total = 0
    for use in skew.uses():
        if use.constant or len(use.axes) == 1:
            still = solution.vector_is_constant(use.parameter, use)
        else:
            still = solution.matrix_is_constant(use.parameter, use)
        for ends in use.axes:
            w = ends[0][0]
            if w in wires and not still:
                total += solution.diagram.parameters[use.parameter].size // (
                    skew.rotations(w).groups * skew.rotations(w).width
                )
    whole = [(w, 0) for w in wires if len(solution.layouts.algebras[w].boxes) == 1]
    return total - (settled(solution, whole) if whole else 0)


def _wedge(one: Sequence[Part], two: Sequence[Part], theta: Tensors, speed: Tensors) -> torch.Tensor:
    """The sum of `X Y'^T - X' Y^T`, block by block."""
    terms = []
    for p, q in zip(one, two, strict=True):
        x, y = (_read(part, theta) for part in (p, q))
        dx, dy = (_read(replace(part, offset=Fraction(0)), speed) for part in (p, q))
        terms.append(x @ dy.transpose(-1, -2) - dx @ y.transpose(-1, -2))
    return torch.stack(terms).sum(0)


def _read(part: Part, tensors: Tensors) -> torch.Tensor:
    """`(blocks, features, vectors)`."""
    return part.read(tensors[part.parameter]).flatten(-2).flatten(0, 1)


def _names(parts: Sequence[Part]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(p.parameter for p in parts))


def _listed(parts: Sequence[Part]) -> str:
    return ", ".join(
        ("I + " if p.offset else "") + p.parameter + (".T" if p.view.order[0] and len(p.view.shape) > 1 else "")
        for p in parts
    )


def _linear(law: FlowLaw, rate: Rate) -> Iterator[FlowLaw]:
    """A linear function of the parameters that no loss pushes: its velocity, and its place."""
    frozen = law.kind == "frozen"
    nothing = torch.zeros(())

    def velocity(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
        return torch.exp(rate.integral(time)) * law.measure(speed, {}, nothing)

    def place(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
        return law.measure(theta, {}, nothing) - rate.memory(time) * law.measure(speed, {}, nothing)

    if rate.zero:
        memory = "t"
    else:
        memory = "G(t)" if callable(rate.value) else f"(e^({rate.value:g} t) - 1)/{rate.value:g}"
    defined = ", G' = tau G + 1, G(0) = 0" if memory == "G(t)" else ""
    yield replace(
        law,
        name=f"velocity of {law.name}",
        kind="frozen" if frozen else "linear",
        formula=f"{exponential(rate, 'tau')}({law.formula})'",
        source=SOURCE,
        timed=not rate.zero,
        inertial=True,
        measure=velocity,
    )
    yield replace(
        law,
        name=f"place of {law.name}",
        kind="frozen" if frozen else "centre",
        formula=f"{law.formula} - {memory} ({law.formula})'{defined}",
        source=SOURCE,
        timed=True,
        inertial=True,
        measure=place,
    )
