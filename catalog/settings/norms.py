"""Settings with normalisations: a linear map, a norm, a linear map."""

from __future__ import annotations

from collections.abc import Callable

from lawful import blocks as b

from .setting import Builder, Setting, image, linear, tokens

Norm = Callable[[int], b.Net]

SCALE = "kunin2021, theorem 1"
NORM = "kunin2021, theorem 1; tran2026, section 4"
MEANS = "kunin2021, theorem 1; shift theorem (lawful)"


def norm_settings() -> list[Setting]:
    """Normalisations over features, over the batch, over groups and positions."""
    return [*_of_features(), *_of_channels()]


def _of_features() -> list[Setting]:
    sizes, least = {"m": 2, "n": 4, "p": 2}, {"n": 3}
    square = {"m": 3, "n": 3, "p": 2}  # with fewer vectors than features the space that they span might be kept as well

    def around(norm: Norm, bias: bool = False) -> Builder:
        return lambda m, n, p: b.chain(W=linear(m, n, bias), norm=norm(n), V=linear(n, p, bias))

    def of(
        name: str,
        title: str,
        block: str,
        norm: Norm,
        bias: bool = False,
        at: dict[str, int] = sizes,
        source: str = NORM,
    ) -> Setting:
        return Setting(name, title, block, around(norm, bias), at, least=least, source=source, linear_source=MEANS)

    return [
        of("layernorm-core", "LayerNorm without gain and shift", "LayerNormCore", lambda n: b.LayerNormCore(n, 0.0)),
        of(
            "layernorm-core-bias",
            "LayerNorm without gain and shift, with biases",
            "LayerNormCore",
            lambda n: b.LayerNormCore(n, 0.0),
            True,
        ),
        of("layernorm", "LayerNorm with gain and shift", "LayerNorm", lambda n: b.LayerNorm(n, epsilon=0.0), True),
        of("layernorm-gain", "LayerNorm with a gain", "LayerNorm", lambda n: b.LayerNorm(n, shift=False, epsilon=0.0)),
        of("rmsnorm-core", "RMSNorm without gain", "RMSNormCore", lambda n: b.RMSNormCore(n, 0.0), at=square),
        of("rmsnorm", "RMSNorm with a gain", "RMSNorm", lambda n: b.RMSNorm(n, epsilon=0.0), at=square),
        of("l2norm", "features divided by their norm", "L2Norm", b.L2Norm, at=square, source=SCALE),
        Setting(
            "head-norm",
            "RMSNorm of every head with one gain for all heads",
            "HeadNorm",
            lambda m, h, d, p: b.chain(
                W=linear(m, h * d), norm=b.HeadNorm(h, d, epsilon=0.0), act=b.ReLU(), V=linear(h * d, p)
            ),
            {"m": 2, "h": 2, "d": 3, "p": 2},
            least={"d": 3},
            source=SCALE,
        ),
    ]


def _of_channels() -> list[Setting]:
    three = {"m": 2, "n": 3, "p": 2}
    return [
        Setting(
            "batchnorm",
            "BatchNorm with gain and shift, then ReLU",
            "BatchNorm",
            lambda m, n, p: b.chain(
                W=linear(m, n, True), norm=b.BatchNorm(n, epsilon=0.0), act=b.ReLU(), V=linear(n, p)
            ),
            three,
            source="kunin2021, theorem 1; marcotte2025, section 5",
            linear_source=MEANS,
        ),
        Setting(
            "conv-batchnorm",
            "a convolution before BatchNorm with gain and shift, then ReLU",
            "BatchNorm",
            lambda m, n, p: b.chain(
                W=b.Conv2d(m, n, 2), norm=b.BatchNorm(n, epsilon=0.0), act=b.ReLU(), V=b.Conv2d(n, p, 1, bias=False)
            ),
            {"m": 1, "n": 2, "p": 2},
            space=(3, 3),
            least={"m": 1},
            source="kunin2021, theorem 1",
            linear_source=MEANS,
        ),
        Setting(
            "frozen-batchnorm",
            "BatchNorm with fixed statistics, gain and shift, then ReLU",
            "FrozenBatchNorm",
            lambda m, n, p: b.chain(
                W=linear(m, n), norm=b.BatchNorm(n, frozen_statistics=True), act=b.ReLU(), V=linear(n, p)
            ),
            three,
            hypotheses=("the means and variances do not change",),
        ),
        Setting(
            "groupnorm",
            "a convolution before GroupNorm with gain and shift",
            "GroupNorm",
            lambda m, g, k, p: b.chain(
                W=b.Conv2d(m, g * k, 1),
                norm=b.GroupNorm(g, g * k, epsilon=0.0),
                act=b.ReLU(),
                V=b.Conv2d(g * k, p, 1, bias=False),
            ),
            {"m": 1, "g": 2, "k": 2, "p": 2},
            space=(2, 2),
            least={"m": 1},
            source=SCALE,
            linear_source=MEANS,
        ),
        Setting(
            "instance-norm",
            "a convolution before InstanceNorm with gain and shift",
            "InstanceNorm",
            lambda m, n, p: b.chain(
                W=b.Conv2d(m, n, 1),
                norm=b.InstanceNorm(n, True, True, 0.0),
                act=b.ReLU(),
                V=b.Conv2d(n, p, 1, bias=False),
            ),
            three,
            input=lambda m, n, p: image(m, 2, 2),
            source=SCALE,
            linear_source=MEANS,
        ),
        Setting(
            "layernorm-channels",
            "LayerNorm over the channels of every pixel",
            "LayerNorm",
            lambda m, n, p: b.chain(
                W=b.Conv2d(m, n, 1, bias=False),
                norm=b.LayerNorm(n, epsilon=0.0),
                act=b.ReLU(),
                V=b.Conv2d(n, p, 1, bias=False),
            ),
            three,
            input=lambda m, n, p: image(m, 2, 2),
            least={"n": 3},
            source=NORM,
            linear_source=MEANS,
        ),
        Setting(
            "rmsnorm-tokens",
            "RMSNorm of tokens, then their mean",
            "RMSNorm",
            lambda m, n, p: b.chain(
                W=linear(m, n), norm=b.RMSNorm(n, epsilon=0.0), mean=b.GlobalAveragePool(), V=linear(n, p)
            ),
            {"m": 3, "n": 3, "p": 2},
            input=lambda m, n, p: tokens(m),
            least={"n": 3},
            source=NORM,
        ),
    ]
