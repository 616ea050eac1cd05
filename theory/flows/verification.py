"""Checking the laws of a flow: their derivative along it vanishes in float64, and that of false laws does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.func import grad, jvp, vmap

from ..arguments import there_are
from ..laws.law import Law
from ..oracle.signal import Potential, Sampler
from ..oracle.verification import TOLERANCE, LawReport, Report
from ..parts import base
from ..verdict import Verdict
from .base import Flow, Layout, State
from .errors import FlowError
from .laws import FlowLaw
from .quadratic import as_flow_law

FLAT = 1e-9  # a gradient below this fraction of the largest in its family is rounding
PROBES = 8  # random directions that measure the length of a gradient

Tensors = dict[str, torch.Tensor]
Direction = tuple[Tensors, Tensors, torch.Tensor]


@dataclass(frozen=True)
class Motion:
    """A state of a flow and its derivative for one loss: parameters, velocity and time of each."""

    at: Direction
    along: Direction
    slope: float
    moves: bool


def check_laws(
    laws: Sequence[FlowLaw | Law],
    flow: Flow,
    layout: Layout,
    draw: Callable[[torch.Generator], tuple[Potential, torch.Tensor, Sampler]],
    *,
    samples: int = 4,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> Report:
    """Checks laws along a flow at random states.

    The residual of a scalar `h` is its derivative along the flow over `|grad h| |z'|`, the lengths of its gradient and
    of the motion of what it reads.

    Args:
        laws: the laws; those of the gradient flow are read as functions of the parameters alone.
        flow: the flow.
        layout: the trainable parameters.
        draw: gives a potential whose gradients losses can send, a random point and a source of data.
        samples: number of random states.
        seed: of everything random.
        tolerance: largest residual of a law that holds.

    Returns:
        A verdict, a residual and the smallest residual of a corrupted copy for every law.

    Raises:
        FlowError: for a law of parameters that are not there, and for a flow that is not defined at a random state.
    """
    read = [as_flow_law(law) if isinstance(law, Law) else law for law in laws]
    for law in read:
        if not isinstance(law, FlowLaw):
            raise FlowError(f"{law!r} is no law; pass those of lawful.flows.laws or lawful.derive")
        for name in map(base, law.parameters):
            if name not in layout.shapes:
                raise FlowError(
                    f"{law.name} reads {name!r}, which is no trainable parameter; {there_are(layout.shapes)}"
                )
    motions = list(_motions(flow, layout, draw, samples, seed))
    return Report(tuple(_judge(law, motions, tolerance, seed) for law in read))


def _motions(flow: Flow, layout: Layout, draw: Callable, samples: int, seed: int) -> Iterator[Motion]:
    for i in range(samples):
        generator = torch.Generator().manual_seed(seed + 7919 * i)
        potential, theta, sample = draw(generator)
        theta = flow.generic(theta, layout)
        (gradient,) = vmap(grad(potential), (None, 0))(theta, sample(1))
        time = torch.zeros((), dtype=theta.dtype)
        if flow.timed:
            time = 0.5 + torch.rand((), dtype=theta.dtype, generator=generator)
        velocity = torch.zeros_like(theta)
        if flow.inertial:
            velocity = torch.randn(theta.shape, dtype=theta.dtype, generator=generator)
        state = State(time, theta, velocity)
        motion = flow.motion(state, gradient, layout)
        at = layout.split(theta), layout.split(velocity), time
        along = layout.split(motion.theta), layout.split(motion.velocity), motion.time if flow.timed else 0 * time
        slope = float(torch.cat([motion.theta, motion.velocity]).norm())
        yield Motion(at, along, slope, float(gradient.norm()) > 0)


def _judge(law: FlowLaw, motions: Sequence[Motion], tolerance: float, seed: int) -> LawReport:
    residual, tested = _residual(law, motions, seed)
    control = min((_residual(false, motions, seed)[0] for false in law.corruptions), default=float("inf"))
    if not residual <= tolerance:
        verdict = Verdict.VIOLATED
    elif not tested:
        verdict = Verdict.VACUOUS
    else:
        verdict = Verdict.HOLDS if control > 1e3 * tolerance else Verdict.UNDECIDED
    return LawReport(law.name, verdict, residual, control)


def _residual(law: FlowLaw, motions: Sequence[Motion], seed: int) -> tuple[float, bool]:
    """Largest relative derivative along the flow, and whether every scalar was tested.

    Entries without any gradient (the diagonal of a skew matrix) are no scalars of the law; there must be as many others
    as it has.  What never moves is tested by any motion.
    """
    names = tuple(dict.fromkeys(base(n) for n in law.parameters))
    worst, active = 0.0, None
    for i, motion in enumerate(motions):
        if not motion.moves:
            continue
        at, along = _only(motion.at, names), _only(motion.along, names)
        generator = torch.Generator().manual_seed(seed + i)

        def value(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
            return law.value(theta, speed, time).reshape(-1)

        def derivative(direction: Direction, at: Direction = at) -> torch.Tensor:
            return jvp(value, at, direction)[1]

        change = derivative(along)
        steep = vmap(derivative)(_like(along, generator)).square().mean(0).sqrt()
        felt = vmap(derivative)(_like(along, generator, signs=True)).square().mean(0).sqrt()
        length = _length(along) if law.kind not in ("frozen", "shift") else motion.slope
        if not bool(torch.isfinite(change).all()) or not bool(torch.isfinite(steep).all()):
            return float("inf"), True
        real = steep > FLAT * steep.max()
        if int(real.sum()) < law.count:
            return worst, False
        worst = max(worst, float((change[real].abs() / (steep[real] * length)).max()))
        felt = (felt if law.kind not in ("frozen", "shift") else steep) + (~real).to(felt)
        active = felt if active is None else active + felt
    return worst, active is not None and bool((active > 0).all())


def _only(state: Direction, names: Sequence[str]) -> Direction:
    theta, speed, time = state
    return {n: theta[n] for n in names}, {n: speed[n] for n in names}, time


def _like(direction: Direction, generator: torch.Generator, signs: bool = False) -> Direction:
    """`PROBES` random directions; with `signs` the given one with random signs, else of normal entries."""

    def draw(x: torch.Tensor) -> torch.Tensor:
        noise = torch.randn((PROBES, *x.shape), dtype=x.dtype, generator=generator)
        return noise.sign() * x if signs else noise

    theta, speed, time = direction
    return {n: draw(x) for n, x in theta.items()}, {n: draw(x) for n, x in speed.items()}, draw(time)


def _length(direction: Direction) -> float:
    theta, speed, time = direction
    return float(torch.cat([x.reshape(-1) for x in (*theta.values(), *speed.values(), time)]).norm())
