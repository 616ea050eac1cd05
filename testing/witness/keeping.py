"""What a module is before a run that does not exchange its numbers, put back afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lawful.theory.oracle.lending.randomness import random_states
from lawful.theory.own_runs import own_run

PLAIN = (bool, int, float, str, type(None))  # attributes that are put back: flags, counts, what is not yet made
OTHERS = ("training", "_compiled_call_impl")  # which have their own care


class Start:
    """What a module is before a run: its numbers, and its plain attributes."""

    def __init__(self, module: torch.nn.Module) -> None:
        plain = [p for p in module.parameters() if type(p.data) is Tensor]  # what is sharded has no memory of its own
        self._values = [(p, p.data, p.detach().clone()) for p in plain]
        self._buffers = [(b, b.detach().clone()) for b in module.buffers()]
        parts = [(m, vars(m)) for m in module.modules()]
        self._flags = [(m, {k: v for k, v in own.items() if type(v) in PLAIN and k not in OTHERS}) for m, own in parts]

    def put_back(self) -> None:
        """Makes it that again."""
        for p, data, old in self._values:
            if p.data_ptr() != data.data_ptr():
                p.data = data
            if not torch.equal(p.detach(), old):
                p.detach().copy_(old)
        for m, flags in self._flags:
            vars(m).update(flags)
        for b, old in self._buffers:
            b.detach().copy_(old)


@contextmanager
def kept(module: torch.nn.Module) -> Iterator[None]:
    """Puts parameters, gradients, buffers, plain attributes, modes and random states back."""
    grads = {p: p.grad for p in module.parameters()}
    start = Start(module)
    modes = [(m, m.training) for m in module.modules()]
    with own_run(), random_states(), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for p, g in grads.items():
                p.grad = g
            start.put_back()
            for m, mode in modes:
                m.training = mode


__all__ = ["Start", "kept"]
