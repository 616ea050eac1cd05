"""How many examples a network runs with, and random inputs of that size.

Most networks do the same to every example and run with any number.  A traced one may have the number of its example
built in, or lets examples see each other (statistics of a batch that are written by hand): it is another network at
another batch, and runs with as many examples as its module was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch

from lawful.blocks import Run, ShapeError
from lawful.theory.oracle.lending.randomness import random_states
from lawful.theory.refusals import said

from .block_graph import BlockGraph
from .forward import random_parameters, run_forward

TRIED = 3  # examples that have to be each what they are alone
SAME = 1e-6  # relative
EXAMPLES = 3
DRAWS = 8  # of numbers, until the outputs are numbers: a mask at random may leave nothing in some row
APART = "so it cannot be asked without its module; use lw.verify(module, laws, args=...) and lw.count(module, args=...)"


def coupled(arch: BlockGraph) -> bool:
    """Whether a block lets the examples of a batch see each other."""
    return any(arch.block(n).over_batch for n in arch.nodes)


_KNOWN: WeakKeyDictionary[BlockGraph, tuple[tuple[int, ...] | None]] = WeakKeyDictionary()  # a graph never changes


def built_in(arch: BlockGraph) -> tuple[int, ...] | None:
    """Examples in every input of a traced network that is itself with those of its module only; None for any other."""
    if arch.trace is None:
        return None
    known = _KNOWN.get(arch)  # asked once: what is known may be of an equal graph, which goes at any moment
    if known is None:
        known = _KNOWN[arch] = (_found(arch),)
    return known[0]


def _found(arch: BlockGraph) -> tuple[int, ...] | None:
    assert arch.trace is not None
    generator = torch.Generator().manual_seed(0)
    values = random_parameters(arch, generator)
    inputs = drawn(arch, (TRIED,) * len(arch.inputs), generator)
    try:
        with torch.no_grad(), random_states():
            if coupled(arch):
                run_forward(arch, values, inputs)
                return None
            together = run_forward(arch, values, inputs, Run(training=False))
            alone = [
                run_forward(arch, values, [x[i : i + 1] for x in inputs], Run(training=False)) for i in range(TRIED)
            ]
        apart = [torch.cat(parts) for parts in zip(*alone, strict=True)]
    except Exception:  # whatever torch says about sizes that do not fit
        return arch.trace.rows
    return None if all(_same(a, b) for a, b in zip(together, apart, strict=True)) else arch.trace.rows


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape:
        return False
    size = float(a.nan_to_num().abs().max()) if a.numel() else 0.0
    return bool(torch.allclose(a, b, rtol=SAME, atol=SAME * size, equal_nan=True))


def rows_for(arch: BlockGraph, batch: int) -> tuple[int, ...]:
    """Examples in every input: a batch of any size, or what is built in."""
    return built_in(arch) or (batch,) * len(arch.inputs)


def random_inputs(
    arch: BlockGraph, batch: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> list[torch.Tensor]:
    """Random inputs of the right shapes (see `rows_for`)."""
    return drawn(arch, rows_for(arch, batch), generator, dtype)


def drawn(
    arch: BlockGraph,
    rows: Sequence[int],
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    lead: tuple[int, ...] = (),
) -> list[torch.Tensor]:
    """Random inputs with so many examples in each, and extra leading axes."""
    return [
        torch.randint(s.features, (*lead, n, *s.shape), generator=generator)
        if s.tokens
        else torch.randn((*lead, n, *s.shape), generator=generator, dtype=dtype)
        for s, n in zip(arch.inputs, rows, strict=True)
    ]


def runs(arch: BlockGraph, batch: int = 2) -> bool:
    """Whether one forward pass of a network ends, in finite numbers."""
    generator = torch.Generator().manual_seed(0)
    try:
        outputs = run_forward(arch, random_parameters(arch, generator), random_inputs(arch, batch, generator))
    except Exception:  # whatever torch says about what does not fit
        return False
    return all(bool(torch.isfinite(z).all()) for z in outputs)


def expect_runs(arch: BlockGraph) -> None:
    """Asks a traced network for one forward pass before anything else is asked of it.

    Raises:
        ShapeError: if it does not run.
    """
    if not arch.trace:
        return
    generator = torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        try:
            with torch.no_grad():
                inputs = random_inputs(arch, EXAMPLES, generator)
                outputs = run_forward(arch, random_parameters(arch, generator), inputs)
        except Exception as error:  # whatever torch says about what does not fit
            raise ShapeError(f"the traced network does not run by itself ({said(error)}), {APART}") from error
        if all(bool(torch.isfinite(z).all()) for z in outputs):
            return
    raise ShapeError(f"at random parameters and inputs the traced network gives what is not a number, {APART}")
