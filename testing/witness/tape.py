"""What a forward really computed: every call that reached the kernels of torch, with the memory it read and wrote.

A value is named by its memory, as views, `detach`, `.data` and writes in place share it: whatever hides a computation
from autograd hides nothing here.  What follows is `replay`, which differentiates the calls again.
"""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

ROUNDS = frozenset({"round", "floor", "ceil", "trunc", "sign", "sgn", "heaviside", "argmax", "argmin", "max", "min"})
COMPARES = frozenset({"gt", "lt", "ge", "le", "eq", "ne"})
# calls that read the shape of a tensor, or its place, and not its numbers
BLIND = frozenset(
    "empty_like zeros_like ones_like full_like rand_like randn_like randint_like new_empty new_zeros new_ones new_full "
    "new_empty_strided exponential_ normal_ uniform_ random_ cauchy_ log_normal_ geometric_ zero_ ".split()
)
NEAR = 12  # calls between a rounding and a cut that belong to one straight-through estimator
PLAIN = ("aten", "prims", "prim")
OURS = frozenset({"torch", "lawful"})  # packages whose lines no user wrote


class NotMeasured(RuntimeError):
    """What was run cannot be judged this way; says why."""


@dataclass(frozen=True)
class Place:
    """Where something was called: the path of the module and the line of the user's source.

    Attributes:
        module: its name in the model.
        path: of the file.
        number: of the line; 0 where no user's line is known.
    """

    module: str
    path: str = ""
    number: int = 0

    @property
    def line(self) -> str:
        """`file.py:12`."""
        return f"{self.path.rpartition('/')[2]}:{self.number}" if self.number else ""

    @property
    def code(self) -> str:
        """What stands there."""
        return linecache.getline(self.path, self.number).strip()

    def __str__(self) -> str:
        line = f"{self.line}: {self.code}".removesuffix(": ") if self.number else ""
        return ", ".join(filter(None, [self.module, line]))


@dataclass(frozen=True)
class Spot:
    """A tensor as memory: which storage, and how it lies in it.

    Attributes:
        key: of the storage.
        dtype: of its numbers.
        size: its shape.
        stride: of every axis.
        offset: of its first number.
        alive: whether autograd knew where it came from.
        made: the step that wrote the storage last, and which of its results it was; None before the forward.
    """

    key: int
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    alive: bool = True
    made: tuple[int, int] | None = None

    @property
    def geometry(self) -> tuple[object, ...]:
        """How it lies in its storage."""
        return self.dtype, self.size, self.stride, self.offset


@dataclass
class Step:
    """One call of a kernel, or of an operator whose inside no kernel of torch shows.

    Attributes:
        func: what was called.
        args: its arguments, with a `Spot` for every tensor.
        kwargs: those by keyword.
        results: its tensors, by number.
        writes: the arguments that it wrote in place; None for what the module keeps for its next call.
        alive: whether gradients were recorded when it ran.
        place: where it was called.
        own: numbers of the calls of `autograd.Function` that it ran inside of, outermost first.
        dice: the random state before it, where it draws.
        whole: whether it stands for a whole call of an `autograd.Function`.
    """

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    results: dict[int, Spot]
    writes: list[Spot | None]
    alive: bool
    place: Place
    own: tuple[int, ...] = ()
    dice: torch.Tensor | None = None
    whole: bool = False

    @property
    def name(self) -> str:
        """Its name in words: `aten.addmm`, `Norm.apply`, `mylib.scale`."""
        packet = getattr(self.func, "overloadpacket", None)
        return str(packet) if packet is not None else str(getattr(self.func, "__qualname__", self.func))


@dataclass
class OwnCall:
    """A call of an `autograd.Function`.

    Attributes:
        function: its class.
        args: what it was given, tensors as copies.
        spots: the tensors among them, as memory.
        place: where it was called.
        first: number of the first step inside.
        last: one behind the last.
        outer: whether no other call is around it.
        results: the tensors it gave.
        opaque: whether something it gave was made outside of torch's kernels.
    """

    function: type[torch.autograd.Function]
    args: tuple[Any, ...]
    spots: dict[int, Spot]
    place: Place
    first: int
    last: int = -1
    outer: bool = True
    results: tuple[Spot, ...] = ()
    opaque: bool = False

    @property
    def by_torch(self) -> bool:
        """Whether torch itself brings it (checkpoints)."""
        return self.function.__module__.split(".")[0] == "torch"


