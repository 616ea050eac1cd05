"""The straight line between two models: what is measured on it, before and after one is brought next to the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from lawful.blocks import ShapeError
from lawful.graph.questions.reading import NetworkLike
from lawful.theory.extras import needed
from lawful.theory.laws.pages import Printed
from lawful.theory.typed import typed

from .align import Alignment, align, expect_same
from .given import ACTING, WAYS
from .models import write
from .running import tensors_of
from .symmetries import Symmetries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Model = TypeVar("Model", torch.nn.Module, dict[str, torch.Tensor])


@dataclass(frozen=True, repr=False)
class Barriers(Printed, Generic[Model]):
    """What is measured between two models, before and after alignment.

    Attributes:
        alignment: the second model, brought next to the first one.
        before: the numbers on the line to the second model as it is.
        after: the numbers on the line to the aligned one.
    """

    alignment: Alignment[Model]
    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def gist(self) -> str:
        """The highest point of both lines."""
        return f"highest {max(self.before):.4g} before alignment and {max(self.after):.4g} after"

    def __str__(self) -> str:
        both = {"before": self.before, "after": self.after}
        lines: list[str] = [f"{when}: {', '.join(f'{x:.4g}' for x in values)}" for when, values in both.items()]
        return "\n".join([str(self.alignment), *lines])

    @property
    def heights(self) -> tuple[float, float]:
        """The barriers before and after: how far a line rises above the one between its ends, at least 0."""
        return height(self.before), height(self.after)

    def plot(self, path: str | None = None, label: str = "loss") -> Figure:
        """Draws both lines.

        Args:
            path: where the figure goes.
            label: of what was measured.

        Raises:
            ModuleNotFoundError: without matplotlib; says how to install it.
        """
        with needed("a plot", "matplotlib", "plot"):
            from matplotlib.figure import Figure
        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes = figure.subplots()
        for name, values, tall in zip(("as trained", "aligned"), (self.before, self.after), self.heights, strict=True):
            t = [i / (len(values) - 1) for i in range(len(values))]
            axes.plot(t, values, marker="o", markersize=3, label=f"{name}: barrier {tall:.3g}")
        axes.set(xlabel="share of the second model", ylabel=label, ylim=(min(0.0, *self.before, *self.after), None))
        axes.legend(frameon=False)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


@typed(ShapeError, least={"points": 2}, ways=ACTING)
def barriers(
    a: Model,
    b: Model,
    measure: Callable[[Model], float],
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    network: NetworkLike | Symmetries | None = None,
    points: int = 11,
    seed: int = 0,
) -> Barriers[Model]:
    """The loss barrier on the straight line between two models, before and after alignment (Ainsworth et al. 2022).

    Args:
        a: the model that stays.
        b: the model that is permuted.
        measure: from a model to a number, a loss for example; called without gradients.
        args: example inputs of a module.
        kwargs: its keyword inputs.
        network: the architecture or module of dicts of tensors, or what `symmetries` gave.
        points: how many models of each line are measured, ends included.
        seed: of the order in which permutations are matched.

    Raises:
        ShapeError: for models of two architectures, and for fewer than two points.
        ModuleNotFoundError: without scipy; says how to install it.

    >>> import lawful as lw
    >>> arch = lw.families.mlp([3, 8, 2])
    >>> a = arch.to_torch()
    >>> b = lw.symmetries(arch)["permutation of fc1"]
    >>> moved, x = b.apply(a, b.random()), torch.ones(1, 3)
    >>> found = barriers(a, moved, lambda m: float((m(x) - a(x)).square().sum()))
    >>> found.heights[0] > 1e-4, found.heights[1] < 1e-9
    (True, True)
    """
    done = align(a, b, args=args, kwargs=kwargs, network=network, seed=seed)
    before, after = (tuple(barrier(a, end, measure, points)) for end in (b, done.model))
    return Barriers(done, before, after)


def height(values: Sequence[float]) -> float:
    """How far numbers rise above the straight line between the first and the last one, at least 0."""
    last = len(values) - 1
    return max(v - (values[0] * (last - i) + values[last] * i) / last for i, v in enumerate(values))


@typed(ShapeError, least={"points": 2}, ways=WAYS)
def barrier(a: Model, b: Model, measure: Callable[[Model], float], points: int = 11) -> list[float]:
    """What is measured on the straight line between two models: a bump says that they lie in different basins.

    Args:
        a: the start.
        b: the end.
        measure: from a model to a number, a loss for example; called without gradients.
        points: how many models of the line are measured, ends included.

    Returns:
        The numbers, from `a` to `b`.

    Raises:
        ShapeError: for fewer than two points, and for models of two architectures.
    """
    start, end = tensors_of(a), tensors_of(b)
    expect_same(start, end)
    out = []
    for i in range(points):
        t = i / (points - 1)
        mixed = {n: torch.lerp(x, end[n], t) if x.is_floating_point() else x for n, x in start.items()}
        with torch.no_grad():
            out.append(float(measure(write(a, mixed, {}, False))))
    return out
