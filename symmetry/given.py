"""What the symmetries at work are given, checked before anything is computed: models, and symmetries that fit them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from lawful.blocks import ShapeError
from lawful.theory.arguments import ArgumentError, near_or_all

from .running import Setting, Tensors, real_shape, tensors_of

MODEL = "an architecture has no weights: make a module of it with arch.to_torch()"
FOUND = "pass what lawful.symmetries gave"
WAYS = {"model": MODEL, "a": MODEL, "b": MODEL, "found": FOUND, "network": f"{FOUND}, or leave it out"}
NAMED = "example inputs go in by name: args=(x,)"
FOLDING = WAYS | {"kinds": NAMED}
ACTING = WAYS | {"network": f"{FOUND}, or the network that the tensors are of", "laws": NAMED, "statistics": NAMED}
GROUPS = (
    *("general linear", "joint linear", "complex linear", "linear on a sum of zero", "positive definite"),
    *("orthogonal", "unit complex", "positive diagonal", "scalar", "shift", "permutation", "signs"),
)
ELEMENT = {"element": "take one from symmetry.random(), symmetry.exp(...) or symmetry.element(...)"}


def expect_shapes(names: tuple[str, ...], tensors: Mapping[str, torch.Tensor], setting: Setting) -> None:
    """Checks that parameters have the shapes that a symmetry moves.

    Raises:
        KeyError: if one is missing.
        ShapeError: for another shape.
    """
    for name in names:
        if name not in tensors:
            raise KeyError(f"no parameter {name!r}; pass the module that the symmetry was derived from, or its copy")
        shape, wanted = real_shape(tensors[name]), setting.shapes.get(name)
        if wanted is not None and shape != wanted:
            raise ShapeError(
                f"{name} has the shape {shape}, and the symmetry was derived for {wanted}; "
                "pass the module that it was derived from, or its copy"
            )


def weights_of(model: object, setting: Setting) -> Tensors:
    """The tensors of a model that symmetries fit, every one finite.

    Raises:
        TypeError: for what has no parameters.
        ShapeError: for a model of another network, and for weights that are no numbers.
    """
    found = tensors_of(model, setting.aliases)
    for name, wanted in setting.shapes.items():
        if name not in found:
            raise ShapeError(
                f"the model has no parameter {name!r}, which the network of the symmetries has; "
                "give a model and its own"
            )
        if real_shape(found[name]) != wanted:
            raise ShapeError(
                f"{name} has the shape {real_shape(found[name])} in the model and {wanted} in the network of the "
                "symmetries; give a model and its own"
            )
    for name, tensor in found.items():
        if not tensor.is_meta and tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ShapeError(f"{name} of the model has entries that are not finite; give it weights that are numbers")
    return found


def expect_known(what: str, name: str | None, known: Iterable[str]) -> None:
    """Checks that a name is none that nobody has.

    Raises:
        ArgumentError: names those that are near, or the first ones.
    """
    names = sorted(known)
    if name is not None and name not in names:
        raise ArgumentError(f"no {what} {name!r}; {near_or_all(name, names)}")
