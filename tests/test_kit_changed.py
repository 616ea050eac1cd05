"""A step of a model that is no longer the one its laws were derived for: frozen since, or in another mode."""

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.testing import assert_step_lawful

X = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
T = torch.arange(16) % 3


def mlp(*middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), *middle, nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def backward(model: nn.Module) -> None:
    model.zero_grad()
    nn.functional.cross_entropy(model(X), T).backward()


def test_a_layer_frozen_since() -> None:
    model = mlp()
    laws = lw.derive(model, "cross_entropy", args=(X,))
    model[2].weight.requires_grad_(False)
    backward(model)
    found = assert_step_lawful(model, laws)
    assert found.verdict.passed
    assert "2.weight is frozen now" in str(found) and "derive the laws again" in str(found)
    model[4].weight.grad[0] *= 1.1
    with pytest.raises(AssertionError, match=r"law broken: shift 4\.weight"):
        assert_step_lawful(model, laws)


@pytest.mark.parametrize("listed", [False, True])
def test_another_mode(listed: bool) -> None:
    model = mlp(nn.BatchNorm1d(8))
    laws = lw.derive(model, "cross_entropy", args=(X,))
    model.eval()
    backward(model)
    found = assert_step_lawful(model, [*laws] if listed else laws)
    assert found.verdict.passed
    assert "1 is in evaluation mode now" in str(found)


def test_the_mode_of_the_laws() -> None:
    model = mlp(nn.BatchNorm1d(8)).eval()
    laws = lw.derive(model, "cross_entropy", args=(X,))
    assert "0.bias" not in {n for law in laws if law.kind == "frozen" for n in law.parameters}
    backward(model)
    assert assert_step_lawful(model, laws).verdict.passed
    model[3].weight.grad[0] *= 1.1
    with pytest.raises(AssertionError, match="law broken: balance of"):
        assert_step_lawful(model, laws)


def test_a_mode_that_nothing_reads() -> None:
    model = mlp()
    laws = lw.derive(model, "cross_entropy", args=(X,))
    model.eval()
    backward(model)
    model[2].weight.grad[0] *= 1.1
    with pytest.raises(AssertionError, match="law broken: balance of"):
        assert_step_lawful(model, laws)
