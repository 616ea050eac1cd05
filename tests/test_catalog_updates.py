"""How a question is read: the longest name of an optimizer, what it is without, schedules, words that no entry has."""

import pytest
from catalog_optimizers import OPTIMIZERS

from lawful import catalog
from lawful.catalog.search import index
from lawful.catalog.search.analysis import Vocabulary, analyse


@pytest.fixture(autouse=True)
def _nothing_own(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAWFUL_CATALOG", str(tmp_path / "own.sqlite"))


def test_the_longest_name_of_an_optimizer_is_read_and_none_that_is_left_out() -> None:
    known = Vocabulary(index.known_words())
    assert {q: analyse(q, known).optimizers for q in OPTIMIZERS} == OPTIMIZERS


def test_no_law_is_said_to_drift_as_under_sgd_where_momentum_is_asked() -> None:
    said = str(catalog.search("does SGD with momentum conserve attention laws"))
    assert "SGD with momentum: drifts" in said and "SGD: " not in said
    both = catalog.search("attention under SGD with momentum and weight decay")
    assert both.understood.optimizer == "momentum" and both.understood.beside == ("weight-decay",)
    assert "also named, and no part of what is said here: SGD with weight decay (L2)" in str(both)
    assert catalog.search("attention with SGD and weight decay", optimizer="adam").understood.beside == ()


def test_a_name_of_an_optimizer_is_read_as_a_question_is() -> None:
    assert len(catalog.which_laws_break("SGD with Nesterov momentum")) == len(catalog.which_laws_break("nesterov"))
    with pytest.raises(ValueError, match="no optimizer 'SGD or momentum'"):
        catalog.which_laws_break("SGD or momentum")


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("why does weight norm grow under BatchNorm", "batchnorm/balance/W"),
        ("does the weight norm increase before a BatchNorm", "batchnorm/"),
        ("weight norm", "weight-norm/"),
        ("gradient clipping", "optimizer/clipping"),
        ("does clipping the gradients break laws", "optimizer/clipping"),
        ("CLIP", "family/clip"),
        ("laws of the CLIP model", "family/clip"),
        ("learning rate warmup", "optimizer/sgd"),
        ("cosine learning rate schedule", "optimizer/sgd"),
        ("CosineAnnealingLR", "optimizer/sgd"),
        ("dead parameters", "theorem/frozen"),
        ("AdamW without weight decay", "optimizer/adam"),
    ],
)
def test_the_first_answer(question: str, first: str) -> None:
    found = catalog.search(question)
    assert found[0].id.startswith(first) and not found.nearest
    assert found.understood.loss == ""


def test_a_schedule_leaves_the_laws_that_are_asked_about_in_front() -> None:
    assert any(e.id.startswith("relu/balance") for e in catalog.search("does learning rate decay break relu laws")[:3])


def test_weights_of_no_visible_size_are_those_before_norms_and_cosines() -> None:
    found = catalog.search("scale invariant weights")
    assert all("scale invariance" in e.symmetry for e in found[:5])


@pytest.mark.parametrize("word", ["dead", "dying", "quantization", "quantized", "pruning", "saturated"])
def test_words_that_no_entry_has_are_said_and_not_corrected(word: str) -> None:
    read = catalog.search(f"{word} relu").understood
    assert read.unknown == (word,) and not read.corrected


@pytest.mark.parametrize("word", ["complex", "hermitian", "quaternion", "autograd", "variational", "stationary"])
def test_no_word_of_the_field_is_read_as_another_one(word: str) -> None:
    """`complex` is one letter from the stem of `complete`."""
    read = catalog.search(f"{word} valued linear layers").understood
    assert word in read.unknown and word not in dict(read.corrected)
