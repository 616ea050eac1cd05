"""Parameters that a forward gives other numbers: their gradient is that at these."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from wrong_backwards import WrongTanh

from lawful.testing import assert_lawful

X = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, right: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.act = torch.tanh if right else WrongTanh.apply

    def before(self, h):
        """What happens to parameters before they are read."""

    def after(self):
        """What happens to them for the next call."""

    def forward(self, x):
        h = self.a(x)
        self.before(h)
        y = self.c(self.act(self.b(h)))
        self.after()
        return y


class Clamped(Net):
    def before(self, h):
        self.b.weight.data = self.b.weight.data.clamp(-0.3, 0.3)


class InPlace(Net):
    def before(self, h):
        self.b.weight.data.clamp_(-0.3, 0.3)
        with torch.no_grad():
            self.c.weight.div_(self.c.weight.norm(dim=1, keepdim=True))


class Unit(Net):
    def before(self, h):
        self.c.weight.data = F.normalize(self.c.weight.data, dim=1)


class Decayed(Net):
    def after(self):
        self.b.weight.data = 0.9 * self.b.weight.data


class Between(Net):
    """Read before and after."""

    def before(self, h):
        self.a.weight.data = 0.5 * self.a.weight.data

    def forward(self, x):
        return super().forward(self.a(x))


class Overwritten(Net):
    """What backward still reads."""

    def after(self):
        self.b.weight.data.mul_(0.9)


def test_numbers_that_backward_still_reads_are_missed() -> None:
    with pytest.raises(AssertionError, match=r"what it saved was overwritten \(Overwritten, test_kit_bound\.py"):
        assert_lawful(Overwritten(), X)


class Started(Net):
    """Parameters that start from the first inputs, in two idioms."""

    def __init__(self, right: bool = True) -> None:
        super().__init__(right)
        self.shift, self.gain, self.begun = nn.Parameter(torch.zeros(6)), nn.Parameter(torch.ones(6)), False

    def forward(self, x):
        h = self.a(x)
        if not self.begun:
            self.gain.data = 1 / (h.detach().std(0) + 1e-5)
            with torch.no_grad():
                self.shift.copy_(-h.mean(0))
            self.begun = True
        return self.c(self.act(self.b(self.gain * (h + self.shift))))


KINDS = [Clamped, InPlace, Unit, Decayed, Between, Started]


@pytest.mark.parametrize(
    ("kind", "run"), [*((k, None) for k in KINDS), (Clamped, "as_is"), (Started, "as_is")], ids=lambda v: str(v)
)
def test_a_parameter_is_judged_at_the_numbers_it_was_given(kind: type[Net], run: str | None) -> None:
    model = kind()
    before = copy.deepcopy(model.state_dict())
    found = assert_lawful(model, X, run=run)
    assert set(found.vouched("reference")) == set(before)
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())
    if kind is Started:
        assert not model.begun and any("started by the first call" in n and "gain, shift" in n for n in found.notes)
    with pytest.raises(AssertionError, match="the backward of WrongTanh"):
        assert_lawful(kind(right=False), X, run=run)


class Replaced(Net):
    def before(self, h):
        self.b.weight.data = (h.detach().T @ h.detach()) / 10


class Copied(Net):
    def before(self, h):
        with torch.no_grad():
            self.b.weight.copy_(h.T @ h / 10)


def test_numbers_made_of_other_parameters_in_every_call_are_asked_about() -> None:
    with pytest.raises(AssertionError, match=r"b\.weight: given other data in every forward"):
        assert_lawful(Replaced(), X)
    with pytest.raises(AssertionError, match="gradients stop at 1 place"):
        assert_lawful(Copied(), X)


class Frozen(nn.Sequential):
    """A norm that stays in evaluation mode whatever it is told."""

    def train(self, mode: bool = True):
        super().train(mode)
        self[1].eval()
        return self


def test_laws_are_those_of_the_modes_that_run() -> None:
    model = Frozen(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    assert not any("mistake of lawful" in n for n in assert_lawful(model, X).notes)


def test_what_torch_export_gives_has_no_training_mode() -> None:
    exported = torch.export.export(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4)), (X,)).module()
    assert assert_lawful(exported, X).verdict.passed
