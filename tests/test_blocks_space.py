"""Convolutions, pooling, resampling, grids and fixed positions: torch's forward, the oracle's counts, and limits.

This file is long because the forward, the count and the limits of a block stand side by side.
"""

import pytest
import torch
import torch.nn.functional as F
from networks import linear, tokens
from torch import nn

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import gradient_rank
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.verdict import Verdict

GENERATOR = torch.Generator().manual_seed(0)
LEAKY = b.LeakyReLU(0.3)
POOL = b.GlobalAveragePool()
C, T = b.Conv1d, b.ConvTranspose1d


def image(channels: int, *space: int) -> b.Signal:
    return b.Signal(channels, space, channels_first=True)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


def run(net: b.Net, x: torch.Tensor, signal: b.Signal, parameters=()) -> torch.Tensor:
    arch = Architecture(net, signal)
    given = list(parameters)
    assert [p.shape for p in arch.parameters.values()] == [tuple(p.shape) for p in given]
    y = arch.forward(dict(zip(arch.parameters, given, strict=True)), [x])
    assert tuple(y.shape[1:]) == arch.output.shape
    return y


# --- forwards -------------------------------------------------------------------------------------------------------

CONVS = {
    "dilated": (C(4, 6, 3, 2, 2, 2, dilation=2), nn.Conv1d(4, 6, 3, 2, 2, 2, 2), (9,)),
    "dilated 2d": (b.Conv2d(4, 6, 3, dilation=2, bias=False), nn.Conv2d(4, 6, 3, dilation=2, bias=False), (6, 7)),
    "3d": (b.Conv3d(4, 6, 2, 1, 1, groups=2), nn.Conv3d(4, 6, 2, 1, 1, groups=2), (3, 4, 3)),
    "transposed": (
        T(4, 6, 3, 2, 1, 2, output_padding=1),
        nn.ConvTranspose1d(4, 6, 3, 2, 1, output_padding=1, groups=2),
        (5,),
    ),
    "transposed 2d": (b.ConvTranspose2d(4, 6, 2, 2, bias=False), nn.ConvTranspose2d(4, 6, 2, 2, bias=False), (3, 2)),
    "transposed, dilated": (
        b.ConvTranspose2d(4, 4, 2, 3, dilation=2, groups=4),
        nn.ConvTranspose2d(4, 4, 2, 3, dilation=2, groups=4),
        (3, 2),
    ),
    "transposed 3d": (b.ConvTranspose3d(4, 2, 2, 1), nn.ConvTranspose3d(4, 2, 2, 1), (2, 3, 2)),
}


@pytest.mark.parametrize("name", sorted(CONVS))
def test_convolutions_are_torchs(name):
    block, module, space = CONVS[name]
    module = module.double()
    x = random(3, 4, *space)
    torch.testing.assert_close(run(block, x, image(4, *space), module.parameters()), module(x))
    assert [n.split(".")[-1] for n in Architecture(block, image(4, *space)).parameters] == [
        n for n, _ in module.named_parameters()
    ]


RESHAPES = {
    "average 1d": (b.AveragePool1d(3, 2, 1), nn.AvgPool1d(3, 2, 1), (7,)),
    "average 2d": (b.AveragePool2d(2), nn.AvgPool2d(2), (5, 4)),
    "average, padding not counted": (
        b.AveragePool2d(3, 2, 1, False),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        (5, 4),
    ),
    "average 3d": (b.AveragePool3d(2, 1), nn.AvgPool3d(2, 1), (3, 4, 3)),
    "max 1d": (b.MaxPool1d(3, 2, 1), nn.MaxPool1d(3, 2, 1), (7,)),
    "max 2d": (b.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, 1), (7, 6)),
    "max 3d": (b.MaxPool3d(2, 1, 1), nn.MaxPool3d(2, 1, 1), (3, 2, 3)),
    "global max": (b.GlobalMaxPool(), lambda x: x.amax((2, 3)), (5, 4)),
    "shuffle": (b.PixelShuffle(2), nn.PixelShuffle(2), (3, 2)),
    "unshuffle": (b.PixelUnshuffle(2), nn.PixelUnshuffle(2), (4, 6)),
    "nearest": (b.UpSample(3), nn.Upsample(scale_factor=3), (3, 2)),
    "linear": (b.UpSample(2, "linear"), nn.Upsample(scale_factor=2, mode="linear"), (4,)),
    "bilinear": (b.UpSample(3, "linear"), nn.Upsample(scale_factor=3, mode="bilinear"), (3, 4)),
    "trilinear": (b.UpSample(2, "linear"), nn.Upsample(scale_factor=2, mode="trilinear"), (3, 2, 2)),
    "channels last": (b.ChannelsLast(), lambda x: x.permute(0, 2, 3, 1), (3, 2)),
    "to tokens": (b.ToTokens(), lambda x: x.flatten(2).transpose(1, 2), (3, 2)),
    "to image": (b.ToTokens() >> b.ToImage(3, 2), lambda x: x, (3, 2)),
    "to grid": (b.ToTokens() >> b.ToGrid(3, 2) >> b.ChannelsFirst(), lambda x: x, (3, 2)),
    "grid to tokens": (b.ChannelsLast() >> b.ToTokens(), lambda x: x.flatten(2).transpose(1, 2), (3, 2)),
    "windows and back": (b.ChannelsLast() >> b.WindowPartition(2) >> b.WindowReverse(4, 6), None, (4, 6)),
    "one window": (b.ChannelsLast() >> b.WindowPartition(2) >> b.WindowReverse(2, 2), None, (2, 2)),
}


