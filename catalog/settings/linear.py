"""Settings with linear maps: plain, bilinear, with normalised weights, low-rank, shared."""

from __future__ import annotations

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.lora import adapted, targeted

from .setting import BALANCE, SHIFT, Setting, linear

SCALE = "kunin2021, theorem 1"
THREE = {"m": 2, "n": 3, "p": 2}


def linear_settings() -> list[Setting]:
    """Linear maps."""
    return [*_plain(), *_sums(), *_of_two(), *_normalised()]


def _plain() -> list[Setting]:
    def tied(m: int, n: int) -> b.Net:
        first = linear(m, n)
        return b.chain(W=first, act=b.ReLU(), back=b.Linear(n, m, False, tie=b.Tie(first, transposed=True)))

    return [
        Setting("linear", "two linear maps", "Linear", lambda m, n, p: b.chain(V=linear(m, n), U=linear(n, p)), THREE),
        Setting(
            "linear-bias",
            "two linear maps with biases",
            "Linear",
            lambda m, n, p: b.chain(V=linear(m, n, True), U=linear(n, p, True)),
            THREE,
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
            "gain",
            "a gain and a shift between linear maps",
            "Affine",
            lambda m, n, p: b.chain(V=linear(m, n), gain=b.Affine(n), U=linear(n, p)),
            THREE,
        ),
        Setting(
            "tied-transpose",
            "a ReLU layer and its own transpose",
            "Tie",
            tied,
            {"m": 3, "n": 2},
            source=BALANCE,
            hypotheses=("both uses of the weight must move it alike, here by S W and by -S W",),
        ),
    ]


def _sums() -> list[Setting]:
    def adapters(arch: Architecture, r: int, **widths: int) -> Architecture:
        return adapted(*targeted(arch), r)  # of any rank: laws are counted for wide adapters, too

    return [
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
            "parallel-biases",
            "two branches whose biases enter as a sum",
            "parallel",
            lambda m, n, p: b.parallel(
                A=linear(m, p, True), B=b.chain(W=linear(m, n), act=b.ReLU(), V=linear(n, p, True))
            ),
            {"m": 2, "n": 2, "p": 2},
            input=lambda m, n, p: b.Signal(m),
            source=BALANCE,
            linear_source=SHIFT,
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
            "lora",
            "a frozen ReLU network with low-rank adapters",
            "lora",
            lambda m, n, p, r: b.chain(W=linear(m, n, True), act=b.ReLU(), V=linear(n, p, True)),
            {"m": 3, "n": 3, "p": 3, "r": 2},
            source="marcotte2023, theorem 4.1",
            adapt=adapters,
            adapted="lora({network}, rank={r})",
        ),
    ]


def _of_two() -> list[Setting]:
    return [
        Setting(
            "bilinear",
            "a bilinear form of two linear maps",
            "Bilinear",
            lambda m, k, l, n, p: b.chain(
                form=b.parallel(U=linear(m, k), V=linear(m, l), join=b.Bilinear(k, l, n, False)), out=linear(n, p)
            ),
            {"m": 3, "k": 2, "l": 2, "n": 2, "p": 2},
            input=lambda m, **_: b.Signal(m),
            ample=("m", "p"),
        ),
        Setting(
            "complex-linear",
            "two linear maps of complex numbers",
            "ComplexLinear",
            lambda m, n, p: b.chain(U=b.ComplexLinear(m, n, False), V=b.ComplexLinear(n, p, False)),
            {"m": 3, "n": 3, "p": 2},
            input=lambda m, **_: b.Signal(2 * m),
            ample=("m", "p"),
            source="wire-balance theorem (lawful)",
        ),
        Setting(
            "cosine-similarity",
            "the cosine of two maps, times a learned scale",
            "CosineSimilarity",
            lambda m, n: b.parallel(U=linear(m, n), V=linear(m, n), join=b.CosineSimilarity()),
            {"m": 3, "n": 3},
            input=lambda m, n: b.Signal(m),
            least={"n": 3},
        ),
    ]


def _normalised() -> list[Setting]:
    return [
        Setting(
            "unit-rows",
            "a map with rows of norm 1 between linear maps",
            "UnitLinear",
            lambda m, n, k, p: b.chain(V=linear(m, n), W=b.UnitLinear(n, k), act=b.ReLU(), U=linear(k, p)),
            {"m": 2, "n": 3, "k": 2, "p": 2},
            least={"n": 3},
        ),
        Setting(
            "weight-norm",
            "a weight-normalised layer with ReLU",
            "WeightNormLinear",
            lambda m, n, p: b.chain(W=b.WeightNormLinear(m, n), act=b.ReLU(), V=linear(n, p)),
            THREE,
            source=SCALE,
        ),
        Setting(
            "spectral-norm",
            "a spectrally normalised layer with ReLU",
            "SpectralLinear",
            lambda m, n, p: b.chain(W=b.SpectralLinear(m, n), act=b.ReLU(), V=linear(n, p)),
            THREE,
        ),
    ]
