"""Published vision networks: parameter totals, names, shapes, forwards, and small members checked by the oracle."""

from collections.abc import Callable

import pytest
import torch

from lawful.blocks import ShapeError, Signal
from lawful.graph import families as f
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import acceptable, check, verify
from lawful.graph.questions.derive import derive

Make = Callable[[], Architecture]

# Laws of cross-entropy contain those of a loss that sees everything; the night counts both.
LOSSES = [pytest.param("mse", marks=pytest.mark.nightly), "cross_entropy"]


def total(arch: Architecture) -> int:
    return sum(p.size for p in arch.parameters.values())


# torchvision 0.28 and timm 1.0 count the same; where neither has the network, the source is named.
PUBLISHED: dict[str, tuple[Make, int]] = {
    "vgg11": (f.vgg11, 132_863_336),
    "vgg13": (f.vgg13, 133_047_848),
    "vgg16": (f.vgg16, 138_357_544),
    "vgg19": (f.vgg19, 143_667_240),
    "vgg11_bn": (lambda: f.vgg11(batch_norm=True), 132_868_840),
    "vgg13_bn": (lambda: f.vgg13(batch_norm=True), 133_053_736),
    "vgg16_bn": (lambda: f.vgg16(batch_norm=True), 138_365_992),
    "vgg19_bn": (lambda: f.vgg19(batch_norm=True), 143_678_248),
    "resnet18": (f.resnet18, 11_689_512),
    "resnet34": (f.resnet34, 21_797_672),
    "resnet50": (f.resnet50, 25_557_032),
    "resnet50_gn": (lambda: f.resnet50(norm="group"), 25_557_032),
    "resnet101": (f.resnet101, 44_549_160),
    "resnet152": (f.resnet152, 60_192_808),
    "wide_resnet50_2": (f.wide_resnet50_2, 68_883_240),
    "resnext50_32x4d": (f.resnext50_32x4d, 25_028_904),
    "resnext101_32x8d": (f.resnext101_32x8d, 88_791_336),
    "resnetv2_50": (f.preact_resnet, 25_549_352),
    # He et al. 2016b (1.7M) and Zagoruyko, Komodakis 2016 (36.5M)
    "preact_resnet164": (lambda: f.preact_resnet((18,) * 3, classes=10, width=16, stem="cifar"), 1_703_258),
    "wrn_28_10": (f.wide_resnet, 36_479_194),
    "densenet121": (f.densenet121, 7_978_856),
    "densenet169": (f.densenet169, 14_149_480),
    "densenet201": (f.densenet201, 20_013_928),
    # Huang et al. 2017, table 2: DenseNet-BC, k = 12, depth 100, 0.8M
    "densenet_bc_100": (lambda: f.densenet((16,) * 3, growth=12, stem="cifar", classes=10, space=(32, 32)), 769_162),
    "mobilenet_v2": (f.mobilenet_v2, 3_504_872),
    "mobilenet_v3_large": (f.mobilenet_v3_large, 5_483_032),
    "mobilenet_v3_small": (f.mobilenet_v3_small, 2_542_856),
    "efficientnet_b0": (f.efficientnet_b0, 5_288_548),
    "efficientnet_b4": (lambda: f.efficientnet(1.4, 1.8), 19_341_616),
    "convnext_tiny": (f.convnext_tiny, 28_589_128),
    "convnext_small": (f.convnext_small, 50_223_688),
    "convnext_base": (f.convnext_base, 88_591_464),
    # Ronneberger et al. 2015 (31.0M), and the same with BatchNorm for colour images and one class
    "unet": (f.unet, 31_030_658),
    "unet_bn": (lambda: f.unet(channels=3, classes=1, batch_norm=True), 31_037_633),
    "vit_tiny": (lambda: f.vit(width=192, heads=3, hidden=768), 5_717_416),
    "vit_small": (lambda: f.vit(width=384, heads=6, hidden=1536), 22_050_664),
    "vit_base": (f.vit, 86_567_656),
    "vit_large": (lambda: f.vit(layers=24, width=1024, heads=16, hidden=4096), 304_326_632),
    "deit_tiny": (lambda: f.deit(width=192, heads=3, hidden=768), 5_910_800),
    "deit_small": (lambda: f.deit(width=384, heads=6, hidden=1536), 22_436_432),
    "deit_base": (f.deit, 87_338_192),
    "swin_t": (f.swin_t, 28_288_354),
    "swin_s": (f.swin_s, 49_606_258),
    "swin_b": (f.swin_b, 87_768_224),
    "mixer_s16": (lambda: f.mlp_mixer(layers=8, width=512, hidden_tokens=256, hidden=2048), 18_528_264),
    "mixer_b16": (f.mlp_mixer, 59_880_472),
}

