"""Counting modules: fused norms, what cannot be differentiated as it runs, contradictions, and the axis of classes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import lawful as lw
from lawful import blocks as b
from lawful.theory.oracle.counting import ContradictionError, expect_known
from lawful.theory.verdict import Verdict


class Wrap(nn.Module):
    """Submodules and a forward made of them."""

    def __init__(self, forward, **parts: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *x: torch.Tensor):
        return self.run(self, *x)


def linear(n: int, m: int) -> nn.Linear:
    return nn.Linear(n, m)


def conv(n: int, m: int) -> nn.Conv1d:
    return nn.Conv1d(n, m, 1)


X, IMAGE, TOKENS = torch.randn(4, 3), torch.randn(2, 2, 4), torch.randn(2, 3, 3)
FUSED = {
    "LayerNorm": (nn.Sequential(linear(3, 4), nn.LayerNorm(4, eps=0.0), linear(4, 2)), X, 9),
    "LayerNorm with epsilon": (nn.Sequential(linear(3, 4), nn.LayerNorm(4), linear(4, 2)), X, 8),
    "GroupNorm": (
        nn.Sequential(nn.Conv1d(2, 4, 1), nn.GroupNorm(2, 4, eps=0.0), nn.ReLU(), nn.Conv1d(4, 2, 1)),
        IMAGE,
        8,
    ),
    "InstanceNorm": (nn.Sequential(conv(2, 3), nn.InstanceNorm1d(3, eps=0.0), conv(3, 2)), IMAGE, 6),
    "BatchNorm in training": (
        nn.Sequential(linear(2, 3), nn.BatchNorm1d(3, eps=1e-30), linear(3, 2)),
        torch.randn(5, 2),
        9,
    ),
}


@pytest.mark.parametrize("name", FUSED)
def test_norms_of_torch_count_like_the_composed_forms(name: str) -> None:
    module, x, laws = FUSED[name]
    found = lw.count(module, args=(x,))
    assert (found.laws, found.verdict) == (laws, Verdict.HOLDS)
    assert found.method.startswith("lie algebra, float64")  # where units are dead at some points, of the trace


OUT = {"out": nn.Linear(3, 2)}
TRACED = {
    "Dropout": (nn.Sequential(linear(3, 4), nn.ReLU(), nn.Dropout(0.3), linear(4, 2)), X, 4),
    "GRU": (Wrap(lambda m, x: m.out(m.inner(x)[0]), inner=nn.GRU(3, 2, batch_first=True), out=linear(2, 2)), TOKENS, 4),
    "RNN": (
        Wrap(lambda m, x: m.out(m.inner(x)[0]), inner=nn.RNN(3, 3, nonlinearity="relu", batch_first=True), **OUT),
        TOKENS,
        6,
    ),
    "EmbeddingBag": (nn.Sequential(nn.EmbeddingBag(5, 3), linear(3, 2)), torch.randint(5, (3, 4)), 6),
    "checkpointing": (
        Wrap(lambda m, x: m.out(checkpoint(m.inner, x, use_reentrant=False)), inner=linear(3, 3), **OUT),
        X,
        6,
    ),
    "unused parameters": (
        Wrap(lambda m, x: nn.functional.dropout(m.inner(x), 0.2), inner=linear(3, 4), idle=linear(2, 2)),
        X,
        6,
    ),
}


@pytest.mark.parametrize("name", TRACED)
def test_what_cannot_be_differentiated_as_it_runs_is_traced(name: str) -> None:
    module, x, laws = TRACED[name]
    found = lw.count(module, args=(x,))
    assert (found.laws, found.verdict) == (laws, Verdict.HOLDS)
    assert "of the traced network" in found.method
    assert found.parameters == sum(p.numel() for p in module.parameters())


REFUSED = {
    "no forward derivatives": Wrap(
        lambda m, x: torch.cdist(m.inner(x), m.inner(x).exp()), inner=nn.Sequential(linear(3, 2), linear(2, 2))
    ),
    "an output of integers": Wrap(lambda m, x: m.inner(x).argmax(-1), inner=linear(3, 2)),
    "an error of its own": Wrap(lambda m, x: m.inner(x[:, :2]), inner=linear(3, 2)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_counted_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(b.ShapeError, match="Wrap cannot be counted, neither as it runs nor as it is traced") as error:
        lw.count(REFUSED[name], args=(X,))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_module_is_left_alone() -> None:
    module = nn.Sequential(linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), linear(4, 2))
    before = {n: t.clone() for n, t in module.state_dict().items()}
    lw.count(module, args=(X,))
    assert all(torch.equal(before[n], t) for n, t in module.state_dict().items())


# --- contradictions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"exact": True}])
def test_fewer_laws_than_are_known_are_a_contradiction(options: dict[str, bool]) -> None:
    arch = lw.Architecture(b.Linear(2, 3) >> b.ReLU() >> b.Linear(3, 2))
    assert lw.count(arch, known=3, **options).laws == 3
    with pytest.raises(ContradictionError, match=r"3 laws are counted .* but 4 independent ones are known"):
        lw.count(arch, known=4, **options)


def test_a_contradiction_is_raised_whatever_the_gap() -> None:
    found = lw.count(lw.Architecture(b.Linear(2, 3) >> b.ReLU() >> b.Linear(3, 2)))
    narrow = dataclasses.replace(found, gap=1.0, verdict=Verdict.UNDECIDED)
    assert expect_known(narrow, 3) is narrow
    with pytest.raises(ContradictionError, match="gap 1e"):
        expect_known(narrow, 4)


def test_check_and_parameter_count_raise_contradictions(monkeypatch: pytest.MonkeyPatch) -> None:
    from lawful.graph.questions import check, parameters

    arch = lw.Architecture(b.Linear(2, 3) >> b.ReLU() >> b.Linear(3, 2))
    real = check.count

    def short(*args, **kwargs):
        found = real(*args, **{k: v for k, v in kwargs.items() if k != "exact"})
        return dataclasses.replace(found, laws=found.laws - 1, ranks=(found.ranks[0], found.ranks[-1] + 1))

    monkeypatch.setattr(check, "count", short)
    monkeypatch.setattr(parameters, "count", short)
    with pytest.raises(ContradictionError, match="2 laws are counted"):
        lw.check(arch)
    with pytest.raises(ContradictionError, match="2 laws are counted"):
        lw.parameter_count(arch)


# --- the axis of classes ---------------------------------------------------------------------------------------------


def head(arrange) -> Wrap:
    return Wrap(lambda m, x: arrange(m.b(torch.relu(m.a(x)))), a=linear(2, 3), b=linear(3, 4))


WORDS, PICTURE = torch.randn(2, 5, 2), torch.randn(2, 2, 3, 2)
CLASSES = {
    "N C": (nn.Sequential(linear(3, 4), nn.ReLU(), linear(4, 3)), X, 1, -2),
    "N T C": (head(lambda y: y), WORDS, 2, 1),
    "N C T": (head(lambda y: y.transpose(1, 2)), WORDS, 1, -1),
    "T N C": (head(lambda y: y.transpose(0, 1)), WORDS, 2, 1),
    "N C H W": (nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 4, 1)), PICTURE, 1, -1),
    "N H W C": (nn.Sequential(nn.Conv2d(2, 4, 1), Wrap(lambda m, y: y.permute(0, 2, 3, 1))), PICTURE, 3, 1),
    "N, C H W as one": (nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.Flatten()), PICTURE, 1, 0),
}


@pytest.mark.parametrize("name", CLASSES)
def test_derive_verify_and_count_have_the_classes_on_one_axis(name: str) -> None:
    module, x, axis, wrong = CLASSES[name]
    with torch.no_grad():  # no unit is dead, in whatever order the files of tests are read
        for p in module.parameters():
            p.copy_(torch.randn(p.shape))
            p.abs_() if p.ndim == 1 else None
    laws = lw.derive(module, "cross_entropy", args=(x,))
    assert laws.axes == (axis,)
    assert laws.verify(module, args=(x,)).verdict is Verdict.HOLDS
    assert lw.verify(module, laws, args=(x,), axis=axis).verdict is Verdict.HOLDS
    assert laws.where(kind="shift").axes == (axis,)
    found = lw.count(module, "cross_entropy", args=(x,))
    assert (found.laws, found.verdict) == (laws.independent, Verdict.HOLDS)
    for refused in (
        lambda: lw.verify(module, laws, args=(x,), axis=wrong),
        lambda: lw.count(module, "cross_entropy", args=(x,), axis=wrong),
    ):
        with pytest.raises(ValueError, match=f"on axis {axis} of its shape .* axis={wrong} is asked for"):
            refused()


def test_every_output_has_its_own_axis() -> None:
    module = head(lambda y: (y, y.transpose(1, 2), y.flatten(1)))
    losses = ("cross_entropy", "cross_entropy", "mse")
    laws = lw.derive(module, losses, args=(WORDS,))
    assert laws.axes[:2] == (2, 1)
    assert laws.verify(module, args=(WORDS,)).verdict is Verdict.HOLDS
    assert lw.count(module, losses, args=(WORDS,)).laws == laws.independent
    assert lw.verify(module, laws, losses, args=(WORDS,), axis=(-1, 1, 0)).verdict is Verdict.HOLDS  # no axis for mse
    with pytest.raises(ValueError, match="the classes of 1 are on axis 1"):
        lw.verify(module, laws, losses, args=(WORDS,), axis=-1)


class Rows(nn.Module):
    """Two tables, of which the examples name a few rows."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items, self.out = nn.Embedding(6, 2), nn.Embedding(4, 2), nn.Linear(2, 2)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        return self.out(self.users(user) * self.items(item))


def test_rows_that_no_example_names_are_read_too() -> None:
    torch.manual_seed(0)
    few, all_rows = (torch.tensor([0, 1]), torch.tensor([0, 1])), (torch.tensor([5, 1]), torch.tensor([3, 1]))
    assert lw.count(Rows(), args=few).laws == lw.count(Rows(), args=all_rows).laws == 4
    words = nn.Sequential(nn.Embedding(6, 3), nn.Linear(3, 2))
    assert (
        lw.count(words, args=torch.tensor([[0, 1, 2]])).laws == lw.derive(words, args=torch.tensor([[5]])).independent
    )
