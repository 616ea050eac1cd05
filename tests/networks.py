"""Networks whose number of laws was counted by brute force, one per row of the table of known counts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture


@dataclass(frozen=True)
class Known:
    """A network, the loss, and how many independent laws it has (`exact` counts those that no epsilon breaks)."""

    name: str
    arch: Architecture
    laws: int
    loss: str = "mse"
    exact: bool = False


def linear(features: int, width: int, bias: bool = False) -> b.Linear:
    return b.Linear(features, width, bias)


def relu_block(d: int, h: int, bias: bool = False) -> b.Net:
    return b.residual(linear(d, h, bias) >> b.ReLU() >> linear(h, d, bias))


def mlp(*widths: int, act: b.Block | None = None, bias: bool = False) -> Architecture:
    """Linear maps with an activation between them."""
    parts: dict[str, b.Block] = {}
    for i, (n, m) in enumerate(pairwise(widths)):
        parts[f"fc{i}"] = b.Linear(n, m, bias)
        if act is not None and i < len(widths) - 2:
            parts[f"act{i}"] = type(act)(**act.config())
    return Architecture(b.chain(**parts), input=b.Signal(widths[0]))


def tokens(d: int, n: int = 3) -> b.Signal:
    return b.Signal(d, (n,))


def llama(vocabulary: int = 5) -> b.Net:
    """One layer as in the published models: width 4, two query heads, one key head, hidden 3."""
    attention = b.SelfAttention(4, 2, 1, 2, causal=True, rotary=100.0)
    layers = b.residual(b.RMSNorm(4, epsilon=0.0) >> attention) >> b.residual(
        b.RMSNorm(4, epsilon=0.0) >> b.SwiGLU(4, 3)
    )
    return b.Embedding(vocabulary, 4) >> layers >> b.RMSNorm(4, epsilon=0.0) >> linear(4, vocabulary)


def known_counts() -> list[Known]:
    """All rows."""
    core, act, rms = b.LayerNormCore, b.ReLU, b.RMSNormCore
    experts = [linear(2, 2) >> act() >> linear(2, 2) for _ in range(2)]
    stream = (
        linear(2, 4)
        >> b.residual(core(4, 0.0) >> linear(4, 3) >> act() >> linear(3, 4))
        >> core(4, 0.0)
        >> linear(4, 2)
    )
    rms_stream = (
        linear(2, 4) >> b.residual(rms(4, 0.0) >> linear(4, 3) >> act() >> linear(3, 4)) >> rms(4, 0.0) >> linear(4, 2)
    )
    two_readers = (
        linear(2, 3) >> act() >> b.parallel(linear(3, 2), linear(3, 2) >> act() >> linear(2, 2), join=b.Concat())
    )
    conv = b.Conv1d(1, 2, 3, bias=False) >> act() >> b.Conv1d(2, 1, 3, bias=False)
    batch_norm = linear(2, 3, True) >> b.BatchNorm(3, epsilon=0.0) >> act() >> linear(3, 2)
    rows = [
        ("linear 3-2-3", linear(3, 2) >> linear(2, 3), 3, {}),
        ("linear 2-4-1", linear(2, 4) >> linear(4, 1), 9, {}),
        ("ReLU 3-4-2 with biases", linear(3, 4, True) >> act() >> linear(4, 2, True), 4, {}),
        ("ReLU 2-3-3-2", linear(2, 3) >> act() >> linear(3, 3) >> act() >> linear(3, 2), 6, {}),
        ("two residual blocks", relu_block(3, 2) >> relu_block(3, 2), 4, {"input": b.Signal(3)}),
        ("stem, residual block, head", linear(3, 2) >> relu_block(2, 2) >> linear(2, 3), 5, {}),
        ("the same with biases", linear(3, 2, True) >> relu_block(2, 2, True) >> linear(2, 3), 5, {}),
        ("attention", b.SelfAttention(3, 1, head_width=2), 6, {"input": tokens(3)}),
        ("attention with biases", b.SelfAttention(3, 1, head_width=2, bias=True), 8, {"input": tokens(3)}),
        ("two heads of 1", b.SelfAttention(2, 2, head_width=1), 4, {"input": tokens(2)}),
        ("grouped queries", b.SelfAttention(3, 2, 1, 2), 6, {"input": tokens(3)}),
        ("rotary, two frequencies", b.SelfAttention(3, 1, head_width=4, rotary=100.0), 12, {"input": tokens(3)}),
        ("rotary, one frequency", b.SelfAttention(3, 1, head_width=2, rotary=100.0), 4, {"input": tokens(3)}),
        ("SwiGLU", b.SwiGLU(2, 3), 3, {"input": b.Signal(2)}),
        ("ReGLU", b.ReGLU(2, 3), 6, {"input": b.Signal(2)}),
        ("ReLU squared", linear(2, 3) >> b.ReLU(0.0, 2) >> linear(3, 2), 3, {}),
        ("GELU with bias", linear(2, 3, True) >> b.GELU() >> linear(3, 2, True), 0, {}),
        ("LayerNorm core", linear(3, 4) >> core(4, 0.0) >> linear(4, 2), 6, {}),
        ("LayerNorm core, first bias", linear(3, 4, True) >> core(4, 0.0) >> linear(4, 2), 7, {}),
        ("LayerNorm, all biases", linear(3, 4, True) >> b.LayerNorm(4, epsilon=0.0) >> linear(4, 2, True), 9, {}),
        ("LayerNorm, gain only", linear(3, 4, True) >> b.LayerNorm(4, shift=False, epsilon=0.0) >> linear(4, 2), 9, {}),
        (
            "LayerNorm with epsilon",
            linear(3, 4, True) >> b.LayerNorm(4, epsilon=0.1) >> linear(4, 2, True),
            8,
            {"exact": True},
        ),
        ("RMSNorm core", linear(3, 4) >> rms(4, 0.0) >> linear(4, 2), 1, {}),
        ("RMSNorm with gain", linear(3, 4) >> b.RMSNorm(4, epsilon=0.0) >> linear(4, 2), 5, {}),
        ("BatchNorm", batch_norm, 9, {}),
        ("ReLU, cross-entropy", linear(2, 3) >> act() >> linear(3, 3, True), 7, {"loss": "cross_entropy"}),
        ("ReLU recurrence", b.Recurrent(2, 3, 3) >> linear(3, 2), 3, {"input": tokens(2)}),
        ("pre-LayerNorm stream", stream, 14, {}),
        ("pre-RMSNorm stream", rms_stream, 4, {}),
        ("two experts", b.MixtureOfExperts(2, experts), 6, {"input": b.Signal(2)}),
        (
            "low-rank update",
            b.parallel(linear(3, 2) >> linear(2, 2), b.frozen(linear(3, 2))),
            3,
            {"input": b.Signal(3)},
        ),
        ("conv 1-2-1", conv, 2, {"space": (6,)}),
        ("linear attention", b.SelfAttention(2, 1, head_width=2, scores="linear"), 7, {"input": tokens(2)}),
        ("two readers of one wire", two_readers, 5, {}),
        ("Llama layer", llama(), 24, {"loss": "cross_entropy", "space": (4,)}),
    ]
    return [_known(name, net, laws, **options) for name, net, laws, options in rows]


def _known(name: str, net: b.Net, laws: int, loss: str = "mse", exact: bool = False, **options) -> Known:
    return Known(name, Architecture(net, **options), laws, loss, exact)
