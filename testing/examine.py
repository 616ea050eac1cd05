"""The witnesses of a module, asked one after the other.

This file is long because what a module is refused for, and what is said beside a verdict, belongs to the asking.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from lawful.graph.questions.derive import derive
from lawful.graph.tracing.compare import BUG
from lawful.graph.tracing.errors import BackwardError, TraceError
from lawful.graph.tracing.refusals import no_parameters
from lawful.theory.laws.law import Law
from lawful.theory.losses import LossLike
from lawful.theory.oracle.lending.complexes import real_parts
from lawful.theory.oracle.lending.holders import LendingError
from lawful.theory.oracle.lending.storage import SharedMemoryError
from lawful.theory.oracle.modules import Axes, tensors_in
from lawful.theory.oracle.outputs import own_loss
from lawful.theory.parts import base
from lawful.theory.refusals import InputsError, ModuleError, is_own, said
from lawful.theory.verdict import Verdict

from .exceptions import stale_designs, stale_untested
from .findings import Findings, LawFinding
from .lawcheck import check_law, of_samples
from .witness.judge import LAWS, REFERENCE, REMOVED, ROUNDING, STOPPED, STRAIGHT, UNSEEN, judge
from .witness.keeping import kept
from .witness.losses import loss_of
from .witness.resemblance import share
from .witness.sample import FLOOR, Sample, tied
from .witness.steps import Request, as_it_is, in_double, inner, is_wrapped, trains
from .witness.widths import EPS

RUNS = ("double", "as_is")
EXCUSES = {
    STRAIGHT: "straight-through, so no gradient by design",
    STOPPED: "stopped by design, as is declared",
    UNSEEN: "zero as it should be, for the loss does not see what it adds",
    REMOVED: "zero as it should be, for what follows lets nothing through (a norm, a softmax, units that are off)",
    ROUNDING: "rounding moves it by a tenth of its size or more, so that nothing tells whether it is right",
}
ROUNDED = 1e-5  # what float32 inside of a forward may leave of a gradient in float64
DICE = "not kept while numbers are drawn (dropout); training=False tests it"


def examine(
    model: torch.nn.Module,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    loss: LossLike | None = None,
    *,
    laws: Sequence[Law] | None = None,
    axis: Axes | None = None,
    samples: int = 2,
    seed: int = 0,
    tolerance: float | None = None,
    training: bool = True,
    allow_untested: Sequence[str] = (),
    by_design: Sequence[str] = (),
    run: str | None = None,
) -> Findings:
    """What every witness says about the gradients of a module (see `assert_lawful`)."""
    plain = inner(model)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        real_parts(plain),
    ):  # a complex parameter is two real ones, as for the laws
        began = time.perf_counter()
        name = type(plain).__name__
        if any(torch.nn.parameter.is_lazy(p) for p in plain.parameters()):
            raise ValueError(f"{name} has parameters without a shape; run it once on its inputs first")
        _refuse_numberless(plain, args, kwargs or {})
        trained = {n: p for n, p in plain.named_parameters() if p.requires_grad and p.numel()}
        if not trained:
            what = "has no parameters" if not list(plain.parameters()) else "has no trainable parameter: all are frozen"
            raise AssertionError(f"{name} {what}; there is no gradient to test")
        if not args and not kwargs and _reads_inputs(plain):
            raise InputsError("testing", plain)
        if run not in (None, *RUNS):
            raise ValueError(f"run is {run!r}; it is one of {', '.join(map(repr, RUNS))}")
        if any(hasattr(p, "full_tensor") for p in trained.values()):
            raise ValueError(
                f"the parameters of {name} are sharded; test it before it is sharded, and judge the sharded step by "
                "assert_step_lawful(model, laws)"
            )
        request = Request(
            model,
            tuple(args),
            dict(kwargs or {}),
            lambda s: loss_of(loss, -1 if axis is None else axis, s),
            samples,
            seed,
            training,
            tuple(by_design),
        )
        steps, notes = _steps(request, run, tolerance)
        if not steps:
            raise AssertionError(
                f"{name}: undecided, the loss or its gradient is not a number at any point that was tried"
            )
        ranks = {n: p.ndim for n, p in trained.items() if n in steps[0].parameters}
        judgement = judge(steps, ranks, _padded(plain, trained), by_design)
        width = max((one.width for one in steps if one.width in EPS), key=EPS.__getitem__, default=torch.float64)
        if tolerance is None and EPS[width] > EPS[torch.float32]:
            notes.append(_coarse(steps, width))
        if judgement.unknown:
            notes.append(f"no reference: {judgement.unknown}")
        findings = Findings(
            name, judgement.parameters, (), judgement.fault, [*judgement.notes, *notes], tuple(allow_untested)
        )
        findings.notes += [*_of_the_module(plain), *no_parameters(steps[0].unregistered)]
        findings.stale = (*stale_untested(plain, allow_untested), *stale_designs([s.tape for s in steps], by_design))
        _excuses(findings)
        if laws is not None:
            _expect(laws, plain)
            _check(findings, laws, steps, plain, given=True)
        elif not findings.wrong and not findings.stopped:
            with kept(plain):  # in the modes of the steps, which a module may choose itself (frozen BatchNorm)
                if training:
                    trains(plain)
                _laws(findings, plain, args, kwargs, loss, steps, bool(by_design))
        findings.seconds = time.perf_counter() - began
        return findings


def _refuse_numberless(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuses parameters that backward can leave no gradient in, and inputs that have no numbers.

    Raises:
        ValueError: names the first one.
    """
    meta = "is on the meta device, without numbers"
    for n, p in module.named_parameters():
        what = meta if p.device.type == "meta" else ""
        if what or p.is_inference():
            raise ValueError(
                f"{n} of {type(module).__name__} {what or 'is an inference tensor'}, so that there is no gradient to "
                "test; make it outside of that"
            )
    for n, x in {**tensors_in(list(args)), **tensors_in(dict(kwargs))}.items():
        if x.device.type == "meta":
            raise ValueError(
                f"input {n.strip('/')} of {type(module).__name__} {meta}, so that nothing runs; give it numbers"
            )


