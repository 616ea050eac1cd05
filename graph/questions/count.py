"""The oracle on architectures and torch modules.

Nothing here asks a rule or a rewrite: what counts is the forward of blocks, or of the module.

This file is long because a module is counted as it runs or as it is traced: both ways share points and doubts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import torch

from lawful.blocks import ShapeError
from lawful.theory.flows import Flow, FlowError, GradientFlow, as_flow
from lawful.theory.losses import LossError, LossLike, parse
from lawful.theory.oracle.counting import (
    CLEAR_GAP,
    DOUBTFUL_GAP,
    NOT_FINITE,
    ContradictionError,
    Count,
    count_fields,
    span_of,
)
from lawful.theory.oracle.lending.lent import lent
from lawful.theory.oracle.lending.storage import own_parameters
from lawful.theory.oracle.modules import Axes, ClassAxes, Inputs
from lawful.theory.oracle.signal import potential_steady
from lawful.theory.refusals import refused, said
from lawful.theory.threads import few_threads
from lawful.theory.verdict import Verdict

from ..architecture.architecture import Architecture
from ..architecture.footprint import expect_fits
from ..architecture.module import Network
from .derive import architecture_of
from .exact import count_exactly
from .fields import Fields, counted_examples, fields_of, layout_of
from .module_fields import HiddenError
from .reach import doubted, reach_of
from .reading import NetworkLike, expect_numbers, question

ATTEMPTS = 3  # random points, until one separates signal from rounding
POINTS = 6  # of a module near its own, and as many anywhere, where its fields are spanned
TINY = 100  # parameters of a module that is counted at more points
MANY = 5  # of them
SURE_GAP = DOUBTFUL_GAP  # below it one point is not enough
FLOATS = "leave out exact=True"
LESS = "count the part without that operation, or verify laws, which needs first derivatives only"
ONE_RUN = "what is counted is the run on the example, and other calls of the module need not have all of its laws"
Look = Callable[[int], tuple[Fields, torch.Generator]]
OWN = (ShapeError, LossError, FlowError, ContradictionError)


@question(skip=("flow",), least={"known": 0, "verified": 0})
def count(
    network: NetworkLike,
    loss: LossLike = "mse",
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    axis: Axes | None = None,
    seed: int = 0,
    known: int | None = None,
    verified: int | None = None,
    exact: bool = False,
    flow: Flow | None = None,
    progress: Callable[[str], None] | None = None,
) -> Count:
    """Counts the independent laws of a network by brute force, without the engine.

    An epsilon of a norm is read as it stands, so that laws which only hold up to an epsilon (`law.exact` is False) are
    not among those counted: `derive(...).exact_independent` is the number to compare with.  `check` reads every epsilon
    as 0 for its count.

    Args:
        network: an architecture, an expression of blocks or a spec (activation patterns are then those of other random
            points, so that the laws counted hold for all parameters), or a module with example inputs in `args` (its
            real activations at one random
            point).  A module that cannot be differentiated often enough as it runs (dropout in training, recurrent
            kernels), or whose units are dead or linear at most points, is traced, and `method` says so.  Of a module
            that is traced and may take other branches at other calls, or whose own state makes it another function
            at the next call, the count is undecided.
        loss: the loss of every output (see `derive`).
        args: example inputs of a module; only shapes and dtypes are used, except for masks.
        kwargs: example keyword inputs of a module, likewise.
        axis: the axis of the features (the classes) in a module's output, or one for every output; by default the one
            that `derive` uses, as tracing finds it, else the last.  That of an architecture is known.
        seed: of the point and the data.
        known: a number of laws proved already; reaching it ends the search early.
        verified: a number of independent laws that hold (`verify`).  It ends nothing, and decides where as many are
            counted but the gap is narrow, if what is kept stands well above rounding, which is then measured.
        exact: count modulo primes instead of in floats, without rounding (see `count_exactly` in `exact`); for networks
            that are polynomial once their activation patterns are fixed.  A module is traced first.
        flow: how the network is trained (see `lawful.flows`); the gradient flow if not given.  Counting is then in
            floats only.
        progress: called with a line before each level of brackets (`progress=print`); without it a line now and then
            goes to stderr where that is a terminal.

    Returns:
        `Count` with `laws`, `ranks`, `gap`, `verdict`, `method`.  A count whose gap is narrow is decided in 120 digits
        if it is small enough (see `theory.oracle.precise`); one whose gap is clear but not wide is repeated at
        another point, and is undecided if the two differ.

    Raises:
        ShapeError: for a module on the meta device or without example inputs, for losses that do not fit the outputs,
            for another axis than that of the classes, for a network whose positions take too much memory, and for a
            module that can be counted neither as it runs nor as it is traced, or that does not train as its parameters
            say (`HiddenError`).
        ContradictionError: if fewer laws are counted than are known.
        NotPolynomialError: with `exact`, names the operation that is no polynomial.
        FlowError: for a flow that names parameters that are not there, and for `exact` with another flow than the
            gradient flow.
    """
    with few_threads(_size(network)):
        flow = None if flow is None else as_flow(flow)
        if exact and not (flow is None or isinstance(flow, GradientFlow)):
            raise FlowError(
                f"exact counting is for the gradient flow, not for {type(flow).__name__}; leave out exact=True or flow="
            )
        built = network.arch if isinstance(network, Network) else network
        if isinstance(built, Architecture) and not (len(args) or kwargs):
            expect_fits(built, counted_examples(built), "a count")
        if exact:
            with refused("the network cannot be counted exactly", FLOATS, ShapeError):
                arch = architecture_of(network, args, kwargs)
                found = count_exactly(arch, loss, seed=seed, known=known, progress=progress)
                return _of_one_run(network, arch, found) if isinstance(network, torch.nn.Module) else found
        if not isinstance(network, Architecture | torch.nn.Module):
            raise ShapeError(
                f"expected an architecture or a torch module, got {type(network).__name__}; use lw.Architecture(blocks)"
            )
        expect_numbers(network, "count")
        counted: dict[str, Any] = {"seed": seed, "known": known, "flow": flow, "progress": progress}
        counted["verified"] = verified
        if isinstance(network, Architecture):
            with refused("the network cannot be counted", LESS, ShapeError):
                return _doubted(network, _count_architecture(network, loss, **counted))
        inputs: Inputs = (tuple(args), dict(kwargs or {}))
        if not isinstance(network, Network):
            axis = class_axes(network, loss, inputs, axis)
        return _count_any_module(network, loss, inputs, axis, counted)


def _size(network: object) -> int:
    """Number of scalars of all parameters."""
    if isinstance(network, torch.nn.Module):
        return sum(p.numel() for p in network.parameters())
    return sum(p.size for p in network.parameters.values()) if isinstance(network, Architecture) else 0


def _count_any_module(
    network: torch.nn.Module, loss: LossLike, inputs: Inputs, axis: Axes | None, counted: dict[str, Any]
) -> Count:
    """The count of a module as it runs, or of its trace where torch refuses or the points disagree."""
    try:
        with lent(network):
            found, doubt = _count_module(network, loss, *inputs, axis, **counted)
    except HiddenError as error:
        return _count_traced(network, loss, inputs, error, **counted)[0]
    except OWN:
        raise
    except Exception as error:  # no derivatives, another batch inside vmap, random numbers: whatever torch refuses
        return _count_traced(network, loss, inputs, error, **counted)[0]
    found = _settled(network, loss, inputs, found, doubt, **counted) if doubt else found
    return _of_one_state(network, inputs, found)


def _looking(
    network: Architecture | torch.nn.Module,
    loss: LossLike,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    axis: Axes | None,
    seed: int,
) -> Look:
    """The fields at every point by its number, with the source of all that is random there.

    They are made once, and whoever asks again draws the same data.
    """

    @cache
    def made(point: int) -> tuple[Fields, torch.Generator, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed + 1000 * point)
        where: Any = {"args": args, "kwargs": kwargs, "axis": axis, "far": point >= POINTS}
        return fields_of(network, loss, generator, **where), generator, generator.get_state()

    def look(point: int) -> tuple[Fields, torch.Generator]:
        fields, generator, start = made(point)
        generator.set_state(start)
        return fields, generator

    return look


def _count(
    network: Architecture | torch.nn.Module,
    loss: LossLike,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    axis: Axes | None,
    *,
    seed: int,
    known: int | None,
    verified: int | None,
    flow: Flow | None,
    progress: Callable[[str], None] | None,
    points: Sequence[int] = range(ATTEMPTS),
    wanted: int = 1,
    seen: list[Count] | None = None,
    done: dict[int, tuple[Count, bool]] | None = None,
    look: Look | None = None,
) -> Count:
    """The count at the first points that are clear: the smallest of as many as are wanted; `seen` collects them.

    Where no gap is wide, one that is not narrow decides, if another point has the same count.  `done` keeps what was
    counted at every point, and whether its fields are more than rounding: no point is counted twice.
    """
    seen, done = [] if seen is None else seen, {} if done is None else done
    look = look or _looking(network, loss, args, kwargs, axis, seed)
    narrow: list[Count] = []
    for point in points:
        if point not in done:
            (potential, theta, sample), generator = look(point)
            if flow is None:
                found = count_fields(potential, theta, sample, known=known, verified=verified, progress=progress)
            else:
                layout = layout_of(network)
                found = flow.count(potential, theta, sample, layout, generator, known=known, progress=progress)
            done[point] = found, found.verdict is not Verdict.HOLDS or potential_steady(potential, theta, sample)
        found, steady = done[point]
        if not steady:
            continue
        if found.verdict is not Verdict.UNDECIDED:
            seen.append(found)
        elif found.closed and found.gap >= CLEAR_GAP:
            narrow.append(found)
        else:
            continue
        sure = [f for f in seen if f.gap >= SURE_GAP or f.margin is not None]
        if len(sure) >= wanted or (sure and found.laws == known):
            return min(sure, key=lambda f: f.laws)
        agreeing = [f for f in (*seen, *narrow) if f.laws == found.laws]
        if not sure and len(agreeing) > 1 and agreeing[0].verdict is not Verdict.UNDECIDED:
            return agreeing[0]
    return replace(min(seen, key=lambda f: f.laws) if seen else found, verdict=Verdict.UNDECIDED)


def _count_architecture(arch: Architecture, loss: LossLike, **counted: Any) -> Count:
    """The count of an architecture with the activation patterns of all points, which one point has to have as well."""
    done: dict[int, tuple[Count, bool]] = {}
    found = _count(arch, loss, (), {}, None, done=done, **counted)
    if found.method == NOT_FINITE and counted["flow"] is None:
        return _with_own_patterns(arch, loss, found, **counted)
    if found.verdict is not Verdict.HOLDS or counted["flow"] is not None or found.laws == counted["known"]:
        return found
    if found.laws and found.parameters <= TINY:  # a kink that no gate stands for may be on one side at one point
        more = _count(arch, loss, (), {}, None, wanted=ATTEMPTS, points=range(2 * ATTEMPTS), done=done, **counted)
        found = more if more.verdict is Verdict.HOLDS and more.laws < found.laws else found
    if found.laws == counted["known"]:
        return found
    generator = torch.Generator().manual_seed(counted["seed"] + 1)
    return doubted(found, reach_of(arch, loss, generator))


def _with_own_patterns(arch: Architecture, loss: LossLike, found: Count, **counted: Any) -> Count:
    """A count whose fields are no numbers with the patterns of other points: with the network's own, as of a module.

    `|x|` with the sign of another input is negative, and so may be the sum of `|x|^3` under a root.
    """
    network = arch.to_torch(torch.float64)
    try:
        with lent(network):
            again, doubt = _count_module(network, loss, (), {}, None, **counted)
    except ContradictionError:
        raise
    except Exception:  # whatever torch refuses
        return found
    if doubt or again.verdict is not Verdict.HOLDS:
        return found
    return replace(again, method=f"{again.method}, with the activation patterns of each input itself")


class Doubt(NamedTuple):
    """Why a count may not be that of generic points: in words, and whether the points that were counted disagree."""

    why: str
    counted: bool = False


def _count_module(
    module: torch.nn.Module,
    loss: LossLike,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    axis: Axes | None,
    *,
    seed: int,
    known: int | None,
    **options: Any,
) -> tuple[Count, Doubt | None]:
    """The count of a module where its fields span most, and why that may not be generic.

    A unit that is dead or linear for all data at one point has laws there that it has nowhere else.  Fields alone are
    cheap to span, so several points are looked at before brackets are asked for at two of the best.
    """
    look = _looking(module, loss, args, kwargs, axis, seed)
    counted: dict[str, Any] = {"seed": seed, "known": known, "done": {}, "look": look, **options}
    first = _count(module, loss, args, kwargs, axis, points=(0,), **counted)
    if first.verdict is Verdict.HOLDS and first.laws == known:
        return first, None
    spans = [span_of(*look(point)[0]) for point in range(2 * POINTS)]
    best = [i for i, s in enumerate(spans) if s == max(spans)]
    seen: list[Count] = []
    found = _count(module, loss, args, kwargs, axis, points=best[:ATTEMPTS], wanted=2, seen=seen, **counted)
    if len({f.laws for f in seen}) > 1:
        return found, Doubt(f"{' and '.join(str(f.laws) for f in seen)} laws are counted at different points", True)
    if 2 * len(best) > len(spans):
        if found.parameters <= TINY:  # two points may have units that are dead at both
            _count(module, loss, args, kwargs, axis, points=best[:MANY], wanted=MANY, seen=seen, **counted)
        several = sorted({f.laws for f in seen})
        if len(several) > 1:
            return found, Doubt(f"{' and '.join(map(str, several))} laws are counted at different points", True)
        return found, None
    if len({s.rank for s in spans}) > 1:
        what = f"fields span {', '.join(str(s.rank) for s in spans)} dimensions"
    else:
        what = f"fields move {', '.join(str(s.moving) for s in spans)} parameters"
    return found, Doubt(f"{what} at {len(spans)} points, so units may be dead or linear at all of them")


def _settled(
    module: torch.nn.Module, loss: LossLike, inputs: Inputs, found: Count, doubt: Doubt, **counted: Any
) -> Count:
    """A count at points that may not be generic: that of the traced network, whose patterns are those of all points.

    Opaque operations have no patterns of other points: where counts differ from point to point beside one, neither says
    which is generic.
    """
    undecided = replace(found, verdict=Verdict.UNDECIDED, method=f"{found.method}; {doubt.why}")
    try:
        traced, arch = _count_traced(module, loss, inputs, None, **counted)
    except OWN:
        return undecided
    opaque = arch.trace is not None and bool(arch.trace.opaque)
    if traced.laws > found.laws or (doubt.counted and opaque):  # not generic either
        return undecided
    return replace(traced, method=f"{traced.method}; as it runs {doubt.why}")


def class_axes(module: torch.nn.Module, loss: LossLike, inputs: Inputs, axis: Axes | None) -> Axes | None:
    """Where the classes of a module's outputs are, as the laws are derived, where the loss can tell the axes apart."""
    try:
        if not isinstance(loss, Mapping) and all(m.span == "all" for each in _each(loss) for m in parse(each)):
            return axis
        trace = architecture_of(module, *inputs).trace
    except Exception:  # a loss or a module that cannot be read is for the count to refuse
        return axis
    return axis if trace is None or isinstance(axis, ClassAxes) else ClassAxes(trace.axes, axis)


