"""Bad calls of what acts on models, files and options: each is one sentence of lawful that says what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    "no map": (("audit", "no.json", MLP), "cannot read the map no.json: No such file or directory; it is a JSON"),
    "a folder as map": (("audit", "dir", MLP), "Is a directory; it is a JSON file"),
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
