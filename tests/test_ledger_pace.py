"""Large models: only so many steps are watched that it costs little, and the account still closes."""

import math

import pytest
import torch
from loops import LAWS, MLP, train
from torch import optim

from lawful.dynamics import pace


def adamw(m):
    return optim.AdamW(m.parameters(), 1e-2, weight_decay=0.1)


def test_the_pace_follows_from_the_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SMALL", 0)
    monkeypatch.setattr(pace, "SHARE", 3.0)
    ledger = train(adamw, steps=60)
    assert ledger.every > 1 and ledger.every_measured and ledger.last_watched > 1
    assert all(row.relative < 1e-12 for row in ledger.rows())
    assert "steps not watched" in ledger.rows()[0].causes
    assert f"every {ledger.every}. step is watched, so that" in ledger.health()
    assert "were not watched, of the rest" in ledger.explain("balance of fc1")
    assert ledger.verdict == "ok" and not ledger.findings(), ledger.health()


def test_what_watching_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now)
    one = pace.Pace(None)
    one.fit(10**9, torch.device("cpu"), False)
    watched = []
    for step in range(1, 60):
        now += 0.002
        if one.due(step):
            watched.append(step)
            with one.spending():
                now += 0.001
        one.stepped(step)
    assert one.every == math.ceil(0.001 / (pace.SHARE * 0.002)) == 15
    assert watched == [1, 2, 17, 32, 47], "the first step has nothing to be compared with"


def test_small_models_and_a_given_pace_ask_no_clock() -> None:
    assert train(adamw, steps=4).every == 1
    assert "is watched" not in train(adamw, steps=4).health()
    ledger = train(adamw, steps=25, every=5)
    assert ledger.every == 5 and ledger.last_watched == 21
    assert "every 5. step is watched." in ledger.health()


def test_steps_not_watched_before_a_restart_are_booked_as_such() -> None:
    model = MLP()
    first = train(adamw, model=model, steps=23, every=10)
    again = train(adamw, model=model, steps=0, every=10)
    again.load_state_dict(first.state_dict())
    assert not again.findings() and "outside the optimizer" not in again.rows()[0].causes
    for name, account in again.accounts.items():
        total = sum(account.causes.values()) + account.remainder
        torch.testing.assert_close(total, LAWS[name].value(model).reshape(-1) - account.first, rtol=0, atol=1e-12)


def test_laws_of_a_network_whose_first_layer_trained_accuse_nobody_when_it_is_frozen() -> None:
    def frozen(m):
        m.fc1.requires_grad_(False)
        return optim.AdamW([p for p in m.parameters() if p.requires_grad], 1e-3)

    ledger = train(frozen, steps=6)
    assert ledger.verdict == "not watched" and [f.kind for f in ledger.findings()] == ["frozen"], ledger.health()
    assert ledger.findings()[0].parameters == ("fc1.weight", "fc1.bias")
