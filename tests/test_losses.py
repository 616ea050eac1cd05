"""Losses by name: what each lets move, counts that are known by hand, false laws refused."""

from __future__ import annotations

import sys

import pytest
import torch
from agreement import agree
from networks import linear, relu_block, tokens

from lawful import blocks as b
from lawful import cli
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import verify
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.losses import NAMES, CrossEntropy, Loss, LossError, label, pair, parse, read
from lawful.theory.verdict import Verdict

SPANS = {s: [n for n in NAMES if Loss(n).span == s] for s in ("all", "shift", "scale")}
F64 = torch.float64


def dimension(rows: torch.Tensor) -> int:
    return int(torch.linalg.matrix_rank(rows, rtol=1e-9))


# What the table of losses says


@pytest.mark.parametrize("name", NAMES)
def test_the_gradients_of_a_loss_span_what_is_said_of_it(name: str) -> None:
    """The rank of its gradients at one output over many random targets, and of the potential that counts laws."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(6, 4, generator=generator, dtype=F64, requires_grad=True)
    loss = Loss(name)
    blind = {"all": None, "shift": torch.ones_like(z), "scale": z.detach()}[loss.span]

    def probe() -> torch.Tensor:
        return pair(loss.probe, z, torch.randn(z.shape, generator=generator, dtype=F64), -1)

    for value in (lambda: loss.random(z, generator), probe):
        gradients = torch.stack([torch.autograd.grad(value(), z)[0] for _ in range(60)])
        for row in range(6):
            assert dimension(gradients[:, row]) == (4 if blind is None else 3)
        if blind is not None:
            assert float((gradients * blind).sum(2).abs().max()) < 1e-12


def test_the_three_spans_have_the_losses_in_use() -> None:
    assert {"mse", "l1", "huber", "bce", "poisson"} <= set(SPANS["all"])
    assert set(SPANS["shift"]) == {"cross_entropy", "hinge", "kl"}
    assert set(SPANS["scale"]) == {"cosine", "contrastive"}


def test_a_potential_of_nothing_is_zero_and_can_be_differentiated() -> None:
    z = torch.zeros(2, 3, dtype=F64, requires_grad=True)
    value = pair("scale", z, torch.ones(2, 3, dtype=F64), -1)
    (slope,) = torch.autograd.grad(value, z, create_graph=True)
    assert float(value.detach()) == 0 and bool(torch.isfinite(torch.autograd.grad(slope.sum(), z)[0]).all())


@pytest.mark.parametrize(
    ("given_", "name"),
    [("CE", "cross_entropy"), ("binary cross-entropy", "bce"), ("MAE", "l1"), ("crammer_singer", "hinge")],
)
def test_losses_have_the_names_that_people_use(given_: str, name: str) -> None:
    assert Loss(given_).name == name


@pytest.mark.parametrize(
    "losses",
    [
        (Loss("mse"),),
        (CrossEntropy((1, 2e20, 0.5), 0.1), Loss("mse")),
        (Loss("cosine"), Loss("cosine"), CrossEntropy(smoothing=1e-5)),
    ],
)
def test_losses_are_text_that_can_be_read_back(losses: tuple[Loss, ...]) -> None:
    assert tuple(m for m in parse(label(losses))) == losses


def test_options_reach_the_function() -> None:
    z, y = torch.randn(5, 3, dtype=F64), torch.tensor([0, 1, 2, 1, 0])
    weight = torch.tensor([1.0, 2.0, 3.0], dtype=F64)
    expected = torch.nn.functional.cross_entropy(z, y, weight, label_smoothing=0.2)
    assert torch.equal(CrossEntropy((1, 2, 3), 0.2)(z, y), expected)
    image = torch.randn(2, 3, 4, 4, dtype=F64)
    classes = torch.randint(3, (2, 4, 4))
    assert torch.allclose(
        Loss("cross_entropy")(image, classes, axis=1), torch.nn.functional.cross_entropy(image, classes)
    )
    with pytest.raises(LossError, match=r"mse compares \(5, 3\) with a target of shape \(5,\)"):
        Loss("mse")(z, y)


@pytest.mark.parametrize(
    ("loss", "outputs", "message"),
    [
        ("nope", ["a"], "no loss 'nope'; there are mse, cross_entropy, bce"),
        ("mse + nope", ["a", "c"], "no loss 'nope'"),
        ("mse +", ["a"], r"no loss 'mse \+'"),
        ("mse + mse", ["a"], r"2 losses \(mse \+ mse\) for 1 output \(a\); give one loss for each output"),
        (("mse",), ["a", "c"], r"1 loss \(mse\) for 2 outputs \(a, c\)"),
        (3, ["a"], "a loss is a name, a Loss, a sequence of these or a dict by output name, got 3; give the name"),
        (("mse", 3), ["a", "c"], "a loss is a name or a Loss, got int"),
        ({"a": "mse"}, ["a", "c"], "the output c has no loss"),
        ({"z": "mse"}, ["a"], "'z' is no output; the outputs are a"),
        ({"a": "mse"}, ["a.0", "a.1"], "'a' stands for several outputs"),
        ({"a": "mse", "a.0": "mse"}, ["a.0"], "a.0 is given two losses"),
        ("cross_entropy:smoothing=1", ["a"], "label smoothing is 1.0; it must be at least 0 and below 1"),
        ("cross_entropy:smoothing=x", ["a"], "option 'smoothing=x' of the loss cross_entropy"),
        ("cross_entropy:smoothing=0.1,0.2", ["a"], "it must be one number"),
        ("cross_entropy:weight=1,0,1", ["a"], "each must be positive"),
        ("mse:smoothing=0.1", ["a"], "mse has no weight and no smoothing"),
    ],
)
def test_a_loss_that_does_not_fit_is_one_clear_sentence(loss, outputs: list[str], message: str) -> None:
    with pytest.raises(LossError, match=message) as caught:
        read(loss, outputs)
    assert "\n" not in str(caught.value)


# Counts that are known by hand: a law per span, beside those of the network


# beside the 3 of the hidden wire: under "shift" each column of 1^T W and 1^T b, under "scale" the norm of W and b
HIDDEN = {"all": 3, "shift": 6, "scale": 4}


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_adds_the_laws_of_what_it_does_not_see(name: str) -> None:
    extra = HIDDEN[Loss(name).span]
    agree(Architecture(linear(3, 2) >> linear(2, 3, True)), name, extra)


def test_what_an_output_cannot_do_is_refused() -> None:
    one = Architecture(linear(3, 2) >> b.ReLU() >> linear(2, 1, True))
    agree(one, "bce", 2)
    with pytest.raises(b.ShapeError, match="2 has one feature, on which cross_entropy is constant; use bce or mse"):
        derive(one, "cross_entropy")
    with pytest.raises(b.ShapeError, match="linear has 3 classes, but 2 class weights are given"):
        derive(Architecture(linear(2, 3)), CrossEntropy((1, 2)))


core, rms = b.LayerNormCore, b.RMSNormCore
# name: (network, loss, laws, options)
KNOWN = {
    "linear, cosine": (linear(3, 2) >> linear(2, 3), "cosine", 4, {}),
    "linear, hinge": (linear(3, 2) >> linear(2, 3), "hinge", 5, {}),
    "ReLU with biases, cosine": (linear(3, 4, True) >> b.ReLU() >> linear(4, 3, True), "cosine", 5, {}),
    "ReLU, contrastive": (linear(3, 4) >> b.ReLU() >> linear(4, 3), "contrastive", 5, {}),
    "ReLU with biases, kl": (linear(2, 3) >> b.ReLU() >> linear(3, 3, True), "kl", 7, {}),
    "one logit": (linear(3, 4, True) >> b.ReLU() >> linear(4, 1, True), "bce", 4, {}),
    # RMSNorm is the identity for a cosine, LayerNorm its centring: each column of 1^T W, and the norm of W
    "RMSNorm before a cosine": (linear(3, 4) >> rms(4, 0.0), "cosine", 1, {}),
    "LayerNorm before a cosine": (linear(3, 4) >> core(4, 0.0), "cosine", 4, {}),
    "gain before a cosine": (linear(3, 4) >> b.RMSNorm(4, epsilon=0.0), "cosine", 5, {}),
    "a norm that a cosine does not see": (linear(3, 4) >> rms(4, 0.0) >> linear(4, 3), "cosine", 11, {}),
    "a norm that it sees through a bias": (linear(3, 4) >> rms(4, 0.0) >> linear(4, 3, True), "cosine", 2, {}),
    "the centring that it sees": (linear(3, 4) >> core(4, 0.0) >> linear(4, 3), "cosine", 13, {}),
    "BatchNorm before a cosine": (linear(3, 4, True) >> b.BatchNorm(4, epsilon=0.0), "cosine", 9, {}),
    "a square before a cosine": (linear(3, 3) >> b.Power(2), "cosine", 1, {}),
    "residual stream, cosine": (linear(3, 3) >> relu_block(3, 2), "cosine", 3, {}),
    "two norms side by side": (
        b.parallel(linear(3, 3) >> rms(3, 0.0), linear(3, 3) >> rms(3, 0.0), join=b.Concat()),
        "cosine",
        2,
        {"input": b.Signal(3)},
    ),
    "every row of a table": (b.Embedding(5, 3), "cosine", 5, {"space": (4,)}),
    "a cosine at every position": (b.Conv1d(2, 3, 2) >> b.ReLU() >> b.Conv1d(3, 3, 1), "cosine", 4, {"space": (4,)}),
    "positions share a norm": (
        linear(3, 4) >> rms(4, 0.0) >> b.GlobalAveragePool() >> linear(4, 3),
        "cosine",
        2,
        {"input": tokens(3)},
    ),
}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_counts_known_by_hand(name: str) -> None:
    net, loss, laws, options = KNOWN[name]
    agree(Architecture(net, **options), loss, laws)


def test_the_epsilon_of_a_norm_that_a_cosine_does_not_see_changes_nothing() -> None:
    arch = Architecture(linear(3, 4) >> rms(4, 0.1) >> linear(4, 3))
    assert derive(arch, "cosine").independent == count(arch, "cosine").laws == 11
    assert derive(arch, "cosine").verify(arch).verdict is Verdict.HOLDS


@pytest.mark.parametrize(
    ("net", "extra"),
    [
        (linear(3, 4), 3),  # a space of 3 dimensions in 4
        (linear(3, 2) >> linear(2, 3), 2),
        (linear(3, 3) >> core(3, 0.0) >> linear(3, 3), 2),
        (linear(3, 2) >> linear(2, 3, True), 0),
    ],
)
def test_a_contrastive_loss_conserves_the_space_of_all_embeddings(net: b.Net, extra: int) -> None:
    """Its gradient at one output is a combination of the other outputs, so a space that holds all keeps all."""
    arch = Architecture(net)
    laws = derive(arch, "contrastive")
    assert laws.independent == derive(arch, "cosine").independent == count(arch, "cosine").laws
    assert count(arch, "contrastive").laws == laws.independent + extra
    assert "the subspace that all outputs lie in" in laws.notes[-1]


@pytest.mark.parametrize(("derived", "tested"), [("cross_entropy", "mse"), ("cosine", "bce"), ("cosine", "kl")])
def test_the_laws_of_a_loss_are_false_under_one_that_sees_more(derived: str, tested: str) -> None:
    arch = Architecture(linear(3, 2) >> b.ReLU() >> linear(2, 3, True))
    laws, kept = derive(arch, derived), {law.terms for law in derive(arch, "mse")}
    report = verify(arch, tuple(laws), tested)
    for law, found in zip(laws, report.laws, strict=True):
        assert found.verdict is (Verdict.HOLDS if law.terms in kept else Verdict.VIOLATED), law
    assert len(report.violated) == len(laws) - len(kept)
    with pytest.raises(ValueError, match=rf"derived for {derived}, the loss is {tested}; derive them again"):
        verify(arch, laws, tested)
    assert verify(arch, laws, SPANS[Loss(derived).span][-1]).verdict is Verdict.HOLDS


# The command line


@pytest.mark.parametrize(
    ("loss", "code", "said"),
    [
        ("cosine", 0, "loss cosine"),
        ("bce", 0, "loss bce"),
        ("CE", 0, "loss cross_entropy"),
        ("cross_entropy:smoothing=0.1", 0, "loss cross_entropy:smoothing=0.1"),
        ("mse+mse", 2, "2 losses (mse + mse) for 1 output"),
        ("nope", 2, "no loss 'nope'; there are mse, cross_entropy, bce"),
    ],
)
def test_the_command_line_takes_the_names(loss: str, code: int, said: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["lawful", "derive", "family:mlp:widths=3,4,3", "--loss", loss])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    out, err = capsys.readouterr()
    assert (stopped.value.code or 0) == code
    assert said in (err if code else out)
