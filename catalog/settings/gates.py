"""Settings with products, gates, and feature axes that are joined or cut."""

from __future__ import annotations

from collections.abc import Callable

from lawful import blocks as b

from .setting import BALANCE, Setting, image, linear

GATE = "tran2026, theorem 4.2"


def gate_settings() -> list[Setting]:
    """Gated linear units and other gates."""

    def unit(name: str, title: str, block: str, build: Callable[[int, int], b.Net]) -> Setting:
        return Setting(name, title, block, build, {"n": 2, "h": 3}, input=lambda n, h: b.Signal(n), source=GATE)

    return [
        unit("swiglu", "a SwiGLU unit", "SwiGLU", lambda n, h: b.SwiGLU(n, h)),
        unit("reglu", "a ReGLU unit", "ReGLU", lambda n, h: b.ReGLU(n, h)),
        unit("bilinear-glu", "a gated unit without activation", "BilinearGLU", lambda n, h: b.BilinearGLU(n, h)),
        unit("glu", "a gated unit with a sigmoid", "GLU", lambda n, h: b.GLU(n, h)),
        unit("geglu", "a GEGLU unit with biases", "GEGLU", lambda n, h: b.GEGLU(n, h, True)),
        unit(
            "packed-gate",
            "a SwiGLU unit whose gate and value are halves of one map",
            "PackedGate",
            lambda n, h: b.SwiGLU(n, h, packed=True),
        ),
        Setting(
            "highway",
            "a highway layer between linear maps",
            "Highway",
            lambda m, n, p: b.chain(V=linear(m, n, True), highway=b.Highway(n), U=linear(n, p)),
            {"m": 2, "n": 2, "p": 2},
            source=BALANCE,
        ),
        Setting(
            "squeeze-excite",
            "channels weighted by their own means",
            "SqueezeExcite",
            lambda m, n, h, p: b.chain(
                stem=b.Conv2d(m, n, 1),
                act=b.ReLU(),
                gate=b.SqueezeExcite(n, h),
                out=b.Conv2d(n, p, 1, bias=False),
            ),
            {"m": 2, "n": 2, "h": 2, "p": 2},
            input=lambda m, **_: image(m, 2, 2),
            source=f"{GATE}; marcotte2025, theorem 3.6",
        ),
        Setting(
            "layer-scale",
            "a gain at the end of a residual branch",
            "LayerScale",
            lambda m, n, h, p: b.chain(
                stem=linear(m, n),
                block=b.residual(b.chain(mlp=b.MLP(n, h), scale=b.LayerScale(n))),
                head=linear(n, p),
            ),
            {"m": 2, "n": 2, "h": 2, "p": 2},
            source=BALANCE,
        ),
    ]


def join_settings() -> list[Setting]:
    """Feature axes side by side, and cut."""
    return [
        Setting(
            "concat",
            "one layer with two readers, side by side",
            "Concat",
            lambda m, n, k, p: b.chain(
                W=linear(m, n),
                act=b.ReLU(),
                both=b.parallel(
                    A=linear(n, k), B=b.chain(up=linear(n, k), act=b.ReLU(), down=linear(k, k)), join=b.Concat()
                ),
                V=linear(2 * k, p),
            ),
            {"m": 2, "n": 2, "k": 2, "p": 4},
            source=BALANCE,
        ),
        Setting(
            "split",
            "one map cut into a gate and a value",
            "Split",
            lambda m, n, p: b.chain(
                W=linear(m, 2 * n),
                glu=b.Wiring(
                    {"cut": b.Split((n, n)), "act": b.ReLU(), "product": b.Product()},
                    {"cut": ("input",), "act": ("cut:0",), "product": ("act", "cut:1")},
                    ("product",),
                ),
                V=linear(n, p),
            ),
            {"m": 2, "n": 2, "p": 2},
            source=BALANCE,
        ),
    ]
