"""The atlas: what one model gives, worker processes that die, journals that were cut, tables and the page.

This file is long because all stages of a survey are tried on the same few models.
"""

import json
import os
import re
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful import cli
from lawful.atlas import measure as measure_module
from lawful.atlas.built import Built, NotBuilt, awaken, said, without_caches
from lawful.atlas.measure import Task, measure
from lawful.atlas.models import build
from lawful.atlas.page import docs_text, summary, write_docs, write_page
from lawful.atlas.record import Record, inherit, read_csv, unverified_families, write_csv
from lawful.atlas.run import Journal, Limits, left_to_do, run, second_pass, write_table

# A worker that needs no torch: it does what the name of the model says.
WORKER = """
import json, os, signal, sys, time
for line in sys.stdin:
    task = json.loads(line)
    what = task["name"].partition(":")[2]
    if what == "hang":
        time.sleep(100)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "leave":
        sys.exit(3)
    print("noise of the model", file=sys.stderr)
    record = {"name": task["name"], "status": "laws", "scalars": 3, "parameters": 10, "family": "f"}
    record["verdict"] = "holds" if task["verifiable"] > 1e8 else ""
    record["reason"] = str(os.getpid())
    print(json.dumps(record), flush=True)
"""
RECORDS = [
    Record("timm:small", "net", "laws", parameters=5, scalars=4, exact=3, kinds={"balance": 4}, verdict="holds",
           residual=1e-15, verified_on="image 64x64", seconds={"export": 0.5}),
    Record("timm:large", "net", "opaque", parameters=50, scalars=40, opaque={"aten.fft": 2}, shadowed=9),
    Record("timm:huge", "alone", "laws", parameters=70, scalars=7),
    Record("timm:bad", status="failed", reason="RuntimeError: a | b </script> `c`"),
    Record("torchvision:vgg", "vgg", "laws", parameters=9, scalars=1, verdict="violated", residual=None),
    Record("hf:none", "none", "not built", reason="it reads sound", published=False),
]  # fmt: skip


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    path = tmp_path / "worker.py"
    path.write_text(textwrap.dedent(WORKER))
    return Limits(workers=2, timeout=20.0, command=(sys.executable, str(path)))


def tasks(*names: str) -> list[Task]:
    return [Task(f"timm:{n}") for n in names]


def test_every_model_is_measured_once_by_few_processes(tmp_path: Path, limits: Limits) -> None:
    journal, seen = Journal(tmp_path / "out" / "journal.jsonl"), []
    run(tasks(*"abcdefg"), journal, limits, seen.append)
    assert sorted(r.name for r in seen) == [f"timm:{n}" for n in "abcdefg"]
    assert {n: r.status for n, r in journal.read().items()} == {f"timm:{n}": "laws" for n in "abcdefg"}
    assert len({r.reason for r in seen}) <= 2
    assert "noise of the model" in (tmp_path / "out" / "journal.log").read_text()


def test_a_fresh_process_takes_over_after_a_chunk(tmp_path: Path, limits: Limits, monkeypatch) -> None:
    monkeypatch.setattr("lawful.atlas.run.CHUNK", 2)
    seen = []
    run(tasks(*"abcdef"), Journal(tmp_path / "j.jsonl"), limits, seen.append)
    processes = [r.reason for r in seen]
    assert len(seen) == 6 and max(processes.count(p) for p in processes) == 2


def test_what_hangs_or_dies_costs_one_model(tmp_path: Path, limits: Limits, monkeypatch) -> None:
    monkeypatch.setattr("lawful.atlas.run.START", 0.0)
    journal = Journal(tmp_path / "j.jsonl")
    limits = Limits(2, 2.0, 0, limits.command)
    run(tasks("a", "die", "hang", "b", "leave", "c"), journal, limits)
    found = journal.read()
    assert [found[f"timm:{n}"].status for n in "abc"] == ["laws"] * 3
    assert found["timm:hang"].reason == "no answer within 2 seconds"
    assert found["timm:die"].reason == "the process was stopped by SIGKILL, most likely for want of memory"
    assert found["timm:leave"].reason == "the process ended with code 3"


def test_an_interrupted_run_leaves_no_process(tmp_path: Path, limits: Limits) -> None:
    journal, seen = Journal(tmp_path / "j.jsonl"), []

    def stop(record: Record) -> None:
        seen.append(int(record.reason))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tasks("a", "hang", "b"), journal, limits, stop)
    assert len(seen) == 1 and len(journal.read()) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


