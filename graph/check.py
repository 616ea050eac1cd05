"""The whole claim in one call: the laws hold, they are independent, and there are no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import jacrev

from lawful.blocks import Net, ShapeError
from lawful.theory.laws import Law, LawSet
from lawful.theory.losses import Loss, LossError, LossLike, label, parse, read, spans
from lawful.theory.modules import Axes
from lawful.theory.oracle import CLEAR_GAP, Count, expect_known
from lawful.theory.verdict import Verdict
from lawful.theory.verification import Report
from lawful.theory.verification import verify as verify_laws

from .architecture import Architecture
from .counting import count
from .engine import derive
from .module import Network
from .naming import losses_of

COUNTABLE = 400  # trainable scalars that the oracle counts in seconds
MANY = 16  # random points where a few leave a law untested
VERIFIABLE = 2_000_000  # parameters whose gradients are quick to take in float64


@dataclass(frozen=True)
class CheckReport:
    """What was derived, measured and counted for one architecture.

    Attributes:
        laws: the laws of the architecture.
        report: a verdict for each of them.
        verified_on: the architecture they were verified on: the one given, or its shrunken copy if that is too large.
        small: the architecture that was counted, with every epsilon read as 0.
        small_laws: the laws of `small`.
        count: what the oracle says about `small`.
        rank: numerical rank of the gradients of `small_laws` at a generic point, -1 where it is not clear.
    """

    laws: LawSet
    report: Report
    verified_on: Architecture
    small: Architecture
    small_laws: LawSet
    count: Count
    rank: int

    @property
    def holds(self) -> bool:
        """Whether every law was verified; one that is only approximate may miss by its epsilon."""
        return acceptable(self.report, self.verified_laws)

    @property
    def verified_laws(self) -> LawSet:
        """The laws in `report`: those of `verified_on`."""
        return self.laws if self.verified_on is not self.small else self.small_laws

    @property
    def complete(self) -> bool:
        """Whether the oracle counts exactly the laws that were derived, and these are independent."""
        decided = self.count.verdict.passed or (self.count.verdict is Verdict.VACUOUS and not self.count.parameters)
        return decided and self.count.laws == self.small_laws.independent == self.rank

    @property
    def lawful(self) -> bool:
        """Whether the laws hold and the list is complete.  What is undecided is not lawful."""
        return self.holds and self.complete

    @property
    def findings(self) -> tuple[str, ...]:
        """The limits of the rules that explain why the oracle counts more laws than were derived; empty if none do."""
        more = self.count.verdict.passed and self.count.laws > self.small_laws.independent
        return self.small_laws.notes if more else ()

    @property
    def verdict(self) -> Verdict:
        """`HOLDS` if lawful, `VIOLATED` if a law is false or missing, else `UNDECIDED`.

        Laws that are missing behind a limit that the engine names are a finding, not a violation.
        """
        if self.lawful:
            return Verdict.HOLDS
        found = {r.verdict for r in self.report.laws} | {self.count.verdict}
        differs = self.count.verdict.passed and self.count.laws != self.small_laws.independent and not self.findings
        return Verdict.VIOLATED if Verdict.VIOLATED in found or differs else Verdict.UNDECIDED

    @property
    def summary(self) -> str:
        """A few lines for people."""
        approximate = sum(not law.exact for law in self.laws)
        lines = [
            f"{self.laws.count} scalar laws in {len(self.laws)} families, {self.laws.independent} independent"
            + (f"; {approximate} families hold up to an epsilon" if approximate else ""),
            f"verified: {'every law' if self.holds else 'NOT every law'}, "
            f"largest residual of an exact law {self.report.residual:.1e}",
            f"counted on {self.count.parameters} parameters: "
            f"oracle {self.count.laws}, engine {self.small_laws.independent}, "
            f"rank of their gradients {self.rank if self.rank >= 0 else 'unclear'}",
            "complete: no law is missing" if self.complete else self._incomplete(),
            *dict.fromkeys((*self.laws.notes, *self.findings)),
        ]
        return "\n".join(lines)

    def _incomplete(self) -> str:
        difference = self.count.laws - self.small_laws.independent
        if not self.count.verdict.passed:
            return f"undecided: the oracle says {self.count.verdict} (gap {self.count.gap:.0e})"
        if self.findings:
            return f"a finding: {difference} more laws than the rules give, behind a limit that is named below"
        if difference:
            return f"NOT complete: {abs(difference)} {'laws are missing' if difference > 0 else 'laws too many'}"
        return "undecided: the gradients of the laws do not show their number"


def acceptable(report: Report, laws: Sequence[Law]) -> bool:
    """Whether every law was verified; only a law that is marked as approximate may miss by the epsilon of a norm."""
    approximate = {law.name for law in laws if not law.exact}
    return all(r.verdict.passed or (r.verdict is Verdict.APPROXIMATE and r.law in approximate) for r in report.laws)


def verify(
    network: Architecture | torch.nn.Module,
    laws: Sequence[Law] | LawSet | None = None,
    loss: LossLike | None = None,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    redraw: bool = True,
    axis: Axes | None = None,
    samples: int = 4,
    seed: int = 0,
) -> Report:
    """Checks laws by loss gradients in float64.

    Args:
        network: an architecture (random parameters), or a module (the parameters that it has).
        laws: the laws; derived from the architecture where they are not given.
        loss: the loss of every output (see `derive`); by default those the laws were derived for, or the squared error.
        args: example inputs of a module; not needed for one made by `Architecture.to_torch`.
        kwargs: example keyword inputs of a module; masks and what is no tensor are passed on.
        redraw: whether the inputs of a module are drawn anew for every sample, like the examples; if not, they are
            data to be checked on as they are.
        axis: the axis of the features (the classes) in a module's output, or one for every output: the last by default,
            and that of an architecture, or of a module made from one, is known.
        samples: number of random points or batches.
        seed: of points and data.

    Returns:
        A verdict and a residual for every law.

    Raises:
        ShapeError: if the laws of a foreign module are not given, or were derived for losses that see other things.
    """
    arch = network if isinstance(network, Architecture) else network.arch if isinstance(network, Network) else None
    if laws is None:
        if arch is None:
            raise ShapeError(f"no laws are known for a {type(network).__name__}; pass laws=lawful.derive(...)")
        laws = derive(arch, loss or "mse")
    losses = agreed_losses(laws, loss, arch)
    if isinstance(network, Network) and not args and not kwargs:
        args = network.arch.random_inputs(6, torch.Generator().manual_seed(seed))
    where: dict[str, Any] = {"args": args, "kwargs": kwargs, "axis": axis, "redraw": redraw}
    return verify_laws(laws, network, losses, samples=samples, seed=seed, **where)


def agreed_losses(laws: Sequence[Law] | LawSet, loss: LossLike | None, arch: Architecture | None = None) -> LossLike:
    """The losses to check laws with: those asked for, if what they see is what the laws were derived for.

    Args:
        laws: the laws; those of a `LawSet` say what they were derived for.
        loss: what is asked for; None for what the laws were derived for, or the squared error.
        arch: the architecture, where there is one; without it losses by the name of an output are taken as they are.

    Raises:
        ShapeError: if the laws were derived for losses that see other things, and for losses that do not fit.
    """
    derived_for = parse(laws.loss) if isinstance(laws, LawSet) else ()
    if loss is None and derived_for:
        return derived_for
    if arch is None and (not derived_for or isinstance(loss, Mapping)):
        return loss or "mse"
    try:
        names = [f"output {i}" for i in range(len(derived_for))]
        asked = losses_of(arch, loss or "mse") if arch else read(loss or "mse", names)
    except LossError as error:
        raise ShapeError(str(error)) from error
    if derived_for and spans(asked) != spans(derived_for):
        raise ShapeError(
            f"the laws were derived for {label(derived_for)}, the loss is {label(asked)}; "
            f"derive them again with loss={label(asked)!r}"
        )
    return asked


def check(
    network: Architecture | Net, loss: LossLike = "mse", *, seed: int = 0, progress: Callable[[str], None] | None = None
) -> CheckReport:
    """Derives the laws of an architecture, verifies every one, and counts a shrunken copy by brute force.

    The laws are verified on the architecture itself up to `VERIFIABLE` parameters, else on its shrunken copy.  The
    copy is counted with every epsilon read as 0, where all laws are exact.

    Args:
        network: the architecture, or an expression of blocks.
        loss: the loss of every output (see `derive`).
        seed: of everything random.
        progress: called with a line before each stage.

    Returns:
        All of it, with `lawful`, `complete`, `verdict` and a `summary`.

    Raises:
        ShapeError: for losses that do not fit the outputs.
        ContradictionError: if the oracle counts fewer laws than hold.
    """
    say = progress or (lambda line: None)
    arch = Architecture(network) if isinstance(network, Net) else network
    losses = losses_of(arch, loss)  # by the names of the outputs, which the shrunken copy may not have
    say("deriving")
    laws = derive(arch, label(losses))
    size = sum(p.size for p in arch.parameters.values())
    small = (arch if size <= COUNTABLE else arch.shrink()).with_epsilon(0.0)
    # Fewer classes have fewer weights, which do not matter for what a loss sees.
    plain = label(losses if small.outputs == arch.outputs else [Loss(m.name) for m in losses])
    small_laws = derive(small, plain)
    target, checked = (arch, laws) if size <= VERIFIABLE else (small, small_laws)
    say(f"verifying {len(checked)} families of laws")
    report = verify(target, checked, seed=seed)
    if report.verdict in (Verdict.VACUOUS, Verdict.UNDECIDED):  # a unit that was dead in all samples
        report = verify(target, checked, samples=MANY, seed=seed)
    counted = count(small, plain, seed=seed, progress=lambda line: say(f"counting: {line}"))
    rank = gradient_rank(small, small_laws, seed)
    if counted.laws < rank and acceptable(verify(small, small_laws, samples=MANY, seed=seed), small_laws):
        expect_known(counted, rank)
    return CheckReport(laws, report, target, small, small_laws, counted, rank)


def gradient_rank(arch: Architecture, laws: Sequence[Law], seed: int = 0) -> int:
    """Numerical rank of the gradients of all scalars of some laws at a generic point, -1 where it is not clear."""
    generator = torch.Generator().manual_seed(seed)
    values = arch.random_parameters(generator)
    trainable = {n: v for n, v in values.items() if n not in arch.frozen}
    fixed = {n: v for n, v in values.items() if n in arch.frozen}
    if not laws or not trainable:
        return 0

    def scalars(p: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([law.value({**fixed, **p}).reshape(-1) for law in laws])

    parts = jacrev(scalars)(trainable)
    rows = torch.cat([parts[n].flatten(1) for n in trainable], 1)
    if not bool(torch.isfinite(rows).all()):
        return -1
    norms = rows.norm(dim=1, keepdim=True)  # a row far below the others is rounding and must stay small
    s = torch.linalg.svdvals(rows / norms.clamp_min(1e-6 * float(norms.max())))
    rank = int((s > 1e-9 * s[0]).sum())
    clear = rank == len(s) or float(s[rank - 1]) > CLEAR_GAP * float(s[rank])
    return rank if clear else -1
