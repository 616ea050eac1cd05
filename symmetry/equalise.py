"""Ranges of channels made equal for quantisation: the factors are free, so they may be chosen for the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch

from lawful.graph.questions.reading import NetworkLike
from lawful.theory.arguments import there_are
from lawful.theory.oracle.modules import as_double
from lawful.theory.parts import read
from lawful.theory.typed import typed

from .balance import symmetries_of
from .element import Element
from .given import ACTING, weights_of
from .models import write
from .running import Tensors
from .symmetries import Symmetries
from .symmetry import Symmetry

Model = TypeVar("Model", torch.nn.Module, dict[str, torch.Tensor])

SWEEPS = 40
STILL = 1e-6  # change of a factor, from which on nothing moves


@typed(ways=ACTING)
def equalise(
    model: Model,
    statistics: Mapping[str, torch.Tensor] | None = None,
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    network: NetworkLike | Symmetries | None = None,
    in_place: bool = False,
) -> Model:
    """Gives what writes a channel and what reads it the same largest weight; the function stays what it is.

    Biases and shifts move with their weights and do not count as range: tools keep them in full precision.

    With factors `s_i = sqrt(r_i^read / r_i^write)` both ranges are their geometric mean (Nagel et al. 2019, cross-layer
    equalisation), here for every positive diagonal symmetry of any model and for the diagonal matrices of every
    general linear one (values of attention), again and again until nothing moves.

    Args:
        model: a module or a dict of tensors.
        statistics: by the name of a symmetry, the largest activation of each channel, shape of its element (of
            matrices that of their rows): the channel then gets the range of the activation, not of the weights that
            write it (SmoothQuant's migration at 1/2).
        args: example inputs of a module.
        kwargs: its keyword inputs.
        network: the architecture or module of a dict of tensors, or what `symmetries` gave.
        in_place: change the model itself.

    Raises:
        KeyError: for statistics of a symmetry that is not there.
        ValueError: for statistics of another shape, symmetries of another network, and weights that are not finite.

    >>> import lawful as lw
    >>> model = lw.families.mlp([3, 4, 2]).to_torch(torch.float64)
    >>> out = equalise(model)
    >>> rows, columns = out.fc1.weight.abs().amax(1), out.fc2.weight.abs().amax(0)
    >>> bool(torch.allclose(rows, columns, atol=1e-4))
    True
    """
    found = symmetries_of(model, args, kwargs, network)
    chosen = {s.name: s for s in found if _by_channel(s)}
    given = dict(statistics or {})
    for name, value in given.items():
        if name not in chosen:
            raise KeyError(f"no factor per channel is called {name!r}; {there_are(chosen)}")
        if tuple(value.shape) != _channels(chosen[name]):
            raise ValueError(f"{name} has channels of shape {_channels(chosen[name])}, got {tuple(value.shape)}")
    every = weights_of(model, found.setting)
    now = {n: as_double(every[n]) for s in chosen.values() for n in s.parameters}
    factors = {n: torch.ones(_channels(s), dtype=torch.float64) for n, s in chosen.items()}
    for _ in range(SWEEPS):
        moved = 0.0
        for name, s in chosen.items():
            step = _step(s, now, given.get(name), factors[name], found.biases)
            factors[name] = factors[name] * step
            element = Element("scale", step) if s.kind == "scale" else Element("matrix", torch.diag_embed(step))
            now |= s.changed(now, element)
            moved = max(moved, float(step.log().abs().max()))
        if moved < STILL:
            break
    return write(model, {n: t.to(every[n].dtype) for n, t in now.items()}, found.setting.aliases, in_place)


def _by_channel(s: Symmetry) -> bool:
    """Whether factors per channel are elements of a symmetry."""
    if s.kind == "scale":
        return bool(s.shape) and "traceless" not in s.kinds
    return s.group == "general linear" and all(abs(m.power) == 1 and m.partner is None for m in s.moves)


def _channels(s: Symmetry) -> tuple[int, ...]:
    return s.shape if s.kind == "scale" else s.shape[:-1]


def _step(
    s: Symmetry, tensors: Tensors, activation: torch.Tensor | None, so_far: torch.Tensor, biases: frozenset[str]
) -> torch.Tensor:
    ranges = []
    for sign in (1, -1):
        total = torch.zeros(_channels(s), dtype=torch.float64)
        for m in s.moves:
            if m.power * sign > 0 and m.parameter not in biases:
                x = m.part.read(read(m.part.parameter, tensors)).flatten(-2)
                x = (x if s.kind == "scale" else x.movedim(s.kinds.index("matrix"), -2)).abs().amax(-1).cpu()
                total = torch.maximum(total, x ** (1 / float(abs(m.power))))
        ranges.append(total)
    written, taken = ranges
    if activation is not None:
        written = activation.double().abs().cpu() * so_far
    both = (written > 0) & (taken > 0)
    return torch.where(both, (taken / written.clamp_min(1e-300)).sqrt(), torch.ones_like(taken))
