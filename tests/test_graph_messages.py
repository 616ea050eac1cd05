"""Message passing over edges that are an input: picked, added, averaged, the largest chosen, weighed by attention."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lawful as lw

EDGES = torch.tensor([[0, 1, 2, 3, 0, 4, 5, 1], [1, 2, 0, 0, 3, 3, 4, 4]])
NODES = torch.linspace(-3, 3, 18).reshape(6, 3).sin() + torch.eye(6, 3)


class Messages(nn.Module):
    """One layer of GraphSAGE with a sum, a mean or a maximum of messages."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.left, self.right, self.out = nn.Linear(3, 4), nn.Linear(3, 4, bias=False), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        source, target = edges
        sent, there = self.left(x)[source], x.new_zeros(len(x), 4)
        places = target[:, None].expand_as(sent)
        if self.how == "max":
            found = there.scatter_reduce(0, places, sent, "amax", include_self=False)
        else:
            found = there.scatter_add(0, places, sent)
        if self.how == "mean":
            times = x.new_zeros(len(x)).index_add(0, target, sent.new_ones(len(target)))
            found = found / times.clamp(min=1)[:, None]
        return self.out((found + self.right(x)).relu())


class Attends(nn.Module):
    """Softmax over the edges that arrive at a node."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        source, target = edges
        scores = (self.q(x)[target] * self.k(x)[source]).sum(-1) / 2
        top = scores.new_zeros(len(x)).scatter_reduce(0, target, scores.detach(), "amax", include_self=False)
        parts = (scores - top[target]).exp()
        whole = parts.new_zeros(len(x)).scatter_add(0, target, parts) + 1e-16
        sent = (parts / whole[target])[:, None] * self.v(x)[source]
        return self.out(sent.new_zeros(len(x), 4).index_add(0, target, sent))


@pytest.mark.parametrize("how", ["sum", "mean", "max"])
def test_laws_of_messages_are_those_that_are_counted(how: str) -> None:
    torch.manual_seed(0)
    net = Messages(how)
    laws = lw.derive(lw.trace(net, NODES, EDGES))
    assert laws.independent == lw.count(net, args=(NODES, EDGES)).laws
    assert laws.verify(net, args=(NODES, EDGES)).verdict == lw.Verdict.HOLDS


def test_attention_over_edges_keeps_values_and_scores_and_says_the_rest() -> None:
    torch.manual_seed(0)
    net = Attends()
    laws = lw.derive(lw.trace(net, NODES, EDGES))
    assert laws.independent >= 20  # queries against keys, values against the map behind: 10 each
    assert laws.independent == lw.count(net, args=(NODES, EDGES)).laws or laws.gaps
    assert laws.verify(net, args=(NODES, EDGES)).verdict == lw.Verdict.HOLDS
