"""`args=x`, a bare tensor, means `(x,)` in every public function that takes example inputs; so do blocks and specs."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import lawful as lw
from lawful import blocks as b

HOMES = (lw, lw.testing, lw.flows, lw.dynamics, lw.export, lw.catalog)
X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for home in HOMES:
        for name in getattr(home, "__all__", dir(home)):
            thing = getattr(home, name)
            if name.startswith("_") or not callable(thing):
                continue
            try:
                parameters = inspect.signature(thing).parameters
            except (TypeError, ValueError):
                continue
            if "args" in parameters and parameters["args"].kind is not inspect.Parameter.VAR_POSITIONAL:
                yield f"{home.__name__.rpartition('.')[2]}.{name}", thing


FUNCTIONS = dict(functions())


def wanted(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """A right value for everything that must be given."""
    net = model()
    values: dict[str, Any] = dict.fromkeys(("network", "model", "module", "a", "b", "one", "other", "fields"), net)
    values |= {
        "optimizer": torch.optim.SGD(net.parameters(), 0.1),
        "mapping": {"scale": "0", "compensate": ["2"]},
        "flow": lw.flows.Momentum(0.5),
        "name": "bare",
        "measure": lambda m: 0.0,
        "invariant": lw.derive(net, args=(X,))[0],
        "generator": lambda m, g: None,
    }
    needed = {
        n: values[n] for n, p in inspect.signature(function).parameters.items() if p.default is p.empty and n in values
    }
    if name == "flows.verify":
        needed["laws"] = lw.flows.laws(net, lw.flows.Momentum(0.5), args=(X,))
    if name == "testing.assert_locked":
        needed |= {"path": f"{tempfile.mkdtemp()}/laws.json", "update": True}
    if name == "lawful.report":
        needed["path"] = f"{tempfile.mkdtemp()}/page.html"
    if name == "testing.assert_step_lawful":
        net(X).square().mean().backward()
    return needed


def test_there_are_many() -> None:
    assert len(FUNCTIONS) >= 25


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in ("testing.assert_symmetric", "lawful.search_laws")])
def test_a_bare_tensor_stands_for_a_tuple_of_it(name: str) -> None:
    function = FUNCTIONS[name]
    given = wanted(name, function)
    first = next(p for p in inspect.signature(function).parameters.values() if p.name != "args")
    if first.kind is first.POSITIONAL_ONLY or name == "lawful.trace":
        function(given.pop(first.name), args=X, **given)
    else:
        function(**given, args=X)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_input_is_refused_in_a_sentence(name: str) -> None:
    function = FUNCTIONS[name]
    given = wanted(name, function)
    for wrong, way in (({"x": X}, "kwargs="), (3, "a tensor, or a tuple")):
        with pytest.raises(ValueError, match=way) as caught:
            function(**given, args=wrong)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "network", ["family:mlp:widths=3,4,2", b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)], ids=["spec", "blocks"]
)
def test_symmetries_take_every_kind_of_network(network: Any) -> None:
    found = lw.symmetries(network)
    assert "positive diagonal" in [s.group for s in found]
    if not isinstance(network, str):
        net = lw.Architecture(network).to_torch()
        balanced = lw.balance(dict(net.named_parameters()), network=network)
        assert lw.same_function(net, lw.Architecture(network).to_torch(), network=network).verdict is not None
        assert set(balanced) == {n for n, _ in net.named_parameters()}
        assert lw.catalog.ask(network)


def test_a_barrier_needs_two_ends() -> None:
    with pytest.raises(ValueError, match="points is 1; it must be an integer of at least 2"):
        lw.barrier(model(), model(), lambda m: 0.0, points=1)


@pytest.mark.parametrize(("name", "value"), [("every", "x"), ("sample", 0), ("model", 3)])
def test_the_ledger_says_what_it_takes(name: str, value: Any) -> None:
    net = model()
    given: dict[str, Any] = {"model": net, "optimizer": torch.optim.SGD(net.parameters(), 0.1), "args": X}
    with pytest.raises(ValueError, match=name):
        lw.Ledger(**(given | {name: value}))


@pytest.mark.parametrize("image", [b.Conv2d(2, 4, 3), b.MaxPool2d(2), b.ConvTranspose2d(2, 4, 3)], ids=str)
def test_an_image_with_features_last_is_refused_with_a_way_out(image: b.Block) -> None:
    with pytest.raises(ValueError, match=r"give such an input as Signal\(2, \(8, 8\), channels_first=True\)"):
        lw.Architecture(image, input=b.Signal(2, (8, 8)))
    assert lw.Architecture(image, input=b.Signal(2, (8, 8), channels_first=True)).inputs[0].shape == (2, 8, 8)


class Masked(nn.Module):
    """Attention by hand; its mask is a buffer that no block holds."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.register_buffer("mask", torch.tril(torch.ones(6, 6)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = (self.a(x) @ x.transpose(-1, -2)).masked_fill(self.mask == 0, -1e9)
        return torch.softmax(scores, -1) @ x


def test_a_traced_network_is_written_as_json_or_refused_in_a_sentence() -> None:
    traced = lw.trace(model(), X)
    assert lw.Architecture.from_json(traced.to_json()) == traced
    with pytest.raises(ValueError, match=r"cannot be written as JSON: \S+ is an? \w+, which holds numbers or code"):
        lw.trace(Masked(), torch.randn(2, 6, 4)).to_json()
