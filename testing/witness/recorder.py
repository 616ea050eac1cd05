"""Writes a `Tape` while a module runs.

This file is long because everything that is written shares what is known about memory so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from lawful.theory.oracle.lending.holders import same_bits

from .bound import Bound
from .hidden import hides
from .hooks import hooks_of
from .listening import REGION, listening
from .past import READS_OUT, SAMPLERS, WHY
from .places import place_now
from .straight import Straight
from .tape import (
    COMPARES,
    NEAR,
    ROUNDS,
    Cut,
    NotMeasured,
    OwnCall,
    Place,
    Spot,
    Step,
    Stop,
    Tape,
    flat,
    has_memory,
    spots_in,
    storage_key,
)

# calls that read the shape of a tensor, or its place, and not its numbers
BLIND = frozenset(
    "empty_like zeros_like ones_like full_like rand_like randn_like randint_like new_empty new_zeros new_ones new_full "
    "new_empty_strided exponential_ normal_ uniform_ random_ cauchy_ log_normal_ geometric_ zero_ ".split()
)
OUT_OF_SIGHT = "it reads what was computed out of sight, such as in another thread"
DETACHED = "detach() or .data"
RENEWED = "a new nn.Parameter() of what was computed, which is a leaf"
FROZEN = "requires_grad_(False) in the forward, detach() or .data"
MARKED = "mark_non_differentiable() in the forward of"
UNASKED = "no input needs a gradient, so that none reaches the parameters inside of"


def _whole(tensor: torch.Tensor) -> bool:
    """Whether a tensor is all of its memory."""
    return tensor.numel() * tensor.element_size() >= tensor.untyped_storage().nbytes()


class _Numbers:
    """Gives the same numbers whenever it is called."""

    __qualname__ = "numbers"

    def __init__(self, line: torch.Tensor) -> None:
        self._line = line

    def __call__(self) -> torch.Tensor:
        return self._line


class Recorder(TorchDispatchMode):
    """Writes a `Tape` while the forward runs."""

    def __init__(
        self,
        tape: Tape,
        names: Mapping[int, str],
        parameters: Mapping[str, torch.Tensor],
        given: Iterable[torch.Tensor] = (),
    ) -> None:
        super().__init__()
        self._given_here = {storage_key(t) for t in given if has_memory(t)} | tape.state
        self.tape, self._names = tape, names
        self._bound = Bound(tape, parameters)
        self._held: dict[int, Any] = {}
        self._known: set[int] = set()
        self._open: list[int] = []
        self._lines: dict[int, torch.Tensor] = {}  # what memory holds that was made here and depends on no parameter
        self._outside: list[int] = []  # memory that no kernel was seen to write first
        self._before_call: dict[int, int] = {}
        self._given: dict[int, dict[int, torch.Tensor]] = {}  # what the memory of its inputs held, for every open call
        self._shut: set[int] = set()  # calls that compute with tensors without a memory
        self._aside = False  # while a call is run again
        self._of_state: set[int] = set()  # memory that was made from what the module keeps for its next call
        self._straight = Straight(tape)
        self.regions: list[Stop] = []  # where the no_grad regions begin that are open
        self.deaf = False  # inside of a reentrant checkpoint, whose forward backward does not go through

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if self.tape.unknown:
            return func(*args, **options)
        try:
            step = self._before(func, args, options)
        except NotMeasured as error:
            self.tape.unknown = str(error)
            return func(*args, **options)
        out = func(*args, **options)
        try:
            self._after(step, args, options, out)
        except NotMeasured as error:
            self.tape.unknown = str(error)
        return out

    def note(self, tensor: torch.Tensor) -> Spot:
        """A tensor that something reads: its memory, kept as it is now if nobody has read it before."""
        if isinstance(tensor, torch.nn.Parameter):
            self._bound.reads(tensor, self.place())
        spot = self.tape.spot(tensor)
        base = tensor if tensor._base is None else tensor._base
        if spot.alive and base.is_leaf and base.requires_grad and not self.deaf and spot.key in self.tape.moves:
            spot = self._leaf(base, spot)
        known = self._lines.get(spot.key)
        if known is not None and known.device.type != "meta" and not same_bits(known, line := flat(tensor.detach())):
            self._shut |= set(self._inside())
            self._passes()
            self._numbers(spot, line, self.place())
        if spot.key not in self._known:
            self._known.add(spot.key)
            self._held[spot.key] = tensor.untyped_storage()
            self._outside.append(spot.key)
            if spot.key not in self.tape.leaves:
                if tensor.grad_fn is not None and spot.key not in self._given_here:
                    raise NotMeasured(f"{OUT_OF_SIGHT}: {self.place()}")
                self.tape.fixed[spot.key] = flat(tensor.detach())
                if tensor.is_floating_point() and spot.key not in self._given_here:
                    self._passes()
        return spot

    def _leaf(self, tensor: torch.Tensor, spot: Spot) -> Spot:
        """A leaf that depends on parameters, of which autograd knows no more than that it is one."""
        if spot.key in self.tape.leaves:
            return spot
        if isinstance(tensor, torch.nn.Parameter):
            self.tape.renewed.add(spot.key)
        return replace(spot, alive=False)

    def _passes(self) -> None:
        """Here numbers may have come from outside of torch, or go there."""
        if not self._open:
            self.tape.past.append(Stop(self.place(), WHY))

    def _before(self, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Step:
        def put(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            if has_memory(value) or (value.requires_grad and not self._inside()):
                return self.note(value)
            return value.detach()  # sparse, nested: a constant

        for tensor in self._written(func._schema, args, options):
            self._bound.writes(tensor, done=False)
        kept_args, kept_options = pytree.tree_map(put, (args, options))
        own = tuple(self._open)
        step = Step(func, kept_args, kept_options, {}, [], torch.is_grad_enabled(), self.place(), own)
        if torch.Tag.nondeterministic_seeded in getattr(func, "tags", ()):
            step.dice, self.tape.draws = torch.get_rng_state(), True
        self.tape.autocast |= torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
        return step

    def _after(self, step: Step, args: tuple[Any, ...], options: dict[str, Any], out: Any) -> None:
        tape, reads = self.tape, spots_in((step.args, step.kwargs))
        made = [t for t in pytree.tree_flatten(out)[0] if isinstance(t, torch.Tensor)]
        outs = [t for t in made if has_memory(t)]
        if len(outs) < len(made) and any(s.key in tape.moves for s in reads):
            self._without_memory(next(t for t in made if not has_memory(t)))
        if made and not outs:
            return
        schema = step.func._schema  # type: ignore[attr-defined]
        if not schema.is_mutable and outs and all(storage_key(t) in self._known for t in outs):
            if step.name == "aten.detach":
                tape.detached[storage_key(outs[0])] = step.place
            return  # a view: the memory says it all
        written = self._written(schema, args, options)
        if step.name.rpartition(".")[2] in BLIND and all(map(_whole, written)):
            reads = []  # what is written into a part leaves the rest of the memory as it moves
        targets = {storage_key(t) for t in written}
        for tensor in written:
            self._bound.writes(tensor, done=True)
        if step.name == READS_OUT and any(s.key in tape.moves for s in reads):
            self._passes()
        fresh = {i: t for i, t in enumerate(outs) if storage_key(t) not in targets}
        if step.name == "aten.copy_" and all(map(_whole, written)) and self._is_anew(spots_in(step.args[1:])):
            tape.state -= targets  # nothing is left of what was kept before
        if any(s.key in tape.state or s.key in self._of_state for s in reads):
            self._of_state |= {storage_key(t) for t in fresh.values()}
        if not any(s.key in tape.moves for s in reads):
            for tensor in (*fresh.values(), *written):
                self._settle(tensor, step)
            return
        tape.samples |= step.name in SAMPLERS
        kept = [t for t in written if storage_key(t) not in tape.state]
        step.writes = [None if storage_key(t) in tape.state else tape.spot(t) for t in written]
        step.results = {i: self._fresh(t) for i, t in fresh.items()}
        if step.results or kept:
            made = [*fresh.values(), *kept]
            self._cut(step, len(tape.steps), reads, made)
            self._append(step, reads)
            self._straight.rounded(made)
        for tensor in written:
            if storage_key(tensor) in tape.state:  # what a module keeps for its next call is a number from now on
                self._settle(tensor, step)

    def _inside(self) -> list[int]:
        """The calls of users' operators that are open, outermost first."""
        return [n for n in self._open if not self.tape.calls[n].by_torch]

    def _without_memory(self, tensor: torch.Tensor) -> None:
        """A sparse or nested tensor that depends on parameters: an operator that makes one stands for itself."""
        inside = self._inside()
        if not inside:
            self.tape.spot(tensor)  # raises
        self._shut |= set(inside)

    def _is_anew(self, source: list[Spot]) -> bool:
        """Whether values depend on parameters, and not on what the module kept for this call."""
        kept = self.tape.state | self._of_state
        return any(s.key in self.tape.moves for s in source) and not any(s.key in kept for s in source)

    def _settle(self, tensor: torch.Tensor, step: Step) -> None:
        """Keeps what a storage holds as numbers: it depends on no parameter."""
        spot, line = self.tape.spot(tensor), flat(tensor.detach())
        if spot.key not in self._known:
            self._fresh(tensor)
            self.tape.fixed[spot.key] = self._lines[spot.key] = line
        else:
            self._numbers(spot, line, step.place)

    def _numbers(self, spot: Spot, line: torch.Tensor, place: Place) -> None:
        """From here on a memory holds these numbers, whatever wrote them."""
        tape, whole = self.tape, Spot(spot.key, line.dtype, (line.numel(),), (1,), 0)
        self._lines[spot.key] = line
        tape.steps.append(Step(_Numbers(line), (), {}, {0: whole}, [], True, place, tuple(self._open)))
        tape.made[spot.key] = (len(tape.steps) - 1, 0)
        tape.moves.discard(spot.key)
        tape.rounded.pop(spot.key, None)

    def _fresh(self, tensor: torch.Tensor) -> Spot:
        spot = self.tape.spot(tensor)
        self._known.add(spot.key)
        self._held[spot.key] = tensor.untyped_storage()
        return spot

    def _append(self, step: Step, reads: list[Spot]) -> None:
        tape, number = self.tape, len(self.tape.steps)
        tape.steps.append(step)
        if self.deaf or torch._C._autograd._top_saved_tensors_default_hooks(False) is not None:
            tape.again.add(number)
        base = step.name.rpartition(".")[2].rstrip("_")
        floats = [s for s in step.results.values() if s.dtype.is_floating_point]
        hops = min((tape.rounded[s.key] + 1 for s in reads if s.key in tape.rounded), default=NEAR + 1)
        if base in ROUNDS or base in COMPARES:
            hops = 0
        for i, spot in enumerate([*step.results.values(), *filter(None, step.writes)]):
            tape.made[spot.key] = (number, i)
            tape.moves.add(spot.key)
            self._lines.pop(spot.key, None)
            if hops <= NEAR:
                tape.rounded[spot.key] = hops
            else:
                tape.rounded.pop(spot.key, None)
        tape.widths |= {s.dtype for s in floats}

    def _cut(self, step: Step, number: int, reads: list[Spot], results: Sequence[torch.Tensor]) -> None:
        """Notes what depends on parameters and is read without autograd knowing it."""
        if step.own:
            return
        unseen = [s for s in reads if self._unseen(s, step.alive)]
        cuts = [self._cut_at(number, s, step.alive, step.place) for s in unseen]
        self.tape.cuts += cuts
        if cuts:
            self._straight.sums(step, cuts, results)
        made = [*step.results.values(), *filter(None, step.writes)]
        dies = unseen and not (step.alive and any(s.alive for s in reads))
        for spot in made:
            if dies:
                self.tape.dead[spot.key] = self.tape.cuts[-1].stop
            else:
                self.tape.dead.pop(spot.key, None)

    def _unseen(self, spot: Spot, alive: bool) -> bool:
        real = spot.dtype.is_floating_point or spot.dtype.is_complex
        return real and spot.key in self.tape.moves and not (spot.alive and alive)

    def _cut_at(self, number: int, spot: Spot, alive: bool, place: Place, call: int | None = None) -> Cut:
        tape = self.tape
        known = None if spot.alive else tape.dead.get(spot.key)
        if known is not None:
            return Cut(number, spot, known, place, False, call)
        if alive:
            why = FROZEN if spot.key in tape.leaves else RENEWED if spot.key in tape.renewed else DETACHED
            at = tape.detached.get(spot.key)
            stop = Stop(at or place, DETACHED if at and why is not RENEWED else why)
        else:
            stop = self.regions[-1] if self.regions else Stop(place, REGION)
        return Cut(number, spot, stop, place, True, call)

    def _written(self, schema: Any, args: tuple[Any, ...], options: dict[str, Any]) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        for i, a in enumerate(schema.arguments):
            if a.alias_info is not None and a.alias_info.is_write:
                value = args[i] if i < len(args) else options.get(a.name)
                found += [t for t in pytree.tree_flatten(value)[0] if isinstance(t, torch.Tensor) and has_memory(t)]
        return found

    # calls of autograd.Function

    def enter(self, function: type[torch.autograd.Function], args: tuple[Any, ...]) -> int:
        """Begins a call of an `autograd.Function`; gives its number."""
        if self._aside:
            return -1
        with torch.utils._python_dispatch._disable_current_modes(), torch.inference_mode(False):
            spots, kept = {}, []
            given: dict[int, torch.Tensor] = {}
            for i, a in enumerate(args):
                if isinstance(a, torch.Tensor) and has_memory(a):
                    try:
                        spots[i] = self.note(a)
                        if function.__module__.split(".")[0] != "torch" and spots[i].key not in given:
                            given[spots[i].key] = flat(a.detach())
                    except NotMeasured as error:
                        self.tape.unknown = str(error)
                    kept.append(a.detach().clone())
                else:
                    kept.append(a)
        outer = not any(not self.tape.calls[n].by_torch for n in self._open)
        moving = frozenset(s.key for s in spots.values() if s.key in self.tape.moves)
        call = OwnCall(function, tuple(kept), spots, self.place(), len(self.tape.steps), outer=outer, moving=moving)
        call.dice = torch.get_rng_state()
        call.own = {i: a for i, a in enumerate(args) if isinstance(a, torch.nn.Parameter)}
        if not self._open:
            alive, number = torch.is_grad_enabled(), len(self.tape.calls)
            unseen = [s for s in spots.values() if self._unseen(s, alive)]
            self.tape.cuts += [self._cut_at(call.first, s, alive, call.place, number) for s in unseen]
        self.tape.calls.append(call)
        self._before_call[len(self.tape.calls) - 1] = len(self._outside)
        self._open.append(len(self.tape.calls) - 1)
        self._given[self._open[-1]] = given
        return self._open[-1]

    def leave(self, number: int, out: Any) -> None:
        """Ends it, with what it gave."""
        if number < 0:
            return
        self._open.pop()
        given = self._given.pop(number)
        if self.tape.unknown:
            return
        call, tape = self.tape.calls[number], self.tape
        call.last = len(tape.steps)
        outs = [t for t in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(t, torch.Tensor)]
        try:
            outside = set(self._outside[self._before_call[number] :])
            keys = [storage_key(t) for t in outs if t.is_floating_point()]
            strange = any(k in outside or k not in self._known for k in keys)
            moves = any(s.key in tape.moves for s in call.spots.values())
            strange = strange or number in self._shut
            own = not call.by_torch and moves and (strange or self._hides(call, given, outs))
            if moves and (own or any(s.name in SAMPLERS for s in tape.steps[call.first : call.last])):
                call.opaque = True
                step = Step(call.function.apply, self._spotted(call), {}, {}, [], True, call.place, whole=True)
                step.dice = call.dice
                step.results = {i: self._fresh(t) for i, t in enumerate(outs)}
                tape.leave_out(range(call.first, call.last))  # the call stands for what was seen inside of it
                call.first = call.last = len(tape.steps)
                self._append(step, list(call.spots.values()))
            call.results = tuple(tape.spot(t) for t in outs)
            for spot in call.results:
                if not spot.alive and not self._open:
                    self._dies(number, spot)
        except NotMeasured as error:
            tape.unknown = str(error)

    def _hides(self, call: OwnCall, given: Mapping[int, torch.Tensor], outs: Sequence[torch.Tensor]) -> bool:
        """Whether something inside of a call wrote memory past torch."""
        self._aside = True
        try:
            with torch.utils._python_dispatch._disable_current_modes(), torch.inference_mode(False):
                return hides(self.tape, call, given, self._held, outs)
        finally:
            self._aside = False

    def _dies(self, number: int, spot: Spot) -> None:
        """What a call gave that autograd does not know."""
        call, cut = self.tape.calls[number], next((c for c in self.tape.cuts if c.call == number), None)
        if cut is not None:
            self.tape.dead[spot.key] = cut.stop
        elif torch.is_grad_enabled():
            why = MARKED if any(s.alive for s in call.spots.values()) else UNASKED
            self.tape.dead[spot.key] = Stop(call.place, f"{why} {call.function.__name__}")

    def ends(self, tensor: torch.Tensor) -> Spot:
        """An output, which the loss reads: a step behind the last one."""
        spot = self.note(tensor)
        if self._unseen(spot, alive=True):
            self.tape.cuts.append(self._cut_at(len(self.tape.steps), spot, True, Place("")))
        return spot

    def settle(self, module: torch.nn.Module) -> None:
        """After the forward: what was made anew from what it held before is state, not part of a path."""
        self._bound.settle()
        self.tape.straight |= self._straight.stops
        for stop, cuts in self.tape.stops.items():
            if all(self._straight.codebook(c) for c in cuts if c.entrance) and any(c.entrance for c in cuts):
                self.tape.straight.add(stop)
        for b in _state(module):
            key = storage_key(b) if b.layout is torch.strided else None
            if key in self._of_state and key in self.tape.made and key not in self.tape.state and not b.requires_grad:
                self.tape.kept.add(self.tape.made[key])

    def _spotted(self, call: OwnCall) -> tuple[Any, ...]:
        return tuple(call.spots.get(i, a) for i, a in enumerate(call.args))

    # places

    def place(self) -> Place:
        """The innermost module whose forward runs, and the innermost line that a user wrote."""
        return place_now(self._names)


