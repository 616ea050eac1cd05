"""The command line: specs, output, exit codes 0 lawful, 1 violated or missing, 2 bad input in one line.

This file is long because every command is tried for what it prints and how it ends.
"""

import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import lawful as lw
from lawful import blocks as b
from lawful import catalog, cli, specs, terminal
from lawful.graph.questions import check as check_module
from lawful.graph.questions import derive as engine
from lawful.graph.questions import reading
from lawful.graph.questions.derive import by_rules as rules
from lawful.theory import telling
from lawful.theory.derive.lawset import LawSet
from lawful.theory.losses import LossLike
from lawful.theory.oracle.counting import Count
from lawful.theory.oracle.verification import corruptions
from lawful.theory.verdict import Verdict

MLP = "family:mlp:widths=3,4,2"
USER_FILE = """
from lawful import blocks as b
import lawful as lw

def net():
    print("a line that must not get into the JSON")
    return b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)

def arch():
    return lw.Architecture(net())

def number():
    return 3

def broken():
    return 1 / 0

def leaves():
    raise SystemExit(0)

def misfit():
    return b.Linear(3, 4) >> b.Linear(3, 2)

constant = 7
"""


@pytest.fixture
def lawful(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs a command line in an empty folder: gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lawful", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err

    return run


def test_derive(lawful) -> None:
    code, out, err = lawful("derive", MLP)
    assert (code, err) == (0, "")
    assert "balance of fc1" in out and "Diagonal(4)" in out
    assert "4 scalar laws in 1 family, 4 independent, loss mse" in out
    assert "\\left" in lawful("derive", MLP, "--latex")[1]


def test_derive_json(lawful) -> None:
    code, out, _ = lawful("derive", MLP, "--loss", "cross_entropy", "--json")
    data = json.loads(out)
    laws = lw.derive(lw.families.mlp((3, 4, 2)), "cross_entropy")
    assert code == 0
    assert (data["count"], data["independent"]) == (laws.count, laws.independent) == (9, 9)
    assert [law["name"] for law in data["laws"]] == [law.name for law in laws]
    assert data["laws"][0]["parameters"] == list(laws[0].parameters)


def test_derive_proof(lawful) -> None:
    code, out, _ = lawful("derive", MLP, "--proof", "balance of fc1")
    assert code == 0
    assert out.startswith("wire balance: balance of fc1 is conserved exactly")
    assert "\\begin{itemize}" in lawful("derive", MLP, "--proof", "balance of fc1", "--latex")[1]
    data = json.loads(lawful("derive", MLP, "--proof", "balance of fc1", "--json")[1])
    assert data["proved"] is True and data["proof"].startswith("wire balance")


def test_verify(lawful) -> None:
    code, out, _ = lawful("verify", MLP)
    assert code == 0 and "verdict: holds" in out
    code, out, _ = lawful("verify", MLP, "--json", "--samples", "2", "--seed", "3")
    data = json.loads(out)
    assert code == 0 and data["verdict"] == "holds"
    assert data["laws"][0]["residual"] < 1e-12 < data["laws"][0]["control"]


def test_verify_without_laws_says_so(lawful) -> None:
    code, out, _ = lawful("verify", "family:mlp:widths=3,4,2:activation=gelu")
    assert code == 0 and "no law to verify" in out


def test_count(lawful) -> None:
    code, out, _ = lawful("count", MLP)
    assert code == 0 and out.startswith("4 independent laws: 26 parameters, rank 22") and "verdict: holds" in out
    data = json.loads(lawful("count", MLP, "--json")[1])
    assert (data["laws"], data["parameters"], data["verdict"]) == (4, 26, "holds")


def test_check(lawful) -> None:
    code, out, _ = lawful("check", MLP)
    assert code == 0 and "complete: no law is missing" in out and "verdict: holds" in out
    data = json.loads(lawful("check", MLP, "--json")[1])
    assert data["lawful"] is data["complete"] is True
    assert data["count"]["laws"] == data["counted"]["rank"] == data["laws"]["independent"] == 4


def test_check_says_that_it_used_a_copy(lawful) -> None:
    code, out, _ = lawful("check", "family:mlp:widths=2000,2000,10")
    assert code == 0 and "on its shrunken copy" in out


def test_shrink(lawful) -> None:
    large = "family:mlp:widths=3000,4000,200"
    code, out, err = lawful("count", large)
    assert (code, out) == (2, "") and "brute force in the memory that is free takes up to" in err
    assert "add --shrink" in err
    assert lawful("count", large, "--shrink")[0] == 0
    assert lawful("verify", large, "--shrink")[0] == 0
    code, _, err = lawful("verify", "family:mlp:widths=100000,100000,10")
    assert code == 2 and "verification takes up to 50,000,000; add --shrink" in err


def test_a_violated_law_gives_exit_code_1(lawful, monkeypatch: pytest.MonkeyPatch) -> None:
    def false(arch: lw.Architecture, loss: LossLike = "mse") -> LawSet:
        laws = rules(arch, loss)
        return LawSet([corruptions(laws[0])[0]], laws.independent, laws.exact_independent, laws.loss, laws.parameters)

    monkeypatch.setattr(engine, "derive", false)
    code, out, _ = lawful("verify", MLP)
    assert code == 1 and "verdict: violated" in out
    for place in (check_module, engine):
        monkeypatch.setattr(place, "by_rules", false)
    code, out, _ = lawful("check", MLP)
    assert code == 1 and "verdict: violated" in out


def test_a_missing_law_gives_exit_code_1(lawful, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (check_module, engine):
        monkeypatch.setattr(place, "by_rules", lambda arch, loss: LawSet([], 0, 0, "mse", 26))
    code, out, _ = lawful("check", MLP)
    assert code == 1 and "NOT complete: 4 laws are missing" in out


def test_what_is_undecided_gives_exit_code_1(lawful, monkeypatch: pytest.MonkeyPatch) -> None:
    undecided = Count(4, 26, (22, 22), 10.0, Verdict.UNDECIDED, "test")
    monkeypatch.setattr("lawful.graph.questions.count.count", lambda *a, **k: undecided)
    monkeypatch.setattr(check_module, "count", lambda *a, **k: undecided)
    assert lawful("count", MLP)[0] == 1
    code, out, _ = lawful("check", MLP)
    assert code == 1 and "undecided: the oracle says undecided" in out


def test_a_proof_that_fails_gives_exit_code_1(lawful, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lawful.theory.laws.proof.Proof.holds", False)
    assert lawful("derive", MLP, "--proof", "balance of fc1")[0] == 1


@pytest.mark.parametrize("function", ["net", "arch"])
def test_a_file_of_the_users_own(lawful, function: str) -> None:
    Path("nets.py").write_text(USER_FILE)
    code, out, err = lawful("derive", f"nets.py:{function}", "--json")
    assert code == 0 and json.loads(out)["independent"] == 4
    assert "a line that must not get into the JSON" in err


@pytest.mark.parametrize(
    ("options", "laws"), [("", 3), (":width=4", 4), (":width=4:bias=true", 4), (":width=4,bias=true", 4)]
)
def test_a_function_takes_its_arguments_as_options(lawful, options: str, laws: int) -> None:
    Path("wide.py").write_text(
        "from lawful import blocks as b\n"
        "def net(width=3, bias=False):\n"
        "    return b.Linear(2, width, bias=False) >> b.ReLU() >> b.Linear(width, 2, bias=bias)\n"
    )
    code, out, _ = lawful("derive", f"wide.py:net{options}", "--json")
    assert code == 0 and json.loads(out)["independent"] == laws


def test_a_json_file(lawful) -> None:
    Path("arch.json").write_text(lw.Architecture(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)).to_json())
    code, out, _ = lawful("derive", "arch.json", "--json")
    assert code == 0 and json.loads(out)["independent"] == 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet18", "cannot read 'resnet18' as a network; write family:NAME"),
        ("", "cannot read '' as a network"),
        ("family:", "no family ''; there are "),
        ("family:nope", "no family 'nope'; there are "),
        ("family:__import__", "no family '__import__'"),
        ("family:mlp", "needs the option 'widths'; write family:mlp:widths=..."),
        ("family:mlp:widths", "option 'widths' of family mlp has no value"),
        ("family:mlp:depth=3", "no option 'depth'; it has widths, activation, bias"),
        ("family:mlp:widths=3,2:widths=3,2", "option 'widths' of family mlp is given twice"),
        ("family:mlp:widths=3,4,2,bias=1", "option 'bias' of family mlp has 1, expected bool"),
        ("family:mlp:widths=3,x,2", "option 'widths' of family mlp has 'x', expected int"),
        ("family:mlp:widths=3,4.5,2", "has 4.5, expected int"),
        ("family:mlp:widths=3,true,2", "has True, expected int"),
        ("family:mlp:widths=3,2:bias=1", "option 'bias' of family mlp has 1, expected bool"),
        ("family:mlp:widths=3,4,2:activation=nope", "no activation 'nope'"),
        ("family:mlp:widths=3,-2", ""),
        ("family:resnet18:width=8,8", "option 'width' of family resnet18 has (8, 8), expected int"),
        ("nets.py", "does not say which function makes the network; write nets.py:function"),
        ("nets.py:nope", "nets.py has no function 'nope'; it has net, arch, number, broken, leaves, misfit"),
        (
            "nets.py:net:width=3",
            "nets.py:net does not take its options: got an unexpected keyword argument 'width', of ()",
        ),
        ("nets.py:net:width", "option 'width' of nets.py:net is none; write key=value"),
        ("nets.py:net:width=3:width=4", "option 'width' of nets.py:net is given twice"),
        ("nets.py:constant", "nets.py has no function 'constant'"),
        ("nets.py:number", "nets.py:number returns an int; return an Architecture"),
        ("nets.py:broken", "nets.py, line 16: ZeroDivisionError: division by zero"),
        ("nets.py:leaves", "nets.py, line 19: SystemExit: 0"),
        ("nets.py:misfit", "reads 3 features but gets 4 features"),
        ("syntax.py:net", "syntax.py, line 2: SyntaxError"),
        ("none.py:net", "there is no file none.py"),
        ("none.json", "cannot read none.json: No such file or directory"),
        ("bad.json", "bad.json: line 2, column 1: this is no JSON"),
        ("text.json", ""),
        ("binary.json", "cannot read binary.json"),
    ],
)
@pytest.mark.parametrize("command", ["derive", "check"])
def test_bad_specs_give_one_line_and_exit_code_2(lawful, command: str, spec: str, message: str) -> None:
    Path("nets.py").write_text(USER_FILE)
    Path("syntax.py").write_text("x = 1\ndef net(:\n")
    Path("bad.json").write_text("{\n")
    Path("text.json").write_text("\"__import__('os')\"")
    Path("binary.json").write_bytes(b"\xff\xfe\x00\x80")
    code, out, err = lawful(command, spec)
    assert (code, out) == (2, "")
    assert err.startswith("lawful: ") and err.count("\n") == 1 and "Traceback" not in err
    assert message in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nope",), "No such command 'nope'"),
        (("derive",), "Missing argument"),
        (("derive", MLP, "--nope"), "No such option"),
        (("derive", MLP, "--loss", "nope"), "no loss 'nope'; there are mse, cross_entropy"),
        (("derive", MLP, "--proof", "nope"), "no law named 'nope'; there is balance of fc1"),
        (("verify", MLP, "--samples", "0"), "greater than or equal to 1"),
        (("verify", MLP, "--seed", "x"), "should be a valid integer"),
        (("catalog", "show", "nope"), "no entry 'nope' in the catalog"),
        (("catalog", "search", "--kind", "nope"), "no kind of law 'nope'"),
        (("demo", "--steps", "1"), "greater than or equal to 8"),
    ],
)
def test_bad_commands_give_one_line_and_exit_code_2(lawful, words: tuple[str, ...], message: str) -> None:
    code, out, err = lawful(*words)
    assert (code, out) == (2, "")
    assert err.startswith("lawful: ") and err.count("\n") == 1
    assert message in err


