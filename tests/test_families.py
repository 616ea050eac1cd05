"""Published architectures: parameter totals, names, forwards of tiny versions, and refusals."""

from collections.abc import Callable

import pytest
import torch

from lawful.blocks import ShapeError
from lawful.graph import families
from lawful.graph.architecture import Architecture
from lawful.graph.engine import derive

LLAMA_70B = dict(layers=80, width=8192, heads=64, kv_heads=8, hidden=28672)


def total(arch: Architecture) -> int:
    return sum(p.size for p in arch.parameters.values())


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (families.resnet18, 11_689_512),
        (families.resnet34, 21_797_672),
        (families.resnet50, 25_557_032),
        (families.vgg16, 138_357_544),
        (lambda: families.vgg16(batch_norm=True), 138_365_992),
        (families.vit, 86_567_656),
        (families.gpt2, 124_439_808),
        (families.llama, 6_738_415_616),
        (lambda: families.llama(**LLAMA_70B), 68_976_648_192),
        (lambda: families.mlp([784, 300, 100, 10]), 266_610),
    ],
)
def test_published_parameter_totals(make: Callable[[], Architecture], parameters: int) -> None:
    assert total(make()) == parameters


def test_resnet_has_the_names_of_torchvision() -> None:
    names = set(families.resnet50().parameters)
    assert {"conv1.weight", "layer1.0.conv1.weight", "layer3.5.conv3.weight", "layer4.0.downsample.0.weight"} <= names
    assert {"bn1.affine.weight", "layer1.0.bn2.affine.bias", "layer2.0.downsample.1.affine.weight", "fc.bias"} <= names
    assert {n for n in names if "downsample.0" in n} == {f"layer{i}.0.downsample.0.weight" for i in (1, 2, 3, 4)}


def test_vgg_has_the_names_of_torchvision() -> None:
    names = set(families.vgg16().parameters)
    convolutions = {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}
    assert {int(n.split(".")[1]) for n in names if n.startswith("features")} == convolutions
    assert {int(n.split(".")[1]) for n in names if n.startswith("classifier")} == {0, 3, 6}


def test_resnet_shapes_stage_by_stage() -> None:
    arch = families.resnet50()
    ends = {i: arch.signals[f"layer{i}.{n}.relu", 0] for i, n in ((1, 2), (2, 3), (3, 5), (4, 2))}
    assert {i: (s.features, s.space) for i, s in ends.items()} == {
        1: (256, (56, 56)),
        2: (512, (28, 28)),
        3: (1024, (14, 14)),
        4: (2048, (7, 7)),
    }


def test_the_head_of_gpt2_is_its_embedding() -> None:
    arch = families.gpt2(layers=1, width=4, heads=2, vocabulary=5, context=3)
    assert arch.parameter_names("head")["weight"] == "embedding.weight"
    assert not [n for n in arch.parameters if n.startswith("head")]


def test_llama_can_be_tied() -> None:
    small = dict(layers=1, width=8, heads=2, kv_heads=1, hidden=3, vocabulary=5, context=3)
    assert total(families.llama(**small)) - total(families.llama(**small, tied=True)) == 5 * 8


@pytest.mark.parametrize(
    ("arch", "shape"),
    [
        (families.mlp([3, 4, 2], "gelu", bias=False), (2,)),
        (families.resnet18(classes=5, width=2, space=(32, 32)), (5,)),
        (families.resnet((1, 1), bottleneck=True, classes=3, width=2, stem="cifar", space=(6, 6), channels=1), (3,)),
        (families.vgg16(classes=3, width=1, hidden=4, space=(32, 32), batch_norm=True), (3,)),
        (families.vgg([[2], [3]], 4, hidden=2, space=(8, 8), dropout=0), (4,)),
        (families.vit(classes=3, layers=2, width=6, heads=2, hidden=4, patch=2, space=(4, 4), channels=1), (3,)),
        (families.gpt2(layers=1, width=6, heads=2, vocabulary=5, context=4), (4, 5)),
        (families.llama(layers=1, width=8, heads=2, kv_heads=1, hidden=3, vocabulary=5, context=4), (4, 5)),
    ],
)
def test_tiny_versions_run(arch: Architecture, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = arch.to_torch()
    inputs = arch.random_inputs(3, torch.Generator().manual_seed(0), torch.float32)
    out = module(*inputs).detach()
    assert out.shape == (3, *shape)
    assert bool(torch.isfinite(out).all()) and float(out.std()) > 0


def test_gpt2_is_causal() -> None:
    arch = families.gpt2(layers=2, width=6, heads=2, vocabulary=5, context=4)
    parameters = arch.random_parameters(torch.Generator().manual_seed(0))
    one, two = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[0, 1, 2, 4]])
    a, b = arch.forward(parameters, [one]), arch.forward(parameters, [two])
    torch.testing.assert_close(a[:, :3], b[:, :3])
    assert not torch.allclose(a[:, 3], b[:, 3])


def test_a_stream_with_norms_before_every_reader_has_one_scalar_law() -> None:
    laws = derive(families.llama(layers=3, width=16, heads=4, kv_heads=2, hidden=5, vocabulary=7, context=8))
    assert [law.count for law in laws if "Scalar(16)" in law.algebra] == [1]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: families.mlp([3]), "two or more"),
        (lambda: families.mlp([3, 2, 1], "swish"), "no activation 'swish'"),
        (lambda: families.resnet18(stem="mnist"), "no stem 'mnist'"),
        (lambda: families.vgg16(space=(16, 16)), "use 32 or more"),
        (lambda: families.vit(patch=15), "patches of 15 do not divide"),
        (lambda: families.vit(heads=7), "7 heads do not divide"),
        (lambda: families.gpt2(heads=7), "7 heads do not divide"),
        (lambda: families.llama(kv_heads=5), "5 key heads must divide 32 query heads"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], Architecture], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        make()
