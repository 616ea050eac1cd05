"""How many parameters a network really has: functions, redundant directions, gauges and laws."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.blocks import ShapeError
from lawful.theory.arguments import of_right_kinds, plural
from lawful.theory.laws.notes import once
from lawful.theory.laws.pages import Printed
from lawful.theory.losses import LossLike
from lawful.theory.oracle.counting import CLEAR_GAP, Count, count_fields, expect_known
from lawful.theory.oracle.exact.program import NotPolynomialError
from lawful.theory.refusals import refused
from lawful.theory.verdict import Verdict

from ..architecture.architecture import Architecture
from .count import count
from .derive import architecture_of, derive
from .fields import fields_of, layout_of
from .reading import NetworkLike, question
from .tangents import Tangents, tangents

ATTEMPTS = 3  # random points, until one separates signal from rounding
FIELDS = 16  # gradients that every direction of a gauge is tested against
TANGENT = 1e-9  # relative size up to which a direction is orthogonal to a gradient


@dataclass(frozen=True)
class Family:
    """What one family of gauges accounts for.

    Attributes:
        name: of what moves.
        kind: `balance`, `shift`, `frozen`, `rotation` or `translation`.
        parameters: names of the parameters that it moves.
        gauge: redundant directions that it adds to those of the families before it.
        laws: conserved quantities that it adds likewise; none for rotations and translations.
    """

    name: str
    kind: str
    parameters: tuple[str, ...]
    gauge: int
    laws: int


@dataclass(frozen=True, repr=False)
@of_right_kinds
class ParameterCount(Printed):
    """How many parameters a network has, and what the redundant ones are.

    At a generic point, `dimension + fibre = parameters`, `brackets + laws = fibre` and `gauge + unexplained = fibre`.

    Attributes:
        parameters: trainable scalars `D`.
        dimension: of the space of functions near a generic point: the rank of `W_0`, the span of the gradients that
            losses can send for all data (the generic rank of the Jacobian in the parameters over all data).
        reached: dimension of the Lie algebra that `W_0` generates: the directions in which training can go in the end.
        gauge: dimension of the directions that the engine derives and that change no function.
        derived: independent laws that the engine derives.
        families: what each family of gauges accounts for; its numbers add up to `gauge` and `derived`.
        method: how the two ranks were counted.
        gap: the smaller gap of singular values at the two ranks; infinity where they are exact.
        verdict: `HOLDS` if everything is clear and consistent; `VIOLATED` if a direction of a gauge does change the
            function, or more is claimed than there is; `UNDECIDED` without clear gaps.
        notes: what the engine did not derive.
    """

    parameters: int
    dimension: int
    reached: int
    gauge: int
    derived: int
    families: tuple[Family, ...]
    method: str
    gap: float
    verdict: Verdict
    notes: tuple[str, ...] = ()

    @property
    def fibre(self) -> int:
        """Redundant directions: the dimension of the set of parameters with one function, near a generic point."""
        return self.parameters - self.dimension

    @property
    def laws(self) -> int:
        """Independent conserved quantities, by the Lie algebra."""
        return self.parameters - self.reached

    @property
    def brackets(self) -> int:
        """Redundant directions without a law: training gets there by brackets of gradients."""
        return self.reached - self.dimension

    @property
    def unexplained(self) -> int:
        """Redundant directions that no gauge explains.

        Known causes: functions that fill their space (quadratic forms with enough squares); features that a norm or an
        activation reads but the parameters before it do not span; a gain right before a linear map, which it is one
        with; units that are dead for every input; and what `notes` name.
        """
        return self.fibre - self.gauge

    @property
    def accidental(self) -> int:
        """Laws that no gauge explains."""
        return self.laws - self.derived

    @property
    def gist(self) -> str:
        """The two numbers that it is about."""
        return (
            f"{self.dimension:,} of {self.parameters:,} parameters matter, {plural(self.laws, 'law')}, {self.verdict}"
        )

    def __str__(self) -> str:
        rows = [
            ("trainable parameters", self.parameters, "D"),
            ("  dimension of the function space", self.dimension, "rank W_0"),
            ("  redundant directions", self.fibre, "D - rank W_0"),
            ("    of gauges", self.gauge, ""),
            ("    unexplained", self.unexplained, ""),
            ("conserved quantities", self.laws, "D - dim Lie"),
            ("    of gauges", self.derived, ""),
            ("    unexplained", self.accidental, ""),
            ("redundant directions without a law", self.brackets, "dim Lie - rank W_0"),
        ]
        lines = [f"{name:36}{n:>8}  {symbol}".rstrip() for name, n, symbol in rows]
        if self.families:
            width = max(36, *(len(f.name) + 2 for f in self.families))
            lines += ["", f"{'':{width}}{'gauge':>8}{'laws':>8}"]
            lines += [f"{f.name:{width}}{f.gauge:>8}{f.laws:>8}" for f in self.families]
        gap = "" if math.isinf(self.gap) else f", gap {self.gap:.0e}"
        return "\n".join([*lines, "", f"{self.verdict}: {self.method}{gap}", *once(self.notes)])


@question()
def parameter_count(
    network: NetworkLike,
    loss: LossLike = "mse",
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> ParameterCount:
    """Counts the parameters of a network that matter, those that do not, and what is conserved among those.

    Both ranks are exact (modulo primes) where the network is polynomial once its activation patterns are fixed, else
    they are read from singular values.  Time grows with the cube of the parameters, so count `arch.shrink()` of a large
    network.  Every epsilon of a norm is read as 0.

    The activation patterns of an architecture are *free*: the dimension is that of the gated family, of all patterns
    together.  At one parameter a ReLU network has fewer patterns, so its functional dimension (Grigsby, Lindsey,
    Meyerhoff and Wu 2022) is at most this, and is less where units are dead or patterns missing (Grigsby, Lindsey and
    Rolnick 2023, hidden symmetries).  For linear networks it is the dimension of a determinantal variety (Trager, Kohn
    and Bruna 2020), for polynomial activations that of the functional variety (Kileel, Trager and Bruna 2019).

    With a loss that is blind to a part of the output (`cross_entropy`), functions that it cannot tell apart are one.

    Args:
        network: an architecture, an expression of blocks, a torch module, which is traced, or a spec.
        loss: the loss of every output (see `derive`).
        args: example inputs of a module.
        kwargs: its keyword inputs.
        seed: of the points and the data.
        progress: called with a line before each stage (`progress=print`); without it a line now and then goes to
            stderr where that is a terminal.

    Returns:
        The numbers, a line for every family of gauges, and a verdict; `print` it for a table.

    Raises:
        ShapeError: for a module without inputs, losses that do not fit, and a network without trainable parameters.
        ContradictionError: if fewer laws are counted than hold.

    >>> import lawful as lw
    >>> from lawful import blocks as b
    >>> found = parameter_count(lw.Architecture(b.Linear(3, 2, False) >> b.Linear(2, 4, False)))
    >>> found.parameters, found.dimension, found.gauge, found.laws, found.brackets
    (14, 10, 4, 3, 1)
    """
    say = progress or (lambda line: None)
    with refused("the parameters cannot be counted", "count those of the part without that operation", ShapeError):
        return _counted(architecture_of(network, tuple(args), kwargs).with_epsilon(0.0), loss, seed, say)


def _counted(arch: Architecture, loss: LossLike, seed: int, say: Callable[[str], None]) -> ParameterCount:
    """See `parameter_count`, for an architecture without epsilons."""
    say("deriving")
    laws = derive(arch, loss)
    space, algebra = _ranks(arch, loss, seed, say)
    say("moving along every gauge")
    layout = layout_of(arch)
    families: list[Family] = []
    clear, true, notes = True, True, tuple(laws.notes)
    if layout.size:
        generator = torch.Generator().manual_seed(seed)
        potential, theta, sample = fields_of(arch, loss, generator)
        values = arch.random_parameters(torch.Generator().manual_seed(seed)) | layout.split(theta)
        found, more = tangents(arch, laws, loss, layout, values)
        notes = tuple(dict.fromkeys((*notes, *more)))
        gradient = torch.func.vmap(torch.func.grad(potential), (None, 0))(theta, sample(FIELDS))
        true = all(_orthogonal(t.rows, gradient) for t in found)
        families, clear = _families(found)
    gauge, derived = sum(f.gauge for f in families), sum(f.laws for f in families)
    dimension, reached = (space.ranks or (0,))[0], (algebra.ranks or (0,))[-1]
    counted = (space.verdict, algebra.verdict)
    if Verdict.VACUOUS in counted or Verdict.VIOLATED in counted:
        verdict = Verdict.VACUOUS if Verdict.VACUOUS in counted else Verdict.VIOLATED
    elif not (space.verdict.passed and algebra.verdict.passed and clear):
        verdict = Verdict.UNDECIDED
    elif true and gauge <= layout.size - dimension and derived <= layout.size - reached:
        verdict = Verdict.HOLDS if dimension <= reached and derived == laws.independent else Verdict.UNDECIDED
    else:
        if true:
            expect_known(algebra, derived)
        verdict = Verdict.VIOLATED
    return ParameterCount(
        layout.size,
        dimension,
        reached,
        gauge,
        derived,
        tuple(families),
        algebra.method,
        min(space.gap, algebra.gap),
        verdict,
        notes,
    )


def _ranks(arch: Architecture, loss: LossLike, seed: int, say: Callable[[str], None]) -> tuple[Count, Count]:
    """The span of the fields, and the Lie algebra."""

    def tell(line: str) -> None:
        say(f"counting: {line}")

    try:
        found = count(arch, loss, seed=seed, exact=True, progress=tell)
        return found, found
    except NotPolynomialError:
        found = count(arch, loss, seed=seed, progress=tell)
    say("counting: the span of the fields")
    for attempt in range(ATTEMPTS):
        potential, theta, sample = fields_of(arch, loss, torch.Generator().manual_seed(seed + 1000 * attempt))
        space = count_fields(potential, theta, sample, depth=0)
        if space.verdict is not Verdict.UNDECIDED:
            break
    return space, found


def _orthogonal(rows: torch.Tensor, gradients: torch.Tensor) -> bool:
    """Whether directions are tangent to the level sets of the network."""
    sizes = rows.norm(dim=1)[:, None] * gradients.norm(dim=1)
    return bool(((rows @ gradients.T).abs() <= TANGENT * sizes.clamp_min(1e-300)).all())


def _families(found: Sequence[Tangents]) -> tuple[list[Family], bool]:
    """What every family adds to the rank, and whether all ranks are clear."""
    out, clear, before = [], True, 0
    rows = found[0].rows[:0] if found else torch.zeros(0, 0)
    for one in found:
        rows = torch.cat([rows, one.rows])
        rank, sure = _rank(rows)
        clear, added = clear and sure, rank - before
        out.append(Family(one.name, one.kind, one.parameters, added, added if one.lawful else 0))
        before = rank
    return out, clear


def _rank(rows: torch.Tensor) -> tuple[int, bool]:
    """Numerical rank, and whether the gap of singular values is clear."""
    norms = rows.norm(dim=1, keepdim=True)
    kept = rows / norms.clamp_min(1e-6 * float(norms.max()) if norms.numel() else 1.0).clamp_min(1e-300)
    s = torch.linalg.svdvals(kept)
    if not len(s) or not float(s[0]) > 0:
        return 0, bool(torch.isfinite(rows).all())
    rank = int((s > 1e-9 * s[0]).sum())
    return rank, rank == len(s) or float(s[rank - 1]) > CLEAR_GAP * float(s[rank])