# One small member of every line of networks, which the oracle counts in seconds.
MEMBERS: dict[str, Make] = {
    "vgg with BatchNorm": lambda: f.vgg([[64], [128]], hidden=64, space=(16, 16), batch_norm=True),
    "bottlenecks": lambda: f.resnet((1,), bottleneck=True, space=(32, 32)),
    "resnext": lambda: f.resnet((1,), bottleneck=True, groups=32, group_width=4, stem="cifar", space=(32, 32)),
    "no norm": lambda: f.resnet((1,), norm="none", stem="cifar", space=(32, 32)),
    "preact without norm": lambda: f.preact_resnet((1,), norm="none", stem="cifar", space=(32, 32)),
    "densenet with a transition": lambda: f.densenet((1, 1), stem="cifar", space=(32, 32)),
    "unet": lambda: f.unet(depth=1),
    "mixer": f.mlp_mixer,
}
# Longer than about 15 seconds, and the published sizes.
LONG: dict[str, Make] = {
    "preact": lambda: f.preact_resnet((2,), stem="cifar", space=(32, 32)),
    "resnet": lambda: f.resnet((1, 1), stem="cifar", space=(32, 32)),
    "efficientnet": lambda: f.efficientnet(stages=((1, 3, 1, 16, 1), (6, 5, 2, 24, 2))),
    "wide": lambda: f.preact_resnet((1, 1), bottleneck=False, widen=2, stem="cifar", space=(32, 32), dropout=0.3),
    "vgg": lambda: f.vgg([[64], [128]], hidden=64, space=(16, 16)),
    "densenet": lambda: f.densenet((2,), space=(64, 64)),
    "unet with BatchNorm": lambda: f.unet(depth=1, batch_norm=True),
    "two stages of mobilenet_v2": lambda: f.mobilenet_v2(stages=((1, 8, 1, 1), (6, 16, 2, 2))),
    "two stages of mobilenet_v3": lambda: f.mobilenet_v3(((3, 16, 16, 1, 0, 2), (5, 72, 24, 1, 1, 1)), 64),
    "group norm": lambda: f.resnet(
        (1,), norm="group", norm_groups=2, width=4, stem="cifar", space=(3, 3), channels=2, classes=3
    ),
    "convnext": lambda: f.convnext((1,), (96,)),
    "convnext with stochastic depth": lambda: f.convnext((2,), (96,), drop=0.1),
    "two stages of convnext": lambda: f.convnext((1, 2), (96, 192)),
    "deep unet": f.unet,
    "swin": lambda: f.swin((2,), 96, (3,)),
    "swin with merging": lambda: f.swin((1, 1), 96, (3, 6)),
    "vit": f.vit,
    "deit": f.deit,
    "averaged deit": lambda: f.deit(averaged=True),
    "two dense blocks": lambda: f.densenet((2, 2), stem="cifar", space=(32, 32)),
    "wide resnet": lambda: f.wide_resnet(10, 2),
    "resnet50": f.resnet50,
    "vgg16": f.vgg16,
    "mobilenet_v2": f.mobilenet_v2,
    "mobilenet_v3_small": f.mobilenet_v3_small,
    "efficientnet_b0": lambda: f.efficientnet_b0(drop=0),
}


def lawful(arch: Architecture, loss: str) -> None:
    found = check(arch.shrink(), loss)
    assert found.complete, found.summary
    # A unit that is dead at the few points of a check leaves its law untested; more points reach every unit.
    report = found.report if found.holds else verify(found.verified_on, found.verified_laws, samples=40)
    assert acceptable(report, found.verified_laws), [r for r in report.laws if not r.verdict.passed]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("make", MEMBERS.values(), ids=MEMBERS)
def test_small_members_are_complete_and_lawful(make: Make, loss: str) -> None:
    lawful(make(), loss)


@pytest.mark.nightly
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("make", LONG.values(), ids=LONG)
def test_large_members_are_complete_and_lawful(make: Make, loss: str) -> None:
    lawful(make(), loss)


