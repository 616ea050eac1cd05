"""Activations, factors, gates and norms: torch's forward, the oracle's counts, and the limits of their rules.

This file is long because the forward, the count and the limits of a block stand side by side.
"""

import pytest
import torch
import torch.nn.functional as F
from networks import linear, tokens
from torch import nn

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.compile import output_signal
from lawful.graph.questions.check import gradient_rank
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.verdict import Verdict

GENERATOR = torch.Generator().manual_seed(0)
LEAKY = b.LeakyReLU(0.3)


def image(channels: int, *space: int) -> b.Signal:
    return b.Signal(channels, space, channels_first=True)


def random(*shape: int) -> torch.Tensor:
    return 2 * torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


def run_block(net: b.Net, x: torch.Tensor, signal: b.Signal, parameters=None, run=None) -> torch.Tensor:
    """The output of a net for given parameters, in any order of names (random ones if None)."""
    arch = Architecture(net, signal)
    values = arch.random_parameters(torch.Generator().manual_seed(1))
    if parameters is not None:
        given = list(parameters)
        assert [tuple(v.shape) for v in values.values()] == [tuple(p.shape) for p in given]
        values = dict(zip(values, given, strict=True))
    return arch.forward(values, [x], run)


# --- forwards -------------------------------------------------------------------------------------------------------

VECTOR = b.Signal(4)
POINTWISE = {
    "relu6": (b.ReLU6(), nn.ReLU6()),
    "hardtanh": (b.HardTanh(-0.5, 1.5), nn.Hardtanh(-0.5, 1.5)),
    "hardsigmoid": (b.HardSigmoid(), nn.Hardsigmoid()),
    "hardswish": (b.HardSwish(), nn.Hardswish()),
    "elu": (b.ELU(0.7), nn.ELU(0.7)),
    "selu": (b.SELU(), nn.SELU()),
    "celu": (b.CELU(1.4), nn.CELU(1.4)),
    "mish": (b.Pointwise("mish"), nn.Mish()),
    "softsign": (b.Pointwise("softsign"), nn.Softsign()),
    "logsigmoid": (b.Pointwise("logsigmoid"), nn.LogSigmoid()),
    "tanhshrink": (b.Pointwise("tanhshrink"), nn.Tanhshrink()),
    "softplus": (b.Pointwise("softplus"), nn.Softplus()),
    "gelu_tanh": (b.Pointwise("gelu_tanh"), nn.GELU("tanh")),
    "exp": (b.Pointwise("exp"), torch.exp),
    "one_minus": (b.Pointwise("one_minus"), lambda x: 1 - x),
    "scale": (b.Scale(-0.3, 2), lambda x: -0.15 * x),
    "l2": (b.L2Norm(4), lambda x: F.normalize(x, dim=-1)),
    "maxout": (b.GroupMax(2), lambda x: x.unflatten(-1, (2, 2)).amax(-1)),
}