def _each(loss: Any) -> Sequence[Any]:
    return list(loss) if isinstance(loss, Sequence) and not isinstance(loss, str) else [loss]


def _count_traced(
    module: torch.nn.Module, loss: LossLike, inputs: Inputs, error: Exception | None, **counted: Any
) -> tuple[Count, Architecture]:
    """A module counted as tracing rebuilds it, where it cannot be counted as it runs, and what was rebuilt."""
    name, reason = type(module).__name__, said(error) if error else "its points are not generic"
    try:
        arch = architecture_of(module, *inputs)
        found = _doubted(arch, _count_architecture(arch, loss, **counted))
    except OWN:
        if isinstance(error, HiddenError):
            raise error from None
        raise
    except Exception as other:
        if isinstance(error, HiddenError):
            raise error from None
        again = said(other)
        why = reason if again == reason else f"{reason}; traced: {again}"
        raise ShapeError(f"{name} cannot be counted, neither as it runs nor as it is traced ({why}); {LESS}") from error
    method = f"{found.method}, of the traced network" + (f" (as it runs: {type(error).__name__})" if error else "")
    return _of_one_run(module, arch, replace(found, method=method)), arch


def _of_one_run(module: torch.nn.Module, arch: Architecture, found: Count) -> Count:
    """The count of a module by its trace, which says nothing about other branches than those that were traced."""
    found = _with_unread(module, found)
    if isinstance(module, Network) or arch.trace is None or not arch.trace.branches or not found.verdict.passed:
        return found
    return replace(found, verdict=Verdict.UNDECIDED, method=f"{found.method}; {ONE_RUN}")


