"""The point of an orbit with the least norm: every law that a symmetry moves is zero there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch

from lawful.graph.questions.reading import NetworkLike
from lawful.theory.arguments import there_are
from lawful.theory.typed import typed

from .given import ACTING, weights_of
from .least_norm import least_norm
from .models import write
from .symmetries import Symmetries, symmetries
from .symmetry import Symmetry

Model = TypeVar("Model", torch.nn.Module, dict[str, torch.Tensor])


@typed(ways=ACTING)
def balance(
    model: Model,
    laws: Sequence[str] | None = None,
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    network: NetworkLike | Symmetries | None = None,
    in_place: bool = False,
) -> Model:
    """The model at the point of its orbit with the least norm; it computes the same function.

    Every diagonal law is zero there (what writes a unit and what reads it have equal norms), every full law is the zero
    matrix, and every direction that no output feels is zero.

    Args:
        model: a module or a dict of tensors.
        laws: names of the laws to balance, by default all that hold exactly.
        args: example inputs of a module.
        kwargs: its keyword inputs.
        network: the architecture or module of a dict of tensors, or what `symmetries` gave.
        in_place: change the model itself.

    Returns:
        A model of the same kind.

    Raises:
        KeyError: for a law that no symmetry is behind; names those that there are.
        ShapeError: for a module without inputs, symmetries of another network, and weights that are not finite.

    >>> import lawful as lw
    >>> model = lw.families.mlp([3, 4, 2]).to_torch(torch.float64)
    >>> balanced = balance(model)
    >>> float(lw.derive(model)[0].value(balanced).detach().abs().max()) < 1e-9
    True
    """
    found = symmetries_of(model, args, kwargs, network)
    chosen = _chosen(found, laws)
    done = least_norm(weights_of(model, found.setting), chosen)
    return write(model, done.tensors, found.setting.aliases, in_place)


def symmetries_of(
    model: Any,
    args: torch.Tensor | Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    network: NetworkLike | Symmetries | None,
) -> Symmetries:
    """The symmetries of a model, or those that are given.

    Raises:
        TypeError: for tensors without a network.
    """
    if isinstance(network, Symmetries):
        return network
    asked = network if network is not None else model
    if isinstance(asked, Mapping):
        raise TypeError("tensors alone do not say what they compute; pass network= (an architecture, or a module)")
    return symmetries(asked, args=args, kwargs=kwargs)


def _chosen(found: Symmetries, laws: Sequence[str] | None) -> list[Symmetry]:
    lawful = {s.name: s for s in found if s.lawful}
    if laws is None:
        return list(lawful.values())
    missing = [n for n in laws if n not in lawful]
    if missing:
        raise KeyError(f"no symmetry is behind a law {missing[0]!r}; {there_are(lawful)}")
    return [lawful[n] for n in laws]
