"""What happens to weights beside the steps of the optimizers: written over, averaged, frozen and moved all the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn

from .prints import Frozen, Prints
from .sharded import local, version


class Weights:
    """Watches the weights between two steps, and frozen ones also in a step.

    Args:
        model: the model; all of its frozen parameters are looked at.
        held: whether some optimizer moves a parameter.

    Attributes:
        outside: parameters that certainly changed between two steps, and the last step before which they did.
        rewritten: the same for those that were written to, where not every number is compared.
        thawed: frozen parameters that the optimizer moved, and the first such step.
        strayed: frozen parameters that something else moved, and the first such step.
    """

    def __init__(self, model: nn.Module, held: Callable[[Tensor], bool]) -> None:
        self.outside: dict[str, int] = {}
        self.rewritten: dict[str, int] = {}
        self.thawed: dict[str, int] = {}
        self.strayed: dict[str, int] = {}
        self._parameters: Mapping[str, nn.Parameter] = {}
        self._aimed: Mapping[str, nn.Parameter] = {}  # what is watched in the next step
        self._versions: dict[str, tuple[tuple[int, int], int]] = {}
        self._prints = Prints({})
        self._frozen = Frozen(model, held)
        self._still: dict[str, Tensor] = {}

    def watch(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Watches these parameters from now on."""
        self._parameters = parameters
        self.note()

    def note(self, names: Collection[str] | None = None) -> None:
        """Keeps what the weights are now: those that are watched in the next step, None for all."""
        self._aimed = {n: p for n, p in self._parameters.items() if names is None or n in names}
        self._versions = self._now()
        self._prints = Prints(self._aimed)

    def before(self, step: int) -> None:
        """Right before a step: which weights should stand still in it, and what moved that is frozen?"""
        still = {n: p for n, p in self._aimed.items() if not p.requires_grad and p.grad is not None}
        self._still = {n: local(p).clone() for n, p in still.items()}
        self._look(step, inside=False)

    def after(self, step: int) -> None:
        """Right after a step: did they?"""
        for n, before in self._still.items():
            if not torch.equal(before, local(self._parameters[n])):
                self.thawed.setdefault(n, step)
        self._look(step, inside=True)

    def changed(self, step: int, sharded: bool) -> bool:
        """Whether weights may have changed since they were noted.

        Args:
            step: that comes next.
            sharded: every process sees its own part, and all of them have to go the same way.
        """
        touched = [n for n, now in self._now().items() if now != self._versions[n]]
        moved = self._prints.changed(self._aimed)
        if not self._prints.whole:
            self.rewritten |= dict.fromkeys(touched, step)
        self.outside |= dict.fromkeys(moved, step)
        return bool(touched) or (bool(moved) and not sharded)

    def _now(self) -> dict[str, tuple[tuple[int, int], int]]:
        return {n: (version(p), local(p).data_ptr()) for n, p in self._aimed.items()}

    def _look(self, step: int, inside: bool) -> None:
        """What requires no gradient and is not what it was, in a step or before it."""
        for n, held in self._frozen.moved(self._parameters):
            (self.thawed if inside and held else self.strayed).setdefault(n, step)
        self._frozen.note()
