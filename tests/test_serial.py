"""Architectures survive the way through JSON: wiring, order, sharing, ties and frozen parameters."""

import json
from pathlib import Path

import pytest

from lawful import blocks as b
from lawful.blocks import registry
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.serial import load, to_json
from lawful.graph.questions.derive import derive
from lawful.theory.derive.lawset import LawSet


def tied_language_model() -> b.Net:
    table = b.Embedding(7, 4)
    return table >> b.LearnedPosition(4, 4) >> b.TransformerLayer(4, 2, 6, causal=True) >> b.TiedHead(table)


def tied_both_ways() -> b.Net:
    first = b.Linear(3, 4, bias=False)
    back = b.Linear(4, 3, bias=False, tie=b.Tie(first, transposed=True))
    again = b.Linear(3, 4, bias=False, tie=b.Tie(first))
    return first >> b.ReLU() >> back >> again >> b.Linear(4, 2)


def tied_before_its_owner() -> b.Net:
    owner = b.Linear(3, 3)
    reader = b.Linear(3, 3, tie=b.Tie(owner))
    return reader >> b.ReLU() >> owner


def one_block_three_times() -> b.Net:
    shared = b.Linear(3, 3)
    return shared >> b.ReLU() >> shared >> b.ReLU(0.1) >> shared


def two_ports() -> b.Net:
    nodes = {"cut": b.Split((2, 3)), "wide": b.Linear(3, 2), "sum": b.Add()}
    reads = {"cut": ("input",), "wide": ("cut:1",), "sum": ("cut:0", "wide")}
    return b.chain(stem=b.Linear(2, 5), wiring=b.Wiring(nodes, reads, ("sum",)))


def convolutions() -> b.Net:
    block = b.Conv2d(4, 4, 3, padding=1, bias=False) >> b.BatchNorm(4) >> b.ReLU()
    return b.Conv2d(3, 4, 3, padding=1) >> b.residual(block) >> b.MaxPool2d() >> b.Flatten() >> b.Linear(256, 5)


NETWORKS: dict[str, b.Net] = {
    "tied language model": tied_language_model(),
    "tied both ways": tied_both_ways(),
    "tied before its owner": tied_before_its_owner(),
    "one block three times": one_block_three_times(),
    "two ports": two_ports(),
    "convolutions": convolutions(),
    "recurrent": b.Recurrent(2, 3, 3) >> b.Linear(3, 2),
    "low-rank update": b.parallel(b.Linear(3, 2, False) >> b.Linear(2, 4, False), b.frozen(b.Linear(3, 4))),
    "experts": b.Linear(2, 3) >> b.MixtureOfExperts(3, [b.MLP(3, 4), b.Linear(3, 3)]),
    "rotary": b.Embedding(5, 4) >> b.SelfAttention(4, 2, 1, 2, causal=True, rotary=100.0) >> b.SwiGLU(4, 3),
}


def networks() -> dict[str, Architecture]:
    spaces = {"recurrent": b.Signal(2, (3,))}
    return {name: Architecture(net, spaces.get(name)) for name, net in NETWORKS.items()}


def summary(laws: LawSet) -> object:
    rows = [(w.name, w.kind, w.algebra, w.count, w.independent, w.exact, w.parameters) for w in laws]
    return rows, laws.count, laws.independent, laws.parameters


@pytest.mark.parametrize("name", NETWORKS)
def test_what_comes_back_is_the_same_network(name: str) -> None:
    arch = networks()[name]
    back = Architecture.from_json(arch.to_json())
    assert back.nodes == arch.nodes
    assert back.edges() == arch.edges()
    assert back.inputs == arch.inputs and back.output == arch.output
    assert [repr(back.block(n)) for n in back.nodes] == [repr(arch.block(n)) for n in arch.nodes]
    assert {n: back.parameter_names(n) for n in back.nodes} == {n: arch.parameter_names(n) for n in arch.nodes}
    assert back.parameters == arch.parameters and back.frozen == arch.frozen


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_comes_back_has_the_same_laws(name: str, loss: str) -> None:
    arch = networks()[name]
    assert summary(derive(Architecture.from_json(to_json(arch)), loss)) == summary(derive(arch, loss))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_text_is_a_fixed_point(name: str) -> None:
    text = to_json(networks()[name])
    assert to_json(Architecture.from_json(text)) == text


