"""Programs of files that nobody vouches for: every step acts on each sample by itself, and is bounded."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from forger import base, write

import lawful as lw
from lawful.theory.oracle.exact import checker
from lawful.theory.oracle.exact.residues import PRIMES

Text = dict[str, Any]


def program(*steps: Text, **declared: Any) -> Text:
    empty = {"parameters": {"w": [2]}, "frozen": {}, "data": {"x": [2]}, "choices": {"g": [[2], 2]}, "realised": {}}
    return empty | declared | {"steps": list(steps)}


W = {"kind": "parameter", "name": "w", "shape": [2]}
X = {"kind": "data", "name": "x", "shape": [2]}
DOT = (W, X, {"kind": "multiply", "inputs": [0, 1], "shape": [2]}, {"kind": "total", "inputs": [2], "shape": []})
FINE = program(*DOT)
PICK = {"kind": "pick", "name": "g", "shape": [2], "index": [0, 1], "table": [[0, 0], [1, 1]]}


def test_the_program_that_the_others_are_made_of_is_read() -> None:
    found = checker.Program(FINE, PRIMES[0])
    assert (found.degree, found.bound, found.denominator) == (2, 2, 1)


@pytest.mark.parametrize(
    "text",
    [
        program(W, {"kind": "total", "inputs": [0], "shape": []}, {"kind": "total", "inputs": [1], "shape": []}),
        program(*DOT[:2], {"kind": "matmul", "inputs": [0, 1], "shape": []}),
        program(*DOT[:2], {"kind": "multiply", "inputs": [0, 1], "shape": []}),
        program(*DOT[:2], {"kind": "add", "inputs": [0, 1], "shape": [2], "factors": ["1"]}, DOT[3]),
        program(*DOT[:2], {"kind": "add", "inputs": [], "shape": [], "factors": []}),
        program(W, {"kind": "take", "inputs": [0], "shape": [3]}, {"kind": "total", "inputs": [1], "shape": []}),
        program(W, {"kind": "take", "inputs": [0], "shape": [], "index": [2]}),
        program(W, {"kind": "take", "inputs": [0], "shape": [], "index": [-2]}),
        program(W, {"kind": "take", "inputs": [0], "shape": [], "index": [0, 1]}),
        program(W, {**PICK, "index": [0]}, {"kind": "total", "inputs": [1], "shape": []}),
        program(W, {**PICK, "index": [0, 2]}, {"kind": "total", "inputs": [1], "shape": []}),
        program(W, {**PICK, "table": [[0, 0], [1, 1], [2, 2]]}, {"kind": "total", "inputs": [1], "shape": []}),
        program(W, {"kind": "constant", "shape": [], "table": [1.0]}),
        program(W, {"kind": "constant", "shape": [], "table": float("nan")}),
        program(W, {"kind": "exec", "inputs": [0], "shape": []}),
        program({**W, "name": "v"}, DOT[3] | {"inputs": [0]}),
        program({**W, "shape": [-2]}, *DOT[1:]),
        program(*DOT, parameters={"w": [2], "v": [-2]}),
        program(*DOT, parameters={"w": [2], "v": [2.0]}),
        program(*DOT, choices={"g": [[2], 0]}),
        program(*DOT, choices={"x": [[2], 2]}),
        program(*DOT, frozen={"x": [2]}),
        program(*DOT, realised={"g": [[0, 2]]}),
        program(*DOT, realised={"g": [[0]]}),
        program(*DOT, realised={"g": []}),
        program(*DOT, realised={"g": [[0.5, 0]]}),
        program(*DOT, realised={"h": [[0, 0]]}),
        program(*DOT[:3], {**DOT[3], "inputs": [3]}),
        program(*DOT[:3], {**DOT[3], "inputs": [-2]}),
        program(*DOT[:3]),
    ],
)
def test_steps_that_do_not_fit_are_refused(text: Text) -> None:
    with pytest.raises((checker.Refused, *checker.MALFORMED)):
        found = checker.Program(text, PRIMES[0])
        found.gradient(np.ones((1, 1, 2), dtype=np.int64), found.draw_mixed("a") | found.draw_frozen("a"))


def squared(n: int, factor: str = "1") -> Text:
    steps: list[Text] = [{"kind": "take", "inputs": [0], "shape": [], "index": [0]}]
    for i in range(n):
        steps.append({"kind": "multiply", "inputs": [2 * i + 1] * 2, "shape": []})
        steps.append({"kind": "add", "inputs": [2 * i + 2], "shape": [], "factors": [factor]})
    return program(W, *steps)


def test_degrees_and_coefficients_are_bounded_by_the_steps() -> None:
    assert checker.Program(squared(10), PRIMES[0]).degree == 1024
    assert checker.Program(squared(3, "5"), PRIMES[0]).bound == 5 ** (1 + 2 + 4)
    assert checker.Program(squared(3, "1/5"), PRIMES[0]).denominator == 5 ** (1 + 2 + 4)
    for text in (squared(30), squared(20, "5"), squared(20, "1/5"), squared(200, "-7/3")):
        with pytest.raises(checker.Refused, match="too large"):
            checker.Program(text, PRIMES[0])


def test_doubt_is_counted() -> None:
    assert checker.doubt_of_one(10, 300) == pytest.approx(10 / 50_697_537 + 10 / 2**30)
    with pytest.raises(checker.Refused, match="not below the primes"):
        checker.doubt_of_one(1 << 30, 1)
    with pytest.raises(checker.Refused, match="so large"):
        checker.doubt_of_one(2, 1 << 40)
    with pytest.raises(checker.Refused, match="a doubt of"):
        checker.vanishes(lambda p, seed: True, 0.45, "")
    primes: list[int] = []
    assert checker.vanishes(lambda p, seed: not primes.append(p), 1e-7, "") == pytest.approx(1e-35)
    assert len(set(primes)) == 5
    assert all(1 << 30 < p < 1 << 31 for p in primes)


def test_weights_that_the_network_reads_are_no_weights() -> None:
    """A sum of laws with weights that are frozen numbers may hold although none of them does."""
    laws = program(W, {**X, "name": "weights"}, *DOT[2:], data={"weights": [2]})
    network = program(*DOT, frozen={"weights": [2]})
    with pytest.raises(checker.Refused, match="that the network reads"):
        checker.orthogonal(checker.Program(network, PRIMES[0]), checker.Program(laws, PRIMES[0]))


def test_fresh_primes_are_all_likely() -> None:
    """50,697,537 primes of 31 bits: a sample has the mean of all, and does not repeat itself."""
    found = {checker.fresh_prime() for _ in range(400)}
    assert len(found) >= 398
    assert abs(sum(found) / len(found) / 2**31 - 0.7505) < 0.05


def test_another_order_of_steps_is_the_same_polynomial() -> None:
    """Programs that are written in another way are compared at random points, and the doubt is said."""
    text = copy.deepcopy(dict(base("relu").honest["potential"]))
    other = copy.deepcopy(text)
    last = len(text["steps"]) - 1
    half = [{"kind": "add", "inputs": [last], "shape": [], "factors": ["1/3"]}] * 2
    other["steps"] += [*half, {"kind": "add", "inputs": [last + 1, last + 2], "shape": [], "factors": ["1", "2"]}]
    assert checker.same(text, text) == 0.0
    assert 0.0 < checker.same(text, other) < 1e-29
    other["steps"][-1]["factors"] = ["1", "2.0000000000000000000000000000001"]
    with pytest.raises(checker.Refused, match="differ at a random point"):
        checker.same(text, other)


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.update(names={}),
        lambda c: c.update(names=[]),
        lambda c: c["names"]["fc1"].update(weight="fc0.weight"),  # of another shape
        lambda c: c["names"]["fc1"].pop("weight"),
        lambda c: c["names"]["act0"].update(weight="fc0.weight"),
        lambda c: c.update(network=None),
        lambda c: c["network"]["nodes"][1].update(kind="exec"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(edit: Callable[[Text], object]) -> None:
    content = json.loads(json.dumps(base("relu").honest))
    edit(content)
    with pytest.raises(checker.Refused, match="cannot be built"):
        _ = lw.Certificate(content).network


@pytest.mark.parametrize("kind", ["Opaque", "Softmax"])
def test_networks_that_are_no_polynomials_are_refused(kind: str) -> None:
    of = base("relu")
    network = json.loads(json.dumps(of.honest["network"]))
    network["nodes"][1].update(kind=kind, config={})
    with pytest.raises(checker.Refused, match="cannot be"):
        lw.Certificate(write((network, *of.head[1:]), of.potential, of.laws)).check()
