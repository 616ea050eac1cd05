"""Scores of attention that something else than a softmax and values reads: talking heads, pairs, logarithms."""

import pytest
import torch
import torch.nn.functional as F
from nights import at_night
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.blocks import InnerProducts, ShapeError, Signal
from lawful.graph.questions.derive import by_rules
from lawful.theory.verdict import Verdict


class Made(nn.Module):
    """A forward with parameters."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def heads(x, n=2):
    return x.unflatten(-1, (n, -1)).transpose(1, 2)


def pairs(m, x):
    return heads(m.q(x)) @ heads(m.k(x)).mT


def merged(x):
    return x.transpose(1, 2).flatten(2)


def made(forward, bias=False, maps="qk", **parts):
    return Made(forward, **{n: nn.Linear(3, 4, bias) for n in maps}, **parts)


def talking(m, x):
    before = torch.einsum("bhij,hg->bgij", pairs(m, x), m.a).softmax(-1)
    return m.o(merged(torch.einsum("bhij,hg->bgij", before, m.c) @ heads(m.v(x))))


def matrix():
    return nn.Parameter(torch.randn(2, 2))


CASES = {
    "talking heads": lambda: made(talking, maps="qkv", a=matrix(), c=matrix(), o=nn.Linear(4, 2)),
    "a convolution of scores": lambda: made(
        lambda m, x: m.o(merged(m.c(pairs(m, x)).softmax(-1) @ heads(m.v(x)))),
        maps="qkv",
        c=nn.Conv2d(2, 2, 1),
        o=nn.Linear(4, 2),
    ),
    "heads that a map joins": lambda: made(
        lambda m, x: m.o(F.relu(m.c(pairs(m, x).permute(0, 2, 3, 1))).mean(2)),
        bias=True,
        c=nn.Linear(2, 3),
        o=nn.Linear(3, 2),
    ),
    "every pair": lambda: made(lambda m, x: m.q(x) @ m.k(x).mT, bias=True),
    "a bias of pairs": lambda: made(
        lambda m, x: torch.sigmoid(pairs(m, x) + m.b).mean(1), b=nn.Parameter(torch.randn(2, 1, 1))
    ),
    "weights by a function": lambda: made(lambda m, x: F.gelu(m.q(x) @ m.k(x).mT) @ m.v(x), maps="qkv"),
}


@pytest.mark.parametrize("name", at_night(CASES, "talking heads", "heads that a map joins"))
def test_scores_keep_every_matrix_of_a_head(name):
    module, x = CASES[name](), torch.randn(2, 4, 3)
    arch = lw.trace(module, x)
    laws = by_rules(arch, "mse")
    assert not arch.trace.narrow and not arch.trace.opaque, arch.trace
    assert laws.independent == lw.count(module, args=x).laws, str(laws)
    assert laws.verify(module, args=x).verdict is Verdict.HOLDS


def test_a_logarithm_of_weights_is_no_softmax():
    """Was taken for the softmax itself, so that the whole forward was set apart."""
    module, x = made(lambda m, x: pairs(m, x).log_softmax(-1)), torch.randn(2, 4, 3)
    arch = lw.trace(module, x)
    assert not arch.trace.opaque and arch.trace.comparison.agrees
    assert lw.derive(module, args=x).independent == 6  # a matrix of each head


def test_weights_in_another_order_are_features_of_their_heads():
    module = made(lambda m, x: m.c(pairs(m, x).softmax(-1).permute(0, 2, 3, 1)).mean(2), c=nn.Linear(2, 3))
    arch = lw.trace(module, torch.randn(2, 4, 3))
    assert not arch.trace.narrow, arch.trace.narrow


def test_inner_products_read_positions():
    for signals in ([Signal(3), Signal(3)], [Signal(3, (2,)), Signal(4, (2,))]):
        with pytest.raises(ShapeError, match="reads features at positions"):
            InnerProducts().output(*signals)


BIASES = {
    "rows of a table": lambda m, x: m.c(pairs(m, x) + m.t[m.index].permute(2, 0, 1)),
    "a table of every pair": lambda m, x: m.c(pairs(m, x) + m.p),
    "turned": lambda m, x: m.c((pairs(m, x) + m.p).relu()),
}


@pytest.mark.parametrize("name", BIASES)
def test_a_bias_of_scores_that_no_softmax_reads(name):
    index = torch.arange(4)[:, None] - torch.arange(4) + 3
    parts = {"t": nn.Parameter(torch.randn(7, 2)), "p": nn.Parameter(torch.randn(2, 4, 4)), "index": index}
    module = made(lambda m, x: m.o(merged(BIASES[name](m, x).softmax(-1) @ heads(m.v(x)))), maps="qkv", **parts)
    module.c, module.o = nn.Conv2d(2, 2, 1), nn.Linear(4, 2)
    arch = lw.trace(module, torch.randn(2, 4, 3))
    laws = by_rules(arch, "mse")
    assert not arch.trace.narrow and not arch.trace.opaque, arch.trace
    assert laws.verify(module, args=torch.randn(2, 4, 3)).verdict is Verdict.HOLDS
    assert laws.gaps or laws.independent == lw.count(module, args=torch.randn(2, 4, 3)).laws


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("gate", [b.ReLU, b.Tanh])
def test_engine_and_oracle_agree_on_inner_products(gate, loss):
    pair = b.Parallel((("u", b.Linear(3, 2, False)), ("v", b.Linear(3, 2))), InnerProducts())
    net = b.chain(pair=pair, gate=gate(), mean=b.Positions("mean", (), 1), out=b.Linear(1, 2))
    arch = lw.Architecture(net, input=Signal(3, (3,)))
    laws = lw.derive(arch, loss)
    assert laws.independent == lw.count(arch, loss).laws and laws.verify(arch).verdict is Verdict.HOLDS
    assert len(laws["balance of pair.u"].terms) > 1  # each of which the verification corrupts in turn