@pytest.mark.parametrize("name", sorted(POINTWISE))
def test_forwards_without_parameters_are_torchs(name):
    block, reference = POINTWISE[name]
    x = random(7, 4)
    torch.testing.assert_close(run_block(block, x, VECTOR), reference(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("slopes", [1, 4])
def test_prelu_is_torchs(slopes):
    module = nn.PReLU(slopes).double()
    nn.init.normal_(module.weight)
    x = random(5, 4, 3)
    y = run_block(b.PReLU(slopes), x, image(4, 3), module.parameters())
    torch.testing.assert_close(y, module(x), rtol=1e-12, atol=1e-12)
    assert list(Architecture(b.PReLU(slopes), image(4, 3)).parameters) == ["prelu.weight"]


def test_embedding_with_padding_is_torchs():
    module = nn.Embedding(6, 3, padding_idx=2).double()
    x = torch.randint(6, (4, 5), generator=GENERATOR)
    y = run_block(b.Embedding(6, 3, padding_index=2), x, b.Signal(6, (5,), tokens=True), module.parameters())
    torch.testing.assert_close(y, module(x))


NORMS = {
    "instance 1d": (b.InstanceNorm(4, True, True), nn.InstanceNorm1d(4, affine=True), image(4, 6)),
    "instance 2d": (b.InstanceNorm(4), nn.InstanceNorm2d(4), image(4, 3, 3)),
    "group": (b.GroupNorm(2, 4), nn.GroupNorm(2, 4), image(4, 3, 3)),
    "batch, training": (b.BatchNorm(4), nn.BatchNorm2d(4), image(4, 3, 3)),
}


@pytest.mark.parametrize("name", sorted(NORMS))
def test_norms_are_torchs(name):
    net, module, signal = NORMS[name]
    module = module.double()
    for p in module.parameters():
        nn.init.normal_(p)
    x = random(5, *signal.shape)
    torch.testing.assert_close(run_block(net, x, signal, module.parameters()), module(x), rtol=1e-10, atol=1e-10)


def test_layer_norm_of_an_image_normalises_its_channels():
    module = nn.LayerNorm(4).double()
    nn.init.normal_(module.weight)
    x = random(5, 4, 3, 3)
    wanted = module(x.movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(run_block(b.LayerNorm(4), x, image(4, 3, 3), module.parameters()), wanted)


def test_frozen_batch_norm_is_torchs_in_evaluation():
    module = nn.BatchNorm1d(4).double().eval()
    module.running_mean.normal_(generator=GENERATOR)
    module.running_var.uniform_(0.5, 2, generator=GENERATOR)
    state = {"core.running_mean": module.running_mean, "core.running_var": module.running_var}
    x = random(5, 4, 3)
    net = b.BatchNorm(4, frozen_statistics=True)
    y = run_block(net, x, image(4, 3), module.parameters(), b.Run(state=state))
    torch.testing.assert_close(y, module(x))
    # Without buffers the statistics are fixed numbers, the same for every run.
    assert torch.equal(run_block(net, x, image(4, 3)), run_block(net, x, image(4, 3)))


@pytest.mark.parametrize("value_first", [True, False])
def test_a_packed_gate_is_torchs_glu(value_first):
    module = nn.Linear(4, 6).double()
    x = random(5, 4)
    halves = module(x).chunk(2, -1)
    wanted = F.glu(torch.cat(halves if value_first else halves[::-1], -1), -1)
    net = b.PackedGate(4, 3, b.Sigmoid(), value_first=value_first)
    torch.testing.assert_close(run_block(net, x, VECTOR, module.parameters()), wanted)


def test_squeeze_and_excitation_weighs_channels():
    first, second = nn.Linear(4, 2).double(), nn.Linear(2, 4).double()
    x = random(5, 4, 3, 3)
    gate = torch.sigmoid(second(torch.relu(first(x.mean((2, 3))))))
    y = run_block(b.SqueezeExcite(4, 2), x, image(4, 3, 3), [*first.parameters(), *second.parameters()])
    torch.testing.assert_close(y, x * gate[:, :, None, None])


def test_a_highway_blends():
    gate, value = nn.Linear(4, 4).double(), nn.Linear(4, 4).double()
    x = random(5, 4)
    t = torch.sigmoid(gate(x))
    y = run_block(b.Highway(4), x, VECTOR, [*gate.parameters(), *value.parameters()])
    torch.testing.assert_close(y, t * torch.relu(value(x)) + (1 - t) * x)


def test_the_mean_of_branches():
    x = random(5, 4)
    y = run_block(b.mean_of(b.ReLU(), b.Abs(), b.Identity()), x, VECTOR)
    torch.testing.assert_close(y, (torch.relu(x) + x.abs() + x) / 3)


def test_stochastic_depth_drops_whole_examples_and_rests_in_evaluation():
    x = random(400, 4, 3)
    y = run_block(b.StochasticDepth(0.25), x, image(4, 3))
    kept = (y != 0).flatten(1).any(1)
    assert 0.6 < kept.double().mean() < 0.9
    torch.testing.assert_close(y[kept], x[kept] / 0.75)
    assert torch.equal(run_block(b.StochasticDepth(0.25), x, image(4, 3), run=b.Run(training=False)), x)


GATED = {
    "hardswish": (b.HardSwish(), lambda x: (x > -3).double() + (x > 3).double()),
    "hardtanh": (b.HardTanh(), lambda x: (x > -1).double() + (x > 1).double()),
    "elu": (b.ELU(), lambda x: (x > 0).double()),
    "prelu": (b.PReLU(4), lambda x: (x > 0).double()),
    "maxout": (b.GroupMax(2), lambda x: x.unflatten(-1, (2, 2)).argmax(-1).double()),
}


@pytest.mark.parametrize("name", sorted(GATED))
def test_free_gates_at_the_real_pattern_give_the_real_function(name):
    block, pattern = GATED[name]
    x = random(9, 4)
    recording = b.Run(recording=True)
    wanted = run_block(block, x, VECTOR, run=recording)
    ((gate, (shape, _)),) = recording.recorded.items()
    assert shape == tuple(pattern(x).shape)
    torch.testing.assert_close(run_block(block, x, VECTOR, run=b.Run(gates={gate: pattern(x)})), wanted)


# --- counts ---------------------------------------------------------------------------------------------------------

WORDS = {"space": (3,)}
PADDED = b.Embedding(5, 3, padding_index=1)
C = b.Conv1d
POOL = b.GlobalAveragePool()


def biased(features: int, width: int) -> b.Linear:
    return b.Linear(features, width)


def parallel_biases(last: b.Net) -> b.Net:
    return b.parallel(b.ReLU() >> biased(2, 3), b.Abs() >> biased(2, 3) >> last) >> b.ReLU() >> linear(3, 3)


def tied(norm: b.Net) -> b.Net:
    embedding = b.Embedding(5, 3, padding_index=1)
    return embedding >> b.residual(b.MLP(3, 2)) >> norm >> b.TiedHead(embedding)


ATTENTION = b.SelfAttention(3, 1, 1, 2)
BLEND = b.parallel(b.Sigmoid(), b.ReLU() >> biased(3, 3), b.Abs() >> biased(3, 3), join=b.Blend())
# name: (network, options, laws under the squared loss and under cross-entropy)
COUNTS = {
    "padding": (b.Embedding(5, 3, padding_index=1) >> LEAKY >> linear(3, 3), WORDS, 6, 9),
    "padding beside positions": (PADDED >> b.LearnedPosition(3, 3) >> ATTENTION >> linear(3, 3), WORDS, 21, 24),
    "padding before RMSNorm": (PADDED >> b.RMSNormCore(3, 0.0) >> ATTENTION, WORDS, 13, 15),
    "padding, first token": (
        b.Embedding(5, 3, padding_index=0) >> b.RMSNormCore(3, 0.0) >> ATTENTION,
        WORDS,
        13,
        15,
    ),
    "padding before LayerNorm": (PADDED >> b.LayerNormCore(3, 0.0) >> ATTENTION, WORDS, 23, 25),
    "padding, tied head": (tied(b.Identity()), WORDS, 2, 2),
    "padding, tied head behind LayerNorm": (tied(b.LayerNorm(3, epsilon=0.0)), WORDS, 6, 6),
    "scale between maps": (biased(2, 3) >> b.Scale(-1.5) >> biased(3, 3), {}, 6, 10),
    "scaled bias": (parallel_biases(b.Scale(0.5)), {"input": b.Signal(2)}, 6, 9),
    "mean of branches": (
        b.mean_of(b.ReLU() >> biased(2, 3), b.Abs() >> biased(2, 3)) >> b.BatchNorm(3, epsilon=0.0) >> linear(3, 3),
        {"input": b.Signal(2)},
        12,
        15,
    ),
    "scale between norms": (
        linear(2, 3) >> b.LayerNormCore(3, 0.0) >> b.Scale(3.0) >> b.LayerNormCore(3, 0.0) >> linear(3, 3),
        {},
        6,
        8,
    ),
    "PReLU": (biased(2, 3) >> b.PReLU(3) >> biased(3, 3), {}, 3, 7),
    "PReLU, frozen slope": (biased(2, 3) >> b.PReLU(frozen=("weight",)) >> biased(3, 3), {}, 3, 7),
    "two PReLUs of one input": (
        b.parallel(b.PReLU() >> linear(3, 2), b.PReLU() >> linear(3, 2), join=b.Concat()) >> b.ReLU(),
        {"input": b.Signal(3)},
        0,
        0,
    ),
    "ReLU6": (biased(2, 3) >> b.ReLU6() >> biased(3, 3), {}, 0, 4),
    "hard swish": (biased(2, 3) >> b.HardSwish() >> biased(3, 3), {}, 0, 4),
    "ELU": (biased(2, 3) >> b.ELU() >> biased(3, 3), {}, 0, 4),
    "mish": (biased(2, 3) >> b.Pointwise("mish") >> biased(3, 3), {}, 0, 4),
    "one minus sigmoid": (biased(2, 3) >> b.Sigmoid() >> b.Pointwise("one_minus") >> biased(3, 3), {}, 0, 4),
    "maxout": (b.Maxout(2, 3) >> linear(3, 3), {}, 3, 6),
    "maxout of three": (b.Maxout(2, 2, 3, False) >> linear(2, 3), {}, 2, 4),
    "maxout before BatchNorm": (b.Maxout(2, 3) >> b.BatchNorm(3, epsilon=0.0) >> linear(3, 3), {}, 9, 12),
    "maxout before LayerNorm": (b.Maxout(2, 3) >> b.LayerNorm(3, epsilon=0.0) >> linear(3, 3), {}, 7, 10),
    "maxout of maxout": (b.Maxout(2, 4) >> b.GroupMax() >> linear(2, 3), {}, 2, 4),
    "maxout of parts": (
        b.parallel(linear(2, 2), biased(2, 4), join=b.Concat()) >> b.GroupMax() >> linear(3, 3),
        {"input": b.Signal(2)},
        3,
        6,
    ),
    "GLU, packed": (biased(2, 3) >> b.GLU(3, 2, True, packed=True) >> linear(3, 3), {}, 14, 17),
    "ReGLU, packed": (b.ReGLU(2, 3, True, packed=True) >> linear(2, 3), {}, 9, 11),
    "bilinear, packed": (b.BilinearGLU(2, 3, packed=True) >> linear(2, 3), {}, 9, 11),
    "GEGLU in a block": (
        b.residual(b.LayerNormCore(3, 0.0) >> b.GEGLU(3, 2, packed=True)) >> linear(3, 3),
        {"input": b.Signal(3)},
        6,
        9,
    ),
    "squeeze and excitation": (
        C(2, 3, 2) >> b.ReLU() >> b.SqueezeExcite(3, 2) >> C(3, 3, 1) >> LEAKY >> POOL,
        {"input": image(2, 4)},
        5,
        5,
    ),
    "squeeze and excitation on tokens": (
        linear(2, 3) >> b.SqueezeExcite(3, 2, LEAKY) >> linear(3, 3),
        {"input": tokens(2)},
        5,
        8,
    ),
    "layer scale": (linear(2, 3) >> b.residual(b.MLP(3, 2) >> b.LayerScale(3)) >> linear(3, 3), {}, 8, 11),
    "highway": (biased(2, 3) >> b.Highway(3) >> linear(3, 3), {}, 3, 6),
    "blended constants": (BLEND >> b.BatchNormCore(3, 0.0) >> linear(3, 3), {"input": b.Signal(3)}, 6, 9),
    "blend before LayerNorm": (BLEND >> b.LayerNorm(3, epsilon=0.0) >> linear(3, 3), {"input": b.Signal(3)}, 5, 8),
    "stochastic depth": (
        linear(2, 3) >> b.residual(b.MLP(3, 2) >> b.StochasticDepth(0.2)) >> linear(3, 3),
        {},
        8,
        11,
    ),
    "stochastic depth around a map": (
        biased(2, 3) >> b.residual(biased(3, 3) >> b.StochasticDepth(0.2)) >> linear(3, 3),
        {},
        6,
        9,
    ),
    "stochastic depth before BatchNorm": (
        biased(2, 3)
        >> b.residual(b.ReLU() >> biased(3, 3) >> b.StochasticDepth(0.2))
        >> b.BatchNorm(3, epsilon=0.0)
        >> linear(3, 3),
        {},
        6,
        9,
    ),
    "InstanceNorm": (
        C(2, 3, 2) >> b.InstanceNorm(3, True, True, 0.0) >> b.ReLU() >> C(3, 3, 1) >> LEAKY >> POOL,
        {"input": image(2, 5)},
        9,
        9,
    ),
    "InstanceNorm of parts": (
        b.parallel(biased(3, 2) >> b.ReLU(), biased(3, 2), join=b.Concat())
        >> b.InstanceNormCore(4, 0.0)
        >> LEAKY
        >> linear(4, 3),
        {"input": tokens(3, 4)},
        6,
        10,
    ),
    "GroupNorm of parts": (
        b.parallel(biased(3, 3) >> b.ReLU(), biased(3, 3), join=b.Concat())
        >> b.GroupNorm(2, 6, epsilon=0.0)
        >> LEAKY
        >> linear(6, 3),
        {"input": b.Signal(3)},
        12,
        18,
    ),
    "two maps before InstanceNorm": (
        biased(2, 3) >> biased(3, 2) >> b.InstanceNormCore(2, 0.0) >> b.ReLU() >> linear(2, 3),
        {"input": tokens(2, 4)},
        13,
        15,
    ),
    "L2 norm": (biased(2, 3) >> b.L2Norm(3) >> linear(3, 3), {}, 1, 4),
    "L2 norm before RMSNorm": (linear(2, 3) >> b.L2Norm(3) >> b.RMSNormCore(3, 0.0) >> linear(3, 3), {}, 1, 4),
    "LayerNorm of channels": (
        C(2, 3, 2) >> b.LayerNorm(3, epsilon=0.0) >> C(3, 3, 1) >> LEAKY >> POOL,
        {"input": image(2, 4)},
        9,
        9,
    ),
    "frozen BatchNorm": (
        linear(2, 3) >> b.BatchNorm(3, frozen_statistics=True) >> b.ReLU() >> linear(3, 3),
        {},
        3,
        6,
    ),
    "frozen BatchNorm behind tanh": (
        biased(2, 3) >> b.Tanh() >> b.BatchNorm(3, frozen_statistics=True) >> linear(3, 3),
        {},
        3,
        6,
    ),
}


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("name", sorted(COUNTS))
def test_engine_and_oracle_agree(name, loss):
    net, options, mse, cross_entropy = COUNTS[name]
    arch = Architecture(net, **options)
    laws = derive(arch, loss)
    oracle = count(arch, loss, known=laws.independent)
    assert oracle.verdict is Verdict.HOLDS
    assert (laws.independent, oracle.laws) == (mse if loss == "mse" else cross_entropy,) * 2
    assert gradient_rank(arch, laws) == laws.independent
    assert laws.verify(arch).residual < 1e-9


# What depends on fixed numbers, or joins a constant with a factor: laws that the rules do not list, and how many.
MISSING = {
    "bias answers for a frozen mean": (biased(2, 3) >> b.FrozenBatchNorm(3) >> b.ReLU() >> linear(3, 3), {}, 3),
    "biases around a frozen gain": (biased(2, 3) >> b.FrozenBatchNorm(3) >> biased(3, 3), {}, 3),
    "frozen gain before LayerNorm": (
        linear(2, 3) >> b.FrozenBatchNorm(3) >> b.LayerNorm(3, epsilon=0.0) >> linear(3, 3),
        {},
        2,
    ),
    "one minus a linear map": (linear(2, 3) >> b.Pointwise("one_minus") >> biased(3, 3), {}, 3),
    "exp of a bias": (biased(2, 3) >> b.Pointwise("exp") >> biased(3, 3), {}, 3),
    "skip around a maxout": (biased(2, 3) >> b.residual(b.Maxout(3, 3)) >> linear(3, 3), {}, 6),
    "random skip around a map before a norm": (
        biased(2, 3)
        >> b.residual(biased(3, 3) >> b.StochasticDepth(0.2))
        >> b.LayerNorm(3, epsilon=0.0)
        >> linear(3, 3),
        {},
        1,
    ),
}


@pytest.mark.parametrize("name", sorted(MISSING))
def test_what_the_rules_do_not_list(name):
    net, options, missing = MISSING[name]
    arch = Architecture(net, **options)
    oracle = count(arch)
    assert oracle.verdict is Verdict.HOLDS
    assert oracle.laws - derive(arch).independent == missing


def test_a_bias_and_the_maps_behind_an_exponential_are_balanced():
    """`exp(x + t) = e^t exp(x)`: a constant before is a factor behind, so `b_j - ||W_:j||^2 / 2` is conserved."""
    arch = Architecture(biased(2, 3) >> b.Pointwise("exp") >> linear(3, 3))
    for point in arch.points("mse", 2, 0, False):
        bias = point.gradient["0.bias"]
        weight, change = point.parameters["2.weight"], point.gradient["2.weight"]
        torch.testing.assert_close(bias, (weight * change).sum(0))


# --- the contract of a block ----------------------------------------------------------------------------------------

FILES = (
    "batchnorm",
    "conv",
    "gates",
    "joins",
    "linear",
    "norms",
    "piecewise",
    "pointwise",
    "pooling",
    "position",
    "resample",
    "spectators",
    "windows",
)
SIGNALS = [
    b.Signal(4),
    b.Signal(3, (4,)),
    b.Signal(5, (3,), tokens=True),
    image(3, 4),
    image(8, 4, 4),
    image(4, 4, 4, 4),
    b.Signal(3, (4, 4)),
]
KINDS = sorted(k for k, c in b.kinds().items() if c.__module__.split(".")[-1] in FILES)
WITHOUT = {"ConcatTokens", "Mixture"}  # these change positions, or need a router


@pytest.mark.parametrize("kind", KINDS)
def test_examples_keep_positions_and_run(kind):
    found = 0
    for signal in SIGNALS:
        for net in b.kinds()[kind].examples(signal):
            out = output_signal(net, signal)
            assert (out.space, out.channels_first) == (signal.space, signal.channels_first)
            arch = Architecture(net, signal)
            assert kind in {arch.block(n).kind for n in arch.nodes}
            generator = torch.Generator().manual_seed(0)
            y = arch.forward(arch.random_parameters(generator), arch.random_inputs(5, generator))
            assert tuple(y.shape[1:]) == out.shape and bool(torch.isfinite(y).all())
            assert Architecture.from_json(arch.to_json()).to_json() == arch.to_json()
            derive(arch)
            found += 1
    assert bool(found) is (kind not in WITHOUT)


@pytest.mark.parametrize("kind", KINDS)
def test_every_block_says_what_it_is(kind):
    cls = b.kinds()[kind]
    assert cls.summary and cls.source and cls.__doc__


@pytest.mark.parametrize(
    "make",
    [
        lambda: b.Embedding(5, 3, padding_index=5),
        lambda: b.Embedding(5, 3, padding_index=-2),
        lambda: b.Scale(0.0),
        lambda: b.Scale(float("nan")),
        lambda: b.StochasticDepth(1.0),
        lambda: b.Piecewise("relu7"),
        lambda: b.HardTanh(1.0, -1.0),
        lambda: b.ELU(0.0),
        lambda: b.mean_of(b.ReLU()),
        lambda: Architecture(b.PReLU(3), b.Signal(4)),
        lambda: Architecture(b.GroupMax(3), b.Signal(4)),
        lambda: Architecture(b.InstanceNormCore(3), b.Signal(3)),
        lambda: Architecture(b.parallel(b.Sigmoid(), b.ReLU(), join=b.Blend()), b.Signal(3)),
        lambda: Architecture(b.parallel(POOL, b.Identity(), join=b.Product()), image(3, 4)),
    ],
)
def test_bad_blocks_are_refused(make):
    with pytest.raises(b.ShapeError):
        make()


SHRINKING = {
    "padding": b.Embedding(100, 64, padding_index=99) >> b.residual(b.LayerNorm(64) >> b.SwiGLU(64, 128, packed=True)),
    "maxout": b.Maxout(32, 48, 4) >> b.BatchNorm(48) >> b.Linear(48, 10),
    "gates": b.Linear(32, 64) >> b.PReLU(64) >> b.Highway(64) >> b.GLU(64, 32, packed=True) >> b.Linear(64, 10),
    "image": b.Conv2d(3, 32, 3)
    >> b.InstanceNorm(32, True, True)
    >> b.ReLU6()
    >> b.SqueezeExcite(32, 8)
    >> b.GlobalMaxPool()
    >> b.Linear(32, 10),
}


@pytest.mark.parametrize("name", sorted(SHRINKING))
def test_these_blocks_shrink(name):
    arch = Architecture(SHRINKING[name])
    small = arch.shrink().with_epsilon(0.0)
    assert sum(p.size for p in small.parameters.values()) < 300
    assert {small.block(n).kind for n in small.nodes} == {arch.block(n).kind for n in arch.nodes}
    laws, oracle = derive(small), count(small)
    assert oracle.verdict is Verdict.HOLDS
    assert laws.independent == oracle.laws
