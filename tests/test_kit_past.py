"""Numbers that leave torch and come back are asked about where the loss moves with them, and only there."""

import numpy as np
import pytest
import torch
from torch import nn

from lawful.testing import assert_lawful
from lawful.testing.witness.past import missed

X = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 4)

    def middle(self, h):
        raise NotImplementedError

    def forward(self, x):
        return self.b(self.middle(self.a(x)))


class Item(Net):
    def middle(self, h):
        return h / h.abs().max().item()


class Numpy(Net):
    def middle(self, h):
        return h * torch.from_numpy(np.tanh(h.detach().numpy()))


class Launched(Net):
    def middle(self, h):
        y = torch.empty_like(h)
        y.numpy()[...] = np.tanh(h.detach().numpy())
        return h + y


class Listed(Net):
    def middle(self, h):
        return h * torch.tensor(h.mean(0).tolist()).to(h)


@pytest.mark.parametrize("kind", [Item, Numpy, Launched, Listed])
def test_what_goes_by_numbers_outside_of_torch_is_asked_about(kind: type[Net]) -> None:
    with pytest.raises(AssertionError, match="gradients stop at 1 place") as error:
        assert_lawful(kind(), X)
    text = str(error.value)
    assert "a number that leaves torch" in text and "parameter:  a.weight" in text and "parameter:  b." not in text
    line = text.partition("by_design=['")[2].partition("'")[0]
    assert line.startswith("test_kit_past.py:") and assert_lawful(kind(), X, by_design=[line]).verdict.passed


class Inside(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = Scaled()

    def middle(self, h):
        return self.scale(h)


class Scaled(nn.Module):
    def forward(self, h):
        return h / h.abs().max().item()


@pytest.mark.parametrize("name", ["detach", "scale"])
def test_any_name_of_such_a_place_excepts_it(name: str) -> None:
    found = assert_lawful(Inside(), X, by_design=[name])  # a name that excepts nothing is warned of
    assert found.verdict.passed and not found.stale


class Subtracted(Net):
    def middle(self, h):
        return (h - h.max().item()).softmax(-1)


class Constants(Net):
    def middle(self, h):
        return h * torch.tensor([1.0, 2, 3, 4, 5, 6]).to(h) + torch.from_numpy(np.arange(6.0))


class Counted(Net):
    def middle(self, h):
        self.log = h.mean().item()
        return h.tanh() * ((h > 0).sum().item() + 1) / h.numel()


class Branching(Net):
    def middle(self, h):
        return h.tanh() if h.max().item() > -100 else h


@pytest.mark.parametrize("kind", [Subtracted, Constants, Counted, Branching])
def test_numbers_that_change_no_gradient_are_not_asked_about(kind: type[Net]) -> None:
    assert assert_lawful(kind(), X).verdict.passed


def test_a_parameter_behind_many_others_is_found_too() -> None:
    """Halves that miss nothing are not looked into, so that the last of many is named as the first would be."""
    point = {f"p{i}": torch.full((2,), 0.5 + 0.01 * i, dtype=torch.float64) for i in range(40)}
    slopes = {n: 2 * p for n, p in point.items()}
    slopes["p37"] = 1.5 * slopes["p37"]
    found = missed(lambda at: float(sum(p.square().sum() for p in at.values())), point, slopes, 0)
    assert set(found) == {"p37"} and abs(found["p37"] - 1 / 3) < 1e-3
    assert missed(lambda at: float(at["p0"].square().sum()), {"p0": point["p0"]}, {"p0": slopes["p0"]}, 0) == {}