def test_the_real_worker_answers_and_keeps_its_memory_limit(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    run([Task("nowhere:x"), Task("timm:no_such_model")], journal, Limits(1, 60.0, 8_000_000_000))
    found = journal.read()
    assert found["nowhere:x"].status == "not built" and "there are torchvision, timm, hf" in found["nowhere:x"].reason
    assert found["timm:no_such_model"].status == "not built"
    starved = Journal(tmp_path / "starved.jsonl")
    run([Task("nowhere:x")], starved, Limits(1, 60.0, 20_000_000))
    assert starved.read()["nowhere:x"].status == "failed"


def test_a_journal_survives_a_cut_line_and_other_versions(tmp_path: Path, monkeypatch) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.append(RECORDS[0])
    with journal.path.open("a") as file:
        file.write('{"name": "timm:hal')
    journal.append(RECORDS[1])
    journal.append(Record("timm:small", status="opaque"))
    with journal.path.open("a") as file:
        file.write("[1]\n3\n")
    assert {n: r.status for n, r in journal.read().items()} == {"timm:small": "opaque", "timm:large": "opaque"}
    monkeypatch.setattr("lawful.atlas.run.versions", lambda: {"torch": "another"})
    assert journal.read() == {}


def test_a_rerun_takes_up_what_is_left() -> None:
    done = {r.name: r for r in RECORDS}
    names = [*done, "timm:new"]
    assert left_to_do(names, done, None) == ["timm:new"]
    assert set(left_to_do(names, done, "failed")) == {"timm:bad", "timm:new"}
    assert set(left_to_do(names, done, "opaque")) == {"timm:large", "timm:new"}
    assert set(left_to_do(names, done, "timm:h*")) == {"timm:huge", "timm:new"}
    mixed = left_to_do(names, done, "all")
    assert sorted(mixed) == sorted(names) and mixed == left_to_do(names[::-1], done, "all") != sorted(names)


def test_large_models_take_the_verdict_of_a_sibling() -> None:
    found = {r.name: r for r in inherit(RECORDS)}
    assert (found["timm:large"].verdict, found["timm:large"].verified_on) == ("holds", "sibling small")
    assert found["timm:small"] == RECORDS[0] and not found["timm:large"].verified
    assert found["timm:huge"].verdict == found["timm:bad"].verdict == ""
    # A model whose laws are violated lends nothing, and needs no other to speak for its family.
    twin = Record("torchvision:vgg2", "vgg", "laws", parameters=20, scalars=1)
    assert inherit([*RECORDS, twin])[-1].verdict == ""
    assert unverified_families([*RECORDS, twin]) == ["timm:huge"]


def test_the_second_pass_keeps_what_was_derived(tmp_path: Path, limits: Limits) -> None:
    names = [r.name for r in RECORDS]
    (task,) = second_pass(RECORDS, names, training=False)
    assert task.name == "timm:huge" and task.verifiable > 1e8
    assert second_pass(RECORDS, ["timm:large"], training=False) == []
    journal = Journal(tmp_path / "j.jsonl")
    run([task], journal, limits)
    assert journal.read()["timm:huge"].verdict == "holds"
    dying = Record("timm:die", "alone", "laws", parameters=70, scalars=7)
    run([Task("timm:die")], journal, limits, derived={"timm:die": dying})
    kept = journal.read()["timm:die"]
    assert (kept.status, kept.scalars, kept.verdict) == ("laws", 7, "not verified") and "SIGKILL" in kept.reason


def test_the_table_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "atlas.csv"
    write_csv(path, RECORDS)
    assert read_csv(path) == RECORDS
    assert path.read_text().splitlines()[0].startswith("name,family,status,reason,fault,published,training")
    path.write_text(path.read_text().replace(",50,", ",fifty,"))
    with pytest.raises(ValueError, match=r"atlas.csv, line 3: this is no row of the atlas"):
        read_csv(path)


def test_the_table_is_sorted_and_inherits(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    for r in RECORDS:
        journal.append(r)
    rows = write_table(tmp_path / "atlas.csv", journal)
    assert [r.source for r in rows] == ["torchvision", *["timm"] * 4, "hf"]
    assert read_csv(tmp_path / "atlas.csv") == rows


def test_the_summary_counts() -> None:
    rows = {row[0]: row[1:] for row in summary(inherit(RECORDS))}
    assert rows["timm"] == ("4", "3", "2", "0", "1", "1", "0", "0", "1", "1", "0", "51")
    assert rows["torchvision"][-2] == "1"
    assert rows["transformers"][:7] == ("1", "0", "0", "0", "0", "0", "1")
    assert rows["all"][0] == "6"
    assert [row[0] for row in summary(RECORDS[:2])] == ["timm"]


def test_the_page_holds_its_data_and_reads_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    text = write_page(tmp_path / "atlas.html", RECORDS).read_text()
    assert text.count("</script>") == 1 and not re.search(r"(src|href)\s*=|https?://|@import|fetch\(", text)
    data = re.search(r"^const records = (.*);$", text, re.MULTILINE)
    assert data is not None
    assert [Record.from_data(r) for r in json.loads(data[1])] == RECORDS


def test_the_docs(tmp_path: Path) -> None:
    page, table = write_docs(tmp_path / "docs", inherit(RECORDS))
    text = page.read_text()
    assert read_csv(table) == inherit(RECORDS)
    assert "| timm | 4 | 3 | 2 | 0 | 1 | 1 | 0 | 0 | 1 | 1 | 0 | 51 |" in text
    assert "| `RuntimeError: a \\| b </script> 'c'` | 1 |" in text and "| `aten.fft` | 1 |" in text
    assert "No model has an opaque block." in docs_text(RECORDS[:1])


class Net(torch.nn.Module):
    """Two layers, so that there are laws."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(torch.relu(self.fc1(x)))


def fake_trace(module: torch.nn.Module, *args: torch.Tensor, **kwargs: torch.Tensor) -> lw.Architecture:
    """What tracing `Net` has to give."""
    arch = lw.Architecture(b.chain(fc1=b.Linear(3, 4), act=b.ReLU(), fc2=b.Linear(4, 2)))
    arch.trace = SimpleNamespace(  # type: ignore[assignment]
        opaque=(),
        narrow=(),
        behind=(),
        branches=False,
        limits=(),
        axes=(-1,),
        seconds={"export": 0.1, "lower": 0.2},
        outputs=(),
        comparison=SimpleNamespace(outputs=1e-16, gradients=float("nan")),
    )
    return arch


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> dict:
    """Replaces building and tracing; the calls are noted."""
    notes: dict = {"built": []}

    def build(name: str, *, full: bool, training: bool = False, attention: str | None = None) -> Built:
        notes["built"].append((full, training, attention))
        return Built(Net().train(training), (torch.randn(2, 3),), family="nets", published=full, how="image 3")

    monkeypatch.setattr(measure_module, "build", build)
    monkeypatch.setattr("lawful.graph.tracing.trace", fake_trace)
    monkeypatch.setattr("lawful.graph.tracing.TraceError", RuntimeError)
    return notes


def test_a_record_of_a_small_model(built: dict) -> None:
    record = measure(Task("timm:net"))
    assert (record.status, record.reason, record.family, record.parameters) == ("laws", "", "nets", 26)
    assert (record.scalars, record.families, record.exact) == (9, 3, 9)
    assert record.kinds == {"balance": 4, "shift": 5}
    assert (record.verdict, record.verified_on) == ("holds", "image 3") and record.residual < 1e-12
    assert record.output_error == 1e-16 and record.gradient_error is None
    assert built["built"] == [(True, False, None), (False, False, None)]
    assert set(record.seconds) == {"build", "export", "lower", "derive", "verify"}
    json.dumps(record.to_data(), allow_nan=False)


def test_a_large_model_is_left_to_its_sibling(built: dict) -> None:
    record = measure(Task("timm:net", training=True, verifiable=25))
    assert (record.status, record.scalars, record.verdict, record.training) == ("laws", 9, "", True)
    assert built["built"] == [(True, True, None)]


def test_false_laws_are_violated(built: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bent(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * (1 + self.fc1.weight[0, 0] ** 2)

    monkeypatch.setattr(sys.modules[__name__], "Net", Bent)
    assert measure(Task("timm:net")).verdict == "violated"


def test_a_tiny_model_is_built_once(built: dict) -> None:
    record = measure(Task("hf:net"))
    assert built["built"] == [(False, False, None)] and record.verdict == "holds" and not record.published


def test_another_attention_is_tried(built: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    def once(module: torch.nn.Module, *args: torch.Tensor) -> lw.Architecture:
        if len(built["built"]) == 1:
            raise RuntimeError("sdpa does not export")
        return fake_trace(module, *args)

    monkeypatch.setattr("lawful.graph.tracing.trace", once)
    assert measure(Task("hf:net")).status == "laws"
    assert built["built"] == [(False, False, None), (False, False, "eager")]
    built["built"].clear()
    record = measure(Task("timm:net"))
    assert (record.status, record.reason) == ("failed", "RuntimeError: sdpa does not export")


def test_errors_end_in_the_record(built: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, **options: object) -> Built:
        raise NotBuilt("it has no head")

    def lost(arch: lw.Architecture, loss: str) -> None:
        raise ZeroDivisionError("division\n  by zero")

    with monkeypatch.context() as patch:
        patch.setattr("lawful.graph.questions.check.verify", lost)
        record = measure(Task("timm:net"))
        assert (record.status, record.scalars, record.verdict) == ("laws", 9, "not verified")
        assert record.reason.startswith("verification: TypeError")
    monkeypatch.setattr("lawful.graph.questions.derive.derive", lost)
    assert measure(Task("timm:net")).reason == "ZeroDivisionError: division by zero"
    monkeypatch.setattr(measure_module, "build", refuse)
    assert measure(Task("timm:net")).status == "not built"


def test_errors_are_short() -> None:
    assert said(ValueError("")) == "ValueError"
    assert len(said(ValueError("x" * 1000))) == 200


@pytest.fixture
def lawful(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, limits: Limits):
    """Runs a command line in an empty folder with four models and a worker that needs no torch."""
    monkeypatch.chdir(tmp_path)
    found = ["timm:a", "timm:die", "timm:c", "timm:d"]
    monkeypatch.setattr("lawful.atlas.models.names", lambda only: [n for n in found if only in ("*", n)])
    monkeypatch.setattr("lawful.atlas.run.Limits", lambda *values: Limits(*values[:3], limits.command))

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lawful", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err

    return call


def test_the_command(lawful) -> None:
    pytest.importorskip("jinja2")
    code, out, err = lawful("atlas", "--limit", "3", "--workers", "1")
    assert code == 0 and "3/3 timm:d: laws" in err and "timm:die: failed  the process was stopped by SIGKILL" in err
    assert "atlas/atlas.csv" in out and Path("atlas/atlas.html").exists()
    # The rest, and then the smallest of the family once more, for its verification.
    code, out, err = lawful("atlas", "--json", "--workers", "1")
    found = {r["name"]: r for r in json.loads(out)["records"]}
    assert code == 0 and err == "" and set(found) == {"timm:a", "timm:die", "timm:c", "timm:d"}
    assert sum(r["verified_on"].startswith("sibling") for r in found.values()) == 2
    assert lawful("atlas", "--docs") == (0, "docs/atlas.md\ndocs/atlas.csv\n", "")
    assert "| timm | 4 | 3 |" in Path("docs/atlas.md").read_text()
    assert lawful("atlas", "--again", "failed", "--workers", "1")[2].count("timm:") == 1


def test_a_violated_law_gives_exit_code_1(lawful) -> None:
    pytest.importorskip("jinja2")
    Journal(Path("atlas/journal.jsonl")).append(Record("timm:a", "f", "laws", scalars=1, verdict="violated"))
    assert lawful("atlas", "--only", "timm:a")[0] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--only", "nope"), "no model matches 'nope'; names are whole, with * for anything"),
        (("--docs",), "cannot read atlas/atlas.csv: No such file or directory; run lawful atlas first"),
        (("--workers", "0"), "greater than or equal to 1"),
    ],
)
def test_bad_input_gives_one_line(lawful, words: tuple[str, ...], message: str) -> None:
    code, out, err = lawful("atlas", *words)
    assert (code, out) == (2, "") and err.count("\n") == 1 and message in err


def test_no_jinja_is_said_before_the_run(lawful, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, _, err = lawful("atlas")
    assert code == 2 and "pip install 'lawful[site]'" in err


def test_what_is_known_of_a_model_that_fails_is_kept(built: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("lawful.graph.tracing.trace", refuse)
    record = measure(Task("timm:net"))
    assert (record.status, record.family, record.parameters) == ("failed", "nets", 26)


def test_a_network_is_brought_to_a_point_where_all_of_it_works() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    torch.nn.init.constant_(net[3].bias, 1e-6)
    weight, x = net[0].weight.clone(), 5 + torch.randn(64, 3)
    awaken(net, x)
    assert not any(m.training for m in net) and net[1].momentum == 0.1
    assert torch.equal(net[0].weight, weight) and (net[1].weight == 1).all()
    assert (net[1].bias > 0).all() and (net[3].bias > 1e-5).all()
    assert torch.allclose(net[1].running_mean, net[0](x).mean(0), atol=1e-5)


def test_a_cache_of_a_parameter_is_not_read_again() -> None:
    """LeViT in timm, in evaluation: biases of the first call stay, so that laws of the true ones look violated."""

    class Cached(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.biases = torch.nn.Parameter(torch.ones(3))
            self.attention_bias_cache: dict[str, torch.Tensor] = {}

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if "cpu" not in self.attention_bias_cache:
                self.attention_bias_cache["cpu"] = self.biases * 1
            return x + self.attention_bias_cache["cpu"]

    for module, expected in ((Cached(), 1.0), (without_caches(torch.nn.Sequential(Cached())), 2.0)):
        x = torch.zeros(3)
        module(x)
        with torch.no_grad():
            next(module.parameters()).fill_(2.0)
        assert module(x)[0].item() == expected


def test_a_model_with_few_positions_reads_as_many_tokens() -> None:
    """Eight tokens were given whatever the model has room for, so that its forward did not run."""
    sizes = {"n_layer": 1, "n_embd": 8, "n_head": 2, "n_positions": 5}
    built = build("hf:gpt2", full=False, options=sizes)
    assert built.kwargs["input_ids"].shape[1] == 5
