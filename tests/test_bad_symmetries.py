"""What symmetries at work are given: models and elements that do not fit are refused with both sides and a way out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import lawful as lw


def net(*widths: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(*widths[:2]), nn.ReLU(), nn.Linear(*widths[1:]))


def broken() -> nn.Module:
    model = net(3, 4, 2)
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")  # type: ignore[index,union-attr]
    return model


X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
NET, WIDE = net(3, 4, 2), net(3, 6, 2)
FOUND, OTHER = lw.symmetries(NET, args=X), lw.symmetries(WIDE, args=X)
ONE, PERMUTATION = FOUND.where(group="positive diagonal")[0], FOUND.where(group="permutation")[0]
ARCH = lw.families.mlp([3, 4, 2])
ANY: Any = object()

CALLS: dict[str, tuple[Callable[[], object], str]] = {
    "apply to a wide model": (lambda: ONE.apply(WIDE, ONE.random()), "shape (6, 3), and the symmetry was derived for"),
    "apply a number": (lambda: ONE.apply(NET, ANY), "take one from symmetry.random()"),
    "apply another's": (lambda: ONE.apply(NET, PERMUTATION.random()), "acts by a scale of shape (4,), and the element"),
    "apply a wide one": (lambda: ONE.apply(NET, OTHER[0].random()), "is a scale of shape (6,)"),
    "apply to numbers": (lambda: ONE.apply({"0.weight": 3}, ONE.random()), "a dict from text to a tensor"),  # type: ignore[dict-item]
    "align by another's": (lambda: lw.align(NET, NET, network=OTHER), "(4, 3) in the model and (6, 3) in the network"),
    "align with itself broken": (lambda: lw.align(NET, broken(), args=X), "entries that are not finite"),
    "barrier": (lambda: lw.barrier(NET, WIDE, lambda m: 0.0), "give two models of one architecture"),
    "audit a number": (lambda: lw.audit(ANY, NET), '{"scale": "a", "compensate": ["b"]}'),
    "audit a path": (lambda: lw.audit("map.json", NET), "mapping is 'map.json'; it must be a list"),
    "audit numbers": (lambda: lw.audit([3, "a"], NET, args=X), "as an entry of a map; write"),
    "export a module": (lambda: lw.export.awq(NET), "pass what lawful.symmetries gave"),  # type: ignore[arg-type]
    "export nothing": (lambda: lw.export.rotation_maps(ANY), "it must be a Symmetries"),
    "fold a spec": (lambda: lw.fold("family:mlp:widths=3,4,2"), "arch.to_torch()"),  # type: ignore[arg-type]
    "fold nothing": (lambda: lw.fold(ANY), "it must be a torch module"),
    "fold with a text": (lambda: lw.fold(NET, args=X, remove="no"), "remove is 'no'; it must be True or False"),  # type: ignore[arg-type]
    "balance an architecture": (lambda: lw.balance(ARCH), "an architecture has no weights"),  # type: ignore[type-var]
    "equalise a spec": (lambda: lw.equalise("family:gpt2"), "an architecture has no weights"),  # type: ignore[type-var]
    "balance what is broken": (lambda: lw.balance(broken(), args=X), "0.weight of the model has entries"),
    "fold what is broken": (lambda: lw.fold(broken(), args=X), "0.weight of the model has entries"),
    "decay": (lambda: lw.param_groups(NET, args=X, weight_decay="a"), "weight_decay is 'a'; it must be a number"),  # type: ignore[arg-type]
    "less than no decay": (lambda: lw.param_groups(NET, args=X, weight_decay=-1.0), "at least 0"),
    "balance with inputs": (lambda: lw.balance(NET, X), "example inputs go in by name: args=(x,)"),  # type: ignore[arg-type]
    "fold with inputs": (lambda: lw.fold(NET, (X,)), "example inputs go in by name: args=(x,)"),  # type: ignore[arg-type]
    "group": (lambda: FOUND.where(group="permuation"), "did you mean permutation?"),
    "parameter": (lambda: FOUND.where(parameter="fc1"), "there are 0.bias, 0.weight"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_does_not_fit_is_refused(name: str) -> None:
    make, part = CALLS[name]
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    text = str(caught.value)
    assert part in text and "\n" not in text, text


def test_what_fits_is_taken() -> None:
    assert FOUND.where(group="orthogonal") == () == FOUND.where(parameter="2.bias")
    for given in (NET, dict(NET.named_parameters()), NET.state_dict()):
        moved = lw.balance(given, network=FOUND)  # type: ignore[type-var]
        assert type(moved) in (type(given), dict)
    assert lw.audit({"scale": "fc1", "compensate": ["fc2"]}, ARCH).verdict is lw.Verdict.HOLDS
    assert [s.name for s in lw.symmetries(NET, X)] == [s.name for s in FOUND]
    assert lw.same_function(NET, NET, X) and lw.align(NET, NET, (X,)).distance == (0, 0)


def test_a_gain_that_no_fold_sees_is_named() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm([5, 8]), nn.Linear(8, 2))
    nn.init.normal_(model[1].weight)  # type: ignore[arg-type]
    refused = lw.fold(model, args=torch.randn(2, 5, 8)).refused
    assert "1" in " ".join(refused) and all(refused.values())


def test_a_question_to_a_watched_model_is_no_training() -> None:
    """The ledger derives its laws at the first training step, whatever was asked before."""
    model = net(3, 4, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with lw.Ledger(model, optimizer) as ledger:
        for ask in (lw.check, lw.derive, lw.verify, lw.symmetries):
            ask(model, args=X)
        lw.testing.assert_lawful(model, (X,))
        with pytest.raises(ValueError, match="cannot be multiplied"):
            lw.balance(model, args=torch.randn(5, 4))
        assert not ledger.laws
        model(X).square().mean().backward()
        optimizer.step()
    assert ledger.steps == 1 and ledger.verdict in ("ok in part", "rounding in part")


def test_models_of_two_architectures_are_not_aligned() -> None:
    """Shapes alone do not tell them apart."""
    x = torch.randn(5, 3)
    nets = [
        torch.nn.Sequential(torch.nn.Linear(3, 4), act, torch.nn.Linear(4, 2))
        for act in (torch.nn.ReLU(), torch.nn.Tanh())
    ]
    with pytest.raises(ValueError, match="computes something else than the first"):
        lw.align(*nets, args=x)
    again = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(4, 2)
    ).eval()
    noisy = copy.deepcopy(again).train()
    assert lw.align(again, noisy, args=x).distance == (0.0, 0.0) and noisy.training
