"""An assertion about the gradients that a training loop has left."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from lawful.graph.questions.derive import derive
from lawful.theory.arguments import Tolerance
from lawful.theory.derive.lawset import LawSet
from lawful.theory.inputs import inputs_of
from lawful.theory.laws.law import Law
from lawful.theory.losses import LossLike
from lawful.theory.parts import base
from lawful.theory.typed import typed
from lawful.theory.verdict import Verdict

from .assertions import conclude, quiet
from .exceptions import stale_untested
from .findings import Findings, LawFinding
from .lawcheck import Taken, check_law
from .modes import since
from .witness.judge import LAWS, REACH, REFERENCE, ParameterFinding
from .witness.keeping import kept
from .witness.resemblance import resemblance
from .witness.sample import FLOOR
from .witness.steps import inner
from .witness.widths import EPS

MOST = 0.5  # relative, of what few bits may hide
SINGLE = FLOOR * EPS[torch.float32]  # what float32 inside of a float64 model may leave, and what cannot be told from it
NORMED = 10_000  # last bits that norms, one behind another, make of one: numbers before them may vary little
OTHER = (
    "a loss with a term of the weights (a penalty), another loss than the laws were derived for, or gradients whose "
    "numbers were clipped one by one (clip_grad_value_) look the same"
)
STALE = "a sum with the gradients of an earlier step (zero_grad() was left out), or a step in between, looks the same"
HALVED = "laws read it, and none would break if its gradient were some number times as large"
WAY_OUT = "reference_grads=, assert_lawful and lw.Ledger measure it"
AGAIN = "and the law is one of another model: derive the laws again"
ROUNDED = (
    "as much as rounding in float32 inside of the forward makes, before a norm above all; pass tolerance= if it cannot"
)


@quiet
@typed(skip=("loss", "axis"))
def assert_step_lawful(
    model: torch.nn.Module,
    laws: Sequence[Law] | None = None,
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    loss: LossLike = "mse",
    reference_grads: Mapping[str, torch.Tensor] | None = None,
    tolerance: Tolerance | None = None,
    allow_untested: Sequence[str] = (),
) -> Findings:
    """Fails if the `.grad` of a model's parameters cannot be the gradient of a loss of that model.

    Call it between `loss.backward()` and `optimizer.step()`: after accumulation, averaging over processes, hooks,
    checkpoints, compilation, unscaling.  Nothing is run.  The laws of the model are judged on the gradients that are
    there; a sharded parameter (FSDP2) is gathered, so call it in every process.

    What no law can see: a gradient that is also one of another loss of the same model.  All gradients times one number
    (a loss divided twice, or not at all), and a micro-batch that was dropped, need `reference_grads`, or two splits of
    the same data (`assert_same_step`).

    Args:
        model: the model, wrapped or not.
        laws: its laws; by default those that `derive` finds with `args`.  Of a sharded model derive them before.
        args: example inputs for that.
        kwargs: those by keyword.
        loss: the loss for that (see `derive`).
        reference_grads: what the gradients should be, by name: of one large batch where the loop accumulates, of one
            process where several average, of a step without the optimization that is under test.
        tolerance: largest relative error; by default a multiple of the last bit of the gradients' type.  Give one where
            the step computes in narrower numbers than it keeps (autocast).
        allow_untested: names of parameters, or of modules, that may have no gradient.  A name of nothing is warned of.

    Returns:
        What was found; `silent` are the parameters of which neither a law nor the reference says anything, `halved`
        those that laws judge up to a factor (a law of one weight before a norm sees none on its gradient).

    Raises:
        AssertionError: names the broken laws and the parameters; or that nothing was tested.
        ValueError: where there is nothing to judge by, and for a name in `reference_grads` that is no parameter.
    """
    __tracebackhide__ = True
    began = time.perf_counter()
    plain = inner(model)
    trained = _trained(plain)
    args, kwargs = inputs_of("assert_step_lawful", args, kwargs)
    if laws is None and (args or kwargs):
        grads = {p: p.grad for p in plain.parameters()}
        laws = derive(plain, loss, args=args, kwargs=kwargs)
        for p, g in grads.items():
            p.grad = g
    if laws is None and not reference_grads:
        raise ValueError(
            "there is nothing to judge the gradients by; pass laws=lawful.derive(model, args=x), args=x, or "
            "reference_grads={name: gradient}"
        )
    if unknown := [n for n in reference_grads or () if n not in trained]:
        raise ValueError(
            f"reference_grads has {unknown[0]!r}, which is no trained parameter of {type(plain).__name__}; there are "
            f"{', '.join([*trained][:8])}"
        )
    values = {n: _whole(p.detach()) for n, p in plain.named_parameters() for n in [_plain(n)]}
    grads_now = {n: None if p.grad is None else _whole(p.grad.detach()) for n, p in trained.items()}
    found = Findings(type(plain).__name__, {n: ParameterFinding(n) for n in trained}, allowed=tuple(allow_untested))
    found.stale = stale_untested(plain, allow_untested)
    for name, g in grads_now.items():
        one = found.parameters[name]
        if g is None:
            one.untested = "backward has left no gradient (None)"
        elif not bool(torch.isfinite(g).all()):
            one.against[REACH] = "its gradient is not a number"
    told = [] if found.wrong else list(laws or ())
    evaluated = laws.evaluated if isinstance(laws, LawSet) else None
    _by_laws(found, told, values, grads_now, tolerance, since(plain, evaluated))
    if reference_grads is not None:
        _by_reference(found, reference_grads, grads_now, tolerance)
    silent = [p.name for p in found.parameters.values() if not p.known and not p.untested]
    halved = {n for r in found.laws if r.verdict.passed for n in r.felt}
    for name in silent:
        found.parameters[name].notes.append(HALVED if name in halved else "no law says anything of it")
    found.silent = tuple(n for n in silent if n not in halved)
    found.halved = tuple(n for n in silent if n in halved)
    if told and not any(r.tested for r in found.laws) and reference_grads is None:
        found.vacuous = "no law could be tested: nothing that the laws read has moved"
    elif told and reference_grads is None and not any(r.verdict.passed for r in found.laws) and not found.violated:
        found.vacuous = f"no law could be decided: {found.laws[0].reason}"
    elif len(found.silent) == len(trained):
        found.vacuous = "nothing was tested: neither a law nor a reference reads any of its parameters"
    if reference_grads is None:
        found.notes.append(
            "no law sees all gradients times one number, a sum for a mean, a dropped micro-batch: pass "
            "reference_grads=, or compare two splits by assert_same_step"
        )
    if found.violated or len(found.wrong) == len(trained):
        found.notes += [OTHER, STALE]
    open_laws = [r for r in found.laws if r.verdict is Verdict.UNDECIDED]
    if open_laws and open_laws[0].reason not in found.vacuous:
        more = f" and {len(open_laws) - 1} more" if len(open_laws) > 1 else ""
        found.notes.append(f"{open_laws[0].law}{more} not judged: {open_laws[0].reason}; {WAY_OUT}")
    found.seconds = time.perf_counter() - began
    conclude(found)
    return found


@quiet
@typed(skip=("loss", "axis"))
def assert_same_step(
    model: torch.nn.Module,
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    tolerance: Tolerance | None = None,
    seed: int = 0,
) -> Findings:
    """Fails unless two ways to run one step leave the same gradients: two splits of the same data, for example.

    This sees what no law can: a sum where a mean is meant, a division that is forgotten, a micro-batch that is dropped,
    all gradients times one number.  A fault that both ways share is not seen.  Statistics of a batch (BatchNorm, a mean
    over the tokens that are not padding) differ between splits, and so do the gradients, rightly.

    Args:
        model: the model.
        first: runs forward and backward as the loop does, without the optimizer's step.
        second: the same for the same data otherwise: in one piece, in another number of pieces, uncompiled.
        tolerance: largest relative error of a gradient; by default a multiple of the last bit of its type.
        seed: of what the model draws, the same for both.

    Gradients, buffers, modes and random states of the model are put back.

    Returns:
        What was found; the first way is the reference.

    Raises:
        AssertionError: names the parameters, and what their second gradient seems to be.
    """
    __tracebackhide__ = True
    began = time.perf_counter()
    plain = inner(model)
    trained = _trained(plain)
    left: list[dict[str, torch.Tensor | None]] = []
    for way in (first, second):
        with kept(plain):
            for p in plain.parameters():
                p.grad = None
            torch.manual_seed(seed)
            way()
            left.append({n: None if p.grad is None else _whole(p.grad).clone() for n, p in trained.items()})
    found = Findings(type(plain).__name__, {n: ParameterFinding(n) for n in trained})
    for name, one in found.parameters.items():
        pair = [side[name] for side in left]
        if any(g is not None and not bool(torch.isfinite(g).all()) for g in pair):
            one.against[REACH] = "its gradient is not a number"
        elif all(g is None for g in pair):
            one.untested = "neither way has left a gradient (None)"
    reference = {}
    for n, g in left[0].items():
        one, other = found.parameters[n], left[1][n]
        if not one.against and not one.untested:
            reference[n] = g if g is not None else torch.zeros_like(_some(other))
    _by_reference(found, reference, left[1], tolerance)
    if not any(g is not None and bool(g.any()) for g in left[0].values()):
        found.vacuous = "the first way leaves no gradient but zero; nothing was compared"
    found.notes.append("the second way is compared with the first; what both do wrong is not seen")
    found.seconds = time.perf_counter() - began
    conclude(found)
    return found


def _trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that are trained, by their plain names.

    Raises:
        AssertionError: if there are none.
    """
    __tracebackhide__ = True
    found = {_plain(n): p for n, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise AssertionError(f"{type(model).__name__} has no trainable parameter; there is no gradient to test")
    return found


def _some(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor


def _by_laws(
    found: Findings,
    laws: Sequence[Law],
    values: dict[str, torch.Tensor],
    grads: dict[str, torch.Tensor | None],
    tolerance: float | None,
    others: str,
) -> None:
    frozen = {n for n in values if n not in grads}
    every = {n: torch.zeros_like(v) if grads.get(n) is None else grads[n] for n, v in values.items()}
    widths = {g.dtype for g in grads.values() if g is not None} | {v.dtype for v in values.values()}
    width = max((w for w in widths if w in EPS), key=EPS.__getitem__, default=torch.float64)
    for law in laws:
        missing = [n for n in law.parameters if base(n) not in values]
        if missing:
            raise ValueError(
                f"{law.name} reads {missing[0]!r}, which is no parameter of the model ({', '.join(list(values)[:6])})"
            )
    step = Taken(values, {n: g for n, g in every.items() if g is not None}, None, width)
    single = 0.0 if tolerance is not None else SINGLE if width == torch.float64 else NORMED * EPS[width]
    found.laws = tuple(_decided(check_law(law, [step], tolerance), single, frozen, others) for law in laws)
    for law, r in zip(laws, found.laws, strict=True):
        for name in r.parameters:
            one = found.parameters.get(name)
            if one is None or one.untested:
                continue
            if r.verdict.passed and law.kind != "frozen" and name in r.sized:
                one.vouched.add(LAWS)
            elif r in found.violated:
                one.against.setdefault(LAWS, f"{r.law} is broken")
                one.vouched.discard(LAWS)


def _decided(found: LawFinding, single: float, frozen: Collection[str], others: str) -> LawFinding:
    """A finding on a law, which accuses nobody for what another cause explains.

    These are a forward in float32, a norm of numbers alike, and a model that is no longer the one of the law: no law
    that is derived reads what is frozen.

    Args:
        found: the finding.
        single: what rounding may leave of it.
        frozen: the parameters that do not train.
        others: see `since`.
    """
    if found.verdict is not Verdict.VIOLATED:
        return found
    if still := [n for n in found.parameters if n in frozen]:
        return replace(found, verdict=Verdict.UNDECIDED, reason=f"{', '.join(still[:3])} is frozen now, {AGAIN}")
    if others:
        return replace(found, verdict=Verdict.UNDECIDED, reason=f"{others}, {AGAIN}")
    if not found.residual <= single:
        return found
    return replace(found, verdict=Verdict.UNDECIDED, reason=f"off by {found.residual:.1e}, {ROUNDED}")


def _by_reference(
    found: Findings,
    reference: Mapping[str, torch.Tensor],
    grads: dict[str, torch.Tensor | None],
    tolerance: float | None,
) -> None:
    for name, one in found.parameters.items():
        true, own = reference.get(name), grads[name]
        if true is None:
            continue
        given, true = true.dtype, _whole(true.detach()).double()
        if not bool(torch.isfinite(true).all()):
            raise ValueError(f"reference_grads[{name!r}] holds what is not a number; leave it out, or take it again")
        mine = torch.zeros_like(true) if own is None else own.double()
        if mine.shape != true.shape:
            raise ValueError(
                f"reference_grads[{name!r}] has shape {tuple(true.shape)}, its gradient {tuple(mine.shape)}"
            )
        width = own.dtype if own is not None else torch.float32
        hidden = max(min(64 * FLOOR * EPS.get(width, 1e-2), MOST), 1e-9) + EPS.get(given, 1e-2)  # a rounded reference
        limit = tolerance if tolerance is not None else hidden
        size = float(true.norm())
        error = float((mine - true).norm())
        if error <= limit * size:
            one.vouched.add(REFERENCE)
        elif tolerance is None and width == torch.float64 and error <= SINGLE * size:
            one.untested = f"differs by {error / size:.1e}, {ROUNDED}"
        else:
            one.error = error / size if size else float("inf")
            one.against[REFERENCE] = resemblance(mine, true)
            one.untested = ""


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """A sharded tensor, gathered; any other as it is, complex numbers as their two parts."""
    gathered = (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach()
    return torch.view_as_real(gathered.resolve_conj()) if gathered.is_complex() else gathered


def _plain(name: str) -> str:
    """The name of a parameter without what wrappers add."""
    return name.replace("_orig_mod.", "").replace("_checkpoint_wrapped_module.", "")


__all__ = ["assert_same_step", "assert_step_lawful"]
