"""The networks that show the laws: small, named after the papers' letters, one per block or composite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lawful import blocks as b
from lawful.graph.architecture import Architecture

BALANCE = "wire-balance theorem (lawful)"
SHIFT = "shift theorem (lawful)"


@dataclass(frozen=True)
class Setting:
    """A family of networks over some widths.

    Attributes:
        name: first part of the ids of its entries.
        title: what the network is.
        block: the block or composite that it is about.
        build: the network at given widths.
        sizes: the widths of the certificate.
        input: what the network reads at given widths, where its first block does not say.
        space: position axes of the input.
        loss: the loss.
        least: smallest width at which the count formula is meant, where it is not 2.
        ample: widths that have to be large for the count formula of independent laws.
        source: paper and theorem of its quadratic laws.
        linear_source: the same of its linear laws.
        hypotheses: what has to be true besides what the generator sees.
    """

    name: str
    title: str
    block: str
    build: Callable[..., b.Net]
    sizes: dict[str, int]
    input: Callable[..., b.Signal] | None = None
    space: tuple[int, ...] | None = None
    loss: str = "mse"
    least: dict[str, int] = field(default_factory=dict)
    ample: tuple[str, ...] = ()
    source: str = ""
    linear_source: str = SHIFT
    hypotheses: tuple[str, ...] = ()

    def architecture(self, **sizes: int) -> Architecture:
        """The network at some widths."""
        signal = self.input(**sizes) if self.input else None
        return Architecture(self.build(**sizes), input=signal, space=self.space)


def linear(features: int, width: int, bias: bool = False) -> b.Linear:
    """A linear map, by default without bias."""
    return b.Linear(features, width, bias)


def relu_branch(n: int, h: int) -> b.Net:
    """The residual branch of most settings."""
    return b.chain(up=linear(n, h), act=b.ReLU(), down=linear(h, n))


def tokens(n: int, length: int = 3) -> b.Signal:
    """Three tokens: one or two have accidental laws."""
    return b.Signal(n, (length,))


def _dense() -> list[Setting]:
    three = {"m": 2, "n": 3, "p": 2}
    return [
        Setting("linear", "two linear maps", "Linear", lambda m, n, p: b.chain(V=linear(m, n), U=linear(n, p)), three),
        Setting(
            "linear-bias",
            "two linear maps with biases",
            "Linear",
            lambda m, n, p: b.chain(V=linear(m, n, True), U=linear(n, p, True)),
            three,
        ),
        Setting(
            "deep-linear",
            "three linear maps",
            "Linear",
            lambda m, n, k, p: b.chain(U=linear(m, n), V=linear(n, k), W=linear(k, p)),
            {"m": 2, "n": 3, "k": 2, "p": 2},
            ample=("m", "p"),
        ),
        Setting(
            "linear-cross-entropy",
            "a classifier on one linear map",
            "Linear",
            lambda m, n, p: b.chain(V=linear(m, n), head=linear(n, p, True)),
            {"m": 2, "n": 2, "p": 3},
            loss="cross_entropy",
            least={"p": 3},
        ),
        Setting(
            "linear-skip",
            "a linear residual branch between two linear maps",
            "residual",
            lambda m, n, p: b.chain(V=linear(m, n), block=b.residual(linear(n, n)), U=linear(n, p)),
            {"m": 2, "n": 2, "p": 2},
            source=BALANCE,
        ),
        Setting(
            "parallel-linear",
            "two linear branches side by side",
            "parallel",
            lambda m, n, k, p: b.parallel(
                A=b.chain(V=linear(m, n), U=linear(n, p)), B=b.chain(V=linear(m, k), U=linear(k, p))
            ),
            {"m": 3, "n": 2, "k": 2, "p": 3},
            input=lambda m, n, k, p: b.Signal(m),
            ample=("m", "p"),
            source=BALANCE,
        ),
        Setting(
            "low-rank-update",
            "a low-rank update of a frozen matrix",
            "frozen",
            lambda m, r, p: b.parallel(update=b.chain(A=linear(m, r), B=linear(r, p)), W=b.frozen(linear(m, p))),
            {"m": 3, "r": 2, "p": 2},
            input=lambda m, r, p: b.Signal(m),
            source="marcotte2023, theorem 4.1",
        ),
        Setting(
            "recurrent",
            "a ReLU recurrent network, unrolled",
            "Recurrent",
            lambda m, n, p: b.chain(cell=b.Recurrent(m, n, 3), head=linear(n, p)),
            three,
            input=lambda m, n, p: tokens(m),
            source=BALANCE,
        ),
        Setting(
            "gain",
            "a gain and a shift between linear maps",
            "Affine",
            lambda m, n, p: b.chain(V=linear(m, n), gain=b.Affine(n), U=linear(n, p)),
            three,
        ),
    ]


def _pointwise() -> list[Setting]:
    def mlp(act: Callable[[], b.Net], bias: bool = True) -> Callable[..., b.Net]:
        return lambda m, n, p: b.chain(W=linear(m, n, bias), act=act(), V=linear(n, p, bias))

    sizes = {"m": 2, "n": 3, "p": 2}
    half = "the slopes of the two half lines may be any two different numbers"
    return [
        Setting("relu", "a hidden layer with ReLU", "ReLU", mlp(b.ReLU), sizes, hypotheses=(half,)),
        Setting(
            "deep-relu",
            "two hidden layers with ReLU",
            "ReLU",
            lambda m, n, k, p: b.chain(U=linear(m, n), r1=b.ReLU(), V=linear(n, k), r2=b.ReLU(), W=linear(k, p)),
            {"m": 2, "n": 3, "k": 2, "p": 2},
        ),
        Setting(
            "relu-cross-entropy",
            "a ReLU classifier",
            "ReLU",
            mlp(b.ReLU),
            {"m": 2, "n": 2, "p": 3},
            loss="cross_entropy",
            least={"p": 3},
        ),
        Setting(
            "relu-squared",
            "a hidden layer with squared ReLU",
            "ReLU",
            mlp(lambda: b.ReLU(0.0, 2), bias=False),
            sizes,
            source="tran2026, section 4",
        ),
        Setting("power", "a hidden layer with x^2", "Power", mlp(lambda: b.Power(2), bias=False), sizes),
        Setting("gelu", "a hidden layer with GELU", "GELU", mlp(b.GELU), sizes, source="tran2026, theorem 4.1"),
        Setting("tanh", "a hidden layer with tanh", "Tanh", mlp(b.Tanh), sizes, source="tran2026, theorem 4.1"),
        Setting(
            "dropout",
            "a hidden layer with ReLU and dropout",
            "Dropout",
            lambda m, n, p: b.chain(W=linear(m, n, True), act=b.ReLU(), drop=b.Dropout(0.5), V=linear(n, p)),
            sizes,
        ),
    ]


def _gated() -> list[Setting]:
    def unit(name: str, title: str, block: str, build: Callable[[int, int], b.Net]) -> Setting:
        source, sizes = "tran2026, theorem 4.2", {"n": 2, "h": 3}
        return Setting(name, title, block, build, sizes, input=lambda n, h: b.Signal(n), source=source)

    return [
        unit("swiglu", "a SwiGLU unit", "SwiGLU", lambda n, h: b.SwiGLU(n, h)),
        unit("reglu", "a ReGLU unit", "ReGLU", lambda n, h: b.ReGLU(n, h)),
        unit(
            "bilinear-glu",
            "a gated unit without activation",
            "GatedLinearUnit",
            lambda n, h: b.GatedLinearUnit(n, h, b.Identity()),
        ),
    ]


def dense_settings() -> list[Setting]:
    """Linear maps, point-wise maps and gated units."""
    return _dense() + _pointwise() + _gated()