def _reads_inputs(module: torch.nn.Module) -> bool:
    """Whether a forward takes something: that of a learned prompt takes nothing."""
    try:
        return bool(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return True


def _steps(request: Request, run: str | None, tolerance: float | None) -> tuple[list[Sample], list[str]]:
    """The steps to judge, and what is to be said about how they were run."""
    notes: list[str] = []
    if run is None and is_wrapped(request.module):
        run = "as_is"
    steps: list[Sample] = []
    if run != "as_is":
        try:
            steps = in_double(request)
        except (LendingError, SharedMemoryError) as error:
            notes.append(f"run as it is, not in float64: {error}")
            run = "as_is"
        except ModuleError as error:
            if run == "double":
                raise
            notes.append(f"run as it is, not in float64: {error}")
            run = "as_is"
        if not steps and run is None:
            notes.append("run as it is: in float64 the loss or its gradient is not a number")
            run = "as_is"
    if run == "as_is" or (run is None and any(s.tape.autocast for s in steps)):
        steps = [*steps, *as_it_is(request)]
    for s in steps:
        s.tolerance = tolerance
    return steps, notes


def _padded(module: torch.nn.Module, trained: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Rows of tables that are declared as padding."""
    names = {id(p): n for n, p in trained.items()}
    found: dict[str, tuple[int, ...]] = {}
    for part in module.modules():
        if isinstance(part, (torch.nn.Embedding, torch.nn.EmbeddingBag)) and part.padding_idx is not None:
            name = names.get(id(part.weight))
            if name is not None:
                found[name] = (part.padding_idx,)
    return found


def _of_the_module(module: torch.nn.Module) -> list[str]:
    """What is to be said of a module that its gradients do not show: each is right for what it is the gradient of."""
    said = [
        f"{first} and {other} are two parameters over one memory, which an optimizer steps twice: write "
        f"{other} = {first}, which makes them one"
        for other, first in tied(module).items()
    ]
    names = {id(p): n for n, p in module.named_parameters()}
    for part in module.modules():
        row = getattr(part, "padding_idx", None)
        if isinstance(part, (torch.nn.Embedding, torch.nn.EmbeddingBag)) and row is not None:
            if part.weight.requires_grad and bool(part.weight.detach()[row].any()):
                said.append(
                    f"row {row} of {names.get(id(part.weight))} is declared as padding (padding_idx), so that it gets "
                    "no gradient, and it is not zero: is it a token?"
                )
    return list(dict.fromkeys(said))


def _coarse(steps: Sequence[Sample], width: torch.dtype) -> str:
    """Which errors rounding hides in a step of few bits."""
    found: dict[str, float] = {}
    for name in {n for s in steps for n in s.parameters if s.moved(n)}:
        found[name] = min(
            s.bound(name) / float(g.norm()) for s in steps if s.moved(name) and (g := s.true[name]) is not None
        )
    text = f"{str(width)[6:]} took part: an error below {FLOOR * EPS[width]:.0%} is not told from its rounding"
    name = max(sorted(found), key=found.__getitem__, default="")
    if not name or found[name] < 2 * FLOOR * EPS[width]:
        return text
    return f"{text}, of {name} one below {share(found[name])} its size"


def _excuses(findings: Findings) -> None:
    """Says once which gradients are none by design."""
    for reason, text in EXCUSES.items():
        names = [p.name for p in findings.parameters.values() if reason in p.notes]
        if names:
            findings.notes.append(f"{text}: {', '.join(names[:6])}")


def _laws(
    findings: Findings,
    plain: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    loss: LossLike | None,
    steps: Sequence[Sample],
    declared: bool,
) -> None:
    """The laws of the module, as far as they can be derived, on its own gradients."""
    numbers = all(z.numel() == 1 or z.ndim == 1 for z in steps[0].outputs.values())
    if numbers and not own_loss(steps[0].outputs):
        findings.notes.append("no laws: the model returns numbers, not features")
        return
    try:
        laws: Sequence[Law] = derive(plain, "mse" if loss is None else loss, args=tuple(args), kwargs=kwargs)
    except BackwardError as error:  # the reference has looked at the gradients themselves
        why = "the reference finds no fault"
        if declared or any(p.notes for p in findings.parameters.values()):
            why = "they are none by design"
        elif error.gap < ROUNDED:
            why = "float32 inside of its forward rounds so much"
        findings.notes.append(f"no laws: the rebuilt network has other gradients (by {error.gap:.0e}); {why}")
        return
    except TraceError as error:
        own = {c.function.__name__ for s in steps for c in s.tape.calls if not c.by_torch}
        why = " ".join(str(error).split())
        if own and BUG in why:  # the exported graph has what an operator computes, and not that it has its own backward
            why = f"{', '.join(sorted(own))} differentiates itself, which the rebuilt network does not"
        elif BUG in why and any(s.tape.samples for s in steps):
            why = "it draws numbers by a law of its own parameters, which the rebuilt network cannot differentiate"
        findings.notes.append(f"no laws: {why}")
        return
    except Exception as error:  # what cannot be derived was not measured, and fails no test
        findings.notes.append(
            f"no laws: {said(error)}" if not is_own(error) else f"no laws: {' '.join(str(error).split())}"
        )
        return
    _check(findings, laws, steps, plain, given=False)


def _expect(laws: Sequence[Law], module: torch.nn.Module) -> None:
    """Refuses laws of other parameters.

    Raises:
        ValueError: names the law and the parameter.
    """
    names = dict(module.named_parameters(remove_duplicate=False))
    for law in laws:
        for n in law.parameters:
            if base(n) not in names:
                raise ValueError(
                    f"{law.name} reads {n!r}, which is no parameter of the network ({', '.join(list(names)[:6])}); "
                    "pass the network that the laws were derived from"
                )


def _check(
    findings: Findings, laws: Sequence[Law], steps: Sequence[Sample], module: torch.nn.Module, given: bool
) -> None:
    """Judges laws on the gradients of the steps; laws that the user gave hold whatever the reference says."""
    frozen = {n: p.detach() for n, p in module.named_parameters() if not p.requires_grad}
    read = {base(n) for law in laws for n in law.parameters}
    still = {n: p for n, p in frozen.items() if n in read}
    points = of_samples(steps, still)
    if given:
        points = [replace(p, true=None) for p in points]
    known = points[0].parameters.keys()
    design = {p.name for p in findings.parameters.values() if p.notes}
    told = [law for law in laws if {base(n) for n in law.parameters} <= known - design]
    ideal = of_samples(steps, still) if given else points
    findings.laws = tuple(check_law(law, points if law.exact else ideal) for law in told)
    violated = findings.violated
    for law, r in zip(told, findings.laws, strict=True):
        for name in r.parameters:
            one = findings.parameters.get(name)
            if one is None or one.untested:
                continue
            if r.verdict.passed and law.kind != "frozen" and name in r.sized:
                one.vouched.add(LAWS)
            elif r in violated and REFERENCE not in one.vouched:
                one.against.setdefault(LAWS, f"{r.law} is broken")
    if still and violated:
        findings.notes.append(f"frozen in the module: {', '.join(list(still)[:6])}")
    if given and not any(r.verdict.passed for r in findings.laws) and not violated:
        findings.vacuous = "no law that could be tested: nothing that the laws read has moved"
    reasons: dict[str, list[str]] = {}
    draws = any(s.tape.draws for s in steps)
    for r in findings.laws:
        if r.reason and r not in violated:
            undecided = r.verdict is Verdict.UNDECIDED and draws
            reasons.setdefault(DICE if undecided else r.reason, []).append(r.law)
    for reason, names in reasons.items():
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        findings.notes.append(f"{', '.join(names[:2])}{more}: {reason}")


__all__ = ["RUNS", "LawFinding", "examine"]
