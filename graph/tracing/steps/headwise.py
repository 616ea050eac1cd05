"""Features side by side within every head: keys with and without positions, as latent attention joins them."""

from __future__ import annotations

from collections.abc import Sequence

from torch.fx import Node

from lawful.blocks import Concat, Split

from ..arrange import exact
from ..context import Context
from ..layout import COPIES, Atom, Dim, size
from ..values import Stream


def by_heads(low: Context, node: Node, streams: Sequence[Stream], dim: int) -> Stream | None:
    """Streams whose heads, or copies for every head, are joined along the features of a head; None for others.

    Args:
        low: the program.
        node: the call.
        streams: what is joined.
        dim: the dimension of the features of a head.
    """
    homes = {d for s in streams for d in s.feature_dims if d != dim}
    if len(homes) != 1 or not any(dim in s.feature_dims for s in streams):
        return None
    (home,) = homes
    if home > dim:
        return None
    heads = size(next(s.dims[home] for s in streams if home in s.feature_dims))
    if heads < 2 or not all(_headed(s, home, dim) for s in streams):
        return None
    rank = len(streams[0].dims)
    others = [i for i in range(rank) if i not in (home, dim)]
    parts: list[list[Stream]] = []
    for s in streams:
        shared = home not in s.feature_dims
        flat = s.arranged((*(s.dims[i] for i in others), s.dims[dim] if shared else s.feature_atoms))
        y = exact(low, node, flat.arranged((*flat.dims[:-1], _whole(flat))), len(others))
        width = y.signal.features if shared else y.signal.features // heads
        cuts = (width,) * heads
        own = low.emit(node, Split(cuts), [y], label="split", key=("split", y.port, cuts)) if not shared else ()
        parts.append(list(own) or [y] * heads)
    (y,) = low.emit(node, Concat(), [p[h] for h in range(heads) for p in parts], label="cat")
    inner = y.signal.features // heads
    dims = dict(zip(others, y.dims, strict=False))
    axis = y.feature_axis
    dims |= {home: (Atom(axis, heads, inner),), dim: (Atom(axis, inner),) if inner > 1 else ()}
    return y.arranged(tuple(dims[i] for i in range(rank)))


def _headed(s: Stream, home: int, dim: int) -> bool:
    """Whether the features lie by heads in two dimensions, or are those of every head, copied."""
    own, outer = s.dims[dim], s.dims[home]
    if outer and all(a.axis == COPIES for a in outer):
        return own == s.feature_atoms
    return all(a.axis == s.feature_axis for a in (*outer, *own)) and (*outer, *own) == s.feature_atoms


def _whole(s: Stream) -> Dim:
    """All features as one run."""
    n = s.signal.features
    return (Atom(s.feature_axis, n),) if n > 1 else ()
