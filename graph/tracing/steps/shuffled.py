"""Features of every head in another order, as long as nothing sees which: scores of attention do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch.fx import Node

from ..arrange import reordered
from ..context import Context
from ..layout import Dims
from ..values import Lazy, NotUnderstood, Stream, Value


@dataclass(frozen=True, kw_only=True)
class Shuffled(Lazy):
    """A stream the features of whose heads the traced tensor has in another order.

    Attributes:
        stream: the stream, arranged as the traced tensor but for that order.
        order: for every feature of the traced tensor's heads its number in a head of the stream.
        dim: the dimension of these features.
    """

    stream: Stream
    order: tuple[int, ...]
    dim: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return self.stream.shape

    @property
    def dims(self) -> Dims:
        """How the traced tensor arranges the port, but for the order."""
        return self.stream.dims

    def arranged(self, dims: Dims) -> Shuffled:
        """The same in another arrangement of the heads and positions.

        Raises:
            NotUnderstood: if the features of a head are cut, or joined with anything.
        """
        at = [i for i, d in enumerate(dims) if d == self.dims[self.dim]]
        if len(at) != 1:
            raise NotUnderstood("features in another order are taken apart")
        return replace(self, stream=self.stream.arranged(dims), dim=at[0])


# what only moves heads and positions, or looks at the order by itself
BLIND = frozenset(
    "transpose permute expand contiguous clone alias to _to_copy type_as cat concat slice_scatter matmul bmm baddbmm "
    "scaled_dot_product_attention view reshape _unsafe_view unsqueeze squeeze movedim swapaxes".split()
)


def straightened(low: Context, node: Node, value: Shuffled) -> Stream:
    """The stream with its features in the order of the traced tensor.

    Raises:
        NotUnderstood: if they are not the inner features of every head.
    """
    s, width = value.stream, len(value.order)
    own, every = s.dims[value.dim], s.feature_atoms
    if not own or own != every[-len(own) :]:
        raise NotUnderstood("features in another order are those of no head")
    order = [h * width + i for h in range(s.signal.features // width) for i in value.order]
    return reordered(low, node, s, order).arranged(s.dims)


def seen(low: Context, node: Node, name: str, value: Value) -> Value:
    """An argument of a call, in the order of the traced tensor where the call would see another one."""
    return straightened(low, node, value) if isinstance(value, Shuffled) and name not in BLIND else value


def matched(low: Context, node: Node, q: Value, k: Value) -> tuple[Value, Value]:
    """Queries and transposed keys: as they are in their ports where both have the same other order."""
    alike = isinstance(q, Shuffled) and isinstance(k, Shuffled) and q.order == k.order
    if alike and q.dim == len(q.dims) - 1 and k.dim == len(k.dims) - 2:
        return q.stream, k.stream
    return tuple(straightened(low, node, v) if isinstance(v, Shuffled) else v for v in (q, k))  # type: ignore[return-value]


def side_by_side(low: Context, node: Node, parts: Sequence[Value], dim: int, cat: Callable[..., Value]) -> Value | None:
    """A concatenation of which some parts have their features in another order; None if none has.

    Args:
        low: the program.
        node: the call.
        parts: what is put side by side.
        dim: the dimension along which.
        cat: puts streams side by side.
    """
    found = [v for v in parts if isinstance(v, Shuffled)]
    if not found:
        return None
    if any(v.dim != dim for v in found):
        return cat(low, node, [straightened(low, node, v) if isinstance(v, Shuffled) else v for v in parts], dim)
    order: list[int] = []
    for v in parts:
        own = v.order if isinstance(v, Shuffled) else range(int(v.shape[dim]))
        order += [len(order) + i for i in own]
    whole = cat(low, node, [v.stream if isinstance(v, Shuffled) else v for v in parts], dim)
    if not isinstance(whole, Stream):
        raise NotUnderstood("features in another order beside something that is no stream")
    return Shuffled(stream=whole, order=tuple(order), dim=dim)
