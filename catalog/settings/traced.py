"""Settings of the blocks that published models need beyond the papers: windows of any shape, moves, experts."""

from __future__ import annotations

from lawful import blocks as b

from .setting import BALANCE, Setting, image, linear, tokens


def traced_settings() -> list[Setting]:
    """Windows of any shape, moves of positions, one gain for everything, the best experts, outputs without reader."""
    flat = ((1, 3), (1, 1), (0, 1), (1, 1))
    sizes = {"m": 2, "n": 2, "p": 2}

    def between(middle: b.Net, m: int, n: int, p: int) -> b.Net:
        return b.chain(W=linear(m, n), middle=middle, act=b.LeakyReLU(0.3), V=linear(n, p))

    def convolved(middle: b.Net, m: int, n: int, p: int) -> b.Net:
        return b.chain(W=b.Conv2d(m, n, 1, bias=False), middle=middle, act=b.LeakyReLU(0.3), V=b.Conv2d(n, p, 1))

    def experts(m: int, n: int, p: int) -> b.Net:
        router = b.chain(logits=linear(m, 3), weights=b.Softmax(), best=b.TopChoice(2))
        gated = b.parallel(weights=router, up=linear(m, 3 * n), join=b.GroupProduct())
        return b.chain(gated=gated, down=linear(3 * n, p))

    return [
        Setting(
            "uneven-conv",
            "a convolution with windows over one axis only",
            "UnevenConv",
            lambda m, n, p: b.chain(
                W=b.UnevenConv(m, n, *flat, bias=False), act=b.ReLU(), V=b.Conv2d(n, p, 1, bias=False)
            ),
            sizes,
            input=lambda m, n, p: image(m, 3, 3),
            source="marcotte2025, theorem 3.6",
        ),
        Setting(
            "uneven-pool",
            "a maximum over windows of one axis",
            "UnevenPool",
            lambda m, n, p: convolved(b.UnevenPool(True, *flat), m, n, p),
            sizes,
            input=lambda m, n, p: image(m, 3, 3),
            source=BALANCE,
        ),
        Setting(
            "moved-positions",
            "positions rolled around between two maps",
            "Positions",
            lambda m, n, p: between(b.Positions("roll", (1,)), m, n, p),
            sizes,
            input=lambda m, n, p: tokens(m),
            source=BALANCE,
        ),
        Setting(
            "joined-positions",
            "a stream beside its absolute value along positions",
            "ConcatPositions",
            lambda m, n, p: between(b.parallel(same=b.Identity(), abs=b.Abs(), join=b.ConcatPositions()), m, n, p),
            sizes,
            input=lambda m, n, p: tokens(m),
            source=BALANCE,
        ),
        Setting(
            "scalar-gain",
            "one learned factor for a whole layer",
            "ScalarGain",
            lambda m, n, p: b.chain(W=linear(m, n), gain=b.ScalarGain(), V=linear(n, p)),
            sizes,
            source=BALANCE,
        ),
        Setting(
            "dropped-output",
            "a map half of which nothing reads",
            "Discard",
            lambda m, n, p: b.chain(
                W=linear(m, 2 * n),
                half=b.Wiring(
                    {"cut": b.Split((n, n)), "end": b.Discard()}, {"cut": ("input",), "end": ("cut:1",)}, ("cut:0",)
                ),
                V=linear(n, p),
            ),
            sizes,
            source=BALANCE,
        ),
        Setting(
            "standard-conv",
            "kernels of mean 0 and variance 1, filter by filter",
            "StandardConv",
            lambda m, n, p: b.chain(
                W=b.StandardConv(m, n, (1, 3), (1, 1), (0, 1), (1, 1), epsilon=0.0), act=b.ReLU(), V=b.Conv2d(n, p, 1)
            ),
            sizes,
            input=lambda m, n, p: image(m, 3, 3),
            source="kunin2021, theorem 1",
        ),
        Setting(
            "best-experts",
            "the two best of three linear experts",
            "TopChoice",
            experts,
            {"m": 2, "n": 2, "p": 2},
            source="tran2026, theorem 4.5",
        ),
    ]
