"""What three people stumbled over in their first hours, each with what they get now: theorist, builder, engineer."""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_stumbles import run
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful import cli
from lawful.testing import assert_lawful
from lawful.theory.oracle.counting import Count

X = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
RELU = b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)


# A theorist


def test_laws_proofs_and_reports_print_what_they_say() -> None:
    laws = lw.derive(RELU)
    assert str(laws[0]) == "balance of 0: ‖0.weight[i,:]‖² + 0.bias[i]² - ‖2.weight[:,i]‖²"
    assert len(repr(laws[0].proof)) < 80 and "print it" in repr(laws[0].proof)
    report = lw.verify(RELU)
    assert str(report).startswith("balance of 0: holds, residual") and str(report).endswith("verdict: holds")
    assert repr(report) == "<Report: verdict holds, 1 law; print it for the whole>"
    assert "no law of this flow was derived" in str(lw.flows.laws(RELU, lw.flows.Momentum()))


def test_notes_stand_below_the_laws() -> None:
    laws = lw.derive(Odd(), args=torch.randn(2, 3))
    assert laws.notes and all(f"note: {n}" in str(laws) for n in laws.notes)


class Odd(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.logcumsumexp(super().forward(x), -1)


def results() -> list[type]:
    """The public dataclasses: those that questions give back."""
    found: dict[type, None] = {}
    for path in ("", "catalog", "dynamics", "dynamics.predict", "export", "flows", "losses", "testing"):
        module = functools.reduce(getattr, filter(None, path.split(".")), lw)
        for name in getattr(module, "__all__", None) or dir(module):
            thing = getattr(module, name, None)
            if isinstance(thing, type) and dataclasses.is_dataclass(thing) and thing.__module__.startswith("lawful"):
                found[thing] = None
    return [c for c in found if any(f.init for f in dataclasses.fields(c)) and c is not lw.flows.Flow]


@pytest.mark.parametrize("cls", results(), ids=lambda c: f"{c.__module__}.{c.__name__}")
def test_a_public_dataclass_refuses_what_it_cannot_hold(cls: type) -> None:
    with pytest.raises(ValueError) as caught:
        cls(**{f.name: object() for f in dataclasses.fields(cls) if f.init})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"independent": "a"}, {"parameters": 1.5}, {"exact_independent": None}, {"loss": 3}])
