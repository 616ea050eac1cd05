"""Assertions for test suites: a network has the laws it should have."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import torch

from lawful.blocks import Net
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.module import Network
from lawful.graph.architecture.outputs import losses_of
from lawful.graph.questions.check import COUNTABLE, VERIFIABLE, agreed_losses
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.graph.questions.reading import network_of
from lawful.theory.arguments import Tolerance
from lawful.theory.inputs import inputs_of
from lawful.theory.laws.law import Law
from lawful.theory.losses import LossLike, label
from lawful.theory.oracle.modules import Axes
from lawful.theory.oracle.verification import LawReport, Report, verify
from lawful.theory.typed import typed
from lawful.theory.verdict import Verdict

from .examine import examine
from .findings import Findings

EPSILON_TOLERANCE = 1e-2
P = ParamSpec("P")
R = TypeVar("R")

HINTS = {
    Verdict.VIOLATED: "violated: the loss gradient changes the law; "
    "look for a wrong backward, a frozen parameter or another architecture",
    Verdict.VACUOUS: "vacuous: nothing that it reads has moved",
    Verdict.UNDECIDED: "undecided: a corrupted copy of the law passes the same test, so the test proves nothing",
    Verdict.APPROXIMATE: "approximate: off by more than the epsilon of a norm explains",
}


def hint(report: LawReport) -> str:
    """What the verdict on a law means, and where to look; why nothing could be decided is the law's own reason."""
    if report.verdict in (Verdict.UNDECIDED, Verdict.VACUOUS) and report.reason:
        return f"{report.verdict}: {report.reason}"
    return HINTS[report.verdict]


