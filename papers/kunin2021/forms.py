"""How far a run is from a closed form."""

from __future__ import annotations

from torch import Tensor

from lawful.dynamics import predict

CLOSE = 0.05  # relative error up to which a run is said to be on its closed form


def error(measured: Tensor, predicted: Tensor) -> float:
    """Over the largest movement; over the size of a law that does not move but for rounding."""
    size, moved = (float(x.abs().max()) for x in (measured[0], measured - measured[0]))
    if moved > 1e-10 * size:
        return predict.relative_error(measured, predicted)
    return float((measured - predicted).abs().max()) / size
