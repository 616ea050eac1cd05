"""Recurrent layers, and the composites that unroll any cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import torch

from lawful.theory.gauge.rules import RecurrentRule, Rule

from .base import Block, Net, ShapeError, Signal, Spec, WidthRelation, Wiring
from .joins import Add
from .linear import Linear
from .pointwise import ReLU
from .run import Run
from .spectators import SelectToken


@dataclass(frozen=True, eq=False, repr=False)
class _Recurrent(Block):
    """A layer over tokens with a hidden state; parameters have the names and shapes of `torch.nn`.

    x of shape `(batch, tokens, features)` to h of `(batch, tokens, hidden)`, `h_0 = 0`.  `weight_ih` is
    `(gates * hidden, features)`, `weight_hh` is `(gates * hidden, hidden)`, both biases are `(gates * hidden,)`.
    With `given` the next port (two of them behind LSTMs, for h and c) has the initial state, of shape
    `(batch, 1, hidden)`.  Positions before the tokens have a sequence each: nodes of a graph.
    """

    features: int
    hidden: int
    bias: bool = True
    frozen: tuple[str, ...] = ()
    given: bool = False

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1
    source = "wire-balance theorem (lawful)"

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """Tokens, and initial states where they are given."""
        return 1 + self.states * self.given

    @property
    def parameters(self) -> dict[str, Spec]:
        rows, scale = self.gates * self.hidden, self.hidden**-0.5
        own = {
            "weight_ih": Spec((rows, self.features), scale),
            "weight_hh": Spec((rows, self.hidden), scale),
        }
        return own | ({n: Spec((rows,), 0.1) for n in ("bias_ih", "bias_hh")} if self.bias else {})

    def input_signal(self) -> Signal:
        return Signal(self.features, (4,))

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], self.features)
        if not signals[0].space or signals[0].channels_first:
            raise ShapeError(f"{self} reads tokens but gets {signals[0]}")
        state = Signal(self.hidden, (*signals[0].space[:-1], 1))
        for s in signals[1:]:
            if s != state:
                raise ShapeError(f"{self} begins at a state of {state} but gets {s}")
        return (signals[0].with_features(self.hidden),) * self.outputs

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        biases = (names["bias_ih"], names["bias_hh"]) if self.bias else None
        return RecurrentRule(
            names["weight_ih"], names["weight_hh"], biases, self.features, self.hidden, self.gates, *self._symmetry()
        )

    def _symmetry(self) -> tuple[str, int]:
        """What `S` of the state may be, and how many gates only see the sum of the two biases."""
        return "nothing", self.gates

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        inner = x[0] @ p["weight_ih"].transpose(0, 1)
        if self.bias:
            inner = inner + p["bias_ih"]
        state = inner.new_zeros(*inner.shape[:-2], self.hidden)
        memory = state
        if self.given:
            state, memory = (state + x[i][..., 0, :] for i in (1, self.states))
        out, memories = [], []
        for t in range(inner.shape[-2]):
            back = state @ p["weight_hh"].transpose(0, 1)
            if self.bias:
                back = back + p["bias_hh"]
            state, memory = self._step(inner[..., t, :], back, state, memory, run)
            out.append(state)
            memories.append(memory)
        h = torch.stack(out, -2)
        return (h, torch.stack(memories, -2)) if self.outputs == 2 else h

    def _step(
        self, inner: torch.Tensor, back: torch.Tensor, state: torch.Tensor, memory: torch.Tensor, run: Run
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The next state and memory."""
        raise NotImplementedError

    @property
    def chooses_width(self) -> bool:
        return True

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, features=signals[0].features, hidden=width)

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        own = (*range(1, self.inputs), *range(-2, -self.outputs - 1, -1))
        return [WidthRelation(port, {-1: Fraction(1)}) for port in own]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if len(signal.space) != 1 or signal.channels_first or signal.tokens or signal.space[0] < 3 or cls.gates == 0:
            return ()
        return [cls(signal.features, 2, bias) for bias in (False, True)]


