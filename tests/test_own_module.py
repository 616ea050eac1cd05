"""The user's own module, not a copy of it, decides what its laws are, and is left as it was to the bit."""

import re
from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F
from own_modules import NOTED, REFUSED, SAME, Mlp, X, changed, everything, made, plain, transposed
from torch import nn

import lawful as lw
from lawful.blocks import ShapeError
from lawful.graph.tracing.errors import TraceError
from lawful.theory.refusals import ModuleError
from lawful.theory.verdict import Verdict


def families(laws):
    return sorted((law.kind, law.count, law.exact) for law in laws)


@pytest.fixture
def left_alone():
    """Compares a fingerprint of modules when the test ends."""
    kept = []

    def keep(module):
        kept.append((module, everything(module)))
        return module

    yield keep
    for module, before in kept:
        assert before == everything(module)


@pytest.mark.parametrize("name", SAME)
def test_the_same_network_in_another_dress_has_the_same_laws(name, left_alone):
    module = SAME[name]()
    module.up.weight.grad = torch.ones(4, 3)
    left_alone(module)
    laws = lw.derive(module, args=(X,))
    assert families(laws) == [("balance", 4, True)] and laws.notes == ()
    report = laws.verify(module, args=(X,), samples=2)
    assert {str(r.verdict) for r in report.laws} == {"holds"}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_gradient_flow_of_one_network_is_refused_in_one_sentence(name, left_alone):
    make, words = REFUSED[name]
    module = make() if name == "iterator" else left_alone(make())
    with pytest.raises(TraceError, match=words) as found:
        lw.derive(module, args=(X,))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", NOTED)
def test_what_is_another_function_at_other_calls_has_the_laws_that_these_do_not_refute(name, left_alone):
    make, words = NOTED[name]
    module = left_alone(make())
    laws = lw.derive(module, args=(X,))
    assert any(re.search(words, note) for note in laws.notes), laws.notes
    assert not len(laws) or all(str(r.verdict) in ("holds", "vacuous") for r in laws.verify(module, args=(X,)).laws)


@pytest.mark.parametrize("name", ["branch on data", "first call", "memory of the last call"])
def test_a_law_of_one_branch_is_not_listed_where_another_call_moves_it(name):
    laws = lw.derive(NOTED[name][0](), args=(X,))
    assert not len(laws) and any("another call moves it" in note for note in laws.notes)


@pytest.mark.parametrize("name", ["branch on data", "first call"])
def test_a_check_of_one_run_decides_nothing_about_calls_that_refute_it(name):
    found = lw.check(NOTED[name][0](), args=(X,))
    assert not found.lawful and not found.complete and found.verdict is Verdict.UNDECIDED
    assert not len(found.laws) and "other calls of the module need not have" in str(found)


def test_a_count_is_undecided_where_the_state_of_the_module_breaks_its_laws_at_the_next_call():
    def carried(m, x):
        h = torch.relu(m.up(x))
        y = m.down(h + m.memory)
        m.memory = 0.9 * m.memory + 0.1 * h.mean(0).detach()
        return y

    found = lw.count(made(carried, lambda m: m.register_buffer("memory", torch.zeros(4))), args=(X,))
    assert found.laws and found.verdict is Verdict.UNDECIDED
    assert "other calls of the module need not have" in found.method


def test_a_check_of_one_run_holds_where_no_other_call_refutes_it():
    module = made(lambda m, x: m.down(torch.relu(m.up(x)) * (2 if x.abs().max() > 3 else 1)))
    found = lw.check(module, args=(X,))
    assert found.lawful and any("take its branches" in note for note in found.laws.notes)


SEEN_BY_VERIFY = ["weight hook", "post-accumulate hook", "hook of an activation", "custom backward"]


@pytest.mark.parametrize("name", SEEN_BY_VERIFY)
def test_verify_runs_the_module_that_trains(name, left_alone):
    """The laws of the twin are violated by the module with the trick."""
    laws = lw.derive(Mlp(), args=(X,))
    report = lw.verify(left_alone((REFUSED | NOTED)[name][0]()), laws, args=(X,))
    assert {str(r.verdict) for r in report.laws} == {"violated"}


