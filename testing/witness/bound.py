"""Parameters that a forward gives other numbers: `p.data = f(p.data)`, `p.data.clamp_()`, a start from its inputs.

The gradient of such a parameter is that at its new numbers, whatever they were made of.  Where they are made of other
parameters as well, that is a start, which the first call does, or a path that stops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from .tape import Place, Spot, Step, Tape, spots_in, storage_key


class Given:
    """What stands for a parameter after it was given other numbers: these, with its gradient as before."""

    __qualname__ = "given other numbers"

    def __init__(self, numbers: torch.Tensor) -> None:
        self._numbers = numbers

    def __call__(self, leaf: torch.Tensor) -> torch.Tensor:
        return leaf + (self._numbers - leaf.detach())


class Bound:
    """Follows the parameters of a tape while it is written.

    Args:
        tape: what is written.
        parameters: the parameters by name.
    """

    def __init__(self, tape: Tape, parameters: Mapping[str, torch.Tensor]) -> None:
        self._tape, self._parameters = tape, dict(parameters)
        self._names = {id(p): n for n, p in parameters.items()}
        self._at = {n: tape.leaves[storage_key(p)][1] for n, p in parameters.items()}
        self._held = {n: p.detach() for n, p in parameters.items()}  # its memory before, wherever it is now
        self._written: set[str] = set()

    def writes(self, tensor: torch.Tensor, done: bool) -> None:
        """Tells of a kernel that writes into a tensor, before and after it is done."""
        known = self._tape.leaves.get(storage_key(tensor))
        if known is None:
            return
        if done:
            self._written.add(known[0])
        else:
            self._tape.begun.setdefault(storage_key(tensor), self._held[known[0]].clone())

    def reads(self, tensor: torch.Tensor, place: Place) -> None:
        """Tells that a tensor is read, which may be a parameter with other numbers than it had."""
        name = self._names.get(id(tensor))
        if name is None:
            return
        key, before = storage_key(tensor), self._at[name]
        if key == before.key and name not in self._written:
            return
        self._written.discard(name)
        if tensor.shape != torch.Size(before.size) or not self._own(name, key):
            self._tape.foreign.add(name)
            return
        if key != before.key:
            self._tape.begun.setdefault(before.key, self._held[name].clone())
        numbers = tensor.detach().clone()
        self._tape.points[name], self._held[name] = numbers, tensor.detach()
        number = len(self._tape.steps)
        leaf = self._tape.pure.setdefault(name, replace(before, key=-1 - len(self._tape.pure), made=None))
        spot = Spot(key, before.dtype, before.size, tensor.stride(), int(tensor.storage_offset()), True, (number, 0))
        self._tape.steps.append(Step(Given(numbers), (leaf,), {}, {0: spot}, [], True, place))
        self._tape.leaves[key] = (name, spot)
        self._tape.made[key] = (number, 0)
        self._tape.moves.add(key)
        self._tape.dead.pop(key, None)
        self._tape.rounded.pop(key, None)
        self._at[name] = spot

    def settle(self) -> None:
        """After the forward: what a parameter was given and nobody has read is for the next call."""
        for name, p in self._parameters.items():
            before = self._at[name]
            if (storage_key(p) != before.key or name in self._written) and name not in self._tape.foreign:
                last = self._tape.begun.get(before.key, self._held[name])
                self._tape.points.setdefault(name, last.clone())

    def _own(self, name: str, key: int) -> bool:
        """Whether a memory holds what was made of a parameter itself, and of no other one."""
        steps, seen = self._tape.steps, set()
        made = self._tape.made.get(key)
        open_ = [] if made is None else [made[0]]
        while open_:
            number = open_.pop()
            if number in seen:
                continue
            seen.add(number)
            for s in spots_in((steps[number].args, steps[number].kwargs)):
                if s.key in self._tape.leaves and self._tape.leaves[s.key][0] != name:
                    return False
                if s.made is not None:
                    open_.append(s.made[0])
        return True


__all__ = ["Bound"]
