"""Activation patterns that a network really has, at parameters of their own.

A law holds at all parameters, so it holds on every piece of the network, continued to any point: a piece is what one
pattern of activations makes of it.  Patterns are therefore part of the data.  They are not drawn gate by gate, since
gates that read one value switch together (`2 relu(h) = |h| + h`), one threshold of a value may imply another, and some
never switch: a pattern is observed at random parameters and inputs, fresh ones for each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch.func import vmap

from lawful.blocks import BatchNormCore, Run, draw_gates

from .block_graph import BlockGraph
from .forward import random_inputs, run_forward

LARGEST_SCALE = 5.0  # of parameters and of inputs, so that thresholds other than 0 are seen from both sides
TOGETHER = 256  # patterns that are observed at once

Tensors = dict[str, torch.Tensor]


def coupled(arch: BlockGraph) -> bool:
    """Whether the examples of a batch see each other inside of a network."""
    return any(isinstance(arch.block(n), BatchNormCore) for n in arch.nodes)


class Patterns:
    """A source of activation patterns and of noise, by the names under which blocks ask for them.

    Args:
        arch: the network.
        values: parameters at one point; the frozen ones are constants and keep these values in every pattern.
        batch: examples that a pattern is for.
        generator: of the point that shows which gates there are, and of all draws.
    """

    def __init__(
        self, arch: BlockGraph, values: Mapping[str, torch.Tensor], batch: int, generator: torch.Generator
    ) -> None:
        self._arch, self._batch, self._generator = arch, batch, generator
        self._fixed = {n: v for n, v in values.items() if n in arch.frozen}
        run = Run(recording=True, observing=True)
        with torch.no_grad():
            self.outputs = run_forward(arch, values, random_inputs(arch, batch, generator), run)
        self._noise = {n: found for n, found in run.recorded.items() if n not in run.seen}
        self._seen = bool(run.seen)
        self.shapes = [shape for shape, _ in self._noise.values()] + [tuple(g.shape) for g in run.seen.values()]

    def draw(self, lead: tuple[int, ...] = ()) -> Tensors:
        """Gates of integers, with extra leading axes: a pattern, and noise, for each."""
        noise = draw_gates(self._noise, lead, self._generator)
        if not self._seen:
            return noise
        n = math.prod(lead)
        flat = {k: g.reshape(n, *g.shape[len(lead) :]) for k, g in noise.items()}
        blocks = []
        for start in range(0, n, TOGETHER):
            size = min(TOGETHER, n - start)
            here = {k: g[start : start + size] for k, g in flat.items()}
            with torch.no_grad():
                blocks.append(vmap(self._observed)(self._parameters(size), self._inputs(size), here))
        seen = {k: torch.cat([b[k] for b in blocks]) for k in blocks[0]}
        return noise | {k: g.reshape(*lead, *g.shape[1:]) for k, g in seen.items()}

    @classmethod
    def of_examples(
        cls, arch: BlockGraph, values: Mapping[str, torch.Tensor], examples: int, generator: torch.Generator
    ) -> Tensors:
        """The gates of one batch: a pattern of its own for every example, where examples do not see each other."""
        single = cls(arch, values, 1, generator)
        if coupled(arch) or any(len(shape) < 1 or shape[0] != 1 for shape in single.shapes):
            return cls(arch, values, examples, generator).draw()
        return {name: g.flatten(0, 1) for name, g in single.draw((examples,)).items()}

    def _observed(self, params: Tensors, inputs: list[torch.Tensor], noise: Tensors) -> Tensors:
        """What every gate is at one point."""
        run = Run(gates=noise, observing=True)
        run_forward(self._arch, params | self._fixed, inputs, run)
        return run.seen

    def _scales(self, n: int, rank: int) -> torch.Tensor:
        spread = 2 * torch.rand((n, *[1] * rank), generator=self._generator, dtype=torch.float64) - 1
        return LARGEST_SCALE**spread

    def _parameters(self, n: int) -> Tensors:
        """`n` points, each with trainable parameters of another size; gains have both signs."""
        return {
            name: self._scales(n, len(spec.shape))
            * (abs(spec.mean) + max(spec.std, 0.5))
            * torch.randn((n, *spec.shape), generator=self._generator, dtype=torch.float64)
            for name, spec in self._arch.specs().items()
            if name not in self._fixed
        }

    def _inputs(self, n: int) -> list[torch.Tensor]:
        """`n` batches of inputs."""
        many = random_inputs(self._arch, n * self._batch, self._generator)
        split = [x.reshape(n, self._batch, *x.shape[1:]) for x in many]
        return [x * self._scales(n, x.ndim - 1) if x.is_floating_point() else x for x in split]


__all__ = ["Patterns", "coupled"]
