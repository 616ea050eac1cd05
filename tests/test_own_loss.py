"""Modules that compute their loss themselves, as those of transformers do where they are given labels."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.testing.findings import Findings

X, Y = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])


@dataclasses.dataclass
class Answer:
    loss: torch.Tensor | None
    logits: torch.Tensor


class WithLoss(nn.Module):
    """A loss beside the logits where there are labels, in a dict or a dataclass."""

    def __init__(self, kind: Any = dict) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
        self.kind = kind

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        z = self.net(x)
        if labels is None:
            return self.kind(logits=z) if self.kind is dict else z
        return self.kind(loss=nn.functional.cross_entropy(z, labels), logits=z)


@pytest.mark.parametrize("kind", [dict, Answer])
def test_the_laws_are_those_of_its_own_loss_whatever_loss_is_named(kind: Any) -> None:
    model = WithLoss(kind)
    given: dict[str, Any] = {"args": X, "kwargs": {"labels": Y}}
    named = lw.derive(model, "cross_entropy", **given)
    assert named.count == lw.derive(model, **given).count == 13
    assert any("computes its loss itself" in fact for fact in named.facts) and not named.gaps
    assert lw.count(model, "cross_entropy", **given).laws == 13
    found = lw.check(model, "cross_entropy", **given)
    assert found.lawful and "computes its loss itself" in str(found), str(found)
    assert lw.verify(model, named, **given).verdict.passed
    tested = lw.testing.assert_lawful(model, (X, Y), "cross_entropy")
    assert isinstance(tested, Findings) and sum(r.verdict.passed for r in tested.laws) == 3, str(tested)


def test_without_labels_its_answer_has_a_loss_by_name() -> None:
    assert lw.derive(WithLoss(), "cross_entropy", args=X).count == 13
    assert lw.derive(WithLoss(), args=X).count == 6  # the squared error knows no shift


@pytest.mark.parametrize("question", [lw.derive, lw.check, lw.count])
def test_a_loss_for_what_stands_beside_it_says_the_way_out(question: Any) -> None:
    with pytest.raises(b.ShapeError, match=r"computes its loss itself \(its output 'loss'\).*'logits'.* without"):
        question(WithLoss(), {"logits": "cross_entropy"}, args=X, kwargs={"labels": Y})


def test_one_number_beside_other_outputs_is_not_read_in_silence() -> None:
    class Pair(WithLoss):
        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            z = self.net(x)
            return nn.functional.cross_entropy(z, labels), z

    laws = lw.derive(Pair(), args=(X, Y))
    assert any("the output 0 is one number" in fact for fact in laws.facts)


def test_an_output_of_features_may_be_called_loss() -> None:
    net = b.Wiring({"loss": b.Linear(4, 3)}, reads={"loss": "input"}, output="loss")
    assert lw.derive(net, "cross_entropy").count == 5 and not lw.derive(net, "cross_entropy").notes
