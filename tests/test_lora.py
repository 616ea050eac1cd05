"""Low-rank adapters: names, what trains, and the laws that adapters add to a frozen network."""

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful.blocks import ShapeError
from lawful.graph import families
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive

TOKENS = b.Signal(4, (4,))


@pytest.mark.parametrize("alpha", [0.0, 4.0])
@pytest.mark.parametrize(
    ("net", "options", "adapters"),
    [
        (b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2), {}, 2),
        (b.Linear(3, 5) >> b.GELU() >> b.Linear(5, 2), {}, 2),
        (b.SelfAttention(4, 2, 2, 2, True), {"input": TOKENS}, 4),
        (b.SelfAttention(4, 2, 1, 2), {"input": TOKENS}, 4),
    ],
    ids=["relu", "gelu", "attention", "grouped queries"],
)
def test_every_adapter_has_the_laws_of_two_linear_maps(net, options, adapters, alpha):
    adapted = lw.lora(Architecture(net, **options), 2, alpha=alpha)
    laws = derive(adapted)
    assert not laws.notes
    assert laws.independent == count(adapted).laws == 3 * adapters
    assert {p.rpartition(".")[0].rpartition(".")[2] for law in laws for p in law.parameters} == {"lora_A", "lora_B"}


def test_a_llama_with_adapters_is_complete():
    small = lw.lora(families.llama(layers=2), 8).shrink()
    assert lw.check(small, "cross_entropy").lawful


def test_adapters_behind_a_frozen_layer_norm_are_a_finding():
    """Keys do not see a constant, and 1 / gamma times the features is one: `A (1 / gamma)` of the key does not move."""
    layer = b.TransformerLayer(4, 2, 5, epsilon=0.0) >> b.Linear(4, 3)
    report = lw.check(lw.lora(Architecture(layer, input=TOKENS), 2))
    assert report.holds
    assert not report.complete
    assert report.count.laws == report.small_laws.independent + 2
    assert any("frozen" in note for note in report.findings)
    assert "the count sees 2 more laws" in report.summary
    assert report.verdict is lw.Verdict.UNDECIDED


def test_only_adapters_train_and_an_update_of_zero_changes_nothing():
    base = families.gpt2(layers=1, width=6, heads=2, vocabulary=5, context=4)
    adapted = lw.lora(base, 3, targets="attention", train=("norm",))
    trained = {n for n, p in adapted.parameters.items() if not p.frozen}
    assert all("lora_" in n or n.startswith("norm") for n in trained)
    assert not any("mlp" in n for n in trained)
    values = adapted.random_parameters(torch.Generator().manual_seed(0))
    for name in values:
        if name.endswith("lora_B.weight"):
            values[name] = torch.zeros_like(values[name])
    plain = {n.replace(".base_layer", ""): v for n, v in values.items() if "lora_" not in n}
    x = torch.randint(5, (2, 4))
    torch.testing.assert_close(adapted.forward(values, (x,)), base.forward(plain, (x,)))


def test_a_map_that_is_used_twice_has_one_adapter():
    shared = b.Linear(3, 3)
    adapted = lw.lora(Architecture(shared >> b.ReLU() >> shared >> b.Linear(3, 2)), 2)
    assert sum(n.endswith("lora_A.weight") for n in adapted.parameters) == 2


@pytest.mark.parametrize(
    ("rank", "targets", "said"),
    [(0, (), "rank is 0"), (2.0, (), "rank is 2.0"), (2, "nope", "no Linear has nope in its name")],
)
def test_bad_adapters_are_refused(rank, targets, said):
    with pytest.raises(ShapeError, match=said):
        lw.lora(families.mlp([3, 4, 2]), rank, targets=targets)


def test_a_prefix_that_freezes_nothing_is_refused():
    with pytest.raises(ShapeError, match="no parameter begins with 'fc7'"):
        families.mlp([3, 4, 2]).freeze("fc7")