@pytest.mark.parametrize("name", sorted(RESHAPES))
def test_moves_of_positions_are_torchs(name):
    net, reference, space = RESHAPES[name]
    x = random(2, 4, *space)
    wanted = reference(x) if reference else x.permute(0, 2, 3, 1)
    torch.testing.assert_close(run(net, x, image(4, *space)), wanted)


@pytest.mark.parametrize("kernel, stride, padding", [(3, 1, 1), (2, 2, 0), (3, 2, 1)])
def test_free_gates_at_the_real_pattern_are_the_real_maximum(kernel, stride, padding):
    block = b.MaxPool2d(kernel, stride, padding)
    arch = Architecture(block, image(2, 6, 5))
    x = random(3, 2, 6, 5)
    # Where padding would win, its nearest neighbour has the same value, so that the largest entry is a real one.
    space = arch.output.space
    pattern = block._windows(x, space).argmax(-1).double()
    y = arch.forward({}, [x], b.Run(gates={arch.nodes[0]: pattern}))
    torch.testing.assert_close(y, F.max_pool2d(x, kernel, stride, padding))
    assert torch.equal(arch.forward({}, [x]), y)


def test_windows_are_those_of_swin():
    x = random(2, 4, 6, 3)
    wanted = x.view(2, 2, 2, 3, 2, 3).permute(0, 1, 3, 2, 4, 5).reshape(2, 6, 4, 3)
    torch.testing.assert_close(run(b.WindowPartition(2), x, b.Signal(3, (4, 6))), wanted)
    rolled = torch.roll(x, (-1, -1), (1, 2))
    torch.testing.assert_close(run(b.CyclicShift(1), x, b.Signal(3, (4, 6))), rolled)
    torch.testing.assert_close(run(b.CyclicShift(1) >> b.CyclicShift(-1), x, b.Signal(3, (4, 6))), x)


def test_patches_merge_in_the_order_of_swin():
    x = random(2, 4, 6, 3)
    parts = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
    norm, reduction = nn.LayerNorm(12).double(), nn.Linear(12, 6, bias=False).double()
    nn.init.normal_(norm.weight)
    y = run(b.PatchMerging(3), x, b.Signal(3, (4, 6)), [*norm.parameters(), *reduction.parameters()])
    torch.testing.assert_close(y, reduction(norm(torch.cat(parts, -1))))


def test_patches_are_embedded():
    module = nn.Conv2d(3, 5, 2, 2).double()
    x = random(2, 3, 4, 6)
    y = run(b.PatchEmbedding(3, 5, 2), x, image(3, 4, 6), module.parameters())
    torch.testing.assert_close(y, module(x).flatten(2).transpose(1, 2))


def test_the_table_of_sines():
    table = b.Sinusoidal().table(7, 6)
    for place in range(7):
        for i in range(3):
            angle = torch.tensor(place / 10000 ** (2 * i / 6), dtype=torch.float64)
            assert table[place, 2 * i] == angle.sin() and table[place, 2 * i + 1] == angle.cos()
    x = random(2, 7, 6)
    torch.testing.assert_close(run(b.Sinusoidal(), x, tokens(6, 7)), x + table)


