"""Masks and biases of attention: which keys a query does not see, and what is added to the scores of the others."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from types import MappingProxyType

import torch

from .base import Block, ShapeError, Signal, WidthRelation
from .numbers import Numbers
from .relative import bucket_sets, t5_rows, window_rows
from .spectators import sides

TABLE = 3  # the port of a table of relative biases, behind queries, keys and values


@dataclass(frozen=True, eq=False, repr=False)
class MaskedScores(Block):
    """The scores of heads, with a mask and biases: what any core of attention says of them.

    Ports 0 and 1 are queries and keys, 2 values.  With `relative`, port 3 reads a table of biases of shape
    `(rows, heads)`; with `masked`, the last port reads a mask.

    Args:
        heads: query heads.
        kv_heads: key and value heads; each serves `heads / kv_heads` query heads (grouped queries).
        causal: whether a token sees only itself and earlier ones.
        window: how far a token sees, 0 for everything; `window=2` is itself and one neighbour (on each side).
        alibi: whether a fixed bias grows with the distance, a slope per head (ALiBi).
        relative: rows of the bias table for offsets: `none`, `t5` (logarithmic buckets), `window` (one row for every
            offset in a window of `window_shape`), for example Swin's, `given` (by `index`).
        rows: number of rows of the bias table.
        distance: largest distance that T5 tells apart.
        window_shape: height and width of the window (or its length) for `relative="window"`.
        mask: fixed numbers added to the scores, shape `(queries, keys)` or `(heads, queries, keys)`, `-inf` where a
            query does not see a key.
        index: with `relative="given"`, the row of the bias table for every pair, shape `(queries, keys)`.
        masked: whether one more port, the last, reads a mask that depends on the data: numbers that are added to the
            scores, of shape `(batch, ..., queries or 1, keys)`.
    """

    heads: int = 1
    kv_heads: int = 0
    causal: bool = False
    _: KW_ONLY
    window: int = 0
    alibi: bool = False
    relative: str = "none"
    rows: int = 0
    distance: int = 128
    window_shape: tuple[int, ...] = ()
    mask: Numbers | None = None
    index: Numbers | None = None
    masked: bool = False

    least = MappingProxyType({"kv_heads": 0, "window": 0, "rows": 0})

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "window_shape", tuple(self.window_shape))
        if not self.kv_heads:
            object.__setattr__(self, "kv_heads", self.heads)
        if self.heads < 1 or self.heads % self.kv_heads:
            raise ShapeError(f"{self}: {self.kv_heads} key heads must divide {self.heads} query heads")
        self.expect_one_of("relative", ("none", "t5", "window", "given"))
        if (self.relative == "t5" and self.rows < 4) or (self.relative == "window" and not self.window_shape):
            raise ShapeError(f"{self}: relative='t5' needs rows=4 or more, relative='window' needs window_shape")
        if (self.relative == "given") != (self.index is not None):
            raise ShapeError(f"{self}: relative='given' and index belong together; give both or neither")
        if self.relative == "window" and self.rows != math.prod(2 * n - 1 for n in self.window_shape):
            object.__setattr__(self, "rows", math.prod(2 * n - 1 for n in self.window_shape))

    def expect_one_of(self, name: str, known: Sequence[str]) -> None:
        """Checks a field that names one of a few kinds.

        Raises:
            ShapeError: with all kinds.
        """
        value = getattr(self, name)
        if value not in known:
            raise ShapeError(f"{self} has the {name} {value!r}; there are {', '.join(known)}")

    @property
    def tabled(self) -> bool:
        """Whether a port reads a table of relative biases."""
        return self.relative != "none"

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """Three ports, one for the table of relative biases, and one for a mask."""
        return TABLE + self.tabled + self.masked

    def expect_biases(self, signals: Sequence[Signal]) -> None:
        """Checks that the table and the windows fit what the ports read.

        Raises:
            ShapeError: if they do not.
        """
        if self.tabled and (signals[TABLE].features != self.heads or signals[TABLE].space != (self.rows,)):
            raise ShapeError(f"{self} reads {self.rows} rows of {self.heads} biases but gets {signals[TABLE]}")
        if self.relative == "window" and math.prod(self.window_shape) != signals[0].space[-1]:
            raise ShapeError(f"{self} has windows of {self.window_shape} but gets {signals[0]}; make the two agree")

    @property
    def biased(self) -> bool:
        """Whether anything but minus infinity is added to the scores."""
        return self.alibi or self.tabled or self.masked or self._shifts

    @property
    def _shifts(self) -> bool:
        """Whether the fixed mask is more than zeros and minus infinity."""
        return self.mask is not None and not bool(torch.isin(self.mask.tensor, torch.tensor([0.0, -math.inf])).all())

    @property
    def heads_alike(self) -> bool:
        """Whether fixed numbers are the same for all heads, so that heads may change places."""
        if self.mask is None or self.mask.tensor.ndim < 3:
            return not self.alibi
        return not self.alibi and bool((self.mask.tensor == self.mask.tensor[:1]).all())

    def visible(self, queries: int, keys: int) -> torch.Tensor:
        """Which keys a query sees by its place: a boolean tensor of shape `(queries, keys)`."""
        offset = torch.arange(keys) - (torch.arange(queries)[:, None] + keys - queries)
        seen = torch.ones(queries, keys, dtype=torch.bool)
        if self.causal:
            seen &= offset <= 0
        if self.window:
            seen &= offset.abs() < self.window
        return seen

    def all_see(self, queries: int, keys: int) -> bool:
        """Whether every query sees some key by its place: the last query stands at the last key."""
        before = queries - keys  # how far the first query stands before the first key
        return before <= 0 or not (self.causal or 0 < self.window <= before)

    def table_rows(self, queries: int, keys: int) -> torch.Tensor:
        """The row of the table of biases for every query and key: integers of shape `(queries, keys)`."""
        if self.index is not None:
            return self.index.tensor
        if self.relative == "t5":
            return t5_rows(queries, keys, self.rows, self.distance, self.causal)
        return window_rows(queries, keys, self.window_shape)

    def row_sets(self, queries: int, keys: int) -> tuple[int, ...]:
        """For every row of the table the set of rows that it meets in the scores of some query; -1 if none reads it."""
        return _row_sets(self, queries, keys) if self.tabled else ()

    def with_biases(self, scores: torch.Tensor, x: Sequence[torch.Tensor]) -> torch.Tensor:
        """Scores of shape `(batch, ..., heads, queries, keys)` with all that is added to them.

        Args:
            scores: the scores.
            x: what the ports read; those behind the values are the table and the mask.
        """
        if self.alibi:
            rows, cols = scores.shape[-2:]
            distance = (torch.arange(cols - rows, cols)[:, None] - torch.arange(cols)).abs().to(scores)
            slopes = 2.0 ** (-8 * torch.arange(1, self.heads + 1).to(scores) / self.heads)
            scores = scores - slopes[:, None, None] * distance
        if self.tabled:
            table, index = x[TABLE], self.table_rows(*scores.shape[-2:]).to(scores.device)
            bias = table.movedim(-1, 1)[..., index.reshape(-1)].reshape(*table.shape[:-2], self.heads, *index.shape)
            scores = scores + bias.reshape(-1, *[1] * (scores.ndim - 4), *bias.shape[-3:])
        if self.mask is not None:
            scores = scores + self.mask.on(scores)
        if self.masked:
            m = x[-1]
            ones = [1] * (scores.ndim - m.ndim)
            scores = scores + (m.unflatten(0, (m.shape[0], *ones)) if ones else m)
        return scores

    @property
    def port_heads(self) -> tuple[int, ...]:
        return (self.heads, self.kv_heads, self.kv_heads)

    def with_heads(self, heads: Sequence[int]) -> MaskedScores:
        return dataclasses.replace(self, heads=heads[0], kv_heads=heads[1])

    def shrunk(self) -> MaskedScores:
        """At most two key heads, two query heads for each, a window of two and a few rows of biases."""
        kv = min(self.kv_heads, 2)
        return dataclasses.replace(
            self,
            heads=kv * min(self.heads // self.kv_heads, 2),
            kv_heads=kv,
            window=min(self.window, 2),
            rows=min(self.rows, 4 if self.causal else 6) if self.relative == "t5" else self.rows,
            distance=min(self.distance, 4),
        )

    def at_fewer(self, old: Sequence[Signal], new: Sequence[Signal]) -> MaskedScores:
        """The same block with the mask and the relative biases of fewer positions.

        Raises:
            ShapeError: if the mask, or the table of biases, would become one of another kind.
        """
        block, queries, keys = self, new[0].space[-1], new[1].space[-1]
        if block.relative == "window":
            shape = block.window_shape
            few = sides(queries, *shape) if len(shape) == 2 else (queries,)
            block = dataclasses.replace(block, window_shape=few)
        if block.mask is not None:
            block = _cut_mask(block, block.mask.tensor, queries, keys)
        if block.index is not None:
            block = _cut_index(block, block.index.tensor, block.index.tensor[:queries, :keys])
        return block

    def wanted_positions(self, port: int, old: Sequence[Signal], new: Sequence[Signal]) -> int:
        return self.at_fewer(old, new).rows if self.tabled and port == TABLE else 0

    def width_multiple(self, port: int) -> int:
        return 1 if port >= TABLE else 2 * (self.kv_heads if port in (1, 2) else self.heads)

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        """Those of the table and of the mask that depends on the data."""
        tables = [WidthRelation(TABLE, {}, self.heads)] if self.tabled else []
        return [*tables, WidthRelation(len(signals) - 1, {}, signals[1].space[-1])] if self.masked else tables


@functools.lru_cache(maxsize=64)  # of long sequences it takes as long as all the rest of a rule
def _row_sets(block: MaskedScores, queries: int, keys: int) -> tuple[int, ...]:
    index = block.table_rows(queries, keys)
    return bucket_sets(index, block.rows, block.visible(*index.shape))


def _cut_mask(block: MaskedScores, mask: torch.Tensor, rows: int, cols: int) -> MaskedScores:
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


def _cut_index(block: MaskedScores, old: torch.Tensor, index: torch.Tensor) -> MaskedScores:
    """The rows of the table that the positions left read, and one that nothing reads if there was one."""
    before = bucket_sets(old, block.rows, block.visible(*old.shape))
    read, few = torch.unique(index, return_inverse=True)
    rows = len(read) + (-1 in before)
    after = bucket_sets(few, rows, block.visible(*few.shape))
    if min(len(set(before)), 3) != min(len(set(after)), 3):
        raise ShapeError(f"{tuple(index.shape)} positions do not show how {block} shares its biases")
    return dataclasses.replace(block, index=Numbers(few), rows=rows)
