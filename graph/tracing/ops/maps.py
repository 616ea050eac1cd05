"""Linear maps, convolutions and lookups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import (
    Block,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Embedding,
    Linear,
    Signal,
    UnevenConv,
)

from ..arrange import exact, focus
from ..layout import COPIES, Atom, Dim, size, view
from ..lowering import Lowering, handles
from ..sources import arranged_name
from ..values import Combined, Data, Fixed, Lazy, NotUnderstood, Rows, Stream, Value, Weight
from .combined import distributed
from .parts import Joined, Standard, dense_in_parts, standard_conv
from .views import piece_of


@handles("linear")
def linear(low: Lowering, node: Node, x: Value, weight: Value, bias: Value = None) -> Value:
    """`x W^T + b`."""
    return dense(low, node, x, weight, bias, out=0, inn=1)


def dense(low: Lowering, node: Node, x: Value, weight: Value, bias: Value, out: int, inn: int) -> Stream:
    """A linear map of the last dimension by a parameter.

    Args:
        low: the program.
        node: the call.
        x: what it reads.
        weight: the parameter.
        bias: a parameter or None.
        out: the dimension of the weight that runs over outputs.
        inn: the dimension of the weight that runs over inputs.

    Raises:
        NotUnderstood: for weights that are no plain parameter, and maps of positions.
    """
    from .applied import apply
    from .composed import Directed, Unit, directed_map, unit_map
    from .formed import Formed, is_repeated

    if isinstance(weight, Combined):
        y = distributed(low, node, weight, lambda w: dense(low, node, x, w, None, out, inn))
        return y if bias is None else _added(low, node, y, bias)
    if isinstance(weight, Directed) and (out, inn) == (0, 1):
        return directed_map(low, node, x, weight, bias)
    if isinstance(weight, Unit) and (out, inn) == (0, 1):
        return _biased(low, node, unit_map(low, node, x, weight), bias)
    if (isinstance(weight, Formed) or is_repeated(weight)) and len(weight.shape) == 2:
        s = focus(low, node, low.stream(x, node, channels_first=False), -1)

        def leaf(z: Stream, w: Weight, turned: bool) -> Stream:
            return dense(low, node, z, w, None, int(turned), int(not turned))

        return _biased(low, node, apply(low, node, s, weight, leaf, len(s.dims) - 1, turned=out == 1), bias)
    if not isinstance(weight, Weight) or len(weight.dims) != 2:
        raise NotUnderstood("a linear map whose weight is computed")
    name, transposed = matrix_name(weight, weight.dims[out], weight.dims[inn])
    width, features = size(weight.dims[out]), size(weight.dims[inn])
    s = focus(low, node, low.stream(x, node, channels_first=False), -1)
    if isinstance(bias, Joined):
        return dense_in_parts(low, node, s, weight, bias, out, inn)
    plain = bias is None or (isinstance(bias, Weight) and not repeats(bias))
    names = {"weight": name} | (bias_name(bias, width) if plain else {})
    block = Linear(features, width, "bias" in names, transposed=transposed)
    (y,) = low.emit(node, block, [s], names)
    y = y.arranged((*s.dims[:-1], (Atom(y.feature_axis, width),) if width > 1 else ()))
    if plain:
        return y
    return _added(low, node, y, bias)


def _biased(low: Lowering, node: Node, y: Stream, bias: Value) -> Stream:
    return y if bias is None else _added(low, node, y, bias)


def _added(low: Lowering, node: Node, y: Value, bias: Value) -> Stream:
    from .joins import add

    total = add(low, node, y, bias)
    assert isinstance(total, Stream)
    return total


def repeats(weight: Weight) -> bool:
    """Whether a tensor is a parameter that was expanded: one number stands for several."""
    return any(a.axis == COPIES for d in weight.dims for a in d)


def matrix_name(weight: Weight, out: Dim, inn: Dim) -> tuple[str, bool]:
    """The name of a weight, and whether it is stored with its inputs first."""
    first = [a for a in (*out, *inn)]
    memory = sorted(first, key=lambda a: (a.axis, -a.stride))
    if first != memory and [*inn, *out] == memory and not any(a.axis == COPIES for a in first):
        return weight.name, True
    return arranged_name(weight, first), False


def bias_name(bias: Value, width: int) -> dict[str, str]:
    """The bias of a map, if it is a parameter.

    Raises:
        NotUnderstood: for one that is computed.
    """
    if bias is None:
        return {}
    if not isinstance(bias, Weight) or repeats(bias) or bias.shape[-1] != width or size(bias.dims[-1]) != width:
        raise NotUnderstood("a bias that is computed")
    atoms = [a for d in bias.dims for a in d]
    if len({a.axis for a in atoms}) > 1:
        raise NotUnderstood("a bias that is a whole matrix")
    return {"bias": arranged_name(bias, atoms)}


@handles("addmm")
def addmm(low: Lowering, node: Node, bias: Value, x: Value, weight: Value) -> Value:
    """`b + x W`."""
    return dense(low, node, x, weight, bias, out=1, inn=0)


_CONVS: dict[tuple[int, bool], type[Block]] = {
    (1, False): Conv1d,
    (2, False): Conv2d,
    (3, False): Conv3d,
    (1, True): ConvTranspose1d,
    (2, True): ConvTranspose2d,
    (3, True): ConvTranspose3d,
}


@handles("conv1d", "conv2d", "conv3d")
def conv(
    low: Lowering,
    node: Node,
    x: Value,
    weight: Value,
    bias: Value = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Value:
    """A convolution."""
    return _conv(low, node, x, weight, bias, stride, padding, 0, groups, dilation, False)


@handles("convolution")
def convolution(
    low: Lowering,
    node: Node,
    x: Value,
    weight: Value,
    bias: Value,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    extra: Any,
    groups: int,
) -> Value:
    """Any convolution."""
    return _conv(low, node, x, weight, bias, stride, padding, extra, groups, dilation, transposed)


@handles("conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input")
def conv_transpose(
    low: Lowering,
    node: Node,
    x: Value,
    weight: Value,
    bias: Value = None,
    stride: Any = 1,
    padding: Any = 0,
    extra: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Value:
    """The transpose of a convolution."""
    return _conv(low, node, x, weight, bias, stride, padding, extra, groups, dilation, True)


def _conv(
    low: Lowering,
    node: Node,
    x: Value,
    weight: Value,
    bias: Value,
    stride: Any,
    padding: Any,
    extra: Any,
    groups: int,
    dilation: Any,
    transposed: bool,
) -> Stream:
    from .formed import Formed, is_repeated

    apart = isinstance(bias, (Combined, Lazy)) or (isinstance(bias, Weight) and repeats(bias))
    if isinstance(weight, Combined) or apart:
        kept = bias if not apart and not isinstance(weight, Combined) else None
        geometry = (stride, padding, extra, groups, dilation, transposed)
        parts = weight if isinstance(weight, Combined) else Combined(terms=((weight, 1.0),))
        y = distributed(low, node, parts, lambda w: _conv(low, node, x, w, kept, *geometry))
        if bias is None or kept is not None:
            return y
        from .views import unsqueezed

        return _added(low, node, y, unsqueezed(low, node, bias, len(weight.shape) - 2))
    if isinstance(weight, Formed) or is_repeated(weight):
        return _formed_conv(low, node, x, weight, bias, (stride, padding, extra, groups, dilation, transposed))
    copied = isinstance(weight, Weight) and repeats(weight)
    if not isinstance(weight, (Weight, Standard)) or copied or (isinstance(weight, Standard) and transposed):
        raise NotUnderstood("a convolution whose kernel is computed")
    shape = weight.shape
    rank = len(shape) - 2
    channels = shape[0] if transposed else shape[1] * groups
    width = shape[1] * groups if transposed else shape[0]
    step, hole = per_axis(stride, rank), per_axis(dilation, rank)
    kernel = shape[2:]
    before = x
    if isinstance(padding, str):
        around, padding = _named_padding(padding, kernel, hole)
        if around is not None:
            from .positions import padded

            before = padded(low, node, low.stream(x, node, channels_first=True), around)
    border, more = per_axis(padding, rank), per_axis(extra, rank)
    s = exact(low, node, low.stream(before, node, channels_first=True), 1, first=True)
    if isinstance(weight, Standard):
        return standard_conv(low, node, s, weight, bias, (step, border, hole), groups)
    name = arranged_name(weight, [a for d in weight.dims for a in d])
    names = {"weight": name} | bias_name(bias, width)
    even = all(len(set(t)) == 1 for t in (kernel, step, hole, border, more))
    block: Block
    if even:
        options: dict[str, Any] = {"output_padding": more[0]} if transposed and more[0] else {}
        block = _CONVS[rank, transposed](  # type: ignore[call-arg]
            channels, width, kernel[0], step[0], border[0], groups, "bias" in names, hole[0], **options
        )
    else:
        block = UnevenConv(
            channels, width, kernel, step, border, hole, groups, "bias" in names, transposed, more if transposed else ()
        )
    return low.emit(node, block, [s], names)[0]


def _formed_conv(low: Lowering, node: Node, x: Value, weight: Value, bias: Value, geometry: tuple[Any, ...]) -> Stream:
    """A convolution whose kernels are made of parameters by moves of their channels."""
    from .applied import apply

    groups, transposed = geometry[3], geometry[5]
    if groups != 1 or transposed:
        raise NotUnderstood("a grouped convolution whose kernel is computed")

    def leaf(z: Stream, w: Weight, turned: bool) -> Stream:
        if turned:
            raise NotUnderstood("a convolution by turned kernels")
        return _conv(low, node, z, w, None, *geometry)

    y = apply(low, node, low.stream(x, node, channels_first=True), weight, leaf, 1)
    if bias is None:
        return y
    from .views import unsqueezed

    return _added(low, node, y, unsqueezed(low, node, bias, len(weight.shape) - 2))


def per_axis(value: Any, rank: int) -> tuple[int, ...]:
    """An option of a window for every axis."""
    if isinstance(value, int):
        return (value,) * rank
    found = tuple(int(n) for n in value)
    return found * rank if len(found) == 1 else found


def _named_padding(
    name: str, kernel: Sequence[int], hole: Sequence[int]
) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Padding `same` or `valid`: zeros that are put around first where the two sides differ, and the even rest."""
    if name == "valid":
        return None, (0,) * len(kernel)
    total = [d * (k - 1) for k, d in zip(kernel, hole, strict=True)]
    if all(n % 2 == 0 for n in total):
        return None, tuple(n // 2 for n in total)
    around = [m for n in reversed(total) for m in (n // 2, n - n // 2)]
    return tuple(around), (0,) * len(kernel)


@handles("embedding")
def embedding(low: Lowering, node: Node, weight: Value, tokens: Value, padding: int = -1, *rest: Any) -> Value:
    """Rows of a table by integers of the data, or by fixed ones."""
    from .formed import is_weight

    if is_weight(weight) and not isinstance(weight, Weight) and isinstance(tokens, Data) and len(weight.shape) == 2:
        return _formed_lookup(low, node, weight, tokens, padding)
    if not isinstance(weight, Weight):
        raise NotUnderstood("a lookup in a table that is computed")
    if isinstance(tokens, Fixed):
        return picked(weight, tokens.tensor)
    if not isinstance(tokens, Data):
        raise NotUnderstood("a lookup by integers that are computed")
    if tokens.moved and tokens.base is not None:
        y = embedding(low, node, weight, Data(tokens.base), padding)
        return y.arranged((*tokens.dims, y.dims[-1]))
    shape = tokens.shape
    if not shape or shape[0] != low.batch:
        raise NotUnderstood("a lookup by integers without a batch axis")
    signal = Signal(weight.shape[0], shape[1:], tokens=True)
    s = low.add_input(tokens.node, signal, "tokens")
    name = arranged_name(weight, [a for d in weight.dims for a in d])
    still = padding if padding is not None and padding >= 0 else -1
    block = Embedding(weight.shape[0], weight.shape[1], padding_index=still, padding_zero=False)
    (y,) = low.emit(node, block, [s], {"weight": name})
    return y


def _formed_lookup(low: Lowering, node: Node, weight: Value, tokens: Data, padding: int) -> Stream:
    """Rows of a table that is made of parameters by moves of its columns."""
    from .applied import apply

    rows = Signal(weight.shape[0], tokens.shape[1:], tokens=True)
    words = low.add_input(tokens.node, rows, "tokens")

    def leaf(z: Stream, w: Weight, turned: bool) -> Stream:
        if z is not words:
            return dense(low, node, z, w, None, int(turned), int(not turned))
        if not turned or w.shape[0] != weight.shape[0]:
            raise NotUnderstood("a lookup in a table whose rows are moved")
        out = embedding(low, node, w, tokens, padding)
        assert isinstance(out, Stream)
        return out

    if tokens.moved or (padding is not None and padding >= 0):
        raise NotUnderstood("a lookup in a table that is computed")
    return apply(low, node, words, weight, leaf, len(tokens.shape), turned=True)


def picked(weight: Weight, index: torch.Tensor) -> Weight | Rows:
    """Rows of a table by fixed integers."""
    if index.device.type == "meta":
        raise NotUnderstood("the rows that are picked are not known on the meta device")
    copies = 0
    if index.ndim > 1 and bool((index == index[:1]).all()):  # the same for every example
        copies, index = int(index.shape[0]), index[:1]
    found = _rows(weight, index)
    return found.arranged(((Atom(COPIES, copies),) if copies > 1 else (), *found.dims[1:])) if copies else found


def _rows(weight: Weight, index: torch.Tensor) -> Weight | Rows:
    flat = index.reshape(-1).tolist()
    n, width = weight.shape
    least, most = min(flat), max(flat)
    if (least, most) != (0, n - 1) and flat != list(range(least, most + 1)):
        weight, index = piece_of(weight, 0, least, most + 1), index - least
        if least == most:  # one row for all
            copies = [(Atom(COPIES, k),) if k > 1 else () for k in index.shape]
            return weight.arranged((*copies, weight.dims[-1]))
        return _rows(weight, index)
    shape = tuple(index.shape)
    if flat and flat == list(range(flat[0], flat[0] + len(flat))):
        part = weight if len(flat) == n else piece_of(weight, 0, flat[0], flat[0] + len(flat))
        return part.arranged(view(part.dims, (*shape, width)))
    steps: list[Dim] = []
    step = len(flat)
    for k in shape:
        step //= max(k, 1)
        steps.append((Atom(0, k, step),) if k > 1 else ())
    return Rows(weight=weight, index=index, dims=(*steps, (Atom(1, width),) if width > 1 else ()))


@handles("index.Tensor")
def index(low: Lowering, node: Node, x: Value, indices: Sequence[Any]) -> Value:
    """Rows of a table by fixed integers (relative positions), or positions by fixed integers."""
    found = [(i, v) for i, v in enumerate(indices) if v is not None]
    if len(found) != 1 or not isinstance(found[0][1], Fixed):
        raise NotUnderstood("entries are picked by integers that depend on data")
    at, fixed = found[0][0], found[0][1].tensor
    if fixed.dtype == torch.bool:
        raise NotUnderstood("entries are picked by a mask")
    if isinstance(x, Weight) and at == 0 and len(x.dims) == 2:
        return picked(x, fixed)
    if isinstance(x, Weight) and len(x.dims) == 2:
        rows = picked(x.arranged((x.dims[1], x.dims[0])), fixed)
        return rows.arranged((rows.dims[-1], *rows.dims[:-1]))
    if isinstance(x, Stream) and fixed.ndim == 1:
        from .positions import pick
        from .views import piece

        n = x.shape[at]
        if fixed.numel() == 1 and fixed.device.type != "meta":
            return piece(low, node, x, at, [1] * n, int(fixed) % n, gone=False)
        return pick(low, node, x, at, fixed % n)
    raise NotUnderstood("entries are picked by integers")


@handles("index_select")
def index_select(low: Lowering, node: Node, x: Value, dim: int, indices: Value) -> Value:
    """Entries of a dimension by fixed integers."""
    return index(low, node, x, [*[None] * (dim % len(x.shape)), indices])