# --- counts ---------------------------------------------------------------------------------------------------------


def batch_norm(n: int) -> b.Net:
    return b.BatchNorm(n, epsilon=0.0) >> LEAKY


HEAD = C(3, 3, 1) >> LEAKY >> POOL
HEAD2 = b.Conv2d(3, 3, 1) >> LEAKY >> POOL
RMS = b.RMSNormCore(3, 0.0)
LAYER = b.LayerNorm(3, epsilon=0.0)
ATTENTION = b.SelfAttention(3, 1, 1, 2)
SQUARE, LINE = image(2, 2, 2), image(2, 4)
# name: (network, its input, laws under the squared loss and under cross-entropy)
COUNTS = {
    "dilated": (C(2, 3, 3, dilation=2) >> b.ReLU() >> C(3, 3, 1), image(2, 6), 3, 7),
    "skip around a dilated map": (
        C(2, 3, 1) >> b.residual(C(3, 3, 3, padding=2, dilation=2)) >> C(3, 3, 1) >> POOL,
        image(2, 5),
        12,
        16,
    ),
    "transposed": (T(2, 3, 3) >> b.ReLU() >> HEAD, LINE, 3, 3),
    "transposed, output padding": (T(2, 3, 3, 2, 1, output_padding=1) >> LEAKY >> T(3, 3, 1, bias=False), LINE, 3, 6),
    "skip around a transposed map": (
        C(2, 3, 1) >> b.residual(T(3, 3, 3, padding=1)) >> C(3, 3, 1) >> LEAKY >> POOL,
        LINE,
        12,
        12,
    ),
    "transposed, groups": (T(4, 4, 2, groups=2) >> b.ReLU() >> C(4, 3, 1) >> LEAKY >> POOL, image(4, 3), 4, 4),
    "transposed, groups, hidden": (C(2, 4, 1) >> T(4, 4, 2, groups=2) >> C(4, 3, 1) >> LEAKY >> POOL, LINE, 12, 12),
    "transposed, depthwise": (C(2, 3, 1) >> T(3, 3, 2, groups=3) >> b.ReLU() >> HEAD, LINE, 6, 6),
    "transposed, before BatchNorm": (C(2, 3, 1) >> T(3, 3, 2, 2) >> batch_norm(3) >> HEAD, LINE, 15, 15),
    "transposed, parallel": (
        C(2, 2, 1) >> b.parallel(T(2, 2, 2), T(2, 2, 2)) >> b.ReLU() >> C(2, 3, 1) >> POOL,
        image(2, 3),
        15,
        18,
    ),
    "transposed patches before RMSNorm": (T(2, 3, 2, 2, bias=False) >> RMS >> HEAD, image(2, 3), 2, 2),
    "transposed patches before LayerNorm": (T(2, 3, 2, 2, bias=False) >> LAYER >> HEAD, image(2, 3), 9, 9),
    "transposed patches with a bias": (T(2, 3, 2, 2) >> LAYER >> HEAD, image(2, 3), 9, 9),
    "transposed patches of groups": (
        T(3, 3, 2, 2, groups=3, bias=False) >> RMS >> HEAD,
        image(3, 3),
        2,
        2,
    ),
    "transposed 2d": (b.ConvTranspose2d(2, 3, 2, 2) >> b.ReLU() >> HEAD2, SQUARE, 3, 3),
    "3d": (b.Conv3d(2, 2, 1) >> b.MaxPool3d(2, 1) >> b.Conv3d(2, 3, 1) >> LEAKY >> POOL, image(2, 2, 2, 2), 2, 2),
    "average before BatchNorm": (C(2, 3, 2) >> b.AveragePool1d(2, 1) >> batch_norm(3) >> HEAD, image(2, 5), 9, 9),
    "padded average": (C(2, 3, 2) >> b.AveragePool1d(3, 1, 1) >> batch_norm(3) >> HEAD, image(2, 5), 6, 6),
    "padding not counted": (
        C(2, 3, 2) >> b.AveragePool1d(3, 1, 1, False) >> batch_norm(3) >> HEAD,
        image(2, 5),
        9,
        9,
    ),
    "average between norms": (
        C(2, 3, 1, bias=False) >> RMS >> C(3, 3, 1, bias=False) >> b.AveragePool1d(2) >> RMS >> HEAD,
        LINE,
        2,
        2,
    ),
    "padded maximum": (C(2, 3, 2) >> b.MaxPool1d(3, 1, 1) >> batch_norm(3) >> HEAD, LINE, 9, 9),
    "global maximum": (C(2, 3, 2) >> b.GlobalMaxPool() >> batch_norm(3) >> linear(3, 3), LINE, 9, 12),
    "global maximum of tokens": (
        b.Linear(2, 3) >> b.LearnedPosition(4, 3) >> ATTENTION >> b.GlobalMaxPool() >> b.Linear(3, 3),
        tokens(2, 4),
        18,
        22,
    ),
    "attention over channels": (
        C(2, 3, 1)
        >> b.parallel(
            b.Identity(), b.parallel(POOL, b.GlobalMaxPool()) >> linear(3, 3) >> b.Sigmoid(), join=b.Product()
        )
        >> HEAD,
        LINE,
        3,
        3,
    ),
    "shuffle": (b.Conv2d(2, 8, 1) >> b.PixelShuffle(2) >> b.Conv2d(2, 3, 1) >> LEAKY >> POOL, SQUARE, 3, 3),
    "shuffle before BatchNorm": (
        b.Conv2d(2, 12, 1) >> b.PixelShuffle(2) >> batch_norm(3) >> HEAD2,
        SQUARE,
        9,
        9,
    ),
    "shuffle before LayerNorm": (b.Conv2d(2, 12, 1) >> b.PixelShuffle(2) >> LAYER >> HEAD2, SQUARE, 19, 19),
    "shuffle before RMSNorm": (
        b.Conv2d(2, 12, 1, bias=False) >> b.PixelShuffle(2) >> RMS >> HEAD2,
        SQUARE,
        4,
        4,
    ),
    "shuffle at the end": (b.Conv2d(2, 2, 1) >> LEAKY >> b.Conv2d(2, 12, 1) >> b.PixelShuffle(2), SQUARE, 2, 14),
    "unshuffle": (b.Conv2d(2, 2, 1) >> b.PixelUnshuffle(2) >> b.Conv2d(8, 3, 1) >> LEAKY >> POOL, SQUARE, 3, 3),
    "nearest before BatchNorm": (C(2, 3, 1) >> b.UpSample(2) >> batch_norm(3) >> HEAD, LINE, 9, 9),
    "linear before BatchNorm": (C(2, 3, 1) >> b.UpSample(2, "linear") >> batch_norm(3) >> HEAD, LINE, 9, 9),
    "nearest between norms": (
        C(2, 3, 1, bias=False) >> RMS >> C(3, 3, 1, bias=False) >> b.UpSample(2) >> RMS >> HEAD,
        image(2, 3),
        7,
        7,
    ),
    "linear between norms": (
        C(2, 3, 1, bias=False) >> RMS >> C(3, 3, 1, bias=False) >> b.UpSample(2, "linear") >> RMS >> HEAD,
        image(2, 3),
        2,
        2,
    ),
    "tokens to an image": (
        b.Linear(2, 3) >> b.LearnedPosition(4, 3) >> b.residual(ATTENTION) >> b.ToImage(2, 2) >> batch_norm(3) >> POOL,
        tokens(2, 4),
        12,
        12,
    ),
    "patches": (
        b.PatchEmbedding(2, 3, 2) >> b.LearnedPosition(4, 3) >> b.residual(LAYER >> ATTENTION) >> linear(3, 3),
        image(2, 4, 4),
        14,
        17,
    ),
    "shifted windows": (
        b.Conv2d(2, 3, 1)
        >> b.ChannelsLast()
        >> b.residual(
            LAYER >> b.CyclicShift(1) >> b.WindowPartition(2) >> ATTENTION >> b.WindowReverse(4, 4) >> b.CyclicShift(-1)
        )
        >> linear(3, 3),
        image(2, 4, 4),
        11,
        14,
    ),
    "a skip beside a shift is no identity": (
        b.Conv2d(2, 3, 1) >> b.ChannelsLast() >> b.residual(b.CyclicShift(1) >> linear(3, 3)) >> b.ReLU(),
        SQUARE,
        0,
        0,
    ),
    "patch merging": (
        b.Conv2d(2, 3, 1)
        >> b.ChannelsLast()
        >> b.residual(LAYER >> linear(3, 2) >> b.GELU() >> linear(2, 3))
        >> b.PatchMerging(3, 3, 0.0)
        >> linear(3, 3),
        SQUARE,
        23,
        26,
    ),
    "positions on a grid": (
        b.Linear(2, 3)
        >> b.LearnedPosition(4, 3)
        >> b.residual(ATTENTION)
        >> b.ToGrid(2, 2)
        >> b.MergeNeighbours()
        >> linear(12, 3),
        tokens(2, 4),
        15,
        27,
    ),
    "one row for all tokens": (
        b.parallel(linear(2, 3) >> b.ReLU(), b.parallel(b.Identity(), b.Table(1, 2)) >> b.Power() >> linear(2, 3))
        >> b.ReLU()
        >> linear(3, 3),
        tokens(2, 3),
        3,
        6,
    ),
    "means added to every position": (
        b.Linear(2, 3) >> b.parallel(b.ReLU(), b.Abs() >> POOL >> b.Linear(3, 3)) >> b.ReLU() >> linear(3, 3),
        tokens(2, 3),
        3,
        6,
    ),
    "sines on a full wire": (linear(2, 2) >> b.Sinusoidal(10.0) >> linear(2, 3), tokens(2, 4), 0, 2),
    "sines, embedding": (
        b.Embedding(5, 3) >> b.Sinusoidal(10.0) >> ATTENTION >> linear(3, 3),
        b.Signal(5, (4,), tokens=True),
        12,
        15,
    ),
    "sines before norms": (
        b.Embedding(5, 3)
        >> b.Sinusoidal(10.0)
        >> b.residual(LAYER >> ATTENTION)
        >> b.LayerNorm(3, epsilon=0.0)
        >> linear(3, 3),
        b.Signal(5, (3,), tokens=True),
        19,
        22,
    ),
    "sines before BatchNorm": (
        b.Linear(2, 3) >> b.Sinusoidal(10.0) >> b.BatchNorm(3, epsilon=0.0) >> linear(3, 3),
        tokens(2, 3),
        6,
        9,
    ),
}


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("name", sorted(COUNTS))
def test_engine_and_oracle_agree(name, loss):
    net, signal, mse, cross_entropy = COUNTS[name]
    arch = Architecture(net, signal)
    laws = derive(arch, loss)
    oracle = count(arch, loss, known=laws.independent)
    assert oracle.verdict is Verdict.HOLDS
    assert (laws.independent, oracle.laws) == (mse if loss == "mse" else cross_entropy,) * 2
    assert gradient_rank(arch, laws) == laws.independent
    assert laws.verify(arch).residual < 1e-9


