"""What a step of SGD does to a law: the identity, and the recorder that measures it."""

from dataclasses import replace

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful.dynamics.identities import quadratic_form, sgd_change
from lawful.dynamics.train import Recording, drift_slope, drifts_by_rate, train
from lawful.theory.oracle.verification import corruptions

EPSILON = 1e-5
NETS = {
    "relu": b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 3),
    "linear": b.Linear(3, 4, bias=False) >> b.Linear(4, 3, bias=False),
    "batch norm": b.Linear(3, 4) >> b.BatchNorm(4, epsilon=0.0) >> b.ReLU() >> b.Linear(4, 3),
    "layer norm": b.Linear(3, 4) >> b.LayerNorm(4, epsilon=0.0) >> b.Linear(4, 3),
}


def batches(steps: int, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)

    def draw() -> torch.Tensor:
        return torch.randn(8, 3, generator=generator, dtype=torch.float64)

    return [(draw(), draw()) for _ in range(steps)]


def record(net: b.Net, rate: float = 0.05, steps: int = 30, corrupt: bool = False) -> Recording:
    arch = lw.Architecture(net)
    laws = list(lw.derive(arch))
    if corrupt:
        laws = [false for law in laws for false in corruptions(law)[:1]]
    return train(arch.to_torch(torch.float64), laws, batches(steps), rate, torch.nn.functional.mse_loss)


@pytest.mark.parametrize("name", NETS)
def test_every_step_is_predicted_to_rounding(name: str) -> None:
    recording = record(NETS[name])
    assert recording.traces
    for trace in recording.traces:
        assert trace.law.exact
        assert trace.step_deviation <= 1e-14
        assert trace.drift_deviation <= 1e-10
        assert trace.values.shape == (31, trace.predicted.shape[1])
    moved = [t for t in recording.traces if t.law.kind == "balance"]
    assert all(float(t.drift[-1].abs().max()) > 1e-6 for t in moved), "a law that does not move tests nothing"


@pytest.mark.parametrize("name", NETS)
def test_a_false_law_is_not_predicted(name: str) -> None:
    recording = record(NETS[name], corrupt=True)
    assert recording.traces
    for trace in recording.traces:
        assert not trace.step_deviation <= 1e-9


def test_an_approximate_law_moves_by_its_epsilon_as_well() -> None:
    recording = record(b.Linear(3, 4) >> b.BatchNorm(4, epsilon=EPSILON) >> b.ReLU() >> b.Linear(4, 3))
    approximate = [t for t in recording.traces if not t.law.exact]
    exact = [t for t in recording.traces if t.law.exact]
    assert approximate and exact
    assert all(1e-12 < t.step_deviation < 1e-2 for t in approximate)
    assert all(t.step_deviation <= 1e-14 for t in exact)


def test_the_identity_against_two_points() -> None:
    """Independent of the recorder: h(theta - rate g) - h(theta) for a law, a real gradient and a large rate."""
    arch = lw.Architecture(NETS["linear"])
    point = arch.points("mse", 1, 0, False)[0]
    for law in lw.derive(arch):
        after = {n: p - 0.7 * point.gradient[n] for n, p in point.parameters.items()}
        measured = law.value(after) - law.value(point.parameters)
        torch.testing.assert_close(measured, sgd_change(law, point.gradient, 0.7), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(sgd_change(law, point.gradient, 0.7), 0.49 * law.value(point.gradient))


def test_a_linear_law_has_no_quadratic_form() -> None:
    arch = lw.Architecture(NETS["layer norm"])
    linear = [law for law in lw.derive(arch) if law.kind != "balance"]
    assert linear
    for law in linear:
        assert not quadratic_form(law, arch.random_parameters(torch.Generator().manual_seed(0))).any()


def test_drift_against_the_rate() -> None:
    runs = [record(NETS["linear"], rate, steps=40) for rate in (4e-4, 2e-4, 1e-4)]
    assert drift_slope(runs) == pytest.approx(2, abs=0.05)
    assert drift_slope(runs, equal_time=True) == pytest.approx(1, abs=0.1)
    assert [rate for rate, _ in drifts_by_rate(runs)] == [4e-4, 2e-4, 1e-4]
    assert drifts_by_rate(runs)[2] == drifts_by_rate(runs, equal_time=True)[2], "the slowest run sets the time"


def test_training_moves_the_module_and_reports_progress() -> None:
    arch = lw.Architecture(NETS["relu"])
    module = arch.to_torch(torch.float64)
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    seen: list[tuple[int, float]] = []
    laws = lw.derive(arch)
    recording = train(module, laws, batches(5), 0.1, torch.nn.functional.mse_loss, lambda *s: seen.append(s))
    assert seen == list(enumerate(recording.losses, 1))
    assert all(not torch.equal(before[n], p) for n, p in module.named_parameters())
    torch.testing.assert_close(recording.traces[0].values[-1], laws[0].value(module).detach().reshape(-1))
    assert recording[laws[0].name] is recording.traces[0]
    with pytest.raises(KeyError, match="no law named 'x'"):
        recording["x"]


def test_a_frozen_parameter_stays() -> None:
    arch = lw.Architecture(b.frozen(b.Linear(3, 4)) >> b.ReLU() >> b.Linear(4, 4) >> b.ReLU() >> b.Linear(4, 3))
    recording = train(arch.to_torch(torch.float64), lw.derive(arch), batches(5), 0.1, torch.nn.functional.mse_loss)
    assert recording.traces
    assert all(t.step_deviation <= 1e-14 for t in recording.traces)


def test_bad_input() -> None:
    arch = lw.Architecture(NETS["relu"])
    laws = lw.derive(arch)
    loss = torch.nn.functional.mse_loss
    with pytest.raises(ValueError, match=r"torch.float32, recording needs torch.float64; call module.double"):
        train(arch.to_torch(), laws, batches(1), 0.1, loss)
    with pytest.raises(ValueError, match="no batch to train on"):
        train(arch.to_torch(torch.float64), laws, [], 0.1, loss)
    with pytest.raises(ValueError, match="the loss is nan at step 0; lower the learning rate"):
        train(arch.to_torch(torch.float64), laws, [(torch.full((2, 3), torch.nan).double(),) * 2], 0.1, loss)
    with pytest.raises(ValueError, match=r"the loss is (nan|inf) at step"):
        train(arch.to_torch(torch.float64), laws, batches(50), 1e6, loss)


def test_a_law_whose_parameters_are_all_zero_has_a_scale() -> None:
    recording = record(NETS["relu"], steps=1)
    trace = replace(recording.traces[0], values=torch.zeros(2, 4), predicted=torch.zeros(1, 4), scale=1.0)
    assert trace.step_deviation == trace.drift_deviation == 0