@pytest.mark.parametrize(("make", "parameters"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_parameter_totals(make: Make, parameters: int) -> None:
    assert total(make()) == parameters


def full(n: int) -> int:
    """Dimension of the symmetric matrices."""
    return n * (n + 1) // 2


def test_laws_at_full_size_that_can_be_counted_by_hand() -> None:
    # one for every channel behind a ReLU
    assert derive(f.vgg16()).independent == 2 * (64 + 128) + 3 * (256 + 512 + 512) + 2 * 4096
    # and a symmetric matrix where a transposed convolution is read by a convolution
    widths = [64 * 2**i for i in range(5)]
    assert derive(f.unet()).independent == 2 * sum(widths) + sum(2 * n + full(n) for n in widths[:4])


def parameters(arch: Architecture) -> set[str]:
    return set(arch.parameters)


@pytest.mark.parametrize(
    ("make", "some"),
    [
        (f.resnet50, "conv1.weight layer1.0.conv1.weight layer3.5.conv3.weight layer4.0.downsample.0.weight fc.bias"),
        (f.resnet50, "bn1.affine.weight layer1.0.bn2.affine.bias layer2.0.downsample.1.affine.weight"),
        (f.densenet121, "features.conv0.weight features.denseblock4.denselayer16.conv2.weight classifier.weight"),
        (f.densenet121, "features.transition3.norm.affine.bias features.norm5.affine.weight"),
        (
            f.mobilenet_v2,
            "features.0.0.weight features.1.conv.1.weight features.17.conv.3.affine.bias",
        ),
        (f.mobilenet_v3_large, "features.4.block.2.weights.fc1.weight features.16.0.weight classifier.3.weight"),
        (f.efficientnet_b0, "features.6.3.block.1.0.weight features.8.1.affine.weight classifier.1.weight"),
        (f.convnext_tiny, "features.5.8.block.5.weight features.7.2.layer_scale.weight classifier.2.bias"),
        (f.swin_t, "features.5.5.attn.attention.qkv.weight features.6.reduction.weight features.7.1.mlp.3.bias"),
        (f.preact_resnet, "layer1.0.downsample.weight layer4.2.bn3.affine.weight bn.affine.bias"),
        (f.unet, "down0.0.weight down4.2.bias upsample3.weight up0.0.weight head.weight"),
        (f.deit, "class_token.token.weight dist_token.token.weight head.weight head_dist.bias"),
        (f.mlp_mixer, "stem.proj.weight blocks.11.channels.branch.mlp_channels.fc2.bias head.weight"),
    ],
)
def test_parameters_have_the_names_of_torchvision_and_timm(make: Make, some: str) -> None:
    assert set(some.split()) <= parameters(make())


def test_only_the_first_block_of_a_stage_has_a_downsample() -> None:
    names = parameters(f.resnet50())
    assert {n for n in names if "downsample.0" in n} == {f"layer{i}.0.downsample.0.weight" for i in (1, 2, 3, 4)}


def test_vgg_has_the_names_of_torchvision() -> None:
    names = parameters(f.vgg16())
    convolutions = {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}
    assert {int(n.split(".")[1]) for n in names if n.startswith("features")} == convolutions
    assert {int(n.split(".")[1]) for n in names if n.startswith("classifier")} == {0, 3, 6}


@pytest.mark.parametrize(
    ("make", "ends"),
    [
        (f.resnet50, {"layer1.2.relu": (256, 56), "layer2.3.relu": (512, 28), "layer4.2.relu": (2048, 7)}),
        (f.preact_resnet, {"layer1.2.add": (256, 56), "layer4.2.add": (2048, 7)}),
        (f.wide_resnet, {"layer1.3.add": (160, 32), "layer3.3.add": (640, 8)}),
        (f.densenet121, {"features.denseblock1.concat": (256, 56), "features.denseblock4.concat": (1024, 7)}),
        (f.mobilenet_v2, {"features.3.add": (24, 56), "features.17.conv.3.affine": (320, 7)}),
        (f.efficientnet_b0, {"features.4.2.add": (80, 14), "features.8.2": (1280, 7)}),
        (f.convnext_tiny, {"features.1.2.add": (96, 56), "features.7.2.add": (768, 7)}),
        (f.swin_t, {"features.1.1.add2": (96, 56), "features.7.1.add2": (768, 7)}),
        (f.unet, {"down4.3": (1024, 32), "up0.3": (64, 512)}),
    ],
)
def test_shapes_stage_by_stage(make: Make, ends: dict[str, tuple[int, int]]) -> None:
    signals = make().signals
    assert {n: (signals[n, 0].features, signals[n, 0].space) for n in ends} == {
        n: (features, (side, side)) for n, (features, side) in ends.items()
    }


def test_a_skip_of_a_u_net_comes_before_what_is_upsampled() -> None:
    assert f.unet(depth=2).sources("concat1") == [("down1.3", 0), ("upsample1", 0)]


def test_every_dense_layer_reads_all_layers_before_it() -> None:
    arch = f.densenet((3,), stem="cifar", space=(32, 32))
    sources = [n for n, _ in arch.sources("features.denseblock1.concat3")]
    assert sources == ["features.conv0", *(f"features.denseblock1.denselayer{i}.conv2" for i in (1, 2))]


def test_branches_are_dropped_the_more_often_the_deeper_they_are() -> None:
    arch = f.convnext_tiny()
    drops = [arch.block(n).config()["probability"] for n in arch.nodes if n.endswith("stochastic_depth")]
    assert drops == pytest.approx([0.1 * i / 17 for i in range(1, 18)])


def test_distilled_transformers_have_two_outputs_or_their_mean() -> None:
    small = dict(classes=5, layers=1, width=6, heads=2, hidden=4, patch=2, space=(4, 4), channels=1)
    two, mean = f.deit(**small), f.deit(**small, averaged=True)
    assert two.outputs == (Signal(5), Signal(5))
    values = two.random_parameters(torch.Generator().manual_seed(0))
    x = two.random_inputs(3, torch.Generator().manual_seed(0))
    a, b = two.forward(values, x)
    torch.testing.assert_close((a + b) / 2, mean.forward(values, x))
    assert not torch.allclose(a, b)


def test_every_second_block_of_swin_shifts_its_windows_where_there_are_several() -> None:
    shifts = {n: n.split(".")[1:3] for n in f.swin_t().nodes if n.endswith("attn.shift")}
    assert sorted(shifts.values()) == [["1", "1"], ["3", "1"], ["5", "1"], ["5", "3"], ["5", "5"]]


TINY: list[tuple[Make, tuple[int, ...]]] = [
    (lambda: f.resnet18(classes=5, width=2, space=(32, 32)), (5,)),
    (lambda: f.resnet((1, 1), bottleneck=True, classes=3, width=2, stem="cifar", space=(6, 6), channels=1), (3,)),
    (lambda: f.resnet50(classes=3, width=32, space=(32, 32), norm="group"), (3,)),
    (lambda: f.resnet18(classes=3, width=2, space=(32, 32), norm="none"), (3,)),
    (lambda: f.resnext50_32x4d(classes=3, space=(32, 32)), (3,)),
    (lambda: f.wide_resnet(10, 1, classes=3, dropout=0.3), (3,)),
    (lambda: f.preact_resnet((1, 1), classes=3, width=4, space=(16, 16), norm="none"), (3,)),
    (lambda: f.densenet((2, 2), growth=2, classes=4, space=(32, 32), dropout=0.2), (4,)),
    (lambda: f.vgg16(classes=3, width=1, hidden=4, space=(32, 32), batch_norm=True), (3,)),
    (lambda: f.vgg([[2], [3]], 4, hidden=2, space=(8, 8), dropout=0), (4,)),
    (lambda: f.mobilenet_v2(classes=3, widen=0.25, space=(32, 32)), (3,)),
    (lambda: f.mobilenet_v3_small(classes=3, widen=0.5, space=(32, 32)), (3,)),
    (lambda: f.efficientnet_b0(classes=3, space=(32, 32)), (3,)),
    (lambda: f.convnext((1, 2), (4, 8), classes=3, space=(16, 16)), (3,)),
    (lambda: f.unet(classes=3, width=2, depth=2, channels=2, batch_norm=True, space=(8, 12)), (3, 8, 12)),
    (lambda: f.vit(classes=3, layers=2, width=6, heads=2, hidden=4, patch=2, space=(4, 4), channels=1), (3,)),
    (lambda: f.swin((2, 2), 4, (1, 2), classes=3, window=2, space=(32, 32)), (3,)),
    (lambda: f.mlp_mixer(classes=3, layers=2, width=4, hidden_tokens=3, hidden=5, patch=2, space=(4, 4)), (3,)),
]


@pytest.mark.parametrize(("make", "shape"), TINY)
def test_tiny_versions_run(make: Make, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    arch = make()
    inputs = arch.random_inputs(3, torch.Generator().manual_seed(0), torch.float32)
    out = arch.to_torch()(*inputs).detach()
    assert out.shape == (3, *shape)
    assert bool(torch.isfinite(out).all()) and float(out.std()) > 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: f.resnet18(stem="mnist"), "no stem 'mnist'"),
        (lambda: f.resnet18(norm="layer"), "no norm 'layer'; there are batch, group, none"),
        (lambda: f.preact_resnet(stem="mnist"), "no stem 'mnist'"),
        (lambda: f.densenet(stem="mnist"), "no stem 'mnist'"),
        (lambda: f.wide_resnet(depth=27), "the depth must be 10, 16, 22, 28"),
        (lambda: f.vgg16(space=(16, 16)), "use 32 or more"),
        (lambda: f.unet(space=(100, 100)), "cannot be halved 4 times; use multiples of 16"),
        (lambda: f.unet(depth=0), "depth is 0; it must be an integer of at least 1"),
        (lambda: f.vit(patch=15), "patches of 15 do not divide"),
        (lambda: f.vit(heads=7), "7 heads do not divide"),
        (lambda: f.deit(heads=7), "7 heads do not divide"),
        (lambda: f.mlp_mixer(patch=15), "patches of 15 do not divide"),
        (lambda: f.swin_t(space=(200, 200)), "use multiples of 224"),
    ],
)
def test_bad_arguments_are_refused(make: Make, says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        make()
