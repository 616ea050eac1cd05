"""What gradient noise does to a law of the gradient flow: its expected drift.

For `d theta = -grad L dt + sqrt(2 sigma^2 Sigma) dW` Itô's formula leaves, since the gradient does not change `h`,

    d/dt E[h] = sigma^2 tr(Sigma hess h),    2 sigma^2 tr(Sigma A) for h = theta^T A theta.

Source: Ziyin et al. 2024 (law of balance, Noether flow).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch.func import jvp, vmap

from ..arguments import of_right_kinds
from ..laws.law import Law, as_parameters
from ..parts import base
from ..typed import named_arguments, typed
from .base import Layout
from .errors import FlowError

CHUNK = 64  # directions that are differentiated at once

Tensors = dict[str, torch.Tensor]


@named_arguments
@dataclass(frozen=True)
@of_right_kinds
class Noise:
    """A covariance `Sigma = sum_k f_k f_k^T` of the gradient.

    Attributes:
        factors: gives the `f_k` restricted to some parameters, with one leading axis `k`.
    """

    factors: Callable[[Sequence[str]], Tensors]

    @staticmethod
    @typed(FlowError)
    def of_examples(gradients: Mapping[str, torch.Tensor]) -> Noise:
        """The covariance of gradients of single examples, each `(examples, *shape)` by parameter name.

        Raises:
            FlowError: for different numbers of examples, or fewer than two.
        """
        numbers = {len(g) if g.ndim else 0 for g in gradients.values()}
        if len(numbers) != 1 or min(numbers) < 2:
            raise FlowError(f"gradients of {sorted(numbers)} examples; give the same number of two or more for each")
        (n,) = numbers
        return Noise(lambda names: {k: (gradients[k] - gradients[k].mean(0)) / math.sqrt(n) for k in names})

    @staticmethod
    @typed(FlowError)
    def diagonal(variances: Mapping[str, torch.Tensor]) -> Noise:
        """Independent noise with a variance for every entry, by parameter name.

        Raises:
            FlowError: for variances that are not 0 or more.
        """
        for n, v in variances.items():
            if not bool((v >= 0).all()):
                raise FlowError(f"the variances of {n} go down to {float(v.min()):.3g}; a variance is 0 or more")

        def factors(names: Sequence[str]) -> Tensors:
            layout = Layout({n: tuple(variances[n].shape) for n in names})
            rows = torch.diag(layout.flatten(variances).sqrt())
            return {n: torch.stack([layout.split(r)[n] for r in rows]) for n in names}

        return Noise(factors)

    @staticmethod
    @typed(FlowError)
    def full(matrix: torch.Tensor, shapes: Mapping[str, tuple[int, ...]]) -> Noise:
        """A covariance matrix of all entries.

        Args:
            matrix: symmetric and positive semidefinite, shape `(D, D)`.
            shapes: shape by parameter name, in the order in which the entries are laid end to end.

        Raises:
            FlowError: for a matrix of another shape, or one that is no covariance.
        """
        layout = Layout(shapes)
        if tuple(matrix.shape) != (layout.size, layout.size):
            raise FlowError(
                f"the covariance has shape {tuple(matrix.shape)}, the parameters have {layout.size} entries"
            )
        if not bool(torch.isfinite(matrix).all()):
            raise FlowError("the covariance is not finite")
        values, vectors = torch.linalg.eigh(matrix)
        if not torch.allclose(matrix, matrix.T) or not float(values.min()) >= -1e-10 * float(values.abs().max()):
            raise FlowError("the covariance is not symmetric and positive semidefinite; pass E[(g - E g)(g - E g)^T]")
        rows = (vectors * values.clamp_min(0).sqrt()).T
        return Noise(lambda names: {n: torch.stack([layout.split(r)[n] for r in rows]) for n in names})


@typed(FlowError)
def noise_drift(law: Law, parameters: object, noise: Noise, sigma: float = 1.0) -> torch.Tensor:
    """The expected drift per time of every scalar of a law: `sigma^2 tr(Sigma hess h)`.

    Args:
        law: a law of the gradient flow.
        parameters: a module, a state dict or a dict of tensors.
        noise: the covariance of the gradient.
        sigma: size of the noise, `sigma^2 = eta / 2` for steps of size `eta` whose noise has covariance `Sigma`.

    Returns:
        A tensor of the shape of the law's value; zero for linear laws.

    Raises:
        KeyError: if a parameter is missing.
        FlowError: for a size that is no number of 0 or more, and a covariance that lacks a parameter or its shape.
    """
    if isinstance(sigma, bool) or not isinstance(sigma, Real) or not 0 <= sigma < math.inf:
        raise FlowError(f"the size of the noise is {sigma!r}; pass a number of 0 or more")
    names = list(dict.fromkeys(base(n) for n in law.parameters))
    found = as_parameters(parameters, names)
    at = {n: found[n].detach() for n in names}
    try:
        factors = noise.factors(names)
    except KeyError as error:
        raise FlowError(f"the covariance says nothing of {error.args[0]!r}, which {law.name} reads") from error
    for n, f in factors.items():
        if f.shape[1:] != at[n].shape:
            raise FlowError(f"the covariance gives {n} the shape {tuple(f.shape[1:])}, it has {tuple(at[n].shape)}")

    def bend(direction: Tensors) -> torch.Tensor:
        def slope(point: Tensors) -> torch.Tensor:
            return jvp(law.value, (point,), (direction,))[1]

        return jvp(slope, (at,), (direction,))[1]

    return sigma**2 * vmap(bend, chunk_size=CHUNK)(factors).sum(0)