def test_no_command_prints_the_help(lawful) -> None:
    code, out, _ = lawful()
    assert code == 0
    assert all(command in out for command in ("demo", "derive", "verify", "count", "check", "catalog"))


def test_a_certificate_is_written_and_proved_again(lawful, tmp_path: Path) -> None:
    code, out, _ = lawful("count", MLP, "--exact", "--certificate", "mlp.json")
    assert code == 0
    assert "4 independent laws of 26 parameters" in out
    code, out, _ = lawful("certify", "mlp.json")
    assert code == 0
    assert "4 independent laws of 26 parameters" in out
    assert "22 fields and brackets are independent" in out
    assert "network: the one in mlp.json, of 3 blocks" in out
    assert lawful("certify", "mlp.json", "--of", MLP)[0] == 0
    code, out, _ = lawful("certify", "mlp.json", "--of", "family:mlp:widths=3,5,2")
    assert code == 1
    assert "refused: the network and the polynomial differ in their parameters" in out
    code, out, _ = lawful("certify", "mlp.json", "--json")
    assert code == 0
    assert {k: json.loads(out)[k] for k in ("proved", "at_least", "at_most")} == {
        "proved": True,
        "at_least": 4,
        "at_most": 4,
    }
    (tmp_path / "mlp.json").write_text((tmp_path / "mlp.json").read_text().replace('"at_most":4', '"at_most":3'))
    code, out, _ = lawful("certify", "mlp.json")
    assert code == 1
    assert "refused: the digest" in out
    code, out, _ = lawful("certify", "mlp.json", "--json")
    assert code == 1
    assert json.loads(out)["proved"] is False


