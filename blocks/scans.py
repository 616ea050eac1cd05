"""State-space layers: diagonal recurrences, the selective scan of Mamba."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from lawful.theory.gauge.rules import LinearRule, RepeatRule, Rule, ScanRule, SelectiveScanRule, SumFeaturesRule

from .base import Block, Net, ShapeError, Signal, Spec, WidthRelation, Wiring, chain
from .joins import Product, Split
from .linear import Affine, Linear
from .pointwise import LeakyReLU, Pointwise
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class DiagonalScan(Block):
    """`h_t = exp(-exp(rate)) h_{t-1} + x_t` feature by feature; x of shape `(batch, tokens, features)`, `h_{-1} = 0`.

    With maps before and after it is a diagonal state space.  Parameter `rate` of shape `(features,)`.

    Law: `||B_j||^2 - ||C_:j||^2` per state between its maps (Gu et al. 2022 define the layer; wire-balance theorem).
    """

    features: int
    frozen: tuple[str, ...] = ()

    summary = "h_t = a h_{t-1} + x_t"
    source = "wire-balance theorem (lawful)"

    @property
    def parameters(self) -> dict[str, Spec]:
        return {"rate": Spec((self.features,), 1.0, -1.0)}

    def input_signal(self) -> Signal:
        return Signal(self.features, (4,))

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], self.features)
        _check_tokens(self, signals[0])
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return ScanRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        decay = torch.exp(-torch.exp(p["rate"]))
        return _scan([decay] * x[0].shape[-2], list(x[0].unbind(-2)))

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, features=signals[0].features)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        return [cls(signal.features)] if _reads(signal) else ()


@dataclass(frozen=True, eq=False, repr=False)
class CausalConv(Block):
    """A depthwise convolution over tokens that sees the past only; x of shape `(batch, tokens, features)`.

    Args:
        features: features of x; the weight has shape `(features, 1, kernel)`.
        kernel: how many tokens it sees.
        bias: whether there is a bias of shape `(features,)`.
        frozen: local names of parameters that training does not move.

    Law: `||in_j||^2 - ||w_j||^2` between it and the map before (Marcotte et al. 2025, theorem 3.6).
    """

    features: int
    kernel: int
    bias: bool = True
    frozen: tuple[str, ...] = ()

    summary = "depthwise convolution over past tokens"
    source = "marcotte2025, theorem 3.6"

    @property
    def parameters(self) -> dict[str, Spec]:
        own = {"weight": Spec((self.features, 1, self.kernel), self.kernel**-0.5)}
        return own | ({"bias": Spec((self.features,), 0.1)} if self.bias else {})

    def input_signal(self) -> Signal:
        return Signal(self.features, (4,))

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], self.features)
        _check_tokens(self, signals[0])
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return LinearRule(
            names["weight"],
            (self.features, 1, self.kernel),
            names.get("bias"),
            groups=self.features,
            keeps_constants=False,
            geometry=("causal", self.kernel),
            mixes=self.kernel > 1,
        )

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        past = torch.nn.functional.pad(x[0], (0, 0, self.kernel - 1, 0))
        tokens = x[0].shape[-2]
        y = sum(past[..., k : k + tokens, :] * p["weight"][:, 0, k] for k in range(self.kernel))
        return y + p["bias"] if self.bias else y

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, features=signals[0].features)

    def shrunk(self) -> Block:
        return dataclasses.replace(self, kernel=min(self.kernel, 3))

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        return [cls(signal.features, 2, bias) for bias in (False, True)] if _reads(signal) else ()


@dataclass(frozen=True, eq=False, repr=False)
class RepeatFeatures(Block):
    """Every feature `copies` times in a row: `copies` states for each channel."""

    copies: int

    summary = "every feature repeated"
    source = "wire-balance theorem (lawful)"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (signals[0].with_features(signals[0].features * self.copies),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return RepeatRule(self.copies)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0].repeat_interleave(self.copies, run.axis)

    def shrunk(self) -> RepeatFeatures:
        """Two copies."""
        return RepeatFeatures(min(self.copies, 2))

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        return [WidthRelation(-1, {0: Fraction(self.copies)})]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if signal.tokens or signal.channels_first:
            return ()
        n = 2 * signal.features
        gains = {"b": Affine(n, True, False), "act": LeakyReLU(0.3), "c": Affine(n, True, False)}
        return [chain(repeat=cls(2), **gains, sum=SumFeatures(2))]


@dataclass(frozen=True, eq=False, repr=False)
class SumFeatures(Block):
    """The sum of every `copies` neighbouring features: what the states of a channel give together."""

    copies: int

    summary = "neighbouring features added"
    source = "wire-balance theorem (lawful)"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].features % self.copies:
            raise ShapeError(f"{self} adds {self.copies} features each but gets {signals[0]}; change one of the two")
        return (signals[0].with_features(signals[0].features // self.copies),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return SumFeaturesRule(self.copies)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].movedim(run.axis, -1).unflatten(-1, (-1, self.copies))
        return y.sum(-1).movedim(-1, run.axis)

    def shrunk(self) -> SumFeatures:
        """Two copies."""
        return SumFeatures(min(self.copies, 2))

    def width_multiple(self, port: int) -> int:
        return self.copies if port == 0 else 1

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        return [WidthRelation(0, {-1: Fraction(self.copies)})]


@dataclass(frozen=True, eq=False, repr=False)
class SelectiveScan(Block):
    """Mamba's scan; ports x and dt of `(batch, tokens, features)`, B and C of `(batch, tokens, states)`.

    `h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t`, `y_t = C_t h_t + D x_t` with `A = -exp(log_a)`; parameters `log_a` of
    shape `(features, states)` and `gain` (`D`) of shape `(features,)`.

    Law: `||B_n||^2 - ||C_n||^2` of the maps that write B and C, per state (Gu, Dao 2023 define the scan; wire-balance
    theorem).
    """

    features: int
    states: int
    skip: bool = True
    frozen: tuple[str, ...] = ()

    inputs = 4
    summary = "h = exp(dt A) h + dt B x, y = C h + D x"
    source = "wire-balance theorem (lawful)"

    @property
    def parameters(self) -> dict[str, Spec]:
        own = {"log_a": Spec((self.features, self.states), 0.5)}
        return own | ({"gain": Spec((self.features,), 0.2, 1.0)} if self.skip else {})

    def output(self, *signals: Signal) -> Sequence[Signal]:
        for s, n in zip(signals, (self.features, self.features, self.states, self.states), strict=True):
            self.expect(s, n)
            _check_tokens(self, s)
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return SelectiveScanRule(names.get("gain"), self.features)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        u, dt, b, c = x
        decay = torch.exp(dt.unsqueeze(-1) * -torch.exp(p["log_a"]))
        drive = (dt * u).unsqueeze(-1) * b.unsqueeze(-2)
        h = _scan(list(decay.unbind(-3)), list(drive.unbind(-3)), axis=-3)
        y = (h * c.unsqueeze(-2)).sum(-1)
        return y + p["gain"] * u if self.skip else y

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, features=signals[0].features, states=signals[2].features)

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        equal = [WidthRelation(p, {0: Fraction(1)}) for p in (1, -1)]
        return [*equal, WidthRelation(3, {2: Fraction(1)})]

    def laws(self) -> list[str]:
        return [SelectiveScanRule("gain" if self.skip else None, self.features).statement]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if not _reads(signal):
            return ()
        n = signal.features
        return [_selective(n, 2, cls(n, 2, skip)) for skip in (False, True)]


def _selective(features: int, rank: int, scan: SelectiveScan) -> Wiring:
    """The scan with the maps that read dt, B and C off its own input."""
    nodes: dict[str, Net] = {
        "x_proj": Linear(features, rank + 2 * scan.states, False),
        "split": Split((rank, scan.states, scan.states)),
        "dt": chain(proj=Linear(rank, features), softplus=Pointwise("softplus")),
        "scan": scan,
    }
    reads = {
        "x_proj": ("input",),
        "split": ("x_proj",),
        "dt": ("split:0",),
        "scan": ("input", "dt", "split:1", "split:2"),
    }
    return Wiring(nodes, reads, ("scan",))


def Mamba(features: int, hidden: int = 0, states: int = 16, rank: int = 0, kernel: int = 4) -> Net:
    """The Mamba block: gated selective state space, without norm and residual.

    Args:
        features: width of the stream.
        hidden: inner width (default: twice the stream).
        states: states per feature.
        rank: width of the low-rank step size (default: a sixteenth of the stream, rounded up).
        kernel: length of the causal depthwise convolution.

    Source: Gu, Dao, *Mamba: Linear-Time Sequence Modeling with Selective State Spaces* (2023), section 3.4.
    """
    inner = hidden or 2 * features
    nodes: dict[str, Net] = {
        "in_proj": Linear(features, 2 * inner, False),
        "split": Split((inner, inner)),
        "conv1d": CausalConv(inner, kernel),
        "act": Pointwise("silu"),
        "ssm": _selective(inner, rank or -(-features // 16), SelectiveScan(inner, states)),
        "gate": Pointwise("silu"),
        "product": Product(),
        "out_proj": Linear(inner, features, False),
    }
    reads = {
        "in_proj": ("input",),
        "split": ("in_proj",),
        "conv1d": ("split:0",),
        "act": ("conv1d",),
        "ssm": ("act",),
        "gate": ("split:1",),
        "product": ("ssm", "gate"),
        "out_proj": ("product",),
    }
    return Wiring(nodes, reads, ("out_proj",))


def _scan(decay: list[torch.Tensor], drive: list[torch.Tensor], axis: int = -2) -> torch.Tensor:
    """`h_t = decay_t * h_{t-1} + drive_t`, all states along an axis."""
    h = drive[0]
    out = [h]
    for a, x in zip(decay[1:], drive[1:], strict=True):
        h = a * h + x
        out.append(h)
    return torch.stack(out, axis)


def _check_tokens(block: Block, s: Signal) -> None:
    if len(s.space) != 1 or s.channels_first:
        raise ShapeError(f"{block} reads tokens but gets {s}")


def _reads(s: Signal) -> bool:
    return len(s.space) == 1 and not s.channels_first and not s.tokens and s.space[0] >= 3
