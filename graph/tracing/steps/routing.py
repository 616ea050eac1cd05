"""Reads the calls between a choice of experts and the sum over the chosen backwards."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch.fx import Node

from lawful.blocks import Affine, Linear, Pointwise, Softmax

from ..arrange import focus
from ..context import HANDLERS, Context
from ..layout import COPIES, Atom, Dim, Dims, size, view
from ..sources import arranged_name
from ..values import Data, NotUnderstood, Stream, Weight
from .chosen import CHOSEN, OUT, Choice, Chosen, Picked, Routed, Written

TINY = 1e-9  # what is added to a sum of weights against a division by 0


DEPTH = 60  # calls between a choice and the sum over the chosen


def near(node: Any, count: int) -> list[Node]:
    """The calls just before one."""
    found: list[Node] = []
    waiting = [node]
    while waiting and len(found) < count:
        n = waiting.pop(0)
        if isinstance(n, Node) and n not in found:
            found.append(n)
            waiting += n.all_input_nodes
    return found


class Reader:
    """Reads the calls between a choice of experts and the sum over them, each once."""

    def __init__(self, low: Context) -> None:
        self.low = low
        self.seen: dict[Node, Any] = {}

    def read(self, node: Any) -> Any:
        """What an argument stands for."""
        if isinstance(node, (list, tuple)):
            return type(node)(self.read(n) for n in node)
        if not isinstance(node, Node):
            return node
        if node not in self.seen:
            self.seen[node] = self._read(node)
        return self.seen[node]

    def _read(self, node: Node) -> Any:
        if node.op != "call_function" or not any("aten.topk" in str(n.target) for n in near(node, DEPTH)):
            value = self.low.env[node]
            moved = isinstance(value, Data) and value.base is not None and value.example.is_floating_point()
            return self.low.stream(value, node, False) if moved else value
        if node.target is operator.getitem:
            taken: tuple[Any, Any] = node.args  # type: ignore[assignment]
            whole, i = self.read(taken[0]), taken[1]
            return whole[i] if isinstance(whole, tuple) else self.low.env[node]
        name = str(node.target).removeprefix("aten.").partition(".")[0]
        if name == "topk":
            return self._topk(node)
        args = [self.read(a) for a in node.args]
        if not any(isinstance(v, (Chosen, Choice, Picked, Routed, Written)) for v in _flat_values(args)):
            return self.low.env[node]
        reader: Callable[..., Any] | None = _READERS.get(name)
        if reader is not None:
            return reader(self, node, *args, **node.kwargs)
        if any(isinstance(v, (Chosen, Choice, Picked, Written)) for v in _flat_values(args)):
            raise NotUnderstood(f"{name} of chosen experts")
        return self._mapped(node, name, args)

    def _topk(self, node: Node) -> Any:
        arguments: tuple[Any, ...] = node.args
        source, k, dim = (*arguments[:3], -1)[:3]
        if False in (*arguments[3:4], node.kwargs.get("largest")):
            raise NotUnderstood("a choice of the smallest")
        x = self.low.env[source]
        if not isinstance(x, Stream) or dim not in (-1, len(x.dims) - 1):
            raise NotUnderstood("a choice of the largest along another axis than the last")
        s = focus(self.low, node, x, -1)
        dims = (*s.dims[:-1], (Atom(CHOSEN, int(k)),))
        return Chosen(node, s, None, dims), Choice(node, s, dims)

    def _mapped(self, node: Node, name: str, args: list[Any]) -> Any:
        """A map of hidden units, with all experts in place of the chosen ones."""
        first = next(v for v in args if isinstance(v, Routed))
        opened = [v.opened() if isinstance(v, Routed) else v for v in args]
        known = {
            str(node.target).removeprefix("aten."),
            str(node.target).removeprefix("aten.").removesuffix(".default"),
            name,
        }
        handler = next((HANDLERS[n] for n in known if n in HANDLERS), None)
        if handler is None:
            raise NotUnderstood(f"{name} of the hidden units of experts")
        out = handler(self.low, node, *opened, **{k: self.read(v) for k, v in node.kwargs.items()})
        if isinstance(out, tuple):
            return tuple(first.closed(s) for s in out)
        if not isinstance(out, Stream):
            raise NotUnderstood(f"{name} of the hidden units of experts")
        return first.closed(out)


def _reshaped(reader: Reader, node: Node, x: Any, *rest: Any, **options: Any) -> Any:
    sizes = [int(n) for n in node.meta["val"].shape]
    if isinstance(x, (Chosen, Choice)):
        return replace(x, dims=_view(x.dims, sizes))
    if isinstance(x, Routed):
        return replace(x, stream=x.stream.arranged(_view(x.stream.dims, sizes)))
    if isinstance(x, Written):
        return replace(x, dims=_view(x.dims, sizes))
    raise NotUnderstood("a view of the weights of experts")


def _view(dims: Dims, sizes: Sequence[int]) -> Dims:
    """A view that keeps an atom for the chosen ones where there is but one of them."""
    if any(a.size == 1 for d in dims for a in d):
        raise NotUnderstood("a single expert for every token")
    return view(dims, sizes)


def _same(reader: Reader, node: Node, x: Any, *rest: Any, **options: Any) -> Any:
    return x


def _detached(reader: Reader, node: Node, x: Any) -> Any:
    if isinstance(x, Choice):
        return x  # integers have no gradient anyway
    raise NotUnderstood("weights of chosen experts without their gradient")


def _transposed(reader: Reader, node: Node, x: Any, a: int = -1, b: int = -2) -> Any:
    if isinstance(x, Picked) and len(x.own) == 2 and {a % 3, b % 3} == {1, 2} and len(x.lead) == 1:
        return replace(x, own=x.own[::-1])
    raise NotUnderstood("chosen experts are transposed")


def _index(reader: Reader, node: Node, x: Any, indices: Sequence[Any]) -> Any:
    (choice,) = indices
    if not isinstance(x, Weight) or not isinstance(choice, Choice):
        raise NotUnderstood("something else than weights is picked by the chosen experts")
    return Picked(choice.choice, x, choice.dims, x.dims[1:])


def _gather(reader: Reader, node: Node, x: Any, dim: int, choice: Any, **options: Any) -> Any:
    if not isinstance(x, Stream) or not isinstance(choice, Choice) or dim not in (-1, len(x.dims) - 1):
        raise NotUnderstood("something else than weights is picked by the chosen experts")
    s = focus(reader.low, node, x, -1)
    return Chosen(choice.choice, s, choice.stream, choice.dims)


def _product(reader: Reader, node: Node, a: Any, b: Any) -> Any:
    """A batched map of tokens: `W x` for columns, `x W` for rows."""
    picked, x = (a, b) if isinstance(a, Picked) else (b, a)
    if not isinstance(picked, Picked) or len(picked.own) != 2:
        raise NotUnderstood("a product without the weights of experts")
    column = picked is a
    out, inn = picked.own if column else picked.own[::-1]
    if isinstance(x, Routed):
        dims = x.stream.dims
        line, one = (dims[-2], dims[-1]) if column else (dims[-1], dims[-2])
        if one or line != (Atom(x.stream.feature_axis, size(inn)),) or x.group.stride != size(inn):
            raise NotUnderstood("the last maps of experts read something else than their hidden units")
        new: Dim = (Atom(OUT, size(out)),)
        return Written(x, picked, out, inn, (*dims[:-2], *((new, ()) if column else ((), new))))
    if not isinstance(x, Stream):
        raise NotUnderstood("experts read something that is no stream")
    line, one = (x.dims[-2], x.dims[-1]) if column else (x.dims[-1], x.dims[-2])
    lead = _exchanged_dims(picked.lead, CHOSEN, COPIES)
    if one or x.dims[:-2] != lead:
        raise NotUnderstood("experts read other tokens than those that chose them")
    taken = tuple(tuple(a for a in d if a.axis != COPIES) for d in x.dims[:-2])
    low = reader.low
    s = focus(low, node, x.arranged((*taken, line)), -1)
    name = arranged_name(picked.weight, [*picked.expert, *out, *inn])
    wide = Linear(size(inn), picked.experts * size(out), False)
    (y,) = low.emit(node, wide, [s], {"weight": name}, label="up", key=("up", name, s.port))
    k = next(a for d in picked.lead for a in d if a.axis == CHOSEN)
    if s.dims[:-1] != taken:
        raise NotUnderstood("experts read tokens in another arrangement")
    new = (Atom(y.feature_axis, size(out)),)
    return Routed(
        picked.choice, y.arranged((*_marked(picked.lead, k), *((new, ()) if column else ((), new)))), picked.experts
    )


def _marked(lead: Dims, k: Atom) -> Dims:
    return tuple(tuple(k if a.axis == CHOSEN else a for a in d) for d in lead)


def _sum(reader: Reader, node: Node, x: Any, dims: Sequence[int], keep: bool = False, **options: Any) -> Any:
    if isinstance(x, Chosen) and [d % len(x.dims) for d in dims] == [len(x.dims) - 1] and keep and not x.normalised:
        return replace(x, total=True)
    raise NotUnderstood("a sum over chosen experts")


def _divided(reader: Reader, node: Node, x: Any, y: Any) -> Any:
    if isinstance(x, Chosen) and isinstance(y, Chosen) and replace(x, total=True) == y and not x.normalised:
        return replace(x, normalised=True)
    if isinstance(x, Chosen) and isinstance(y, (int, float)):
        return replace(x, factor=x.factor / y)
    raise NotUnderstood("a quotient of weights of experts")


def _times(reader: Reader, node: Node, x: Any, y: Any) -> Any:
    if isinstance(y, Chosen) or (isinstance(x, (int, float)) and not isinstance(y, (int, float))):
        return _times(reader, node, y, x) if not isinstance(x, Chosen) else _scaled(x, y)
    if isinstance(x, Chosen) and isinstance(y, (int, float)):
        return _scaled(x, y)
    if isinstance(x, Chosen) and isinstance(y, Written):
        if y.by is not None or y.hidden.choice is not x.choice or x.total or not _fits(x.dims, y.dims):
            raise NotUnderstood("weights of other experts")
        return replace(y, by=x)
    if isinstance(x, Chosen) or isinstance(x, Written) or isinstance(y, Written):
        raise NotUnderstood("a product with weights of experts")
    return reader._mapped(node, "mul", [x, y])


def _scaled(x: Chosen, y: Any) -> Chosen:
    if isinstance(y, (int, float)) and not x.total:
        return replace(x, factor=x.factor * y)
    raise NotUnderstood("a product of weights of experts")


def _fits(weights: Dims, written: Dims) -> bool:
    """Whether weights have one number for every token and chosen expert."""
    return len(weights) == len(written) and all(
        w == d or (not w and all(a.axis == OUT for a in d)) for w, d in zip(weights, written, strict=True)
    )


def _clamped(reader: Reader, node: Node, x: Any, low: Any = None, high: Any = None) -> Any:
    """A sum of positive weights that is kept above a tiny number: it is so anyway."""
    if not isinstance(x, Chosen):
        return reader._mapped(node, "clamp", [x, low, high])
    block = reader.low.builder.blocks.get(x.stream.port[0])
    positive = isinstance(block, Softmax) or (isinstance(block, Pointwise) and block.function == "sigmoid")
    tiny = isinstance(low, (int, float)) and low <= TINY and high is None
    if not x.total or not positive or not tiny:
        raise NotUnderstood("weights of chosen experts are clamped")
    return x


def _plus(reader: Reader, node: Node, x: Any, y: Any, alpha: float = 1) -> Any:
    if isinstance(x, Chosen) and x.total and isinstance(y, (int, float)) and 0 <= y <= TINY:
        return x
    if isinstance(y, Picked) and alpha == 1 and len(y.own) == 1:
        if isinstance(x, Written) and x.bias is None and x.by is None and x.dims[-1] == (Atom(OUT, size(y.own[0])),):
            return replace(x, bias=y)
        if isinstance(x, Routed) and x.stream.dims[-1] == (Atom(x.stream.feature_axis, size(y.own[0])),):
            name = arranged_name(y.weight, [*y.expert, *y.own[0]])
            block = Affine(x.stream.signal.features, gain=False)
            (s,) = reader.low.emit(node, block, [x.stream], {"bias": name}, label="shift", key=("shift", x, name))
            return replace(x, stream=s.arranged(x.stream.dims))
    if isinstance(x, (Routed, int, float)) and isinstance(y, (Routed, int, float)):
        return reader._mapped(node, "add", [x, y])
    raise NotUnderstood("a sum of chosen experts")


def _softmaxed(reader: Reader, node: Node, x: Any, dim: int, *rest: Any, **options: Any) -> Any:
    """A softmax over the chosen ones is that over all, divided by the sum over the chosen."""
    if (
        isinstance(x, Chosen)
        and x.scores is None
        and not x.normalised
        and x.factor == 1
        and dim % len(x.dims) == len(x.dims) - 1
    ):
        (s,) = reader.low.emit(node, Softmax(), [x.stream], label="softmax", key=("softmax", x))
        return replace(x, stream=s.arranged(x.stream.dims), normalised=True)
    return reader._mapped(node, "softmax", [x, dim])


def _sigmoid(reader: Reader, node: Node, x: Any) -> Any:
    if isinstance(x, Chosen) and not x.normalised and x.factor == 1:
        (s,) = reader.low.emit(node, Pointwise("sigmoid"), [x.stream], label="sigmoid", key=("sigmoid", x))
        return replace(x, stream=s.arranged(x.stream.dims))
    return reader._mapped(node, "sigmoid", [x])


_READERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("view", "reshape", "unsqueeze", "squeeze", "flatten", "_unsafe_view", "unflatten"), _reshaped),
    **dict.fromkeys(("to", "_to_copy", "contiguous", "clone", "type_as", "alias"), _same),
    "detach": _detached,
    **dict.fromkeys(("transpose", "mT"), _transposed),
    "index": _index,
    "gather": _gather,
    **dict.fromkeys(("bmm", "matmul"), _product),
    "sum": _sum,
    "div": _divided,
    "mul": _times,
    **dict.fromkeys(("clamp", "clamp_min"), _clamped),
    "add": _plus,
    **dict.fromkeys(("softmax", "_softmax"), _softmaxed),
    "sigmoid": _sigmoid,
}


def _exchanged_dims(dims: Dims, old: int, new: int) -> Dims:
    return tuple(tuple(replace(a, axis=new) if a.axis == old else a for a in d) for d in dims)


def _flat_values(values: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for v in values:
        found += _flat_values(v) if isinstance(v, (list, tuple)) else [v]
    return found
