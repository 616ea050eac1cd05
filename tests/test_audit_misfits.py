"""Maps that do not fit, units that are dead, and axes of parameters that only look whole."""

import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.theory.verdict import Verdict


class Two(nn.Module):
    """Two heads behind one layer, of which one is dead at these weights; skips that are joined end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.out = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 2)
        nn.init.constant_(self.b.bias, -50.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.a(x))
        y: torch.Tensor = self.out(F.relu(self.b(h)) + F.relu(self.c(h)))
        return y


def test_a_dead_unit_does_not_hide_a_wrong_map() -> None:
    torch.manual_seed(0)
    (finding,) = lw.audit({"scale": "a", "compensate": ["c"]}, Two(), args=(torch.randn(3, 4),)).findings
    assert finding.verdict is Verdict.VIOLATED and finding.missing == ("b",)


class Joined(nn.Module):
    """What a layer writes is read beside the input of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(10, 3)
        self.norm, self.c, self.d = nn.LayerNorm(3), nn.Linear(3, 7), nn.Linear(7, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.d(self.c(self.norm(self.b(torch.cat([F.relu(self.a(x)), x], -1)))).sin())
        return y


def test_a_map_that_does_not_fit_is_wrong_if_no_factors_undo_it_and_else_not_accused() -> None:
    torch.manual_seed(0)
    found = lw.symmetries(Joined(), args=(torch.randn(8, 4),))
    verdicts = [
        lw.audit({"scale": scale, "compensate": [to]}, found).findings[0]
        for scale, to in [("a", "b"), ("b", "d"), ("a", "d")]
    ]
    assert [f.verdict for f in verdicts] == [Verdict.UNDECIDED, Verdict.VIOLATED, Verdict.VIOLATED]
    assert "writes 6 channels and b reads 10" in verdicts[0].reason
    assert "no factors of what d reads undo it" in verdicts[1].reason


def test_a_map_that_is_written_the_wrong_way_round_has_no_reader() -> None:
    torch.manual_seed(0)
    found = lw.symmetries(Joined(), args=(torch.randn(8, 4),))
    (finding,) = lw.audit({"scale": "c", "compensate": ["norm"]}, found).findings
    assert finding.verdict is Verdict.VIOLATED and finding.wrong == ("norm",)
    assert "norm does not read it" in finding.reason


class Stream(nn.Module):
    """A stream with two writers, and readers of another norm than the map says."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.post = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2), nn.RMSNorm(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.c(F.relu(self.a(x) + self.b(x)))
        return y


def test_the_other_writer_of_a_stream_is_named() -> None:
    torch.manual_seed(0)
    (finding,) = lw.audit({"scale": "a", "compensate": ["c"]}, Stream(), args=(torch.randn(3, 4),)).findings
    assert finding.verdict is Verdict.VIOLATED and finding.missing == ("b",)
    assert "b moves with it" in finding.reason


class Skips(nn.Module):
    """Channels joined end to end, a token with an axis of one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 3), nn.Linear(7, 2)
        self.token = nn.Parameter(torch.randn(1, 1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.a(x) + self.token)
        y: torch.Tensor = self.c(torch.cat([h, F.relu(self.b(h))], -1))
        return y


def test_permutations_of_git_rebasin_can_be_done_as_they_are_written() -> None:
    torch.manual_seed(0)
    model, x = Skips(), torch.randn(2, 5, 3)
    plan = lw.export.git_rebasin(lw.symmetries(model, args=(x,)))
    assert not {"c.weight"} & set(plan["axes_to_perm"])  # 4 of 7 columns are no axis
    (stream,) = lw.symmetries(Two(), args=(torch.randn(3, 4),)).where(group="permutation", parameter="a.weight")
    assert stream.shape == (6,)
    places = [p for rows in plan["blocks"].values() for p in rows]
    assert ["token", 2, {"start": 0, "before": 1, "count": 4, "width": 1}] in places