def test_sharing_is_by_object() -> None:
    arch = Architecture.from_json(to_json(Architecture(one_block_three_times())))
    assert arch.block("0") is arch.block("2") is arch.block("4")
    assert set(arch.parameters) == {"0.weight", "0.bias"}
    twins = Architecture(b.Linear(3, 3) >> b.ReLU() >> b.Linear(3, 3))
    assert len(Architecture.from_json(to_json(twins)).parameters) == 4


def test_a_tie_names_the_block_of_its_owner() -> None:
    arch = Architecture.from_json(to_json(Architecture(tied_both_ways())))
    assert arch.block("2").ties["weight"].block is arch.block("0")
    assert arch.block("2").ties["weight"].transposed and not arch.block("3").ties["weight"].transposed


def test_frozen_parameters_stay_frozen() -> None:
    arch = Architecture(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)).freeze("0.weight")
    assert arch.frozen == {"0.weight"}
    assert Architecture.from_json(to_json(arch)).frozen == {"0.weight"}


def test_the_file_is_meant_to_be_read_by_people() -> None:
    text = to_json(Architecture(tied_both_ways()))
    lines = text.splitlines()
    assert '  {"name": "1", "kind": "ReLU", "config": {"slope": 0.0, "power": 1}},' in lines
    assert '  ["1", 0, "2", 0],' in lines
    assert json.loads(text)["nodes"][2]["ties"] == {"weight": {"node": "0", "parameter": "weight", "transposed": True}}


def test_bytes_and_files_are_read_too(tmp_path: Path) -> None:
    text = to_json(Architecture(convolutions()))
    assert to_json(Architecture.from_json(text.encode())) == text
    path = tmp_path / "arch.json"
    path.write_text(text, encoding="utf-8")
    assert to_json(load(path, Architecture)) == text
    path.write_text(text.replace('"width": 5', '"width": "five"'), encoding="utf-8")
    with pytest.raises(b.ShapeError, match=r"arch\.json: nodes\[\d+\]\.config\.width is 'five', expected an integer"):
        load(path, Architecture)


def test_a_kind_of_ones_own_is_read_once_it_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_KINDS", registry.kinds())  # so that other tests do not meet it

    class Halve(b.Identity):
        """Half of its input."""

    arch = Architecture(b.Linear(3, 2) >> Halve())
    with pytest.raises(b.ShapeError, match=r"nodes\[1\]\.kind is 'Halve', expected one of .*register your own"):
        to_json(arch)
    registry.register(Halve)
    assert type(Architecture.from_json(to_json(arch)).block("1")) is Halve


def test_a_class_that_only_has_a_registered_name_is_refused() -> None:
    impostor = type("Identity", (b.Identity,), {})
    with pytest.raises(b.ShapeError, match=r"nodes\[1\].*not the registered Identity"):
        to_json(Architecture(b.Linear(3, 2) >> impostor()))


@pytest.mark.parametrize("epsilon", [float("inf"), 1e300])
def test_nothing_is_written_that_could_not_be_read(epsilon: float) -> None:
    with pytest.raises(
        b.ShapeError, match=r"nodes\[1\]\.config\.epsilon is .*, expected a number|must be a finite number"
    ):
        to_json(Architecture(b.Linear(3, 4) >> b.LayerNormCore(4, epsilon)))


def test_widths_cost_nothing() -> None:
    huge = 2**40
    text = to_json(Architecture(b.Linear(3, 4, False) >> b.Linear(4, 2, False)))
    text = text.replace('"width": 4', f'"width": {huge}').replace('"features": 4', f'"features": {huge}')
    laws = derive(Architecture.from_json(text))
    assert laws.count == huge * (huge + 1) // 2
