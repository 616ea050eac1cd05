"""Ordinary mistakes in a block of one's own: one sentence that names the block, both sides and the way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful.blocks.rules import HomogeneousRule

RIGHT: dict[str, Any] = {
    "output": lambda self, *s: (s[0],),
    "rule": lambda self, names, inputs, outputs: HomogeneousRule(power=2),
    "forward": lambda self, p, x, run: x[0] * x[0].abs(),
}
FORWARD = "forward of Mine() "
WRONG: dict[str, tuple[str, Any, str]] = {
    "a signal": ("output", lambda self, *s: s[0], "returns one Signal, expected a tuple of them; write"),
    "no signals": ("output", lambda self, *s: None, "returns None, expected a tuple of Signals"),
    "a width": ("output", lambda self, *s: (3,), "returns a tuple with a int, expected a tuple of Signals"),
    "two signals": ("output", lambda self, *s: (s[0], s[0]), "returns 2 signals, but its outputs says 1 port"),
    "another port": ("output", lambda self, *s: (s[1],), "output of Mine() does not run (IndexError: "),
    "no arguments": ("output", lambda self: (), "output of Mine() does not run (TypeError: "),
    "no rule": (
        "rule",
        lambda self, n, i, o: None,
        "rule of Mine() returns None, expected a rule of lawful.",
    ),
    "a class": (
        "rule",
        lambda self, n, i, o: HomogeneousRule,
        "returns the class HomogeneousRule, expected a rule",
    ),
    "a rule of nothing": ("rule", lambda self, n, i, o: n["w"], "reads the parameter 'w', but it has none; declare it"),
    "no parameter": (
        "forward",
        lambda self, p, x, run: p["nope"] * x[0],
        "reads the parameter 'nope', but it has",
    ),
    "fewer features": (
        "forward",
        lambda self, p, x, run: x[0][..., :2],
        "of shape (6, 2), but its output promises 3",
    ),
    "an axis more": (
        "forward",
        lambda self, p, x, run: x[0][None],
        "of shape (1, 6, 3), but its output promises 3",
    ),
    "a number": ("forward", lambda self, p, x, run: x[0].sum(), "of shape (), but its output promises 3 features"),
    "nothing": ("forward", lambda self, p, x, run: None, FORWARD + "returns None, expected 1 tensor"),
    "a list": ("forward", lambda self, p, x, run: x, FORWARD + "returns a list, expected 1 tensor"),
    "two": ("forward", lambda self, p, x, run: (x[0], x[0]), "returns 2 tensors, but its output promises 1 signal"),
    "another input": ("forward", lambda self, p, x, run: x[1], FORWARD + "does not run (IndexError: "),
    "no such attribute": ("forward", lambda self, p, x, run: run.nope, FORWARD + "does not run (AttributeError: "),
    "a matrix": ("forward", lambda self, p, x, run: x[0] @ torch.ones(7, 7), "so correct its forward"),
    "a bare shape": (
        "parameters",
        property(lambda self: {"g": 3}),
        "the parameter 'g' of Mine() is 3, expected its",
    ),
    "a list of names": ("parameters", property(lambda self: ["g"]), "parameters of Mine() are a list, expected a dict"),
}


def network(**members: Any) -> b.Net:
    mine = dataclass(frozen=True, eq=False, repr=False)(type("Mine", (b.Block,), RIGHT | members))
    return b.Linear(2, 3) >> mine() >> b.Linear(3, 2)


def test_the_right_one_is_lawful() -> None:
    assert lw.check(network()).lawful
    assert lw.check(network(forward=lambda self, p, x, run: (x[0] * x[0].abs(),))).lawful


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_names_the_block(name: str) -> None:
    member, value, part = WRONG[name]
    with pytest.raises(b.ShapeError) as caught:
        lw.check(network(**{member: value}))
    text = str(caught.value)
    assert text.startswith("1") and "Mine()" in text and part in text and "; " in text, text
    assert "\n" not in text and "input=Signal" not in text and len(text) < 400, text


@pytest.mark.parametrize("what", ["x", None, 3, int, b.ReLU(), lambda: None])
def test_only_classes_of_blocks_are_registered(what: Any) -> None:
    with pytest.raises(b.ShapeError, match="expected a class of blocks; write @register above"):
        b.register(what)


def test_half_a_block_is_not_registered() -> None:
    with pytest.raises(b.ShapeError, match="Half, which lacks forward, rule"):
        b.register(type("Half", (b.Block,), {"output": RIGHT["output"]}))


JUNCTIONS: dict[str, Callable[[], b.Net]] = {
    "one map": lambda: b.residual(b.Linear(3, 4)),
    "two maps": lambda: b.residual(b.Linear(3, 8) >> b.ReLU() >> b.Linear(8, 4)),
    "behind a norm": lambda: b.residual(b.LayerNorm(3) >> b.Linear(3, 4)),
    "behind a gate": lambda: b.residual(b.ReLU() >> b.Linear(3, 4)),
    "inside": lambda: b.residual(b.residual(b.Linear(3, 4))),
}


@pytest.mark.parametrize("name", JUNCTIONS)
def test_a_residual_that_changes_the_width_is_refused_where_it_is_written(name: str) -> None:
    with pytest.raises(b.ShapeError, match="3 features and 4 features; make the branches equally wide"):
        JUNCTIONS[name]()


def test_a_residual_that_fits_is_not() -> None:
    b.residual(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 3))
    b.residual(b.Linear(3, 4), b.Linear(3, 4))
    with pytest.raises(b.ShapeError, match=r"Linear\(3, width=4\) reads 3 features but gets 2"):
        b.residual(b.Linear(3, 4), b.Linear(2, 4))
