"""All networks that we know to have more laws than the rules give."""

from __future__ import annotations

import torch

from lawful import blocks as b

from .finding import Finding, P, complement, within
from .findings_spaces import accident_findings, space_findings, token_findings
from .settings.setting import linear

MEAN = torch.sin(2.4 * torch.arange(1, 4, dtype=torch.float64))  # the statistics of `FrozenBatchNorm` without a module
DEVIATION = torch.sqrt(1.2 + torch.cos(1.7 * torch.arange(1, 4, dtype=torch.float64)) / 2)


def findings() -> list[Finding]:
    """All findings."""
    return [
        *_frozen(),
        *_sums(),
        *_skips(),
        *_fixed(),
        *token_findings(),
        *space_findings(),
        *accident_findings(),
    ]


def _frozen() -> list[Finding]:
    def singular(p: P) -> torch.Tensor:
        left, _, right = torch.linalg.svd(p["1.weight"])
        return (right @ p["0.weight"]).square().sum(1) - (p["2.weight"] @ left).square().sum(0)

    def killed(p: P) -> torch.Tensor:
        balance = p["0.weight"] @ p["0.weight"].T - p["2.weight"].T @ p["2.weight"]
        return within(complement(p["1.bias"][None]), balance)

    return [
        Finding(
            "a frozen matrix between trained ones",
            lambda: linear(2, 3) >> b.frozen(linear(3, 3)) >> linear(3, 2),
            3,
            "one law for each singular direction of the frozen matrix, not only for their sum",
            singular,
        ),
        Finding(
            "a frozen shift on a linear wire",
            lambda: linear(2, 3) >> b.frozen(b.Affine(3, gain=False)) >> linear(3, 3),
            3,
            "the n (n - 1) / 2 matrices that map the frozen vector to zero still pass",
            killed,
        ),
        Finding(
            "a bias before a frozen mean",
            lambda: linear(2, 3, True) >> b.FrozenBatchNorm(3) >> b.ReLU() >> linear(3, 3),
            3,
            "bias and mean act together: `‖W_i‖² + (b_i - mean_i)² - ‖V_:i‖²`",
            lambda p: p["0.weight"].square().sum(1) + (p["0.bias"] - MEAN).square() - p["3.weight"].square().sum(0),
        ),
        Finding(
            "frozen variances before LayerNorm",
            lambda: linear(3, 3) >> b.FrozenBatchNorm(3, 0.0) >> b.LayerNorm(3, epsilon=0.0) >> linear(3, 3),
            6,
            "LayerNorm does not see `1`, so nothing sees `s` before the division by `s_i`: `sᵀ W` is conserved",
            lambda p: DEVIATION @ p["0.weight"],
        ),
    ]


def _sums() -> list[Finding]:
    return [
        Finding(
            "a gain beside a matrix",
            lambda: b.parallel(linear(3, 3), b.Affine(3, shift=False)) >> b.ReLU() >> linear(3, 3),
            6,
            "`W + diag(g)` is one map: `W_ii - g_i` is conserved",
            lambda p: p["0.0.weight"].diagonal() - p["0.1.weight"],
            b.Signal(3),
        ),
        Finding(
            "kernels of two sizes side by side",
            lambda: (
                b.parallel(b.Conv1d(1, 2, 3, 1, 1, bias=False), b.Conv1d(1, 2, 1, bias=False))
                >> b.ReLU()
                >> b.Conv1d(2, 2, 1, bias=False)
            ),
            4,
            "the centre of the large kernel and the small one have one gradient: their difference is conserved",
            lambda p: p["0.0.weight"][:, :, 1] - p["0.1.weight"][:, :, 0],
            space=(4,),
        ),
        Finding(
            "copies with gains, added",
            lambda: linear(2, 2) >> b.RepeatFeatures(2) >> b.Affine(4, shift=False) >> b.SumFeatures(2) >> linear(2, 2),
            6,
            "the gains of one feature only enter as a sum: their difference is conserved",
            lambda p: p["2.weight"][0::2] - p["2.weight"][1::2],
        ),
    ]


