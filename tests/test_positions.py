"""Positions between transposes, of token mixers and as people write them: they move by themselves."""

from __future__ import annotations

import pytest
from agreement import agree

from lawful import blocks as b
from lawful.blocks import Turn
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.derive import derive


def mixer(tokens: int = 3, hidden: int = 2, activation: str = "relu", bias: bool = False) -> b.TokenMLP:
    return b.TokenMLP(tokens, hidden, activation, bias)


def plain(width: int = 2, bias: bool = False) -> b.Linear:
    return b.Linear(2, width, bias=bias)


@pytest.mark.parametrize(
    ("net", "tokens", "mse", "cross_entropy"),
    [
        pytest.param(b.ReLU() >> mixer() >> mixer() >> plain(3), 3, 11, 13, id="two, found by a random network"),
        pytest.param(mixer() >> mixer() >> mixer(), 3, 18, 18, id="three"),
        pytest.param(
            mixer(bias=True) >> mixer(activation="gelu", bias=True),
            3,
            8,
            11,
            id="biases, a smooth map",
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            plain() >> mixer(4, 3) >> plain() >> mixer(4, 3), 4, 19, 19, id="a map between", marks=pytest.mark.nightly
        ),
        pytest.param(mixer(4, 3) >> plain(bias=True) >> mixer(4, 3), 4, 14, 14, id="a map with a bias between"),
        pytest.param(
            mixer() >> b.Affine(2) >> mixer() >> plain(3),
            3,
            11,
            13,
            id="a gain and a shift between",
            marks=pytest.mark.nightly,
        ),
        pytest.param(mixer() >> b.ReLU(0.3, 2) >> mixer(), 3, 7, 7, id="a map of degree 2 between"),
        pytest.param(
            mixer() >> plain() >> b.ReLU() >> mixer(hidden=4), 3, 10, 10, id="a map and an activation between"
        ),
    ],
)
def test_positions_between_token_mixers(net: b.Net, tokens: int, mse: int, cross_entropy: int) -> None:
    arch = Architecture(net, b.Signal(2, (tokens,)))
    for loss, laws in (("mse", mse), ("cross_entropy", cross_entropy)):
        agree(arch, loss, laws)


@pytest.mark.parametrize(
    ("net", "laws"),
    [
        pytest.param(mixer() >> b.residual(mixer()) >> mixer(), 12, id="a stream that mixers write and read"),
        pytest.param(mixer() >> b.residual(mixer()), 4, id="a stream that ends in the output"),
        pytest.param(b.residual(mixer()) >> mixer(), 4, id="a stream that starts at the input"),
        pytest.param(mixer() >> b.residual(b.Pointwise("tanh")) >> mixer(), 4, id="a smooth map beside it"),
    ],
)
def test_positions_of_a_stream(net: b.Net, laws: int) -> None:
    agree(Architecture(net, b.Signal(2, (3,))), "mse", laws)


@pytest.mark.parametrize(("edges", "noted"), [((), True), ((0, 1, 2, 3), True), ((0, 1, 1, 2, 2, 3), False)])
def test_nodes_with_the_same_neighbours_are_named(edges: tuple[int, ...], noted: bool) -> None:
    """Two nodes that read the same are one to a token mixer: found by CI's random networks."""
    net = b.Linear(2, 2, bias=False) >> b.Aggregate("symmetric", edges) >> b.ReLU() >> mixer(4)
    laws = derive(Architecture(net, b.Signal(2, (4,))))
    assert any("copies of one position" in note for note in laws.notes) == noted


def turned(width: int = 2, tokens: int = 3) -> b.Net:
    """A transpose, as tracing draws it."""
    return Turn(b.Signal(width, (tokens,)))


def linear(features: int, width: int, bias: bool = False) -> b.Linear:
    return b.Linear(features, width, bias)


def between(*nets: b.Net, width: int = 3, out: int = 3) -> b.Net:
    """Nets of positions, with a map of the channels before and behind."""
    net: b.Net = linear(2, width) >> turned(width)
    for each in nets:
        net = net >> each
    return net >> turned(out, width) >> linear(width, 3)


NORM = b.RMSNorm(3, False, 0.0)


@pytest.mark.parametrize(
    ("net", "mse", "cross_entropy"),
    [
        pytest.param(linear(2, 3) >> mixer() >> NORM >> linear(3, 2), 6, 9, id="a norm of each position behind"),
        pytest.param(
            linear(2, 3) >> mixer() >> linear(3, 3) >> b.LayerNormCore(3, 0.0) >> linear(3, 2),
            14,
            16,
            id="a map between",
        ),
        pytest.param(between(linear(3, 3, True)), 5, 8, id="a biased map"),
        pytest.param(between(linear(3, 2, True), b.ReLU(), linear(2, 3)), 4, 7, id="a biased map, and an activation"),
        pytest.param(
            between(b.parallel(linear(3, 2), linear(3, 2), join=b.Product()), linear(2, 3)), 8, 11, id="a product"
        ),
        pytest.param(
            between(b.parallel(linear(3, 2), linear(3, 2) >> b.ReLU(), join=b.Concat()), linear(4, 3)),
            9,
            12,
            id="parts",
        ),
        pytest.param(b.parallel(mixer(), linear(2, 2), join=b.Product()) >> mixer(), 8, 8, id="a product with others"),
        pytest.param(
            b.parallel(mixer(), mixer(bias=True)) >> mixer(), 12, 12, id="two that are added", marks=pytest.mark.nightly
        ),
        pytest.param(
            mixer(bias=True) >> b.Affine(2) >> mixer(bias=True),
            9,
            12,
            id="biases that are added",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_positions_between_transposes(net: b.Net, mse: int, cross_entropy: int) -> None:
    arch = Architecture(net, b.Signal(2, (3,)))
    for loss, laws in (("mse", mse), ("cross_entropy", cross_entropy)):
        agree(arch, loss, laws)


def test_a_map_of_all_positions_is_named() -> None:
    """A map behind a flattening answers every matrix on the positions: no law of single ones is listed."""
    laws = derive(Architecture(mixer() >> b.Flatten() >> linear(6, 3), b.Signal(2, (3,))))
    assert any("turns positions into features" in note for note in laws.gaps)


def test_transposes_of_two_axes_do_not_turn_each_other_back() -> None:
    """Between them, an axis of positions is not the one that the first had turned."""
    first, second = (Turn(b.Signal(3, (3, 3)), axis) for axis in (0, 1))
    agree(Architecture(linear(2, 3) >> first >> linear(3, 3) >> second >> linear(3, 2), b.Signal(2, (3, 3))), "mse", 2)
