"""`lawful train` and `lawful ledger`: a run, its account, and errors in one line."""

import io
import json
import math
import sys
from pathlib import Path

import numpy
import pytest
import torch
from rich.console import Console
from rich.table import Table

from lawful import cli
from lawful.cli_train import ledger_table
from lawful.dynamics.ledger import Ledger
from lawful.dynamics.report import Row, table
from lawful.tables import AccountTable

MLP = "family:mlp:widths=4,6,3"


@pytest.fixture
def lawful(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs a command in a folder of its own; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lawful", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out = capsys.readouterr()
        return int(end.value.code or 0), out.out, out.err

    return run


def arrays(path: str, classes: bool = True, width: int = 4) -> None:
    draw = numpy.random.default_rng(0)
    y = draw.integers(0, 3, 40) if classes else draw.normal(size=(40, 3))
    numpy.savez(path, x=draw.normal(size=(40, width)), y=y)


@pytest.mark.parametrize("classes", [True, False])
def test_a_run_and_its_account(lawful, classes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a narrow table folds its words
    arrays("data.npz", classes)
    words = ("--data", "data.npz", "--optimizer", "adamw:lr=1e-2,betas=0.8/0.9,weight_decay=0.1", "--steps", "8")
    code, out, _ = lawful("train", MLP, *words, "--clip", "0.1", "--figure", "run.png")
    assert code == 0 and "preconditioner" in out and Path("run.png").exists()
    run = json.loads(Path("lawful-run.json").read_text(encoding="utf-8"))
    assert (
        run["verdict"] in ("ok", "ok in part")
        and len(run["losses"]) == 8
        and all(r["relative"] < 1e-13 for r in run["laws"])
    )
    code, out, _ = lawful("ledger", "lawful-run.json")
    assert code == 0 and "preconditioner" in out and "nothing is left over" in out
    code, out, _ = lawful("ledger", "lawful-run.json", "--law", "balance of fc1")
    assert code == 0 and "decay" in out
    code, out, _ = lawful("ledger", "lawful-run.json", "--json")
    assert json.loads(out) == run


def test_bad_input_in_one_line(lawful) -> None:
    arrays("data.npz")
    arrays("wide.npz", width=5)
    Path("text.npz").write_text("no arrays")
    Path("no.json").write_text("[1]")
    Path("hurt.json").write_text(json.dumps({"format": "lawful run 1", "laws": [1], "steps": "x"}))
    bad = (
        (("train", MLP, "--data", "nothing.npz"), "no file nothing.npz"),
        (("train", MLP, "--data", "wide.npz"), "(40, 5)"),
        (("train", MLP, "--data", "text.npz"), "no .npz file"),
        (("train", MLP, "--data", "data.csv"), "neither digits nor text"),
        (("train", MLP), "64 pixels"),
        (("train", MLP, "--data", "data.npz", "--loss", "foo"), "no loss 'foo'; there are"),
        (("train", MLP, "--data", "data.npz", "--loss", "contrastive"), "write one of mse, cross_entropy"),
        (("train", MLP, "--data", "text"), "reads tokens"),
        (("train", MLP, "--data", "data.npz", "--optimizer", "lbfgs"), "none of"),
        (("train", MLP, "--data", "data.npz", "--optimizer", "sgd:lr"), "lr"),
        (("train", MLP, "--data", "data.npz", "--optimizer", "sgd:rate=1"), "rate"),
        (("train", MLP, "--data", "data.npz", "--dtype", "int8"), "none of"),
        (("train", MLP, "--data", "data.npz", "--output", "no/where.json"), "folder"),
        (("ledger", "nothing.json"), "no file"),
        (("ledger", "no.json"), "no run"),
        (("ledger", "hurt.json"), "damaged"),
    )
    for words, why in bad:
        code, out, err = lawful(*words)
        assert code == 2 and why in err and len(err.strip().splitlines()) == 1 and not out, (words, err)


@pytest.mark.parametrize("loss", ["mse", "hinge", "soft_margin", "kl", "cosine", "cross_entropy:smoothing=0.1"])
def test_a_run_of_another_loss(lawful, loss: str) -> None:
    """Classes are handed to every loss in the form that it reads."""
    arrays("data.npz")
    code, _, err = lawful("train", MLP, "--data", "data.npz", "--steps", "4", "--loss", loss)
    run = json.loads(Path("lawful-run.json").read_text(encoding="utf-8"))
    assert (
        code == 0 and run["loss"] == loss and run["verdict"] in ("ok", "rounding", "ok in part", "rounding in part")
    ), err
    assert all(x is not None for x in run["losses"])


def test_a_network_without_laws_is_trained_all_the_same(lawful) -> None:
    arrays("data.npz", False)
    Path("nets.py").write_text(
        "from lawful import blocks as b\ndef make():\n    return b.Linear(4, 5) >> b.GELU() >> b.Linear(5, 3)\n"
    )
    code, out, _ = lawful("train", "nets.py:make", "--data", "data.npz", "--steps", "3")
    assert code == 1 and "no law is watched" in out and 'loss="cross_entropy"' in out and "law " not in out[:5]
    run = json.loads(Path("lawful-run.json").read_text(encoding="utf-8"))
    assert run["verdict"] == "undecided" and run["laws"] == [] and len(run["losses"]) == 3
    code, again, _ = lawful("ledger", "lawful-run.json")
    assert code == 1 and again.strip() in out
    code, _, said = lawful("train", "nets.py:make", "--data", "data.npz", "--figure", "run.svg")
    assert code == 2 and "no law, so that there is nothing to draw" in said


def test_a_run_is_printed_as_its_ledger_is(tmp_path: Path) -> None:
    """One table for both: the same heads, words and numbers, no `-0`, and NaN where JSON had to write null."""
    rows = [Row("balance", -0.0, {"step size": 0.0, "decay": -1.25e-9}, 2e-16, 1e-16, "ok")]
    again = [Row.from_dict(json.loads(json.dumps(r.as_dict()))) for r in rows]
    assert again == rows
    run = {"network": "n", "optimizer": "sgd", "steps": 3, "laws": [r.as_dict() for r in rows]}
    one, other = (_text(t) for t in (table(rows, "n, sgd, 3 steps"), ledger_table(run)))
    assert one == other and "-0 " not in one and "of the law" in one
    lost = Row.from_dict({**rows[0].as_dict(), "change": None})
    assert math.isnan(lost.change) and "nan" in _text(table([lost], ""))


def _text(made: Table) -> str:
    console = Console(width=120)
    with console.capture() as text:
        console.print(made)
    return text.get()


def test_the_account_of_an_own_loop_is_shown_as_well(lawful, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).double()
    optimizer = torch.optim.AdamW(model.parameters())
    with Ledger(model, optimizer) as ledger:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(8, 3).double()).square().mean().backward()
            optimizer.step()
    file = tmp_path / "own.json"
    file.write_text(ledger.to_json(), encoding="utf-8")
    code, said, _ = lawful("ledger", str(file))
    assert code == 0 and "Sequential, AdamW, 3 steps" in said and ledger.health().splitlines()[0] in said


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_no_number_of_an_account_is_cut(width: int) -> None:
    """A cut `-9.…` may be any number: where a table has no room every law has lines of its own."""
    causes = {"step size": -9.1e-05, "momentum": 2.3e-03, "preconditioner": -8.7e-01, "epsilon": 1.2e-07}
    rows = [Row("balance of fc1", -9.1e-01, causes, 2.2e-16, 3e-16, "rounding")]
    terminal = Console(width=width, file=io.StringIO())
    terminal.print(AccountTable(rows, "a run"))
    shown = terminal.file.getvalue()
    assert "…" not in shown and all(f"{x:.2e}" in shown for x in (-9.1e-01, *causes.values(), 2.2e-16))
    assert max(map(len, shown.splitlines())) <= width
