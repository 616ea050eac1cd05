"""Teaching the tracer an operation that it does not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import Block
from lawful.theory.arguments import ArgumentError
from lawful.theory.typed import typed

from .arrange import aligned, exact, focus
from .context import HANDLERS, Context
from .sources import arranged_name
from .values import NotUnderstood, Stream, Value, Weight


class OpCall:
    """One call of an operation, as the function that reads it sees it.

    Calling it adds a block: `call(block, x, weights={"weight": w})`.

    Attributes:
        node: the node of the exported graph.
        module: path of the submodule that the call stands in.
    """

    def __init__(self, low: Context, node: Node) -> None:
        self._low = low
        self.node = node
        self.module = low.place(node).module

    def __call__(
        self,
        block: Block,
        *inputs: Value,
        weights: Mapping[str, Value] | None = None,
        feature: int | None = -1,
        image: bool = False,
    ) -> Stream | tuple[Stream, ...]:
        """Adds a block that reads some tensors of the call.

        Args:
            block: the block; its output must have the shape of the traced result, features where the input has them.
            *inputs: tensors among the arguments of the operation (what it adds to them must depend on data).
            weights: for every parameter of the block the argument that it is.
            feature: the dimension that is the feature axis; None for a map of single numbers, in any arrangement.
            image: whether the block reads channels first with its positions in place, as a convolution does.

        Returns:
            What it gives: a tensor, or a tuple for several.

        Raises:
            NotUnderstood: if a weight is no parameter, or no rule covers the arrangement.
        """
        low, node = self._low, self.node
        first, *others = (low.stream(x, node, channels_first=image or None) for x in inputs)
        if image:
            first = exact(low, node, first, 1, first=True)
        elif feature is not None:
            first = focus(low, node, first, feature)
        reads = [first, *(aligned(low, node, first, s)[1] for s in others)]
        names = {}
        for local, value in (weights or {}).items():
            if not isinstance(value, Weight):
                raise NotUnderstood(f"its {local} is computed")
            names[local] = arranged_name(value, [a for d in value.dims for a in d])
        out = low.emit(node, block, reads, names)
        at = 1 if image else -1 if feature is None else feature % len(first.dims)
        arranged = tuple(_like(s, first, at) for s in out)
        return arranged if len(arranged) > 1 else arranged[0]


def _like(out: Stream, x: Stream, feature: int) -> Stream:
    """An output in the arrangement of an input, with its own features."""
    if len(out.signal.shape) != len(x.signal.shape) or out.signal.space != x.signal.space:
        return out
    if out.signal.features == x.signal.features:
        return out.arranged(x.dims)
    whole = tuple(a for a in out.dims[out.feature_axis])
    return out.arranged(tuple(whole if i == feature else d for i, d in enumerate(x.dims)))


@typed()
def register_op(operation: Any) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Teaches tracing an operation: which blocks stand for a call of it.

    The function gets an `OpCall` and the arguments of the operation; it returns what the call gives.  A call that it
    cannot read raises `NotUnderstood`, and becomes opaque.

    Args:
        operation: the operation, `torch.ops.mylib.scaled_tanh`, or its name, `"mylib::scaled_tanh"`.  One that tracing
            knows already is read by the new function from then on.

    Raises:
        ValueError: for a name that no operation of torch has, so that the function would never be called.
        TypeError: for something that is no operation and no name.

    Example:
        @lw.register_op(torch.ops.mylib.scaled_tanh)
        def scaled_tanh(call, x, scale):
            return call(blocks.Pointwise("tanh"), call(blocks.Scale(scale), x, feature=None), feature=None)
    """
    name = operation_name(operation)
    if name not in HANDLERS and not _exists(name):
        raise ArgumentError(
            f"register_op: torch has no operation {name!r}; import or define what makes it before, and write its name "
            "as torch.ops has it, 'mylib::scaled_tanh'"
        )

    def register(function: Callable[..., Value]) -> Callable[..., Value]:
        def handler(low: Context, node: Node, *args: Any, **kwargs: Any) -> Value:
            return function(OpCall(low, node), *args, **kwargs)

        HANDLERS[name] = handler
        return function

    return register


def _exists(name: str) -> bool:
    """Whether torch has an operation of this name."""
    home, _, local = name.rpartition(".") if "." in name else ("aten", "", name)
    found: Any = torch.ops
    for part in (*home.split("."), local):
        found = getattr(found, part, None)
    return found is not None


def operation_name(operation: Any) -> str:
    """The name under which an operation is looked up: `gelu` for ATen, `mylib.gelu` for others.

    Raises:
        TypeError: for something that is no operation of torch.
    """
    if isinstance(operation, torch._ops.OpOverload):
        operation = str(operation)
    elif isinstance(operation, torch._ops.OpOverloadPacket):
        operation = operation._qualified_op_name
    if not isinstance(operation, str):
        raise TypeError(
            f"expected an operation such as torch.ops.mylib.gelu or 'mylib::gelu', got {type(operation).__name__}"
        )
    return operation.replace("::", ".").removeprefix("aten.").removesuffix(".default")


__all__ = ["OpCall", "operation_name", "register_op"]
