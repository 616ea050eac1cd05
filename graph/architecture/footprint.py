"""How much memory one run of a network takes, found without running it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lawful.blocks import ShapeError

from .block_graph import BlockGraph
from .forward import run_forward

MOST = 4 * 2**30  # bytes that the calls of one forward pass may write, which their gradients keep
FEW = 128  # positions up to which attention is small


class _Tally(TorchDispatchMode):
    """Adds up the sizes of what calls write; a view takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        found = out if isinstance(out, (tuple, list)) else (out,)
        for returned, tensor in zip(func._schema.returns, found, strict=False):
            if returned.alias_info is None and isinstance(tensor, torch.Tensor):
                self.total += tensor.numel() * tensor.element_size()
        return out


def footprint(arch: BlockGraph, examples: int) -> int:
    """Bytes that one forward pass in float64 writes, of tensors that have shapes and no numbers.

    Args:
        arch: the network.
        examples: in the batch.

    Returns:
        The bytes; 0 where sequences are short, and where a call asks for numbers.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # takes a second, which few networks need

    if longest(arch) <= FEW:
        return 0
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), _Tally() as tally:
            values = {n: torch.empty(s.shape, dtype=torch.float64) for n, s in arch.specs().items()}
            inputs = [
                torch.zeros((examples, *s.shape), dtype=torch.int64 if s.tokens else torch.float64) for s in arch.inputs
            ]
            run_forward(arch, values, inputs)
    except Exception:  # a call whose shapes depend on numbers, or one that torch has no shapes for
        return 0
    return tally.total


def longest(arch: BlockGraph) -> int:
    """The most positions that a wire has."""
    return max((math.prod(s.space) for s in arch.signals.values()), default=1)


def fits(arch: BlockGraph, examples: int) -> bool:
    """Whether gradients of a network can be taken in the memory that a machine has to spare."""
    return footprint(arch, examples) <= MOST


def expect_fits(arch: BlockGraph, examples: int, what: str) -> None:
    """Refuses a network whose gradients take too much memory.

    Args:
        arch: the network.
        examples: in the batch.
        what: is asked of it, for the message.

    Raises:
        ShapeError: with the bytes and the way out.
    """
    taken = footprint(arch, examples)
    if taken > MOST:
        raise ShapeError(
            f"{what} of a network with {longest(arch):,} positions takes about {taken / 2**30:,.0f} GiB, more than "
            f"{MOST // 2**30}; ask for fewer positions (context=16 of a family, smaller inputs) or a small copy "
            "(arch.shrink(), --shrink)"
        )
