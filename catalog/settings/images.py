"""Settings with convolutions, pooling, and moves between channels, pixels and tokens."""

from __future__ import annotations

from collections.abc import Callable

from lawful import blocks as b

from .setting import BALANCE, Builder, Setting, image, linear

SIZES = {"m": 1, "n": 2, "p": 2}
SCALE = "kunin2021, theorem 1"


def _conv(i: int, o: int, k: int = 2, stride: int = 1, groups: int = 1) -> b.Conv2d:
    return b.Conv2d(i, o, k, stride, groups=groups, bias=False)


def _image(
    name: str, title: str, block: str, build: Builder, space: tuple[int, ...] = (4, 4), source: str = ""
) -> Setting:
    """A network on images with one channel or more."""
    return Setting(name, title, block, build, SIZES, space=space, least={"m": 1}, source=source)


def convolution_settings() -> list[Setting]:
    """Convolutions in one to three dimensions, their transposes, and those with normalised filters."""
    return [
        _image(
            "conv1d",
            "two one-dimensional convolutions with ReLU",
            "Conv1d",
            lambda m, n, p: b.chain(W=b.Conv1d(m, n, 2), act=b.ReLU(), V=b.Conv1d(n, p, 2, bias=False)),
            (4,),
        ),
        _image(
            "conv2d",
            "two convolutions with ReLU",
            "Conv2d",
            lambda m, n, p: b.chain(W=_conv(m, n), act=b.ReLU(), V=_conv(n, p)),
            (3, 3),
        ),
        _image(
            "conv2d-linear",
            "two convolutions with nothing between",
            "Conv2d",
            lambda m, n, p: b.chain(W=_conv(m, n), V=_conv(n, p)),
            (3, 3),
        ),
        _image(
            "conv3d",
            "two three-dimensional convolutions with ReLU",
            "Conv3d",
            lambda m, n, p: b.chain(W=b.Conv3d(m, n, 2), act=b.ReLU(), V=b.Conv3d(n, p, 1, bias=False)),
            (2, 2, 2),
        ),
        _image(
            "dilated",
            "a convolution with gaps in its kernel",
            "Conv1d",
            lambda m, n, p: b.chain(W=b.Conv1d(m, n, 2, dilation=2), act=b.ReLU(), V=b.Conv1d(n, p, 2, bias=False)),
            (5,),
        ),
        _image(
            "depthwise",
            "a depthwise convolution between pointwise ones",
            "Conv2d",
            lambda m, n, p: b.chain(
                U=_conv(m, n, 1), r1=b.ReLU(), D=_conv(n, n, 2, groups=n), r2=b.ReLU(), V=_conv(n, p, 1)
            ),
            (2, 2),
        ),
        Setting(
            "grouped-conv",
            "a convolution in g groups between linear ones",
            "Conv1d",
            lambda m, g, k, p: b.chain(
                U=b.Conv1d(m, g * k, 1, bias=False),
                G=b.Conv1d(g * k, g * k, 2, groups=g, bias=False),
                act=b.ReLU(),
                V=b.Conv1d(g * k, p, 1, bias=False),
            ),
            {"m": 3, "g": 2, "k": 2, "p": 2},
            space=(3,),
            ample=("m",),
        ),
        _image(
            "transposed-conv1d",
            "a convolution and a transposed one with ReLU",
            "ConvTranspose1d",
            lambda m, n, p: b.chain(W=b.Conv1d(m, n, 2), act=b.ReLU(), V=b.ConvTranspose1d(n, p, 2, 2, bias=False)),
            (4,),
        ),
        _image(
            "transposed-conv2d",
            "a transposed convolution before ReLU and a convolution",
            "ConvTranspose2d",
            lambda m, n, p: b.chain(W=b.ConvTranspose2d(m, n, 2, 2), act=b.ReLU(), V=_conv(n, p, 1)),
            (2, 2),
        ),
        _image(
            "transposed-conv3d",
            "a transposed convolution in three dimensions",
            "ConvTranspose3d",
            lambda m, n, p: b.chain(W=b.ConvTranspose3d(m, n, 2, 2), act=b.ReLU(), V=b.Conv3d(n, p, 1, bias=False)),
            (2, 2, 2),
        ),
        _image(
            "unit-conv",
            "a convolution with filters of norm 1, then ReLU",
            "UnitConv2d",
            lambda m, n, p: b.chain(W=b.UnitConv2d(m, n, 2), act=b.ReLU(), V=_conv(n, p, 1)),
            (3, 3),
            SCALE,
        ),
        _image(
            "standardised-conv",
            "a convolution with standardised filters and a gain, then ReLU",
            "StandardisedConv2d",
            lambda m, n, p: b.chain(W=b.StandardisedConv2d(m, n, 2), act=b.ReLU(), V=_conv(n, p, 1)),
            (3, 3),
            SCALE,
        ),
    ]


