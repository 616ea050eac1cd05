"""What a node of a traced graph stands for while it is lowered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import Signal

from ..architecture.compile import Port
from .layout import Dim, Dims, canonical, shape


class NotUnderstood(ValueError):
    """An operation that no rule covers; it becomes an opaque block, and the message says why."""


class OneFactor(NotUnderstood):
    """All features of one side meet one and the same number of the other."""


class BothRepeated(NotUnderstood):
    """Each of two sides has to be repeated along an axis of the other."""


# how an input is read that is a mask: numbers that are added to scores, or booleans of what is seen
MASK, HIDES, OF_ALL = "mask", " of what is hidden", " of all examples"


@dataclass(frozen=True)
class Stream:
    """A tensor that depends on data and, maybe, on parameters: what a port carries, as `dims` arrange it.

    Axis 0 of the port's tensor is the batch, the others are those of its signal.
    """

    port: Port
    signal: Signal
    dims: Dims

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return shape(self.dims)

    @property
    def shape_batch(self) -> int:
        """Length of the batch axis of the port's tensor, 1 where it has no examples."""
        return next((a.size for d in self.dims for a in d if a.axis == 0), 1)

    @property
    def batched(self) -> bool:
        """Whether it has an axis of examples; what is made of parameters alone has none."""
        return any(a.axis == 0 for d in self.dims for a in d)

    @property
    def feature_axis(self) -> int:
        """Index of the feature axis in the port's tensor."""
        return 1 if self.signal.channels_first else len(self.signal.space) + 1

    @property
    def feature_dims(self) -> list[int]:
        """The dimensions that hold features."""
        return [i for i, d in enumerate(self.dims) if any(a.axis == self.feature_axis for a in d)]

    @property
    def feature_home(self) -> list[int]:
        """The dimensions that hold features; one feature by itself lies where several would."""
        place = 1 if self.signal.channels_first and len(self.dims) > 2 else len(self.dims) - 1
        return self.feature_dims or ([place] if place > 0 and self.dims[place] == () else [])

    @property
    def feature_atoms(self) -> Dim:
        """The feature atoms, from the outermost to the innermost one."""
        found = [a for d in self.dims for a in d if a.axis == self.feature_axis]
        return tuple(sorted(found, key=lambda a: -a.stride))

    @property
    def single(self) -> Stream:
        """The same port where the traced tensor has no axis of examples."""
        return replace(self, dims=self.dims[1:])

    def arranged(self, dims: Dims) -> Stream:
        """The same port in another arrangement."""
        return replace(self, dims=dims)


@dataclass(frozen=True)
class Stacked(Stream):
    """Streams on top of each other, of which single ones may be read: the last states of the layers of an LSTM.

    Attributes:
        parts: the streams, each without the first dimension.
    """

    parts: tuple[Stream, ...]

    def arranged(self, dims: Dims) -> Stream:
        """The stack as one stream, in another arrangement."""
        return Stream(self.port, self.signal, dims)


@dataclass(frozen=True)
class Weight:
    """A parameter, or a part of one, that nothing but views has touched.

    Attributes:
        name: as in the architecture, with the part (`in_proj_weight[0:64]`).
        base: the parameter it is a part of.
        full: shape of what `name` stands for.
        dims: how the traced tensor arranges it.
    """

    name: str
    base: str
    full: tuple[int, ...]
    dims: Dims

    @staticmethod
    def whole(name: str, size: tuple[int, ...]) -> Weight:
        """A parameter as it is."""
        return Weight(name, name, size, canonical(size))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return shape(self.dims)

    def arranged(self, dims: Dims) -> Weight:
        """The same parameter in another arrangement."""
        return replace(self, dims=dims)

    @property
    def order(self) -> list[int]:
        """The axes of the parameter in the order in which the traced tensor has them, without copies."""
        return [a.axis for d in self.dims for a in d if a.axis >= 0]


@dataclass(frozen=True)
class Fixed:
    """A tensor that depends on nothing: masks, tables of angles, indices."""

    tensor: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return tuple(self.tensor.shape)

    @property
    def known(self) -> bool:
        """Whether its numbers are there (not on the meta device)."""
        return self.tensor.device.type != "meta"


