"""Maps by parameters that are made of others: vectors end to end, standard kernels, directions with lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch.fx import Node

from lawful.blocks import AddNumbers, Affine, Concat, Linear, Numbers, Scale, StandardConv, UnitLinear

from ..arrange import focus
from ..context import Context
from ..layout import Atom, Dim, Dims, size
from ..sources import arranged_name
from ..values import Fixed, Lazy, NotUnderstood, Stream, Value, Weight
from .formed import Unit
from .parameters import bias_name, matrix_name, piece_of

Window = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # stride, padding, dilation


@dataclass(frozen=True, kw_only=True)
class Joined(Lazy):
    """Vectors of parameters and of fixed numbers, one after the other.

    Attributes:
        parts: the vectors.
    """

    parts: tuple[Weight | Fixed, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return (sum(p.shape[0] for p in self.parts),)


@dataclass(frozen=True, kw_only=True)
class Standard(Lazy):
    """Kernels that batch normalisation made standard: rows of mean 0 and variance 1.

    Attributes:
        weight: the kernels, as the traced tensor arranges them.
        epsilon: what is added to the variance.
        gain: a gain for every filter, or None.
        factor: what the gain is multiplied by.
    """

    weight: Weight
    epsilon: float
    gain: Weight | None
    factor: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return self.weight.shape

    @property
    def dims(self) -> Dims:
        """How the traced tensor arranges the kernels."""
        return self.weight.dims

    def arranged(self, dims: Dims) -> Standard:
        """The same kernels in another arrangement."""
        return replace(self, weight=self.weight.arranged(dims))


def standardised(low: Context, node: Node, w: Weight, gain: Node | None, epsilon: float) -> Standard:
    """What batch normalisation of a parameter gives, whose channels are the filters.

    Raises:
        NotUnderstood: for another arrangement, or gains that are computed in another way than by a fixed factor.
    """
    first = [a for a in w.dims[1]]
    if w.dims[0] or len(first) != 1 or first[0].axis != 0 or first[0].size != w.full[0]:
        raise NotUnderstood("batch normalisation of a parameter along something that is no filter")
    factor, value = 1.0, low.env.get(gain) if gain is not None else None
    while isinstance(gain, Node) and not isinstance(value, Weight):
        name = str(gain.target)
        if name.startswith(("aten.view", "aten.reshape", "aten.flatten", "aten.squeeze")):
            gain = gain.args[0]  # type: ignore[assignment]
        elif name.startswith("aten.mul") and isinstance(gain.args[1], (int, float)):
            factor *= gain.args[1]
            gain = gain.args[0]  # type: ignore[assignment]
        else:
            raise NotUnderstood("a gain of kernels that is computed")
        value = low.env.get(gain)
    if value is not None and (not isinstance(value, Weight) or math.prod(value.full) != w.full[0]):
        raise NotUnderstood("a gain of kernels that is computed")
    return Standard(weight=w, epsilon=epsilon, gain=value, factor=factor)


def standard_conv(low: Context, node: Node, s: Stream, w: Standard, bias: Value, window: Window, groups: int) -> Stream:
    """A convolution by standardised kernels, with gain and bias behind it."""
    shape = w.shape
    names = {"weight": arranged_name(w.weight, [a for d in w.weight.dims for a in d])}
    block = StandardConv(shape[1] * groups, shape[0], shape[2:], *window, groups, w.epsilon)
    (y,) = low.emit(node, block, [s], names, label="standard")
    if w.factor != 1:
        (y,) = low.emit(node, Scale(w.factor), [y], label="scale")
    own = {} if w.gain is None else {"weight": w.gain.name}
    own |= bias_name(bias, shape[0])
    if own:
        (y,) = low.emit(node, Affine(shape[0], "weight" in own, "bias" in own), [y], own, label="affine")
    return y


def joined_vectors(parts: Sequence[Value]) -> Joined | None:
    """What a concatenation of vectors gives, if nothing in it depends on data."""
    if all(isinstance(p, (Weight, Fixed)) and len(p.shape) == 1 for p in parts):
        return Joined(parts=tuple(parts))
    return None


def dense_in_parts(low: Context, node: Node, s: Stream, weight: Weight, bias: Joined, out: int, inn: int) -> Stream:
    """A linear map whose bias is made of several vectors: a map for each of them, side by side.

    Args:
        low: the program.
        node: the call.
        s: what it reads, with the features last.
        weight: the parameter.
        bias: the bias.
        out: the dimension of the weight that runs over outputs.
        inn: the dimension of the weight that runs over inputs.

    Raises:
        NotUnderstood: for fixed numbers that are not known and are not all zero.
    """
    start, streams = 0, []
    features = size(weight.dims[inn])
    for part in bias.parts:
        width = part.shape[0]
        own = piece_of(weight, out, start, start + width)
        name, transposed = matrix_name(own, own.dims[out], own.dims[inn])
        names = {"weight": name} | (bias_name(part, width) if isinstance(part, Weight) else {})
        block = Linear(features, width, "bias" in names, transposed=transposed)
        (y,) = low.emit(node, block, [s], names, label="part")
        if isinstance(part, Fixed):
            if not part.known and width:
                raise NotUnderstood("fixed numbers of a bias are not known on the meta device")
            if bool(part.tensor.any()):
                (y,) = low.emit(node, AddNumbers(Numbers(part.tensor)), [y], label="add")
        streams.append(y)
        start += width
    (y,) = low.emit(node, Concat(), streams, label="cat")
    last: Dim = (Atom(y.feature_axis, y.signal.features),)
    return y.arranged((*s.dims[:-1], last))


@dataclass(frozen=True, kw_only=True)
class Directed(Lazy):
    """A weight whose rows have given lengths: `g v / ||v||`.

    Attributes:
        v: the directions.
        g: the lengths, one for every row.
    """

    v: Weight
    g: Weight

    @property
    def dims(self) -> Dims:
        """How the traced tensor arranges the weight."""
        return self.v.dims

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return self.v.shape


def directed_map(low: Context, node: Node, x: Value, weight: Directed, bias: Value) -> Stream:
    """A linear map by a weight-normalised matrix."""
    width, features = weight.shape
    s = focus(low, node, low.stream(x, node, channels_first=False), -1)
    name = arranged_name(weight.v, [a for d in weight.v.dims for a in d])
    (y,) = low.emit(node, UnitLinear(features, width), [s], {"weight": name}, label="direction")
    names = {"weight": arranged_name(weight.g, [a for d in weight.g.dims for a in d])} | bias_name(bias, width)
    (z,) = low.emit(node, Affine(width, True, "bias" in names), [y], names)
    return z.arranged((*s.dims[:-1], (Atom(z.feature_axis, width),) if width > 1 else ()))


def directed_conv(
    low: Context, node: Node, s: Stream, w: Directed | Unit, bias: Value, window: Window, groups: int
) -> Stream:
    """A convolution by weight-normalised filters, with their lengths and a bias behind it."""
    shape = w.shape
    block = StandardConv(shape[1] * groups, shape[0], shape[2:], *window, groups, centred=False)
    name = arranged_name(w.v, [a for d in w.v.dims for a in d])
    (y,) = low.emit(node, block, [s], {"weight": name}, label="direction")
    lengths = {"weight": arranged_name(w.g, [a for d in w.g.dims for a in d])} if isinstance(w, Directed) else {}
    names = lengths | bias_name(bias, shape[0])
    if not names:
        return y
    (z,) = low.emit(node, Affine(shape[0], "weight" in names, "bias" in names), [y], names)
    return z


def unit_map(low: Context, node: Node, x: Value, weight: Unit) -> Stream:
    """A linear map by a matrix whose rows have length 1."""
    width, features = weight.shape
    s = focus(low, node, low.stream(x, node, channels_first=False), -1)
    name = arranged_name(weight.v, [a for d in weight.v.dims for a in d])
    (y,) = low.emit(node, UnitLinear(features, width), [s], {"weight": name}, label="direction")
    return y.arranged((*s.dims[:-1], (Atom(y.feature_axis, width),) if width > 1 else ()))
