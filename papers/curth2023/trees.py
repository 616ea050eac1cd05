"""Trees: more leaves of one tree first, then more trees."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..paper import Plain, Units
from ..shelf import PaperError
from .smoothers import digits, measured, smoother

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeRegressor

LEAVES = (2, 5, 10, 20, 50, 100, 200, 0)  # 0: one for every example
TREES = (2, 5, 10, 20, 50)
SEEDS = 5
NAMES = ("leaves", "trees")
SWAP = len(LEAVES) - 1


def grown(x: Tensor, y: Tensor, leaves: int, seed: int) -> DecisionTreeRegressor:
    """A tree of scikit-learn that tries the root of the pixels at every node and grows best first."""
    try:
        from sklearn.tree import DecisionTreeRegressor
    except ImportError as error:  # pragma: no cover - the digits are of scikit-learn too
        raise PaperError(f"the trees are those of scikit-learn: {error}") from error
    # Best first with a bound that all examples meet, never depth first: else two full trees of one seed differ.
    return DecisionTreeRegressor(max_leaf_nodes=leaves or len(x), max_features="sqrt", random_state=seed).fit(
        x.numpy(), y.numpy()
    )


def shared(tree: DecisionTreeRegressor, x: Tensor, seen: Tensor) -> Tensor:
    """What each input gives to each training target, shape `(inputs, n)`: its leaf's examples, all alike."""
    own, leaf = (torch.tensor(tree.apply(z.numpy())) for z in (seen, x))
    same = (leaf[:, None] == own[None]).double()
    return same / same.sum(1, keepdim=True)


def _units(quick: bool) -> Units:
    trees, sizes = (TREES[:4], (10,)) if quick else (TREES, (10, 50))

    def one(seed: int) -> Plain:
        x, y, unseen, target = digits(quick, seed)

        def forests(leaves: int, marks: tuple[int, ...]) -> list[list[float]]:
            """Forests of some numbers of trees, each grown out of the one before."""
            weights, own = x.new_zeros(len(unseen), len(x)), x.new_zeros(len(x), len(x))
            rows, raw = [], 0
            for t in range(marks[-1]):
                tree = grown(x, y, leaves, 1000 * seed + t)
                weights, own, raw = (
                    weights + shared(tree, unseen, x),
                    own + shared(tree, x, x),
                    raw + tree.get_n_leaves(),
                )
                if t + 1 in marks:
                    rows.append([float(raw), *measured(weights / (t + 1), own / (t + 1), y, target)])
            return rows

        every = {leaves: forests(leaves, (1, *(sizes if leaves else trees))) for leaves in LEAVES}
        axes = {str(m): [every[k][(1, *(sizes if k else trees)).index(m)] for k in LEAVES] for m in sizes}
        return {"raw": [*(every[k][0] for k in LEAVES[:-1]), *every[0]], "axes": axes}

    return {f"seed {seed}": partial(one, seed) for seed in range(2 if quick else SEEDS)}


PART = smoother(
    "trees",
    "Trees",
    "Trees without bootstrap, the root of the pixels tried at every node; leaves 2 to all of one tree, then up "
    f"to {TREES[-1]} full trees (20 in the quick run); leaves in forests of 10 and 50, too. The mean of {SEEDS} "
    f"splits, two in the quick run. The paper: MNIST, 10,000 examples, up to 100 trees.",
    SEEDS,
    _units,
    NAMES,
    SWAP,
)
