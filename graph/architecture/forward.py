"""Running an architecture: its forward pass and random parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch

from lawful.blocks import Run, ShapeError, Spec
from lawful.blocks.answers import fit, of_library, values_of
from lawful.blocks.signals import DeclarationError
from lawful.theory.refusals import said

from .block_graph import BlockGraph
from .compile import Port

FEW_FEATURES = 16


def run_forward(
    arch: BlockGraph, params: Mapping[str, torch.Tensor], inputs: Sequence[torch.Tensor], run: Run | None = None
) -> tuple[torch.Tensor, ...]:
    """All outputs of a network (see `Architecture.forward`).

    Raises:
        ShapeError: for another number of inputs.
    """
    if len(inputs) != len(arch.inputs):
        raise ShapeError(
            f"the network has {len(arch.inputs)} inputs but gets {len(inputs)} tensors; give one per input"
        )
    values: dict[Port, torch.Tensor] = {("input", i): x for i, x in enumerate(inputs)}
    for n, out in run_blocks(arch, params, inputs, run or Run()):
        for i, y in enumerate(out):
            values[n, i] = y
    return tuple(values[p] for p in arch.sources("output"))


def run_blocks(
    arch: BlockGraph, params: Mapping[str, torch.Tensor], inputs: Sequence[torch.Tensor], run: Run
) -> Iterator[tuple[str, tuple[torch.Tensor, ...]]]:
    """Every node of a network with what its block writes, one after the other."""
    values: dict[Port, torch.Tensor] = {("input", i): x for i, x in enumerate(inputs)}
    for n in arch.nodes:
        ports = arch.sources(n)
        run.name = n
        run.axis = arch.signals[ports[0]].axis if ports else -1
        block = arch.block(n)
        specs = block.parameters
        p = {local: _shaped(params[name], specs.get(local)) for local, name in arch.parameter_names(n).items()}
        reads, writes = [arch.signals[q] for q in ports], [arch.signals[n, i] for i in range(block.outputs)]
        try:
            found = values_of(block, p, [values[q] for q in ports], run, reads, writes)
        except DeclarationError as error:
            raise DeclarationError(f"{n}: {error}") from error
        except RuntimeError as error:
            if type(error) is not RuntimeError or ("size" not in str(error) and "shape" not in str(error)):
                raise  # only what torch says of shapes, not what blocks say of themselves
            got = ", ".join(str(tuple(values[q].shape)) for q in ports)
            what = block if block.portable else block.kind  # a call that was kept is no plain text
            right = not of_library(block) and fit([values[q] for q in ports], reads)
            way_out = "these are its signals, so correct its forward" if right else "give it inputs of its signals"
            raise ShapeError(
                f"{n} ({what}) does not run on tensors of shape {got} ({said(error)}); {way_out}"
            ) from error
        if n in run.taps:
            found = (run.taps[n](values[ports[0]], found[0], run.axis, block), *found[1:])
        for i, y in enumerate(found):
            values[n, i] = y
        yield n, found


def _shaped(tensor: torch.Tensor, spec: Spec | None) -> torch.Tensor:
    """A parameter in the shape that a block reads: another one may see a vector where this one sees a row."""
    return tensor if spec is None or tuple(tensor.shape) == spec.shape else tensor.reshape(spec.shape)


def random_parameters(
    arch: BlockGraph, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    """A generic point: every parameter random, none at the special values of an initialisation.

    What reads many features is smaller, so that signals and gradients do not grow from layer to layer until the first
    layers drown what the last ones show.
    """
    return {
        n: s.mean + max(s.std, _spread(s.shape)) * torch.randn(s.shape, generator=generator, dtype=dtype)
        for n, s in arch.specs().items()
    }


def _spread(shape: Sequence[int]) -> float:
    """The least deviation of the numbers of a parameter: that of a matrix of up to `FEW_FEATURES` columns is 0.5."""
    return 0.5 * (FEW_FEATURES / max(FEW_FEATURES, math.prod(shape[1:]))) ** 0.5
