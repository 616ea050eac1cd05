"""The stumbles of three first hours with the library, each with the answer that a new user gets now."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import lawful as lw
from lawful import blocks as b

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
NET = b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)
EMBEDDING = b.Embedding(3, 4)


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "widths": (lambda: b.Linear(3, 4) >> b.Linear(5, 2), "1 (after 0): Linear(5, width=2) reads 5 features but gets 4"),
    "widths behind": (lambda: b.Linear(3, 4) >> b.ReLU() >> b.LayerNorm(5), "reads 5 features but gets 4"),
    "branches": (lambda: b.Linear(3, 4) >> b.residual(b.Linear(4, 5)), "joins 4 features and 5 features"),
    "bias": (lambda: b.Linear(3, 4, bias="no"), "has the bias 'no'; it must be True or False"),  # type: ignore[arg-type]
    "layers": (lambda: lw.families.gpt2(layers=-2), "layers is -2; it must be an integer of at least 1"),
    "tie": (lambda: b.Tie(EMBEDDING, "wieght"), "no parameter 'wieght' to tie to; it has weight"),
    "rank": (lambda: lw.lora(NET, 100), "the rank 100 is more than 3"),
    "no parentheses": (lambda: b.Linear(3, 4) >> b.ReLU, "write ReLU() with parentheses"),  # type: ignore[operator]
    "a function": (lambda: b.Linear(3, 4) >> b.GELU, "write GELU() with parentheses"),  # type: ignore[operator]
    "a module of torch": (lambda: b.Linear(3, 4) >> nn.ReLU(), "use the block lawful.blocks.ReLU"),  # type: ignore[operator]
    "torch first": (lambda: nn.ReLU() >> b.Linear(3, 4), "what comes before Linear(3, width=4)"),  # type: ignore[operator]
    "no input": (lambda: lw.Architecture(b.SelfAttention(4, 2)), "write Architecture(net, input=Signal(4, (8,)))"),
    "input": (lambda: lw.Architecture(NET, input=3), "input is 3; it must be a Signal"),  # type: ignore[arg-type]
    "samples": (lambda: lw.verify(NET, samples=0), "samples is 0; it must be an integer of at least 1"),
    "no inputs": (lambda: lw.check(plain()), "needs example inputs; pass args=(x,)"),
    "a dict": (lambda: lw.derive(plain(), args={"x": X}), "belongs into kwargs="),  # type: ignore[arg-type]
    "numpy": (lambda: lw.count(plain(), args=X.numpy()), "torch.as_tensor"),  # type: ignore[arg-type]
    "a class": (lambda: lw.check(nn.Linear), "the class Linear"),  # type: ignore[arg-type]
    "a number": (lambda: lw.derive(3), "an architecture, an expression of blocks, a torch module or a spec"),  # type: ignore[arg-type]
    "a spec": (lambda: lw.check("gpt2"), "cannot read 'gpt2' as a network; write family:NAME"),
    "blocks traced": (lambda: lw.trace(NET, X), "use lw.Architecture"),  # type: ignore[arg-type]
    "an ending": (lambda: lw.Architecture(NET).draw("net.gif"), "the ending must be one of .png, .svg"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_one_sentence(name: str) -> None:
    make, part = REFUSED[name]
    with pytest.raises(ValueError) as caught:
        make()
    text = str(caught.value)
    assert type(caught.value).__module__.startswith("lawful") and part in text and "\n" not in text, text


@pytest.mark.parametrize(
    ("thing", "name", "near"), [(b, "Lineer", "Linear"), (lw.families, "gpt3", "gpt2"), (lw, "derrive", "derive")]
)
def test_a_misspelt_name_suggests_the_right_one(thing: object, name: str, near: str) -> None:
    with pytest.raises(AttributeError, match=rf"did you mean .*{near}"):
        getattr(thing, name)


QUESTIONS = (lw.check, lw.verify, lw.count, lw.derive, lw.parameter_count, lw.summary)


@pytest.mark.parametrize("ask", QUESTIONS, ids=lambda q: q.__name__)
def test_every_question_takes_every_kind_of_network(ask: Callable[..., object]) -> None:
    for network, inputs in [
        (NET, {}),
        (lw.Architecture(NET), {}),
        ("family:mlp:widths=3,4,2", {}),
        (lw.Architecture(NET).to_torch(), {}),
        (plain(), {"args": X}),
        (plain(), {"args": (X,)}),
        (plain(), {"kwargs": {"input": X}}),
    ]:
        found = ask(network, **inputs)
        assert getattr(found, "verdict", lw.Verdict.HOLDS) is lw.Verdict.HOLDS


def test_one_habit_for_example_inputs() -> None:
    module = plain()
    same = [lw.trace(module, X), lw.trace(module, (X,)), lw.trace(module, args=X), lw.trace(module, args=(X,))]
    assert same[0] == same[1] == same[2] == same[3]
    assert lw.derive(module, args=X).verify(module, args=X).verdict is lw.Verdict.HOLDS


def test_values_of_a_model_do_not_warn_and_wrapped_models_are_known() -> None:
    law, model = lw.derive(NET)[0], lw.Architecture(NET).to_torch()
    compiled = torch.compile(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(law.value(model)[0]) == float(law.value(nn.DataParallel(model))[0])
        assert float(law.value(model.state_dict())[0]) == float(law.value(compiled)[0])


def test_networks_and_laws_are_exchanged() -> None:
    for arch in (lw.Architecture(NET), lw.Architecture(EMBEDDING >> b.TiedHead(EMBEDDING)), lw.trace(plain(), X)):
        names = vars(b) | {"Architecture": lw.Architecture}
        assert eval(repr(arch), names) == arch == lw.Architecture.from_json(arch.to_json())
        assert pickle.loads(pickle.dumps(arch)) == arch != lw.Architecture(b.Linear(3, 4))
        assert list(lw.Architecture.from_json(arch.to_json()).parameters) == list(arch.parameters)
    laws, model = lw.derive(NET, "cross_entropy"), lw.Architecture(NET).to_torch()
    for again in (lw.LawSet.from_json(json.dumps(laws.to_dict())), pickle.loads(pickle.dumps(laws))):
        assert again.to_dict() == laws.to_dict() and not again[0].proof.holds
        assert all(torch.equal(u.value(model), v.value(model)) for u, v in zip(laws, again, strict=True))
    noted = lw.derive(nn.Sequential(nn.Linear(3, 3), nn.Hardsigmoid(), nn.Linear(3, 2)), args=X)
    assert lw.LawSet.from_json(noted.to_json()).gaps == noted.gaps
    for broken in (3, {}, laws.to_dict() | {"laws": [{}]}, laws.to_dict() | {"notes": 3}):
        with pytest.raises(ValueError, match=r"LawSet\.to_dict"):
            lw.LawSet.from_dict(broken)


def test_notebooks_show_everything() -> None:
    laws, found = lw.derive(NET), lw.check(NET)
    for thing in (
        laws,
        laws[0],
        laws[0].proof,
        lw.Architecture(NET),
        lw.count(NET),
        found,
        found.report,
        lw.summary(NET),
    ):
        assert "<" in thing._repr_html_()
    assert (
        laws[0]._repr_latex_().startswith("$") and repr(found) == "<CheckReport: verdict holds; print it for the whole>"
    )
    assert str(found).endswith("verdict: holds")
    assert lw.summary(b.Linear(3, 4) >> b.GELU() >> b.Linear(4, 2)).rows[0].untouched == ("weight", "bias")


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"} | environment
    words = (sys.executable, "-m", "lawful", *words)
    return subprocess.run(words, capture_output=True, encoding=env["PYTHONIOENCODING"], env=env, check=False)


@pytest.mark.parametrize(
    "encoding", ["ascii", *(pytest.param(e, marks=pytest.mark.nightly) for e in ("cp1252", "latin-1"))]
)
def test_no_encoding_stops_the_output(encoding: str) -> None:
    found = run(
        "derive", "family:mlp:widths=3,4,2", PYTHONIOENCODING=encoding, COLUMNS="200", NO_COLOR="1", TERM="dumb"
    )
    assert found.returncode == 0 and "||fc1.weight[i,:]||" in found.stdout
    assert not any(line.endswith(" ") for line in found.stdout.splitlines())


def test_exit_codes() -> None:
    assert run("derive", "nope").returncode == 2
    bad = run("derive", "family:gtp2", "--json")
    assert bad.returncode == 2 and "did you mean gpt2?" in json.loads(bad.stdout)["error"]
    assert run("--version").stdout == f"lawful {lw.__version__}\n"
    assert "Exit codes" in run("-h").stdout


def test_a_bad_spec_is_refused_before_torch_is_loaded() -> None:
    code = (
        "import sys\nfrom lawful import specs\ntry: specs.expect_form('family:nope')\n"
        "except specs.BadInput: print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_own_files_import_their_own_package(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "parts.py").write_text(
        "from lawful import blocks as b\nnet = b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)\n"
    )
    (tmp_path / "net.py").write_text("from mine.parts import net\n\ndef make():\n    return net\n")
    assert lw.derive(f"{tmp_path}/net.py:make").independent == 4


def test_a_violated_law_never_stands_beside_complete() -> None:
    from dataclasses import replace

    from lawful.theory.oracle.verification import Report

    found = lw.check(NET)
    bad = [replace(r, verdict=lw.Verdict.VIOLATED, residual=0.1) for r in found.report.laws]
    false = replace(found, own_report=Report(tuple(bad)), small_report=Report(tuple(bad)))
    assert not false.complete and false.verdict is lw.Verdict.VIOLATED
    assert "no law is missing" not in false.summary and "largest residual" not in false.summary
    assert "balance of 0 is violated (residual 1.0e-01)" in false.summary


def test_a_traced_network_too_large_to_count_is_counted_as_its_copy() -> None:
    large = nn.Sequential(nn.Linear(40, 50), nn.ReLU(), nn.Linear(50, 2))
    found = lw.check(large, args=torch.randn(5, 40))
    assert (
        found.lawful and found.copied and "the traced network was not counted; the copy speaks for it" in found.summary
    )


WITHOUT_INPUTS: dict[str, Callable[[nn.Module], object]] = {
    "derive": lw.derive,
    "verify": lw.verify,
    "verify with laws": lambda m: lw.verify(m, lw.derive(m, args=X)),
    "count": lw.count,
    "check": lw.check,
    "trace": lw.trace,
    "symmetries": lw.symmetries,
    "balance": lw.balance,
    "assert_lawful": lw.testing.assert_lawful,
    "assert_symmetric": lambda m: lw.testing.assert_symmetric(m, lambda p: p),
}


@pytest.mark.parametrize("name", WITHOUT_INPUTS)
def test_every_question_misses_inputs_in_the_same_words(name: str) -> None:
    with pytest.raises(b.ShapeError, match=r"a Sequential needs example inputs; pass args=\(x,\) or kwargs=\{\.\.\.\}"):
        WITHOUT_INPUTS[name](plain())
