"""Settings with activations, and with fixed and random factors."""

from __future__ import annotations

from collections.abc import Callable

from lawful import blocks as b

from .setting import BALANCE, SHIFT, Builder, Setting, linear

SIZES = {"m": 2, "n": 3, "p": 2}
SMOOTH = {"GELU": b.GELU, "SiLU": b.SiLU, "Tanh": b.Tanh, "Sigmoid": b.Sigmoid}
PIECEWISE = {
    "ReLU6": b.ReLU6,
    "HardTanh": b.HardTanh,
    "HardSigmoid": b.HardSigmoid,
    "HardSwish": b.HardSwish,
    "ELU": b.ELU,
    "SELU": b.SELU,
    "CELU": lambda: b.CELU(2.0),
}


def _mlp(act: Callable[[], b.Net], bias: bool = True) -> Builder:
    return lambda m, n, p: b.chain(W=linear(m, n, bias), act=act(), V=linear(n, p, bias))


def activation_settings() -> list[Setting]:
    """One hidden layer with every activation."""
    half = "the slopes of the two half lines may be any two different numbers"
    return [
        Setting("relu", "a hidden layer with ReLU", "ReLU", _mlp(b.ReLU), SIZES, hypotheses=(half,)),
        Setting(
            "deep-relu",
            "two hidden layers with ReLU",
            "ReLU",
            lambda m, n, k, p: b.chain(U=linear(m, n), r1=b.ReLU(), V=linear(n, k), r2=b.ReLU(), W=linear(k, p)),
            {"m": 2, "n": 3, "k": 2, "p": 2},
        ),
        Setting(
            "leaky-relu",
            "a hidden layer with LeakyReLU",
            "LeakyReLU",
            _mlp(lambda: b.LeakyReLU(0.3)),
            SIZES,
            source=b.ReLU.source,
        ),
        Setting("abs", "a hidden layer with |x|", "Abs", _mlp(b.Abs), SIZES, source=b.ReLU.source),
        Setting(
            "relu-squared",
            "a hidden layer with squared ReLU",
            "ReLU",
            _mlp(lambda: b.ReLU(0.0, 2), bias=False),
            SIZES,
            source="tran2026, section 4",
        ),
        Setting("power", "a hidden layer with x^2", "Power", _mlp(lambda: b.Power(2), bias=False), SIZES),
        Setting("cubic", "a hidden layer with x^3 and biases", "Power", _mlp(lambda: b.Power(3)), SIZES),
        Setting("prelu", "a hidden layer with one trained slope", "PReLU", _mlp(b.PReLU), SIZES),
        Setting(
            "prelu-channels",
            "a hidden layer with a trained slope for every feature",
            "PReLU",
            lambda m, n, p: b.chain(W=linear(m, n, True), act=b.PReLU(n), V=linear(n, p)),
            SIZES,
        ),
        Setting(
            "maxout",
            "a hidden layer with the largest of k maps",
            "Maxout",
            lambda m, n, k, p: b.chain(max=b.Maxout(m, n, k), V=linear(n, p)),
            {"m": 2, "n": 2, "k": 2, "p": 2},
            source=b.GroupMax.source,
        ),
        *(_without_law(name, act, "smooth") for name, act in SMOOTH.items()),
        *(_without_law(name, act, "piece-wise") for name, act in PIECEWISE.items()),
    ]


def _without_law(name: str, act: Callable[[], b.Net], how: str) -> Setting:
    """A layer whose activation is not homogeneous."""
    title = f"a hidden layer with {name}"
    extra = ("the pieces of the activation hold on open sets of data",) if how == "piece-wise" else ()
    return Setting(name.lower(), title, name, _mlp(act), SIZES, source="tran2026, theorem 4.1", hypotheses=extra)


def factor_settings() -> list[Setting]:
    """Fixed and random factors, weights that sum to 1."""
    return [
        Setting(
            "dropout",
            "a hidden layer with ReLU and dropout",
            "Dropout",
            lambda m, n, p: b.chain(W=linear(m, n, True), act=b.ReLU(), drop=b.Dropout(0.5), V=linear(n, p)),
            SIZES,
        ),
        Setting(
            "stochastic-depth",
            "a residual branch that is dropped at random",
            "StochasticDepth",
            lambda m, n, h, p: b.chain(
                stem=linear(m, n),
                block=b.residual(b.chain(mlp=b.MLP(n, h), drop=b.StochasticDepth(0.2))),
                head=linear(n, p),
            ),
            {"m": 2, "n": 3, "h": 2, "p": 2},
            ample=("m", "p"),
            source=BALANCE,
        ),
        Setting(
            "mean-of",
            "the mean of two branches, a fixed factor",
            "Scale",
            lambda m, n, p: b.chain(
                mean=b.mean_of(
                    b.chain(W=linear(m, n), act=b.ReLU(), V=linear(n, p, True)),
                    b.chain(W=linear(m, n), act=b.ReLU(), V=linear(n, p, True)),
                )
            ),
            {"m": 2, "n": 2, "p": 2},
            input=lambda m, n, p: b.Signal(m),
            source=BALANCE,
        ),
        Setting(
            "softmax",
            "softmax over features between linear maps",
            "Softmax",
            lambda m, n, p: b.chain(W=linear(m, n, True), weights=b.Softmax(), V=linear(n, p, True)),
            {"m": 2, "n": 3, "p": 2},
            least={"n": 3},
            linear_source=f"tran2026, theorem 4.5; {SHIFT}",
        ),
    ]
