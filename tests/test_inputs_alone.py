"""What is computed of the inputs alone is no free input: its directions, sums and repeats are known to every count."""

import os

import pytest
import torch
import torch.nn.functional as F
from inputs_alone import STEPS, Looked, Prepared, drawn
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.check import gradient_rank
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.gauge.spans import measure
from lawful.theory.oracle.exact.program import NotPolynomialError
from lawful.theory.verdict import Verdict

X = torch.tensor([[0.3, -1.2, 0.8, 0.1], [1.1, 0.4, -0.7, 0.9]])
LARGEST = 100  # parameters whose laws are counted


def compared(module, x, loss):
    """Laws that are derived and counted on the user's own module; more derived than counted is never right."""
    laws = derive(lw.trace(module, x), loss)  # by the rules: a small module says itself how many it has
    found = count(module, loss, args=(x,), known=None if laws.gaps else laws.independent)
    return laws, found


@pytest.mark.parametrize(
    ("step", "tail", "mse", "cross"),
    [
        ("centre", "linear", 3, 9 - 2),  # W 1, and 1^T W, 1^T b
        ("normalise", "linear", 3, 7),
        ("softmax", "linear", 3, 7),  # W 1 - b
        ("softmax", "plain linear", 0, 4),  # nothing stands for the constant
        ("pad", "plain linear", 6, 10),  # two columns that meet zeros only
        ("pad ones", "linear", 6, 11),  # they are one bias more
        ("repeat", "linear", 12, 17),  # left - right
        ("mirror", "linear", 12, 17),
        ("sum beside", "linear", 3, 8),
        ("masked", "linear", 3, 7),
        ("scaled", "linear", 0, 5),
        ("cumsum", "relu", 3, None),
    ],
)
def test_laws_of_the_first_layer(step, tail, mse, cross):
    for loss, expected in (("mse", mse), ("cross_entropy", cross)):
        if expected is None:
            continue
        laws, found = compared(Prepared([STEPS[step]], tail, 4), X, loss)
        assert not laws.notes
        assert laws.independent == found.laws == expected
        if expected:
            assert laws.verify(Prepared([STEPS[step]], tail, 4), args=(X,)).verdict is Verdict.HOLDS


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(s, marks=pytest.mark.nightly) for s in range(8, 16))])
def test_random_operations_before_random_layers(seed, loss):
    agree(seed, loss)


@pytest.mark.nightly
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("night", range(60))
def test_more_random_operations_before_random_layers(night, loss):
    agree(int(os.environ["LAWFUL_SEED"]) + night, loss)


def agree(seed, loss):
    """Equal counts, or a note; every law holds on the module."""
    name, module, x = drawn(seed)
    if sum(p.numel() for p in module.parameters()) > LARGEST:
        pytest.skip("too many parameters to count their laws")
    laws, found = compared(module, x, loss)
    if found.verdict is Verdict.UNDECIDED:
        pytest.skip("the count is not decided")
    assert laws.independent <= found.laws, name
    assert laws.notes or laws.independent == found.laws, (name, laws)
    if len(laws):
        assert laws.verify(module, args=(x,)).verdict is not Verdict.VIOLATED


def test_the_rebuilt_network_computes_its_input_too():
    """A count of the traced network is that of the module; where it is no polynomial an exact count says so."""
    centred, soft = (lw.trace(Prepared([STEPS[s]], "linear", 4), X) for s in ("centre", "softmax"))
    assert [s.features for s in centred.inputs] == [4]
    assert count(centred).laws == count(centred, exact=True).laws == 3
    assert gradient_rank(centred, derive(centred)) == 3
    assert count(soft).laws == 3
    with pytest.raises(NotPolynomialError, match="softmax"):
        count(soft, exact=True)


def test_what_can_be_anything_is_a_free_input():
    for step in ("scaled", "flip", "cumsum", "abs", "slice"):
        arch = lw.trace(Prepared([STEPS[step]], "linear", 4), X)
        assert arch.nodes == ["a"], step


def test_one_input_read_in_two_ways():
    """What is computed beside the input itself is not independent of it."""
    laws, found = compared(Prepared([STEPS["flip"]], "beside", 4), X, "mse")
    assert laws.independent < found.laws
    assert any("only because of that are not listed" in n for n in laws.notes)


