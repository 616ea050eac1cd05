"""How far what fields and brackets span stands above rounding, where the gap between singular values does not say.

Laws that hold bound the span from above: every field and every bracket is orthogonal to their gradients.  From below it
is bounded by Weyl's inequality: rows with an error `E` whose smallest kept singular value is above `|E|` span as many
dimensions.  The error is measured: the same rows in float32 are off by what rounding does there, which is `2^29` times
what it does in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from .brackets import Field, brackets_of, level_data, row_scales
from .signal import Sampler

FINER = torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
RELIABLE = 0.05  # a row that float32 changes by more, relative to its terms, is left out
SMALL = 1e-8  # a column that is smaller than this part of the largest may be rounding, and is not scaled up


class _Narrow(TorchDispatchMode):
    """Rounds to float32 whatever is in float64: constants, and what is computed in it on purpose.

    Rounding a constant counts as rounding too, so that what is measured is at least what there is.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = _pytree.tree_map(_narrowed, (args, kwargs or {}))
        return func(*args, **kwargs)


def _narrowed(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.float64 else value


def margin_over_rounding(
    field: Field, state: torch.Tensor, sample: Sampler, ranks: Sequence[int], chunk: int = 64
) -> float | None:
    """The smallest singular value of fields and brackets, as many as a rank, over the rounding in them.

    Args:
        field: see `count_span`.
        state: see there.
        sample: see there.
        ranks: what was found to be spanned, level by level.
        chunk: samples that are differentiated at once.

    Returns:
        The ratio: as many dimensions are spanned if it is well above 1.  None where rounding cannot be measured, since
        an operation does not run in float32.
    """
    d, rows, errors = state.numel(), [], []
    single = state.float()
    for level in range(ranks.index(ranks[-1]) + 1):
        missing = d - (ranks[level - 1] if level else 0)
        found, off, scales = [], [], []
        for data in level_data(sample, level, missing + missing // 4 + 12, chunk):
            rounded = _pytree.tree_map(lambda t: t.float() if t.is_floating_point() else t, data)
            try:
                with _Narrow():
                    again, _ = brackets_of(field, single, rounded)
            except RuntimeError:  # an operation that asks for a type of its own
                return None
            x, scale = brackets_of(field, state, data)
            found.append(x)
            off.append(again.double() - x)
            scales.append(scale)
        scale = row_scales(torch.cat(scales))
        error = torch.cat(off) / scale
        reliable = error.norm(dim=1) < RELIABLE  # false for what is not finite
        rows.append((torch.cat(found) / scale)[reliable])
        errors.append(error[reliable])
    return _margin(torch.cat(rows), FINER * torch.cat(errors), ranks[-1])


def _margin(rows: torch.Tensor, errors: torch.Tensor, rank: int) -> float:
    if min(rows.shape) < rank:
        return 0.0
    size = rows.norm(dim=0)
    columns = torch.where(size > SMALL * size.max(), size, size.max())  # scaling them changes no rank
    smallest = torch.linalg.svdvals(rows / columns)[rank - 1]
    return float(smallest / (errors / columns).norm().clamp_min(1e-300))
