"""What operations of torch do to entries, as far as every reading of a network as numbers has to know it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# what only moves the entries of one value, repeats them or replaces them by zeros
MOVES = frozenset(
    "view _unsafe_view reshape permute transpose t expand unsqueeze squeeze slice select flip roll index_select index "
    "gather unfold im2col repeat alias clone detach _to_copy diagonal split split_with_sizes chunk unbind narrow tril "
    "triu diag_embed upsample_nearest1d upsample_nearest2d pixel_shuffle pixel_unshuffle reflection_pad1d "
    "reflection_pad2d replication_pad1d replication_pad2d as_strided lift_fresh lift_fresh_copy constant_pad_nd "
    "channel_shuffle movedim".split()
)
# other linear maps with fixed coefficients, which are measured on a basis
MAPS = frozenset("avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d cumsum".split())
# what gives numbers that do not depend on the value, only on its shape
FRESH = frozenset(
    "zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty empty_permuted".split()
)


def window_counts(
    space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """How many windows of a convolution fit into an image, along every axis."""
    return [(m - d * (k - 1) - 1) // s + 1 for m, k, s, d in zip(space, kernel, stride, dilation, strict=True)]


def window_places(
    space: Sequence[int],
    counts: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """The flat place in an image of every tap of every window, -1 outside: shape `(taps, windows)`."""
    axes = [
        np.arange(k)[:, None] * d + np.arange(r)[None] * s - q
        for k, r, d, s, q in zip(kernel, counts, dilation, stride, padding, strict=True)
    ]
    taps, windows = np.indices(kernel).reshape(len(axes), -1, 1), np.indices(counts).reshape(len(axes), 1, -1)
    at = [axis[t, w] for axis, t, w in zip(axes, taps, windows, strict=True)]
    inside = np.all([(a >= 0) & (a < m) for a, m in zip(at, space, strict=True)], axis=0)
    flat = np.zeros_like(at[0])
    for a, m in zip(at, space, strict=True):
        flat = flat * m + a
    return np.where(inside, flat, -1)