@pytest.mark.parametrize(
    ("name", "change", "rows", "frozen"),
    [("modulo", lambda i: i % 3, 6, 6), ("clamped", lambda i: i.clamp(max=2), 6, 6), ("even", lambda i: 2 * i, 11, 10)],
)
def test_rows_that_no_token_picks(name, change, rows, frozen):
    module = Looked([change])
    module.table = nn.Embedding(rows, 2)
    laws, found = compared(module, torch.tensor([[0, 1, 2], [3, 4, 5]]), "mse")
    assert not laws.gaps and "whole numbers below 6" in laws.facts[0]
    assert laws.independent == found.laws
    assert sum(law.count for law in laws if law.kind == "frozen") == frozen


def test_tokens_beyond_the_example_are_no_law():
    """An example that never shows the first row does not freeze it."""
    module = Looked([lambda i: i + 1])
    module.table = nn.Embedding(7, 2)
    laws = derive(module, args=(torch.tensor([[0, 1, 2], [3, 4, 5]]),))
    assert not [law for law in laws if law.kind == "frozen"]
    assert any("more values than the example" in n for n in laws.notes)


def test_a_threshold_that_no_example_reaches_freezes_nothing():
    module = Prepared([lambda x: (x > 100).to(x.dtype)], "linear", 4)
    assert derive(module, args=(X,)).count == 0


def test_a_gain_on_an_input_with_repeats():
    """It answers them by laws that are no polynomials: noted."""
    laws, found = compared(Prepared([STEPS["mirror"], STEPS["centre"]], "gain", 3), X[:, :3], "mse")
    assert laws.independent < found.laws
    assert any("of which some combinations never change" in n for n in laws.notes)


class Second(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(3, 3, bias=False)

    def forward(self, x, other):
        return self.a(x) + self.b(other - other.mean(-1, keepdim=True))


def test_a_second_input():
    laws = derive(Second(), args=(X, X[:, :3]))
    assert (laws.independent, laws.notes) == (3, ())
    assert laws.independent == count(Second(), args=(X, X[:, :3])).laws


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.f, self.a = nn.Linear(2, 4).requires_grad_(False), nn.Linear(4, 3)

    def forward(self, x):
        return self.a(self.f(x))


def test_frozen_weights_on_the_input_keep_their_note():
    assert any("f.weight" in n and "frozen" in n for n in derive(Frozen(), args=(X[:, :2],)).notes)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize(
    ("net", "given"),
    [
        (b.LayerNormCore(4) >> b.Linear(4, 3), b.Signal(4)),
        (b.RMSNormCore(4) >> b.Linear(4, 3), b.Signal(4)),
        (b.Positions("roll", (1,)) >> b.Linear(3, 3), b.Signal(3, (4,))),
        (b.Positions("pick", (1, 1, 0)) >> b.Linear(3, 3), b.Signal(3, (4,))),
        (b.Positions("mean") >> b.Linear(4, 3), b.Signal(4, (3,))),
        (b.Flatten() >> b.Linear(8, 3), b.Signal(4, (2,))),
        (b.Positions("pad", (1, 1)) >> b.Conv1d(2, 3, 2), b.Signal(2, (3,), True)),
        (b.ReLU() >> b.Linear(4, 3), b.Signal(4)),
    ],
)
def test_composed_networks_that_begin_without_parameters(net, given, loss):
    arch = lw.Architecture(net, input=given)
    laws = derive(arch, loss)
    found = count(arch, loss)
    assert laws.independent <= found.laws
    assert laws.notes or laws.independent == found.laws


def test_spans_of_values():
    x = torch.randn(80, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x * torch.tensor([1.0, 1e3, 1e-2, 30.0]).repeat(20)[:, None]
    assert measure(x).free
    assert measure(x.softmax(-1)).fixed == ((1,), 1)
    span = measure(F.pad(torch.cat([x, 2 * x[:, :1]], 1), (0, 2)))
    assert span.known
    assert span.starts == (0, 1, 3, 4)
    assert set(span.absent) == {(2, 0, -1, 0), (0, 0, 0, 1)}
    assert not measure(torch.cat([x, torch.pi * x], 1)).known


@pytest.mark.parametrize("attends", [False, True])
def test_maps_of_zeros_make_zeros(attends):
    """A night found it (seed 268): where the input is zero, only the last bias moves, whatever lies between."""

    class Zeros(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(3, 2, bias=False) for _ in range(3))
            self.a = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = 0 * x
            weights = torch.softmax(self.q(x) @ self.k(x).mT, -1) if attends else torch.ones(5, 5)
            return self.a(weights @ self.v(x))

    module, x = Zeros(), torch.randn(4, 5, 3)
    laws = derive(module, args=(x,))
    assert (laws.independent, count(module, args=(x,)).laws) == (22, 22)
    assert {law.kind for law in laws} == {"frozen"}
