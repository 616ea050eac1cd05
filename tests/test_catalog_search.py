"""The catalog answers questions: ranking, synonyms, typing errors, facets, and what is said where nothing fits."""

import subprocess
import sys

import pytest
from catalog_fresh import QUESTIONS as FRESH
from catalog_questions import QUESTIONS

from lawful import catalog
from lawful.catalog.search import index
from lawful.catalog.search.analysis import Vocabulary, analyse, stem
from lawful.catalog.search.typos import distance


@pytest.fixture(autouse=True)
def _nothing_own(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAWFUL_CATALOG", str(tmp_path / "own.sqlite"))


@pytest.mark.parametrize("questions", [QUESTIONS, FRESH], ids=["sixty", "fresh"])
def test_questions_are_answered_in_the_first_three(questions: dict[str, str]) -> None:
    assert len(QUESTIONS) >= 60
    wrong = {}
    for question, answers in questions.items():
        found = catalog.search(question)
        starts = tuple(part.strip() for part in answers.split("|"))
        if found.nearest or not any(e.id.startswith(starts) for e in found[:3]):
            wrong[question] = [e.id for e in found[:3]]
    assert not wrong


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("what happens to the norm of a conv filter followed by batchnorm when I use weight decay", "conv-batchnorm/"),
        ("what does weight decay do to weights before a batchnorm", "batchnorm/balance/W"),
        ("do layer norm and the linear layer after it balance", "layernorm/balance/W"),
        ("magnitude of the weights in front of rmsnorm", "rmsnorm/balance/W"),
        ("L2 on conv then bn", "conv-batchnorm/balance/W"),
        ("norm of a filter before groupnorm", "groupnorm/balance/W"),
    ],
)
def test_blocks_between_which_something_is_asked_come_first(question: str, first: str) -> None:
    assert catalog.search(question)[0].id.startswith(first)


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("what does label smoothing change", "label-smoothing"),
        ("soft labels in distillation", "label-smoothing"),
        ("are class weights a problem for the column sums", "class-weights"),
        ("does focal loss break balancedness", "focal-loss"),
        ("does the z-loss break laws", "z-loss"),
        ("cross entropy with ignore_index", "loss-reduction"),
        ("does mean or sum reduction change the drift", "loss-reduction"),
    ],
)
def test_options_of_losses_are_subjects(question: str, first: str) -> None:
    assert catalog.search(question)[0].id == f"claim/lawful/{first}"


def test_joined_blocks() -> None:
    known = Vocabulary(index.known_words())
    assert analyse("a conv filter followed by batchnorm", known).joined == ("convolution", "batchnorm")
    assert analyse("is anything conserved between RMSNorm and a linear map", known).joined == ("rmsnorm", "linear")
    assert analyse("the law of batchnorm after training", known).joined == ()


def test_the_question_of_the_issue() -> None:
    found = catalog.search("what does AdamW do to Q^T Q - K^T K?")
    assert found[0].id == "attention/balance/heads.q" and found.understood.optimizer == "adamw"
    assert found[0].fates["adamw"].status == "broken"
    assert "AdamW: broken" in str(found)


@pytest.mark.parametrize(
    "formula",
    ["Q Q^T - K K^T", "W_Q^T W_Q - W_K^T W_K", "QQ^T-KK^T", "Q'Q - K'K", "q_proj k_proj", "$QQ^\\top - KK^\\top$"],
)
def test_formulas_in_all_notations(formula: str) -> None:
    assert "attention/balance/heads.q" in [e.id for e in catalog.search(formula)[:3]]


def test_every_formula_of_the_catalog_finds_a_law_with_it() -> None:
    laws = {e.text: e for e in catalog.search() if e.is_law and e.kind != "none"}
    assert len(laws) > 150
    for text, e in laws.items():
        for asked in (text, e.latex):
            found = catalog.search(asked)
            assert not found.nearest and text in [other.text for other in found], asked


@pytest.mark.parametrize(
    ("formula", "among"),
    [
        ("A Aᵀ - Bᵀ B", "low-rank-update/balance/update.A"),
        ("||W||^2", "l2norm/balance/W"),
        ("what is ‖w‖²?", "l2norm/balance/W"),
        ("‖w_in‖² - ‖w_out‖²", "relu/balance/W"),
        ("a^2 - b^2", "relu/balance/W"),
        (r"\|W_1\|_F^2 - \|W_2\|_F^2", "relu/balance/W"),
        ("‖fc1.weight[i,:]‖² + fc1.bias[i]² - ‖fc2.weight[:,i]‖²", "relu/balance/W"),
        ("W1 W1^T - W2^T W2", "linear/balance/V"),
        ("U'U - VV'", "linear/balance/V"),
        (r"$W_1 W_1^\top - W_2^\top W_2$", "linear/balance/V"),
        ("γ²+β²-‖V‖²", "batchnorm/balance/norm.affine"),
    ],
)
def test_names_in_a_formula_are_those_of_somebody(formula: str, among: str) -> None:
    found = catalog.search(formula)
    assert not found.nearest and among in [e.id for e in found[:6]]