# Laws that the rules do not list, and how many: `S` with `S P = 0` for a table P, or `S P = P_0` where a bias answers;
# taps that are only averaged; places in a stride.
MISSING = {
    "three sines, four features": (linear(3, 4) >> b.Sinusoidal(10.0) >> linear(4, 3), tokens(3, 3), 1),
    "three sines, three features, a bias": (b.Linear(2, 3) >> b.Sinusoidal(10.0) >> linear(3, 3), tokens(2, 3), 1),
    "two sines, four features, a bias": (b.Linear(3, 4) >> b.Sinusoidal(10.0) >> linear(4, 3), tokens(3, 2), 6),
    "sines beside learned positions": (
        linear(2, 3) >> b.LearnedPosition(4, 3) >> b.Sinusoidal(10.0) >> ATTENTION,
        tokens(2, 4),
        6,
    ),
    "taps that are only averaged": (T(2, 3, 2, 2) >> C(3, 3, 1) >> POOL, image(2, 3), 6),
    "places in a stride before a norm": (T(2, 3, 3, 2, bias=False) >> LAYER >> HEAD, image(2, 3), 1),
}


@pytest.mark.parametrize("name", sorted(MISSING))
def test_what_the_rules_do_not_list(name):
    net, signal, missing = MISSING[name]
    arch = Architecture(net, signal)
    oracle = count(arch)
    assert oracle.verdict is Verdict.HOLDS
    assert oracle.laws - derive(arch).independent == missing


