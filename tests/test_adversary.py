"""Finds of adversaries who knew only the README, each with its number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import lawful as lw
from lawful.theory.verdict import Verdict


class Plain(nn.Module):
    """A forward with bare parameters, given by their shapes."""

    def __init__(self, forward: Callable, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(0)
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(0.6 * torch.randn(shape)))
        self.compute = forward

    def forward(self, x):
        return self.compute(x, *self.parameters())


def unrolled(x, w, u, v):
    """A ReLU RNN whose state starts from zeros."""
    h = torch.zeros(len(x), 3, dtype=x.dtype)
    for t in range(x.shape[1]):
        h = torch.relu(x[:, t] @ w.T + h @ u.T)
    return h @ v.T


def test_a_recurrence_that_starts_from_zeros():
    model, x = Plain(unrolled, w=(3, 2), u=(3, 3), v=(2, 3)), torch.randn(4, 3, 2)
    laws = lw.derive(model, args=(x,))
    assert laws.independent == lw.count(model, args=(x,)).laws == 3
    assert lw.verify(model, laws, args=(x,)).verdict is Verdict.HOLDS


def stepped(x, w, u, v, linear=False):
    """One output for every step, from zeros."""
    h, outputs = x.new_zeros(len(x), 2), []
    for t in range(x.shape[1]):
        h = x[:, t] @ w.T + h @ u.T
        h = h if linear else torch.relu(h)
        outputs.append(h @ v.T)
    return outputs[-1] if linear else torch.stack(outputs, 1)


def joined(x, w, v):
    """One matrix for the input and the state beside it, from zeros."""
    h = x.new_zeros(len(x), 2)
    for t in range(x.shape[1]):
        h = torch.relu(torch.cat([x[:, t], h], -1) @ w.T)
    return h @ v.T


@pytest.mark.parametrize(
    ("forward", "steps", "shapes", "number"),
    [
        (partial(stepped, linear=True), 3, {"w": (2, 2), "u": (2, 2), "v": (2, 2)}, 3),
        (stepped, 2, {"w": (2, 2), "u": (2, 2), "v": (2, 2)}, 2),
        (joined, 2, {"w": (2, 4), "v": (2, 2)}, 2),
    ],
    ids=["linear", "an output for every step", "one matrix"],
)
def test_other_loops_from_zeros(forward, steps, shapes, number):
    laws = lw.derive(Plain(forward, **shapes), args=(torch.randn(3, steps, 2),))
    assert laws.independent == number and not laws.notes


def test_a_reentrant_checkpoint_is_no_custom_backward():
    model = Plain(lambda x, w, v: checkpoint(torch.relu, x @ w.T, use_reentrant=True) @ v.T, w=(3, 2), v=(2, 3))
    assert lw.derive(model, args=(torch.randn(4, 2),)).independent == 3


def test_a_corner_that_two_cuts_leave_never_moves():
    """The entries `big[:3, 2]` are read by nobody: three laws of one entry each, known to every count."""
    model = Plain(lambda x, big: torch.relu(x @ big[:3, :2].T) @ big[3:].T, big=(5, 3))
    x = torch.randn(4, 2)
    laws = lw.derive(model, args=(x,))
    assert laws.independent == lw.count(model, args=(x,)).laws == lw.count(model, args=(x,), exact=True).laws == 6
    assert (proof := lw.certificate(model, args=(x,))).at_least == proof.at_most == 6


def test_a_kernel_tap_that_nothing_reads_never_moves():
    model, x = Plain(lambda x, w: F.conv1d(x, w[:, :, :2]), w=(2, 2, 3)), torch.randn(4, 2, 5)
    laws = lw.derive(model, args=(x,))
    assert [law.text for law in laws] == ["w[:,:,2:3]"] and not laws.gaps
    assert laws.exact_independent == lw.count(model, args=(x,)).laws == 4


def test_scattered_entries_that_nothing_reads_are_named():
    model = Plain(lambda x, w: F.conv1d(x, w[:, :1, :2]) + F.conv1d(x, w[:, 1:, 1:]), w=(2, 2, 3))
    laws = lw.derive(model, args=(torch.randn(4, 1, 5),))
    assert any("no part of it that is read" in note for note in laws.notes)


def test_one_input_in_two_arrangements_is_not_two_inputs():
    """`W(x) x` with `W(x)` linear in x: 6 laws, where 3 are counted if the two x are drawn apart."""
    model = Plain(
        lambda x, h, o: torch.relu(torch.einsum("boi,bi->bo", (x @ h.T).view(-1, 3, 2), x)) @ o.T, h=(6, 2), o=(2, 3)
    )
    x = torch.randn(4, 2)
    assert lw.count(model, args=(x,)).laws == 6
    assert lw.count(model, args=(x,), exact=True).laws == 6
    assert lw.count(lw.trace(model, x)).laws == 6


def test_brackets_through_a_detach_decide_nothing():
    """`(x A^T).detach() B^T + x A^T` has 3 laws; derivatives that stop at the detach would give 4."""
    model = Plain(lambda x, a, b: (x @ a.T).detach() @ b.T + x @ a.T, a=(2, 2), b=(2, 2))
    assert lw.count(model, args=(torch.randn(4, 2),)).verdict is not Verdict.HOLDS


def test_a_loop_over_samples_is_derived():
    model = Plain(lambda x, a, b: torch.stack([torch.relu(r @ a.T) @ b.T for r in x]), a=(3, 2), b=(2, 3))
    args = (torch.randn(4, 2),)
    laws = lw.derive(model, args=args)
    assert ([law.text for law in laws], laws.notes) == (["‖a[i,:]‖² - ‖b[:,i]‖²"], ())
    report = lw.check(model, args=args)
    assert report.count.laws == 3 and report.complete


def test_counting_leaves_the_random_state():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Dropout(0.5), nn.Linear(3, 2))
    x = torch.randn(4, 2)
    before = torch.get_rng_state()
    lw.count(model, args=(x,))
    assert torch.equal(before, torch.get_rng_state())
    model.eval()
    lw.count(model, args=(x,), exact=True)
    lw.certificate(model, args=(x,))
    assert torch.equal(before, torch.get_rng_state())


def test_classes_in_parts_that_two_maps_write():
    """`1^T A + 1^T B` is conserved under cross-entropy, as `1^T W` is for one map."""
    model = Plain(lambda x, a, b: torch.cat([F.linear(x, a), F.linear(x, b)], -1), a=(2, 4), b=(3, 4))
    laws = lw.derive(model, "cross_entropy", args=(torch.randn(5, 4),))
    assert laws.independent == lw.count(model, "cross_entropy", args=(torch.randn(5, 4),)).laws == 4


def test_a_count_where_an_exponential_is_read():
    """No law: inputs that were too large hid one unit behind the exponential of another."""
    model = Plain(lambda x, a: torch.exp(F.leaky_relu(x @ a.T, -0.5) * torch.tensor([1.0, -1.0])), a=(2, 3))
    assert lw.count(model, args=(torch.randn(4, 3),)).laws == 0
