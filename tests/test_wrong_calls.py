"""What people type wrong in their first hours: names that live elsewhere, arguments that are not there, numpy, files.

Whole kinds, swept over every public name: `test_stumbles` has the cases one by one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn

import lawful as lw
from lawful import blocks as b

NET = b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)
SPACES = ("", "blocks", "catalog", "families", "flows", "testing", "export", "dynamics", "dynamics.predict")
# What nobody calls: results, what takes any name, and what readers of files and of rules call.
UNCALLED = {
    "build",
    "chain",
    "parallel",
    "draw_gates",
    "kinds",
    "register",
    "repeat",
    "entries",
    "laws",
    "sources",
    "Net",
}


def module(space: str) -> object:
    found: object = lw
    for name in space.split(".") if space else ():
        found = getattr(found, name)
    return found


def called(space: str) -> Iterator[tuple[str, Callable[..., object]]]:
    """What a public module has for callers: functions, blocks and flows; no results, no exceptions."""
    home = module(space)
    names = getattr(home, "__all__", None) or [n for n, v in vars(home).items() if getattr(v, "__module__", "") == home.__name__]  # type: ignore[attr-defined]  # fmt: skip  # noqa: E501
    for name in names:
        value = getattr(home, name)
        made = isinstance(value, type)
        if not callable(value) or name.startswith("_") or name in UNCALLED:
            continue
        if made and not issubclass(value, (b.Block, b.Signal, b.Wiring, b.Tie, lw.flows.Flow, lw.Ledger)):
            continue
        if not getattr(value, "__abstractmethods__", ()):
            yield name, value


@pytest.mark.parametrize("space", SPACES)
def test_a_wrong_name_of_an_argument_is_answered_with_those_that_there_are(space: str) -> None:
    seen = 0
    for name, function in called(space):
        with pytest.raises((TypeError, ValueError)) as caught:
            function(nonsense=1)
        text = str(caught.value)
        assert text.startswith(f"{name}: ") and (f"; it is {name}(" in text or "; it has " in text), text
        seen += 1
    assert seen >= 5 or space in ("dynamics", "catalog")


def test_what_goes_by_name_only_stands_behind_a_star() -> None:
    with pytest.raises(TypeError, match=r"it is derive\(network, loss='mse', \*, args=\(\), kwargs=None\)"):
        lw.derive(NET, "mse", (torch.randn(2, 3),))  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"it is gpt2\(layers=12, width=768, "):
        lw.families.gpt2(n_layers=2)  # type: ignore[call-arg]


def test_a_class_is_named_as_it_was_called() -> None:
    with pytest.raises(TypeError, match=r"^Ledger: missing .* it is Ledger\(model, optimizer, "):
        lw.Ledger(nn.Linear(3, 4))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^LeakyReLU: .*; it is LeakyReLU\("):
        b.LeakyReLU(negative_slope=0.1)  # type: ignore[call-arg]


@pytest.mark.parametrize("make", [b.SelfAttention, b.CrossAttention])
def test_an_unknown_option_of_attention_is_answered_with_all_of_them(make: Callable[..., object]) -> None:
    with pytest.raises(b.ShapeError, match=r"no option 'rope'; it has .*causal, window"):
        make(8, 2, rope=True)
    with pytest.raises(b.ShapeError, match="it has rotary, rotated"):
        b.SelfAttention(8, 2, rope=True)


def test_parts_of_a_chain_have_names() -> None:
    for wrong in (b.Linear(3, 4), [b.Linear(3, 4)]):
        with pytest.raises(b.ShapeError, match=r"has no name; write chain\(name=\.\.\.\), or a >> b"):
            b.chain(wrong)


ELSEWHERE = {
    "Linear": "lawful.blocks.Linear",
    "gpt2": "lawful.families.gpt2",
    "Momentum": "lawful.flows.Momentum",
    "assert_lawful": "lawful.testing.assert_lawful",
    "predict": "lawful.dynamics.predict",
    "draw": "lawful.Architecture(...).draw",
    "train": "a command, lawful train",
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_name_that_is_elsewhere_is_found_there(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(lw, name)
    assert ELSEWHERE[name] in str(caught.value)


@pytest.mark.parametrize("space", SPACES[:-1])
def test_every_public_module_answers_a_wrong_name(space: str) -> None:
    where = f"lawful.{space}" if space else "lawful"
    for name in ("nonsense", "NONSENSE"):
        with pytest.raises(
            AttributeError, match=rf"^{where} has no \w+ '{name}'; (it has|did you mean|.*__all__ lists)"
        ):
            getattr(module(space), name)
    assert not hasattr(module(space), "__wrapped__")
    assert importlib.import_module("lawful").derive is lw.derive


def test_case_is_no_obstacle() -> None:
    for home, name, meant in ((b, "relu", "ReLU"), (lw.families, "GPT2", "gpt2"), (lw.flows, "momentum", "Momentum")):
        with pytest.raises(AttributeError, match=f"did you mean {meant}"):
            getattr(home, name)


def test_the_catalog_reads_every_kind_of_network() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    for network, inputs in (
        (NET, {}),
        (lw.Architecture(NET), {}),
        ("family:mlp:widths=3,4,2", {}),
        (model, {"args": torch.randn(5, 3)}),
    ):
        (match,) = lw.catalog.for_network(network, **inputs)
        assert match.entry is not None and match.entry.id == "relu/balance/W"


def test_the_name_of_a_network_suggests_its_entries() -> None:
    with pytest.raises(KeyError, match=r"close are attention/balance/heads\.q, attention/balance/heads\.v"):
        lw.catalog.get("attention")


@pytest.mark.parametrize("wrong", [np.zeros((4, 3)), [1.0], 2])
def test_a_law_says_what_is_no_tensor(wrong: object) -> None:
    law = lw.derive(NET)[0]
    values = {n: torch.zeros(s.shape) for n, s in lw.Architecture(NET).parameters.items()} | {"0.weight": wrong}
    for ask in (law.value, lambda v: law.gradient(v, 0), lw.flows.laws(NET, lw.flows.WeightDecay(0.1))[0].value):
        with pytest.raises(TypeError, match=r"0\.weight is .*; it must be a tensor: make it one by torch\.as_tensor"):
            ask(values)


@pytest.mark.parametrize("read", [lw.Architecture.from_json, lw.LawSet.from_json])
def test_the_name_of_a_file_is_not_what_is_in_it(read: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"'net\.json' is the name of a file; pass what is in it: pathlib\.Path"):
        read("net.json")


def test_what_was_meant_is_said_only_where_it_is_plain() -> None:
    with pytest.raises(ValueError, match=r"name is the torch module Linear; it must be text$"):
        lw.testing.assert_locked(nn.Linear(3, 4), (torch.randn(2, 3),))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"the class Linear; .*; if Linear makes one, call it: Linear\(\.\.\.\)"):
        lw.testing.assert_lawful(nn.Linear, (torch.randn(2, 3),))  # type: ignore[arg-type]
    model = nn.Linear(3, 4)
    with pytest.raises(ValueError, match="a loss goes by its name: loss='cross_entropy'"):
        lw.Ledger(model, torch.optim.SGD(model.parameters(), 0.1), "cross_entropy")  # type: ignore[arg-type]
    with pytest.raises(b.ShapeError, match=r"reads features of tokens.*write Architecture\(net, input=Signal\(8, "):
        lw.derive(b.SelfAttention(8, 2))


def test_a_list_of_names_is_as_good_as_a_tuple() -> None:
    def wired(several: Callable[[tuple[str, str]], object]) -> lw.Architecture:
        nodes = {"u": b.Linear(3, 4), "v": b.Linear(3, 4), "times": b.Product()}
        reads = {"u": "input", "v": "input", "times": several(("u", "v"))}
        return lw.Architecture(b.Wiring(nodes, reads, several(("times", "u"))))  # type: ignore[arg-type]

    assert wired(list) == wired(tuple)


@pytest.mark.parametrize(("spec", "shown"), [("mlp", "itself"), ("gpt2", "copy"), ("densenet121", "nothing")])
def test_a_notebook_shows_a_large_network_by_its_copy(spec: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = lw.families.mlp([3, 4, 2]) if spec == "mlp" else getattr(lw.families, spec)()
    drawn: list[lw.Architecture] = []
    monkeypatch.setattr(lw.Architecture, "painter", staticmethod(lambda arch, *_: drawn.append(arch) or "<svg>"))
    html = net._repr_html_()
    assert drawn == {"itself": [net], "copy": [net.shrink()], "nothing": []}[shown]
    assert ("its shrunken copy" in html) is (shown == "copy") and ("not drawn" in html) is (shown == "nothing")
