"""Bad calls of what acts on models, files and options: each is one sentence of lawful that says what to do."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lawful as lw
from lawful import cli
from lawful.testing import lock

MLP = "family:mlp:widths=64,8,10"


def said(make: Callable[[], object], *kinds: type[Exception]) -> str:
    """The text of the error, one sentence."""
    with pytest.raises(kinds or (ValueError, TypeError)) as caught:
        make()
    text = str(caught.value.args[0])
    assert "\n" not in text and 10 < len(text) < 500 and not text.endswith("."), text
    return text


COMMANDS = {
    "figure": (("train", MLP, "--figure", "x.xyz", "--steps", "3"), "must be one of .png, .svg"),
    "figure's folder": (("train", MLP, "--figure", "no/x.png"), "make it first"),
    "output": (("train", MLP, "--output", "dir"), "is a folder; name a file"),
    "option": (("train", MLP, "--optimizer", "sgd:l=1"), "no option 'l'; did you mean lr? it has lr, momentum"),
    "option's type": (("train", MLP, "--optimizer", "adam:betas=0.9"), "2 finite numbers with slashes"),
    "option's size": (("train", MLP, "--optimizer", "sgd:lr=nan"), "lr must be a finite number"),
    "a switch": (("train", MLP, "--optimizer", "sgd:nesterov=1"), "true or false"),
    "an option twice": (("train", MLP, "--optimizer", "sgd:lr=1,lr=2"), "twice; write it once"),
    "options together": (("train", MLP, "--optimizer", "sgd:nesterov=true"), "requires a momentum"),
    "clipping": (("train", MLP, "--clip", "-1"), "positive number"),
    "atlas in a file": (("atlas", "--only", "timm:resnet18", "--output", "FILE"), "is a file; name a folder"),
    "atlas under a file": (("atlas", "--only", "timm:resnet18", "--output", "FILE/a"), "FILE is a file"),
    "again": (("atlas", "--only", "timm:resnet18", "--again", "law"), "did you mean laws? write all, laws, narrow"),
    "models of a list": (("atlas", "--list", "ours", "--only", "timm:resnet18"), "of the list ours matches"),
    "no map": (("audit", "no.json", MLP), "cannot read the map no.json: No such file or directory; it is a JSON"),
    "a folder as map": (("audit", "dir", MLP), "Is a directory; it is a JSON file"),
    "a module": (
        ("derive", "nets.py:net"),
        "a Linear and no function; write a function that returns (module, (x,)",
    ),
    "an expression": (("derive", "nets.py:blocks"), "blocks is a network and no function; write a function that"),
    "half a map": (("audit", "half.json", MLP), "is no JSON"),
    "a number as map": (("audit", "three.json", MLP), "holds int; write a list of"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line_refuses_with_code_2_before_it_works(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    Path("dir").mkdir()
    Path("half.json").write_text('{"a"')
    Path("three.json").write_text("3")
    Path("nets.py").write_text(
        "from torch import nn\nfrom lawful import blocks as b\nnet, blocks = nn.Linear(3, 2), b.Linear(3, 2)\n"
    )
    words, part = COMMANDS[name]
    monkeypatch.setattr(sys, "argv", ["lawful", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    lines = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2 and len(lines) == 1 and part in lines[0], lines
    assert "Errno" not in lines[0] and not Path("lawful-run.json").exists()


def test_a_package_that_is_missing_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("matplotlib", "matplotlib.figure", "lightning", "transformers", "scipy.optimize", "scipy"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "lawful.graph.drawing.picture", raising=False)
    (tmp_path / "arch.json").write_text(lw.families.mlp([3, 4, 2]).to_json())
    monkeypatch.setattr(sys, "argv", ["lawful", "draw", str(tmp_path / "arch.json"), "-o", str(tmp_path / "a.png")])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2 and "pip install 'lawful[plot]'" in capsys.readouterr().err
    for make in (lw.dynamics.callbacks.lightning, lw.dynamics.callbacks.hugging_face):
        assert "pip install 'lawful[loops]'" in said(make, ImportError)
    assert "did you mean every?" in said(lambda: lw.dynamics.callbacks.lightning(evry=1))


def test_a_lock_file_needs_its_folder(tmp_path: Path) -> None:
    net = lw.derive(lw.families.mlp([3, 4, 2]))
    for update in (True, False):
        options: dict[str, Any] = {"path": tmp_path / "no" / lock.LOCK, "update": update}
        assert "make it first" in said(lambda o=options: lock.assert_locked("net", net, **o), lock.LockError)
    assert "give its path" in said(lambda: lock.assert_locked("net", net, path=3), lock.LockError)  # type: ignore[arg-type]


def small(*widths: int) -> nn.Module:
    torch.manual_seed(0)
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


NET, WIDE = small(3, 4, 2), small(3, 6, 2)
X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
LAWS, SGD = lw.derive(NET, args=X), torch.optim.SGD(NET.parameters(), 0.1)

LEDGERS: dict[str, tuple[Callable[[], object], str]] = {
    "laws in words": (lambda: lw.Ledger(NET, SGD, laws="all"), "laws is 'all'; pass what lw.derive"),  # type: ignore[arg-type]
    "one law": (lambda: lw.Ledger(NET, SGD, LAWS[0]), "pass a list: laws=[law]"),  # type: ignore[arg-type]
    "names of laws": (lambda: lw.Ledger(NET, SGD, [LAWS[0].name]), "among the laws is"),  # type: ignore[list-item]
    "laws of a wide model": (
        lambda: lw.Ledger(NET, SGD, lw.derive(WIDE, args=X)),
        "in the shape (6, 3), and the model's 0.weight has the shape (4, 3)",
    ),
    "laws of a turned model": (
        lambda: lw.Ledger(NET, SGD, lw.derive(small(4, 3, 2), args=torch.randn(5, 4))),
        "in the shape (3, 4), and the model's 0.weight has the shape (4, 3)",
    ),
    "loss": (lambda: lw.Ledger(NET, SGD, loss="foo"), "no loss 'foo'; there are mse"),
    "a module as loss": (lambda: lw.Ledger(NET, SGD, loss=nn.MSELoss()), "the torch module MSELoss; write 'mse'"),  # type: ignore[arg-type]
    "losses": (lambda: lw.Ledger(NET, SGD, loss={"output": 3}), "the loss is 3"),  # type: ignore[dict-item]
    "no optimizer": (lambda: lw.Ledger(NET, []), "the list of optimizers is empty"),
    "another's optimizer": (lambda: lw.Ledger(WIDE, SGD, args=X), "none of the"),
    "seed": (lambda: lw.Ledger(NET, SGD, LAWS, sample=1, seed="a"), "pass an integer"),  # type: ignore[arg-type]
    "no state": (lambda: lw.Ledger(NET, SGD, LAWS).load_state_dict(None), "the saved account is None; pass what"),  # type: ignore[arg-type]
    "another's state": (lambda: lw.Ledger(NET, SGD, LAWS).load_state_dict(SGD.state_dict()), "has no 'version'; pass"),
    "too early": (lambda: lw.Ledger(NET, SGD).load_state_dict({"a": 1}), "has no 'version'; pass"),
    "explained early": (lambda: lw.Ledger(NET, SGD).explain("balance of 0"), "at the first forward pass"),
    "explained number": (lambda: lw.Ledger(NET, SGD, LAWS).explain(3), "3 is no law"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", LEDGERS)
def test_a_ledger_says_what_it_cannot_watch(name: str) -> None:
    make, part = LEDGERS[name]
    assert part in said(make, ValueError, TypeError, KeyError)


def trained() -> lw.Ledger:
    net = small(3, 4, 2)
    sgd = torch.optim.SGD(net.parameters(), 0.1)
    with lw.Ledger(net, sgd, LAWS) as ledger:
        net(X).square().mean().backward()
        sgd.step()
    return ledger


def test_who_is_refused_leaves_no_hooks_and_the_rest_is_seen_at_the_first_step() -> None:
    net, other = small(3, 4, 2), torch.optim.SGD(small(3, 4, 2).parameters(), 0.1)
    one = torch.optim.SGD([*net.parameters(), *small(2, 2, 2).parameters()], 0.1)  # also of another model
    lw.Ledger(net, one, args=X).close()
    said(lambda: lw.Ledger(net, other, args=X))
    assert not net._forward_pre_hooks and not other._optimizer_step_pre_hooks
    assert "optimizer 1 of 2 has 4 parameters, and none of the 4" in said(lambda: lw.Ledger(net, [one, other]))
    assert not one._optimizer_step_pre_hooks
    beside = torch.optim.SGD([net[2].bias], 0.1)  # type: ignore[list-item]
    ledger = lw.Ledger(net, beside)
    net(X).sum().backward()
    assert "none of the" in said(beside.step)
    ledger.close()


def test_figures_and_tables_need_a_place(tmp_path: Path) -> None:
    ledger = trained()
    assert "must be one of .png" in said(lambda: ledger.plot("x.xyz"))
    assert "must be one of .png" in said(lambda: ledger.plot("x"))
    assert "make it first" in said(lambda: ledger.plot(tmp_path / "no" / "x.png"))
    assert "must be a path" in said(lambda: ledger.plot(3))  # type: ignore[arg-type]
    assert "make it first" in said(lambda: lw.dynamics.loggers.to_csv(ledger, tmp_path / "no" / "x.csv"))
    ledger.plot(tmp_path / "x.svg")


def test_a_damaged_account_is_refused() -> None:
    state = trained().state_dict()
    for change, part in (
        ({"version": 7}, "has version 7"),
        ({"accounts": {}}, "is of the laws []"),
        ({"accounts": dict.fromkeys(state["accounts"], 3)}, "is damaged"),
        ({"accounts": {n: {**a, "last": torch.zeros(9)} for n, a in state["accounts"].items()}}, "as last"),
        ({"steps": "a"}, "has the steps 'a'"),
    ):
        assert part in said(lambda c=change: lw.Ledger(NET, SGD, LAWS).load_state_dict(state | c))
    lw.Ledger(NET, SGD, LAWS).load_state_dict(state)


def test_one_error_is_one_error(tmp_path: Path) -> None:
    """A wrong loss is no chain of tracebacks."""
    with pytest.raises(ValueError, match="no loss 'foo'") as caught:
        lock.assert_locked("net", NET, X, loss="foo", path=tmp_path / lock.LOCK, update=True)
    assert caught.value.__suppress_context__ and caught.value.__cause__ is None


def test_a_picture_of_twelve_laws_has_twelve_colours() -> None:
    from lawful.dynamics.figure import MOST, colours

    assert len({tuple(c) for c in colours(MOST)}) == MOST


def test_a_list_of_one_paper_is_of_that_paper(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, part in ((["tran2026"], "tran2026: "), (["marcotte2025/attention"], "  marcotte2025/attention: ")):
        monkeypatch.setattr(sys, "argv", ["lawful", "reproduce", "--list", *words])
        with pytest.raises(SystemExit):
            cli.main()
        out = capsys.readouterr().out
        assert part in out and "kunin2021" not in out


def test_an_interrupted_ledger_leaves_no_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while laws are derived, in a notebook that goes on."""
    net = small(3, 4, 2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lawful.dynamics.watcher.derive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lw.Ledger(net, optimizer, args=X)
    assert not net._forward_pre_hooks and not optimizer._optimizer_step_pre_hooks
