"""Settings with recurrent layers and state spaces."""

from __future__ import annotations

from collections.abc import Callable

from lawful import blocks as b

from .setting import BALANCE, Setting, linear, tokens

THREE = {"m": 2, "n": 3, "p": 2}
TWO = {"m": 2, "n": 2, "p": 2}


def _layer(
    name: str, title: str, block: str, cell: Callable[[int, int], b.Net], sizes: dict[str, int], source: str = ""
) -> Setting:
    """A recurrent layer over tokens and a map of its states."""
    return Setting(
        name,
        title,
        block,
        lambda m, n, p: b.chain(cell=cell(m, n), head=linear(n, p)),
        sizes,
        input=lambda m, n, p: tokens(m),
        source=source,
    )


def recurrent_settings() -> list[Setting]:
    """Recurrent layers."""
    return [
        _layer(
            "recurrent",
            "a ReLU recurrent network, unrolled",
            "Recurrent",
            lambda m, n: b.Recurrent(m, n, 3),
            THREE,
            BALANCE,
        ),
        _layer("rnn-relu", "a recurrent layer with ReLU", "RNN", lambda m, n: b.RNN(m, n, nonlinearity="relu"), TWO),
        _layer("rnn-linear", "a linear recurrent layer", "RNN", lambda m, n: b.RNN(m, n, nonlinearity="linear"), TWO),
        _layer("rnn", "a recurrent layer with tanh", "RNN", b.RNN, TWO),
        _layer("gru", "a gated recurrent unit", "GRU", b.GRU, TWO),
        _layer("lstm", "a long short-term memory", "LSTM", b.LSTM, TWO),
    ]


def scan_settings() -> list[Setting]:
    """Linear recurrences and the selective scan."""

    def selective(m: int, n: int, s: int) -> b.Net:
        nodes: dict[str, b.Net] = {
            "U": linear(m, n),
            "B": linear(m, s),
            "C": linear(m, s),
            "dt": b.chain(proj=b.Linear(m, n), softplus=b.Pointwise("softplus")),
            "scan": b.SelectiveScan(n, s),
        }
        reads: dict[str, tuple[str, ...]] = {name: ("input",) for name in ("U", "B", "C", "dt")}
        reads["scan"] = ("U", "dt", "B", "C")
        return b.Wiring(nodes, reads, ("scan",))

    return [
        Setting(
            "diagonal-scan",
            "a diagonal linear recurrence between linear maps",
            "DiagonalScan",
            lambda m, n, p: b.chain(B=linear(m, n), scan=b.DiagonalScan(n), C=linear(n, p)),
            THREE,
            input=lambda m, n, p: tokens(m),
        ),
        Setting(
            "causal-conv",
            "a causal depthwise convolution between linear maps",
            "CausalConv",
            lambda m, n, p: b.chain(B=linear(m, n), conv=b.CausalConv(n, 2), act=b.ReLU(), C=linear(n, p)),
            THREE,
            input=lambda m, n, p: tokens(m),
        ),
        Setting(
            "states",
            "two states for every channel, with gains before and after",
            "RepeatFeatures",
            lambda m, n, p: b.chain(
                W=linear(m, n),
                repeat=b.RepeatFeatures(2),
                B=b.Affine(2 * n, shift=False),
                scan=b.DiagonalScan(2 * n),
                C=b.Affine(2 * n, shift=False),
                sum=b.SumFeatures(2),
                V=linear(n, p),
            ),
            TWO,
            input=lambda m, n, p: tokens(m),
        ),
        Setting(
            "selective-scan",
            "the scan of Mamba with maps for its input, step, B and C",
            "SelectiveScan",
            selective,
            {"m": 2, "n": 2, "s": 2},
            input=lambda m, n, s: tokens(m),
        ),
        Setting(
            "mamba",
            "a Mamba block",
            "Mamba",
            lambda n, h, s, r: b.Mamba(n, h, s, r, 2),
            {"n": 2, "h": 2, "s": 2, "r": 2},
            input=lambda n, **_: tokens(n),
            source=BALANCE,
        ),
    ]