def quiet(check: Callable[P, R]) -> Callable[P, R]:
    """Silences what torch.func says about its own helpers, which would fail a suite that makes warnings errors."""

    @functools.wraps(check)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`torch\.jit\.script", DeprecationWarning)
            return check(*args, **kwargs)

    return run


@quiet
@typed(skip=("loss", "axis"))
def assert_lawful(
    network: Architecture | Net | torch.nn.Module | str,
    args: torch.Tensor | Sequence[Any] = (),
    loss: LossLike | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    laws: Sequence[Law] | None = None,
    architecture: Architecture | None = None,
    axis: Axes | None = None,
    samples: int | None = None,
    seed: int = 0,
    tolerance: Tolerance | None = None,
    training: bool = True,
    allow_untested: Sequence[str] = (),
    by_design: Sequence[str] = (),
    run: str | None = None,
) -> Report | Findings:
    """Fails where a gradient of a network is wrong, and where nothing can tell whether one is right.

    Of a module four witnesses are asked, and each trainable parameter is listed under those that vouch for it:

    - *reference*: everything that the forward computed is differentiated again by torch's own formula for each kernel,
      past every `autograd.Function`, `detach`, `no_grad` and hook, and compared with what `backward()` left;
    - *laws*: the conservation laws of the module (see `derive`), each scalar that moved, on its own gradients;
    - *derivative*: each operator with a backward of its own, alone, also by finite differences where no kernel of torch
      shows what it does;
    - *reach*: every trainable parameter gets a gradient, past no `detach` and no `no_grad`.

    It fails where a witness contradicts, naming the first wrong place walking backwards, and where a parameter has no
    witness.  What was not measured accuses nobody; nor do straight-through estimators, whose gradient is none by
    design.  Where gradients stop (`detach`, `no_grad`) and that may be meant it asks: it fails too, accuses nobody, and
    says what to pass.  The module is left exactly as it was.

    An architecture is derived and verified at random parameters and, up to a few hundred parameters, its laws are also
    counted by the oracle.

    Args:
        network: a module (compiled, in `DistributedDataParallel`, or plain), an architecture, or an expression of
            blocks.
        args: example inputs of a module, `x` or `(x, ...)`; not needed for one made by `Architecture.to_torch`.
        loss: the loss of every output (see `derive`); by default the squared error.  A model that returns its loss, or
            one number per example, is tested with that.
        kwargs: its inputs by keyword.
        laws: laws to be tested too, whose parameter names must be those of the module.
        architecture: what a module should compute, with the module's parameter names; its laws are tested too.
        axis: the axis of the features (the classes) in a module's output, or one for every output.
        samples: number of steps, the first at the module's own parameters and inputs; more are taken where some
            parameter has not moved.
        seed: of everything random.
        tolerance: largest relative error of a gradient; by default a multiple of its noise, which is measured: how far
            it moves when every parameter moves by its last bit.
        training: run a module in training mode; False keeps its modes.
        allow_untested: names of parameters, or of modules, that may have no witness.  A name of nothing is warned of.
        by_design: names of operators (`"GradientReversal"`), modules or lines (`"model.py:12"`) whose gradient is meant
            not to be the derivative; `"detach"` for every cut.  A comment `# lawful: by design` says the same.
            A name that nothing bears which ran is warned of.
        run: `"double"` for float64 only; `"as_is"` for the module's own numbers, with its own forward and
            `loss.backward()`, compiled and averaged as it is.  By default float64, and as it is where the module is
            compiled, wrapped or uses autocast.

    Returns:
        `Findings` of a module: `parameters`, `laws`, `fault`, `verdict`; a `Report` of an architecture.

    Raises:
        AssertionError: at most 25 lines: where the fault is, what it seems to be, the parameters with their errors; or
            where gradients stop, and the question whether that is meant.
        ValueError: for inputs that do not run, and for laws that do not fit the parameters.
    """
    __tracebackhide__ = True
    network, (inputs, named) = network_of(network, "assert_lawful"), inputs_of("assert_lawful", args, kwargs)
    if isinstance(network, Architecture):
        if laws is not None or architecture is not None or inputs:
            raise ValueError("an architecture brings its own laws and inputs; pass it alone, or pass the module first")
        return _assert_architecture(network, loss or "mse", samples or 4, seed)
    known: Sequence[Law] | None = None
    wanted: LossLike | None = loss
    if laws is not None or architecture is not None or isinstance(network, Network):
        known, wanted, axis = laws_of(network, laws, architecture, loss, axis)
        if laws is None and architecture is None and not known:
            known = None  # nobody gave laws, and it has none: the other witnesses are asked
    if isinstance(network, Network) and not inputs:
        inputs = tuple(network.arch.random_inputs(6, torch.Generator().manual_seed(seed)))
    found = examine(
        network,
        inputs,
        named,
        wanted,
        laws=known,
        axis=axis,
        samples=samples or 2,
        seed=seed,
        tolerance=tolerance,
        training=training,
        allow_untested=allow_untested,
        by_design=by_design,
        run=run,
    )
    conclude(found)
    return found


def conclude(found: Findings) -> None:
    """Passes or fails, and tells the summary of pytest.

    Raises:
        AssertionError: what was found.
    """
    __tracebackhide__ = True
    SEEN.append(found)
    for said in found.stale:
        warnings.warn(f"{found.model}: {said}", UserWarning, stacklevel=5)  # at the line of the assertion
    if not found.verdict.passed:
        raise AssertionError(str(found))


SEEN: list[Findings] = []  # what the assertions of this process have tested, for the summary of pytest


def failure(name: str, loss: str, failed: Sequence[LawReport], laws: Sequence[Law], note: str = "") -> str:
    """What went wrong, as a table with one row per law."""
    if not laws:
        return f"{name} has no law that could be tested (loss {loss}); it proves nothing"
    parameters = {
        law.name: ", ".join(law.parameters[:4]) + (", ..." if len(law.parameters) > 4 else "") for law in laws
    }
    rows = [("law", "verdict", "residual", "control", "parameters")]
    rows += [(r.law, str(r.verdict), f"{r.residual:.1e}", f"{r.control:.1e}", parameters[r.law]) for r in failed[:20]]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[4]]) for row in rows]
    lines.insert(0, f"{name}: {len(failed)} of {len(laws)} families of laws failed (loss {loss})")
    if len(failed) > 20:
        lines.append(f"... and {len(failed) - 20} more")
    lines += dict.fromkeys(map(hint, failed))
    return "\n".join([*lines, note] if note else lines)


def _assert_architecture(arch: Architecture, loss: LossLike, samples: int, seed: int) -> Report:
    losses = losses_of(arch, loss)
    size = sum(p.size for p in arch.parameters.values())
    target = arch if size <= VERIFIABLE else arch.shrink()
    laws = derive(target, losses)
    report = verify(laws, target, losses, samples=samples, seed=seed)
    exact = {law.name: law.exact for law in laws}
    failed = [
        r for r in report.laws if not (r.verdict.passed or (r.verdict is Verdict.APPROXIMATE and not exact[r.law]))
    ]
    if failed:
        raise AssertionError(failure(repr(arch), label(losses), failed, laws))
    if size > COUNTABLE:
        if not laws:
            raise AssertionError(failure(repr(arch), label(losses), [], laws))
        return report
    ideal = arch.with_epsilon(0.0)
    derived, counted = derive(ideal, losses).independent, count(ideal, losses, seed=seed)
    if not counted.verdict.passed:
        raise AssertionError(
            f"{arch!r}: the oracle is {counted.verdict} (gap {counted.gap:.0e}, {counted.method}); try another seed"
        )
    if counted.laws != derived:
        raise AssertionError(
            f"{arch!r}: {derived} independent laws were derived, "
            f"the oracle counts {counted.laws} of {counted.parameters} parameters"
        )
    return report


def laws_of(
    module: torch.nn.Module,
    laws: Sequence[Law] | None,
    architecture: Architecture | None,
    loss: LossLike | None,
    axis: Axes | None,
) -> tuple[Sequence[Law], LossLike, Axes | None]:
    """The laws to test on a module, the loss of every output and the axis of its features.

    Raises:
        ValueError: where they are not known or do not fit.
    """
    name = type(module).__name__
    if laws is not None and architecture is not None:
        raise ValueError("laws= and architecture= both say which laws to test; pass one of them")
    arch = architecture or (module.arch if isinstance(module, Network) and laws is None else None)
    if arch is not None:
        _expect_same_parameters(module, arch)
        losses = losses_of(arch, loss or "mse")
        return derive(arch, losses), losses, arch.output_axes
    if laws is None:
        raise ValueError(
            f"the laws of a {name} are not known; pass architecture= (blocks with the module's parameter names) or "
            "laws=lawful.derive(architecture)"
        )
    if isinstance(module, Network):
        return laws, agreed_losses(laws, loss, module.arch), module.output_axes
    return laws, agreed_losses(laws, loss), axis


def _expect_same_parameters(module: torch.nn.Module, arch: Architecture) -> None:
    mine = {n: tuple(p.shape) for n, p in module.named_parameters()}
    theirs = {n: p.shape for n, p in arch.parameters.items()}
    for n in sorted(mine.keys() | theirs.keys()):
        if mine.get(n) != theirs.get(n):
            here, there = mine.get(n, "missing"), theirs.get(n, "missing")
            sides = f"{here} in {type(module).__name__} and {there} in the architecture"
            raise ValueError(
                f"the parameter {n} is {sides}; name and size the blocks (blocks.chain) as the module's submodules"
            )
    moves = {n: p.requires_grad for n, p in module.named_parameters()}
    for n, parameter in arch.parameters.items():
        if moves[n] == parameter.frozen:
            way = (
                f"derive with architecture.freeze({n!r})"
                if parameter.frozen is False
                else "thaw it in the architecture"
            )
            raise AssertionError(
                f"{n} is {'trainable' if moves[n] else 'frozen'} in {type(module).__name__} and "
                f"{'frozen' if parameter.frozen else 'trainable'} in the architecture; {way}"
            )
