"""Two layers of ReLU, with a norm or without: many at once, trained or written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..paper import Plain
from .parity import parity

SEEDS = 3
FEATURES, EXAMPLES, HIDDEN, BATCH, RATE, RADIUS, NOISE = 20, 80, 48, 8, 0.05, 0.1, 1.0
KINDS = {"plain": "no bias", "bias": "bias", "batch": "BatchNorm", "layer": "LayerNorm"}
SMALL = 1e-6  # a norm is not divided by less
STEPS = 10000


def output(kind: str, net: Sequence[Tensor], x: Tensor, all_x: Tensor) -> Tensor:
    """Two layers of ReLU, one output.

    Args:
        kind: a key of `KINDS`; the norms divide what ReLU gives, by its length (`layer`) or by the root of the mean
            square of every unit over the training set (`batch`), without centring, gain or shift.
        net: outer weights `(..., m)`, inner weights `(..., m, d)` and inner biases `(..., m)`.
        x: shape `(..., d)`.
        all_x: the training set, shape `(n, d)`.
    """
    a, w, b = net
    shift = 0.0 if kind == "plain" else b
    h = ((w @ x[..., None])[..., 0] + shift).relu()
    if kind == "layer":
        h = h / h.norm(dim=-1, keepdim=True).clamp(min=SMALL)
    if kind == "batch":
        of_all = (torch.einsum("...md,nd->...nm", w, all_x) + b[..., None, :]).relu()
        h = h / of_all.square().mean(-2).sqrt().clamp(min=SMALL)
    return (a * h).sum(-1)


def slopes(score: Callable[..., Tensor], points: list[Tensor]) -> list[Tensor]:
    """Gradients of the sum of `score` at copies of the parameters."""
    leaves = [p.detach().requires_grad_() for p in points]
    found = torch.autograd.grad(score(*leaves).sum(), leaves, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, found, strict=True)]


def trace(kind: str, net: list[Tensor], x: Tensor) -> float:
    """Trace of the Hessian of the mean of `(f - y)²/2` where `f = y`: the mean square of the gradients of `f`."""
    copies = [p.expand(len(x), *p.shape) for p in net]
    found = slopes(lambda *q: output(kind, q, x, x), copies)
    return float(torch.stack([g.square().sum() for g in found]).sum() / len(x))


def accuracy(kind: str, net: list[Tensor], x: Tensor, seen: Tensor) -> float:
    """Share of right signs on `x`; `seen` is the training set, which BatchNorm reads."""
    y = x[:, 0] * x[:, 1]
    right = output(kind, [p[None] for p in net], x, seen) * y > 0
    return float(right.double().mean())


def trained(kind: str, algorithm: str) -> Plain:
    """`SEEDS` networks trained side by side; SAM has a radius of its own for every example, as the paper's 1-SAM."""
    draw = torch.Generator().manual_seed(0)
    x, y = parity(FEATURES, EXAMPLES, draw)
    unseen, _ = parity(FEATURES, 1000, draw)
    net = [
        torch.randn(SEEDS, HIDDEN, generator=draw, dtype=torch.float64) / HIDDEN**0.5,
        torch.randn(SEEDS, HIDDEN, FEATURES, generator=draw, dtype=torch.float64) / FEATURES**0.5,
        torch.zeros(SEEDS, HIDDEN, dtype=torch.float64),
    ]
    for k in range(STEPS):
        rows = torch.randint(0, EXAMPLES, (SEEDS, BATCH), generator=draw)
        target = y[rows]
        if algorithm == "noise" and k < 0.9 * STEPS:  # the last steps settle in a minimiser
            target = target + NOISE * torch.randn(target.shape, generator=draw, dtype=torch.float64)

        def loss(*q: Tensor, rows: Tensor = rows, target: Tensor = target) -> Tensor:
            return (output(kind, q, x[rows], x) - target).square() / 2

        here = [p[:, None].expand(SEEDS, BATCH, *p.shape[1:]) for p in net]
        g = slopes(loss, here)
        if algorithm == "sam":
            size = sum(t.flatten(2).square().sum(-1) for t in g) ** 0.5 + 1e-12
            g = slopes(
                loss,
                [p + RADIUS * t / size.reshape(size.shape + (1,) * (t.ndim - 2)) for p, t in zip(here, g, strict=True)],
            )
        net = [p - RATE * t.mean(1) for p, t in zip(net, g, strict=True)]
    out = []
    for seed in range(SEEDS):
        one = [p[seed] for p in net]
        error = float((output(kind, [p[None] for p in one], x, x) - y).square().mean())
        out.append([error, accuracy(kind, one, unseen, x), trace(kind, one, x)])
    return {"rows": out}


def written() -> Plain:
    """Two networks written down: one that knows the rule, and one with a unit for every example of its training set."""
    draw = torch.Generator().manual_seed(0)
    x, y = parity(FEATURES, EXAMPLES, draw)
    unseen, _ = parity(FEATURES, 1000, draw)
    pairs = torch.tensor([[1.0, 1], [-1, -1], [1, -1], [-1, 1]], dtype=torch.float64)
    rule = torch.zeros(4, FEATURES, dtype=torch.float64)
    rule[:, :2] = pairs / 2
    nets = {
        "rule": [pairs.prod(1), rule, torch.zeros(4, dtype=torch.float64)],
        "memory": [y.clone(), x.clone(), torch.full((EXAMPLES,), 1.0 - FEATURES, dtype=torch.float64)],
    }
    out = {}
    for name, (a, w, b) in nets.items():
        for kind in KINDS:
            if (kind, name) == ("plain", "memory"):
                continue
            scale = (FEATURES + (kind == "bias")) ** 0.25  # the flattest of its orbit; a unit says 1 where it is on
            net = [a / scale, w * scale, b * scale] if kind in ("plain", "bias") else [a, w, b]
            if kind == "batch":
                net = [a * (x @ w.T + b).relu().square().mean(0).sqrt(), w, b]
            error = float((output(kind, [p[None] for p in net], x, x) - y).square().mean())
            out[f"{name} {kind}"] = [error, accuracy(kind, net, unseen, x), trace(kind, net, x)]
    return out