def test_a_set_of_laws_refuses_wrong_counts(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {"laws": [], "independent": 0, "exact_independent": 0, "loss": "mse", "parameters": 3}
    with pytest.raises(ValueError, match=f"LawSet: {next(iter(wrong))} is"):
        lw.LawSet(**right | wrong)  # type: ignore[arg-type]
    assert lw.LawSet([], 2**70, 2**70, "mse", 2**70).independent == 2**70


def test_what_is_undecided_says_why_and_what_to_do() -> None:
    narrow = Count(2, 8, (6, 6), 1e6, lw.Verdict.UNDECIDED, "lie algebra; not in 120 digits: 200 parameters", True)
    assert "1e+06" in narrow.doubt and "below 1e+09" in narrow.doubt and "fewer layers" in narrow.doubt
    assert "try another seed" in dataclasses.replace(narrow, gap=3.0).doubt
    assert not dataclasses.replace(narrow, verdict=lw.Verdict.HOLDS).doubt
    found = lw.check(RELU)
    assert found.outcome == "verdict: holds"
    undecided = dataclasses.replace(found, count=dataclasses.replace(found.count, verdict=narrow.verdict, gap=1e6))
    assert str(undecided).splitlines()[-1].startswith("verdict: undecided, because the count of the network itself")
    none = dataclasses.replace(found, count=None, subject=dataclasses.replace(found.subject, reason="too large"))
    assert none.outcome == "verdict: undecided, because nothing was counted: too large"


# A builder


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        h = self.trunk(x).relu()
        return {"cls": self.a(h), "box": self.b(h)}


class Batch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.u, self.o = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.o(self.u(batch["x"]).relu() * batch["mask"])


def test_losses_go_by_the_names_that_a_module_gives_its_outputs() -> None:
    module, losses = Heads(), {"cls": "cross_entropy", "box": "mse"}
    laws = lw.derive(module, losses, args=X)
    assert laws.count == 13 == lw.derive(module, {"a": "cross_entropy", "b": "mse"}, args=X).count
    assert lw.verify(module, laws, losses, args=X).verdict is lw.Verdict.HOLDS
    assert_lawful(module, (X,), losses)
    arch = lw.trace(module, X)
    assert lw.derive(arch.freeze("trunk"), losses).loss == "cross_entropy + mse"
    for wrong in ({"cls": "mse"}, {"cls": "mse", "boxes": "mse"}):
        with pytest.raises(ValueError, match="cls, box"):
            lw.derive(module, wrong, args=X)


def test_a_network_of_blocks_with_two_outputs_and_two_inputs() -> None:
    net = b.Wiring(
        {"trunk": b.Linear(4, 6) >> b.ReLU(), "cls": b.Linear(6, 3), "box": b.Linear(6, 2)},
        {"trunk": "input", "cls": "trunk", "box": ("trunk",)},
        ("cls", "box"),
    )
    assert lw.derive(net, {"cls": "cross_entropy", "box": "mse"}).count == 13
    two = b.Wiring({"u": b.Linear(3, 5), "v": b.Linear(4, 5), "p": b.Product()}, {"u": "input:0", "v": "input:1"}, "p")
    two = dataclasses.replace(two, reads=two.reads | {"p": ("u", "v")})
    assert len(lw.Architecture(two, input=(b.Signal(3), b.Signal(4))).inputs) == 2


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "branches": (lambda: b.parallel(b.Linear(3, 4), b.Linear(3, 5)), "several outputs by lawful.blocks.Wiring"),
    "an input": (lambda: lw.Architecture(b.Wiring({"u": b.ReLU()}, {"u": "input:1"}, "u")), "input=(Signal(3), Sig"),
    "a dict": (lambda: lw.derive(Batch(), args={"x": X}), "args=(batch,)"),  # type: ignore[arg-type]
    "a torch loss": (lambda: lw.derive(RELU, nn.CrossEntropyLoss()), "write 'cross_entropy'"),  # type: ignore[arg-type]
    "a function": (lambda: lw.derive(RELU, nn.functional.mse_loss), "write 'mse'"),  # type: ignore[arg-type]
    "logits": (lambda: lw.derive(RELU, [nn.BCEWithLogitsLoss()]), "write 'bce'"),  # type: ignore[list-item]
    "own": (lambda: lw.derive(RELU, lambda z: z.sum()), "assert_lawful"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_what_to_write(name: str) -> None:
    make, part = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(part)) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_dict_that_the_forward_reads_itself() -> None:
    assert lw.derive(Batch(), args=({"x": X, "mask": torch.ones(7, 5)},))


# An engineer


@pytest.mark.parametrize("words", [("-h",), ("catalog", "-h")])
def test_no_line_of_the_commands_is_cut(words: tuple[str, ...]) -> None:
    found = run(*words, COLUMNS="80", TERM="dumb").stdout
    assert "..." not in found.partition("Commands:")[2]
    first = [line.split()[0] for line in found.partition("Commands:")[2].splitlines() if line.strip()]
    assert words != ("-h",) or first[:3] == ["check", "derive", "verify"]


def test_a_file_says_what_it_should_return(tmp_path: Path) -> None:
    file = tmp_path / "nets.py"
    file.write_text(
        "import torch\nfrom torch import nn\nNet = lambda: nn.Linear(3, 2)\n"
        "def bare():\n    return Net()\ndef batch():\n    return Net(), {'x': torch.ones(2, 3)}\n"
    )
    with pytest.raises(ValueError, match=r"write a function that returns \(module, \(x,\)\)"):
        lw.derive(f"{file}:bare")
    with pytest.raises(ValueError, match=r"also where x is a dict that the forward reads itself"):
        lw.derive(f"{file}:batch")


def test_an_operation_that_is_not_understood_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.py").write_text(
        "import torch\nfrom torch import nn\nclass Odd(nn.Sequential):\n    def forward(self, x):\n"
        "        return torch.logcumsumexp(super().forward(x), -1)\n"
        "def make():\n    return Odd(nn.Linear(3, 4)), (torch.randn(2, 3),)\n"
    )
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["lawful", "derive", f"{tmp_path}/odd.py:make"])
    with pytest.raises(SystemExit):
        cli.main()
    out = capsys.readouterr().out
    assert sum("logcumsumexp in" in line for line in out.splitlines()) == 1, out


def test_a_file_may_import_its_neighbours_and_leaves_the_path_alone(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_a_network.py").write_text("WIDTH = 4\n")
    file = tmp_path / "net.py"
    file.write_text(
        "from neighbour_of_a_network import WIDTH\nfrom lawful import blocks as b\n"
        "def make():\n    return b.Linear(3, WIDTH) >> b.Linear(WIDTH, 2)\n"
    )
    before = list(sys.path)
    assert lw.derive(f"{file}:make").count == 10
    assert sys.path == before