def _of_one_state(module: torch.nn.Module, inputs: Inputs, found: Count) -> Count:
    """The count of a module as it runs, whose own state may make another function of it at the next call."""
    if isinstance(module, Network) or not found.laws or not found.verdict.passed:
        return found
    try:
        trace = architecture_of(module, *inputs).trace
    except Exception:  # a module that cannot be traced was counted as it runs, which needs no trace
        return found
    if trace is None or trace.comparison is None or not trace.comparison.moving:
        return found
    return replace(found, verdict=Verdict.UNDECIDED, method=f"{found.method}; {ONE_RUN}")


def _with_unread(module: torch.nn.Module, found: Count) -> Count:
    """The count of a traced network and of the entries of its module that it does not read, which never move."""
    hidden = sum(p.numel() for p in own_parameters(module).values() if p.requires_grad) - found.parameters
    return replace(found, laws=found.laws + hidden, parameters=found.parameters + hidden)


def _doubted(arch: Architecture, found: Count) -> Count:
    """A count of a network that has some numbers of its module twice is of another one: both were drawn freely."""
    from ..tracing.overlaps import REASON

    if not arch.trace:
        return found
    if arch.trace.copied:
        why = f"{arch.trace.copied[0]} hold the same numbers and were drawn as two inputs"
    elif any(op.reason == REASON for op in arch.trace.opaque):
        why = "parts of a parameter that share numbers were counted as several parameters"
    else:
        return found
    return replace(found, verdict=Verdict.UNDECIDED, method=f"{found.method}; {why}")