@dataclass
class Tape:
    """What a forward computed.

    Attributes:
        steps: its calls.
        leaves: the storage of every trainable parameter, by name.
        fixed: what every storage held when it was first read, flat.
        calls: of `autograd.Function`.
        cuts: reads of what depends on trainable parameters, but without autograd knowing: step and spot.
        widths: types of the numbers that depend on parameters.
    """

    steps: list[Step] = field(default_factory=list)
    leaves: dict[int, tuple[str, Spot]] = field(default_factory=dict)
    fixed: dict[int, torch.Tensor] = field(default_factory=dict)
    calls: list[OwnCall] = field(default_factory=list)
    cuts: list[tuple[int, Spot]] = field(default_factory=list)
    widths: set[torch.dtype] = field(default_factory=set)
    state: set[int] = field(default_factory=set)
    made: dict[int, tuple[int, int]] = field(default_factory=dict)
    moves: set[int] = field(default_factory=set)
    rounded: dict[int, int] = field(default_factory=dict)
    detached: dict[int, Place] = field(default_factory=dict)
    unknown: str = ""
    autocast: bool = False

    def spot(self, tensor: torch.Tensor) -> Spot:
        """A tensor as memory."""
        if tensor.layout is not torch.strided or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            raise NotMeasured(f"it computes with a {type(tensor).__name__} of layout {tensor.layout}")
        key = storage_key(tensor)
        alive = tensor.requires_grad
        return Spot(
            key, tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), alive, self.made.get(key)
        )

    def straight_through(self, step: int, spot: Spot) -> bool:
        """Whether a cut belongs to a straight-through estimator: something next to it is rounded."""
        around = [spot, *(s for s in spots_in(self.steps[step].args) if s.key != spot.key)]
        near = [self.steps[step].results.get(0), *around]
        return any(s is not None and self.rounded.get(s.key, NEAR + 1) <= NEAR for s in near)


