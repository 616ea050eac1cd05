"""Blocks over thousands of places answer as the table of all their pairs does, without making it."""

import itertools

import pytest
import torch

import lawful as lw
from lawful import blocks as b


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", range(5))
def test_whether_all_queries_see_a_key(causal: bool, window: int) -> None:
    attention = b.DotProductAttention(2, causal=causal, window=window)
    for queries, keys in itertools.product(range(1, 6), range(1, 6)):
        table = attention.visible(queries, keys)
        assert attention.all_see(queries, keys) == bool(table.any(-1).all()), (queries, keys)


@pytest.mark.parametrize("norm", ["symmetric", "mean", "sum"])
def test_whether_nodes_are_alike(norm: str) -> None:
    block = b.Aggregate(norm)
    for nodes in range(3, 14):
        signal = [lw.blocks.Signal(2, (nodes,))]
        alike = int(torch.linalg.matrix_rank(block.weights(nodes))) < nodes
        assert block.rule({}, signal, signal).repeats == alike, nodes


def test_a_long_sequence_has_no_table_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    arch = lw.families.mixtral(layers=1)
    assert arch.signals["input", 0].space[-1] > 1000

    def refuse(*_: object) -> torch.Tensor:
        raise AssertionError("a table of all pairs")

    monkeypatch.setattr(b.DotProductAttention, "visible", refuse)
    assert arch.diagram("cross_entropy").sites
