"""The derivative of what a tape holds, by torch's own formula for every kernel and nothing else.

Values live in memory as they did in the forward.  What autograd did not see there (a `detach`, a `no_grad` region, the
backward that a user wrote) plays no part, unless that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

from .tape import Cut, NotMeasured, OwnCall, Spot, Step, Tape, spots_in
from .torch_design import SCALED, by_frequency, has_formula

Tensors = dict[str, torch.Tensor]


@dataclass
class Memory:
    """What every storage holds: a tensor and how it lies there."""

    held: dict[int, tuple[torch.Tensor, Spot]] = field(default_factory=dict)

    def put(self, spot: Spot, value: torch.Tensor) -> None:
        """A new storage, or a part of one that is known."""
        if value.shape != torch.Size(spot.size):
            raise NotMeasured(f"a result of shape {tuple(value.shape)} was {spot.size} in the forward")
        if spot.key in self.held and count(self.held[spot.key][1]) > count(spot):
            self.write(spot, value)
        else:
            self.held[spot.key] = (value, spot)

    def read(self, spot: Spot) -> torch.Tensor:
        """The tensor that lies there."""
        if spot.key not in self.held:
            raise NotMeasured("it reads memory that no call has written")
        value, where = self.held[spot.key]
        if where.geometry == spot.geometry:
            return value
        line = _line(value, where)
        if line.dtype != spot.dtype:
            line = _recast(line, spot.dtype)
        start = spot.offset - (where.offset if line.dtype == where.dtype else 2 * where.offset)
        if spot.size and count(spot) == line.numel() and not start and packed(spot):
            return _turned(line.reshape(spot.size), spot)
        return _turned(line.as_strided(spot.size, spot.stride, start), spot)

    def write(self, spot: Spot, value: torch.Tensor) -> None:
        """Writes a part of a storage, or the whole."""
        if spot.key not in self.held:
            raise NotMeasured("it writes to memory that nothing has made")
        old, where = self.held[spot.key]
        if where.geometry == spot.geometry:
            self.held[spot.key] = (value, spot)
            return
        line = _line(old, where)
        if line.dtype != spot.dtype:
            raise NotMeasured("it writes numbers of another type into a memory")
        # not as_strided_scatter: its derivative by what is around the part comes out zero (torch 2.13)
        order = torch.arange(line.numel(), device=line.device)
        part = order.as_strided(spot.size, spot.stride, spot.offset - where.offset).reshape(-1)
        line = line.index_copy(0, part, _turned(value, spot).reshape(-1))
        at = Spot(spot.key, spot.dtype, (line.numel(),), (1,), where.offset)
        self.held[spot.key] = (line, at)


def count(spot: Spot) -> int:
    """How many numbers a tensor has."""
    return math.prod(spot.size)


def packed(spot: Spot) -> bool:
    """Whether a tensor lies in memory in the order of its axes."""
    step = 1
    for n, s in zip(reversed(spot.size), reversed(spot.stride), strict=True):
        if n != 1 and s != step:
            return False
        step *= n
    return True


def _line(value: torch.Tensor, where: Spot) -> torch.Tensor:
    """A dense tensor as the numbers lie in memory."""
    value = _turned(value, where)
    if not where.size:
        return value.reshape(1)
    length = 1 + sum((n - 1) * s for n, s in zip(where.size, where.stride, strict=True))
    if length > count(where) > 0:  # with gaps, as linear algebra leaves them
        at = torch.arange(length, device=value.device).as_strided(where.size, where.stride).reshape(-1)
        return value.new_zeros(length).index_copy(0, at, value.reshape(-1))
    order = sorted(range(len(where.size)), key=lambda i: (-where.stride[i], -where.size[i]))
    out = value.permute(order).contiguous().reshape(-1)
    return out.clone() if out.storage_offset() else out


def _turned(value: torch.Tensor, spot: Spot) -> torch.Tensor:
    """From the numbers in memory to those of a lazily conjugated or negated tensor there, or back."""
    value = value.conj_physical() if spot.conjugate else value
    return -value if spot.negative else value


def _recast(line: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The same bits as complex numbers or as real ones."""
    if line.is_complex() and not dtype.is_complex:
        return torch.view_as_real(line).reshape(-1)
    if dtype.is_complex and line.is_floating_point():
        return torch.view_as_complex(line.reshape(-1, 2))
    raise NotMeasured(f"it reads numbers of {line.dtype} as {dtype}")


