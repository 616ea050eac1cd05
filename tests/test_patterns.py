"""Activation patterns: gates that read one value switch together, and counting asks no rule."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful.theory.gauge import rewrites, rules
from lawful.theory.verdict import Verdict

ROOT = Path(__file__).parents[1]


def linear(n: int, m: int) -> b.Net:
    return b.Linear(n, m, False)


def branches(*activations: b.Net, width: int = 3) -> b.Net:
    """One value, read through some activations, each with a map of its own."""
    return linear(2, width) >> b.parallel(*(a >> linear(width, 2) for a in activations))


# name: (network, options, laws)
SHARED = {
    "relu, abs, identity: 2A - B - C": (
        linear(2, 3) >> b.parallel(b.ReLU() >> linear(3, 3), b.Abs() >> linear(3, 3), linear(3, 3)),
        {},
        12,
    ),
    "relu, leaky, identity": (branches(b.ReLU(), b.LeakyReLU(0.3), b.Identity()), {}, 9),
    "relu and the relu of a relu": (branches(b.ReLU(), b.ReLU() >> b.ReLU()), {}, 9),
    "relu and the relu of a leaky": (branches(b.ReLU(), b.LeakyReLU(0.1) >> b.ReLU()), {}, 9),
    "relu and the relu of three times the value": (branches(b.ReLU(), b.Scale(3.0) >> b.ReLU()), {}, 9),
    "relu of the value and of its negative": (branches(b.ReLU(), b.Scale(-1.0) >> b.ReLU(), b.Identity()), {}, 9),
    "relu6 written twice": (
        linear(2, 3) >> b.parallel(b.ReLU6() >> linear(3, 2), b.HardTanh(0, 6) >> linear(3, 2)),
        {},
        6,
    ),
    "two maxima of the same": (
        linear(2, 4) >> b.parallel(b.GroupMax(2) >> linear(2, 2), b.GroupMax(2) >> linear(2, 2)),
        {},
        6,
    ),
    "apart: two values": (
        b.parallel(linear(2, 3) >> b.ReLU() >> linear(3, 2), linear(2, 3) >> b.Abs() >> linear(3, 2)),
        {},
        6,
    ),
    "a recurrent relu": (b.RNN(2, 3, False, nonlinearity="relu") >> linear(3, 2), {"space": (3,)}, 3),
    "noise is drawn apart": (linear(2, 3) >> b.parallel(*(b.Dropout(0.5) >> linear(3, 2) for _ in range(2))), {}, 3),
}


@pytest.mark.parametrize("name", SHARED)
def test_gates_of_one_value_switch_together(name: str) -> None:
    net, options, laws = SHARED[name]
    found = lw.count(lw.Architecture(net, **options))
    assert (found.laws, found.verdict) == (laws, Verdict.HOLDS)


class Gates(torch.nn.Module):
    """`A relu(h) + B f(h) + C h` with maps without bias."""

    def __init__(self, f) -> None:
        super().__init__()
        self.h, self.f = torch.nn.Linear(2, 2, bias=False), f
        self.a, self.b, self.c = (torch.nn.Linear(2, 2, bias=False) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.h(x)
        return self.a(torch.relu(h)) + self.b(self.f(h)) + self.c(h)


MASKS = {
    "abs": torch.abs,
    "relu of the negative": lambda h: torch.relu(-h),
    "a comparison": lambda h: (h > 0) * h,
    "a clamp": lambda h: h.clamp(min=0) * 2,
    "a maximum": lambda h: torch.maximum(h, 0.5 * h),
}


@pytest.mark.parametrize("name", MASKS)
def test_modules_and_their_traces_count_the_same(name: str) -> None:
    """2 balances of units and 4 entries of one combination of A, B and C."""
    torch.manual_seed(0)
    module, x = Gates(MASKS[name]), torch.randn(3, 2)
    found = [lw.count(module, args=(x,)), lw.count(lw.trace(module, x))]
    assert [(c.laws, c.verdict) for c in found] == [(6, Verdict.HOLDS)] * 2


def test_counting_calls_no_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every method of every rule and every rewrite raises, and the numbers stay the same."""
    torch.manual_seed(0)
    module = Gates(torch.abs)
    networks = [lw.Architecture(net, **options) for net, options, _ in SHARED.values()]
    networks.append(lw.trace(module, torch.randn(3, 2)))
    expected = [*(laws for _, _, laws in SHARED.values()), 6]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("counting asked a rule")

    kinds = {c for c in vars(rules).values() if isinstance(c, type)} | {rules.Rule}
    for kind in kinds:
        for name, value in list(vars(kind).items()):
            if callable(value) and not name.startswith("__"):
                monkeypatch.setattr(kind, name, refuse)
            elif isinstance(value, property):
                monkeypatch.setattr(kind, name, property(refuse))
    for name, value in list(vars(rewrites).items()):
        if callable(value) and getattr(value, "__module__", "") == rewrites.__name__:
            monkeypatch.setattr(rewrites, name, refuse)
    with pytest.raises(AssertionError, match="asked a rule"):
        lw.derive(networks[0])
    assert [lw.count(n).laws for n in networks] == expected
    assert lw.count(module, args=(torch.randn(3, 2),)).laws == 6


ENGINE = {"algebra", "balance", "derive", "directions", "rewrites", "rules", "shifts", "solution", "translations"}


def test_the_oracle_imports_nothing_of_the_engine() -> None:
    """What counting and running a module import, and what that imports, file by file."""
    todo, seen = [f"theory/oracle/{name}.py" for name in ("counting", "modules", "double", "composed")], set()
    while todo:
        path = ROOT / todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = path.parents[node.level - 1]
                names = [node.module.replace(".", "/")] if node.module else [a.name for a in node.names]
                todo += [str((base / f"{n}.py").relative_to(ROOT)) for n in names if (base / f"{n}.py").exists()]
    assert len(seen) > 8
    assert not {p.stem for p in seen} & ENGINE, seen


def test_the_gates_of_a_network_come_from_its_own_forward() -> None:
    """No module between a count and its gates imports rules or rewrites."""
    for name in ("questions/count", "questions/fields", "architecture/patterns", "architecture/forward"):
        text = (ROOT / "graph" / f"{name}.py").read_text()
        assert "rewrites" not in text, name
        assert "gauge" not in text, name
    assert "lawful.graph.architecture.patterns" in sys.modules
