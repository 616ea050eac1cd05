"""Products of the rows of some vectors with each other and with a step, without a copy of what is large.

A tensor is read in pieces that stay in a processor's cache: a pass over the weights then costs what reading them does.
Sums over pieces are in float64; a piece of a large tensor in float32 or less is multiplied in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

LARGE = 2**16  # entries of a tensor in float32 or less that is not read in float64: that would cost more than training
PIECE = 2**17  # entries of a piece


def diagonal(rows: Sequence[Tensor], step: Mapping[int, float]) -> tuple[Tensor, Tensor, Tensor]:
    """Row by row: twice the products with the first vector, twice those with the step, and the squares.

    Args:
        rows: the vectors, each of shape `(axes of the law..., summed, rest)`.
        step: the multiple of every vector in the step.

    Returns:
        Three tensors of shape `(vectors, rows)` in float64.
    """
    kind = _type(rows)
    flat = [r.flatten(0, -3) if r.ndim > 3 else r.reshape(-1, *r.shape[-2:]) for r in rows]
    if flat[0].shape[0] == 1:
        flat = [r.reshape(1, -1, 1) for r in flat]
    k, n = len(flat), flat[0].shape[0]
    gram = flat[0].new_zeros(k, k, n, dtype=torch.float64)
    outer = max((0, 1, 2), key=lambda a: flat[0].stride(a) if flat[0].shape[a] > 1 else 0)  # neighbours stay together
    for cut in _cuts(flat[0], outer):
        if outer == 0:
            x = torch.stack([r[cut].flatten(1).to(kind) for r in flat], 1)  # row, vector, column
            gram[:, :, cut] = (x @ x.mT).permute(1, 2, 0).double()
            continue
        pieces = [(r[:, cut] if outer == 1 else r[:, :, cut]).to(kind) for r in flat]
        for i in range(k):
            for j in range(i + 1):
                gram[i, j] += (pieces[i] * pieces[j]).sum((1, 2))
    if outer:
        for i in range(k):
            for j in range(i):
                gram[j, i] = gram[i, j]
    moved = sum((w * gram[:, i] for i, w in step.items()), torch.zeros_like(gram[0]))
    return 2 * gram[0], 2 * moved, gram.diagonal().T


def full(rows: Sequence[Tensor], step: Mapping[int, float], matrix: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same for all pairs of rows along one axis, symmetric; the squares are products of the norms of two rows.

    Args:
        rows: the vectors, each of shape `(axes of the law..., summed, rest)`.
        step: the multiple of every vector in the step.
        matrix: the axis of the law whose rows are paired.

    Returns:
        Three tensors of shape `(vectors, blocks * rows * rows)` in float64.
    """
    kind, k = _type(rows), len(rows)
    blocks = [r.movedim(matrix, -3) for r in rows]
    blocks = [b.reshape(-1, *b.shape[-3:]) for b in blocks]  # block, row, summed, rest
    n = blocks[0].shape[1]
    slopes, steps, sizes = [], [], []
    across = n > 1 and blocks[0].stride(1) < max(
        blocks[0].stride()[2:]
    )  # rows lie side by side in memory: read as columns
    for cut in _cuts(blocks[0], 0):
        if across:
            pieces = [b[cut].movedim(1, -1).flatten(1, 2).to(kind) for b in blocks]
            right = torch.cat(pieces, 2).mT  # block, vector and row, column
        else:
            right = torch.cat([b[cut].flatten(2).to(kind) for b in blocks], 1)
        left = right[:, :n]
        if any(step.values()):
            moved = sum((w * right[:, i * n : (i + 1) * n] for i, w in step.items() if w), torch.zeros_like(left))
            left = torch.cat([left.mT, moved.mT], 2).mT if across else torch.cat([left, moved], 1)
        gram = (left @ right.mT).unflatten(1, (-1, n)).unflatten(3, (k, n)).double()
        gram = gram.permute(1, 3, 0, 2, 4)  # first or step, vector, block, row, row
        gram = gram + gram.mT
        slopes.append(gram[0])
        steps.append(gram[1] if gram.shape[0] > 1 else torch.zeros_like(gram[0]))
        norms = torch.linalg.vector_norm(right, dim=-1).double().unflatten(1, (k, n)).movedim(1, 0)
        sizes.append(norms[..., :, None] * norms[..., None, :])
    one, two, three = (torch.cat(x, 1).reshape(k, -1) for x in (slopes, steps, sizes))
    return one, two, three


def _type(rows: Sequence[Tensor]) -> torch.dtype:
    """The type that products are made in."""
    large = rows[0].numel() > LARGE and all(r.dtype != torch.float64 for r in rows)
    return torch.float32 if large else torch.float64


def _cuts(x: Tensor, axis: int) -> Iterator[slice]:
    """Runs along an axis, each with about so many entries as a piece has."""
    length = x.shape[axis]
    run = max(1, PIECE * length // max(x.numel(), 1))
    return (slice(i, min(i + run, length)) for i in range(0, length, run))
