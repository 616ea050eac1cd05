"""What a forward really computed: every call that reached the kernels of torch, with the memory it read and wrote.

A value is named by its memory, as views, `detach`, `.data` and writes in place share it: whatever hides a computation
from autograd hides nothing here.  What follows is `replay`, which differentiates the calls again.

This file is long because a tape is one structure of many small parts.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

ROUNDS = frozenset({"round", "floor", "ceil", "trunc", "sign", "sgn", "heaviside", "argmax", "argmin", "max", "min"})
COMPARES = frozenset({"gt", "lt", "ge", "le", "eq", "ne"})
NEAR = 12  # calls between a rounding and the sum of a straight-through estimator
MOST_DECORATORS = 5  # lines before the `def` of a backward
PLAIN = ("aten", "prims", "prim")
PLAIN_DISPATCH = (torch.Tensor.__torch_dispatch__, torch._C._disabled_torch_dispatch_impl)


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
    def names(self) -> set[str]:
        """What it may be called: its line, its module, and the modules around that."""
        parts = self.module.split(".")
        return {self.line, *(".".join(parts[:i]) for i in range(1, len(parts) + 1))} - {""}

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
        conjugate: whether it is the conjugate of what lies there (`z.mH` is a view).
        negative: whether it is the negative of what lies there (`z.conj().imag` is a view).
    """

    key: int
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    alive: bool = True
    made: tuple[int, int] | None = None
    conjugate: bool = False
    negative: bool = False

    @property
    def geometry(self) -> tuple[object, ...]:
        """How it lies in its storage."""
        return self.dtype, self.size, self.stride, self.offset, self.conjugate, self.negative


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
        moving: the memory among its inputs that depends on trainable parameters.
        results: the tensors it gave.
        opaque: whether something it gave was made outside of torch's kernels.
        dice: the random state before it.
        own: the parameters of the module among its inputs, by number: a backward may look for these very objects.
    """

    function: type[torch.autograd.Function]
    args: tuple[Any, ...]
    spots: dict[int, Spot]
    place: Place
    first: int
    last: int = -1
    outer: bool = True
    moving: frozenset[int] = frozenset()
    results: tuple[Spot, ...] = ()
    opaque: bool = False
    dice: torch.Tensor | None = None
    own: Mapping[int, torch.nn.Parameter] = field(default_factory=dict)

    @property
    def written(self) -> str:
        """The line of its backward, `file.py:12: def backward(ctx, grad):`; empty where there is no file."""
        code = getattr(inspect.unwrap(self.function.backward), "__code__", None)
        if code is None:
            return ""
        lines = range(code.co_firstlineno, code.co_firstlineno + MOST_DECORATORS)
        number = next((n for n in lines if "def " in linecache.getline(code.co_filename, n)), code.co_firstlineno)
        here = Place("", code.co_filename, number)
        return str(here) if here.code else ""

    @property
    def by_torch(self) -> bool:
        """Whether torch itself brings it (checkpoints)."""
        return self.function.__module__.split(".")[0] == "torch"


@dataclass(frozen=True)
class Stop:
    """Where gradients are stopped.

    Attributes:
        place: the line of the `detach()`, or the one that opens a `no_grad` region; that of the read where neither is
            seen (`.data`).
        why: what stops them.
        sure: whether nobody can mean it.
    """

    place: Place
    why: str
    sure: bool = False

    @property
    def name(self) -> str:
        """What `by_design=` calls it."""
        return self.place.line or self.place.module or "detach"

    def __str__(self) -> str:
        return ", ".join(filter(None, [self.why, str(self.place)]))


@dataclass(frozen=True)
class Cut:
    """A read of what depends on trainable parameters, but without autograd knowing it.

    Attributes:
        step: number of the step that reads.
        spot: what it reads.
        stop: where the gradients of that stop.
        read: where it is read.
        entrance: whether autograd knew the value up to here.
        call: number of the call of an `autograd.Function` that reads it; None for a kernel.
    """

    step: int
    spot: Spot
    stop: Stop
    read: Place
    entrance: bool
    call: int | None = None


@dataclass
class Tape:
    """What a forward computed.

    Attributes:
        steps: its calls.
        leaves: the storage of every trainable parameter, by name.
        fixed: what every storage held when it was first read, flat.
        calls: of `autograd.Function`.
        cuts: reads that autograd did not see.
        dead: where the gradients of a value stopped that autograd does not know.
        straight: stops that belong to straight-through estimators.
        widths: types of the numbers that depend on parameters.
        draws: whether random numbers were drawn.
        kept: results that the module keeps for its next call in place of what it kept before: numbers from then on.
        begun: what the memory of a parameter held before the forward gave it other numbers.
        pure: such parameters themselves, whatever lies in their memory.
        points: the numbers that the forward gave to parameters, and read.
        past: where numbers may have left torch, or come back to it.
        hooks: on gradients, by the name of the parameter or of the module.
        foreign: parameters that it gave numbers made of other parameters.
        renewed: the memory of parameters that the forward makes of what it computes.
        again: steps whose saved values are made again for backward (checkpoints), or packed (saved_tensors_hooks).
        samples: whether numbers were drawn by a law that depends on parameters, which has no slope draw by draw.
    """

    steps: list[Step] = field(default_factory=list)
    leaves: dict[int, tuple[str, Spot]] = field(default_factory=dict)
    fixed: dict[int, torch.Tensor] = field(default_factory=dict)
    calls: list[OwnCall] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    dead: dict[int, Stop] = field(default_factory=dict)
    straight: set[Stop] = field(default_factory=set)
    widths: set[torch.dtype] = field(default_factory=set)
    state: set[int] = field(default_factory=set)
    made: dict[int, tuple[int, int]] = field(default_factory=dict)
    moves: set[int] = field(default_factory=set)
    rounded: dict[int, int] = field(default_factory=dict)
    detached: dict[int, Place] = field(default_factory=dict)
    unknown: str = ""
    autocast: bool = False
    draws: bool = False
    kept: set[tuple[int, int]] = field(default_factory=set)
    begun: dict[int, torch.Tensor] = field(default_factory=dict)
    pure: dict[str, Spot] = field(default_factory=dict)
    points: dict[str, torch.Tensor] = field(default_factory=dict)
    past: list[Stop] = field(default_factory=list)
    hooks: dict[str, list[Place]] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    renewed: set[int] = field(default_factory=set)
    again: set[int] = field(default_factory=set)
    samples: bool = False

    def spot(self, tensor: torch.Tensor) -> Spot:
        """A tensor as memory."""
        if not has_memory(tensor):
            kind = "nested tensor" if tensor.is_nested else f"{type(tensor).__name__} of layout {tensor.layout}"
            raise NotMeasured(f"it computes with a {kind}")
        if wrapped(tensor):
            raise NotMeasured("it hands values of torch.func to a function with a backward of its own")
        key = storage_key(tensor)
        alive = tensor.requires_grad
        return Spot(
            key,
            tensor.dtype,
            tuple(tensor.shape),
            tensor.stride(),
            int(tensor.storage_offset()),
            alive,
            self.made.get(key),
            tensor.is_conj(),
            tensor.is_neg(),
        )

    def leave_out(self, steps: range) -> None:
        """Takes the calls of kernels out of some steps, whose numbers stay."""
        for i in steps:
            if hasattr(self.steps[i].func, "_schema"):
                self.steps[i] = replace(self.steps[i], func=_nothing, args=(), kwargs={}, results={}, writes=[])

    @property
    def stops(self) -> dict[Stop, list[Cut]]:
        """Where gradients are stopped, with the reads behind each."""
        found: dict[Stop, list[Cut]] = {}
        for c in self.cuts:
            found.setdefault(c.stop, []).append(c)
        return found


def _nothing() -> tuple[()]:
    return ()


def has_memory(tensor: torch.Tensor) -> bool:
    """Whether a tensor is numbers in one memory: no sparse one, no nested one, none whose class says what it does."""
    plain = type(tensor).__torch_dispatch__ in PLAIN_DISPATCH
    return plain and tensor.layout is torch.strided and not tensor.is_nested


def wrapped(tensor: torch.Tensor) -> bool:
    """Whether it belongs to a transform of torch.func, and has no memory; the kernels below are seen all the same."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(tensor))


def storage_key(tensor: torch.Tensor) -> int:
    """What names the memory of a tensor, while that is held."""
    return int(tensor.untyped_storage()._cdata)


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of the whole memory behind a tensor, which can be differentiated even if that cannot (inference mode)."""
    storage = tensor.untyped_storage()
    count = storage.nbytes() // tensor.element_size()
    with torch.inference_mode(False):
        if tensor._is_zerotensor():  # of forward derivatives: there is no memory behind it
            return torch.zeros(count, dtype=tensor.dtype, device=tensor.device)
        return torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage, 0, (count,), (1,)).clone()


def spots_in(tree: Any) -> list[Spot]:
    """The tensors among some arguments."""
    return [v for v in pytree.tree_flatten(tree)[0] if isinstance(v, Spot)]


__all__ = [
    "COMPARES",
    "NEAR",
    "PLAIN",
    "ROUNDS",
    "Cut",
    "NotMeasured",
    "OwnCall",
    "Place",
    "Spot",
    "Step",
    "Stop",
    "Tape",
    "flat",
    "has_memory",
    "spots_in",
    "storage_key",
    "wrapped",
]
