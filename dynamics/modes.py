"""Parts that are switched between training and evaluation: the network is another one then, with other laws."""

from __future__ import annotations

from torch import nn

from .norm_forms import BATCH, INSTANCE

DROPOUT = nn.modules.dropout._DropoutNd


class Modes:
    """The modes of normalisations with running statistics and of dropout, against those of the first pass.

    Attributes:
        others: the parts whose mode is another one in the last pass.
        since: the first step that such a pass was made for, and the parts; None if there is none.
    """

    def __init__(self) -> None:
        self.others: tuple[str, ...] = ()
        self.since: tuple[int, tuple[str, ...]] | None = None
        self._first: dict[str, tuple[nn.Module, bool]] | None = None

    def passes(self, model: nn.Module) -> None:
        """A forward pass in training begins."""
        if self._first is None:
            self._first = {n: (part, part.training) for n, part in model.named_modules() if _differs(part)}
        self.others = tuple(n for n, (part, mode) in self._first.items() if part.training is not mode)

    def steps(self, step: int) -> bool:
        """Whether a step is that of another network."""
        if self.others and self.since is None:
            self.since = step, self.others
        return bool(self.others)


def _differs(part: nn.Module) -> bool:
    norm = isinstance(part, (BATCH, INSTANCE)) and part.track_running_stats
    return norm or (isinstance(part, DROPOUT) and part.p > 0)
