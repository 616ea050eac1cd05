"""Published architectures: parameter totals, names, forwards of tiny versions, and refusals."""

from collections.abc import Callable

import pytest
import torch

from lawful.blocks import ShapeError
from lawful.graph import families
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import check
from lawful.graph.questions.derive import derive

LLAMA_70B = dict(layers=80, width=8192, heads=64, kv_heads=8, hidden=28672)


def total(arch: Architecture) -> int:
    return sum(p.size for p in arch.parameters.values())


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (families.gpt2, 124_439_808),
        (families.llama, 6_738_415_616),
        (lambda: families.llama(**LLAMA_70B), 68_976_648_192),
        (lambda: families.mlp([784, 300, 100, 10]), 266_610),
        (families.deep_linear, 3 * 100 * 100),
        (families.autoencoder, 2_837_314),
        (lambda: families.autoencoder(tied=True), 1_420_814),
    ],
)
def test_published_parameter_totals(make: Callable[[], Architecture], parameters: int) -> None:
    assert total(make()) == parameters


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
        (families.deep_linear((3, 4, 2), bias=True), (2,)),
        (families.autoencoder((5, 4, 2)), (5,)),
        (families.autoencoder((5, 4, 2), "tanh", tied=True), (5,)),
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


PERCEPTRONS: dict[str, Callable[[], Architecture]] = {
    "deep linear": families.deep_linear,
    "deep linear with biases": lambda: families.deep_linear((5, 4, 3, 4), bias=True),
    "autoencoder": families.autoencoder,
    "tied autoencoder": lambda: families.autoencoder((20, 16, 12, 8), tied=True),
}


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("make", PERCEPTRONS.values(), ids=PERCEPTRONS)
def test_perceptrons_are_complete_and_lawful(make: Callable[[], Architecture], loss: str) -> None:
    found = check(make(), loss)
    assert found.lawful, found.summary


def test_laws_of_perceptrons_that_can_be_counted_by_hand() -> None:
    """A symmetric matrix on every linear wire, one law for every ReLU unit."""
    assert derive(families.deep_linear()).independent == 2 * 100 * 101 // 2
    assert derive(families.autoencoder()).independent == 2 * (1000 + 500 + 250) + 30 * 31 // 2


def test_a_tied_decoder_reads_the_weights_of_the_encoder() -> None:
    arch = families.autoencoder((5, 4, 3), tied=True)
    assert arch.parameter_names("decoder.fc1")["weight"] == "encoder.fc2.weight"
    assert {n for n in arch.parameters if n.startswith("decoder")} == {"decoder.fc1.bias", "decoder.fc2.bias"}


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
        (lambda: families.deep_linear([3]), "two or more"),
        (lambda: families.autoencoder([3]), "two or more"),
        (lambda: families.gpt2(heads=7), "7 heads do not divide"),
        (lambda: families.llama(kv_heads=5), "5 key heads must divide 32 query heads"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], Architecture], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        make()
