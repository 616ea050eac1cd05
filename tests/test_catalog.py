"""The catalog: entries are generated, complete over the blocks, searchable, and what they claim was checked."""

import json
import math
from pathlib import Path

import pytest
from catalog_formulas import read
from repository import PYPROJECT, ROOT

import lawful.blocks
from lawful import catalog
from lawful.catalog import build
from lawful.catalog.counts import sample_sizes
from lawful.catalog.generate import generate
from lawful.catalog.polynomials import evaluate, fit, monomials, written
from lawful.catalog.settings.groups import group_of, settings
from lawful.graph.questions.check import gradient_rank
from lawful.graph.questions.derive import derive

SETTINGS = {s.name: s for s in settings()}
REGENERATED = [
    "linear",
    "lora",
    "relu-cross-entropy",
    "gelu",
    "layernorm",
    "conv1d",
    "multi-head-attention",
    "padding",
    "rnn-relu",
    "top-2-router",
]
MEASURED = ("residual", "control", "gap", "version")


def comparable(entry: catalog.Entry) -> dict:
    """An entry without what depends on the machine and the release."""
    data = entry.to_data()
    data["certificate"] = {k: v for k, v in data["certificate"].items() if k not in MEASURED}
    return json.loads(json.dumps(data))


@pytest.mark.parametrize("name", REGENERATED)
def test_entries_are_what_the_blocks_say(name: str) -> None:
    stored = sorted((e for e in catalog.laws() if e.setting == name), key=lambda e: e.id)
    fresh = sorted(generate(SETTINGS[name]), key=lambda e: e.id)
    assert [comparable(e) for e in fresh] == [comparable(e) for e in stored], "run `python -m lawful.catalog.build`"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_its_laws_in_the_catalog(name: str) -> None:
    """Statements are derived again for all settings; checks and counts only for some, as they take minutes."""
    setting = SETTINGS[name]
    laws = derive(setting.architecture(**setting.sizes), setting.loss)
    assert not laws.notes
    stored = {e.statement_text: e for e in catalog.laws() if e.setting == name}
    if not len(laws):
        assert [e.kind for e in stored.values()] == ["none"]
        return
    assert {law.short for law in laws} == set(stored), "run `python -m lawful.catalog.build`"
    for law in laws:
        entry = stored[law.short]
        assert (entry.kind, entry.wire, entry.algebra) == (law.kind, law.wire, law.algebra)
        assert entry.certificate.engine == laws.independent


def test_no_entry_is_left_over() -> None:
    assert {e.setting for e in catalog.laws()} == set(SETTINGS)
    assert len(SETTINGS) == len(settings()), "two settings have one name"
    assert {e.setting: e.group for e in catalog.laws()} == group_of()


def test_every_kind_of_block_is_covered() -> None:
    covered = {kind for e in catalog.laws() for kind in e.blocks}
    assert {name for name, kind in lawful.blocks.kinds().items() if kind.__module__.startswith("lawful.")} == covered


@pytest.mark.parametrize("name", SETTINGS)
def test_no_axis_is_short(name: str) -> None:
    """Every width of a certificate is at least 2, but for channels that nothing mixes, and at least what it says."""
    setting = SETTINGS[name]
    assert all(n >= setting.least.get(w, 2) for w, n in setting.sizes.items())
    assert all(n >= 2 or w == "m" for w, n in setting.least.items())


def test_certificates_are_passes() -> None:
    for e in catalog.laws():
        c = e.certificate
        assert c.verdict == "holds", e.id
        assert c.engine == c.oracle == c.parameters - c.ranks[-1], e.id
        assert c.residual <= 1e-10, e.id
        assert c.gap >= 1e4, e.id
        if e.kind == "none":
            assert c.oracle == 0
        else:
            assert c.control > 1e-3 and (math.isinf(c.control) == (e.kind == "frozen")), e.id


def test_entries_are_sorted_and_filled() -> None:
    ids = [e.id for e in catalog.laws()]
    assert ids == sorted(set(ids))
    for e in catalog.laws():
        assert all((e.title, e.network, e.block, e.blocks, e.statement_text, e.statement_latex, e.hypotheses, e.source))
        assert e.count_formula and e.id.startswith(f"{e.setting}/{e.kind}")


