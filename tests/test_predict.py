"""Closed forms against runs: kunin2021's translation, scale and rescale laws, equilibrium, bounds, modified flows."""

import pytest
import torch
from torch import nn

import lawful as lw

P = lw.dynamics.predict
SETTINGS = [
    P.Setting(0.02, decay, momentum, dampening)
    for decay in (0.0, 1e-2, 5e-2, 0.2)
    for momentum, dampening in ((0.0, 0.0), (0.9, 0.0), (0.9, 0.5))
]


def run(setting: P.Setting, steps: int = 150):
    """Logistic regression on `w / |w|`, with a bias whose sum the loss cannot see."""
    torch.manual_seed(0)
    w, c = nn.Parameter(torch.randn(5, 8).double()), nn.Parameter(torch.randn(3).double())
    x, y = torch.randn(64, 8).double(), torch.randint(0, 3, (64,))
    head = torch.randn(5, 3).double()
    optimizer = torch.optim.SGD([w, c], setting.rate, setting.momentum, setting.dampening, weight_decay=setting.decay)
    norms, sums, grads, moved, forms = [w.detach().square().sum(1)], [c.detach().sum()[None]], [], [], []
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(4 * x @ (w / w.norm(dim=1, keepdim=True)).T @ head + c, y).backward()
        grads.append(w.grad.square().sum(1))
        before = w.detach().clone()
        optimizer.step()
        moved.append((w.detach() - before).square().sum(1) / setting.unit**2)
        if setting.momentum:
            forms.append(optimizer.state[w]["momentum_buffer"].square().sum(1))
        norms.append(w.detach().square().sum(1))
        sums.append(c.detach().sum()[None])
    return torch.stack(norms), torch.stack(sums), torch.stack(grads), torch.stack(moved), forms


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_the_closed_forms_meet_runs(setting: P.Setting) -> None:
    norms, sums, grads, moved, forms = run(setting)
    squares = moved if setting.momentum else grads
    assert P.relative_error(norms, P.scale(setting, norms[0], squares)) < 0.05
    steps = torch.arange(len(sums))
    predicted = P.translation(setting, sums[0], steps)
    assert float((sums - predicted).abs().max() / sums[0].abs()) < 0.03
    exact = (
        P.heavy_ball(setting, norms[0], torch.stack(forms)) if setting.momentum else P.decayed(setting, norms[0], grads)
    )
    assert P.relative_error(norms, exact) < 1e-10
    pair = (squares[:, :1], squares[:, 1:2])
    difference = norms[:, :1] - norms[:, 1:2]
    got = P.rescale(setting, difference[0], pair)
    assert float((got - difference).abs().max()) < 0.05 * float((norms - norms[0]).abs().max()) + 1e-9


def test_dampening_counts_once() -> None:
    """kunin2021's code is off by `1 / (1 - dampening)^2` here: papers.md, 0.360 for 0.722."""
    setting = P.Setting(0.02, 0.05, 0.9, 0.5)
    norms, _, _, moved, _ = run(setting)
    right = P.scale(setting, norms[0], moved)
    wrong = P.scale(setting, norms[0], moved * (1 - setting.dampening) ** 2)
    assert P.relative_error(norms, right) < 0.05 < P.relative_error(norms, wrong)


def test_the_radius_where_growth_and_decay_balance() -> None:
    torch.manual_seed(0)
    for setting in (P.Setting(0.2, 0.02), P.Setting(0.05, 0.02, 0.9)):
        w = nn.Parameter(torch.randn(3, 50).double())
        optimizer = torch.optim.SGD([w], setting.rate, setting.momentum, weight_decay=setting.decay)
        for _ in range(1500):  # a loss that only sees the direction, and a new one at every step
            optimizer.zero_grad()
            ((w / w.norm(dim=1, keepdim=True)) * torch.randn(3, 50)).sum().backward()
            optimizer.step()
        radius = P.equilibrium_radius(setting, torch.tensor(49.0).sqrt())  # |w| |g| is chi with 49 degrees
        torch.testing.assert_close(w.detach().norm(dim=1), radius.expand(3).double(), rtol=0.1, atol=0)
    with pytest.raises(ValueError, match="no equilibrium"):
        P.equilibrium_radius(P.Setting(0.1), torch.ones(1))


@pytest.mark.parametrize(
    "setting",
    [
        P.Setting(0.02, 0.0, 0.8),
        *(pytest.param(s, marks=pytest.mark.nightly) for s in (P.Setting(0.1), P.Setting(0.1, 0.05))),
    ],
)
def test_the_modified_flow_is_closer_than_the_flow(setting: P.Setting) -> None:
    torch.manual_seed(0)
    a = torch.randn(6, 4).double()

    def loss(x: torch.Tensor) -> torch.Tensor:
        return (torch.tanh(a @ x) - 0.3).square().mean() + 0.1 * (x**4).sum()

    def velocity(s: torch.Tensor) -> torch.Tensor:
        return -(torch.func.grad(loss)(s) + setting.decay * s) / (1 - setting.momentum)

    start = torch.tensor([1.0, -0.5, 0.7, 0.2]).double()
    x, v = start.clone(), torch.zeros(4).double()
    for _ in range(40):
        g = torch.func.grad(loss)(x) + setting.decay * x
        v = setting.momentum * v + g
        x = x - setting.rate * v
    plain = P._integrated(velocity, start, setting.rate, 40, 5)[-1]
    better = P.modified_flow(loss, start, setting, 40)[-1]
    assert float((better - x).norm()) < 0.5 * float((plain - x).norm())


def test_the_bound_of_sgd_and_noise() -> None:
    forms = torch.rand(50, 3).double()
    bound = P.rate_bound([0.1] * 50, P.measured_constant(forms))
    drift = (0.01 * forms).cumsum(0).abs().amax(1)
    assert bool((drift <= bound[1:] + 1e-15).all()) and bound[0] == 0
    gradients = torch.randn(2000, 4).double() + 1
    drift_by_noise = P.noise_drift(lambda g: g.square().sum()[None] / 2, gradients, 0.1)
    torch.testing.assert_close(drift_by_noise, torch.tensor([0.02]).double(), rtol=0.1, atol=0)


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="rate"):
        P.Setting(0.0)
    with pytest.raises(ValueError, match="momentum"):
        P.Setting(0.1, momentum=1.0)
    with pytest.raises(ValueError, match="heavy_ball"):
        P.decayed(P.Setting(0.1, momentum=0.5), torch.ones(1), torch.ones(2, 1))


@pytest.mark.parametrize("formula", [P.scale, P.decayed, P.heavy_ball])
@pytest.mark.parametrize("shapes", [((5,), ()), ((5,), (5,)), ((5,), (9, 4)), ((9, 5), (5,))])
def test_other_shapes_are_refused_by_name(formula, shapes) -> None:
    first, rows = (torch.ones(s) for s in shapes)
    with pytest.raises(ValueError, match=r"has the shape \(.*first is the law at the start, \(scalars,\), and"):
        formula(P.Setting(0.1), first, rows)