def test_frozen_laws_of_a_closure_are_found_out():
    """What the copy once proved: everything frozen."""
    frozen = lw.derive(made(lambda m, x: m.up(x)), args=(X,)).where(kind="frozen")
    report = lw.verify(SAME["closure over weights"](), frozen, args=(X,))
    assert {r.law for r in report.laws} == {"frozen down.weight", "frozen down.bias"}
    assert {str(r.verdict) for r in report.laws} == {"violated"}


def half(m, x):
    h = torch.relu(m.up(x))
    return m.down(torch.cat([h[:, :2], h[:, 2:].detach()], 1))


def still(m, x):
    h = m.up(x)
    with torch.no_grad():
        size = h.norm(dim=1, keepdim=True)
    return m.down(h / size)


STOPPED = {
    "norm": (lambda m, x: m.down((h := m.up(x)) / h.norm(dim=1, keepdim=True).detach()), 10),
    "norm without gradients": (still, 10),
    "straight through": (lambda m, x: m.down((h := m.up(x)) + (h.sign() - h).detach()), 0),
    "half": (half, 10),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", STOPPED)
def test_what_is_detached_is_as_good_as_an_input(name, device, left_alone):
    body, count = STOPPED[name]
    module = left_alone(made(body).to(device))
    laws = lw.derive(module, args=(X.to(device),))
    assert laws.count == count and any("no gradient comes back" in n or "without gradients" in n for n in laws.notes)
    if device == "cpu":
        assert all(r.verdict.passed for r in laws.verify(module, args=(X,)).laws)


def test_two_parameters_on_one_memory_are_one(left_alone):
    separate = lw.derive(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)), args=(X,))
    module, tied = (nn.Sequential(nn.Linear(3, 3, False), nn.Linear(3, 3, False), nn.Linear(3, 2)) for _ in range(2))
    module[1].weight.data = module[0].weight.data
    tied[1].weight = tied[0].weight
    left_alone(module)
    laws, same = lw.derive(module, args=(X,)), lw.derive(tied, args=(X,))
    assert families(laws) == families(same) and {p for w in laws for p in w.parameters} <= {"0.weight", "2.weight"}
    assert all(r.verdict.passed for r in laws.verify(module, args=(X,)).laws)
    assert separate.count != laws.count
    assert lw.trace(module, X).trace.aliases == {"1.weight": "0.weight"}


def test_one_array_of_numpy_behind_two_parameters_is_one(left_alone):
    array = torch.randn(3, 3).numpy()
    module = nn.Sequential(nn.Linear(3, 3, False), nn.ReLU(), nn.Linear(3, 3, False))
    module[0].weight, module[2].weight = (nn.Parameter(torch.from_numpy(array)) for _ in range(2))
    assert lw.trace(left_alone(module), X).trace.aliases == {"2.weight": "0.weight"}


def test_shared_memory_is_refused_by_verify_too():
    laws = lw.derive(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3)), args=(X,))
    with pytest.raises(ValueError, match=r"0\.weight and the parameter 2\.weight share memory"):
        laws.verify(transposed(), args=(X,))


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_the_module_is_given_back_when_its_run_fails(where, left_alone):
    """Only in float64, so that the comparison fails midway, with everything exchanged."""

    def fail(g):
        raise KeyError("late")

    def body(m, x):
        h = m.up(x)
        if x.dtype == torch.float64:
            m.up.weight.data.zero_()
            m.seen.append(h)
            if where == "forward":
                raise KeyError("late")
            h.register_hook(fail)
        return m.down(torch.relu(h))

    module = left_alone(made(body, lambda m: setattr(m, "seen", [])))
    laws = lw.derive(module, args=(X,))
    assert any("does not run in float64" in note for note in laws.notes)
    with pytest.raises(ModuleError, match=r"\(KeyError: 'late'\); run it by itself first") as found:
        laws.verify(module, args=(X,))
    assert isinstance(found.value.__cause__, KeyError) and "\n" not in str(found.value)


def shrinks(m, x):
    m.up.weight.data.mul_(0.9)
    m.down.weight.data = m.down.weight.data.clamp(-0.1, 0.1)
    return m.down(F.relu(m.up(x)))


