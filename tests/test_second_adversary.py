"""What a second generator of modules, with a referee of its own, found: what the rules say holds on the module."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.graph.questions.derive import by_rules
from lawful.theory.derive.lawset import LawSet


class Read(nn.Module):
    """Parameters of some shapes, and a function that reads them with the input."""

    def __init__(self, run: Callable[..., torch.Tensor], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.w = nn.ParameterList(nn.Parameter(torch.randn(shape)) for shape in shapes)
        self.run = run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(x, *self.w)


def ruled(model: nn.Module, x: torch.Tensor, loss: str = "mse") -> LawSet:
    """The laws that follow from the rules alone, all of which have to hold on the module."""
    laws = by_rules(lw.trace(model, x), loss)
    assert str(lw.verify(model, laws, loss, args=x).verdict) in ("holds", "vacuous"), str(laws)
    return laws


def scores(x: torch.Tensor, w: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return ((x @ v) @ (x @ w**2).mT).softmax(-1) @ x


def test_what_all_keys_share_moves_no_factor_of_the_keys() -> None:
    """Softmax does not see what is added to all keys; a weight that is computed is multiplied by each of them."""
    laws = ruled(Read(scores, (2, 4), (2, 4)), torch.randn(4, 3, 2))
    assert not any(law.name.startswith("frozen") for law in laws)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        pytest.param(lambda x, w: nn.functional.one_hot(x, 5).to(w) @ w, False, id="one_hot"),
        pytest.param(lambda x, w: (x[..., None] == torch.arange(5)).to(w) @ w, True, id="compared"),
    ],
)
def test_classes_that_the_example_lacks_are_not_frozen_in_silence(run: Callable[..., torch.Tensor], said: bool) -> None:
    """`F.one_hot` says how many classes there are; where nothing does, the example does, and that is a fact."""
    laws = lw.derive(Read(run, (5, 4)), args=torch.tensor([[0, 1], [1, 2], [0, 2]]))
    assert any("whole numbers below 3" in fact for fact in laws.facts) == said
    assert said or not laws.count


@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_rows_that_are_only_averaged_have_no_second_law(rows: int, loss: str) -> None:
    """All differences of the rows are constant; the squares of these are no laws of their own."""
    model = Read(lambda x, w, v: x @ v + w.mean(0), (rows, 3), (2, 3))
    laws = ruled(model, torch.randn(4, 2), loss)
    assert laws.independent == (rows - 1) * 3 + (3 if loss == "cross_entropy" else 0)


def test_a_law_reads_a_row_of_a_parameter_in_another_order() -> None:
    """The traced network holds rows of `w` apart, and a law reads one of them flipped: checking raised ValueError."""
    model = Read(lambda x, w, v: torch.relu((x @ w[1::2]).flip(-1) * x) @ v, (4, 2), (2, 1))
    assert lw.check(model, args=torch.randn(5, 2)).complete
