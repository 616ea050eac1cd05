"""Stopped gradients: nobody is accused of what may be meant, and what is wrong beside them is still found."""

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from wrong_backwards import Product, WrongTanh

from lawful.testing import assert_lawful

MEANT = r"gradients stop at .* is that meant\? Nothing else is wrong"
X, B, Y = (torch.randn(12, 6, generator=torch.Generator().manual_seed(i)) for i in range(3))
LABELS = torch.arange(12) % 3
STEPS = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(3))


class Parts(nn.Module):
    def __init__(self, wrong=False):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 5), nn.Linear(5, 5)
        self.head, self.code = nn.Linear(5, 3), nn.Embedding(7, 5)
        self.teacher = copy.deepcopy(self.a).requires_grad_(False)
        self.act = WrongTanh.apply if wrong else torch.tanh
        self.read_all()

    def read_all(self):
        for part in (self.c, self.head, self.code):
            part.requires_grad_(False)

    def body(self, x):
        return self.b(self.act(self.a(x)))


class TargetNetwork(Parts):
    def forward(self, x, y):
        with torch.no_grad():
            target = 0.1 + 0.99 * self.body(y).max(1).values
        return F.smooth_l1_loss(self.body(x)[:, 0], target)


class SimSiam(Parts):
    def read_all(self):
        super().read_all()
        self.c.requires_grad_()

    def forward(self, x, y):
        p, q = self.body(x), self.body(y)
        one = F.cosine_similarity(self.c(p), q.detach()).mean()
        return -one - F.cosine_similarity(self.c(q), p.detach()).mean()


class Teacher(Parts):
    @torch.no_grad()
    def update(self):
        for p, q in zip(self.teacher.parameters(), self.a.parameters(), strict=True):
            p.mul_(0.99).add_(0.01 * q)

    def forward(self, x, y):
        self.update()
        with torch.no_grad():
            t = self.teacher(y)[:, :5].softmax(-1)
        return -(t * self.body(x).log_softmax(-1)).sum(-1).mean()


class Replaced(Parts):
    def forward(self, x, y):
        with torch.no_grad():
            for p, q in zip(self.a.parameters(), self.teacher.parameters(), strict=True):
                q.data = q.data * 0.99 + p.data * 0.01
            k = self.teacher(y).mean(1)
        return F.mse_loss(self.body(x)[:, 0], k)


class Rounded(Parts):
    def forward(self, x):
        scale = self.a.weight.abs().max().detach() / 7
        w = self.a.weight
        w = w + ((w / scale).round().clamp(-8, 7) * scale - w).detach()
        return self.b(self.act(F.linear(x, w, self.a.bias)))


class Codes(Parts):
    def read_all(self):
        self.c.requires_grad_(False)
        self.code.requires_grad_()

    def forward(self, x):
        z = self.body(x)
        e = self.code(torch.cdist(z, self.code.weight).argmin(-1))
        return self.head(z + (e - z).detach()).square().mean() + F.mse_loss(e, z.detach()) + F.mse_loss(z, e.detach())


class Critic(Parts):
    def read_all(self):
        self.c.requires_grad_(False)
        self.code.requires_grad_(False)

    def forward(self, x, y):
        h = self.body(x)
        v, logp = h[:, 0], self.head(h).log_softmax(-1)[:, 0]
        advantage = (y[:, 0] - v).detach()
        return -(logp * advantage).mean() + F.mse_loss(v, y[:, 0])


class Truncated(Parts):
    def forward(self, xs):
        h = xs.new_zeros(len(xs), 6)
        for t in range(xs.shape[1]):
            if t and t % 2 == 0:
                h = h.detach()
            h = F.pad(self.body(xs[:, t] + h), (0, 1))
        return h


class Logs(Parts):
    def forward(self, x):
        h = self.body(x)
        with torch.no_grad():
            self.log = {"mean": h.mean().item(), "dead": (h <= 0).float().mean(), "std": h.std()}
        self.log["max"] = h.detach().abs().max()
        return h


class Balanced(Parts):
    def forward(self, x):
        one, two = self.body(x)[:, :2].square().mean(), self.body(x)[:, 2:].abs().mean()
        return one / one.detach() + two / two.detach()


class Gated(Parts):
    def forward(self, x):
        h = self.body(x)
        mask = torch.zeros_like(h).scatter_(1, h.detach().topk(2, -1).indices, 1.0)
        return h * mask * (h.detach() > 0)


class Hidden(Parts):
    def forward(self, x):
        h = self.a(x)
        h.data.clamp_(min=0)
        return self.b(self.act(h))