@dataclass(frozen=True)
class Data:
    """A tensor that depends on the inputs of the module and on no parameter.

    Attributes:
        node: the call that makes it.
        base: the input that it is a view of, None where it is more than a view.
        dims: how it arranges the tensor of that input.
    """

    node: Node
    base: Node | None = None
    dims: Dims = ()

    @property
    def example(self) -> torch.Tensor:
        """A tensor of its shape and type."""
        value: torch.Tensor = self.node.meta["val"]
        return value

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return tuple(int(n) for n in self.example.shape)

    @property
    def moved(self) -> bool:
        """Whether it is a view of an input whose examples are not on its first axis."""
        return self.base is not None and (not self.dims or [a.axis for a in self.dims[0]] != [0])

    def arranged(self, dims: Dims) -> Data:
        """The same input in another arrangement."""
        return replace(self, dims=dims)


@dataclass(frozen=True, kw_only=True)
class Lazy:
    """A value that becomes a block only with what is done to it later.

    Attributes:
        origin: the call it comes from with what its arguments stand for, in case that nothing comes of it.
    """

    origin: tuple[Node, tuple[Any, ...], dict[str, Any]] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Bias:
    """What is added to the scores of attention.

    Attributes:
        fixed: a mask or a table of numbers, of shape `(heads or 1, queries, keys)` behind what is broadcast.
        data: a mask that depends on the inputs.
        hides: whether that mask is of booleans that say what is hidden, not what is seen.
        table: the stream of a table of relative biases and the row of every pair of positions.
    """

    fixed: torch.Tensor | None = None
    data: Data | None = None
    hides: bool = False
    table: Stream | None = None
    rows: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Scores(Lazy):
    """Products of queries and keys on their way to the weights of attention.

    Attributes:
        q: queries, with dimensions `(batch, heads, queries, features of a head)`.
        k: keys, with dimensions `(batch, heads, keys, features of a head)`.
        dims: the traced tensor in the axes of `(batch, heads, queries, keys)`, numbered from 0.
        scale: what the product is multiplied by.
        biases: what is added after that.
        cap: soft cap of the scores before the biases.
        done: the function that made them weights, empty before.
        dropout: probability with which each weight is dropped.
        sink: the parameter that holds one more score for every head, `zero` for a score of 0, empty for none.
        blank: whether a query that sees no key gets zeros.
        factors: fixed numbers that multiply the weights, shape `(heads or 1, queries or 1, keys or 1)`.
    """

    q: Stream
    k: Stream
    dims: Dims
    scale: float = 1.0
    biases: tuple[Bias, ...] = ()
    cap: float = 0.0
    done: str = ""
    dropout: float = 0.0
    sink: str = ""
    blank: bool = False
    factors: tuple[torch.Tensor, ...] = field(default=(), repr=False)

    @property
    def plain(self) -> bool:
        """Whether nothing was done to the products but a scale."""
        return not (self.done or self.biases or self.cap or self.factors)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return shape(self.dims)

    def arranged(self, dims: Dims) -> Scores:
        """The same scores in another arrangement."""
        return replace(self, dims=dims)


@dataclass(frozen=True, kw_only=True)
class Rows(Lazy):
    """Rows of a table picked by fixed indices: `table[index]`, arranged as `dims` (axis 0: pairs, axis 1: width).

    Attributes:
        weight: the table.
        index: the row of every pair.
        dims: how the traced tensor arranges them.
        masks: what was added to the traced tensor: fixed numbers that broadcast against it.
    """

    weight: Weight
    index: torch.Tensor = field(repr=False)
    dims: Dims
    masks: tuple[torch.Tensor, ...] = field(default=(), repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return shape(self.dims)

    def arranged(self, dims: Dims) -> Rows:
        """The same rows in another arrangement.

        Raises:
            NotUnderstood: if something was added to them that would have to move too.
        """
        if self.masks and len(dims) != len(self.dims):
            raise NotUnderstood("a table of relative biases with a mask is rearranged")
        return replace(self, dims=dims)


@dataclass(frozen=True, kw_only=True)
class Moved(Lazy):
    """A parameter plus a number: the gain `1 + w`."""

    weight: Weight
    offset: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return self.weight.shape


@dataclass(frozen=True, kw_only=True)
class Combined(Lazy):
    """A sum of parameters of one shape with fixed factors: what is linear in it is a sum as well.

    Attributes:
        terms: the parameters, each with its factor.
    """

    terms: tuple[tuple[Weight, float], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return self.terms[0][0].shape

    @property
    def dims(self) -> Dims:
        """How the traced tensor arranges the first parameter."""
        return self.terms[0][0].dims


Value = Any  # Stream, Weight, Fixed, Data, a Lazy, a tuple of them, or plain data


def number(value: Value) -> float | None:
    """A fixed number, or a fixed tensor that is one number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, Fixed) and value.known and value.tensor.numel() == 1 and value.tensor.is_floating_point():
        return float(value.tensor)
    return None
