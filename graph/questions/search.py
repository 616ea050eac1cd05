"""Polynomial conservation laws of networks, found without the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lawful.theory.arguments import ArgumentError
from lawful.theory.search import ExactFields, PolynomialLaws, ProgramFields
from lawful.theory.search import search_laws as search_fields
from lawful.theory.typed import typed

if TYPE_CHECKING:  # torch is loaded for networks only
    import sympy
    import torch

    from lawful.theory.losses import LossLike

    from .reading import NetworkLike


@typed(ArgumentError, skip=("fields", "variables", "loss", "args", "kwargs"))
def search_laws(
    fields: NetworkLike | ExactFields | Sequence[Sequence[Any]],
    variables: Sequence[sympy.Symbol] | None = None,
    degree: int = 2,
    *,
    loss: LossLike = "mse",
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> PolynomialLaws:
    """Finds all polynomials up to some degree that training conserves, without knowing any law.

    Args:
        fields: a network that is polynomial once its activation patterns are fixed (its fields are the gradients that
            losses can send, for all data and all patterns); or vector fields (see `theory.search.search_laws`).
        variables: the symbols that vector fields move.  A network names its own (`fc0.weight[0,1]`).
        degree: the largest degree of a law.
        loss: the loss of every output of a network (see `derive`).
        args: example inputs of a module, which is traced.
        kwargs: its keyword inputs.
        seed: of the primes, points and fields.
        progress: called with a line before each step.

    Returns:
        A basis of the laws, and an independent subset.

    Raises:
        NotPolynomialError: names the operation of a network that is no polynomial; and for one that is another
            polynomial, with other laws, where its parameters alone decide otherwise (a ReLU of a weight).
        ShapeError: for a module without inputs, and for losses that do not fit the outputs.
        ValueError: if a field is not polynomial, sizes disagree, nothing moves, or the search would be too large.

    >>> from lawful import Architecture, blocks as b
    >>> arch = Architecture(b.chain(a=b.Linear(1, 2, False), r=b.ReLU(), c=b.Linear(2, 1, False)))
    >>> search_laws(arch).laws
    (a.weight[0,0]**2 - c.weight[0,0]**2, a.weight[1,0]**2 - c.weight[0,1]**2)
    """
    if isinstance(fields, ExactFields) or (isinstance(fields, Sequence) and not isinstance(fields, str)):
        return search_fields(fields, variables, degree, seed=seed, progress=progress)
    from lawful.blocks import ShapeError
    from lawful.theory.inputs import inputs_of
    from lawful.theory.oracle.exact.program import NotPolynomialError

    from .derive import architecture_of
    from .exact import potential_programs
    from .reading import network_of

    if variables is not None:
        raise ValueError("a network names its own variables; write search_laws(network, degree=2)")
    say = progress or (lambda line: None)
    say("reading the network as a polynomial")
    inputs = inputs_of("search_laws", args, kwargs, ShapeError)
    arch = architecture_of(network_of(fields, "search_laws"), *inputs)
    try:
        programs = potential_programs(arch, loss)
    except NotPolynomialError as error:
        raise NotPolynomialError(error.what, "a search is for polynomials: derive and count its laws instead") from None
    found = [search_fields(ProgramFields(p), None, degree, seed=seed, progress=progress) for p in programs]
    if any(other.laws != found[0].laws for other in found[1:]):
        raise NotPolynomialError(
            "parameters alone decide some activations (a ReLU of a weight, a clamped weight), and other laws hold "
            "where they decide otherwise; count the laws in floats, or search the network without that function"
        )
    return found[0]
