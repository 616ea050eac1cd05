"""The demo, on smaller networks and few steps; the whole of it is nightly."""

import dataclasses
import io
import json
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

import lawful as lw
from lawful import cli, demo, demo_networks
from lawful.bad_input import BadInput
from lawful.demo_networks import CONTEXT, VOCABULARY, Subject
from lawful.theory.oracle.verification import corruptions


def small_subjects() -> tuple[Subject, Subject]:
    first, second = demo_networks.subjects()
    return (
        dataclasses.replace(first, arch=demo_networks.resnet(4)),
        dataclasses.replace(second, arch=demo_networks.transformer(8, 2, 8, layers=1)),
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "subjects", small_subjects)


def run(output: Path, as_json: bool = False, steps: int = 12) -> tuple[bool, str]:
    """Outcome of the demo and what people read."""
    text = io.StringIO()
    good = demo.run(output, steps, 0, as_json, Console(file=text, width=120))
    return good, text.getvalue()


def test_the_whole_story(small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "figure.png"
    good, text = run(figure, as_json=True)
    assert good
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert text.count(": no law is missing") == text.count("scalar laws by rate² Q(gradient), to rounding") == 2
    assert "wire balance: balance of layer1.attention.heads.q is conserved exactly" in text
    assert "hypotheses checked again and found true" in text
    assert "Every law holds, none is missing in what was counted" in " ".join(text.split())
    assert text.count("After equally many steps the drift goes as rate^") == 2
    assert "balance of stem.conv: derivative" in text, "approximate laws are reported apart"
    assert str(figure) in text.replace("\n", "")
    data = json.loads(capsys.readouterr().out)
    assert data["good"] is True
    for network in data["networks"]:
        assert network["check"]["lawful"] and network["check"]["complete"]
        assert len(network["training"]) == 3
        assert all(r["step_deviation"] <= 1e-13 and r["drift_deviation"] <= 1e-9 for r in network["training"])
        assert all(a["residual"] > 1e-12 for a in network["approximate"])


def test_a_false_law_is_not_called_good(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The control of the demo: one law of the ResNet is corrupted after it was checked."""
    resnet = small_subjects()[0]
    monkeypatch.setattr(demo, "subjects", lambda: (resnet,))

    def check(*args, **options) -> lw.CheckReport:
        found = lw.check(*args, **options)
        laws = list(found.laws)
        false = dataclasses.replace(corruptions(laws[0])[0], name=laws[0].name)
        return dataclasses.replace(found, laws=lw.LawSet([false, *laws[1:]], 0, 0, "cross_entropy", 0))

    monkeypatch.setattr(demo, "check", check)
    monkeypatch.setattr(sys, "argv", ["lawful", "demo", "--steps", "8", "--output", str(tmp_path / "figure.png")])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    out = capsys.readouterr().out
    assert "NOT every step changes" in out and "NOT everything held: ResNet" in out
    assert "to rounding" not in out


def test_a_place_that_cannot_be_written(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out before anything is trained."""
    monkeypatch.setattr(demo, "train", None)
    with pytest.raises(
        BadInput, match=r"cannot write the figure to .*there is no folder .*none; choose a place with --output"
    ):
        run(tmp_path / "none" / "figure.png")
    with pytest.raises(BadInput, match=r"cannot write the figure to .*figure.nope.*.png, .pdf"):
        run(tmp_path / "figure.nope")


@pytest.mark.parametrize(("module", "says"), [("sklearn.datasets", "scikit-learn"), ("matplotlib", "matplotlib")])
def test_a_missing_package_is_named(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, says: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "lawful.demo_figure", raising=False)
    monkeypatch.delattr("lawful.demo_figure", raising=False)
    with pytest.raises(BadInput, match=rf"{says}; pip install 'lawful\[train,plot\]'"):
        run(tmp_path / "figure.png")


def test_the_data_is_real_and_the_same_for_the_same_seed() -> None:
    images, targets = demo_networks.digits(3, seed=1)[0]
    assert images.shape == (32, 1, 8, 8) and images.dtype is torch.float64
    assert images.min() == -1 and images.max() == 1 and set(targets.tolist()) <= set(range(10))
    tokens, following = demo_networks.text(3, seed=1)[0]
    assert tokens.shape == following.shape == (16, CONTEXT)
    assert torch.equal(tokens[:, 1:], following[:, :-1])
    assert 0 <= int(tokens.min()) and int(tokens.max()) < VOCABULARY
    assert torch.equal(tokens, demo_networks.text(3, seed=1)[0][0])
    assert not torch.equal(tokens, demo_networks.text(3, seed=2)[0][0])


@pytest.mark.nightly
def test_the_demo_as_users_see_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = demo.run(tmp_path / "figure.png", 240, 0, True, Console(file=io.StringIO()))
    assert good
    for network in json.loads(capsys.readouterr().out)["networks"]:
        assert network["slope_equal_steps"] == pytest.approx(2, abs=0.25)
        assert all(last < first for first, last in (r["losses"] for r in network["training"]))
