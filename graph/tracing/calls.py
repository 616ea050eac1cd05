"""A module's call as a function from tensors to tensors: its inputs and outputs by name, wherever they are nested."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from lawful.theory.inputs import object_items
from lawful.theory.oracle.lending.randomness import Dice
from lawful.theory.oracle.outputs import outputs_of

from .cells import PlainCells
from .choices import AllRows
from .errors import TraceError


@dataclass(frozen=True)
class Slot:
    """Where an input goes, by its number."""

    index: int


@dataclass(frozen=True)
class Call:
    """The arguments of a module with its tensors taken out.

    Attributes:
        args: positional arguments, with a `Slot` for every tensor.
        kwargs: keyword arguments, likewise.
        names: of the tensors, in order: the forward's own names, `batch[mask]` inside of a container.
        turned: the tensors that the module takes with examples on their second axis; here they are on the first one.
        single: whether the module takes one example without an axis of examples; here they have one.
        shared: the tensors that have none here either: integers beside real numbers, such as the edges of a graph.
        numbers: the numbers of Python among the arguments, by the forward's own names.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: tuple[str, ...]
    turned: frozenset[int] = frozenset()
    single: bool = False
    shared: frozenset[int] = frozenset()
    numbers: tuple[tuple[str, complex], ...] = ()

    def batched(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The module's own tensors with examples first."""
        if not self.single:
            return self.turn(tensors)
        return tuple(t if i in self.shared else t[None] for i, t in enumerate(tensors))

    def turn(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The module's own tensors with examples first, and back."""
        return tuple(t.transpose(0, 1) if i in self.turned else t for i, t in enumerate(tensors))

    def fill(self, tensors: Sequence[torch.Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with given tensors (examples first) in their places."""
        own = self.turn(tensors)

        def put(leaf: Any) -> Any:
            return own[leaf.index] if isinstance(leaf, Slot) else leaf

        return tuple(_mapped(a, put) for a in self.args), {k: _mapped(v, put) for k, v in self.kwargs.items()}


def read_call(
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], examples: int | None = 0
) -> tuple[Call, tuple[torch.Tensor, ...]]:
    """Takes the tensors out of the arguments of a module.

    Args:
        module: the module, whose forward names them.
        args: its positional arguments: tensors, nested tuples, lists and dicts of tensors, anything else.
        kwargs: its keyword arguments, likewise.
        examples: 0 for examples on the first axis of what it takes; 1 for the second axis, of real numbers of three
            axes, or of integers of two where there are none; None where all of it is one example.

    Raises:
        TraceError: if there is no tensor among them, or a sparse one.
    """
    found: list[torch.Tensor] = []

    def take(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        found.append(leaf)
        return Slot(len(found) - 1)

    rest = tuple(_mapped(a, take) for a in args), {k: _mapped(v, take) for k, v in kwargs.items()}
    if not found:
        raise TraceError(
            f"no tensor is among the inputs of {type(module).__name__}; pass example inputs as its forward takes them, "
            "lawful.trace(module, x)"
        )
    leaves = [leaf for argument, name in _named_arguments(module, *rest) for leaf in _leaves(argument, name)]
    places = {leaf.index: name for leaf, name in leaves if isinstance(leaf, Slot)}
    numbers = tuple((n, v) for v, n in leaves if isinstance(v, int | float | complex) and not isinstance(v, bool))
    real = [i for i, t in enumerate(found) if t.is_floating_point() and t.ndim == 3]
    turned = real or [i for i, t in enumerate(found) if not t.is_floating_point() and t.ndim == 2]
    names = tuple(places[i] for i in range(len(found)))
    for name, t in zip(names, found, strict=True):
        if t.layout is not torch.strided:
            raise TraceError(
                f"the input {name} of {type(module).__name__} is sparse ({t.layout}), and the inputs that are drawn "
                f"for a comparison are dense; pass {name}.to_dense() to a forward that uses @ (torch.matmul)"
            )
    call = Call(*rest, names, frozenset(turned if examples == 1 else ()), examples is None, numbers=numbers)
    if examples is None and any(t.is_floating_point() for t in found):
        call = replace(call, shared=frozenset(i for i, t in enumerate(found) if not t.is_floating_point()))
    return call, call.batched(found)


def _mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """The same containers with other leaves."""
    if isinstance(tree, Mapping) and (isinstance(tree, dict) or object_items(tree) is None):
        out = {k: _mapped(v, change) for k, v in tree.items()}
        return _as_type(tree, out) if isinstance(tree, dict) else out
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_mapped(v, change) for v in tree))
    if type(tree) in (tuple, list):
        return type(tree)(_mapped(v, change) for v in tree)
    if not isinstance(tree, (torch.Tensor, Slot)) and (held := object_items(tree)) is not None:
        items, again = held
        return again({k: _mapped(v, change) for k, v in items.items()})
    return change(tree)


def _as_type(tree: Any, items: dict[Any, Any]) -> Any:
    """A dict of the given one's own kind, where that can be made from items."""
    try:
        return type(tree)(items)
    except TypeError:
        return items


def _named_arguments(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    """Every argument with the name that the forward gives it."""
    try:
        signature = inspect.signature(module.forward)
        bound = signature.bind(*args, **kwargs).arguments
    except (TypeError, ValueError):  # the forward itself will say what is wrong with them
        yield from ((a, f"args[{i}]") for i, a in enumerate(args))
        yield from ((v, f"kwargs[{k}]") for k, v in kwargs.items())
        return
    for name, value in bound.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            yield from ((v, k) for k, v in value.items())
        else:
            yield value, name


def _leaves(tree: Any, name: str) -> Iterator[tuple[Any, str]]:
    """What containers hold, each with its name."""
    if isinstance(tree, (Mapping, tuple, list)):
        for key, value in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            yield from _leaves(value, f"{name}[{key}]")
    elif not isinstance(tree, Slot) and (held := object_items(tree)) is not None:
        for key, value in held[0].items():
            yield from _leaves(value, f"{name}[{key}]")
    else:
        yield tree, name


@dataclass
class Outputs:
    """What a forward gave, by name: filled in when it runs.

    Attributes:
        tensors: its tensors of real numbers.
        left: names of what was left out: integers, caches, states of inner layers.
        drawn: whose random numbers it drew beside those of torch; empty for none.
    """

    tensors: dict[str, torch.Tensor]
    left: tuple[str, ...] = ()
    drawn: str = ""


class FlatCall(torch.nn.Module):
    """A module that takes its input tensors in a row and gives its output tensors in a row.

    Args:
        module: the module.
        call: where the inputs go.
        seen: is told the outputs of the last run.
        rows: whether rows that a mask chooses are all rows (see `AllRows`) when it is exported.
    """

    def __init__(self, module: torch.nn.Module, call: Call, seen: Callable[[Outputs], None], rows: bool = False):
        super().__init__()
        self.module = module
        self.call = call
        self.seen = seen
        self.rows = rows
        self.training = module.training
        self.mapped = False  # whether examples are mapped over, outside of an export too

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs of the module at some inputs."""
        dice = Dice()
        found = self._each(tensors) if self.call.single else self._once(tensors)
        outputs = replace(found, drawn=dice.drawn())
        self.seen(outputs)
        return tuple(outputs.tensors.values())

    def _once(self, tensors: Sequence[torch.Tensor]) -> Outputs:
        args, kwargs = self.call.fill(tensors)
        with AllRows() if self.rows and torch.compiler.is_exporting() else nullcontext():
            return Outputs(*outputs_of(self.module(*args, **kwargs)))

    def _each(self, tensors: Sequence[torch.Tensor]) -> Outputs:
        """The outputs of every example by itself, one on top of the other."""
        if not (self.mapped or torch.compiler.is_exporting()):
            own = [i for i in range(len(tensors)) if i not in self.call.shared]
            rows = len(tensors[own[0]])
            found = [self._once([t[k] if i in own else t for i, t in enumerate(tensors)]) for k in range(rows)]
            return Outputs({n: torch.stack([f.tensors[n] for f in found]) for n in found[0].tensors}, found[0].left)
        seen: list[Outputs] = []

        def one(*each: torch.Tensor) -> tuple[torch.Tensor, ...]:
            seen.append(self._once(each))
            return tuple(seen[-1].tensors.values())

        axes = tuple(None if i in self.call.shared else 0 for i in range(len(tensors)))
        with PlainCells():
            every = torch.func.vmap(one, in_dims=axes)(*tensors)
        return Outputs(dict(zip(seen[-1].tensors, every, strict=True)), seen[-1].left)
