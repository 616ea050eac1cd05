"""A user's own module, run and differentiated for a while in float64, and given back as it was, to the bit."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property, wraps
from typing import Any, TypeVar

import torch
from torch.autograd.graph import get_gradient_edge

from ...own_runs import own_run
from .holders import LendingError, same_bits
from .memory import Memory
from .randomness import random_states
from .snapshot import Change, Snapshot
from .storage import shared_names

Tensors = dict[str, torch.Tensor]
Result = TypeVar("Result")


def _plainly(method: Callable[..., Result]) -> Callable[..., Result]:
    """A method that looks at tensors past the modes of a run, which would slow every look."""

    @wraps(method)
    def plain(*args: Any) -> Result:
        with torch._C.DisableTorchFunction():
            return method(*args)

    return plain


class Lent:
    """A module whose parameters and buffers hold other numbers for a while.

    Attributes:
        module: the user's own module.
        parameters: its parameters by first name; one memory is one parameter.
        unregistered: tensors that take a gradient and that it reaches, but does not have as parameters, by their paths.
    """

    def __init__(
        self, module: torch.nn.Module, state: Memory, shared: Mapping[str, str], unregistered: Tensors
    ) -> None:
        self.module = module
        self.parameters = {n: p for n, p in module.named_parameters() if n not in shared}
        self.unregistered = unregistered
        self._state = state
        self._shared = shared
        self._values: Tensors = {}

    @cached_property
    def _start(self) -> Snapshot:
        """Where every run starts: what the module is before the first one, modes that were changed for it included."""
        return Snapshot(self.module, self._state.ids)

    @_plainly
    def start(self, values: Mapping[str, torch.Tensor]) -> None:
        """Puts everything to where a run starts, with given parameters."""
        if "_start" in self.__dict__:
            self._start.restore()
        else:
            _ = self._start  # nothing has run yet
        self._state.reset()
        self.put(values)

    @_plainly
    def put(self, values: Mapping[str, torch.Tensor]) -> None:
        """Gives the parameters their numbers, and takes their gradients away; attributes and buffers stay."""
        self._values = dict(values)
        for name, p in self.parameters.items():
            p.data.copy_(values[name])
        for p in self.module.parameters():
            p.grad = None

    def gradients(self) -> Tensors:
        """What backward left in the parameters; zeros where it left nothing."""
        found = {n: torch.zeros_like(p) if p.grad is None else _dense(p.grad) for n, p in self.parameters.items()}
        if self._shared:
            every = dict(self.module.named_parameters())
            for name, first in self._shared.items():
                grad = every[name].grad
                found[first] = found[first] if grad is None else found[first] + _dense(grad)
        return found

    @_plainly
    def moved(self) -> list[str]:
        """Names of the parameters that the run itself has changed."""
        own = self.parameters.items()
        return [n for n, p in own if p.device.type != "meta" and not same_bits(p.data, self._values[n])]

    @_plainly
    def written(self) -> list[str]:
        """Names of the buffers that the run has changed."""
        return self._state.written(self.module)

    @_plainly
    def replace(self, value: Any, other: Any) -> None:
        """Puts another object wherever one stood at the start."""
        for holder, key in self._start.places(value):
            holder.write({**holder.read(), key: other})

    @_plainly
    def changes(self) -> list[Change]:
        """What else the run has changed."""
        registered = {f"{n}.grad" for n, _ in self.module.named_parameters(remove_duplicate=False)}
        return [c for c in self._start.changes() if c.path not in registered]


def _dense(gradient: torch.Tensor) -> torch.Tensor:
    """A gradient as a plain tensor: those of sparse tables hold the rows that were read."""
    return (gradient.to_dense() if gradient.is_sparse else gradient).detach()


def refuse_unready(module: torch.nn.Module) -> None:
    """A lazy module has no parameters before its first call, and what is sparse has no numbers to exchange.

    Raises:
        LendingError: with the first parameter that has no shape yet, or the first tensor that is sparse.
    """
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.layout is not torch.strided:
            raise LendingError(
                f"{type(module).__name__} holds {name} as a sparse tensor ({tensor.layout}), whose numbers cannot be "
                "exchanged for others; register it dense, .to_dense(), which is the same function"
            )
    for name, parameter in module.named_parameters():
        if isinstance(parameter, torch.nn.parameter.UninitializedParameter):
            raise LendingError(
                f"{type(module).__name__} is lazy: its parameter {name} gets its shape from the first call; call it "
                "once on the example inputs, model(*args)"
            )


@contextmanager
def lent(module: torch.nn.Module, change: Callable[[torch.Tensor], torch.Tensor] | None = None) -> Iterator[Lent]:
    """Inside, a user's own module may run, backward too; afterwards it is what it was, to the bit, whatever happened.

    That is: parameters, gradients, buffers, modes, attributes, hooks and what they keep, closures, globals that the
    user's functions name, and the random states of torch, Python and numpy.  The numbers of parameters and buffers are
    exchanged in place, so that hooks, closures and patched forwards see the exchanged ones.  Compiled forwards run
    uncompiled, and warnings are kept quiet.

    Args:
        module: the module.
        change: makes the copies that stand in for its numbers (`as_double`); without it the numbers stay.

    Raises:
        LendingError: for a module whose accumulators of gradients are held (hooks on them would be lost), and for one
            that reaches an iterator.
        SharedMemoryError: for parameters that share memory (see `shared_names`).
    """
    refuse_unready(module)
    shared = shared_names(module)
    if change is not None:
        _refuse_accumulators(module)
    memory = Memory(module, change, shared)
    before = Snapshot(module, memory.ids)
    with ExitStack() as stack:
        stack.enter_context(own_run())
        stack.enter_context(random_states())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.callback(before.restore)
        stack.callback(memory.give_back)
        stack.enter_context(torch.enable_grad())
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for part in module.modules():
            if part._compiled_call_impl is not None:
                part._compiled_call_impl = None
        memory.exchange()
        yield Lent(module, memory, shared, before.trained())


def _refuse_accumulators(module: torch.nn.Module) -> None:
    """Refuses hooks on accumulators of gradients, which do not survive that a parameter changes its type."""
    if any(isinstance(m, torch.nn.parallel.DistributedDataParallel) for m in module.modules()):
        raise LendingError("DistributedDataParallel hooks the gradients of what it wraps; pass its .module")
    held, names = [], []
    for name, p in module.named_parameters():
        if p.is_leaf and p.requires_grad:
            node = get_gradient_edge(p).node
            if sys.getrefcount(node) > 2:  # a graph that was not differentiated yet holds it too, out of Python's sight
                held.append(node)
                names.append(name)
    if not held or all(r is held for r in gc.get_referrers(*held)):  # one look at all there is, which takes long
        return
    for i, name in enumerate(names):
        if any(r is not held for r in gc.get_referrers(held[i])):
            raise LendingError(
                f"something holds the accumulator of the gradient of {name}, so a hook on it may change the gradient "
                "and would be lost; use register_hook of the parameter, or pass the module without it"
            )


__all__ = ["Lent", "lent", "refuse_unready"]
