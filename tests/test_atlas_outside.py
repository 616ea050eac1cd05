"""The atlas' own list: every row can be read, and what is missing is a row and no failure."""

from __future__ import annotations

import pytest
import torch

from lawful.atlas import outside
from lawful.atlas.built import NotBuilt, NotInstalled
from lawful.atlas.measure import Task, measure
from lawful.atlas.models import names

ROW = {
    "package": "torch",
    "make": "torch.nn.Sequential",
    "args": [
        {"make": "torch.nn.Linear", "args": [3, 4]},
        {"make": "torch.nn.ReLU"},
        {"make": "torch.nn.Linear", "args": [4, 2]},
    ],
    "inputs": ["normal 4 3"],
}


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> dict:
    found = {"torch/mlp": ROW, "absent/model": {**ROW, "package": "no-such-package-of-anyone"}}
    monkeypatch.setattr(outside, "_rows", lambda: found)
    return found


def test_the_list_is_long_and_every_row_says_how() -> None:
    rows = outside._rows()
    assert len(rows) >= 120 and len({r["package"] for r in rows.values()}) >= 40
    allowed = {"package", "make", "args", "options", "inputs", "named", "call", "loss"}
    assert all("make" in r and ("inputs" in r or "named" in r) and set(r) <= allowed for r in rows.values())
    assert len(names("ours:*")) == len(rows)


def test_a_model_is_derived_and_verified(rows: dict) -> None:
    record = measure(Task("ours:torch/mlp"))
    assert (record.status, record.scalars, record.verdict) == ("laws", 4, "holds")
    assert record.verified_on.startswith("torch ") and not record.published


def test_what_is_missing_is_a_row(rows: dict) -> None:
    record = measure(Task("ours:absent/model"))
    assert (record.status, record.reason) == ("not installed", "no-such-package-of-anyone is not installed")
    with pytest.raises(NotInstalled):
        outside.outside_model("absent/model")
    with pytest.raises(NotBuilt, match=r"did you mean .*torch/mlp"):
        outside.outside_model("torch/mpl")


def test_a_package_that_cannot_make_it_is_a_row(rows: dict) -> None:
    rows["torch/mlp"] = {**ROW, "make": "torch.nn.NoSuchLayer"}
    record = measure(Task("ours:torch/mlp"))
    assert record.status == "not built" and "cannot make it here: AttributeError" in record.reason


def test_words_become_tensors_and_tables_are_made() -> None:
    assert outside._value("below3 2 4").max() < 3 and outside._value("edges6 2 5").shape == (2, 5)
    assert outside._value("complex 2").is_complex() and outside._value("no tensor 3") == "no tensor 3"
    made = outside._value({"a": {"tuple": [1, {"object": "None"}]}, "b": [{"object": "torch.nn.ReLU"}]})
    assert made == {"a": (1, None), "b": [torch.nn.ReLU]}


def test_a_method_stands_for_forward() -> None:
    class Flow(torch.nn.Module):
        def forward(self) -> torch.distributions.Distribution:
            return torch.distributions.Normal(0.0, 1.0)

        def twice(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    x = torch.zeros(2)
    assert torch.equal(outside.Called(Flow(), "twice")(x), x)
    assert outside.Called(Flow(), "().log_prob")(x).shape == (2,)
