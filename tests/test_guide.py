"""The guide for blocks of one's own: its code is the example file, its tables name what there is, the file works.

That its examples print what is shown is tested with all other pages, in test_docs.
"""

import json
import re
import runpy

import pytest
from repository import ROOT

import lawful as lw
from lawful import blocks as b
from lawful import cli
from lawful.blocks import rules as door
from lawful.theory.gauge import rules

GUIDE = (ROOT / "docs" / "add-a-block.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "my_blocks.py"
# not for blocks to override, or plain values
OWN = {"laws", "expect", "wanted", "config", "kind", "summary", "source", "least"}


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The names of the example file; what it registers is forgotten afterwards."""
    monkeypatch.setattr("lawful.blocks.registry._KINDS", b.kinds())
    return runpy.run_path(str(EXAMPLE))


def section(title: str) -> str:
    return GUIDE.split(f"## {title}\n")[1].split("\n## ")[0]


def listed(title: str) -> list[str]:
    """The names in the first column of a table."""
    rows = [line.split(" | ")[0] for line in section(title).splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_the_example_file_is_the_code_of_the_guide() -> None:
    fences = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    code = "\n\n".join(fence for fence in fences if ">>>" not in fence)
    assert code in EXAMPLE.read_text(encoding="utf-8")


def imported(source: str) -> set[str]:
    """The modules that some code imports from; examples with prompts are read without them."""
    code = re.sub(r"^(>>>|\.\.\.) ?", "", source, flags=re.MULTILINE)
    lines = re.findall(r"^(?:from (\S+) import (.+)|import (\S+))", code, re.MULTILINE)
    return {name or (base if base != "lawful" else f"lawful.{what.split()[0]}") for base, what, name in lines}


def test_the_guide_needs_one_door() -> None:
    """Whoever writes a block with its rule imports nothing from inside the theory, in the guide and in the example."""
    allowed = {"lawful", "lawful.blocks", "lawful.blocks.rules", "lawful.testing.strategies"}
    fences = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    for source in (*fences, EXAMPLE.read_text(encoding="utf-8")):
        assert {name for name in imported(source) if name.startswith("lawful")} <= allowed
    everything = set().union(*map(imported, fences))
    assert everything == {*allowed, "torch", "dataclasses", "hypothesis", "itertools"}


def test_the_tables_are_complete() -> None:
    methods = {n for n, m in vars(rules.Rule).items() if not n.startswith("_") and (callable(m) or type(m) is property)}
    assert set(listed("What a rule may state")) == methods
    members = {n for n in vars(b.Block) if not n.startswith("_")} - OWN
    assert set(listed("What a block may state")) - OWN == members
    named = set(re.findall(r"\b\w+Rule\b", section("Which rule fits")))
    assert named <= set(door.__all__)
    assert {name for name in door.__all__ if name.endswith("Rule")} - {"Rule"} <= named
    left_out = {
        "BilinearRule",
        "ComplexLinearRule",
        "HeadGainRule",
        "RepeatRule",
        "RotaryRule",
        "SelectiveScanRule",
        "SimilarityRule",
    }
    left_out |= {
        "PositionsRule",
        "SumFeaturesRule",
        "TokenMixRule",
        "UnitNormRule",
        "UnitRowsRule",
        "OutputRule",
        "SourceRule",
    }
    left_out |= {"ComputedRule", "HeldRule", "ShiftedTermsRule"}
    # what tracing needs for published models
    left_out |= {
        "ChoiceRule",
        "ChosenRule",
        "CurveRule",
        "CutRule",
        "DiscardRule",
        "DotRule",
        "FixedMapRule",
        "GroupProductRule",
        "MovedRule",
        "OpaqueRule",
        "PlacesRule",
        "PositionMixRule",
        "ReorderRule",
        "ScalarGainRule",
        "TurnRule",
        "WholeRule",
        "along_rule",
    }
    assert set(rules.__all__) - named - left_out - {"Rule", "OPAQUE", "Blind", "Runs", "Use"} == set()


def test_the_pages_link_to_one_another() -> None:
    for page in ("add-a-block.md", "blocks.md"):
        assert f"({page})" in (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert (ROOT / "docs" / target).exists()


def test_the_example_travels_shrinks_and_is_lawful(mine: dict) -> None:
    wide = b.Linear(20, 64) >> mine["SignedSquare"]() >> b.Linear(64, 48) >> mine["RadialCube"]() >> b.Linear(48, 10)
    arch = lw.Architecture(wide)
    assert lw.Architecture.from_json(arch.to_json()).to_json() == arch.to_json()
    assert json.loads(arch.to_json())["nodes"][1]["kind"] == "SignedSquare"
    found = lw.check(arch)
    assert found.small is not arch and found.lawful
    frozen = lw.Architecture(mine["network"]()).freeze("3.gain")
    assert lw.Architecture.from_json(frozen.to_json()).frozen == {"3.gain"}
    assert lw.check(frozen).complete


@pytest.mark.parametrize("kind", ["SignedSquare", "RadialCube"])
def test_the_examples_keep_positions(mine: dict, kind: str) -> None:
    for signal in (b.Signal(4), b.Signal(3, (4,)), b.Signal(2, (3, 3), channels_first=True)):
        for net in mine[kind].examples(signal):
            assert lw.Architecture(net, input=signal).output == signal
    assert not mine[kind].examples(b.Signal(5, (3,), tokens=True))


def test_the_command_of_the_guide(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = f"{EXAMPLE.relative_to(ROOT)}:network"
    assert f"lawful check {spec}" in GUIDE
    monkeypatch.setattr("lawful.blocks.registry._KINDS", b.kinds())
    monkeypatch.setattr("sys.argv", ["lawful", "check", spec, "--json"])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    assert json.loads(capsys.readouterr().out)["lawful"]


def test_json_is_only_read_where_the_block_is_registered() -> None:
    assert "SignedSquare" not in b.kinds(), "another test has left its blocks behind"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lawful.blocks.registry._KINDS", b.kinds())
        text = lw.Architecture(runpy.run_path(str(EXAMPLE))["network"]()).to_json()
        assert lw.Architecture.from_json(text).block("1").kind == "SignedSquare"
    with pytest.raises(b.ShapeError, match=r"nodes\[1\].*SignedSquare.*register your own"):
        lw.Architecture.from_json(text)
