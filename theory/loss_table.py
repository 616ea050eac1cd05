"""The losses by name: their functions, what their gradients span, and random targets for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

TEMPERATURE = 0.5  # of the contrastive loss


class LossError(ValueError):
    """A loss that there is not, or that does not fit the outputs; says what there is."""


@dataclass(frozen=True)
class Kind:
    """What a name stands for.

    Attributes:
        span: what its gradients span.
        value: the function of rows `(n, features)` and targets.
        target: random targets for rows.
        aliases: other names.
        indices: whether a target is one index for a row, and not a row of values.
    """

    span: str
    value: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    target: Callable[[torch.Tensor, torch.Generator], torch.Tensor]
    aliases: tuple[str, ...] = ()
    indices: bool = False


def _normal(z: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(z.shape, generator=generator, dtype=z.dtype).to(z.device)


def _counts(z: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(4, z.shape, generator=generator).to(z)


def _bits(z: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(2, z.shape, generator=generator).to(z)


def _signs(z: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return 2 * _bits(z, generator) - 1


def _classes(z: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(z.shape[1], z.shape[:1], generator=generator).to(z.device)


def _distribution(z: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return _normal(z, generator).softmax(1)


def _partners(z: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Another row for every row."""
    n = len(z)
    if n < 3:
        raise LossError(f"a contrastive loss compares three or more examples, the batch gives {n}; give more")
    return (torch.arange(n) + torch.randint(1, n, (n,), generator=generator)).remainder(n).to(z.device)


def _kl(z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.kl_div(z.log_softmax(1), target, reduction="batchmean")


def _cosine(z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (1 - F.cosine_similarity(z, target, 1)).mean()


def _contrastive(z: torch.Tensor, partner: torch.Tensor) -> torch.Tensor:
    unit = F.normalize(z, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    return F.cross_entropy((unit @ unit.T / TEMPERATURE).masked_fill(itself, -torch.inf), partner)


KINDS = {
    "mse": Kind("all", F.mse_loss, _normal, ("mse_loss", "l2", "squared_error")),
    "cross_entropy": Kind(
        "shift",
        F.cross_entropy,
        # Where a softmax is sure of a class, `p - y` of that class is nothing but rounding, on which no law is judged.
        _distribution,
        ("ce", "crossentropy", "softmax_cross_entropy", "categorical_cross_entropy"),
        indices=True,
    ),
    "bce": Kind(
        "all",
        F.binary_cross_entropy_with_logits,
        _bits,
        ("binary_cross_entropy", "bce_with_logits", "binary_cross_entropy_with_logits", "sigmoid_cross_entropy"),
    ),
    "l1": Kind("all", F.l1_loss, _normal, ("mae", "l1_loss", "absolute_error")),
    "huber": Kind("all", F.huber_loss, _normal, ("huber_loss", "smooth_l1", "smooth_l1_loss")),
    "poisson": Kind("all", F.poisson_nll_loss, _counts, ("poisson_nll", "poisson_nll_loss")),
    "nll": Kind("all", F.nll_loss, _classes, ("nll_loss",), indices=True),
    "soft_margin": Kind("all", F.soft_margin_loss, _signs, ("soft_margin_loss", "logistic")),
    "binary_hinge": Kind("all", lambda z, y: F.relu(1 - y * z).mean(), _signs),
    "hinge": Kind(
        "shift",
        F.multi_margin_loss,
        _classes,
        ("multi_margin", "multi_margin_loss", "multiclass_hinge", "crammer_singer"),
        indices=True,
    ),
    "kl": Kind("shift", _kl, _distribution, ("kl_div", "kl_divergence", "distillation")),
    "cosine": Kind("scale", _cosine, _normal, ("cosine_similarity", "cosine_embedding")),
    "contrastive": Kind("scale", _contrastive, _partners, ("info_nce", "infonce", "nt_xent", "simclr"), indices=True),
}
BY_ALIAS = {alias: name for name, kind in KINDS.items() for alias in (name, *kind.aliases)}
NAMES = tuple(KINDS)
