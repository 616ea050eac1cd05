"""Two networks trained on digits: alignment lowers the barrier as far as the published method does on the same run."""

from pathlib import Path

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.symmetry.barrier import height

WIDTHS = (64, 128, 128, 10)


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    a, b, c, d = WIDTHS
    return nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c), nn.ReLU(), nn.Linear(c, d))


def trained(seed: int, x: torch.Tensor, y: torch.Tensor) -> nn.Sequential:
    model = network(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    order = torch.Generator().manual_seed(seed)
    for _ in range(300):
        picked = torch.randint(len(x), (128,), generator=order)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[picked]), y[picked]).backward()
        optimizer.step()
    return model


def weight_matching(a: nn.Sequential, b: nn.Sequential, seed: int) -> nn.Sequential:
    """Algorithm 1 of Ainsworth, Hayase and Srinivasa 2022, written out for this network by hand."""
    from scipy.optimize import linear_sum_assignment

    spec = {0: [("0.weight", 0), ("0.bias", 0), ("2.weight", 1)], 1: [("2.weight", 0), ("2.bias", 0), ("4.weight", 1)]}
    first, now = dict(a.state_dict()), {n: t.clone() for n, t in b.state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    changed = True
    while changed:
        changed = False
        for p in torch.randperm(len(spec), generator=generator).tolist():
            gain = sum(
                first[n].movedim(axis, 0).flatten(1) @ now[n].movedim(axis, 0).flatten(1).T
                if now[n].ndim > 1
                else torch.outer(first[n], now[n])
                for n, axis in spec[p]
            )
            assert isinstance(gain, torch.Tensor)
            order = torch.from_numpy(linear_sum_assignment(gain.numpy(), maximize=True)[1])
            if float(gain[range(len(order)), order].sum()) > float(gain.trace()) + 1e-6:
                changed = True
                now |= {n: now[n].index_select(axis, order) for n, axis in spec[p]}
    out = network(0)
    out.load_state_dict(now)
    return out


def test_the_barrier_falls_as_far_as_by_the_published_method(tmp_path: Path) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    pytest.importorskip("scipy")
    digits = datasets.load_digits()
    x, y = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)
    a, b = trained(1, x, y), trained(2, x, y)

    def loss(model: nn.Module) -> float:
        return float(nn.functional.cross_entropy(model(x), y).detach())

    found = lw.barriers(a, b, loss, args=(x[:3],))
    before, after = found.heights
    published = height(lw.barrier(a, weight_matching(a, b, 0), loss))
    assert before > 0.3
    assert after <= published + 0.02 * before, (before, after, published)
    assert after < 0.5 * before
    assert loss(found.alignment.model) == pytest.approx(loss(b), abs=1e-5)
    pytest.importorskip("matplotlib")
    found.plot(str(tmp_path / "barrier.png"))
    assert (tmp_path / "barrier.png").stat().st_size > 5000


def test_what_no_permutation_settles_is_named() -> None:
    """Between linear layers any matrix may stand: nothing is permuted, and the answer says what is left."""
    pytest.importorskip("scipy")
    torch.manual_seed(0)
    one, other = (nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2)) for _ in range(2))
    found = lw.align(one, other, torch.randn(4, 3))
    assert not found.elements and found.left == {"general linear": ("balance of 0",)}
    assert "nothing was permuted" in str(found) and "general linear: balance of 0" in str(found)
