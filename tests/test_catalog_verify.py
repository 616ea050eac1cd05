"""Certificates run again: a wrong entry is named, a stopped run goes on, any executor runs the units."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from catalog_formulas import read

from lawful import blocks as b
from lawful import catalog
from lawful.catalog.bibliography import cited, sources
from lawful.catalog.counts import read_formula
from lawful.catalog.match import for_module, for_network
from lawful.catalog.verify import verify
from lawful.graph.architecture.architecture import Architecture


def entry(id: str) -> catalog.Entry:
    return catalog.get(id)


def test_a_setting_and_its_claims_pass() -> None:
    done: list[tuple[int, int, str]] = []
    found = verify(["swiglu", "gelu", "claim/tran2026/swiglu"], progress=lambda *said: done.append(said))
    assert found.passed and found.entries == 3 and [d[:2] for d in done] == [(1, 3), (2, 3), (3, 3)]


WRONG = {
    "statement_text": "‖glu.up.weight[i,:]‖² + ‖down.weight[:,i]‖²",
    "count_formula": "h + 1",
    "statement_latex": "x",
    "source": "nobody2020",
    "kind": "shift",
    "parameters": ("glu.up.weight",),
}


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_entry_is_named(field: str) -> None:
    planted = dataclasses.replace(entry("swiglu/balance/glu.up"), **{field: WRONG[field]})
    found = verify(among=[planted])
    assert not found.passed and "swiglu/balance/glu.up" in {f.id for f in found.failures}


def test_a_wrong_certificate_is_named() -> None:
    right = entry("gelu/none")
    assert right.certificate is not None
    wrong = dataclasses.replace(right, certificate=dataclasses.replace(right.certificate, oracle=1))
    assert [f.id for f in verify(among=[wrong]).failures] == ["gelu/none"]
    invented = dataclasses.replace(right, id="nowhere/none", setting="nowhere")
    assert "there is no network 'nowhere'" in str(verify(among=[invented]))


def test_a_claim_whose_evidence_is_gone_is_named() -> None:
    claim = dataclasses.replace(entry("claim/tran2026/swiglu"), evidence=("no/such",))
    assert [f.id for f in verify(among=[claim]).failures] == [claim.id]


def test_a_stopped_run_goes_on_and_a_changed_entry_runs_again(tmp_path: Path) -> None:
    chosen = [entry("swiglu/balance/glu.up"), entry("gelu/none")]
    first = verify(among=chosen[:1], resume=tmp_path / "done.txt")
    second = verify(among=chosen, resume=tmp_path / "done.txt")
    assert (first.resumed, second.resumed, second.entries) == (0, 1, 2)
    changed = [dataclasses.replace(chosen[0], count_formula="2 h"), chosen[1]]
    third = verify(among=changed, resume=tmp_path / "done.txt")
    assert third.resumed == 1 and not third.passed


def test_on_an_executor_and_nothing_meant() -> None:
    with ThreadPoolExecutor(2) as pool:
        assert verify(["gelu", "theorem"], executor=pool).passed
    with pytest.raises(ValueError, match="no entry with a certificate is called 'nope'"):
        verify(["nope"])


@pytest.mark.nightly
def test_on_processes() -> None:
    assert verify(["gelu", "swiglu"], workers=2).passed


@pytest.mark.nightly
def test_on_a_scheduler_of_dask() -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1) as cluster, distributed.Client(cluster) as client:
        assert verify(["gelu", "swiglu"], executor=client.get_executor()).passed


@pytest.mark.nightly
def test_every_certificate_verifies_again() -> None:
    found = verify([e.setting for e in catalog.laws()])
    assert found.passed, str(found)


def test_every_source_resolves_and_every_entry_says_how_far_it_can_be_trusted() -> None:
    ids = {e.id for e in catalog.entries()}
    for e in catalog.entries():
        assert cited(e), e.id
        assert all(e.trust) and len(e.trust) == 3 and e.bibtex.startswith("@"), e.id
        assert {*e.evidence, *e.related} <= ids, e.id
        if e.is_law and e.kind != "none":
            assert set(e.fates) == set(catalog.OPTIMIZERS), e.id
        if e.is_law:
            assert e.trust[0].startswith("complete at"), e.id
    for key, source in sources().items():
        assert source.title and source.authors and (source.url or key == "lawful")


def test_every_row_of_the_papers_is_an_entry() -> None:
    claims = [e for e in catalog.entries() if e.kind == "claim"]
    assert {s.key for e in claims for s in cited(e)} >= {
        "marcotte2023", "marcotte2024", "marcotte2025", "tran2026", "kunin2021", "zhao2023", "ziyin2024", "wen2023",
        "curth2023",
    }  # fmt: skip
    refuted = [e for e in claims if e.status == "refuted" and not e.outcome]
    assert len(refuted) == 2 and all(e.counterexample for e in refuted)


@pytest.mark.parametrize("formula", sorted({e.count_formula for e in catalog.laws()}))
def test_formulas_are_read_as_a_reader_would(formula: str) -> None:
    sizes = dict.fromkeys("abcdefghijklmnopqrstuvwxyz", 6)
    assert read_formula(formula, sizes) == read(formula, sizes)


@pytest.mark.parametrize("formula", ["n +", "(n", "n)", "x n", "__import__('os')", "n $ 2", ""])
def test_strange_formulas_are_refused(formula: str) -> None:
    with pytest.raises(ValueError):
        read_formula(formula, {"n": 3})


def test_laws_of_a_network_find_their_entries() -> None:
    net = Architecture(b.chain(up=b.Linear(3, 4), act=b.ReLU(), down=b.Linear(4, 2)))
    assert [m.entry.id for m in for_network(net) if m.entry] == ["relu/balance/W"]
    strange = Architecture(b.chain(a=b.Linear(3, 4), act=b.Power(5), c=b.Linear(4, 2)))
    matches = for_network(strange)
    assert matches and all(m.entry is None for m in matches) and "no entry states it" in str(matches)


@pytest.mark.parametrize(
    ("module", "begins"),
    [
        ("MultiheadAttention", ("attention", "multi-head")),
        ("LayerNorm", ("layernorm",)),
        ("BatchNorm2d", ("batchnorm",)),
    ],
)
def test_entries_about_a_module(module: str, begins: tuple[str, ...]) -> None:
    from torch import nn

    found = for_module(getattr(nn, module))
    assert found and found[0].setting.startswith(begins)
    assert for_module(nn.GELU())[0].id == "gelu/none"


def test_a_network_without_an_entry_is_derived_and_shown_as_one() -> None:
    answer = catalog.ask(b.RMSNorm(8) >> b.Linear(8, 4))
    assert answer[0].text == "γ[i]² - ‖W_1[:,i]‖²" and answer.report.complete
    assert "complete for the network itself" in answer[0].trust[0] and answer.report.summary in str(answer)
    large = catalog.ask(b.Linear(3, 40) >> b.ReLU() >> b.Linear(40, 30))
    assert large and large[0].trust[0].startswith("undecided")  # a copy was counted, not the network


def test_the_law_behind_an_entry() -> None:
    law = catalog.law_of("attention/balance/heads.q")
    assert law.proof.holds and law.formula.free_symbols
    with pytest.raises(ValueError, match="there is no law, so there is no proof"):
        catalog.law_of("gelu/none")
    with pytest.raises(ValueError, match="is no law of a network"):
        catalog.law_of("optimizer/adam")
