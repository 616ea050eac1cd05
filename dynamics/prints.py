"""Whether a parameter is still what it was: copies of small ones, evenly spaced entries of large ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from .sharded import local

WHOLE = 2**20  # so many numbers are copied whole
KEPT = 4096  # entries that are kept of one larger parameter
NOISE = 16  # a difference of so many units of rounding is no change (SAM goes away and comes back)


class Prints:
    """What is kept of some parameters.

    Args:
        parameters: the parameters by name.

    Attributes:
        whole: every number of them is kept, so that what is not seen to change has not.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        mine = {n: local(p) for n, p in parameters.items() if _readable(p)}
        whole = self.whole = sum(p.numel() for p in mine.values()) <= WHOLE
        self._strides = {n: 1 if whole else max(1, p.numel() // KEPT) for n, p in mine.items()}
        self._kept = {n: p.reshape(-1)[:: self._strides[n]].clone() for n, p in mine.items()}

    def changed(self, parameters: Mapping[str, Tensor]) -> list[str]:
        """Those of the parameters that are certainly not what they were."""
        return [n for n, p in parameters.items() if n in self._kept and _readable(p) and self._differs(n, local(p))]

    def _differs(self, name: str, now: Tensor) -> bool:
        before, after = self._kept[name], now.reshape(-1)[:: self._strides[name]]
        if before.shape != after.shape or before.dtype != after.dtype or before.device != after.device:
            return False  # another storage (`.to`, `.half()`): a conversion is no training
        if torch.equal(before, after):
            return False
        if not before.is_floating_point():
            return True
        unit = NOISE * torch.finfo(before.dtype).eps
        return bool((after - before).abs().max() > unit * before.abs().max())


class Frozen:
    """Watches the parameters of a model that require no gradient, watched by laws or not.

    Args:
        model: the model.
        held: whether some optimizer moves a parameter.
    """

    def __init__(self, model: nn.Module, held: Callable[[Tensor], bool]) -> None:
        self._model, self._held = model, held
        self.note()

    def note(self) -> None:
        """Keeps what they are now."""
        self._prints = Prints(self._now())

    def moved(self, known: Mapping[str, Tensor]) -> Iterable[tuple[str, bool]]:
        """Those that are not what they were, by the names of `known` where it has them, and whether they are held."""
        names = {id(p): n for n, p in known.items()}
        now = self._now()
        return [(names.get(id(now[n]), n), self._held(now[n])) for n in self._prints.changed(now)]

    def _now(self) -> dict[str, Tensor]:
        return {n: p for n, p in self._model.named_parameters() if not p.requires_grad}


def _readable(p: Tensor) -> bool:
    return not (nn.parameter.is_lazy(p) or p.is_meta) and p.layout == torch.strided and p.element_size() > 1