def storage_key(tensor: torch.Tensor) -> int:
    """What names the memory of a tensor, while that is held."""
    return int(tensor.untyped_storage()._cdata)


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of the whole memory behind a tensor."""
    storage = tensor.untyped_storage()
    count = storage.nbytes() // tensor.element_size()
    return torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage, 0, (count,), (1,)).clone()


def spots_in(tree: Any) -> list[Spot]:
    """The tensors among some arguments."""
    return [v for v in tree_flatten(tree)[0] if isinstance(v, Spot)]


class _Numbers:
    """Gives the same numbers whenever it is called."""

    __qualname__ = "numbers"

    def __init__(self, line: torch.Tensor) -> None:
        self._line = line

    def __call__(self) -> torch.Tensor:
        return self._line


class Recorder(TorchDispatchMode):
    """Writes a `Tape` while the forward runs."""

    def __init__(self, tape: Tape, names: Mapping[int, str]) -> None:
        super().__init__()
        self.tape, self._names = tape, names
        self._held: dict[int, Any] = {}
        self._known: set[int] = set()
        self._open: list[int] = []
        self._outside: list[int] = []  # memory that no kernel was seen to write first
        self._before_call: dict[int, int] = {}

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
        spot = self.tape.spot(tensor)
        if spot.key not in self._known:
            self._known.add(spot.key)
            self._held[spot.key] = tensor.untyped_storage()
            self._outside.append(spot.key)
            if spot.key not in self.tape.leaves:
                self.tape.fixed[spot.key] = flat(tensor.detach())
        return spot

    def _before(self, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Step:
        def put(value: Any) -> Any:
            return self.note(value) if isinstance(value, torch.Tensor) else value

        kept_args, kept_options = tree_map(put, (args, options))
        own = tuple(self._open)
        step = Step(func, kept_args, kept_options, {}, [], torch.is_grad_enabled(), self.place(), own)
        if torch.Tag.nondeterministic_seeded in getattr(func, "tags", ()):
            step.dice = torch.get_rng_state()
        self.tape.autocast |= torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
        return step

    def _after(self, step: Step, args: tuple[Any, ...], options: dict[str, Any], out: Any) -> None:
        tape, reads = self.tape, spots_in((step.args, step.kwargs))
        outs = [t for t in tree_flatten(out)[0] if isinstance(t, torch.Tensor)]
        schema = step.func._schema
        if not schema.is_mutable and outs and all(storage_key(t) in self._known for t in outs):
            if step.name == "aten.detach":
                tape.detached[storage_key(outs[0])] = step.place
            return  # a view: the memory says it all
        written = self._written(schema, args, options)
        if step.name.rpartition(".")[2] in BLIND:
            reads = []
        targets = {storage_key(t) for t in written}
        fresh = {i: t for i, t in enumerate(outs) if storage_key(t) not in targets}
        if not any(s.key in tape.moves for s in reads):
            for tensor in (*fresh.values(), *written):
                self._settle(tensor, step)
            return
        kept = [t for t in written if storage_key(t) not in tape.state]
        step.writes = [None if storage_key(t) in tape.state else tape.spot(t) for t in written]
        step.results = {i: self._fresh(t) for i, t in fresh.items()}
        if step.results or kept:
            self._cut(step, len(tape.steps), reads)
            self._append(step, reads)
        for tensor in written:
            if storage_key(tensor) in tape.state:  # what a module keeps for its next call is a number from now on
                self._settle(tensor, step)

    def _settle(self, tensor: torch.Tensor, step: Step) -> None:
        """Keeps what a storage holds as numbers: it depends on no parameter."""
        tape, spot = self.tape, self.tape.spot(tensor)
        line = flat(tensor.detach())
        if spot.key not in self._known:
            self._fresh(tensor)
            tape.fixed[spot.key] = line
            return
        whole = Spot(spot.key, line.dtype, (line.numel(),), (1,), 0)
        tape.steps.append(Step(_Numbers(line), (), {}, {0: whole}, [], True, step.place, step.own))
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
        base = step.name.rpartition(".")[2].rstrip("_")
        floats = [s for s in step.results.values() if s.dtype.is_floating_point]
        hops = min((tape.rounded[s.key] + 1 for s in reads if s.key in tape.rounded), default=NEAR + 1)
        if base in ROUNDS or base in COMPARES:
            hops = 0
        for i, spot in enumerate([*step.results.values(), *filter(None, step.writes)]):
            tape.made[spot.key] = (number, i)
            tape.moves.add(spot.key)
            if hops <= NEAR:
                tape.rounded[spot.key] = hops
            else:
                tape.rounded.pop(spot.key, None)
        tape.widths |= {s.dtype for s in floats}

    def _cut(self, step: Step, number: int, reads: list[Spot]) -> None:
        """Notes what depends on parameters and is read without autograd knowing it."""
        tape = self.tape
        if step.own:
            return
        for spot in reads:
            if spot.key in tape.moves and spot.dtype.is_floating_point and not (spot.alive and step.alive):
                tape.cuts.append((number, spot))

    def _written(self, schema: Any, args: tuple[Any, ...], options: dict[str, Any]) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        for i, a in enumerate(schema.arguments):
            if a.alias_info is not None and a.alias_info.is_write:
                value = args[i] if i < len(args) else options.get(a.name)
                found += [t for t in tree_flatten(value)[0] if isinstance(t, torch.Tensor)]
        return found

    # calls of autograd.Function

    def enter(self, function: type[torch.autograd.Function], args: tuple[Any, ...]) -> int:
        """Begins a call of an `autograd.Function`; gives its number."""
        with torch.utils._python_dispatch._disable_current_modes():
            spots, kept = {}, []
            for i, a in enumerate(args):
                if isinstance(a, torch.Tensor) and type(a) in (torch.Tensor, torch.nn.Parameter):
                    spots[i] = self.note(a)
                    kept.append(a.detach().clone())
                else:
                    kept.append(a)
        outer = not any(not self.tape.calls[n].by_torch for n in self._open)
        call = OwnCall(function, tuple(kept), spots, self.place(), len(self.tape.steps), outer=outer)
        self.tape.calls.append(call)
        self._before_call[len(self.tape.calls) - 1] = len(self._outside)
        self._open.append(len(self.tape.calls) - 1)
        return self._open[-1]

    def leave(self, number: int, out: Any) -> None:
        """Ends it, with what it gave."""
        self._open.pop()
        call, tape = self.tape.calls[number], self.tape
        call.last = len(tape.steps)
        outs = [t for t in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(t, torch.Tensor)]
        try:
            outside = set(self._outside[self._before_call[number] :])
            keys = [storage_key(t) for t in outs if t.is_floating_point()]
            strange = [k for k in keys if k in outside or k not in self._known]
            moves = any(s.key in tape.moves for s in call.spots.values())
            if strange and moves and not call.by_torch:
                call.opaque = True
                step = Step(call.function.apply, self._spotted(call), {}, {}, [], True, call.place, whole=True)
                step.results = {i: self._fresh(t) for i, t in enumerate(outs)}
                call.first = call.last = len(tape.steps)
                self._append(step, list(call.spots.values()))
            call.results = tuple(tape.spot(t) for t in outs)
        except NotMeasured as error:
            tape.unknown = str(error)

    def _spotted(self, call: OwnCall) -> tuple[Any, ...]:
        return tuple(call.spots.get(i, a) for i, a in enumerate(call.args))

    # places

    def place(self) -> Place:
        """The innermost module whose forward runs, and the innermost line that a user wrote."""
        frame, path, number, module = sys._getframe(1), "", 0, None
        while frame is not None and not (path and module is not None):
            code = frame.f_code
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if not path and package not in OURS and code.co_filename[:1] != "<" and _users(code.co_filename):
                path, number = code.co_filename, frame.f_lineno
            if module is None and code.co_argcount and code.co_varnames[0] == "self" and code.co_name == "forward":
                module = self._names.get(id(frame.f_locals.get("self")))
            frame = frame.f_back  # type: ignore[assignment]
        return Place(module or "", path, number)


STANDARD = sysconfig.get_paths()["stdlib"] + os.sep


def _users(path: str) -> bool:
    """Whether a file is not one of Python's own library."""
    return not path.startswith(STANDARD) or "site-packages" in path


