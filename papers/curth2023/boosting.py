"""Boosting: more rounds first, then ensembles of boosted models."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..paper import Plain, Results, Units
from .smoothers import digits, measured, smoother
from .trees import grown

ROUNDS = (1, 2, 5, 10, 20, 50, 100, 200)
ENSEMBLES = (2, 5, 10)
LEAVES, RATE = 10, 0.85
SEEDS = 1
NAMES = ("rounds", "ensembles")
SWAP = len(ROUNDS) - 1

Smoother = tuple[Tensor, Tensor]  # rows of weights of the test inputs `(test, n)` and of the training inputs `(n, n)`


def _means(leaf: Tensor, own: Tensor, rows: Tensor) -> Tensor:
    """For every input the mean of `rows`, one for each training example, over the examples of its leaf."""
    places = int(own.max()) + 1
    counts = torch.zeros(places, dtype=rows.dtype).index_add_(0, own, torch.ones(len(own), dtype=rows.dtype))
    sums = torch.zeros(places, rows.shape[1], dtype=rows.dtype).index_add_(0, own, rows)
    return (sums / counts.clamp(min=1)[:, None])[leaf]


def boosted(x: Tensor, y: Tensor, unseen: Tensor, rounds: int, seed: int) -> list[Smoother]:
    """After every round, the boosted model as a smoother: a tree averages what the rounds before have left over."""
    weights, own = x.new_zeros(len(unseen), len(x)), x.new_zeros(len(x), len(x))
    out = []
    for k in range(rounds):
        tree = grown(x, y - own @ y, LEAVES, 100_000 * seed + k)
        seen, new = (torch.tensor(tree.apply(z.numpy())) for z in (x, unseen))
        left = torch.eye(len(x), dtype=x.dtype) - own
        weights, own = weights + RATE * _means(new, seen, left), own + RATE * _means(seen, seen, left)
        if k + 1 in ROUNDS:
            out.append((weights, own))
    return out


def _units(quick: bool) -> Units:
    rounds, ensembles = (ROUNDS[:-1], ENSEMBLES) if quick else (ROUNDS, ENSEMBLES)

    def one(seed: int) -> Plain:
        x, y, unseen, target = digits(quick, seed)
        total: list[Smoother] = [(x.new_zeros(len(unseen), len(x)), x.new_zeros(len(x), len(x)))] * len(rounds)
        rows: dict[int, list[list[float]]] = {}
        for m in range(ensembles[-1]):
            found = boosted(x, y, unseen, rounds[-1], 100 * seed + m)
            total = [(a + c, b + d) for (a, b), (c, d) in zip(total, found, strict=True)]
            if m + 1 in (1, *ensembles):
                rows[m + 1] = [
                    [float(LEAVES * k * (m + 1)), *measured(a / (m + 1), b / (m + 1), y, target)]
                    for k, (a, b) in zip(rounds, total, strict=True)
                ]
        raw = [*rows[1], *(rows[m][-1] for m in ensembles)]
        return {"raw": raw, "axes": {str(m): rows[m] for m in (2, 10)}}

    return {f"seed {seed}": partial(one, seed) for seed in range(SEEDS)}


def _swap(results: Results) -> int:
    return len(next(iter(results.values()))["axes"]["2"]) - 1


PART = smoother(
    "boosting",
    "Boosting",
    f"Boosting of the squared loss at the rate {RATE} by trees of {LEAVES} leaves with all classes in one tree, "
    f"the root of the pixels tried at every node; up to {ROUNDS[-1]} rounds (100 in the quick run), then the mean of "
    f"up to {ENSEMBLES[-1]} such models. One split. The paper: MNIST, 10,000 "
    "examples, one class against all others, other leaves and rates, too.",
    SEEDS,
    _units,
    NAMES,
    _swap,
)