@dataclass(frozen=True, eq=False, repr=False)
class RNN(_Recurrent):
    """`h_t = f(W x_t + b + U h_{t-1} + c)` with `f` one of `tanh`, `relu`, `linear`.

    Law: for `relu` one per hidden unit, `||W_j||^2 + ||U_j||^2 + b_j^2 + c_j^2 - ||U_:j||^2 - ||V_:j||^2` with the
    reader `V`; for `linear` the full matrix of it; `b - c` always.
    """

    nonlinearity: str = "tanh"

    summary = "h = f(W x + U h)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nonlinearity not in ("tanh", "relu", "linear"):
            raise ShapeError(f"no nonlinearity {self.nonlinearity!r}; there are tanh, relu, linear")

    def _symmetry(self) -> tuple[str, int]:
        return {"tanh": "nothing", "relu": "diagonal", "linear": "full"}[self.nonlinearity], 1

    def _step(
        self, inner: torch.Tensor, back: torch.Tensor, state: torch.Tensor, memory: torch.Tensor, run: Run
    ) -> tuple[torch.Tensor, torch.Tensor]:
        z = inner + back
        if self.nonlinearity == "relu":
            gate = run.gate(z, real=lambda: z > 0)
            h = torch.relu(z) if gate is None else z * gate
        else:
            h = torch.tanh(z) if self.nonlinearity == "tanh" else z
        return h, memory

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        nets = super().examples(signal)
        kinds = ("tanh", "relu", "linear")
        return [dataclasses.replace(n, nonlinearity=f) for n in nets for f in kinds if isinstance(n, RNN)]


@dataclass(frozen=True, eq=False, repr=False)
class GRU(_Recurrent):
    """Gated recurrent unit; gates r, z, n as in `torch.nn.GRU`.

    Law: the difference of the two biases of r and z (those of n stand on the two sides of a product).
    """

    gates = 3
    summary = "h = (1 - z) n + z h"

    def _symmetry(self) -> tuple[str, int]:
        return "nothing", 2

    def _step(
        self, inner: torch.Tensor, back: torch.Tensor, state: torch.Tensor, memory: torch.Tensor, run: Run
    ) -> tuple[torch.Tensor, torch.Tensor]:
        (r1, z1, n1), (r2, z2, n2) = inner.chunk(3, -1), back.chunk(3, -1)
        reset, update = torch.sigmoid(r1 + r2), torch.sigmoid(z1 + z2)
        return (1 - update) * torch.tanh(n1 + reset * n2) + update * state, memory


@dataclass(frozen=True, eq=False, repr=False)
class LSTM(_Recurrent):
    """Long short-term memory; gates i, f, g, o as in `torch.nn.LSTM`.  With `cell` a second port has c of all tokens.

    Law: the difference of its two biases, `4 * hidden` scalars.
    """

    cell: bool = False

    gates = 4
    states = 2
    summary = "c = f c + i g, h = o tanh(c)"

    @property
    def outputs(self) -> int:
        return 2 if self.cell else 1

    def _step(
        self, inner: torch.Tensor, back: torch.Tensor, state: torch.Tensor, memory: torch.Tensor, run: Run
    ) -> tuple[torch.Tensor, torch.Tensor]:
        i, f, g, o = (inner + back).chunk(4, -1)
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(memory), memory


def Recurrent(features: int, hidden: int, steps: int, activation: Net | None = None, bias: bool = False) -> Net:
    """A recurrent layer unrolled over `steps` tokens; gives the last hidden state.

    `h_t = activation(W x_t + U h_{t-1})`, `h_0 = 0`; one `W` and one `U` for all steps.  Any activation will do; `RNN`
    is the same as one block for those of `torch.nn`.
    """
    act = activation or ReLU()
    inp, rec = Linear(features, hidden, bias), Linear(hidden, hidden, False)
    nodes: dict[str, Net] = {}
    reads: dict[str, tuple[str, ...]] = {}
    previous = ""
    for t in range(steps):
        nodes[f"x{t}"], reads[f"x{t}"] = SelectToken(t), ("input",)
        nodes[f"in{t}"], reads[f"in{t}"] = inp, (f"x{t}",)
        source = f"in{t}"
        if previous:
            nodes[f"rec{t}"], reads[f"rec{t}"] = rec, (previous,)
            nodes[f"sum{t}"], reads[f"sum{t}"] = Add(), (f"in{t}", f"rec{t}")
            source = f"sum{t}"
        nodes[f"h{t}"], reads[f"h{t}"] = act, (source,)
        previous = f"h{t}"
    return Wiring(nodes, reads, (previous,))
