"""Blocks compute what the modules of torch compute, with the same parameters."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture

TOKENS = 5


def run(net: b.Net, params: dict[str, torch.Tensor], *inputs: torch.Tensor, input: object) -> torch.Tensor:
    arch = Architecture(net, input=input)
    assert {n: p.shape for n, p in arch.parameters.items()} == {n: tuple(v.shape) for n, v in params.items()}
    return arch.forward(params, inputs)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize(
    ("module", "block"),
    [
        (nn.RNN(3, 4, batch_first=True), b.RNN(3, 4)),
        (nn.RNN(3, 4, nonlinearity="relu", batch_first=True, bias=False), b.RNN(3, 4, False, nonlinearity="relu")),
        (nn.GRU(3, 4, batch_first=True), b.GRU(3, 4)),
        (nn.LSTM(3, 4, batch_first=True), b.LSTM(3, 4)),
        (nn.LSTM(3, 4, batch_first=True, bias=False), b.LSTM(3, 4, False)),
    ],
    ids=str,
)
def test_recurrent(module, block):
    module = module.double()
    x = randn(2, TOKENS, 3)
    kind = block.kind.lower()
    params = {f"{kind}.{n.removesuffix('_l0')}": p.detach() for n, p in module.named_parameters()}
    torch.testing.assert_close(run(block, params, x, input=b.Signal(3, (TOKENS,))), module(x)[0])


def test_bilinear():
    module = nn.Bilinear(3, 4, 2).double()
    net = b.Wiring({"m": b.Bilinear(3, 4, 2)}, {"m": ("input:0", "input:1")}, ("m",), inputs=2)
    x, y = randn(6, 3), randn(6, 4)
    params = {f"m.{n}": p.detach() for n, p in module.named_parameters()}
    torch.testing.assert_close(run(net, params, x, y, input=[b.Signal(3), b.Signal(4)]), module(x, y))


def test_weight_norm():
    module = torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)).double()
    given = dict(module.named_parameters())
    params = {
        "direction.weight": given["parametrizations.weight.original1"].detach(),
        "affine.weight": given["parametrizations.weight.original0"].detach().flatten(),
        "affine.bias": given["bias"].detach(),
    }
    x = randn(6, 3)
    torch.testing.assert_close(run(b.WeightNormLinear(3, 4), params, x, input=b.Signal(3)), module(x))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_attention(causal, kv_heads):
    q, k, v = randn(2, TOKENS, 12), randn(2, TOKENS, 3 * kv_heads), randn(2, TOKENS, 3 * kv_heads)
    core = b.DotProductAttention(4, kv_heads, causal)
    net = b.Wiring({"a": core}, {"a": ("input:0", "input:1", "input:2")}, ("a",), inputs=3)
    heads = [t.reshape(2, TOKENS, -1, 3).transpose(1, 2) for t in (q, k, v)]
    expected = F.scaled_dot_product_attention(*heads, is_causal=causal, enable_gqa=kv_heads < 4)
    signals = [b.Signal(t.shape[-1], (TOKENS,)) for t in (q, k, v)]
    torch.testing.assert_close(run(net, {}, q, k, v, input=signals), expected.transpose(1, 2).flatten(2))


def test_packed_projections_are_those_of_multihead_attention():
    module = nn.MultiheadAttention(6, 2, batch_first=True).double()
    with torch.no_grad():
        module.in_proj_bias.normal_()
    net = b.SelfAttention(6, 2, bias=True, packed=True)
    given = dict(module.named_parameters())
    params = {
        "qkv.weight": given["in_proj_weight"],
        "qkv.bias": given["in_proj_bias"],
        "out.weight": given["out_proj.weight"],
        "out.bias": given["out_proj.bias"],
    }
    x = randn(2, TOKENS, 6)
    found = run(net, {n: p.detach() for n, p in params.items()}, x, input=b.Signal(6, (TOKENS,)))
    torch.testing.assert_close(found, module(x, x, x, need_weights=False)[0])


def test_rotary_turns_planes():
    """The score of two rotated vectors depends on the difference of their positions alone."""
    for options in ({}, {"interleaved": True}, {"rotated": 4}, {"shared": 2}):
        net = b.Rotary(1, 10.0, **options)
        x = randn(1, 8).expand(TOKENS, 8).unsqueeze(0)
        y = run(net, {}, x, input=b.Signal(8, (TOKENS,)))[0]
        scores = y @ y.T
        torch.testing.assert_close(scores[:-1, :-1], scores[1:, 1:])
        torch.testing.assert_close(y.norm(dim=-1), x[0].norm(dim=-1))
        assert not torch.allclose(scores[0, 1], scores[0, 2])


def test_the_buckets_of_t5():
    """Those of the published model for 8 buckets and a distance of 16, written out (Raffel et al. 2020)."""
    core = b.DotProductAttention(relative="t5", rows=8, distance=16, causal=True)
    # 4 exact distances, then 4 + floor(4 log(d / 4) / log(4)).
    assert core.table_rows(10, 10)[-1].tolist() == [6, 6, 5, 5, 4, 4, 3, 2, 1, 0]
    both = b.DotProductAttention(relative="t5", rows=8, distance=16)
    row = both.table_rows(5, 5)[2].tolist()
    assert row[2] == 0
    assert row[:2] == [2, 1]
    assert row[3:] == [5, 6]


def test_the_bias_table_of_a_window():
    core = b.DotProductAttention(relative="window", window_shape=(2, 2))
    index = core.table_rows(4, 4)
    assert index.diagonal().unique().tolist() == [4]
    assert int(index.max()) == core.rows - 1 == 8
    assert index[0].tolist() == [4, 3, 1, 0]
