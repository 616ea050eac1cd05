"""Small copies: what is cut, what stays, and that engine and oracle agree on every one of them."""

from collections.abc import Callable

import pytest

from lawful import blocks as b
from lawful.graph import families
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive

LLAMA_70B = dict(layers=80, width=8192, heads=64, kv_heads=8, hidden=28672)

# Laws of cross-entropy contain those of a loss that sees everything; the night counts both.
LOSSES = [pytest.param("mse", marks=pytest.mark.nightly), "cross_entropy"]


def trainable(arch: Architecture) -> int:
    return sum(p.size for p in arch.parameters.values() if not p.frozen)


def agree(arch: Architecture, loss: str) -> None:
    small = arch.shrink().with_epsilon(0.0)
    tries = (count(small, loss, seed=seed) for seed in range(3))  # at some points no gap is wide enough
    counted = next((c for c in tries if c.verdict != "undecided"), count(small, loss))
    assert (derive(small, loss).independent, counted.verdict) == (counted.laws, "holds")


QUICK: dict[str, Callable[[], Architecture]] = {
    "mlp": lambda: families.mlp([784, 256, 256, 10]),
    "basic": lambda: families.resnet((1, 2), stem="cifar", space=(32, 32)),
    "bottleneck": lambda: families.resnet((2,), bottleneck=True, stem="cifar", space=(32, 32)),
}
LONG: dict[str, Callable[[], Architecture]] = {
    "llama 70b": lambda: families.llama(**LLAMA_70B),
    "vgg": lambda: families.vgg([[64, 64], [128, 128]], space=(32, 32)),
    "llama": families.llama,
    "gpt2": families.gpt2,
    "tied llama": lambda: families.llama(tied=True),
    "resnet18": families.resnet18,
    "resnet50": families.resnet50,
    "vgg16": families.vgg16,
    "vgg16 with batch norm": lambda: families.vgg16(batch_norm=True),
    "vit": families.vit,
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("make", QUICK.values(), ids=QUICK)
def test_engine_and_oracle_agree(make: Callable[[], Architecture], loss: str) -> None:
    agree(make(), loss)


@pytest.mark.nightly
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("make", LONG.values(), ids=LONG)
def test_engine_and_oracle_agree_on_large_families(make: Callable[[], Architecture], loss: str) -> None:
    agree(make(), loss)


@pytest.mark.parametrize(
    ("name", "most"),
    [(n, 300) for n in ("mlp", "gpt2", "llama", "llama 70b", "tied llama", "vit")]
    + [("vgg16", 400), ("resnet50", 550), ("resnet18", 650)],
)
def test_small_copies_are_small(name: str, most: int) -> None:
    small = (QUICK | LONG)[name]().shrink()
    assert trainable(small) <= most
    assert min(s.features for s in small.signals.values()) >= 2


@pytest.mark.parametrize("name", ["mlp", "gpt2", "llama", "llama 70b", "vit"])
def test_shrinking_twice_changes_nothing(name: str) -> None:
    once = (QUICK | LONG)[name]().shrink()
    twice = once.shrink()
    assert {n: p.shape for n, p in once.parameters.items()} == {n: p.shape for n, p in twice.parameters.items()}


def test_repeated_layers_are_cut_to_one() -> None:
    small = families.llama(layers=5, context=8).shrink()
    assert {n.split(".")[1] for n in small.nodes if n.startswith("layers")} == {"0"}
    assert small.inputs[0].space == (4,) and small.inputs[0].tokens


def test_blocks_that_differ_stay() -> None:
    small = families.resnet34().shrink()
    assert {n.split(".")[1] for n in small.nodes if n.startswith("layer1")} == {"0"}
    assert {n.split(".")[1] for n in small.nodes if n.startswith("layer3")} == {"0", "1"}
    assert small.block("layer3.0.downsample.0").kernel == 1
    assert small.block("conv1").kernel == 3


def test_a_period_of_several_layers_is_cut() -> None:
    layers = [part for _ in range(3) for part in (b.Linear(8, 8), b.ReLU(), b.Linear(8, 8), b.Tanh())]
    small = Architecture(b.repeat(layers)).shrink()
    assert [small.block(n).kind for n in small.nodes] == ["Linear", "ReLU", "Linear", "Pointwise"]


def test_shared_layers_are_cut_to_two() -> None:
    layer = b.residual(b.MLP(8, 16))
    head = b.Linear(8, 4)
    small = Architecture(b.chain(layers=b.repeat([layer] * 6), head=head)).shrink()
    assert sum(small.block(n).kind == "Add" for n in small.nodes) == 2
    assert len({id(small.block(n)) for n in small.nodes if n.endswith("up")}) == 1
    agree(small, "mse")


def test_a_layer_read_elsewhere_is_not_cut() -> None:
    shared = b.Linear(6, 6)
    net = b.chain(layers=b.repeat([b.Linear(6, 6), b.Linear(6, 6), shared]), act=b.ReLU(), again=shared)
    small = Architecture(net).shrink()
    assert small.parameter_names("again") == small.parameter_names("layers.2")


def test_frozen_layers_are_not_taken_for_trainable_ones() -> None:
    net = b.repeat([b.Linear(6, 6), b.frozen(b.Linear(6, 6)), b.Linear(6, 6)])
    small = Architecture(net).shrink()
    assert len(small.nodes) == 3
    assert small.frozen == {"1.weight", "1.bias"}


def test_heads_follow_the_attention_that_reads_them() -> None:
    small = families.llama(**LLAMA_70B).shrink()
    heads = "layers.0.attention.branch.attention.heads"
    core = small.block(f"{heads}.dotproductattention")
    assert (core.heads, core.kv_heads) == (4, 2)
    assert (small.block(f"{heads}.q.rotary").heads, small.block(f"{heads}.k.rotary").heads) == (4, 2)


def test_tables_follow_the_tokens() -> None:
    assert families.gpt2().shrink().block("position.table").tokens == 4
    vit = families.vit().shrink()
    assert (vit.block("position.table").tokens, vit.block("class_token.token").tokens) == (5, 1)


def test_a_tied_head_stays_tied() -> None:
    small = families.gpt2().shrink()
    assert small.parameter_names("head")["weight"] == "embedding.weight"
    assert small.block("head").ties["weight"].block is small.block("embedding")


TOKENS = b.Signal(12, (16,))
IMAGE = b.Signal(6, (16, 16), channels_first=True)


def fused_attention() -> b.Net:
    return b.Wiring(
        {
            "qkv": b.Linear(12, 36),
            "split": b.Split((12, 12, 12)),
            "core": b.DotProductAttention(3),
            "out": b.Linear(12, 12),
        },
        {"qkv": ("input",), "split": ("qkv",), "core": ("split:0", "split:1", "split:2"), "out": ("core",)},
        ("out",),
    )


@pytest.mark.parametrize(
    ("net", "signal"),
    [
        (fused_attention(), TOKENS),
        (b.parallel(b.Linear(12, 8) >> b.ReLU(), b.Linear(12, 20), join=b.Concat()) >> b.Linear(28, 9), TOKENS),
        (b.Split((5, 7)) >> b.Concat() >> b.Linear(12, 3), TOKENS),
        (b.Conv2d(6, 12, 3, groups=6) >> b.ReLU() >> b.GlobalAveragePool() >> b.Linear(12, 5), IMAGE),
        (b.Conv2d(6, 12, 3, groups=3) >> b.ReLU() >> b.GlobalAveragePool() >> b.Linear(12, 5), IMAGE),
        (b.Conv2d(6, 24, 5, 2, 2) >> b.GroupNorm(8, 24) >> b.ReLU() >> b.Flatten() >> b.Linear(24 * 64, 5), IMAGE),
        (b.Conv2d(6, 8, 4, 4) >> b.AveragePool2d(2) >> b.ToTokens() >> b.Linear(8, 7), IMAGE),
        (b.Linear(12, 8) >> b.MixtureOfExperts(8, [b.MLP(8, 9) for _ in range(3)]), b.Signal(12)),
        (b.Recurrent(12, 9, 3) >> b.Linear(9, 6), b.Signal(12, (3,))),
    ],
    ids=["fused", "concat", "split", "depthwise", "grouped", "group norm", "patches", "experts", "recurrent"],
)
def test_every_kind_of_block_shrinks(net: b.Net, signal: b.Signal) -> None:
    arch = Architecture(net, input=signal)
    small = arch.shrink()
    assert trainable(small) < min(trainable(arch), 300)
    agree(small, "mse")


def test_what_is_tiny_already_keeps_its_widths() -> None:
    arch = families.mlp([1, 2, 1])
    assert {n: p.shape for n, p in arch.shrink().parameters.items()} == {n: p.shape for n, p in arch.parameters.items()}


def test_tokens_that_are_read_by_index_keep_their_number() -> None:
    arch = Architecture(b.Recurrent(12, 9, 7) >> b.Linear(9, 6), input=b.Signal(12, (7,)))
    assert arch.shrink().inputs[0].space == (7,)
