"""The random states of torch, Python and numpy: put back, and whether a forward drew from them."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def random_states() -> Iterator[None]:
    """Restores the random states of torch, Python and numpy."""
    numpy = sys.modules.get("numpy")
    states = random.getstate(), numpy.random.get_state() if numpy else None
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(states[0])
        if numpy:
            numpy.random.set_state(states[1])


class Dice:
    """Whether the forward has drawn from Python's or numpy's random numbers, which no graph holds."""

    def __init__(self) -> None:
        self._states = _states()

    def drawn(self) -> str:
        """Whose numbers were drawn since; empty for none."""
        return " and ".join(n for n, s in _states().items() if s != self._states[n])


def _states() -> dict[str, str]:
    numpy = sys.modules.get("numpy")
    found = {"Python": str(hash(random.getstate()))}
    if numpy:
        kind, keys, *rest = numpy.random.get_state()
        found["numpy"] = str((kind, keys.tobytes(), *rest))
    return found
