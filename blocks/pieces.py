"""Operations that are made of pieces, inside calls that no block describes: their choices are gates too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .run import Run

FREE = 0  # options of a gate that can be observed but not drawn: which integers fit depends on the call
LESS = {"gt": torch.gt, "ge": torch.ge, "lt": torch.lt, "le": torch.le, "eq": torch.eq, "ne": torch.ne}
EXTREMES = {"amax": torch.argmax, "max": torch.argmax, "amin": torch.argmin, "min": torch.argmin}

Call = Callable[..., Any]


class Pieces(TorchFunctionMode):
    """Inside, what torch chooses by its numbers is asked of a run: signs, comparisons, the larger of two, maxima.

    Args:
        run: gives or observes the gates.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def __torch_function__(
        self, func: Call, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        name = getattr(func, "__name__", "").partition(".")[0].rstrip("_").removeprefix("special_")
        real = args and isinstance(args[0], torch.Tensor) and args[0].is_floating_point()
        found = self._pieces(name, func, args, options) if real else None
        return func(*args, **options) if found is None else found

    def _above(self, x: torch.Tensor, end: Any) -> torch.Tensor | None:
        """1 where `x` is above a threshold, as numbers."""
        return self.run.gate(x, FREE, lambda: x > end)

    def _pieces(self, name: str, func: Call, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        x = args[0]
        if name in LESS and len(args) == 2:
            like = x + torch.zeros_like(args[1]) if isinstance(args[1], torch.Tensor) else x
            gate = self.run.gate(like.double(), FREE, lambda: LESS[name](x, args[1]))
            return None if gate is None else gate > 0
        if name in ("relu", "abs", "sign"):
            gate = self._above(x, 0.0)
            low = {"relu": 0.0, "abs": -1.0, "sign": -1.0}[name]
            size = 1.0 if name == "sign" else x
            return None if gate is None else size * (gate + low * (1 - gate))
        if name == "leaky_relu":
            gate, slope = self._above(x, 0.0), (*args[1:], *options.values(), 0.01)[0]
            return None if gate is None else x * (gate + slope * (1 - gate))
        if name in ("maximum", "minimum") and len(args) == 2:
            y = args[1]
            gate = self._above(x - y, 0.0)
            gate = None if gate is None else gate if name == "maximum" else 1 - gate
            return None if gate is None else gate * x + (1 - gate) * y
        if name in ("clamp", "clamp_min", "clamp_max", "hardtanh", "relu6"):
            return self._clamped(x, *_bounds(name, args[1:], options))
        if name in EXTREMES and len(args) > 1 and isinstance(args[1], (int, list, tuple)):
            return self._extreme(name, x, args[1], bool((*args[2:], *options.values(), False)[0]))
        return None

    def _clamped(self, x: torch.Tensor, low: Any, high: Any) -> torch.Tensor | None:
        for end, sign in ((low, 1.0), (high, -1.0)):
            if end is not None:
                gate = self._above(sign * (x - end), 0.0)
                if gate is None:
                    return None
                x = gate * x + (1 - gate) * end
        return x

    def _extreme(self, name: str, x: torch.Tensor, dim: Any, keep: bool) -> Any:
        dims = [dim] if isinstance(dim, int) else list(dim)
        if len(dims) != 1:
            return None
        pick = EXTREMES[name]
        like = x.select(dims[0], 0).unsqueeze(dims[0])
        gate = self.run.gate(like, FREE, lambda: pick(x, dims[0], keepdim=True))
        if gate is None:
            return None
        index = gate.long()
        found = x.gather(dims[0], index)
        found, index = (found, index) if keep else (found.squeeze(dims[0]), index.squeeze(dims[0]))
        return found if name in ("amax", "amin") else (found, index)


def _bounds(name: str, rest: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, Any]:
    """The bounds of a clamp: numbers, tensors or None."""
    if name == "relu6":
        return 0.0, 6.0
    if name == "clamp_min":
        return (*rest, options.get("min"))[0], None
    if name == "clamp_max":
        return None, (*rest, options.get("max"))[0]
    default = (-1.0, 1.0) if name == "hardtanh" else (None, None)
    low = rest[0] if rest else options.get("min", options.get("min_val", default[0]))
    high = rest[1] if len(rest) > 1 else options.get("max", options.get("max_val", default[1]))
    return low, high


def in_pieces(call: Call, run: Run, *args: Any) -> Any:
    """Runs a call whose choices are those of the run's pattern; as it is where the run has none."""
    if run.gates is None and not run.observing:
        return call(*args)
    with Pieces(run):
        return call(*args)


__all__ = ["FREE", "Pieces", "in_pieces"]
