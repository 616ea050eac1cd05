"""Fixed numbers of blocks (masks, indices, offsets) cut to fewer positions and features."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from lawful.blocks import AddNumbers, Block, DotProductAttention, Numbers, ShapeError, Signal, TimesNumbers
from lawful.blocks.attention import visible
from lawful.blocks.relative import bucket_sets
from lawful.blocks.spectators import sides


def cut_numbers(block: Block, old: Signal, new: Signal) -> Block:
    """A block with fixed numbers for a smaller example: the leading entries of every axis that became shorter."""
    if not isinstance(block, (AddNumbers, TimesNumbers)) or old == new:
        return block
    tensor = block.numbers.tensor
    shapes = zip(tensor.shape[::-1], old.shape[::-1], new.shape[::-1], strict=False)
    kept = [slice(m if n == before else n) for n, before, m in shapes]
    return dataclasses.replace(block, numbers=Numbers(tensor[tuple(kept[::-1])]))


def cut_biases(block: DotProductAttention, queries: Signal, keys: Signal) -> DotProductAttention:
    """Attention whose relative biases and fixed mask are those of fewer positions.

    Raises:
        ShapeError: if the mask, or the table of biases, would become one of another kind.
    """
    if block.relative == "window":
        shape = block.window_shape
        few = sides(queries.space[-1], *shape) if len(shape) == 2 else (queries.space[-1],)
        block = dataclasses.replace(block, window_shape=few)
    if block.mask is not None:
        block = _cut_mask(block, block.mask.tensor, queries.space[-1], keys.space[-1])
    if block.index is not None:
        index = block.index.tensor
        block = _cut_index(block, index, index[: queries.space[-1], : keys.space[-1]])
    return block


def _cut_mask(block: DotProductAttention, mask: torch.Tensor, rows: int, cols: int) -> DotProductAttention:
    few = mask[..., :rows, :cols]
    few = few[: block.heads] if few.ndim > 2 else few
    if _kind(few) != _kind(mask):
        raise ShapeError(f"{rows} queries and {cols} keys do not show what the mask of {block} is")
    return dataclasses.replace(block, mask=Numbers(few))


def _kind(mask: torch.Tensor) -> Sequence[bool]:
    """What rules and laws see of a mask."""
    hidden = mask.isneginf()
    seen = (~hidden).sum(-1)
    return [bool(x.any()) for x in (hidden, mask[~hidden] != 0, seen == 0, seen == 1)]


def _cut_index(block: DotProductAttention, old: torch.Tensor, index: torch.Tensor) -> DotProductAttention:
    """The rows of the table that the positions left read, and one that nothing reads if there was one."""
    before = bucket_sets(old, block.rows, visible(block, *old.shape))
    read, few = torch.unique(index, return_inverse=True)
    rows = len(read) + (-1 in before)
    after = bucket_sets(few, rows, visible(block, *few.shape))
    if min(len(set(before)), 3) != min(len(set(after)), 3):
        raise ShapeError(f"{tuple(index.shape)} positions do not show how {block} shares its biases")
    return dataclasses.replace(block, index=Numbers(few), rows=rows)