IDIOMS = {
    TargetNetwork: ((X, B), "with torch.no_grad():"),
    SimSiam: ((X, B), "q.detach()"),
    Teacher: ((X, B), None),
    Replaced: ((X, B), None),
    Rounded: ((X,), None),
    Codes: ((X,), None),
    Critic: ((X, Y), ".detach()"),
    Truncated: ((STEPS,), "h = h.detach()"),
    Logs: ((X,), None),
    Balanced: ((X,), "one.detach()"),
    Gated: ((X,), None),
    Hidden: ((X,), "h.data.clamp_(min=0)"),
}


@pytest.mark.parametrize("kind", IDIOMS, ids=lambda kind: kind.__name__)
def test_what_may_be_meant_is_asked_and_what_is_wrong_is_found(kind: type[Parts]) -> None:
    args, line = IDIOMS[kind]
    names: list[str] = []
    if line is not None:
        with pytest.raises(AssertionError, match=MEANT) as error:
            assert_lawful(kind(), args)
        text = str(error.value)
        assert line in text and "wrong gradients" not in text
        asked = re.search(r"pass by_design=\[(.*?)\],", text)
        assert asked is not None
        names = [n.strip("'") for n in asked.group(1).split(", ")]
    assert assert_lawful(kind(), args, by_design=names).verdict.passed
    for given in ((), names):
        with pytest.raises(AssertionError, match="the backward of WrongTanh") as error:
            assert_lawful(kind(wrong=True), args, by_design=given)
        assert "written at: wrong_backwards.py" in str(error.value)


class Twice(Parts):
    def forward(self, x):
        h = self.body(x)
        meant = h.detach()  # lawful: by design
        return h * meant + self.body(x).detach()


def test_a_second_stop_is_asked_for_when_the_first_is_declared() -> None:
    with pytest.raises(AssertionError, match="gradients stop at 1 place") as error:
        assert_lawful(Twice(), X)
    assert "self.body(x).detach()" in str(error.value) and "meant = " not in str(error.value)


def detached(net, x):
    return Product.apply(net.a(x).detach(), net.a.bias)


def switched(net, x):
    with torch.set_grad_enabled(False):
        h = net.a(x)
    return h * net.a.bias


def copied(net, x):
    net.teacher.weight.copy_(net.a.weight.detach())
    return net.teacher(x) * net.a.bias


@pytest.mark.parametrize("middle", [detached, switched, copied])
def test_stops_that_no_kernel_shows_have_their_line(middle) -> None:
    class Net(Parts):
        def forward(self, x):
            return self.b(middle(self, x))

    with pytest.raises(AssertionError, match="gradients stop at 1 place") as error:
        assert_lawful(Net(), X)
    assert {detached: ".detach(), net", switched: "set_grad_enabled", copied: "copy_"}[middle] in str(error.value)


def routed(net, x):
    p = net.a(x).softmax(-1)
    weight, which = p.topk(2, -1)
    out = torch.zeros_like(p)
    for e in range(8):
        row, slot = torch.where(which == e)
        out = out.index_add(0, row, p[row] * weight.data[row, slot, None])
    return out


def beside(net, x):
    h = net.a(x)
    return h.detach() + h * F.one_hot(h.argmax(-1), 8)


@pytest.mark.parametrize("middle", [routed, beside])
def test_what_stands_beside_a_choice_is_no_straight_through_estimator(middle) -> None:
    class Net(Parts):
        def forward(self, x):
            return self.b(middle(self, x))

    with pytest.raises(AssertionError, match="gradients stop at 1 place"):
        assert_lawful(Net(), X)


class Adapter(torch.autograd.Function):
    """x W + s (x A) B, whose frozen W is no part of what the trainable parameters do."""

    @staticmethod
    def forward(ctx, x, w, a, b, scale, wrong):
        ctx.save_for_backward(x, w, a, b)
        ctx.scale, ctx.wrong = scale, wrong
        return x @ w.T + scale * (x @ a.T) @ b.T

    @staticmethod
    def backward(ctx, g):
        x, w, a, b = ctx.saved_tensors
        db = (1 if ctx.wrong else ctx.scale) * g.T @ (x @ a.T)
        return g @ w + ctx.scale * (g @ b) @ a, None, ctx.scale * (g @ b).T @ x, db, None, None


class Lora(Parts):
    def __init__(self, wrong=False):
        super().__init__()
        self.wrong = wrong
        self.requires_grad_(False)
        self.adapters = nn.ParameterList([torch.randn(2, 6), torch.zeros(8, 2), torch.randn(2, 8), torch.zeros(5, 2)])

    def forward(self, x):
        a, b, c, d = self.adapters
        h = F.silu(Adapter.apply(x, self.a.weight, a, b, 8.0, self.wrong))
        return Adapter.apply(h, self.b.weight, c, d, 8.0, self.wrong)


def test_frozen_weights_inside_of_an_operator() -> None:
    assert assert_lawful(Lora(), X).verdict.passed
    with pytest.raises(AssertionError, match=r"the backward of Adapter[\s\S]*only 0\.125 of what it should be"):
        assert_lawful(Lora(wrong=True), X)
