"""`check`: what is false, missing or undecided never passes."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions import check as module
from lawful.graph.questions import derive as derivation
from lawful.graph.questions.check import CheckReport, acceptable, gradient_rank
from lawful.graph.questions.derive import by_rules
from lawful.theory.derive.lawset import LawSet
from lawful.theory.losses import LossLike
from lawful.theory.oracle.verification import corruptions
from lawful.theory.verdict import Verdict

NET = b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)


def checked(monkeypatch: pytest.MonkeyPatch, change) -> CheckReport:
    """A check whose engine gives other laws than it should."""

    other_rules(monkeypatch, lambda arch, loss: change(by_rules(arch, loss)))
    return lw.check(NET)


def other_rules(monkeypatch: pytest.MonkeyPatch, rules: Callable[[lw.Architecture, LossLike], LawSet]) -> None:
    """Puts other rules in the place of the engine's, for the network and for what is counted."""
    for place in (module, derivation):
        monkeypatch.setattr(place, "by_rules", rules)


def remade(laws: LawSet, kept: list[lw.Law], independent: int) -> LawSet:
    return LawSet(kept, independent, independent, laws.loss, laws.parameters)


def test_a_lawful_network() -> None:
    found = lw.check(NET)
    assert found.lawful and found.complete and found.holds
    assert found.verdict is Verdict.HOLDS
    assert found.count.laws == found.rank == found.laws.independent == 4
    assert "complete: no law is missing" in found.summary


def test_a_network_without_laws_is_lawful_if_the_oracle_finds_none() -> None:
    found = lw.check(b.Linear(3, 4) >> b.GELU() >> b.Linear(4, 2))
    assert found.lawful and found.count.laws == len(found.laws) == found.rank == 0


def test_an_epsilon_is_read_as_zero_where_laws_are_counted() -> None:
    found = lw.check(b.Linear(3, 4) >> b.LayerNorm(4) >> b.Linear(4, 2))
    assert found.lawful
    assert any(not law.exact for law in found.laws) and all(law.exact for law in found.small_laws)
    assert Verdict.APPROXIMATE in {r.verdict for r in found.report.laws}
    assert "up to an epsilon" in found.summary


def test_a_large_network_is_verified_and_counted_on_its_copy() -> None:
    found = lw.check(b.Linear(3000, 2000) >> b.ReLU() >> b.Linear(2000, 10))
    assert found.lawful
    assert found.laws.independent == 2000
    assert found.verified_on is found.small
    assert found.verified_laws is found.small_laws


def test_a_missing_law_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(monkeypatch, lambda laws: remade(laws, [], 0))
    assert found.verdict is Verdict.VIOLATED
    assert not found.lawful and not found.complete
    assert "NOT complete: 4 laws are missing" in found.summary


def test_a_false_law_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(monkeypatch, lambda laws: remade(laws, [corruptions(laws[0])[0]], 4))
    assert found.verdict is Verdict.VIOLATED
    assert not found.holds and not found.lawful
    assert "NOT every law" in found.summary


def test_a_wrong_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(monkeypatch, lambda laws: remade(laws, list(laws), 5))
    assert found.verdict is Verdict.VIOLATED and not found.complete
    assert "1 law too many" in found.summary


def test_the_same_law_twice_does_not_replace_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two families of two scalars each, of which the second is the first again: the rank tells."""
    net = b.Linear(3, 2) >> b.ReLU() >> b.Linear(2, 2) >> b.ReLU() >> b.Linear(2, 3)
    laws = lw.derive(lw.Architecture(net))
    other_rules(monkeypatch, lambda arch, loss: remade(laws, [laws[0], laws[0]], laws.independent))
    found = lw.check(net)
    assert found.count.laws == found.small_laws.independent == 4
    assert found.rank == 2 and not found.complete
    assert found.verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("verdict", [Verdict.UNDECIDED, Verdict.VACUOUS, Verdict.VIOLATED])
def test_an_undecided_count_does_not_pass(verdict: Verdict) -> None:
    found = lw.check(NET)
    undecided = dataclasses.replace(found, count=dataclasses.replace(found.count, verdict=verdict))
    assert not undecided.complete and not undecided.lawful
    assert undecided.verdict is (Verdict.VIOLATED if verdict is Verdict.VIOLATED else Verdict.UNDECIDED)
    assert f"undecided: the oracle says {verdict}" in undecided.summary


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.HOLDS])
def test_only_what_holds_is_acceptable_for_an_exact_law(verdict: Verdict) -> None:
    found = lw.check(NET)
    report = lw.Report(tuple(dataclasses.replace(r, verdict=verdict) for r in found.report.laws))
    assert not acceptable(report, found.laws)
    approximate = [dataclasses.replace(law, exact=False) for law in found.laws]
    assert acceptable(report, approximate) is (verdict is Verdict.APPROXIMATE)


def test_a_network_whose_parameters_are_all_frozen() -> None:
    found = lw.check(b.frozen(NET))
    assert len(found.laws) == found.count.parameters == found.rank == 0
    assert found.lawful, "nothing can be missing where nothing moves"


def test_nan_gives_no_rank() -> None:
    arch = lw.Architecture(NET)
    law = dataclasses.replace(lw.derive(arch)[0])
    object.__setattr__(law, "value", lambda p: p["0.weight"].sum(1) * torch.nan)
    assert gradient_rank(arch, [law]) == -1


def test_verify_takes_an_architecture_a_module_and_laws() -> None:
    arch = lw.Architecture(NET)
    laws = lw.derive(arch)
    assert lw.verify(arch).verdict is Verdict.HOLDS
    assert lw.verify(arch.to_torch(torch.float64)).verdict is Verdict.HOLDS
    assert lw.verify(arch, laws, "mse", seed=1).verdict is Verdict.HOLDS
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    assert lw.verify(plain, laws, args=(torch.randn(5, 3),)).verdict is Verdict.HOLDS


def test_verify_says_what_is_wrong_with_its_input() -> None:
    arch = lw.Architecture(NET)
    with pytest.raises(ValueError, match=r"tracing a Linear needs example inputs; pass args="):
        lw.verify(torch.nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"derived for mse, the loss is cross_entropy; derive them again"):
        lw.verify(arch, lw.derive(arch), "cross_entropy")