def _state(module: torch.nn.Module) -> list[torch.Tensor]:
    """What a module keeps for its next call: its buffers, and parameters that no optimizer moves (of a teacher)."""
    return [*module.buffers(), *(p for p in module.parameters() if not p.requires_grad)]


@contextmanager
def recording(
    module: torch.nn.Module, parameters: Mapping[str, torch.Tensor], given: Iterable[torch.Tensor] = ()
) -> Iterator[Recorder]:
    """Inside, everything that runs is written on a tape.

    Args:
        module: the module that runs.
        parameters: its trainable parameters by name.
        given: the tensors among its inputs.
    """
    tape = Tape(hooks=hooks_of(module, parameters))
    for name, p in parameters.items():
        key = storage_key(p)
        if key in tape.leaves:
            raise NotMeasured(f"{tape.leaves[key][0]} and {name} share one memory")
        tape.leaves[key] = (name, tape.spot(p.data))
        tape.moves.add(key)
    tape.state = {storage_key(b) for b in _state(module) if b.layout is torch.strided}
    recorder = Recorder(tape, {id(m): n or type(m).__name__ for n, m in module.named_modules()}, parameters, given)
    for p in parameters.values():
        recorder.note(p.detach())
    with listening(recorder), recorder:
        yield recorder


__all__ = ["Recorder", "recording"]