def pool_settings() -> list[Setting]:
    """Maxima and means over windows and over everything."""

    def pooled(name: str, title: str, block: str, pool: Callable[[], b.Net], rank: int) -> Setting:
        conv = (b.Conv1d, b.Conv2d, b.Conv3d)[rank - 1]
        return _image(
            name,
            title,
            block,
            lambda m, n, p: b.chain(
                W=conv(m, n, 1, bias=False), act=b.ReLU(), pool=pool(), V=conv(n, p, 1, bias=False)
            ),
            (4,) * rank,
        )

    return [
        _image(
            "max-pool",
            "maximum over windows",
            "MaxPool2d",
            lambda m, n, p: b.chain(W=_conv(m, n, 1), pool=b.MaxPool2d(2), flat=b.Flatten(), V=linear(n, p)),
            (2, 2),
        ),
        pooled("max-pool1d", "maximum over windows of a sequence", "MaxPool1d", b.MaxPool1d, 1),
        pooled("max-pool3d", "maximum over windows of a volume", "MaxPool3d", b.MaxPool3d, 3),
        pooled("average-pool", "mean over windows", "AveragePool2d", b.AveragePool2d, 2),
        pooled("average-pool1d", "mean over windows of a sequence", "AveragePool1d", b.AveragePool1d, 1),
        pooled("average-pool3d", "mean over windows of a volume", "AveragePool3d", b.AveragePool3d, 3),
        _image(
            "global-pool",
            "mean over all positions before the head",
            "GlobalAveragePool",
            lambda m, n, p: b.chain(W=_conv(m, n, 1), act=b.ReLU(), pool=b.GlobalAveragePool(), V=linear(n, p)),
            (2, 2),
        ),
        _image(
            "global-max-pool",
            "maximum over all positions before the head",
            "GlobalMaxPool",
            lambda m, n, p: b.chain(W=b.Conv2d(m, n, 2), pool=b.GlobalMaxPool(), V=linear(n, p)),
            (3, 3),
        ),
    ]


def image_settings() -> list[Setting]:
    """Channels, pixels and tokens turned into one another."""
    return [
        _image(
            "flatten",
            "channels and positions as one axis before the head",
            "Flatten",
            lambda m, n, p: b.chain(W=_conv(m, n, 1), act=b.ReLU(), flat=b.Flatten(), V=linear(4 * n, p)),
            (2, 2),
        ),
        _image(
            "patches",
            "pixels as tokens",
            "ToTokens",
            lambda m, n, p: b.chain(W=_conv(m, n, 2, stride=2), tokens=b.ToTokens(), V=linear(n, p)),
        ),
        _image(
            "to-image",
            "tokens as pixels",
            "ToImage",
            lambda m, n, p: b.chain(
                W=_conv(m, n, 1), tokens=b.ToTokens(), act=b.ReLU(), image=b.ToImage(2, 2), V=_conv(n, p)
            ),
            (2, 2),
        ),
        *(
            _image(
                f"upsample-{mode}",
                f"an image made larger, {mode}",
                "UpSample",
                lambda m, n, p, mode=mode: b.chain(W=_conv(m, n, 1), up=b.UpSample(2, mode), V=_conv(n, p)),
                (2, 2),
            )
            for mode in ("nearest", "linear")
        ),
        _image(
            "pixel-shuffle",
            "four channels each become pixels",
            "PixelShuffle",
            lambda m, n, p: b.chain(W=_conv(m, 4 * n, 1), up=b.PixelShuffle(2), act=b.ReLU(), V=_conv(n, p, 1)),
            (2, 2),
            BALANCE,
        ),
        _image(
            "pixel-unshuffle",
            "four pixels each become channels",
            "PixelUnshuffle",
            lambda m, n, p: b.chain(W=_conv(m, n, 1), down=b.PixelUnshuffle(2), V=_conv(4 * n, p, 1)),
            (2, 2),
            BALANCE,
        ),
    ]


def window_settings() -> list[Setting]:
    """Grids with features last: windows, shifts, merged neighbours."""

    def grid(name: str, title: str, block: str, move: Callable[[int], b.Net], after: int = 1) -> Setting:
        return Setting(
            name,
            title,
            block,
            lambda m, n, p: b.chain(W=linear(m, n), act=b.ReLU(), move=move(n), V=linear(after * n, p)),
            {"m": 2, "n": 2, "p": 2},
            input=lambda m, n, p: b.Signal(m, (2, 2)),
        )

    return [
        Setting(
            "channels-last",
            "a norm and a map over the channels of an image",
            "ChannelsLast",
            lambda m, n, p: b.chain(
                W=_conv(m, n, 1),
                last=b.ChannelsLast(),
                norm=b.LayerNorm(n, epsilon=0.0),
                V=linear(n, n),
                first=b.ChannelsFirst(),
                act=b.ReLU(),
                U=_conv(n, p, 1),
            ),
            {"m": 2, "n": 3, "p": 2},
            input=lambda m, n, p: image(m, 2, 2),
            least={"n": 3},
            source=BALANCE,
        ),
        grid("cyclic-shift", "a grid rolled around", "CyclicShift", lambda n: b.CyclicShift(1)),
        grid(
            "windows",
            "a grid cut into windows with attention, and put together",
            "WindowPartition",
            lambda n: b.chain(
                cut=b.WindowPartition(2), mix=b.SelfAttention(n, 1), join=b.WindowReverse(2, 2), act=b.ReLU()
            ),
        ),
        Setting(
            "to-grid",
            "tokens as a grid, rolled around",
            "ToGrid",
            lambda m, n, p: b.chain(
                W=linear(m, n), act=b.ReLU(), grid=b.ToGrid(2, 2), shift=b.CyclicShift(1), V=linear(n, p)
            ),
            {"m": 2, "n": 2, "p": 2},
            input=lambda m, n, p: b.Signal(m, (4,)),
        ),
        grid("merge-neighbours", "four neighbours side by side", "MergeNeighbours", lambda n: b.MergeNeighbours(), 4),
        Setting(
            "patch-merging",
            "four neighbours as one of twice the width, with LayerNorm",
            "PatchMerging",
            lambda m, n, p: b.chain(W=linear(m, n), act=b.ReLU(), merge=b.PatchMerging(n, p, 0.0)),
            {"m": 8, "n": 2, "p": 2},
            input=lambda m, n, p: b.Signal(m, (2, 2)),
            source=BALANCE,
        ),
    ]
