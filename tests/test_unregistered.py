"""Layers and tensors that a module uses but does not register: a plain list in place of a ModuleList."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import lawful as lw
from lawful.testing import assert_lawful

OUTSIDE = nn.Linear(4, 4)


class Held(nn.Module):
    """A registered layer behind something that is kept in one way or another."""

    def __init__(self, keep: Callable[[nn.Linear], object], apply: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.kept, self.o, self.apply_kept = keep(nn.Linear(4, 4)), nn.Linear(4, 2), apply

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.apply_kept(self, x))


WAYS = {
    "a list": (lambda a: [a], lambda m, x: m.kept[0](x), "kept[0].bias, kept[0].weight:"),
    "a dict of lists": (lambda a: {"a": [a]}, lambda m, x: m.kept["a"][0](x), "kept['a'][0].bias, "),
    "a tuple": (lambda a: (a,), lambda m, x: m.kept[0](x), "kept[0].bias, kept[0].weight:"),
    "a tensor": (lambda a: [a.weight], lambda m, x: x @ m.kept[0], "kept[0]:"),
    "a closure": (lambda a: lambda x: a(x), lambda m, x: m.kept(x), "the variable a of <lambda>"),
    "a global": (lambda a: None, lambda m, x: OUTSIDE(x), "the global OUTSIDE.bias, "),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("meta", [False, True])
def test_what_is_not_registered_is_said_to_be_a_constant(way: str, meta: bool) -> None:
    keep, apply, names = WAYS[way]
    if meta and way == "a global":
        pytest.skip("it has numbers, the module has none")
    with torch.device("meta" if meta else "cpu"):
        module, x = Held(keep, apply), torch.randn(5, 4)
        notes = [n for n in lw.derive(module, args=x).notes if "are no parameters of the module" in n]
    assert len(notes) == 1 and names in notes[0], notes
    if not meta:
        found = str(assert_lawful(module, x))
        assert "no parameters of the module" in found and "2 parameters are right" in found


@pytest.mark.parametrize(
    "module",
    [
        Held(lambda a: a, lambda m, x: m.kept(x)),
        Held(lambda a: nn.ModuleList([a]), lambda m, x: m.kept[0](x)),
        Held(lambda a: [a.requires_grad_(False)], lambda m, x: m.kept[0](x)),
        Held(lambda a: [a], lambda m, x: x),
    ],
    ids=["registered", "a ModuleList", "frozen", "not used"],
)
def test_nothing_is_said_where_nothing_is_missing(module: nn.Module) -> None:
    assert not [n for n in lw.derive(module, args=torch.randn(5, 4)).notes if "no parameters of" in n]
    assert "no parameters of" not in str(assert_lawful(module, torch.randn(5, 4)))


def test_a_layer_that_its_owner_registers_is_no_stray() -> None:
    """A list hides the owner from its part, so that the parameters are not counted twice."""
    module = Held(lambda a: a, lambda m, x: m.again[0](x))
    module.again = [module.kept]
    laws = lw.derive(module, args=torch.randn(5, 4))
    assert not [n for n in laws.notes if "no parameters of" in n]
    assert {n for law in laws for n in law.parameters} >= {"kept.weight", "o.weight"}


def test_the_gradients_of_somebody_else_are_none_of_a_module() -> None:
    critic = nn.Linear(4, 4)
    critic(torch.randn(2, 4)).sum().backward()
    module = Held(lambda a: a, lambda m, x: m.kept(x))
    module.critic = [critic]
    assert "no parameters of" not in str(assert_lawful(module, torch.randn(5, 4)))
