"""Weights of chosen experts, as the weights of all of them: 0 for those that are not chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from lawful.blocks import Pointwise, Scale, Softmax, TopChoice

from ..arguments import Arguments
from ..arrange import focus
from ..context import Context
from ..layout import Dims, size
from ..opaque import emit_opaque
from ..purity import name_of
from ..values import Fixed, Lazy, NotUnderstood, Stream, Value, number
from .chosen import CHOSEN, Choice, Chosen
from .patterns import plain
from .routing import Reader

HIDDEN = -1e4  # logits below this have no weight
COMPARED = {"lt": ("below", True), "ge": ("kept", True), "gt": ("below", False), "le": ("kept", False)}


@dataclass(frozen=True, kw_only=True)
class Kept(Lazy):
    """Logits of which only the largest few are shown; a softmax follows.

    Attributes:
        stream: all of them.
        top: how many are shown.
    """

    stream: Stream
    top: int

    @property
    def dims(self) -> Dims:
        """How the traced tensor arranges them."""
        return self.stream.dims

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return self.stream.shape

    def arranged(self, dims: Dims) -> Kept:
        """The same in another arrangement of the positions.

        Raises:
            NotUnderstood: if the logits are not on the last dimension.
        """
        if dims[-1] != self.dims[-1]:
            raise NotUnderstood("logits of which some are hidden are rearranged")
        return Kept(stream=self.stream.arranged(dims), top=self.top)


def chosen_softmax(low: Context, node: Node, x: Kept, dim: int) -> Stream:
    """The softmax of what is shown: that of all, of the largest few, divided by their sum."""
    if dim % len(x.dims) != len(x.dims) - 1:
        raise NotUnderstood("a softmax over something else than logits of which some are hidden")
    s = focus(low, node, x.stream, -1)
    (p,) = low.emit(node, Softmax(), [s], label="softmax")
    (y,) = low.emit(node, TopChoice(x.top, True), [p], label="choose")
    return y.arranged(s.dims)


def chosen_sigmoid(low: Context, node: Node, x: Kept) -> Stream:
    """Sigmoids of what is shown: 0 for the others."""
    s = focus(low, node, x.stream, -1)
    (p,) = low.emit(node, Pointwise("sigmoid"), [s], label="sigmoid")
    (y,) = low.emit(node, TopChoice(x.top), [p], label="choose")
    return y.arranged(s.dims)


def softmax_of_chosen(low: Context, node: Node) -> Stream | None:
    """A softmax of the values of a choice, in their order; None for any other softmax."""
    values: Any = plain(node.args[0])
    if not isinstance(values, Node) or str(values.target) != "<built-in function getitem>" or values.args[1] != 0:
        return None
    choice: Any = values.args[0]
    if name_of(choice) != "topk":
        return None
    try:
        found = Reader(low).read(node)
    except Exception:  # whatever else is written in another way
        return None
    numbers = low.env[choice][1]
    if not isinstance(found, Chosen) or not found.normalised or found.scores is not None:
        return None
    top = int(choice.args[1])
    (every,) = low.emit(node, TopChoice(top, True), [found.stream], label="choose")
    arguments = Arguments(low, node)
    weights, at = arguments.plan(every.arranged(found.stream.dims)), arguments.plan(numbers)
    y: Stream = emit_opaque(low, node, arguments.reads, "", lambda t, p: weights(t, p).gather(-1, at(t, p)))
    low.reasons.pop(y.port[0], None)
    low.behind.add(y.port[0])  # nothing is hidden by it: the weights of the chosen have no laws of their own
    return y


def weighed_choice(low: Context, node: Node, hidden: bool) -> Stream | Kept:
    """The values of a choice at the places that it names: weights of all, or logits of which the others are hidden.

    Args:
        low: the program.
        node: the call that puts them there.
        hidden: whether the others are minus infinity; else they are 0.

    Raises:
        NotUnderstood: for other values and places.
    """
    reader = Reader(low)
    try:
        choice, values = reader.read(node.args[2]), reader.read(node.args[3])
    except NotUnderstood:
        raise
    except Exception as error:  # whatever else is written in another way
        raise NotUnderstood("entries are written at places that depend on data") from error
    alike = isinstance(choice, Choice) and isinstance(values, Chosen) and choice.choice is values.choice
    if not alike or choice.dims != values.dims or values.total:
        raise NotUnderstood("entries are written at places that depend on data")
    top = size(next(d for d in values.dims if any(a.axis == CHOSEN for a in d)))
    s = values.stream
    if hidden:
        if values.scores is not None or values.normalised or values.factor != 1:
            raise NotUnderstood("weights of chosen experts among hidden ones")
        return Kept(stream=s, top=top)
    apart = values.scores is not None
    reads = [s, values.scores] if values.scores is not None else [s]
    (y,) = low.emit(node, TopChoice(top, values.normalised, apart), reads, label="choose")
    if values.factor != 1:
        (y,) = low.emit(node, Scale(values.factor), [y], label="scale")
    return y.arranged(s.dims)


def hidden_below(low: Context, x: Value, mask: Any, fill: Value, shown: bool) -> Kept | None:
    """Logits of which those below the smallest of the largest few are hidden; None for anything else.

    Args:
        low: the program.
        x: the logits.
        mask: the node of the mask.
        fill: what stands in the place of others.
        shown: whether the mask says which are shown.
    """
    c = number(fill)
    full = isinstance(fill, Fixed) and fill.known and fill.tensor.is_floating_point() and fill.tensor.numel()
    c = float(fill.tensor.max()) if c is None and full else c
    if c is None or c > HIDDEN or not isinstance(x, Stream):
        return None
    return _kept_by_number(low, x, mask, shown)


def _kept_by_number(low: Context, x: Stream, mask: Any, shown: bool) -> Kept | None:
    """Logits that a mask compares with the smallest of their largest few; None for any other mask."""
    mask = plain(mask)
    while isinstance(mask, Node) and name_of(mask) in ("logical_not", "bitwise_not"):
        mask, shown = plain(mask.args[0]), not shown
    if not isinstance(mask, Node) or name_of(mask) not in COMPARED:
        return None
    kind, straight = COMPARED[name_of(mask)]
    logits, limit = (plain(n) for n in (mask.args[:2] if straight else mask.args[1::-1]))
    if (kind == "kept") != shown or not isinstance(logits, Node) or low.env.get(logits) != x:
        return None
    top = _limit(limit, logits)
    return None if top is None or x.feature_dims != [len(x.dims) - 1] else Kept(stream=x, top=top)


def _limit(node: Any, logits: Node) -> int | None:
    """How many of the largest a node is the smallest of."""
    while isinstance(node, Node) and name_of(node) in ("unsqueeze", "expand", "expand_as", "view", "reshape"):
        node = plain(node.args[0])
    if not isinstance(node, Node) or name_of(node) not in ("slice", "select"):
        return None
    values, dim, at = node.args[0], node.args[1], node.args[2]
    source: Any = plain(values)
    while (
        isinstance(source, Node) and name_of(source) == "slice" and source.meta["val"].shape == _shape(source.args[0])
    ):
        source = plain(source.args[0])
    if not isinstance(source, Node) or str(source.target) != "<built-in function getitem>" or source.args[1] != 0:
        return None
    choice: Any = source.args[0]
    if name_of(choice) != "topk" or plain(choice.args[0]) is not logits or False in choice.args[3:4]:
        return None
    top, rank = int(choice.args[1]), len(source.meta["val"].shape)
    last = dim in (-1, rank - 1) and (len(choice.args) < 3 or choice.args[2] in (-1, rank - 1))
    return top if last and at in (-1, top - 1) else None


def _shape(node: Any) -> Any:
    return node.meta["val"].shape if isinstance(node, Node) else None
