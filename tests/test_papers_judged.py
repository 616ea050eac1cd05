"""The judges of the papers: shipped numbers, changed in one place, change the verdict that hangs on them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from lawful.papers import page
from lawful.papers.curth2023 import smoothers
from lawful.papers.paper import HOLDS, REFUTED, UNTESTED, Claim, Report
from lawful.papers.running import told
from lawful.papers.shelf import paper

Data = dict[str, Any]


def put(*way: Any, to: Any) -> Callable[[Data], None]:
    """Changes the number at the end of a way of keys."""

    def change(data: Data) -> None:
        for key in way[:-1]:
            data = data[key]
        data[way[-1]] = to

    return change


# paper/part, what is changed, the claims that hang on it with their verdict
CASES: dict[str, tuple[str, Callable[[Data], None], dict[str, str]]] = {
    "a law too few": ("marcotte2023/examples", put("product", "rows", 0, 1, to=0), {"product": REFUTED}),
    "a law of a cubic field": ("marcotte2023/examples", put("cubic", "rows", 0, 1, to=1), {"cubic": REFUTED}),
    "a count that differs": (
        "marcotte2023/networks",
        put("relu 0", "rows", 0, 4, to=999),
        {"count-relu": REFUTED, "count-linear": HOLDS},
    ),
    "a search that finds more": (
        "marcotte2023/search",
        put("linear", "rows", 0, 3, to=999),
        {"search-linear": REFUTED},
    ),
    "a law of first order": ("tran2026/slopes", put("SwiGLU", "rows", 0, 0, 0, to=1.0), {"laws": REFUTED}),
    "a control of second order": ("tran2026/slopes", put("GELU", "rows", 0, 1, 0, to=2.0), {"gelu": REFUTED}),
    "a router law that holds": (
        "tran2026/router",
        put("measured", "normalised_sigmoid", 0, to="holds"),
        {"normalised-sigmoid": HOLDS, "softmax": HOLDS},
    ),
    "a softmax router without its law": (
        "tran2026/router",
        put("measured", "softmax", 0, to="violated"),
        {"softmax": REFUTED},
    ),
    "a ledger that complains": (
        "tran2026/models",
        put("vit", "rows", 0, 3, to="unexplained"),
        {"vit": REFUTED, "qwen3": HOLDS},
    ),
    "a run off its closed form": (
        "kunin2021/vgg",
        put("normed 0.005", "scale", "error", to=0.2),
        {"scale": REFUTED, "translation": HOLDS, "rescale": HOLDS},
    ),
    "a gradient along the symmetry": (
        "kunin2021/surfaces",
        put("scale", "cosine", to=0.1),
        {"orthogonal": REFUTED, "surface": HOLDS},
    ),
    "a step into the sphere": ("kunin2021/surfaces", put("scale", "changes", to=[-0.1, 0.1]), {"steps": REFUTED}),
    "a modified flow that is worse": (
        "kunin2021/flow",
        put("SGD", "rows", 0, 2, to=9.0),
        {"nearer-SGD": REFUTED, "nearer-momentum": HOLDS},
    ),
    "a code without a slip": (
        "kunin2021/dampening",
        lambda r: [found.update(error_code=0.0) for found in r.values()] and None,
        {"as-in-the-code": HOLDS, "corrected": HOLDS},
    ),
    "momentum that keeps the laws": (
        "marcotte2024/mlp",
        put("momentum 0.95", "line", -1, 1, to=0.0),
        {"grows": REFUTED},
    ),
    "small steps that mend it": ("marcotte2024/limit", put("momentum", "drifts", -1, 1, to=0.0), {"relu": REFUTED}),
    "a linear law that is lost": (
        "marcotte2024/linear",
        put("momentum 0.9", "line", -1, 1, to=0.1),
        {"survives": REFUTED},
    ),
    "a mirror flow that moves NMF": (
        "marcotte2024/mirror",
        put("NMF, mass 0", "drift", to=0.5),
        {"nmf": REFUTED, "icnn": HOLDS},
    ),
    "a law of ReLU under momentum": (
        "marcotte2024/counts",
        put("others", "ReLU, momentum", 0, to=1),
        {"others": REFUTED},
    ),
    "a step of first order": (
        "marcotte2025/resnet18",
        put("without 0.003", "off", to=1e-3),
        {"without-resnet": REFUTED, "with-resnet": UNTESTED},
    ),
    "a rank too low": ("marcotte2025/ranks", put("paper", "rank", to=349), {"rank": REFUTED}),
    "signs that fill every space": (
        "marcotte2025/signs",
        lambda r: [found.update(laws=0) for found in r.values()] and None,
        {"span": HOLDS},
    ),
    "SAM that books too little": (
        "wen2023/laws",
        put("step", "rows", 0, 0, to=1e-3),
        {"exact": REFUTED, "rate": HOLDS},
    ),
    "an orbit of other functions": ("wen2023/orbit", put("seed 0", "balanced", 1, to=0.1), {"orbit": REFUTED}),
    "an orbit at no minimum": ("wen2023/orbit", put("seed 0", "loss", to=0.1), {"orbit": UNTESTED}),
    "a run that fits nothing": ("wen2023/scenarios", put("plain sam", "rows", 0, 0, to=1.0), {"sam-plain": UNTESTED}),
    "a flattest run that does not generalise": (
        "wen2023/scenarios",
        put("plain sam", "rows", to=[[0.0, 0.5, 9.0]] * 3),
        {"sam-plain": REFUTED, "noise-plain": HOLDS},
    ),
    "a run short of the flattest": (
        "wen2023/scenarios",
        put("plain sam", "rows", to=[[0.0, 0.5, 20.0]] * 3),
        {"sam-plain": UNTESTED},
    ),
    "a biased run that does not generalise, short of the flattest": (
        "wen2023/scenarios",
        put("bias sam", "rows", to=[[0.0, 0.5, 20.0]] * 3),
        {"sam-bias": UNTESTED},
    ),
    "a biased run that does not generalise at the flattest": (
        "wen2023/scenarios",
        put("bias sam", "rows", to=[[0.0, 0.5, 9.2]] * 3),
        {"sam-bias": HOLDS},
    ),
    "memory that is not flattest": (
        "wen2023/scenarios",
        put("written", "memory bias", 2, to=20.0),
        {"flattest-bias": REFUTED},
    ),
    "a quantity that moves": (
        "zhao2023/quantities",
        put("tanh, 8 examples", "line", -1, 1, to=0.1),
        {"tanh": REFUTED, "sigmoid": HOLDS},
    ),
    "teleportation that changes the loss": (
        "zhao2023/teleport",
        put("seed 0", "loss", 1, 0, to=9.0),
        {"loss": REFUTED},
    ),
    "noise that does not follow its trace": ("ziyin2024/step", put("ReLU", "rows", 0, 3, to=0.1), {"trace": REFUTED}),
    "noise that keeps the balance": (
        "ziyin2024/balance",
        put("batches of 1", "line", -1, 1, to=1.0),
        {"balance": REFUTED},
    ),
    "a law of a stream that is left": (
        "streams/training",
        put("gpt2", "rows", 0, "verdict", to="unexplained"),
        {"gpt2": REFUTED, "llama": HOLDS},
    ),
    "a stream that needs no last block": (
        "streams/control",
        put("vit", "rows", 0, 2, to=0.0),
        {"first-order": REFUTED},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_number_that_fails_is_reported_as_failing(case: str) -> None:
    name, change, expected = CASES[case]
    key, _, part = name.partition("/")
    results = next(p for p in page.shipped()[key]["parts"] if p["name"] == part)["results"]
    results = copy.deepcopy(results)
    change(results)
    found = told(paper(name), "full", {f"{part}/{unit}": value for unit, value in results.items()})
    claims = {c["name"]: c for c in found["parts"][0]["claims"]}
    assert {n: claims[n]["verdict"] for n in expected} == expected
    assert all(bool(c.get("counterexample")) == (c["verdict"] == REFUTED) for c in claims.values())


def smoother(first: list[float], second: list[float], back: list[float]) -> Report:
    """Errors along two axes of four rows each; the effective parameters of the first are 1 to 4, then `back`."""
    errors, effective = first + second, [1.0, 2.0, 3.0, 4.0, *back]
    raw = [[float(10 * (k + 1)), e, p, p] for k, (e, p) in enumerate(zip(errors, effective, strict=True))]
    return smoothers.report({"seed 0": {"raw": raw, "axes": {"9": raw[:4]}}}, 3, "leaves", "trees")


def verdicts(report: Report) -> dict[str, str]:
    def of(claim: Claim) -> str:
        return {HOLDS: "+", REFUTED: "-", UNTESTED: "?"}[claim.verdict]

    return {claim.name: of(claim) for claim in report.claims}


@pytest.mark.parametrize(
    ("first", "second", "back", "expected"),
    [
        ([4, 2, 3, 5], [3, 2, 1], [3, 2, 1], "++++"),
        ([4, 3, 2, 1.5], [1.2, 1, 0.9], [3, 2, 1], "-?+?"),  # no second descent: nothing to fold
        ([4, 2, 5, 3], [2.5, 2, 1], [3, 2, 1], "+---"),  # it begins along one axis
        ([4, 2, 3, 5], [3, 2, 1], [5, 6, 7], "+++-"),  # effective parameters grow on
        ([4, 2, 3, 5], [3, 2, 1], [4.05, 4, 3.9], "+++-"),  # they stay where they are
        ([4, 2, 2.05, 2.02], [1.9, 1.8, 1.7], [3, 2, 1], "-?+?"),  # a rise of 2 % is none
    ],
)
def test_curves_of_smoothers_are_judged_by_their_shape(
    first: list[float], second: list[float], back: list[float], expected: str
) -> None:
    found = verdicts(smoother(first, second, back))
    assert "".join(found[n] for n in ("double", "exchange", "axes", "folded")) == expected


@pytest.mark.parametrize(
    ("weights", "channels", "expected"), [(4.0, 1.0, HOLDS), (1.9, 1.0, REFUTED), (1.0, 1.0, REFUTED)]
)
def test_channels_have_to_move_more_simply_in_every_layer(weights: float, channels: float, expected: str) -> None:
    layers = {"a": (4.0, 1.0), "b": (weights, channels)}
    results = {"normed": {n: {"weights": {"way": w}, "channels": {"way": c}} for n, (w, c) in layers.items()}}
    (claim,) = paper("kunin2021/neurons").parts[0].report(results).claims
    assert claim.verdict == expected
