"""One step of a module, seen from both sides: the gradients it leaves, and the derivative of what it computed.

This file is long because a step is taken in one go: recorded, differentiated, and compared while the module is lent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch.utils import _pytree as pytree

from lawful.theory.oracle.lending.storage import SharedMemoryError, shared_names
from lawful.theory.oracle.outputs import named_outputs
from lawful.theory.refusals import ModuleError, refused

from .losses import LossOf, Outputs
from .own_backward import OperatorFinding, operators
from .past import followed, missed
from .recorder import recording
from .replay import Memory, Replayed, replay
from .resemblance import dense
from .stand_ins import stand_ins
from .stops import sort_stops, undeclared
from .tape import Cut, NotMeasured, OwnCall, Spot, Stop, Tape, storage_key
from .torch_design import by_torch
from .widths import EPS, Widths, narrowest
from .wires import Wires

Tensors = dict[str, torch.Tensor]
Gradients = dict[str, torch.Tensor | None]
MARGIN = 100  # times the change of the gradient when all that it is computed from moves by its last bit
NARROW = 5  # the same in numbers of less than 24 bits, where it is the largest change of a few draws
DRAWS = 4  # of these
HEARD = 10  # times that change, above which a derivative is more than rounding
REPLACED = "given other data in every forward, made of other parameters"
LOUD = 1e4  # last bits
SHAKES = 9  # draws of the last bits: the first for all, the others where a law seems to be broken
GRID = 256  # parts of one, in which numbers that were rounded on purpose are whole
FLOOR = 16  # last bits of the type that it is computed in


@dataclass
class Sample:
    """A step, and what is known about its gradients.

    Attributes:
        parameters: the trainable parameters.
        own: what the module's own backward left in each; None where it left nothing.
        true: the derivative of what the forward computed.
        cut: the same, where what autograd did not see stays unseen.
        meant: the same, where that stays unseen of which it is known that it is meant.
        declared: whether `by_design=` says so of some of it.
        stops: where gradients stop that may not be meant, for each parameter that lacks a part of its gradient.
        mute: the stops of straight-through estimators, for each parameter that gets no gradient at all past them.
        noise: by how much the derivative moves with the last bits of all that it is computed from, as a length.
        shaken: the same, entry by entry.
        again: draws the derivative with other last bits, as often as `shake` asks.
        width: the narrowest type of numbers that took part.
        tape: what ran.
        wires: pairs of what backward sent and what it should have sent, by step and result.
        loud: by how much the second moves with the last bits of all that it is computed from, as a length.
        operators: what was found about operators with a backward of their own.
        excused: calls of operators whose own backward stands in for the derivative.
        unknown: why there is no derivative to compare with.
        unseen: parameters that the outputs move with, and whose derivative of the loss is zero all the same.
        idle: parameters that no output moves with, whatever function of the outputs is taken.
        value: the loss.
        outputs: of the forward, by name.
        longer: whether its inputs have one example more than those that were given.
        second: whether another step ran before it, and the parameters moved in between.
        tolerance: largest relative error, in place of what was measured.
        past: parameters whose derivative goes by numbers that leave torch, with the relative size of that.
        leaving: where numbers leave it.
        followed: how far gradients are from the slopes of the loss, where there is no derivative to compare with.
        started: parameters that the first call starts from its inputs; the step is the second one.
        unregistered: tensors that take a gradient in the step without being parameters of the module, by their paths.
    """

    parameters: Tensors
    own: Gradients
    true: Gradients = field(default_factory=dict)
    cut: Gradients = field(default_factory=dict)
    meant: Gradients = field(default_factory=dict)
    declared: bool = False
    stops: dict[str, list[Stop]] = field(default_factory=dict)
    mute: dict[str, list[Stop]] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)
    shaken: dict[str, torch.Tensor] = field(default_factory=dict)
    again: Iterator[Gradients] = field(default_factory=lambda: iter(()), repr=False)
    width: torch.dtype = torch.float64
    tape: Tape = field(default_factory=Tape)
    wires: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    loud: dict[tuple[int, int], float] = field(default_factory=dict)
    operators: list[OperatorFinding] = field(default_factory=list)
    excused: frozenset[int] = frozenset()
    unknown: str = ""
    unseen: set[str] = field(default_factory=set)
    idle: set[str] = field(default_factory=set)
    value: float = 0.0
    outputs: Outputs = field(default_factory=dict)
    tolerance: float | None = None
    longer: bool = False
    second: bool = False
    past: dict[str, float] = field(default_factory=dict)
    leaving: list[Stop] = field(default_factory=list)
    followed: dict[str, float] = field(default_factory=dict)
    started: tuple[str, ...] = ()
    unregistered: tuple[str, ...] = ()

    @cached_property
    def scale(self) -> float:
        """The length of the whole derivative, which is known when a sample is taken."""
        return sum(float(g.norm()) ** 2 for g in (self.true or self.own).values() if g is not None) ** 0.5

    def shake(self) -> bool:
        """Moves the last bits once more and keeps the largest noise of each entry; False where that is used up.

        Where a gate reads rounding alone (behind a norm of numbers alike), each draw opens others.
        """
        moved = next(self.again, None)
        for n, g in self.cut.items():
            other = moved.get(n) if moved else None
            if g is not None and other is not None:
                moves, known = (g - other).abs(), self.shaken.get(n)
                self.shaken[n] = moves if known is None else torch.maximum(known, moves)
        return moved is not None

    def bound(self, name: str, side: Gradients | None = None) -> float:
        """How far a gradient may be from the derivative, or from another side: `cut`, `meant`."""
        true = (self.true if side is None else side).get(name)
        size = float(true.norm()) if true is not None else 0.0
        if self.tolerance is not None:
            return self.tolerance * size
        eps = EPS.get(self.width, 1e-2)
        floor = max(FLOOR * eps, 1e-9)
        return margin(self.width) * self.noise.get(name, 0.0) + floor * size + 10 * eps * self.scale * 1e-2

    def fits(self, name: str, side: Gradients) -> bool:
        """Whether a gradient is that of a side: `true`, `cut`, `meant`."""
        return self.error(name, side) <= self.bound(name, side)

    def error(self, name: str, side: Gradients | None = None) -> float:
        """How far it is from the derivative, or from another side."""
        return apart(self.own.get(name), (self.true if side is None else side).get(name))

    def relative(self, name: str, side: Gradients | None = None) -> float:
        """The same, relative to the derivative."""
        true = (self.true if side is None else side).get(name)
        size, error = float(true.norm()) if true is not None else 0.0, self.error(name, side)
        return error / size if size else float("inf") if error else 0.0

    def gets(self, name: str) -> bool:
        """Whether backward left a gradient other than zero."""
        own = self.own.get(name)
        return own is not None and float(own.norm()) > 1e-14 * self.scale

    def speaks(self, name: str) -> bool:
        """Whether backward left more than any rounding of all gradients."""
        own = self.own.get(name)
        return own is not None and float(own.norm()) > LOUD * EPS.get(self.width, 1e-2) * self.scale

    def blurred(self, name: str) -> bool:
        """Whether the derivative is there, and so few bits were computed with that its rounding hides any fault."""
        true = self.true.get(name)
        size = 0.0 if true is None else float(true.norm())
        return margin(self.width) == NARROW and self.noise.get(name, 0.0) < size <= HEARD * self.noise.get(name, 0.0)

    def moved(self, name: str) -> bool:
        """Whether the derivative is more than rounding."""
        true = self.true.get(name)
        return true is not None and float(true.norm()) > max(HEARD * self.noise.get(name, 0.0), 1e-12 * self.scale)


def margin(width: torch.dtype) -> int:
    """Times the noise of a gradient by which it may be off: a step in bfloat16 that is off by all of it is wrong."""
    return NARROW if EPS.get(width, 1e-2) > EPS[torch.float32] else MARGIN


def apart(one: torch.Tensor | None, other: torch.Tensor | None) -> float:
    """How far two gradients are from one another; none is zero."""
    if one is None or other is None:
        some = other if one is None else one
        return 0.0 if some is None else float(some.norm())
    return float((one - other).norm())


def left(module: torch.nn.Module, parameters: Tensors) -> Gradients:
    """Copies of the gradients that a backward left; two parameters on one memory are stepped by the sum of theirs."""
    found: Gradients = {n: None if p.grad is None else dense(p.grad) for n, p in parameters.items()}
    every = dict(module.named_parameters())
    for other, first in tied(module).items():
        grad = every[other].grad
        if grad is not None and first in found and other not in found:
            before = found[first]
            found[first] = dense(grad) if before is None else before + dense(grad)
    return found


def tied(module: torch.nn.Module) -> dict[str, str]:
    """Names of parameters on the memory of another one, with the name of that; none where they overlap in part."""
    try:
        return shared_names(module)
    except SharedMemoryError:
        return {}


def take(
    module: torch.nn.Module,
    parameters: Tensors,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    loss: LossOf,
    seed: int,
    again: Callable[[], None],
    compiled: Callable[[], Gradients] | None = None,
    by_design: Sequence[str] = (),
) -> Sample:
    """Runs a step, and differentiates what it computed.

    Args:
        module: the module.
        parameters: its trainable parameters by name; their gradients are taken away.
        args: its inputs.
        kwargs: its inputs by keyword.
        loss: of its outputs.
        seed: of what it draws.
        again: puts the module to where a run starts.
        compiled: gives the gradients of the module as it is used, if that is not how it is run here.
        by_design: names of operators, modules or lines whose gradient is meant not to be the derivative.
    """
    tape, outputs, spots, wires = _recorded(module, parameters, args, kwargs, seed, again)
    first: tuple[str, ...] = ()
    if tape.foreign:  # numbers made of other parameters: a start from the first inputs, if a second call has none

        def warm() -> None:
            again()
            torch.manual_seed(seed)
            with refused(f"the forward of {type(module).__name__} does not run"):
                module(*args, **kwargs)

        first = tuple(sorted(tape.foreign))
        tape, outputs, spots, wires = _recorded(module, parameters, args, kwargs, seed, warm)
        first = () if tape.foreign else first
    # before the backward, whose hooks may step
    leaves = {n: tape.points.get(n, p.detach()).clone().requires_grad_() for n, p in parameters.items()}
    value = loss(outputs)
    widths = Widths()
    if value.requires_grad:
        with refused(f"the backward of {type(module).__name__} does not run"), widths:
            value.backward()
    own = left(module, parameters)
    if compiled is not None:
        own = compiled()
    sample = Sample(leaves, own, tape=tape, value=float(value.detach()), outputs=outputs, started=first)
    sample.width = narrowest({*tape.widths, *widths.seen, *(p.dtype for p in parameters.values())})
    try:
        if tape.unknown:
            raise NotMeasured(tape.unknown)
        _differentiate(sample, spots, loss, seed, by_design)
    except NotMeasured as error:
        sample.unknown = str(error)
    if compiled is None:
        _pair(sample, wires)
    if sample.width == torch.float64 and not first and compiled is None:
        _past(sample, module, args, kwargs, loss, seed, again, by_design)
    return sample


def _past(
    sample: Sample,
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    loss: LossOf,
    seed: int,
    again: Callable[[], None],
    by_design: Sequence[str],
) -> None:
    """What goes by numbers that leave torch, and what nothing else sees, by the slope of the loss."""
    tape, stops = sample.tape, undeclared(sample.tape, by_design)
    if tape.samples or tape.points:
        return
    if not sample.unknown and (not stops or sample.excused or tape.straight or by_torch(tape)):
        return
    own = {n: p for n, p in module.named_parameters() if n in sample.parameters}

    def value(point: Mapping[str, torch.Tensor]) -> float:
        again()
        with torch.no_grad():
            for n, p in own.items():
                p.copy_(point[n])
        torch.manual_seed(seed)
        with refused(f"the forward of {type(module).__name__} does not run"), torch.enable_grad():
            return float(loss(named_outputs(module, module(*args, **kwargs))).detach())

    point = {n: p.detach() for n, p in sample.parameters.items()}
    if sample.unknown:
        sample.followed = followed(value, point, sample.own, seed)
        return
    sample.past = missed(value, point, sample.true, seed)
    sample.leaving = stops if sample.past else []


def _recorded(
    module: torch.nn.Module,
    parameters: Tensors,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    seed: int,
    again: Callable[[], None],
) -> tuple[Tape, Outputs, dict[str, Spot], Wires]:
    """Runs a forward, and writes down what it does."""
    again()
    torch.manual_seed(seed)
    given = [t for t in pytree.tree_flatten((args, dict(kwargs)))[0] if isinstance(t, torch.Tensor)]
    with recording(module, parameters, given) as recorder:
        wires = Wires(recorder)
        with wires, refused(f"the forward of {type(module).__name__} does not run"):
            found = module(*args, **kwargs)
        recorder.settle(module)
        tape = recorder.tape
        if moved := [n for n, p in parameters.items() if n not in tape.points and storage_key(p) not in tape.leaves]:
            tape.unknown = tape.unknown or f"{', '.join(moved[:3])}: {REPLACED}"
        outputs = named_outputs(module, found)
        spots = {}
        try:
            spots = {n: recorder.ends(t) for n, t in outputs.items()}
        except NotMeasured as error:
            tape.unknown = tape.unknown or str(error)
    return tape, outputs, spots, wires


def _differentiate(sample: Sample, spots: dict[str, Spot], loss: LossOf, seed: int, by_design: Sequence[str]) -> None:
    """Fills in the derivative, with cuts and without, its noise, and what was found about operators."""
    tape, leaves = sample.tape, sample.parameters
    sample.operators = operators(tape, leaves, seed)
    stand_in = stand_ins(tape, sample.operators, by_design)
    sample.excused = frozenset(stand_in)
    whole = replay(tape, leaves, list(spots.values()), stand_in=stand_in)
    for name, value in zip(spots, whole.outputs, strict=True):
        if not _same(value, sample.outputs[name], sample.width):
            raise NotMeasured(f"what it computes cannot be run again: {name} comes out otherwise")
    sample.true, made = _gradients(whole, spots, loss, leaves)
    sample.cut = sample.meant = sample.true

    def stopped(cuts: Sequence[Cut]) -> tuple[Gradients, dict[tuple[int, int], torch.Tensor | None]]:
        again = replay(tape, leaves, list(spots.values()), stand_in=stand_in, closed=cuts)
        return _gradients(again, spots, loss, leaves)

    if tape.cuts:
        sample.cut, made = stopped(tape.cuts)
        _stopped(sample, lambda cuts: stopped(cuts)[0], by_design)
    sample.wires = {k: (g, g) for k, g in made.items() if g is not None}
    eps = EPS.get(sample.width, 1e-2)
    generator = torch.Generator().manual_seed(seed)

    def nudge(t: torch.Tensor) -> torch.Tensor:
        if _exact(t.detach()):
            return t
        return t * (1 + eps * torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t))

    def draws() -> Iterator[Gradients]:
        for _ in range(SHAKES):
            nudged = {n: nudge(p.detach()).requires_grad_() for n, p in leaves.items()}
            try:
                other = replay(tape, nudged, list(spots.values()), stand_in=stand_in, closed=tape.cuts, nudge=nudge)
                moved, sent = _gradients(other, spots, loss, nudged)
                for k, g in sent.items():
                    if g is not None and k in sample.wires:
                        sample.loud[k] = max(sample.loud.get(k, 0.0), float((g - sample.wires[k][1]).norm()))
                yield moved
            except NotMeasured:
                return

    sample.again = draws()
    for _ in range(DRAWS if margin(sample.width) == NARROW else 1):
        sample.shake()
    sample.noise = {n: float(t.norm()) for n, t in sample.shaken.items()}
    sample.unseen, sample.idle = _unseen(sample, spots, stand_in, generator)


def _exact(t: torch.Tensor) -> bool:
    """Whether numbers are those of a grid, as rounding and comparisons make them, which has no last bits."""
    if not t.is_floating_point() or t.device.type == "meta":
        return False
    fine = t * GRID
    return bool((fine == fine.round()).all())


MOST_STOPS = 16  # that are looked at one by one


def _stopped(sample: Sample, derivative: Callable[[Sequence[Cut]], Gradients], by_design: Sequence[str]) -> None:
    """By which of the stops that may not be meant each parameter lacks a part of its gradient."""
    known = sort_stops(sample.tape, by_design)
    sample.declared = known.declared
    if known.meant:
        sample.meant = derivative(known.meant) if known.asked else sample.cut
    short = [n for n in sample.parameters if not sample.fits(n, sample.meant) and sample.fits(n, sample.cut)]
    asked = list(known.asked.items())[-MOST_STOPS:] if short else []
    alone = [(stop, derivative([*known.meant, *cuts])) for stop, cuts in asked]
    for n in short:
        bound = sample.bound(n, sample.meant) + sample.bound(n, sample.cut)
        by = [stop for stop, grads in alone if apart(grads.get(n), sample.meant.get(n)) > bound]
        sample.stops[n] = by or list(known.asked)
    mute = [n for n in sample.parameters if sample.moved(n) and not sample.gets(n) and sample.fits(n, sample.meant)]
    ways = list(known.straight.items())[-MOST_STOPS:] if mute else []
    passing = [(stop, derivative(cuts)) for stop, cuts in ways]
    for n in mute:
        bound = sample.bound(n)
        sample.mute[n] = [stop for stop, grads in passing if apart(grads.get(n), sample.true.get(n)) > bound]


def _unseen(
    sample: Sample,
    spots: dict[str, Spot],
    stand_in: dict[int, Callable[[OwnCall, Memory], None]],
    generator: torch.Generator,
) -> tuple[set[str], set[str]]:
    """The parameters without a derivative that another function of the outputs would give one; those that none would.

    Of cross-entropy the first are all that add the same number to every class.
    """
    still = [n for n, g in sample.true.items() if g is not None and not sample.moved(n) and not sample.blurred(n)]
    if not still or not sample.scale:
        return set(), set()
    outs = replay(sample.tape, sample.parameters, list(spots.values()), stand_in=stand_in).outputs
    probes = [torch.randn(z.shape, generator=generator, dtype=torch.float64).to(z) for z in outs]
    live = [(z * w).sum() for z, w in zip(outs, probes, strict=True) if z.requires_grad and z.ndim]
    if not live:
        return set(), set()
    leaves = list(sample.parameters.values())
    slopes = torch.autograd.grad(sum(live[1:], start=live[0]), leaves, allow_unused=True)
    grads = dict(zip(sample.parameters, slopes, strict=True))
    size = sum(float(g.norm()) ** 2 for g in grads.values() if g is not None) ** 0.5
    sizes = {n: 0.0 if (g := grads[n]) is None else float(g.norm()) for n in still}
    return {n for n, s in sizes.items() if s > 1e-6 * size}, {n for n, s in sizes.items() if s <= 1e-12 * size}


def _gradients(
    run: Replayed, spots: dict[str, Spot], loss: LossOf, leaves: Tensors
) -> tuple[Gradients, dict[tuple[int, int], torch.Tensor | None]]:
    value = loss(dict(zip(spots, run.outputs, strict=True)))
    if not value.requires_grad:
        return dict.fromkeys(leaves), {}
    made = {k: v for k, v in run.made.items() if v.requires_grad and not v.is_leaf}
    try:
        found = torch.autograd.grad(value, [*leaves.values(), *made.values()], allow_unused=True)
    except NotImplementedError as error:
        raise ModuleError(
            f"the recorded calls of the module have no gradient in torch ({error}); test it without this call, such as "
            "the max_norm of an embedding, which changes weights in the forward"
        ) from error
    found = tuple(None if g is None else dense(g) if g.is_sparse else g for g in found)
    return dict(zip(leaves, found, strict=False)), dict(zip(made, found[len(leaves) :], strict=True))


def _same(one: torch.Tensor, other: torch.Tensor, width: torch.dtype) -> bool:
    one, other = one.detach().double(), other.detach().double()
    if one.shape != other.shape:
        return False
    both = one.isfinite() & other.isfinite()
    if not bool((both | (one == other) | (one.isnan() & other.isnan())).all()):
        return False
    gap = torch.where(both, one - other, 0).norm()
    return float(gap) <= 100 * EPS.get(width, 1e-2) * float(torch.where(both, other, 0).norm()) + 1e-12


def _pair(sample: Sample, wires: Wires) -> None:
    """What backward sent beside what it should have sent, where both are known."""
    pairs = {}
    for made, true in {k: v[1] for k, v in sample.wires.items()}.items():
        if made in wires.heard:
            own = wires.grads.get(made)
            pairs[made] = (torch.zeros_like(true) if own is None else own, true)
    sample.wires = pairs


__all__ = ["FLOOR", "MARGIN", "Gradients", "Sample", "left", "margin", "take", "tied"]