def test_every_pixel_of_a_patch_has_a_scale_before_a_norm():
    """A law that no single wire shows: each tap of a transposed convolution is scaled by itself."""
    arch = Architecture(b.ConvTranspose2d(2, 3, 2, 2, bias=False) >> RMS >> HEAD2, SQUARE)
    for point in arch.points("mse", 2, 0, True):
        weight, gradient = point.parameters["0.weight"], point.gradient["0.weight"]
        change = (weight * gradient).sum((0, 1))
        assert float(change.abs().max()) < 1e-12 * float(gradient.norm())


# --- bad input and small copies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: b.Conv1d(3, 4, 3, dilation=0),
        lambda: T(3, 4, 3, 2, output_padding=2),
        lambda: T(3, 4, 3, groups=2),
        lambda: b.UpSample(2, "cubic"),
        lambda: b.Sinusoidal(1.0),
        lambda: Architecture(b.Conv1d(3, 4, 3, dilation=2), image(3, 4)),
        lambda: Architecture(T(3, 4, 1, padding=2), image(3, 2)),
        lambda: Architecture(b.MaxPool1d(2, 1, 2), image(3, 4)),
        lambda: Architecture(b.AveragePool3d(2), image(3, 4, 4)),
        lambda: Architecture(b.PixelShuffle(2), image(6, 2, 2)),
        lambda: Architecture(b.PixelUnshuffle(2), image(3, 3, 4)),
        lambda: Architecture(b.ToImage(2, 3), tokens(3, 4)),
        lambda: Architecture(b.ToGrid(2, 2), image(3, 4)),
        lambda: Architecture(b.WindowPartition(3), b.Signal(2, (4, 6))),
        lambda: Architecture(b.WindowReverse(4, 4), b.Signal(2, (2, 8))),
        lambda: Architecture(b.MergeNeighbours(), b.Signal(2, (3, 4))),
        lambda: Architecture(b.CyclicShift(), image(2, 4, 4)),
        lambda: Architecture(b.ChannelsFirst(), image(2, 4)),
        lambda: Architecture(b.ChannelsLast(), tokens(2, 4)),
        lambda: Architecture(b.Sinusoidal(), image(2, 4)),
    ],
)
def test_bad_blocks_are_refused(make):
    with pytest.raises(b.ShapeError):
        make()


