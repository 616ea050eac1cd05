"""Where the gradients of two networks with equal outputs differ, central differences say whose is the derivative."""

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.graph.tracing.slopes import is_derivative


def _cubic(moved: dict[str, torch.Tensor]) -> float:
    return float((moved["w"] ** 3).sum() + moved["w"].prod())


def _gradients() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    w = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    return {"w": w}, {"w": 3 * w**2 + w.prod() / w}


@pytest.mark.parametrize("far", [1e-5, 1e-2, 1.0])
def test_the_derivative_is_told_from_another_gradient(far: float) -> None:
    values, true = _gradients()
    wrong = {"w": true["w"] * (1 + far)}
    assert is_derivative(true, wrong, values, _cubic) is True
    assert is_derivative(wrong, true, values, _cubic) is False


def test_what_is_nearer_than_a_difference_can_see_is_left_open() -> None:
    values, true = _gradients()
    noise = iter(torch.randn(100, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).tolist())
    rounded = {"w": true["w"] * (1 + 1e-7)}
    assert is_derivative(rounded, true, values, lambda m: _cubic(m) + 1e-8 * next(noise)) is None


def test_equal_gradients_decide_nothing() -> None:
    values, true = _gradients()
    assert is_derivative(true, true, values, _cubic) is None


class _Halved(torch.autograd.Function):
    """The identity, with half of its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad / 2


class _Wrong(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(_Halved.apply(self.first(x)))


def test_a_backward_that_is_wrong_is_still_named() -> None:
    laws = lw.derive(_Wrong(), args=torch.randn(3, 3))
    assert any("by hand" in f or "backward" in f for f in (*laws.facts, *laws.gaps))


class _Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.register_buffer("edges", torch.eye(5).to_sparse())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sparse.mm(self.edges, self.first(x))


class _SparseInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        return edges @ self.first(x)


@pytest.mark.parametrize("question", [lw.derive, lw.check, lw.verify, lw.count])
def test_sparse_tensors_are_refused_in_one_sentence(question) -> None:
    with pytest.raises(ValueError, match=r"sparse.*dense") as refused:
        question(_Sparse(), args=torch.randn(5, 3))
    assert "edges" in str(refused.value)
    if question is lw.count:  # which only runs the module
        return
    with pytest.raises(ValueError, match=r"sparse.*dense") as refused:
        question(_SparseInput(), args=(torch.randn(5, 3), torch.eye(5).to_sparse()))
    assert "\n" not in str(refused.value)
