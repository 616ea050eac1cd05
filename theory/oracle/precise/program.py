"""A vector field written down once as primitive operations, and evaluated on jets as often as needed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.func import functionalize, vmap
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree

from ..aten import FRESH
from .decompositions import table
from .jets import Jet, UnknownError, Work, compared
from .numbers import constant, constants, entries, finite, one
from .operations import (
    COMPARISONS,
    MAPS,
    MOVES,
    OPERATIONS,
    SERIES,
    Places,
    div,
    flat,
    floor,
    mapped,
    measured,
    places,
    taken,
)

STORAGE = frozenset("dtype layout device pin_memory memory_format non_blocking".split())  # how numbers are kept
SCALED = frozenset("add sub rsub".split())  # the second argument with a factor
ARRAYS = frozenset("sum mean amax amin".split())  # only the first argument is made of entries
Field = Callable[[torch.Tensor, Any], torch.Tensor]


class Program:
    """A field as a list of operations.

    Args:
        field: `X(state, data)`, float64.
        states: examples of the state, shape `(samples, D)`.
        data: examples of as many samples.  Several at once take hardly longer than one.

    Raises:
        UnknownError: if the field cannot be written down, or rounds on its way.
    """

    def __init__(self, field: Field, states: torch.Tensor, data: Any) -> None:
        self.work = Work()
        self.rounded = False  # whether constants stand in it that were rounded and could not be told
        try:
            self._module = make_fx(
                functionalize(vmap(field), remove="mutations_and_views"), decomposition_table=table()
            )(states, data)
        except Exception as error:
            # what a field does while it is traced is the user's; whatever is refused there is only not known here
            raise UnknownError(f"it cannot be traced ({type(error).__name__})") from error
        self._module.graph.eliminate_dead_code()
        nodes = list(self._module.graph.nodes)
        inputs = [n for n in nodes if n.op == "placeholder"]
        self._state, self._data = inputs[0], inputs[1:]
        moving, drawn = {self._state}, set(self._data)
        self._fixed: dict[Node, Any] = {}
        self._numbers: dict[Node, bool] = {}  # whether numbers are among the arguments
        self._places: dict[Node, Places] = {}
        self._once: list[Node] = []  # what depends on the data only
        self._steps: list[Node] = []
        for node in nodes:
            if node.op == "output":
                self._output = flat(node.args)[0]
            elif node.op == "get_attr":
                self._fixed[node] = self._kept(getattr(self._module, str(node.target)))
            elif node.op == "call_function":
                _check(node)
                read = set(node.all_input_nodes)
                if read & moving:
                    moving.add(node)
                    self._steps.append(node)
                elif read & drawn:
                    drawn.add(node)
                    self._once.append(node)
                else:
                    self._fixed[node] = self._run(node, self._fixed)

    def bound(self, data: Any) -> dict[Node, Any]:
        """Everything that depends on the data only, for as many samples as the program was written for."""
        leaves = _pytree.tree_leaves(data)
        values = dict(self._fixed)
        for node, leaf in zip(self._data, leaves, strict=True):
            values[node] = Jet({0: entries(leaf)}, self.work) if leaf.is_floating_point() else leaf
        for node in self._once:
            values[node] = self._run(node, values)
        return values

    def value(self, bound: dict[Node, Any], state: Jet) -> Jet:
        """The field at jets of states, shape `(samples, D)`.

        Raises:
            UnknownError: for an operation that is not known, for comparisons that are in doubt, and for no numbers.
        """
        values = bound | {self._state: state}
        for node in self._steps:
            values[node] = self._run(node, values)
        out = values[self._output]
        out = out if isinstance(out, Jet) else self._constant(out)
        if not all(finite(a) for a in out.parts.values()):
            raise UnknownError("a value that is no number")
        return out

    def _run(self, node: Node, values: dict[Node, Any]) -> Any:
        """One operation."""
        args = read(node.args, values)
        kwargs = {k: read(v, values) for k, v in node.kwargs.items()}
        func: Any = node.target
        if func is operator.getitem:
            return args[0][args[1]]
        name = _name(node)
        if name in FRESH:
            args = mapped(args, lambda v: torch.zeros(v.shape, dtype=torch.float64) if isinstance(v, Jet) else v)
        numbers = self._numbers.get(node)
        if numbers is None:
            numbers = self._numbers[node] = any(isinstance(v, Jet) for v in flat((args, kwargs)))
        if not numbers:
            return mapped(func(*args, **kwargs), self._kept)
        kwargs = {k: v for k, v in kwargs.items() if k not in STORAGE and v is not None}
        if name in MOVES:
            if name == "constant_pad_nd" and len(args) > 2 and args[2]:
                raise UnknownError("padding with a number other than zero")
            if name == "scatter" and not isinstance(args[-1], Jet):
                raise UnknownError("scatter of a fixed number")
            jets = [v for v in (args if isinstance(args[0], Jet) else flat(args)) if isinstance(v, Jet)]
            index = self._places.get(node)
            if index is None:
                index = places(func, args, kwargs)
                if not any(isinstance(v, torch.Tensor) for v in flat((args, kwargs))):  # else it depends on the data
                    self._places[node] = index
            return taken(jets, index)
        if name in MAPS:
            return measured(func, args, kwargs, self._constant)
        if name == "div" and kwargs.get("rounding_mode") == "floor":
            return floor(div(*(self._number(v) for v in args)))
        if kwargs and not (name in SCALED and kwargs.keys() == {"alpha"}):
            raise UnknownError(f"{name} with {', '.join(kwargs)}")
        kwargs = {k: self._number(v) for k, v in kwargs.items()}
        if name in COMPARISONS:
            a, b = np.broadcast_arrays(*(self._number(v).value for v in args))
            return torch.from_numpy(COMPARISONS[name](compared(a, b)))
        if name in SERIES:
            return args[0].map(SERIES[name])
        if name not in OPERATIONS:
            raise UnknownError(name)
        if name == "where":
            return OPERATIONS[name](args[0], self._number(args[1]), self._number(args[2]))
        if name == "index_put":
            return OPERATIONS[name](self._number(args[0]), args[1], self._number(args[2]), *args[3:])
        if name in ARRAYS:
            return OPERATIONS[name](*args)
        return OPERATIONS[name](*(self._number(v) for v in args), **kwargs)

    def _kept(self, value: Any) -> Any:
        """What an operation without jets gives: numbers become jets, places and conditions stay what they are."""
        return self._constant(value) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    def _number(self, value: Any) -> Jet:
        """An argument as a jet."""
        if isinstance(value, Jet):
            return value
        if isinstance(value, torch.Tensor):
            return self._constant(value)
        number, told = constant(float(value))
        self.rounded |= not told
        return Jet({0: one(number)}, self.work)

    def _constant(self, values: torch.Tensor) -> Any:
        """A fixed array; places and conditions stay what they are unless numbers are asked for."""
        found, told = constants(values)
        self.rounded |= not told
        return Jet({0: found}, self.work)


def read(value: Any, values: dict[Node, Any]) -> Any:
    """Arguments with the values of the nodes that they name."""
    if isinstance(value, Node):
        return values[value]
    if isinstance(value, (list, tuple)):
        return [read(v, values) for v in value] if isinstance(value, list) else tuple(read(v, values) for v in value)
    return value


def _name(node: Node) -> str:
    """The name of an operation, without what functionalization adds to it."""
    name = node.target.overloadpacket.__name__ if hasattr(node.target, "overloadpacket") else str(node.target)
    return name.removesuffix("_copy") if name != "_to_copy" else name


def _check(node: Node) -> None:
    """Refuses what rounds to fewer digits than a float has, and numbers that become places."""
    if node.target is operator.getitem:
        return
    if not hasattr(node.target, "overloadpacket"):
        raise UnknownError(str(node.target))
    for kind in _kinds(node):
        if (kind.is_floating_point and kind != torch.float64) or kind.is_complex:
            raise UnknownError(f"{_name(node)} in {kind}")
        if (
            kind not in (torch.float64, torch.bool)
            and any(torch.float64 in _kinds(read) for read in node.all_input_nodes)
            and _name(node) not in FRESH
        ):
            raise UnknownError(f"{_name(node)} of numbers in {kind}")


def _kinds(node: Node) -> list[torch.dtype]:
    found = node.meta.get("tensor_meta")
    return [m.dtype for m in _pytree.tree_leaves(found, is_leaf=lambda m: hasattr(m, "dtype")) if hasattr(m, "dtype")]
