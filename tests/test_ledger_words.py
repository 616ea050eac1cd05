"""What the ledger says: a bound that tests nothing is no verdict, a name is found by its part, no law hides others."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import lawful as lw
from lawful.cli import app
from lawful.theory.arguments import near_or_all


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, g: torch.Tensor) -> torch.Tensor:
        return 1.05 * g


class Net(nn.Module):
    """A convolution before a BatchNorm, whose bias has a gradient of rounding only."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.conv, self.bn, self.fc1, self.fc2 = (
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.Linear(16, 6),
            nn.Linear(6, 3),
        )
        self.wrong = wrong

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.fc1(torch.relu(self.bn(self.conv(x))).flatten(1)))
        return self.fc2(Wrong.apply(h) if self.wrong else h)


def run(model: nn.Module, kind: type[torch.optim.Optimizer], steps: int = 30) -> lw.Ledger:
    torch.manual_seed(0)
    optimizer = kind(model.parameters(), lr=3e-3)
    ledger = lw.Ledger(model, optimizer, loss="cross_entropy")
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(16, 1, 4, 4)), torch.randint(3, (16,))).backward()
        optimizer.step()
    return ledger


@pytest.fixture(scope="module")
def adam() -> lw.Ledger:
    torch.manual_seed(0)
    return run(Net(), torch.optim.AdamW)


@pytest.mark.parametrize("law", ["frozen conv.bias", "balance of fc1", "balance of conv"])
def test_rounding_that_may_be_larger_than_a_law_tests_nothing(law: str) -> None:
    """An optimizer that divides a gradient of rounding by its size makes whole steps of it: 4000 % of the law."""
    torch.manual_seed(0)
    ledger = run(Net(), torch.optim.AdamW, 5)
    account = ledger.accounts[law]
    assert ledger.verdict == "epsilon" and "not tested" not in ledger.health()
    account.bound = torch.full_like(account.bound, 40 * account.norm)
    verdicts = {row.law: row.verdict for row in ledger.rows()}
    assert verdicts.pop(law) == "not tested" and "not tested" not in verdicts.values()
    assert ledger.verdict in ("rounding in part", "epsilon in part")
    assert f"not tested: rounding alone may be larger than {law}" in ledger.health()
    assert "4e+01" not in ledger.health() and "tests nothing" in ledger.explain(law)


def test_a_bias_that_starts_at_zero_is_tested_where_rounding_is_small() -> None:
    """It is small against itself only: the weights beside it give the measure."""
    torch.manual_seed(0)
    model = Net()
    nn.init.zeros_(model.conv.bias)
    ledger = run(model, torch.optim.SGD)
    assert {row.law: row.verdict for row in ledger.rows()}["frozen conv.bias"] in ("ok", "rounding"), ledger.health()


def test_a_law_is_found_by_a_part_of_its_name_or_its_number(adam: lw.Ledger, tmp_path: Path) -> None:
    assert adam.explain(0) == adam.explain(adam.laws[0]) and adam.explain(-1) == adam.explain(adam.laws[-1])
    with pytest.raises(
        TypeError, match="99 is no law; pass one of the ledger's laws, its name, its row, or its number"
    ):
        adam.explain(99)
    with pytest.raises(KeyError, match=r"did you mean .*fc2"):
        adam.explain("fc2")
    file = tmp_path / "run.json"
    file.write_text(adam.to_json(), encoding="utf-8")
    said = CliRunner().invoke(app, ["ledger", str(file), "--law", "fc2"], standalone_mode=True)
    wanted = [name for name in json.loads(adam.to_json())["explained"] if "fc2" in name]
    assert wanted and all(name in str(said.exception) for name in wanted[:3]), said.exception


def test_what_is_left_out_of_a_list_of_names_is_said() -> None:
    names = [f"balance of layer{i}" for i in range(20)]
    assert near_or_all("layer7", names) == "did you mean balance of layer7?"
    assert near_or_all("q", names).endswith("(20 in all)")


def test_a_backward_by_hand_is_named_with_its_line_where_no_law_reads_what_is_before_it() -> None:
    torch.manual_seed(0)
    ledger = run(Net(wrong=True), torch.optim.SGD)
    line = next(i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "Wrong.apply(h) if" in text)
    assert ledger.verdict.endswith("in part"), ledger.health()
    assert f"test_ledger_words.py:{line}" in ledger.health() and "why there may be no law: Wrong" in ledger.health()


def test_no_law_hides_another_in_the_figure(adam: lw.Ledger) -> None:
    figure = adam.plot()
    causes = figure.axes[1]
    reach: dict[float, float] = {}
    for bar in causes.patches:
        middle = bar.get_y() + bar.get_height() / 2
        reach[middle] = reach.get(middle, 0.0) + abs(bar.get_width())
    moved = [row for row in adam.rows() if any(row.causes.values())]
    assert sum(abs(whole - 1) < 1e-6 for whole in reach.values()) >= min(len(moved), 12)
    figure.canvas.draw()
    legend = causes.get_legend()
    assert legend is not None and not legend.get_window_extent().overlaps(causes.get_window_extent())


def test_a_ledger_that_was_made_after_the_loop_says_so() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2))
    ledger = lw.Ledger(model, torch.optim.SGD(model.parameters(), 0.1), args=torch.randn(4, 3))
    assert "no step was seen" in str(ledger) and "before the loop" in ledger.health()
