"""The page about a network stands alone, without scripts, repeated layers folded; pictures by their ending."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful import cli
from lawful.graph.drawing.captions import FAMILY_OF, colour_of
from lawful.graph.drawing.pen import LONGEST, short_name
from lawful.page import page
from lawful.theory.gauge import rules

VOID = {"meta", "link", "br", "img", "path", "use", "rect"}


class Tags(HTMLParser):
    """Which tags a page has, and whether they are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)


def test_the_page_stands_alone() -> None:
    arch = lw.Architecture(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2))
    text = page(arch, "<mine> & co", found=lw.check(arch))
    tags = Tags()
    tags.feed(text)
    assert tags.open == [] and {"svg", "table", "details"} <= tags.seen and "script" not in tags.seen
    assert "&lt;mine&gt; &amp; co" in text and "<mine>" not in text
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", text)
    assert "complete: no law is missing" in text and "every hypothesis was checked again" in text
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text


def test_python_writes_the_page_of_the_command(tmp_path: Path) -> None:
    module, x = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)), torch.randn(5, 3)
    written = lw.report(module, tmp_path / "net.html", "cross_entropy", args=x)
    text = written.read_text(encoding="utf-8")
    assert written == tmp_path / "net.html" and "<h1>Sequential</h1>" in text and "complete: no law is missing" in text
    lw.report("family:mlp:widths=3,4,2", str(written), count=False, title="mine")
    text = written.read_text(encoding="utf-8")
    assert "<h1>mine</h1>" in text and "not verified and not counted" in text
    with pytest.raises(b.ShapeError, match=r"net.pdf: the ending must be .html"):
        lw.report(module, tmp_path / "net.pdf", args=x)


def test_repeated_layers_are_one_row_and_what_is_missing_is_said() -> None:
    arch = lw.families.llama(layers=80, width=8192, heads=64, kv_heads=8, hidden=28672)
    text = page(arch, "a llama", "cross_entropy")
    assert len(text) < 5e6 and "and 79 more like it" in text and "this is its shrunken copy" in text
    assert text.count("<details>") < 20
    assert page(lw.Architecture(b.Linear(3, 4) >> b.GELU() >> b.Linear(4, 2)), "none").count("No law was derived") == 1


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["lawful", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0

    mlp = "family:mlp:widths=3,4,2"
    for ending, begins in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".mmd", b"flowchart"), (".dot", b"digraph")):
        assert run("draw", mlp, "-o", f"{tmp_path}/net{ending}") == 0
        assert (tmp_path / f"net{ending}").read_bytes().startswith(begins)
    assert run("draw", mlp, "-o", f"{tmp_path}/net.gif") == 2
    assert run("report", mlp, "-o", f"{tmp_path}/missing/net.html") == 2
    assert run("report", mlp, "-o", f"{tmp_path}/net.html") == 0 and (tmp_path / "net.html").stat().st_size > 10_000
    for name in ("net.txt", "net", "net.html.gz"):
        assert run("report", mlp, "-o", f"{tmp_path}/{name}") == 2 and not (tmp_path / name).exists()
        assert "the ending must be .html" in capsys.readouterr().err


ENDS = [("ReLU", True, 0), ("Wrong", True, 1), ("Wrong", False, 0)]


@pytest.mark.parametrize(("activation", "counted", "code"), ENDS)
def test_the_page_ends_with_the_code_of_check(
    activation: str, counted: bool, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets.py").write_text(
        "from lawful import blocks as b\nfrom lawful.blocks.rules import Rule\nfrom dataclasses import dataclass\n"
        "@dataclass(frozen=True, eq=False, repr=False)\nclass Wrong(b.ReLU):\n    def rule(self, *given):\n"
        f"        return Rule()\nReLU = b.ReLU\ndef net(): return b.Linear(2, 3) >> {activation}() >> b.Linear(3, 2)\n"
    )
    words = ["report", f"{tmp_path}/nets.py:net", "-o", f"{tmp_path}/net.html", *([] if counted else ["--no-count"])]
    monkeypatch.setattr("sys.argv", ["lawful", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert (stopped.value.code or 0) == code and (tmp_path / "net.html").exists()


def test_every_rule_has_a_colour_and_no_law_shares_one() -> None:
    names = {n for n, v in vars(rules).items() if isinstance(v, type) and n.endswith("Rule") and n != "Rule"}
    assert names - set(FAMILY_OF) <= {"OpaqueRule", "HeldRule"}
    assert len({colour_of(i) for i in range(120)}) == 120


def test_the_number_of_a_layer_survives_in_long_names() -> None:
    assert short_name("layers.17.attention.branch.attention.heads.dotproductattention").startswith("layers.17…")
    assert short_name("short.name") == "short.name"
    assert len(short_name("model.layers.3." + "x" * 80)) <= 2 * LONGEST
