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
BLOCKS = 2**19  # the same for products of matrices, which read every number many times


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


def full(
    rows: Sequence[Tensor], step: Mapping[int, float], matrix: int, own: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for all pairs of rows along one axis, symmetric; the squares are products of the norms of two rows.

    Args:
        rows: the vectors, each of shape `(axes of the law..., summed, rest)`.
        step: the multiple of every vector in the step.
        matrix: the axis of the law whose rows are paired.
        own: also the products of the first vector with itself.

    Returns:
        Three tensors of shape `(vectors, blocks * rows * rows)` in float64; zero for the products of the first vector
        with itself if these are not asked for, and with a step that has nothing of it.
    """
    kind, k = _type(rows), len(rows)
    blocks = [r.movedim(matrix, -3) for r in rows]
    blocks = [b.reshape(-1, *b.shape[-3:]) for b in blocks]  # block, row, summed, rest
    n, length = blocks[0].shape[1], max(1, blocks[0][:1].numel())
    run = max(1, BLOCKS // length)
    found = blocks[0].new_zeros(3, k, blocks[0].shape[0], n, n, dtype=torch.float64)
    for start in range(0, blocks[0].shape[0], run):
        cut = slice(start, start + run)
        pieces = [b[cut].flatten(2).to(kind) for b in blocks]  # a view, also where rows lie side by side in memory
        moved = None
        for w, piece in ((w, pieces[i]) for i, w in step.items() if w):
            moved = w * piece if moved is None else moved.add_(piece, alpha=w)
        for i, piece in enumerate(pieces):
            if i or own:
                found[0, i, cut] = pieces[0] @ piece.mT
            if moved is not None and (i or 0 in step):
                found[1, i, cut] = moved @ piece.mT
            norms = piece.square().sum(-1).sqrt().double()
            found[2, i, cut] = norms[..., :, None] * norms[..., None, :]
    found[:2] += found[:2].mT.clone()
    one, two, three = found.flatten(2)
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
