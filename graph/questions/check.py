"""The whole claim in one call: the laws hold, they are independent, and there are no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch.func import jacrev

from lawful.blocks import ShapeError
from lawful.theory.arguments import plural
from lawful.theory.derive.lawset import LawSet
from lawful.theory.laws.law import Law
from lawful.theory.losses import Loss, LossError, LossLike, label, parse, read, spans
from lawful.theory.oracle.counting import CLEAR_GAP, expect_known
from lawful.theory.oracle.modules import Axes, Point, module_points
from lawful.theory.oracle.quantities import Quantity, judge_quantity, quantities_of
from lawful.theory.oracle.verification import Report
from lawful.theory.oracle.verification import verify as verify_laws
from lawful.theory.verdict import Verdict

from ..architecture.architecture import Architecture
from ..architecture.batches import expect_runs, runs
from ..architecture.footprint import expect_fits, fits
from ..architecture.module import Network
from ..architecture.outputs import losses_of
from ..architecture.points import examples_of
from ..architecture.shrinking.likeness import doubts
from ..architecture.shrinking.shrink import LARGEST, shrink, trainable_scalars
from ..architecture.shrinking.untraced import WAY_OUT, untraced
from .check_report import CheckReport, Subject, acceptable
from .count import ONE_RUN, class_axes, count
from .derive import by_rules, derive, listed
from .fields import counted_examples
from .reading import NetworkLike, expect_numbers, question
from .settled import OPEN

__all__ = ["CheckReport", "acceptable", "agreed_losses", "check", "gradient_rank", "verify"]

COUNTABLE = 400  # trainable scalars that the oracle counts in seconds
MANY = 16  # random points where a few leave a law untested
VERIFIABLE = 2_000_000  # parameters whose gradients are quick to take in float64


@question()
def verify(
    network: NetworkLike,
    laws: Law | Sequence[Law] | LawSet | Quantity | Sequence[Quantity] | Mapping[str, Quantity] | None = None,
    loss: LossLike | None = None,
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    redraw: bool = True,
    axis: Axes | None = None,
    samples: int = 4,
    seed: int = 0,
) -> Report:
    """Checks laws by loss gradients in float64.

    Args:
        network: an architecture, an expression of blocks or a spec (random parameters), or a module (the parameters
            that it has).
        laws: the laws, or one; derived from the network where they are not given.  Or quantities of your own, one,
            several or by name: functions from tensors by parameter name to a tensor, made of differentiable torch
            operations (`lambda p: p["up.weight"].square().sum(1) - p["down.weight"].square().sum(0)`).  Their control
            is the same function of unevenly scaled parameters.
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
        ShapeError: for a module on the meta device or without inputs, for laws that were derived for losses that see
            other things, and for an architecture with so many positions that its gradients take too much memory.
    """
    assert isinstance(network, Architecture | torch.nn.Module)
    expect_numbers(network, "verify")
    if own := quantities_of(laws):
        points = _points(network, "mse" if loss is None else loss, args, kwargs, redraw, axis, samples, seed)
        return Report(tuple(judge_quantity(name, each, points, seed) for name, each in own.items()))
    known = cast("Sequence[Law] | LawSet | None", [laws] if isinstance(laws, Law) else laws)
    arch = network if isinstance(network, Architecture) else network.arch if isinstance(network, Network) else None
    if known is None:
        asked = "mse" if loss is None else loss
        known = derive(arch, asked) if arch else derive(network, asked, args=args, kwargs=kwargs)
    losses = agreed_losses(known, loss, arch)
    if isinstance(network, Network) and not len(args) and not kwargs:
        expect_fits(network.arch, examples_of(network.arch), "verification")
        args = network.arch.random_inputs(examples_of(network.arch), torch.Generator().manual_seed(seed))
    elif isinstance(network, Architecture):
        expect_fits(network, examples_of(network), "verification")
    where: dict[str, Any] = {"args": args, "kwargs": kwargs, "axis": axis, "redraw": redraw}
    return verify_laws(known, network, losses, samples=samples, seed=seed, **where)


def _points(
    network: Architecture | torch.nn.Module,
    loss: LossLike,
    args: torch.Tensor | Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    redraw: bool,
    axis: Axes | None,
    samples: int,
    seed: int,
) -> Sequence[Point]:
    """Parameters with loss gradients at which a quantity is tested."""
    arch = network if isinstance(network, Architecture) else network.arch if isinstance(network, Network) else None
    if arch is not None:
        expect_fits(arch, examples_of(arch), "verification")
        loss = losses_of(arch, loss)
    if isinstance(network, Architecture):
        return network.points(loss, samples, seed, False)
    if isinstance(network, Network):
        axis = network.output_axes if axis is None else axis
        if not len(args) and not kwargs:
            args = network.arch.random_inputs(examples_of(network.arch), torch.Generator().manual_seed(seed))
    else:
        axis = class_axes(network, loss, (tuple(args), dict(kwargs or {})), axis)
    on = -1 if axis is None else axis
    return module_points(network, loss, tuple(args), samples, seed, on, kwargs=kwargs, redraw=redraw)


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
        return "mse" if loss is None else loss
    try:
        names = [f"output {i}" for i in range(len(derived_for))]
        given = "mse" if loss is None else loss
        asked = losses_of(arch, given) if arch else read(given, names)
    except LossError as error:
        raise ShapeError(str(error)) from error
    if derived_for and spans(asked) != spans(derived_for):
        raise ShapeError(
            f"the laws were derived for {label(derived_for)}, the loss is {label(asked)}; "
            f"derive them again with loss={label(asked)!r}"
        )
    return asked


@question(least={"countable": 0})
def check(
    network: NetworkLike,
    loss: LossLike = "mse",
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    countable: int = COUNTABLE,
    instance: Callable[[], Architecture] | None = None,
    progress: Callable[[str], None] | None = None,
) -> CheckReport:
    """Derives the laws of an architecture, verifies every one, and counts it, or a shrunken copy, by brute force.

    The laws are verified on the network itself up to `VERIFIABLE` parameters if its gradients fit in memory, and
    always on what is counted.  What is counted has every epsilon read as 0, where all laws are exact.  A shrunken copy
    speaks for the network only where widths stand in the same order, the families of laws agree and the rules meet the
    same limits; the report says so.

    Args:
        network: an architecture, an expression of blocks, a module, which is traced, or a spec.
        loss: the loss of every output (see `derive`).
        args: example inputs of a module.
        kwargs: its keyword inputs.
        seed: of everything random.
        countable: parameters up to which the network itself is counted, and not a shrunken copy.
        instance: makes a small instance of the same model, for one that is too large to count and cannot be shrunk.
        progress: called with a line before each stage (`progress=print`); without it a line now and then goes to
            stderr where that is a terminal.

    Returns:
        All of it, with `lawful`, `complete`, `verdict` and a `summary`.

    Raises:
        ShapeError: for losses that do not fit the outputs.
        ContradictionError: if the oracle counts fewer laws than hold.
    """
    say = progress or (lambda line: None)
    say("deriving")
    arch, run, there, laws, still = listed(network, loss, tuple(args), kwargs)
    losses = losses_of(arch, loss)  # by the names of the outputs, which the shrunken copy may not have
    try:
        expect_runs(arch)
    except ShapeError as error:  # a call that needs the module's own numbers: lengths, or places, among the inputs
        return CheckReport(arch, laws, Subject(arch, run, runs=False, reason=str(error)))
    subject = _subject(arch, losses, run, countable, instance)
    if still and not subject.copied:
        subject = replace(subject, laws=subject.laws.noted((*subject.laws.notes, still)))
    if there is not run:
        subject = replace(subject, reason="; ".join([*filter(None, [subject.reason]), ONE_RUN]))
    found = CheckReport(arch, laws, subject)
    if sum(p.size for p in arch.parameters.values()) <= VERIFIABLE and fits(arch, examples_of(arch)):
        say(f"verifying {plural(len(laws), 'family', 'families')} of laws")
        found = replace(found, own_report=_verified(arch, laws, seed))
    found = _counted(found, seed, say)
    if found.copied and found.differs:  # tiny axes may have laws by accident
        wider = _subject(arch, losses, run, countable, instance, extra=1)
        if wider.copied and not wider.reason and there is run:
            second = _counted(replace(found, subject=wider), seed, say)
            found = second if second.complete else found
    if found.complete:  # what fewer points had left open
        open_ = found.laws
        found = replace(found, laws=open_.noted(lambda: [n for n in open_.notes if not n.startswith(OPEN)]))
    return found


def _subject(
    arch: Architecture,
    losses: Sequence[Loss],
    laws: LawSet,
    countable: int,
    instance: Callable[[], Architecture] | None,
    extra: int = 0,
) -> Subject:
    """What is counted for a network: itself, a copy that speaks for it, or nothing."""
    plain = arch.with_epsilon(0.0)
    own = Subject(plain, by_rules(plain, losses))
    small_enough = sum(p.size for p in arch.parameters.values()) <= countable
    affordable = trainable_scalars(arch) <= LARGEST and countable == COUNTABLE
    if (small_enough or affordable) and not fits(arch, counted_examples(arch)):
        small_enough = affordable = False
    if small_enough:
        return own
    if arch.trace is not None:
        return own if affordable else _traced_subject(own, losses, laws, instance, extra)
    small = shrink(arch, extra).with_epsilon(0.0)
    # Fewer classes have fewer weights, which do not matter for what a loss sees.
    named = label(losses if small.outputs == arch.outputs else [Loss(m.name) for m in losses])
    copy = Subject(small, by_rules(small, named), copied=True, runs=False)
    if trainable_scalars(small) > LARGEST:
        reason = f"its smallest copy has {trainable_scalars(small):,} trainable scalars, more than {LARGEST:,}"
    elif not runs(small):
        reason = "its shrunken copy does not run"
    else:
        reason = "; ".join(doubts(arch, small, laws, copy.laws))
        copy = replace(copy, runs=True)
    return own if reason and affordable else replace(copy, reason=reason)


def _traced_subject(
    own: Subject, losses: Sequence[Loss], laws: LawSet, instance: Callable[[], Architecture] | None, extra: int
) -> Subject:
    """What is counted for a traced network: the copy of it as a composed one, or an instance that somebody makes."""
    try:
        composed = untraced(own.arch)
        small = shrink(composed, extra).with_epsilon(0.0)
    except ShapeError as error:
        if instance is None:
            return replace(own, runs=False, reason=str(error))
        return _instance_subject(own, losses, laws, instance)
    whole = by_rules(composed, losses)
    copy = Subject(small, by_rules(small, losses), copied=True, runs=runs(small))
    if trainable_scalars(small) > LARGEST or not copy.runs:
        why = f"its smallest copy has {trainable_scalars(small):,} trainable scalars, more than {LARGEST:,}"
        return replace(copy, runs=False, reason=f"{why}; {WAY_OUT}")
    reasons = doubts(composed, small, whole, copy.laws)
    if (whole.independent, len(whole)) != (laws.independent, len(laws)):
        reasons.append("the network has other laws once the names of its module are gone")
    return replace(copy, reason="; ".join(reasons))


def _instance_subject(
    own: Subject, losses: Sequence[Loss], laws: LawSet, instance: Callable[[], Architecture]
) -> Subject:
    try:
        small = instance().with_epsilon(0.0)
    except ValueError as error:
        return replace(own, runs=False, reason=str(error))
    named = label(losses if len(small.outputs) == len(own.arch.outputs) else [Loss(m.name) for m in losses])
    copy = Subject(small, by_rules(small, named), copied=True, name="a small instance of it")
    return replace(copy, reason="; ".join(doubts(own.arch, small, laws, copy.laws)))


def _verified(arch: Architecture, laws: LawSet, seed: int) -> Report:
    report = verify(arch, laws, seed=seed)
    if report.verdict in (Verdict.VACUOUS, Verdict.UNDECIDED):  # a unit that was dead in all samples
        report = verify(arch, laws, samples=MANY, seed=seed)
    return report


def _counted(found: CheckReport, seed: int, say: Callable[[str], None]) -> CheckReport:
    """The report with what was verified and counted on its subject, if that can be counted."""
    small, laws = found.subject.arch, found.subject.laws
    if not found.subject.runs:
        return found
    say(f"verifying {plural(len(laws), 'family', 'families')} of laws of what is counted")
    same = not found.copied and all(law.exact for law in found.laws) and len(found.laws) == len(laws)
    report = found.own_report if same and found.own_report else _verified(small, laws, seed)
    rank = gradient_rank(small, laws, seed)
    hold = rank >= 0 and acceptable(report, laws) and all(law.exact for law in laws)
    counting: dict[str, Any] = {"verified": rank if hold else None, "progress": lambda line: say(f"counting: {line}")}
    try:
        counted = count(small, laws.loss, seed=seed, **counting)
    except ShapeError as error:  # calls that torch cannot differentiate often enough
        return replace(found, small_report=report, subject=replace(found.subject, runs=False, reason=str(error)))
    if counted.laws < rank and acceptable(verify(small, laws, samples=MANY, seed=seed), laws):
        expect_known(counted, rank)
    return replace(found, small_report=report, count=counted, rank=rank)


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
