"""What models of other packages were refused for without need (issue 14), each reduced to a few lines."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.atlas import outside
from lawful.atlas.measure import Task, measure
from lawful.atlas.page import docs_text
from lawful.atlas.record import Record, fault_of


class Mlp(nn.Module):
    """Two maps with ReLU between them: a law for each of four units."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x).relu())


class InPlace(Mlp):
    """The namesake of `pow_.Scalar` takes a number to the power of a tensor."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        degrees = torch.ones(x.shape[0], 1).add_(1.0).pow_(-0.5)
        return super().forward(degrees * x)


class Distributed(Mlp):
    """Distributions look at the numbers of their arguments, which no graph can."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Categorical(logits=super().forward(x)).logits


class Normal(Mlp):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = super().forward(x)
        return torch.distributions.Normal(mean, torch.ones_like(mean)).log_prob(torch.zeros_like(mean))


class Moving(Mlp):
    """Its parts are moved to where they are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.a.to(x.device)
        self.b.float()
        return super().forward(x)


@pytest.mark.parametrize("module", [InPlace(), Distributed(), Normal(), Moving()], ids=lambda m: type(m).__name__)
def test_what_no_graph_shows_refuses_nothing(module: Mlp) -> None:
    torch.manual_seed(0)
    for part in (module.a, module.b):
        part.reset_parameters()  # a unit that is dead for all inputs has no verdict
    x, checked = torch.randn(5, 3), torch.distributions.Distribution._validate_args
    laws = lw.derive(module, args=(x,))
    assert laws.count >= 4
    assert str(lw.verify(module, laws, args=(x,)).verdict) in ("holds", "approximate")
    assert torch.distributions.Distribution._validate_args == checked  # importing torch._dynamo switches it off
    assert module.a.to(torch.float64).weight.dtype == torch.float64


def test_what_is_no_batch_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_rows", lambda: {"torch/graph": ROW})
    record = measure(Task("ours:torch/graph"))
    assert (record.verdict, record.reason) == ("holds", "")


class Graph(Mlp):
    """Adds up what edges carry; an index of edges has two rows."""

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        source, target = edges
        return self.b(torch.zeros(x.shape[0], 4).index_add(0, target, self.a(x).relu()[source]))


ROW = {"package": "torch", "make": f"{__name__}.Graph", "inputs": ["normal 5 3", "edges5 2 8"]}


@pytest.mark.parametrize(
    ("status", "reason", "fault"),
    [
        ("laws", "", ""),
        ("not built", "it reads sound", "package"),
        ("not installed", "x is not installed", "package"),
        ("failed", "no answer within 60 seconds", "limit"),
        ("failed", "the process was stopped by SIGKILL, most likely for want of memory", "limit"),
        ("failed", "TraceError: the forward of Net branches on the values of a tensor", "module"),
        ("failed", "OpenError: the forward of Net branches on the values of a tensor", "module"),
        ("failed", "TraceError: Net: the rebuilt network does not run; this is a bug of lawful", "lawful"),
        ("failed", "KeyError: 3", "lawful"),
    ],
)
def test_a_record_says_whose_fault_it_is(status: str, reason: str, fault: str) -> None:
    assert fault_of(Record("ours:a/b", status=status, reason=reason)) == fault


def test_the_docs_have_a_section_on_other_packages() -> None:
    rows = [
        Record("ours:a/b", status="laws"),
        Record("ours:a/c", status="failed", reason="KeyError: 3", fault="lawful"),
    ]
    text = docs_text(rows)
    assert all(part in text for part in ("2 models of 1 other packages", "50 % of those were derived", "lawful 1."))
    assert "## Other packages" not in docs_text([Record("timm:a", status="laws")])
