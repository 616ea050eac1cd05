"""Random Fourier features: more principal components first, then more features than examples."""

from __future__ import annotations

from functools import partial

import torch

from ..paper import Plain, Units
from .smoothers import digits, measured, smoother

SCALE = 0.2  # deviation of the frequencies, as in the paper
SEEDS = 2
SHARES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 1.0)  # features, then components, over the examples
EXCESS = (0.03, 0.1, 0.2, 0.4, 1.0, 2.0, 4.0)  # features beyond the examples, over the examples
AXES = (0.0, 1.0, 4.0)  # excess at which components are taken away
NAMES = ("components", "excess features")
SWAP = len(SHARES) - 1


def _units(quick: bool) -> Units:
    def one(seed: int) -> Plain:
        x, y, unseen, target = digits(quick, seed)
        n, draw = len(x), torch.Generator().manual_seed(seed)
        many = round(n * (1 + max(*EXCESS, *AXES)))
        waves = SCALE * torch.randn(x.shape[1], many, generator=draw, dtype=torch.float64)
        phases = 2 * torch.pi * torch.rand(many, generator=draw, dtype=torch.float64)
        seen, new = (torch.cos(z @ waves + phases) for z in (x, unseen))

        def kept(features: int, components: list[int]) -> list[list[float]]:
            u, s, v = torch.linalg.svd(seen[:, :features], full_matrices=False)
            coordinates = new[:, :features] @ v.T / s
            return [measured(coordinates[:, :k] @ u[:, :k].T, u[:, :k] @ u[:, :k].T, y, target) for k in components]

        counts = [round(share * n) for share in SHARES]
        raw = [[p, *kept(p, [p])[0]] for p in counts]
        raw += [[p, *kept(p, [n])[0]] for p in (n + round(n * e) for e in EXCESS)]
        axes = {}
        for e in AXES:
            rows = kept(n + round(n * e), counts)
            axes[f"{round(n * e)}"] = [[k, *row] for k, row in zip(counts, rows, strict=True)]
        return {"raw": raw, "axes": axes}

    return {f"seed {seed}": partial(one, seed) for seed in range(1 if quick else SEEDS)}


PART = smoother(
    "features",
    "Random Fourier features",
    f"One least-norm regression on cosines of frequencies of deviation {SCALE}: as many features as components "
    "up to one for every example, then up to five times as many features; components taken away at three numbers of "
    f"features, too. The mean of {SEEDS} splits, one in the quick run. The paper: MNIST, 10,000 examples, up to 60,000 "
    "features.",
    SEEDS,
    _units,
    NAMES,
    SWAP,
    log=True,
)