def test_ends_of_a_certificate_that_do_not_meet_are_no_success(lawful) -> None:
    code, out, _ = lawful("count", "family:deep_linear:widths=1,2,2,1", "--exact", "--certificate", "c.json")
    assert code == 1
    assert "6 to 7 independent laws" in out
    code, out, _ = lawful("certify", "c.json")
    assert code == 0  # what it says is true
    assert "an interval, no count" in out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("count", MLP, "--certificate", "c.json"), "add --exact"),
        (("count", MLP, "--exact", "--certificate", "."), "is a folder; name a file"),
        (("count", MLP, "--exact", "--certificate", "no/c.json"), "make it first"),
        (("count", MLP, "--exact", "--seed", "3", "--certificate", "c.json"), "leave out --seed"),
        (("count", "family:gpt2", "--shrink", "--exact", "--certificate", "c.json"), "is no polynomial"),
        (("certify", "nowhere.json"), "there is no file nowhere.json"),
        (("certify", "."), "there is no file"),
        (("certify", "pyproject.toml", "--shrink"), "there is no file"),
    ],
)
def test_certificates_that_cannot_be_written_or_read(
    lawful, tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    code, _, err = lawful(*words)
    assert code == 2
    assert reason in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_bug_is_not_called_bad_input(lawful, monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(arch: lw.Architecture, loss: str) -> LawSet:
        raise ValueError("a bug")

    monkeypatch.setattr(engine, "derive", buggy)
    monkeypatch.setattr(sys, "argv", ["lawful", "derive", MLP])
    code, out, err = lawful("derive", MLP)
    assert (code, out) == (3, "") and "a mistake of lawful itself (ValueError: a bug)" in err


def test_catalog(lawful) -> None:
    entries = catalog.search(block="SelfAttention")
    assert entries
    code, out, _ = lawful("catalog", "search", "--block", "SelfAttention")
    assert code == 0 and f"{len(entries)} entries" in out
    data = json.loads(lawful("catalog", "search", "--block", "SelfAttention", "--json")[1])
    assert [e["id"] for e in data["entries"]] == [e.id for e in entries]
    entry = entries[0]
    code, out, _ = lawful("catalog", "show", entry.id)
    assert code == 0 and entry.source in out and entry.latex in out
    assert json.loads(lawful("catalog", "show", entry.id, "--json")[1]) == json.loads(json.dumps(entry.to_data()))


def test_the_catalog_answers_unquoted_words_and_says_where_it_cannot(lawful, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAWFUL_CATALOG", str(tmp_path / "own.sqlite"))
    code, out, _ = lawful("catalog", "search", "what", "does", "AdamW", "do", "to", "attention", "queries")
    assert code == 0 and "attention" in out.splitlines()[2] and "AdamW: broken" in out
    code, out, _ = lawful("catalog", "search", "zzyx", "blorb")
    assert code == 1 and "the nearest entries" in out
    assert lawful("catalog", "cite", "attention/balance/heads.q")[1].startswith("@inproceedings{marcotte2025,")
    assert lawful("catalog", "between", "RMSNorm", "Linear")[0] == 0
    assert lawful("catalog", "breaks", "adam")[0] == 0 and lawful("catalog", "breaks", "gradient-flow")[0] == 1
    assert lawful("catalog", "search", "relu", "--kind", "nope")[0] == 2
    assert lawful("catalog", "show", "nope")[0] == 2


def test_the_catalog_keeps_your_laws(lawful, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAWFUL_CATALOG", str(tmp_path / "own.sqlite"))
    assert lawful("catalog", "add", MLP, "--name", "zebra", "--check")[0] == 0
    code, out, _ = lawful("catalog", "search", "zebra")
    assert code == 0 and "own/zebra/balance/fc1" in out
    assert "complete for the network itself" in lawful("catalog", "show", "own/zebra/balance/fc1")[1]
    assert lawful("catalog", "export", "zebra.json")[0] == 0 and lawful("catalog", "remove", "zebra")[0] == 0
    assert "nothing of your own" in lawful("catalog", "own")[1]
    assert lawful("catalog", "import", "zebra.json")[0] == 0 and "zebra: 1" in lawful("catalog", "own")[1]
    assert lawful("catalog", "remove", "lion")[0] == 2
    assert "no law is missing" in lawful("catalog", "ask", MLP)[1]


def test_every_family_can_be_named() -> None:
    for name in specs.families():
        # three cannot do without; the experts of one at its full depth take as long as all other families
        options = {
            "mlp": ":widths=3,4,2",
            "resnet": ":stages=1,1",
            "vgg": ":stages=8,8/16,",
            "deepseek_moe": ":layers=2",
        }.get(name, "")
        assert isinstance(specs.load(f"family:{name}{options}"), lw.Architecture)


def test_options_reach_the_family() -> None:
    arch = specs.load("family:mlp:widths=3,4,2:bias=false:activation=gelu")
    assert {n: p.shape for n, p in arch.parameters.items()} == {"fc1.weight": (4, 3), "fc2.weight": (2, 4)}
    vgg = specs.load("family:vgg:stages=8,8/16:space=32,32:dropout=0:classes=10")
    assert [p.shape[0] for p in vgg.parameters.values() if len(p.shape) == 4] == [8, 8, 16]


def test_importing_lawful_loads_nothing_heavy() -> None:
    code = (
        "import sys, lawful; lawful.__version__; dir(lawful);"
        "heavy = {'torch', 'sympy', 'networkx', 'numpy', 'hypothesis', 'matplotlib', 'rich'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_front_door() -> None:
    for name in lw.__all__:
        assert getattr(lw, name) is not None
    assert set(lw.__all__) == set(dir(lw))
    with pytest.raises(AttributeError, match="lawful has no attribute 'nope'"):
        lw.nope  # noqa: B018
    assert dataclasses.is_dataclass(lw.CheckReport)


@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.nightly)])
def test_a_pipe_that_is_gone_has_not_the_code_of_violated(unbuffered):
    """`lawful derive SPEC | head -1`: click ends with 1 where a write in the middle of a command fails."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "lawful", "derive", "family:mlp:widths=3,4,2"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment, text=True)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_long_command_says_in_a_pipe_that_it_works(monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    written, seen = [], threading.Event()

    class Pipe(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            if "verifying" in text:
                seen.set()
            return len(text)

    monkeypatch.setattr(telling, "PATIENCE", 0.001)
    monkeypatch.setattr(sys, "stderr", Pipe())
    with terminal.status(quiet, "deriving") as say:
        say("verifying 3 families of laws")
        assert quiet or seen.wait(60)
    count = len(written)
    assert ("lawful: still verifying 3 families of laws" in written) is not quiet
    assert len(written) == count, "the thread has ended"


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.seen.set()
        return super().write(text)


@pytest.mark.parametrize("question", ["check", "count", "parameter_count"])
def test_a_long_question_in_python_tells_a_terminal_what_it_does(
    monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    """And nobody else: not a pipe, not who is told already."""
    screen, mlp, told = Terminal(), lw.families.mlp([2, 2, 1]), []
    ask = getattr(lw, question)
    monkeypatch.setattr(telling, "SOON", 0.0)
    monkeypatch.setattr(sys, "stderr", screen)
    before = telling.watched("asking")
    with before as say:
        assert say is not None and screen.seen.wait(60)
        text = screen.getvalue()
        ask(mlp)  # inside, nobody tells a second time
    assert text.startswith("lawful: still asking\n") and question not in screen.getvalue()

    def watched(what: str) -> object:
        told.append(what)
        return telling.told()

    monkeypatch.setattr(reading, "watched", watched)
    ask(mlp)
    assert told[0] == f"busy with {question}"
    ask(mlp, progress=told.append)
    assert sum(line.startswith("busy with") for line in told) == 1 and len(told) > 1
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with telling.watched("asking") as say:
        assert say is None


@pytest.mark.parametrize("spec", [MLP, "family:gpt2:layers=1:width=8:heads=2:vocabulary=11:context=4"])
def test_in_a_narrow_terminal_no_name_in_a_formula_is_broken(
    monkeypatch: pytest.MonkeyPatch, lawful, spec: str
) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # processes of xdist have one of their own
    code, wide, _ = lawful("verify", spec)
    assert "what is conserved" in wide
    monkeypatch.setenv("COLUMNS", "60")
    narrow_code, narrow, _ = lawful("verify", spec)
    assert narrow_code == code and max(map(len, narrow.splitlines())) <= 60 and "what is conserved" not in narrow
    for law in lw.derive(spec):
        assert f"{law.name}\n  indexed by {law.algebra}, {law.count} scalar" in narrow
        assert all(word in narrow for word in law.short.split() if len(word) <= 58), law.name
