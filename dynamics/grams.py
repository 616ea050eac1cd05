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
BLOCKS = 2**16  # the same for products of matrices

Sum = Sequence[tuple[float, Tensor]]  # of multiples of tensors


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
    terms: Sequence[tuple[float, Sequence[Sum]]], step: Mapping[int, float], matrix: int, own: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for all pairs of rows along one axis, symmetric; the squares are products of the norms of two rows.

    Args:
        terms: the coefficient of every term of a law, and the vectors as multiples of tensors, each of shape
            `(axes of the law..., summed, rest)`.
        step: the multiple of every vector in the step.
        matrix: the axis of the law whose rows are paired.
        own: also the products of the first vector with itself, and with the step.

    Returns:
        Three tensors of shape `(vectors, blocks * rows * rows)` in float64; zero for products of the first vector that
        are not asked for, and for those with a step that has nothing of it.
    """
    made: list[Tensor] = []
    lengths: list[Tensor] = []
    for coefficient, vectors in terms:
        blocks = [[(w, _blocks(r, matrix)) for w, r in vector] for vector in vectors]
        like = next(r for vector in blocks for _, r in vector)
        kind, (count, n) = _type([r for vector in blocks for _, r in vector]), like.shape[:2]
        if not made:
            made = [like.new_zeros(len(vectors), count, n, n, dtype=torch.float64) for _ in range(2)]
        norms = like.new_zeros(len(vectors), count, n, dtype=torch.float64)
        run = max(1, BLOCKS // max(1, like[:1].numel()))
        for cut in (slice(start, start + run) for start in range(0, count, run)):
            pieces = [_sum([(w, r[cut].flatten(2)) for w, r in vector], kind) for vector in blocks]
            moved = _sum([(w, piece) for i, w in step.items() if (piece := pieces[i]) is not None], kind)
            for i, piece in enumerate(pieces):
                if piece is None:
                    continue
                if (i or own) and pieces[0] is not None:
                    made[0][i, cut].add_(pieces[0] @ piece.mT, alpha=coefficient)
                if moved is not None and (i or (own and 0 in step)):
                    made[1][i, cut].add_(moved @ piece.mT, alpha=coefficient)
                norms[i, cut] = torch.linalg.vector_norm(piece, dim=-1)
        lengths.append(abs(coefficient) ** 0.5 * norms)
    every = torch.stack(lengths, -1)
    slopes, steps = (x + x.mT for x in made)
    return slopes.flatten(1), steps.flatten(1), (every @ every.mT).flatten(1)


def lines(vectors: Sequence[Sum], columns: bool) -> tuple[Tensor, Tensor]:
    """Sums of entries, and of their absolute values, along every row or every column of a matrix.

    Args:
        vectors: as multiples of tensors, each a matrix.
        columns: a sum for every column.

    Returns:
        Two tensors of shape `(vectors, rows or columns)` in float64.
    """
    like = next(r for vector in vectors for _, r in vector)
    kind, (n, m) = _type([r for vector in vectors for _, r in vector]), like.shape
    plain, absolute = (like.new_zeros(len(vectors), m if columns else n, dtype=torch.float64) for _ in range(2))
    for cut in _cuts(like, 0):
        for i, vector in enumerate(vectors):
            piece = _sum([(w, r[cut]) for w, r in vector], kind)
            if piece is None:
                continue
            for out, x in ((plain, piece), (absolute, piece.abs())):
                if columns:
                    out[i] += x.sum(0)
                else:
                    out[i, cut] = x.sum(1)
    return plain, absolute


def _blocks(rows: Tensor, matrix: int) -> Tensor:
    """Rows along one axis, by the other axes: shape `(block, row, summed, rest)`."""
    moved = rows.movedim(matrix, -3)
    return moved.reshape(-1, *moved.shape[-3:])


def _sum(parts: Sum, kind: torch.dtype) -> Tensor | None:
    """A sum of multiples, None for none; a tensor itself where it is that."""
    out = None
    for i, (weight, x) in enumerate(parts):
        piece = x.to(kind)
        if out is None:
            out = piece if weight == 1 else weight * piece
        else:
            out = out.add(piece, alpha=weight) if i == 1 else out.add_(piece, alpha=weight)
    return out


def _type(rows: Sequence[Tensor]) -> torch.dtype:
    """The type that products are made in."""
    large = rows[0].numel() > LARGE and all(r.dtype != torch.float64 for r in rows)
    return torch.float32 if large else torch.float64


def _cuts(x: Tensor, axis: int) -> Iterator[slice]:
    """Runs along an axis, each with about so many entries as a piece has."""
    length = x.shape[axis]
    run = max(1, PIECE * length // max(x.numel(), 1))
    return (slice(i, min(i + run, length)) for i in range(0, length, run))