@pytest.mark.parametrize("name", ["linear", "stream", "grouped-queries", "groupnorm", "swiglu", "lora", "hinge"])
def test_count_formulas_hold_at_other_sizes(name: str) -> None:
    """Read as a reader would, at sizes that the generator has not seen."""
    setting = SETTINGS[name]
    used = [tuple(s.values()) for s in sample_sizes(setting)]
    sizes = {w: n + 9 + i for i, (w, n) in enumerate(setting.sizes.items())}
    assert tuple(sizes.values()) not in used
    laws = {law.short: law for law in derive(setting.architecture(**sizes), setting.loss)}
    for e in catalog.laws():
        if e.setting == name:
            law = laws[e.statement_text]
            assert read(e.count_formula, sizes) == law.count
            assert read(e.independent_formula or e.count_formula, sizes) == law.independent


@pytest.mark.parametrize("name", SETTINGS)
def test_independent_counts_hold_at_wide_sizes(name: str) -> None:
    """Where one width exceeds all others, full matrices have fewer independent entries: the rank of the gradients."""
    setting = SETTINGS[name]
    for w in setting.ample or setting.sizes:
        sizes = setting.sizes | {w: max(setting.sizes[w], setting.least.get(w, 2)) + 8}
        arch = setting.architecture(**sizes)
        if sum(p.size for p in arch.parameters.values()) <= 900:
            laws = derive(arch, setting.loss)
            assert gradient_rank(arch, laws) == laws.independent, sizes


# Search


def test_get_and_near_misses() -> None:
    entry = catalog.get("swiglu/balance/glu.up")
    assert entry.statement_text == "‖glu.up.weight[i,:]‖² - ‖down.weight[:,i]‖²"
    assert entry.count_formula == "h"
    with pytest.raises(
        KeyError, match=r"no entry 'swiglu/balance/up' in the catalog; close are .*swiglu/balance/glu\.up"
    ):
        catalog.get("swiglu/balance/up")
    with pytest.raises(KeyError, match=r"close are .*swiglu/"):
        catalog.get("SwiGLU")
    with pytest.raises(KeyError, match=r"search\(\) lists all"):
        catalog.get("zzzzzzzzzz")


def test_filters() -> None:
    assert catalog.search() == catalog.entries()
    assert {e.setting for e in catalog.search(block="swiglu")} == {"swiglu", "llama-block"}
    assert {"attention", "rotary"} <= {e.setting for e in catalog.search(block="DotProductAttention")}
    assert {e.kind for e in catalog.search(kind="frozen")} == {"frozen"}
    assert {"gelu", "tied-transpose"} <= {e.setting for e in catalog.search(kind="none")}
    assert all("marcotte2023" in e.source for e in catalog.search(source="Marcotte2023"))


# The data file and its generator


def test_the_data_files_are_packaged_and_read_back() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["lawful.catalog"]
    folder = ROOT / "catalog" / "data"
    packaged = {p for pattern in patterns for p in (ROOT / "catalog").glob(pattern)}
    assert set(folder.rglob("*.json")) <= packaged
    texts = {p.name: p.read_text(encoding="utf-8") for p in (folder / "laws").iterdir()}
    assert build.to_texts(catalog.laws()) == texts
    for e in catalog.entries():
        assert catalog.Entry.from_data(json.loads(json.dumps(e.to_data()))) == e


def test_the_script_writes_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(build, "settings", lambda: [SETTINGS["linear"], SETTINGS["gelu"]])
    build.main([str(tmp_path / "laws")])
    written_entries = {
        p.name: [e["id"] for e in json.loads(p.read_text(encoding="utf-8"))["entries"]]
        for p in (tmp_path / "laws").iterdir()
    }
    assert written_entries == {"activations.json": ["gelu/none"], "linear-maps.json": ["linear/balance/V"]}
    assert capsys.readouterr().out.strip() == str(tmp_path / "laws")
    monkeypatch.setattr(build, "settings", lambda: [SETTINGS["gelu"]] * 2)
    with pytest.raises(ValueError, match="two laws have the id 'gelu/none'"):
        build.build()


def test_a_wrong_count_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lawful.catalog.generate.derive", lambda arch, loss: derive(arch, loss).where(wire="nothing"))
    with pytest.raises(ValueError, match="linear: 0 laws derived, the oracle counts 6"):
        generate(SETTINGS["linear"])


def test_polynomials() -> None:
    sizes = [{"n": n, "m": m} for n in range(2, 7) for m in range(2, 7)]
    found = fit(["n", "m"], [(s, s["n"] * (s["n"] + 1) // 2 + s["m"]) for s in sizes])
    assert found is not None and written(found) == "(2 m + n^2 + n) / 2"
    assert evaluate(found, {"n": 10, "m": 3}) == 58
    assert fit(["n", "m"], [(s, min(s["n"], s["m"])) for s in sizes]) is None
    with pytest.raises(ValueError, match=f"1 sizes do not determine {len(monomials(['n']))} coefficients"):
        fit(["n"], [({"n": 2}, 1)])
