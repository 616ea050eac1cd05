"""Names that except nothing, or that nothing answers to, are said; bounds that mean nothing are refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from doors import doors
from torch import nn

import lawful as lw
from lawful.testing import assert_lawful, assert_step_lawful
from lawful.theory.arguments import ArgumentError

TOLERANT = {d.name: d for d in doors() if any(p.name == "tolerance" for p in d.parameters)}
X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, g: torch.Tensor) -> torch.Tensor:
        return -g


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(Reversed.apply(self.up(x).relu()))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (
            {"by_design": ["Reversed"], "allow_untested": ["up.wieght"]},
            "no parameter and no module of it; did you mean",
        ),
        ({"by_design": ["Reversed", "Reverse"]}, "stops or changes a gradient in this step; did you mean 'Reversed'?"),
        ({"by_design": ["Reversed", "gone.py:3"]}, "by_design has 'gone.py:3'"),
    ],
)
def test_an_exception_that_excepts_nothing_is_warned_of(options: dict[str, list[str]], part: str) -> None:
    with pytest.warns(UserWarning) as caught:
        found = assert_lawful(Net(), X, "mse", **options)  # type: ignore[arg-type]
    assert [w.filename for w in caught] == [__file__] and part in str(caught[0].message)
    assert part in str(found)


def test_exceptions_that_are_in_use_are_not() -> None:
    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_lawful(net, X, "mse", by_design=["Reversed"], allow_untested=["up", "down.bias"])
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    plain(X).square().sum().backward()
    with pytest.warns(UserWarning, match="allow_untested has 'head'"):
        assert_step_lawful(plain, args=X, allow_untested=["head"])


def test_an_operation_that_torch_does_not_have_is_not_taught() -> None:
    with pytest.raises(ArgumentError, match=r"torch has no operation 'lawful_nothing\.here'"):
        lw.register_op("lawful_nothing::here")


@pytest.mark.parametrize("value", [-1, 0, 1.5, float("nan"), float("inf"), "a"])
@pytest.mark.parametrize("name", TOLERANT)
def test_a_tolerance_is_between_nothing_and_everything(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"tolerance is .*must be a (finite )?number above 0 and below 1"):
        TOLERANT[name].with_good(tolerance=value)()


def test_the_laws_themselves_ask_the_same() -> None:
    laws = lw.derive(Net(), args=X)
    with pytest.raises(ArgumentError, match="above 0 and below 1"):
        laws.verify(Net(), args=X, tolerance=-1)


@pytest.mark.parametrize("ask", [lw.check, lw.count, lw.derive, assert_lawful])
def test_a_batch_without_examples_is_named(ask: Callable[..., object]) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises((ValueError, TypeError), match="hold at least one example"):
        ask(net, args=torch.zeros(0, 3))
