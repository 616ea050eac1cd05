"""Large models: only so many steps are watched that it costs little, and the account still closes."""

import itertools

import pytest
import torch
from loops import LAWS, MLP, train
from torch import optim

from lawful.dynamics import pace


def adamw(m):
    return optim.AdamW(m.parameters(), 1e-2, weight_decay=0.1)


def in_turns(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """A small model is watched in turns, by a clock that ticks when it is read."""
    ticks = itertools.count()
    monkeypatch.setattr(pace.time, "perf_counter", lambda: 1e-3 * next(ticks))
    monkeypatch.setattr(pace, "SMALL", 0)
    monkeypatch.setattr(pace, "SHARE", share)


def test_the_pace_follows_from_the_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    in_turns(monkeypatch, 0.5)
    ledger = train(adamw, steps=60)
    assert ledger.every > 1 and ledger.every_measured and ledger.last_watched > 1
    assert all(row.relative < 1e-12 for row in ledger.rows())
    assert "steps not watched" in ledger.rows()[0].causes
    assert f"is watched at about every {ledger.every}. step, so that" in ledger.health()
    assert "were not watched, of the rest" in ledger.explain("balance of fc1")
    assert ledger.verdict == "ok" and not ledger.findings(), ledger.health()


def simulated(
    monkeypatch: pytest.MonkeyPatch, efforts: list[float], cost: float, fixed: float, steps: int
) -> tuple[pace.Pace, list[set[int]], list[float]]:
    """A run with steps of one second by a clock of its own: the laws that are watched at each, and what that took."""
    now = 0.0
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now)
    one = pace.Pace(None)
    one.fit(efforts, 10**9, torch.device("cpu"), False)
    turns, spent = [], []
    for step in range(1, steps + 1):
        now += 1.0
        turn = set(one.turn) if one.due(step) else set()
        spent.append(fixed * bool(turn) + cost * sum(efforts[i] for i in turn) / sum(efforts))
        with one.spending():
            now += spent[-1]
        one.stepped(step)
        turns.append(turn)
    return one, turns, spent


@pytest.mark.parametrize(
    ("efforts", "cost", "fixed"),
    [([1.0] * 50, 1.0, 0.0), ([1.0] * 50, 0.5, 0.01), ([1.0] * 9 + [50.0], 0.4, 0.002), ([1.0] * 5, 2.0, 0.3)],
)
def test_every_law_has_its_turn_within_the_budget(
    monkeypatch: pytest.MonkeyPatch, efforts: list[float], cost: float, fixed: float
) -> None:
    one, turns, spent = simulated(monkeypatch, efforts, cost, fixed, 3000)
    first = pace.FIRST
    assert all(turn == set(range(len(efforts))) for turn in turns[:first]), "a run begins with a look at everything"
    assert sum(spent[first:]) <= pace.SHARE * 1.02 * len(spent), "the average of a run"
    largest = max(max(efforts) / sum(efforts) * cost + fixed, 3.01 * fixed, pace.SHARE)
    assert max(spent[200:]) <= 1.02 * largest, "no step costs more than its budget, one law, or the fixed part ask for"
    for i in range(len(efforts)):
        seen = [step for step, turn in enumerate(turns) if i in turn]
        pairs = [step for step in seen[first::2] if step + 1 < len(turns)]
        assert all(step + 1 in seen for step in pairs), "two steps in a row, so that a stale buffer is seen"
        assert 0.4 <= len(seen) * one.every / len(turns) <= 2.5


def test_a_model_that_costs_little_is_watched_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    one, turns, _ = simulated(monkeypatch, [1.0] * 7, 0.03, 0.0, 50)
    assert one.every == 1 and all(len(turn) == 7 for turn in turns)


def test_a_stale_buffer_and_a_wrong_backward_are_found_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    in_turns(monkeypatch, 0.5)

    def stale(m: torch.nn.Module, o: optim.Optimizer, i: int) -> None:
        if i > 50:
            o.state[m.fc2.weight]["momentum_buffer"].mul_(0.5)

    def sgd(m: torch.nn.Module) -> optim.Optimizer:
        return optim.SGD(m.parameters(), 0.01, momentum=0.9)

    ledger = train(sgd, steps=400, outside=stale)
    assert ledger.every > 1
    found = [f for f in ledger.findings() if f.fault]
    assert [f.kind for f in found] == ["momentum"] and "fc2.weight" in found[0].parameters, ledger.health()


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