SHRINKING = {
    "decoder": b.Conv2d(3, 32, 4, 2, 1)
    >> b.LeakyReLU(0.2)
    >> b.ConvTranspose2d(32, 16, 4, 2, 1)
    >> b.BatchNorm(16)
    >> b.ReLU()
    >> b.Conv2d(16, 3, 1),
    "super resolution": b.Conv2d(3, 64, 5, padding=2)
    >> b.ReLU()
    >> b.Conv2d(64, 12, 3, padding=1)
    >> b.PixelShuffle(2),
    "atrous": b.Conv2d(3, 32, 3, padding=6, dilation=6) >> b.ReLU() >> b.UpSample(4, "linear") >> b.Conv2d(32, 4, 1),
    "hierarchy": b.Conv2d(3, 32, 4, 4)
    >> b.ChannelsLast()
    >> b.residual(
        b.LayerNorm(32) >> b.CyclicShift(2) >> b.WindowPartition(2) >> b.MLP(32, 64, b.GELU()) >> b.WindowReverse(4, 4)
    )
    >> b.PatchMerging(32)
    >> b.GlobalAveragePool()
    >> b.Linear(64, 10),
    "sines": b.Embedding(50, 32)
    >> b.Scale(32**0.5)
    >> b.Sinusoidal()
    >> b.residual(b.LayerNorm(32) >> b.MLP(32, 64))
    >> b.LayerNorm(32)
    >> b.Linear(32, 50),
    "tokens to an image": b.PatchEmbedding(3, 32, 4)
    >> b.residual(b.LayerNorm(32) >> b.SelfAttention(32, 4))
    >> b.ToImage(4, 4)
    >> b.ConvTranspose2d(32, 16, 2, 2)
    >> b.GELU()
    >> b.Conv2d(16, 3, 1),
}


@pytest.mark.parametrize("name", sorted(SHRINKING))
def test_these_blocks_shrink(name):
    arch = Architecture(SHRINKING[name])
    small = arch.shrink().with_epsilon(0.0)
    assert sum(p.size for p in small.parameters.values()) < 400
    assert {small.block(n).kind for n in small.nodes} == {arch.block(n).kind for n in arch.nodes}
    laws = derive(small)
    oracle = count(small, known=laws.independent)
    assert oracle.verdict is Verdict.HOLDS
    assert laws.independent == oracle.laws