def _skips() -> list[Finding]:
    def maxima(p: P) -> torch.Tensor:
        maps = p["1.branch.proj.weight"].reshape(3, 2, 3) + torch.eye(3, dtype=torch.float64)[:, None]
        first = p["0.weight"] @ p["0.weight"].T + torch.outer(p["0.bias"], p["0.bias"])
        return first - torch.einsum("iku,ikv->uv", maps, maps)

    def factors(p: P) -> torch.Tensor:
        g, h = p["1.branch.0.weight"], p["1.branch.1.weight"]
        return p["0.weight"].square().sum(1) - h.square() - torch.log(((g + h) / (g - h)).abs())

    def kept(p: P) -> torch.Tensor:
        joined = p["1.branch.0.weight"] + 0.8 * torch.eye(3, dtype=torch.float64)
        return joined.square().sum() + p["1.branch.0.bias"].square().sum()

    return [
        Finding(
            "a random skip around a map, before LayerNorm",
            lambda: (
                linear(2, 3, True)
                >> b.residual(linear(3, 3, True) >> b.StochasticDepth(0.2))
                >> b.LayerNorm(3, epsilon=0.0)
                >> linear(3, 3)
            ),
            10,
            "with the branch and without it the stream has a scale of its own: `‖(1 - p) I + W‖² + ‖b‖²`",
            kept,
        ),
        Finding(
            "a skip around a maximum of maps",
            lambda: linear(2, 3, True) >> b.residual(b.Maxout(3, 3)) >> linear(3, 3),
            9,
            "the skip can be drawn into every map: the balance of the map before with all `I + W_k`",
            maxima,
        ),
        Finding(
            "a skip around two gains",
            lambda: (
                linear(2, 3)
                >> b.residual(b.Affine(3, shift=False) >> b.Affine(3, shift=False))
                >> b.ReLU()
                >> linear(3, 2)
            ),
            9,
            "one factor `1 + g h` per feature: `‖W_i‖² - h² - log|(g + h) / (g - h)|`, no polynomial",
            factors,
        ),
    ]


def _fixed() -> list[Finding]:
    def killed(p: P) -> torch.Tensor:
        balance = p["0.weight"] @ p["0.weight"].T - p["2.weight"].T @ p["2.weight"]
        return within(complement(torch.ones(1, 3, dtype=torch.float64)), balance)

    def beside_the_table(p: P) -> torch.Tensor:
        free = complement(b.Sinusoidal(10.0).table(3, 4))
        readers = torch.cat([p[f"2.heads.{name}.weight"] for name in "qkv"])
        return within(free, p["0.weight"] @ p["0.weight"].T - readers.T @ readers)

    return [
        Finding(
            "squares of normalised features",
            lambda: linear(3, 3) >> b.LayerNormCore(3, 0.0) >> b.Power(2) >> linear(3, 2, True),
            6,
            "the squares add up to n: `Σ_j V_ij - n b_i` is conserved",
            lambda p: p["3.weight"].sum(1) - 3 * p["3.bias"],
        ),
        Finding(
            "an exponential scale before a map",
            lambda: b.parallel(linear(3, 3), linear(3, 3), join=b.CosineSimilarity()) >> linear(1, 2),
            3,
            "a factor of the map is a shift of the exponent: `s - ‖U‖² / 2` is conserved",
            lambda p: p["0.cosinesimilarity.scale"] - p["1.weight"].square().sum() / 2,
            b.Signal(3),
        ),
        Finding(
            "a bias before an exponential",
            lambda: linear(2, 3, True) >> b.Pointwise("exp") >> linear(3, 3, True),
            3,
            "a shift of the exponent is a factor behind it: `b_j - ‖V_:j‖² / 2` is conserved",
            lambda p: p["0.bias"] - p["2.weight"].square().sum(0) / 2,
        ),
        Finding(
            "one minus a linear map",
            lambda: linear(2, 3) >> b.Pointwise("one_minus") >> linear(3, 3, True),
            3,
            "the n (n - 1) / 2 matrices that map `1` to zero still pass",
            killed,
        ),
        Finding(
            "fixed positions that do not span the features",
            lambda: linear(2, 4) >> b.Sinusoidal(10.0) >> b.SelfAttention(4, 1, 0, 2),
            7,
            "the matrices that map all rows of the table to zero still pass",
            beside_the_table,
            b.Signal(2, (3,)),
        ),
    ]
