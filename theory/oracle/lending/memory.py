"""The numbers of a module's parameters and buffers, exchanged in place for copies and put back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch

from .holders import same_bits


class Memory:
    """The numbers of the parameters and buffers of a module, and those that stand in for them.

    Args:
        module: the module.
        change: makes copies of numbers; without it they stay, and what a forward writes into them is undone.
        shared: names of parameters that are the memory of another one, with the name of that.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        change: Callable[[torch.Tensor], torch.Tensor] | None,
        shared: Mapping[str, str],
    ) -> None:
        named = dict(module.named_parameters())
        self._shared = [(named[n], named[first]) for n, first in shared.items()]
        self.parameters = list(module.parameters())
        self.buffers = list(module.buffers())
        tensors = {id(t): t for t in chain(self.parameters, self.buffers)}
        self.ids = frozenset(tensors)
        self.before = [(t, t.data, t.grad if t.is_leaf else None, t._version) for t in tensors.values()]
        self._change = change
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._kept: list[tuple[torch.Tensor, torch.Tensor]] = []  # a write into .data leaves no other trace

    def exchange(self) -> None:
        """Puts copies in the place of all numbers."""
        own = [(t, old) for t, old, *_ in self.before]
        for t, _ in own:
            if t.is_leaf:
                t.grad = None
        if self._change is None:
            self._kept = [(old, old.clone()) for _, old in own if old.device.type != "meta"]
            return
        places: dict[tuple[Any, ...], list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for t, old in own:
            places.setdefault((old.untyped_storage()._cdata, old.dtype), []).append((t, old))
        for group in places.values():
            for t, new in zip((t for t, _ in group), _copied([old for _, old in group], self._change), strict=True):
                t.data = new
                self._copies.append((t, new))
        for t, first in self._shared:  # one memory may be behind two storages (of an array of numpy)
            t.data = first.data
            self._copies = [(u, first.data if u is t else new) for u, new in self._copies]

    def reset(self) -> None:
        """Gives the buffers their numbers, and every tensor the copy that stands in for its own."""
        mine = {id(b) for b in self.buffers}
        originals = {id(t): old for t, old, *_ in self.before}
        for t, new in self._copies:
            if t.data_ptr() != new.data_ptr() or t.dtype != new.dtype or t.shape != new.shape:
                t.data = new
            if id(t) in mine:
                new.copy_(originals[id(t)])

    def written(self, module: torch.nn.Module) -> list[str]:
        """Names of the buffers whose numbers are not what they were."""
        if self._change is None:
            return []
        mine = {id(b) for b in self.buffers}
        before = {id(t): (old, version) for t, old, _, version in self.before if id(t) in mine}
        return [n for n, b in module.named_buffers() if id(b) not in before or self._moved(b, *before[id(b)])]

    def _moved(self, buffer: torch.Tensor, old: torch.Tensor, version: int) -> bool:
        """Whether a buffer holds other numbers than at first; without numbers, whether it was written to."""
        if buffer.device.type == "meta":
            return buffer._version > version
        return self._change is not None and not same_bits(buffer.data, self._change(old))

    def give_back(self) -> None:
        """Puts the module's own numbers and gradients back."""
        for old, kept in self._kept:
            if not same_bits(old, kept):
                old.copy_(kept)
        for t, old, grad, version in self.before:
            t.data = old
            if t.is_leaf:
                t.grad = grad
            if not t.is_inference():
                torch._C._autograd._unsafe_set_version_counter((t,), (version,))


def _copied(tensors: list[torch.Tensor], change: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
    """Copies of tensors on one storage, on one storage again."""
    if len(tensors) == 1:
        return [change(tensors[0])]
    first = tensors[0]
    count = first.untyped_storage().nbytes() // first.element_size()
    whole = change(first.as_strided((count,), (1,), 0))
    return [whole.as_strided(t.shape, t.stride(), t.storage_offset()) for t in tensors]
