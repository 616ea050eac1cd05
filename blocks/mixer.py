"""Token mixing: an MLP over the positions, the same for all channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.theory.gauge.rules import Rule, TokenMixRule

from .base import Block, Net, ShapeError, Signal, Spec
from .pointwise import Pointwise, ReLU
from .run import Run

POWERS = {"relu": 1, "relu2": 2, "gelu": 0}
ACTIVATIONS = {"relu": ReLU(), "relu2": ReLU(0.0, 2), "gelu": Pointwise("gelu")}


@dataclass(frozen=True, eq=False, repr=False)
class TokenMLP(Block):
    """`y = W_2 f(W_1 x + b_1) + b_2` over the token axis of x, shape `(batch, tokens, channels)`.

    Args:
        tokens: number of tokens.
        hidden: number of hidden positions.
        activation: `gelu`, `relu` or `relu2`.
        bias: whether there are biases `bias1` of shape `(hidden,)` and `bias2` of `(tokens,)`.

    Law: for a homogeneous activation one per hidden position, `||W_1j||^2 + b_1j^2 - p ||W_2:j||^2`; `b_2` is frozen
    where LayerNorms read the stream (Tolstikhin et al. 2021 define the layer; its laws are the wire-balance theorem's).
    """

    tokens: int
    hidden: int
    activation: str = "gelu"
    bias: bool = True
    frozen: tuple[str, ...] = ()

    summary = "y = W_2 f(W_1 x) over tokens"
    source = "wire-balance theorem (lawful)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in POWERS:
            raise ShapeError(f"no activation {self.activation!r} for token mixing; there are {', '.join(POWERS)}")

    @property
    def parameters(self) -> dict[str, Spec]:
        own = {
            "weight1": Spec((self.hidden, self.tokens), self.tokens**-0.5),
            "weight2": Spec((self.tokens, self.hidden), self.hidden**-0.5),
        }
        return own | ({"bias1": Spec((self.hidden,), 0.1), "bias2": Spec((self.tokens,), 0.1)} if self.bias else {})

    def input_signal(self) -> Signal:
        return Signal(4, (self.tokens,))

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].space != (self.tokens,) or signals[0].channels_first or signals[0].tokens:
            raise ShapeError(f"{self} mixes {self.tokens} tokens but gets {signals[0]}; change one of the two")
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        own = (names["weight1"], names.get("bias1"), names["weight2"], names.get("bias2"))
        between = ACTIVATIONS[self.activation].rule({}, (), ())
        return TokenMixRule(own, self.tokens, self.hidden, between, POWERS[self.activation])

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        z = p["weight1"] @ x[0]
        if self.bias:
            z = z + p["bias1"][:, None]
        gate = run.gate(z, real=lambda: z > 0) if POWERS[self.activation] else None
        if not POWERS[self.activation]:
            z = torch.nn.functional.gelu(z)
        else:
            z = torch.relu(z) if gate is None else z * gate
            z = z**2 if self.activation == "relu2" else z
        y = p["weight2"] @ z
        return y + p["bias2"][:, None] if self.bias else y

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        (tokens,) = signals[0].space
        return dataclasses.replace(self, tokens=tokens, hidden=min(self.hidden, 3))

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if len(signal.space) != 1 or signal.channels_first or signal.tokens or signal.space[0] < 3:
            return ()
        return [cls(signal.space[0], 2, f, bias) for f in POWERS for bias in (False, True)]