@contextmanager
def recording(module: torch.nn.Module, parameters: Mapping[str, torch.Tensor]) -> Iterator[Recorder]:
    """Inside, everything that runs is written on a tape.

    Args:
        module: the module that runs.
        parameters: its trainable parameters by name.
    """
    tape = Tape()
    for name, p in parameters.items():
        key = storage_key(p)
        if key in tape.leaves:
            raise NotMeasured(f"{tape.leaves[key][0]} and {name} share one memory")
        tape.leaves[key] = (name, tape.spot(p.data))
        tape.moves.add(key)
    tape.state = {storage_key(b) for b in module.buffers() if b.layout is torch.strided}
    recorder = Recorder(tape, {id(m): n or type(m).__name__ for n, m in module.named_modules()})
    for p in parameters.values():
        recorder.note(p.detach())
    with _watched(recorder), recorder:
        yield recorder


@contextmanager
def _watched(recorder: Recorder) -> Iterator[None]:
    """Tells a recorder of every call of an `autograd.Function`."""
    level = torch.autograd.Function.__mro__[1]

    def apply(cls: type[torch.autograd.Function], *args: Any) -> Any:
        number = recorder.enter(cls, args)
        out = super(level, cls).apply(*args)  # type: ignore[misc]
        recorder.leave(number, out)
        return out

    level.apply = classmethod(apply)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del level.apply  # type: ignore[attr-defined]


__all__ = [
    "NotMeasured",
    "OwnCall",
    "Place",
    "Recorder",
    "Spot",
    "Step",
    "Tape",
    "recording",
    "spots_in",
    "storage_key",
]