@dataclass
class Replayed:
    """A tape that was run again.

    Attributes:
        outputs: what the tape was asked for.
        made: the result of every step, by step and number.
        memory: what lies where at the end.
    """

    outputs: list[torch.Tensor]
    made: dict[tuple[int, int], torch.Tensor]
    memory: Memory


Override = Callable[[OwnCall, Memory], None]


def replay(
    tape: Tape,
    leaves: Mapping[str, torch.Tensor],
    outputs: Sequence[Spot],
    *,
    closed: Iterable[Cut] = (),
    stand_in: Mapping[int, Override] | None = None,
    steps: range | None = None,
    memory: Memory | None = None,
    nudge: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Replayed:
    """Runs a tape again.

    Args:
        tape: what ran.
        leaves: the parameters by name, in the shapes they had.
        outputs: what is asked for at the end.
        closed: reads that autograd did not see, and that are to stay unseen.
        stand_in: what to do after the steps of some calls of `autograd.Function`, by number of the call.
        steps: only these.
        memory: what lies in memory at the start, beside the parameters and what was read.
        nudge: what every result that a gradient goes through becomes, as it would by other rounding.

    Raises:
        NotMeasured: for what cannot be run again.
    """
    memory = memory or start(tape, leaves)
    made: dict[tuple[int, int], torch.Tensor] = {}
    ends: dict[int, list[int]] = {}
    for n in stand_in or ():
        ends.setdefault(tape.calls[n].last, []).append(n)
    shut: Shut = {}
    for c in closed:
        shut.setdefault((c.step, None) if c.call is None else (-1, c.call), set()).add(c.spot.key)
    span = steps if steps is not None else range(len(tape.steps))
    for i in span:
        for n in ends.get(i, ()):
            stand_in[n](tape.calls[n], memory)  # type: ignore[index]
        _run(tape, i, memory, made, shut, nudge)
    for n in ends.get(span.stop, ()):
        stand_in[n](tape.calls[n], memory)  # type: ignore[index]
    unread = shut.get((len(tape.steps), None), set())  # by the loss
    ended = [v.detach() if s.key in unread and not s.alive else v for s in outputs for v in [memory.read(s)]]
    return Replayed(ended, made, memory)


def start(tape: Tape, leaves: Mapping[str, torch.Tensor]) -> Memory:
    """What lies in memory before the first step."""
    memory = Memory()
    for key, line in tape.fixed.items():
        memory.held[key] = (line, Spot(key, line.dtype, (line.numel(),), (1,), 0))
    for key, (name, spot) in tape.leaves.items():
        leaf = leaves[name]
        memory.held[key] = (leaf + (tape.begun[key] - leaf.detach()) if key in tape.begun else leaf, spot)
    for name, spot in tape.pure.items():
        memory.held[spot.key] = (leaves[name], spot)
    return memory


Shut = dict[tuple[int, int | None], set[int]]  # the memory that a step, or a call, reads unseen


def _run(
    tape: Tape,
    number: int,
    memory: Memory,
    made: dict[tuple[int, int], torch.Tensor],
    shut: Shut,
    nudge: Callable[[torch.Tensor], torch.Tensor] | None,
) -> None:
    step = tape.steps[number]
    if step.writes and not has_formula(step.func):
        raise NotMeasured(f"{step.name} writes into memory, and torch has no formula for it ({step.place})")
    unseen = shut.get((-1, step.own[0]) if step.own else (number, None), set())
    dead = _dead(tape, step, unseen)
    written = _targets(step)

    def get(value: Any) -> Any:
        if not isinstance(value, Spot):
            return value
        tensor = memory.read(value)
        tensor = tensor.detach() if dead(value) else tensor
        return tensor.clone() if value.key in written else tensor

    args, kwargs = pytree.tree_map(get, (step.args, dict(step.kwargs)))
    try:
        with torch.enable_grad():
            out = _called(step, args, kwargs)
    except NotMeasured:
        raise
    except Exception as error:  # any operator of a user, and what it raises is why it is not measured
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise NotMeasured(f"{step.name} does not run again: {said}") from error
    outs = [t for t in pytree.tree_flatten(out)[0] if isinstance(t, torch.Tensor)]
    values = []
    for i, spot in step.results.items():
        value = outs[i].detach() if (number, i) in tape.kept else outs[i]
        value = nudge(value) if nudge and value.requires_grad else value
        memory.put(spot, value)
        values.append(value)
    if step.writes:
        for place, value in zip(step.writes, _changed(step, args, kwargs), strict=True):
            if place is not None:
                hidden = place.key in unseen and not (step.alive and place.alive)
                if hidden and place.dtype.is_floating_point:
                    old = memory.read(place)  # without autograd a write is no step: gradients go on past it
                    value = old + (value - old).detach()
                memory.write(place, value)
                values.append(value)
    made.update({(number, i): v for i, v in enumerate(values)})


def _dead(tape: Tape, step: Step, unseen: set[int]) -> Callable[[Spot], bool]:
    """Whether autograd did not see where an argument came from."""
    if step.own:  # inside of a call, what it was given both ways is told by what it is there
        given = tape.calls[step.own[0]].spots.values()
        both = {s.key for s in given if s.alive} & {s.key for s in given if not s.alive}
        return lambda s: s.key in unseen and not (s.key in both and s.alive)
    return lambda s: s.key in unseen and not (s.alive and step.alive)


def _targets(step: Step) -> set[int]:
    """The storages that a call writes in place."""
    found: set[int] = set()
    for i, a in enumerate(step.func._schema.arguments if hasattr(step.func, "_schema") else ()):
        if a.alias_info is not None and a.alias_info.is_write:
            found |= {s.key for s in spots_in(step.args[i] if i < len(step.args) else step.kwargs.get(a.name))}
    return found


def _changed(step: Step, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    """The arguments that a call wrote, after it."""
    found = []
    for i, a in enumerate(step.func._schema.arguments):  # type: ignore[attr-defined]
        if a.alias_info is not None and a.alias_info.is_write:
            value = args[i] if i < len(args) else kwargs.get(a.name)
            found += [t for t in pytree.tree_flatten(value)[0] if isinstance(t, torch.Tensor)]
    return found


def _called(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if by_frequency(step):
        return _frequency(step, args, kwargs)
    if step.whole:
        args = tuple(a.clone() if isinstance(a, torch.Tensor) else a for a in args)  # it may write into them
    if step.dice is not None:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(step.dice)
            return step.func(*args, **kwargs)
    names = [a.name for a in step.func._schema.arguments] if hasattr(step.func, "_schema") else []
    if "out" in names and step.writes:
        base = step.func.overloadpacket.default  # type: ignore[attr-defined]
        given = {k: v for k, v in kwargs.items() if k != "out"}
        kwargs["out"] = base(*args, **given)
        return kwargs["out"]
    return step.func(*args, **kwargs)


def _frequency(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A table whose gradients are divided by how often each row is read, as `scale_grad_by_freq` is documented."""
    weight, ids = args[0], args[1]
    count = torch.bincount(ids.reshape(-1), minlength=weight.shape[0]).clamp_min(1).to(weight)[:, None]
    slow = weight / count
    scaled = slow + (weight - slow).detach()
    rest = [*args[2:SCALED], False, *args[SCALED + 1 :]]
    return step.func(scaled, ids, *rest, **{k: v for k, v in kwargs.items() if k != "scale_grad_by_freq"})


__all__ = ["Memory", "Replayed", "count", "packed", "replay", "start"]