def test_facets_filter() -> None:
    assert {e.kind for e in catalog.search("batchnorm", kind="frozen")} == {"frozen"}
    assert all(e.exact for e in catalog.search("layernorm", exact=True))
    approximate = catalog.search("layernorm", exact=False)
    assert approximate and not any(e.exact for e in approximate)
    assert all("marcotte2025" in e.source for e in catalog.search("attention", source="marcotte2025"))
    for e in catalog.search("softmax", loss="mse"):
        assert any(h.startswith("any differentiable loss") for h in e.hypotheses) or e.loss == "mse"
    named = catalog.search("attention", optimizer="RMSProp")
    assert named.understood.optimizer == "adam" and all("adam" in e.fates or e.kind == "optimizer" for e in named)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "scale"}, "no kind of law 'scale'; there are balance, claim"),
        ({"block": "LayerNrm"}, r"no entry is about a block 'LayerNrm'; there are .*LayerNorm"),
        ({"optimizer": "zeus"}, "no optimizer 'zeus' in the catalog; there are gradient-flow, sgd"),
        ({"source": "euler1750"}, "no entry has a source 'euler1750'; there are .*marcotte2023"),
        ({"loss": "love"}, "no entry is about the loss 'love'; there are .*cross_entropy"),
    ],
)
def test_what_no_entry_has_is_an_error_that_lists(given: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        catalog.search("relu", **given)


def test_between_two_blocks() -> None:
    assert catalog.between("RMSNorm", "Linear")[:3]
    assert all("RMSNormCore" in (*e.blocks,) for e in catalog.between("rms norm", "dense layer"))
    assert catalog.search("is anything conserved between RMSNorm and Linear?")[0].id.startswith("rmsnorm")
    assert [e.id for e in catalog.search(between=("conv", "relu"))]
    with pytest.raises(ValueError, match=r"no entry is about a block 'RMSNrm'; close are .*RMSNorm"):
        catalog.between("RMSNrm", "Linear")


def test_which_laws_break() -> None:
    adam = {e.id for e in catalog.which_laws_break("Adam")}
    assert "attention/balance/heads.q" in adam and "batchnorm/frozen/W.bias" not in adam
    decay = catalog.which_laws_break("weight decay")
    assert decay and all(e.decay == "no power" for e in decay)
    assert not catalog.which_laws_break("gradient flow")


@pytest.mark.parametrize("text", ["zzyx blorb", "the price of eggs", '"; --', "NEAR(a b) OR *", "-", "'"])
def test_nothing_found_is_said_and_the_nearest_are_given(text: str) -> None:
    found = catalog.search(text)
    assert found.nearest and len(found)
    assert "nearest" in str(found) and "ask" in str(found)


@pytest.mark.parametrize("text", ["edge of stability", "Muon", "does Muon keep the balance", "neural tangent kernel"])
def test_what_the_catalog_does_not_hold_is_said_with_what_it_holds(text: str) -> None:
    found = catalog.search(text)
    assert found.nearest
    for said in (str(found), found._repr_html_()):
        assert "othing in the catalog answers this" in said and "conservation laws" in said and "AdamW, sign" in said
    assert "lw.Ledger" in str(found), "another optimizer is measured"


def test_a_long_question_is_read_in_part() -> None:
    assert catalog.search("attention " * 100_000)
    assert catalog.search("x" * 100_000).nearest


def test_words() -> None:
    assert stem("normalisation") == stem("normalization") == stem("normalized")
    assert analyse("LN").terms == analyse("Layer Normalization").terms == analyse("LayerNorm").terms
    assert distance("attentoin", "attention", 2) == 1 and distance("abc", "xyz", 2) == 3


def test_loading_and_asking_is_light() -> None:
    code = (
        "import sys, lawful.catalog as c; str(c.search('relu')[0]); "
        "print([m for m in ('torch', 'sympy', 'networkx') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Du et al 2018", "claim/marcotte2023/deep-relu | theorem/wire-balance"),
        ("Saxe and McClelland", "claim/marcotte2023/deep-linear"),
        ("what did Foret, Kleiner and others find", "optimizer/sam"),
        ("Loshchilov Hutter", "optimizer/adamw | optimizer/decoupled-decay"),
        ("who found the balancedness law", "theorem/wire-balance"),
        ("Euler's theorem for homogeneous functions", "claim/marcotte2023/polynomial-activation"),
        ("batch renormalization", "batchnorm/"),
        ("DeepNorm", "head-norm/ | post-norm-transformer/"),
        ("diffusion model transformer", "transformer-block/"),
    ],
)
def test_people_and_names_of_methods_are_read(question: str, answer: str) -> None:
    found = catalog.search(question)
    assert not found.nearest and found[0].id.startswith(tuple(part.strip() for part in answer.split("|")))


@pytest.mark.parametrize("text", ["early stopping", "normalizing flows", "natural gradient", "neural ODE", "DoRA"])
def test_what_the_field_calls_otherwise_is_no_answer_by_one_of_its_words(text: str) -> None:
    found = catalog.search(text)
    assert found.nearest and not found.understood.corrected and "'ra'" not in str(found)


WRAPPED = (
    r"\frac{d}{dt}(#)=0", r"\frac{\mathrm{d}}{\mathrm{d}t}\left(#\right) = 0", "d/dt (#) = 0", r"\partial_t (#) = 0",
    "# = const", r"$# = \text{const}$", r"\left(#\right)", r"\dfrac{\partial}{\partial t} (#) = 0.",
)  # fmt: skip


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("law", [r"U^\top U - V V^\top", r"\|w_{in}\|^2 - \|w_{out}\|^2", "Q Q^T - K K^T"])
def test_a_formula_may_say_that_it_is_conserved(wrapped: str, law: str) -> None:
    bare, found = catalog.search(law), catalog.search(wrapped.replace("#", law))
    assert [e.id for e in found] == [e.id for e in bare] and not found.understood.unknown
