"""The counts of its theorems, by brute force on small blocks."""

from __future__ import annotations

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture

from ..counting import Counted, counting


def _gelu() -> Architecture:
    return Architecture(b.Linear(2, 3) >> b.GELU() >> b.Linear(3, 2))


def _attention(width: int, rotary: float = 0.0) -> Architecture:
    return Architecture(b.SelfAttention(4, 2, 0, width, rotary=rotary), input=b.Signal(4, (3,)))


def _experts(router: b.Router) -> Architecture:
    def one() -> b.Net:
        return b.chain(up=b.Linear(3, 2, False), act=b.LeakyReLU(0.3), down=b.Linear(2, 2, False))

    net = b.MixtureOfExperts(3, [one() for _ in range(3)], router=router, bias=False)
    return Architecture(net, input=b.Signal(3))


PART = counting(
    "tran2026",
    "counts",
    "The counts of its theorems",
    "One small block for each theorem, the squared loss, random points. The experts are LeakyReLU networks 3-2-2.",
    (
        Counted("laws_gelu", "a GELU network has no law (theorem 4.1)", _gelu),
        Counted(
            "laws_swiglu",
            "SwiGLU has one law for every hidden unit (theorem 4.2)",
            lambda: Architecture(b.SwiGLU(2, 3), input=b.Signal(2)),
        ),
        Counted("laws_heads", "H heads have H d_h (d_h + 1) laws (theorem 4.3)", lambda: _attention(2)),
        Counted(
            "laws_rotary",
            "H rotary heads have H (d_h / 2 + d_h (d_h + 1) / 2) laws (theorem 4.4)",
            lambda: _attention(4, 10.0),
        ),
        Counted(
            "laws_dense",
            "n experts behind a dense softmax router on d features have n hidden + d laws (theorem 4.5)",
            lambda: _experts(b.Router()),
        ),
        Counted(
            "laws_top2",
            "n experts behind a top-2 softmax router on d features have n hidden + d laws (theorem 4.6)",
            lambda: _experts(b.Router(top=2)),
        ),
        Counted(
            "laws_sigmoid",
            "n experts behind a router of normalised sigmoids on d features have n hidden + d laws (theorem 4.7)",
            lambda: _experts(b.Router("normalised_sigmoid")),
        ),
    ),
)
