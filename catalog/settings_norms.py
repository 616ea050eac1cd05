"""Settings with normalisations, residual streams, convolutions and pooling."""

from __future__ import annotations

from collections.abc import Callable

from lawful import blocks as b

from .settings import BALANCE, Setting, linear, relu_branch

Norm = Callable[[int], b.Net]
Builder = Callable[..., b.Net]

NORM = "kunin2021, theorem 1; tran2026, section 4"
MEANS = "kunin2021, theorem 1; shift theorem (lawful)"


def norm_settings() -> list[Setting]:
    """A linear map, a normalisation, a linear map."""
    sizes, least = {"m": 2, "n": 4, "p": 2}, {"n": 3}

    def around(norm: Norm, bias: bool = False) -> Builder:
        return lambda m, n, p: b.chain(W=linear(m, n, bias), norm=norm(n), V=linear(n, p, bias))

    def of(name: str, title: str, block: str, norm: Norm, bias: bool = False, source: str = NORM) -> Setting:
        return Setting(name, title, block, around(norm, bias), sizes, least=least, source=source, linear_source=MEANS)

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
        of("rmsnorm-core", "RMSNorm without gain", "RMSNormCore", lambda n: b.RMSNormCore(n, 0.0)),
        of("rmsnorm", "RMSNorm with a gain", "RMSNorm", lambda n: b.RMSNorm(n, epsilon=0.0)),
        Setting(
            "batchnorm",
            "BatchNorm with gain and shift, then ReLU",
            "BatchNorm",
            lambda m, n, p: b.chain(
                W=linear(m, n, True), norm=b.BatchNorm(n, epsilon=0.0), act=b.ReLU(), V=linear(n, p)
            ),
            {"m": 2, "n": 3, "p": 2},
            source="kunin2021, theorem 1; marcotte2025, section 5",
            linear_source=MEANS,
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
            source="kunin2021, theorem 1",
            linear_source=MEANS,
        ),
    ]


def stream_settings() -> list[Setting]:
    """The residual stream: one wire with many writers and readers."""
    core, rms = b.LayerNormCore, b.RMSNormCore
    sizes = {"m": 2, "n": 2, "h": 2, "p": 2}
    wide, least = {"m": 2, "n": 4, "h": 3, "p": 2}, {"n": 3}

    def stem_head(block: Callable[[int, int], b.Net], end: Norm | None = None) -> Builder:
        def build(m: int, n: int, h: int, p: int) -> b.Net:
            middle = {"block": block(n, h)} | ({"norm": end(n)} if end else {})
            return b.chain(stem=linear(m, n), **middle, head=linear(n, p))

        return build

    def before(norm: Norm) -> Callable[[int, int], b.Net]:
        return lambda n, h: b.residual(b.chain(norm=norm(n), mlp=relu_branch(n, h)))

    return [
        Setting(
            "residual",
            "two residual blocks without stem and head",
            "residual",
            lambda n, h, k: b.chain(one=b.residual(relu_branch(n, h)), two=b.residual(relu_branch(n, k))),
            {"n": 3, "h": 2, "k": 2},
            input=lambda n, h, k: b.Signal(n),
            source="marcotte2025, proposition 3.2 and theorem 4.7",
            hypotheses=("a residual junction adds no law and forbids those that straddle it",),
        ),
        Setting(
            "stream",
            "the stream of a residual network",
            "residual",
            stem_head(lambda n, h: b.residual(relu_branch(n, h))),
            sizes,
            source=BALANCE,
        ),
        Setting(
            "stream-relu",
            "the stream of a residual network with ReLU before every reader",
            "residual",
            lambda m, n, h, p: b.chain(
                stem=linear(m, n),
                block=b.residual(b.chain(pre=b.ReLU(), mlp=relu_branch(n, h))),
                last=b.ReLU(),
                head=linear(n, p),
            ),
            sizes,
            source=BALANCE,
        ),
        Setting(
            "stream-layernorm",
            "the stream of a pre-LayerNorm network",
            "residual",
            stem_head(before(lambda n: core(n, 0.0)), lambda n: core(n, 0.0)),
            wide,
            least=least,
            source=BALANCE,
        ),
        Setting(
            "stream-rmsnorm",
            "the stream of a pre-RMSNorm network",
            "residual",
            stem_head(before(lambda n: rms(n, 0.0)), lambda n: rms(n, 0.0)),
            wide,
            least=least,
            source=BALANCE,
        ),
    ]


def image_settings() -> list[Setting]:
    """Convolutions and pooling, over channels."""
    sizes = {"m": 1, "n": 2, "p": 2}
    free = {"m": 1}

    def conv(i: int, o: int, k: int = 2, stride: int = 1, groups: int = 1) -> b.Conv2d:
        return b.Conv2d(i, o, k, stride, groups=groups, bias=False)

    def image(
        name: str, title: str, block: str, build: Builder, space: tuple[int, ...] = (4, 4), source: str = ""
    ) -> Setting:
        return Setting(name, title, block, build, sizes, space=space, least=free, source=source)

    return [
        image(
            "conv1d",
            "two one-dimensional convolutions with ReLU",
            "Conv1d",
            lambda m, n, p: b.chain(W=b.Conv1d(m, n, 2), act=b.ReLU(), V=b.Conv1d(n, p, 2, bias=False)),
            (4,),
        ),
        image(
            "conv2d",
            "two convolutions with ReLU",
            "Conv2d",
            lambda m, n, p: b.chain(W=conv(m, n), act=b.ReLU(), V=conv(n, p)),
            (3, 3),
        ),
        image(
            "conv2d-linear",
            "two convolutions with nothing between",
            "Conv2d",
            lambda m, n, p: b.chain(W=conv(m, n), V=conv(n, p)),
            (3, 3),
        ),
        image(
            "depthwise",
            "a depthwise convolution between pointwise ones",
            "Conv2d",
            lambda m, n, p: b.chain(
                U=conv(m, n, 1), r1=b.ReLU(), D=conv(n, n, 2, groups=n), r2=b.ReLU(), V=conv(n, p, 1)
            ),
            (2, 2),
        ),
        image(
            "max-pool",
            "maximum over windows",
            "MaxPool2d",
            lambda m, n, p: b.chain(W=conv(m, n, 1), pool=b.MaxPool2d(2), flat=b.Flatten(), V=linear(n, p)),
            (2, 2),
        ),
        image(
            "average-pool",
            "mean over windows",
            "AveragePool2d",
            lambda m, n, p: b.chain(W=conv(m, n, 1), act=b.ReLU(), pool=b.AveragePool2d(2), V=conv(n, p, 1)),
        ),
        image(
            "global-pool",
            "mean over all positions before the head",
            "GlobalAveragePool",
            lambda m, n, p: b.chain(W=conv(m, n, 1), act=b.ReLU(), pool=b.GlobalAveragePool(), V=linear(n, p)),
            (2, 2),
        ),
        image(
            "flatten",
            "channels and positions as one axis before the head",
            "Flatten",
            lambda m, n, p: b.chain(W=conv(m, n, 1), act=b.ReLU(), flat=b.Flatten(), V=linear(4 * n, p)),
            (2, 2),
        ),
        image(
            "patches",
            "pixels as tokens",
            "ToTokens",
            lambda m, n, p: b.chain(W=conv(m, n, 2, stride=2), tokens=b.ToTokens(), V=linear(n, p)),
        ),
    ]
