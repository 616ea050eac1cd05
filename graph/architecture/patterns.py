"""Activation patterns that a network really has, at parameters of their own.

A law holds at all parameters, so it holds on every piece of the network, continued to any point: a piece is what one
pattern of activations makes of it.  Patterns are therefore part of the data.  They are not drawn gate by gate, since
gates that read one value switch together (`2 relu(h) = |h| + h`), one threshold of a value may imply another, and some
never switch: a pattern is observed at random parameters and inputs, fresh ones for each.

What no input changes at any parameters (the sign of a weight) is decided by the parameters alone: it is one and the
same for all data at a point, and is what it is at that point.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property

import torch
from torch.func import vmap

from lawful.blocks import Run, draw_gates
from lawful.blocks.computed import Computed

from .batches import built_in, coupled, drawn, rows_for
from .block_graph import BlockGraph
from .forward import random_parameters, run_blocks, run_forward

LARGEST_SCALE = 5.0  # of parameters and of inputs, so that thresholds other than 0 are seen from both sides
TOGETHER = 256  # patterns that are observed at once
POINTS = 8  # of parameters that are looked at together, to see what inputs change
RANDOM_ROUNDS = 4  # of such looks, before those that change parts of the best point
ROUNDS = 28  # of all of them, before an entry of a gate is called still
SHARES = (0.5, 0.2, 0.05)  # of a point that is changed
HERE = 1024  # inputs at one point whose patterns are wanted
FEW = 16  # patterns that are observed one by one, if need be
STEP = 1e-4  # between inputs, where a value that is computed from them stays what it is
WATCHED = 20_000  # parameters up to which it is worth a look

Tensors = dict[str, torch.Tensor]


class Patterns:
    """A source of activation patterns and of noise, by the names under which blocks ask for them.

    Args:
        arch: the network.
        values: parameters at one point; the frozen ones are constants and keep these values in every pattern.
        batch: examples that a pattern is for.
        generator: of the point that shows which gates there are, and of all draws.
        here: whether patterns are those of this point alone, and not those of all points.
    """

    def __init__(
        self,
        arch: BlockGraph,
        values: Mapping[str, torch.Tensor],
        batch: int,
        generator: torch.Generator,
        here: bool = False,
    ) -> None:
        self._arch, self.rows, self._generator = arch, rows_for(arch, batch), generator
        self._values, self._here = values, here
        self._fixed = {n: v for n, v in values.items() if n in arch.frozen}
        run = Run(recording=True, observing=True)
        with torch.no_grad():
            self.outputs = run_forward(arch, values, drawn(arch, self.rows, generator), run)
        self._noise = {n: found for n, found in run.recorded.items() if n not in run.seen}
        self.point = run.seen

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all gates, by name."""
        noise = {n: shape for n, (shape, _) in self._noise.items()}
        return noise | {n: tuple(g.shape) for n, g in self.point.items()}

    @property
    def chosen(self) -> bool:
        """Whether the network has gates that something decides."""
        return bool(self.point)

    @cached_property
    def few(self) -> bool:
        """Whether gates are behind words, or numbers that take few values (a sign): so many patterns has one point.

        Fields draw data beside patterns, as of a piece of the network that inputs move in freely.  There is none where
        inputs are few, and the patterns of one point do not come together with all data.
        """
        return self.chosen and (any(s.tokens for s in self._arch.inputs) or self._has_steps())

    def _has_steps(self) -> bool:
        """Whether something that is computed from inputs alone takes other values, and none next to one."""
        made = [n for n in self._arch.nodes if isinstance(self._arch.block(n), Computed)]
        if not made:
            return False
        generator = torch.Generator().manual_seed(0)
        inputs = drawn(self._arch, self.rows, generator)
        beside = [x + STEP * torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in inputs]
        others = drawn(self._arch, self.rows, generator)
        found = [self._computed(made, xs) for xs in (inputs, beside, others)]
        return any(_near(a, b) and not _near(a, c) for a, b, c in zip(*found, strict=True))

    def _computed(self, nodes: list[str], inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """What some blocks write."""
        with torch.no_grad():
            each = dict(run_blocks(self._arch, self._values, inputs, Run()))
        return [x for n in nodes for x in each[n]]

    @cached_property
    def still(self) -> dict[str, torch.Tensor]:
        """Entries of gates that inputs change nowhere, by name; gates without such entries are left out."""
        size = sum(v.numel() for n, v in self._values.items() if n not in self._fixed)
        if not self.point or self._here or not 0 < size <= WATCHED:
            return {}
        left = {k: torch.ones(g.shape, dtype=torch.bool) for k, g in self.point.items()}
        looking = copy(self)
        looking._generator = torch.Generator().manual_seed(0)  # what is drawn later is the same with and without a look
        try:
            for _, _, varied in looking.climb():
                left = {k: m & ~varied[k].any(0) for k, m in left.items()}
                left = {k: m for k, m in left.items() if bool(m.any())}
                if not left:
                    break
        except RuntimeError:  # a call that does not run for many points at once, so that nothing is counted either
            return {}
        return left

    def climb(self) -> Iterator[tuple[list[Tensors], int, Tensors]]:
        """Points at which inputs change more and more entries of gates.

        Gives the best of those that were just looked at, if they are as good as any, how many entries vary at the best
        so far, and which vary at each of those that were looked at.

        Random points come first: a few layers down, units are dead at most of them.
        """
        score, best = -1, {k: v[0] for k, v in self.points(1).items()}
        for i in range(ROUNDS):
            fresh = self.points(POINTS)
            if i >= RANDOM_ROUNDS:
                fresh = self.near(best, fresh, SHARES[i % len(SHARES)])
            varied = self.varied(fresh)
            scores = torch.cat([v.reshape(len(v), -1) for v in varied.values()], 1).sum(1)
            order = [j for j in scores.argsort(descending=True).tolist() if int(scores[j]) >= score]
            if order:
                score, best = int(scores[order[0]]), {k: v[order[0]] for k, v in fresh.items()}
            yield [{k: v[j] for k, v in fresh.items()} for j in order if int(scores[j]) == score], score, varied

    def near(self, point: Tensors, fresh: Tensors, share: float) -> Tensors:
        """A point with a share of its numbers replaced by those of others."""
        return {
            k: torch.where(torch.rand(v.shape, generator=self._generator, dtype=torch.float64) < share, v, point[k])
            for k, v in fresh.items()
        }

    def varied(self, points: Tensors) -> Tensors:
        """Which entries of the gates inputs change at some points: booleans with the points as their first axis."""
        return {k: (g != g[:, :1]).any(1) for k, g in self.seen_at(points, TOGETHER // POINTS).items()}

    def seen_at(self, points: Tensors, inputs: int) -> Tensors:
        """The gates at some points for so many inputs each: shape `(points, inputs, *shape)`."""
        n = next(iter(points.values())).shape[0]
        spread = {k: v.repeat_interleave(inputs, 0) for k, v in points.items()}
        return {k: g.reshape(n, inputs, *g.shape[1:]) for k, g in self._observe(spread, n * inputs).items()}

    def draw_for(self, inputs: Sequence[torch.Tensor], lead: tuple[int, ...]) -> Tensors:
        """As `draw`, beside inputs: the patterns that these have, where they take few values at one point.

        Args:
            inputs: of the network, with the same extra leading axes.
            lead: these axes.
        """
        if not (self._here and self.few):
            return self.draw(lead)
        n = math.prod(lead)
        noise = draw_gates(self._noise, (n,), self._generator)
        seen = self._observe(self.points(n), n, noise, [x.reshape(n, *x.shape[len(lead) :]) for x in inputs])
        return {k: g.reshape((*lead, *g.shape[1:])) for k, g in (noise | seen).items()}

    def draw(self, lead: tuple[int, ...] = ()) -> Tensors:
        """Gates of integers, with extra leading axes: a pattern, and noise, for each."""
        if not self.point:
            return draw_gates(self._noise, lead, self._generator)
        n = math.prod(lead)
        if self._here:
            rows = torch.randint(len(next(iter(self._different.values()))), (n,), generator=self._generator)
            return {k: g[rows].reshape(*lead, *g.shape[1:]) for k, g in self._different.items()}
        noise = draw_gates(self._noise, (n,), self._generator)
        seen = self._observe(self.points(n), n, noise)
        for name, mask in self.still.items():
            seen[name] = torch.where(mask, self.point[name], seen[name])
        return {k: g.reshape((*lead, *g.shape[1:])) for k, g in (noise | seen).items()}

    @cached_property
    def _different(self) -> Tensors:
        """The patterns of this point, with noise, each as often as any other: rare ones would be missed."""
        noise = draw_gates(self._noise, (HERE,), self._generator)
        seen = self._observe(self.points(HERE), HERE, noise)
        flat = torch.cat([g.reshape(HERE, -1) for g in seen.values()], 1)
        _, kind = torch.unique(flat, dim=0, return_inverse=True)
        first = torch.full((int(kind.max()) + 1,), HERE).scatter_reduce(0, kind, torch.arange(HERE), "amin")
        return {k: g[first] for k, g in (noise | seen).items()}

    @classmethod
    def of_examples(
        cls, arch: BlockGraph, values: Mapping[str, torch.Tensor], examples: int, generator: torch.Generator
    ) -> Tensors:
        """The gates of one batch: a pattern of its own for every example, where examples do not see each other."""
        whole = cls(arch, values, examples, generator)
        if coupled(arch) or built_in(arch):
            return whole.draw()
        single = cls(arch, values, 1, generator)
        many, one = whole.shapes, single.shapes
        apart = [k for k, s in one.items() if len(s) and s[0] == 1 and many[k] == (examples, *s[1:])]
        if any(many[k] != one[k] for k in one if k not in apart):
            return whole.draw()
        drawn_gates = single.draw((examples,))
        return {k: g.flatten(0, 1) if k in apart else g[0] for k, g in drawn_gates.items()}

    def _observe(
        self,
        points: Tensors,
        n: int,
        noise: Tensors | None = None,
        inputs: Sequence[torch.Tensor] | None = None,
    ) -> Tensors:
        """What every gate is at some points, with inputs of their own."""
        noise = draw_gates(self._noise, (n,), self._generator) if noise is None else noise
        inputs = self._inputs(n) if inputs is None else inputs
        blocks = []
        for start in range(0, n, TOGETHER):
            cut = slice(start, start + TOGETHER)
            p, g = ({k: v[cut] for k, v in t.items()} for t in (points, noise))
            with torch.no_grad():
                blocks.append(self._observed_together(p, [x[cut] for x in inputs], g))
        return {k: torch.cat([b[k] for b in blocks]) for k in blocks[0]}

    def _observed_together(self, params: Tensors, inputs: list[torch.Tensor], noise: Tensors) -> Tensors:
        """What every gate is at some points; a few one by one where a call does not run for many at once."""
        try:
            return vmap(self._observed)(params, inputs, noise)
        except RuntimeError:
            if len(inputs[0]) > FEW:
                raise
            each = [
                self._observed(
                    {k: v[i] for k, v in params.items()}, [x[i] for x in inputs], {k: v[i] for k, v in noise.items()}
                )
                for i in range(len(inputs[0]))
            ]
            return {k: torch.stack([e[k] for e in each]) for k in each[0]}

    def _observed(self, params: Tensors, inputs: list[torch.Tensor], noise: Tensors) -> Tensors:
        """What every gate is at one point."""
        run = Run(gates=noise, observing=True)
        run_forward(self._arch, params | self._fixed, inputs, run)
        return run.seen

    def _scales(self, n: int, rank: int) -> torch.Tensor:
        spread = 2 * torch.rand((n, *[1] * rank), generator=self._generator, dtype=torch.float64) - 1
        return LARGEST_SCALE**spread

    def points(self, n: int) -> Tensors:
        """`n` points, each with trainable parameters of another size; gains have both signs."""
        if self._here:
            return {k: v.expand(n, *v.shape) for k, v in self._values.items() if k not in self._fixed}
        return {
            name: self._scales(n, len(spec.shape))
            * (abs(spec.mean) + max(spec.std, 0.5))
            * torch.randn((n, *spec.shape), generator=self._generator, dtype=torch.float64)
            for name, spec in self._arch.specs().items()
            if name not in self._fixed
        }

    def ordinary(self) -> Tensors:
        """One point as an initialisation draws it, without the spread of sizes that shows thresholds."""
        values = random_parameters(self._arch, self._generator)
        return {n: v for n, v in values.items() if n not in self._fixed}

    @property
    def most(self) -> int:
        """How many entries of gates inputs change somewhere."""
        return sum(g.numel() for g in self.point.values()) - sum(int(m.sum()) for m in self.still.values())

    def _inputs(self, n: int) -> list[torch.Tensor]:
        """`n` batches of inputs."""
        many = drawn(self._arch, self.rows, self._generator, lead=(n,))
        return [x * self._scales(n, x.ndim - 1) if x.is_floating_point() else x for x in many]


def _near(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether values are the same, where inputs are not."""
    return bool(torch.allclose(a.double(), b.double(), rtol=STEP**2, atol=STEP**2, equal_nan=True))


__all__ = ["Patterns"]