@pytest.mark.parametrize("ask", [lw.derive, lw.count, lw.verify, lw.check, lw.symmetries])
def test_what_a_forward_writes_into_its_parameters_is_put_back_whatever_is_asked(ask, left_alone):
    module = left_alone(made(shrinks))
    with suppress(TraceError, ModuleError, ShapeError):
        ask(module, args=(X,))


def draws(m, x):
    return m.down(F.dropout(F.relu(m.up(x)), 0.3, m.training))


@pytest.mark.parametrize("ask", [lw.derive, lw.count, lw.verify, lw.check, lw.symmetries])
def test_random_states_are_what_they_were_whatever_is_asked(ask, left_alone):
    ask(left_alone(made(draws)), args=(X,))


def keeps(m, x):
    m.kept, m.calls, m.text = m.up(x), m.calls + 1, f"{len(x)} rows"
    return plain(m, x)


def test_changes_are_reported(left_alone):
    module = left_alone(made(keeps, lambda m: vars(m).update(calls=0, text="")))
    trace = lw.trace(module, X).trace
    assert [n for n in trace.notes if "changes" in n and all(w in n for w in ("calls", "kept", "text"))]
    assert trace.limits == () and lw.derive(module, args=(X,)).count == 4


def test_what_changes_at_every_call_and_cannot_be_watched_is_noted(left_alone):
    def body(m, x):
        m.seen.add(len(m.seen))
        return plain(m, x)

    laws = lw.derive(left_alone(made(body, lambda m: setattr(m, "seen", set()))), args=(X,))
    assert laws.count == 4 and any("seen" in n and "at every call" in n for n in laws.notes)


def test_on_the_meta_device_it_is_said_that_nothing_was_compared():
    with torch.device("meta"):
        module = changed(lambda m: None)
        hooked = changed(lambda m: m.up.weight.register_hook(lambda g: g * 2))
        own = made(NOTED["custom backward"][0]().forward.__func__)
    x = X.to("meta")
    laws = lw.derive(module, args=(x,))
    assert any("meta device" in note and "not compared" in note for note in laws.notes)
    assert "1 note" in repr(laws) and "not compared" in lw.trace(module, x).trace.summary
    with pytest.raises(TraceError, match=r"up\.weight has a hook on its gradient"):
        lw.derive(hooked, args=(x,))
    assert any("StraightBackward is the module's own" in note for note in lw.derive(own, args=(x,)).notes)


META = ["counter", "first call", "counter in a list", "counter in a new buffer", "global counter", "spectral norm"]


@pytest.mark.parametrize("name", META)
def test_the_meta_device_shows_what_a_forward_changes(name, left_alone):
    module = left_alone(NOTED[name][0]().to("meta"))
    laws = lw.derive(module, args=(X.to("meta"),))
    assert any(re.search(NOTED[name][1], note) for note in laws.notes)


class Positions(nn.Module):
    def __init__(self, count, after=0):
        super().__init__()
        self.inner, self.out = nn.Linear(3, 4), nn.Linear(4, 2)
        self.places, self.after = nn.Parameter(torch.randn(count, 4)), after

    def forward(self, x):
        h = self.inner(x) + self.places[self.after : self.after + x.shape[1]]
        return self.out(torch.relu(h).mean(1))


@pytest.mark.parametrize("count, after, parts", [(9, 0, "places[5:9]"), (9, 1, "places[0:1], places[6:9]"), (5, 0, "")])
def test_positions_that_the_example_does_not_reach_are_noted(count, after, parts):
    laws = lw.derive(Positions(count, after), args=(torch.randn(2, 5, 3),))
    found = [note for note in laws.notes if "for that shape only" in note]
    text = f"{parts}: not read at the example's shape (5, 3); that they never move holds for that shape only"
    assert found == ([text] if parts else [])
    assert {w.name for w in laws.where(kind="frozen")} == {f"frozen {p}" for p in parts.split(", ") if p}


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 4)

    def forward(self, x):
        return self.out(F.scaled_dot_product_attention(*self.qkv(x).split(4, -1)))


def test_a_law_of_a_part_has_the_name_of_the_part():
    laws = lw.derive(Packed(), args=(torch.randn(2, 3, 4),))
    assert [w.name for w in laws.where(kind="frozen")] == ["frozen qkv.bias[4:8]"]
