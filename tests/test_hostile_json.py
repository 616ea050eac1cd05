"""Files that nobody vouches for: one `ShapeError` that names the place."""

import copy
import json
import resource
import sys
from itertools import pairwise
from typing import Any

import pytest
from json_files import CUT, NODES, SHARED, TIED, VALID, Path, network, refusal

from lawful.graph.architecture import plain, serial
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.serial import to_json


def changed(path: Path, value: Any) -> str:
    data = copy.deepcopy(VALID)
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(data)


def dropped(path: Path) -> str:
    data = copy.deepcopy(VALID)
    place = data
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return json.dumps(data)


def test_the_valid_file_is_valid() -> None:
    assert to_json(Architecture.from_json(json.dumps(VALID))) == to_json(network())


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("format",), "onnx", r"format is 'onnx', expected 'lawful-architecture'"),
        (("version",), 2, r"version is 2, expected 1"),
        (("version",), True, r"version is True, expected 1"),
        (("version",), 1.0, r"version is 1.0, expected 1"),
        (("extra",), 1, r"the file has the field 'extra', but there are only format, version"),
        (("inputs",), [], r"inputs is an empty list"),
        (("inputs",), {}, r"inputs is an empty object, expected a list"),
        (("inputs", 0), 3, r"inputs[0] is 3, expected an object"),
        (("inputs", 0, "features"), 0, r"inputs[0].features is 0, expected an integer from 1"),
        (("inputs", 0, "features"), "7", r"inputs[0].features is '7', expected an integer"),
        (("inputs", 0, "space"), [4, -4], r"inputs[0].space is a list of 2, expected a list"),
        (("inputs", 0, "tokens"), 1, r"inputs[0].tokens is 1, expected true or false"),
        (
            ("inputs", 0, "colour"),
            1,
            r"inputs[0] has the field 'colour', but the fields of Signal are features, space",
        ),
        (("nodes",), None, r"nodes is None, expected a list"),
        (("nodes", 1), [], r"nodes[1] is a list of 0, expected an object with the fields name, kind, config"),
        (("nodes", 1, "code"), "x", r"nodes[1] has the field 'code', but there are only name, kind, config"),
        (("nodes", 1, "name"), "", r"nodes[1].name is '', expected a printable name"),
        (("nodes", 1, "name"), "a\nb", r"nodes[1].name is 'a\nb', expected a printable name"),
        (("nodes", 1, "name"), "\ud800", r"nodes[1].name is '\ud800', expected a printable name"),
        (("nodes", 1, "name"), "n" * 5000, r"nodes[1].name is 'nnn"),
        (("nodes", 1, "name"), "output", r"nodes[1].name is 'output', which stands for an end"),
        (("nodes", 1, "name"), "0", r"nodes[1].name is '0', the name of nodes[0]"),
        (("nodes", 1, "kind"), "Linaer", r"nodes[1].kind is 'Linaer', expected one of the"),
        (("nodes", 1, "kind"), "__import__('os')", r"nodes[1].kind is "),
        (("nodes", 1, "kind"), ["Linear"], r"nodes[1].kind is a list of 1, expected one of"),
        (("nodes", 1, "config"), [4, 4], r"nodes[1].config is a list of 2, expected an object"),
        (("nodes", 1, "config", "width"), "4", r"nodes[1].config.width is '4', expected an integer from 1"),
        (("nodes", 1, "config", "width"), 4.0, r"nodes[1].config.width is 4.0, expected an integer"),
        (("nodes", 1, "config", "width"), True, r"nodes[1].config.width is True, expected an integer"),
        (("nodes", 1, "config", "width"), -4, r"nodes[1].config.width is -4, expected an integer from 1"),
        (("nodes", 1, "config", "width"), 2**41, r"nodes[1].config.width is 2199023255552, expected an integer"),
        (
            ("nodes", 1, "config", "width"),
            10**30,
            r"nodes[1].config.width is an integer of 31 digits, expected an integer",
        ),
        (("nodes", 1, "config", "bias"), 1, r"nodes[1].config.bias is 1, expected true or false"),
        (("nodes", 1, "config", "bais"), True, r"nodes[1].config has the field 'bais', but the fields of Linear are"),
        (("nodes", 1, "config", "tie"), None, r"nodes[1].config has the field 'tie'"),
        (("nodes", 1, "config", "frozen"), [], r"nodes[1].config has the field 'frozen'"),
        (("nodes", 1, "frozen"), None, r"nodes[1].frozen is None, expected a list"),
        (("nodes", 1, "frozen"), ["gain"], r"nodes[1].frozen names 'gain', but Linear"),
        (("nodes", 2, "frozen"), ["weight"], r"nodes[2]: Pointwise has nothing that could be frozen"),
        (("nodes", 2, "config", "function"), "eval", r"nodes[2]: no point-wise function 'eval'; there are gelu"),
        (("nodes", CUT, "config", "widths"), 4, rf"nodes[{CUT}].config.widths is 4, expected a list"),
        (("nodes", CUT, "config", "widths"), [2, 0], rf"nodes[{CUT}].config.widths is a list of 2, expected"),
        (("nodes", SHARED, "shares"), "6", rf"nodes[{SHARED}].shares is '6', expected an earlier node"),
        (("nodes", SHARED, "shares"), "3", rf"nodes[{SHARED}].shares is '3', expected an earlier node"),
        (
            ("nodes", SHARED, "kind"),
            "Linear",
            rf"nodes[{SHARED}] has the field 'kind', but there are only name, shares",
        ),
        (("nodes", TIED, "ties"), [], rf"nodes[{TIED}].ties is a list of 0, expected an object"),
        (("nodes", TIED, "ties", "weight"), 1, rf"nodes[{TIED}].ties.weight is 1, expected an object"),
        (("nodes", TIED, "ties", "weight", "node"), "z", rf"nodes[{TIED}].ties.weight.node is 'z', expected a node"),
        (("nodes", TIED, "ties", "weight", "node"), "6", rf"the ties of nodes[{TIED}] form a cycle"),
        (("nodes", TIED, "ties", "weight", "node"), "3", rf"nodes[{TIED}].ties.weight.node is '3', expected a node"),
        (
            ("nodes", TIED, "ties", "weight", "parameter"),
            "bias",
            rf"nodes[{TIED}].ties: Embedding(7, width=4) has no parameter 'bias'",
        ),
        (
            ("nodes", TIED, "ties", "weight", "transposed"),
            0,
            rf"nodes[{TIED}].ties.weight.transposed is 0, expected true",
        ),
        (("nodes", TIED, "ties", "weight", "transposed"), True, r"6 has a weight of shape (7, 4)"),
        (("nodes", TIED, "ties", "bias"), VALID["nodes"][TIED]["ties"]["weight"], rf"nodes[{TIED}].ties names"),
        (("edges",), {}, r"edges is an empty object, expected a list"),
        (
            ("edges", 2),
            ["0", 0],
            r"edges[2] is a list of 2, expected [source node, source port, target node, target port]",
        ),
        (("edges", 2, 0), "z", r"edges[2] reads from 'z', which is neither 'input' nor a node"),
        (("edges", 2, 0), ["0"], r"edges[2] reads from a list of 1, which is neither"),
        (("edges", 2, 0), "output", r"edges[2] reads from 'output'"),
        (("edges", 2, 1), 1, r"edges[2] reads port 1 of 1, whose last output port is 0"),
        (("edges", 2, 1), -1, r"edges[2] reads port -1 of 1, whose last output port is 0"),
        (("edges", 2, 1), False, r"edges[2] reads port False of 1"),
        (("edges", 2, 2), "input", r"edges[2] leads to 'input', which is no node of the file"),
        (("edges", 2, 2), "output", r"edges[2] leads to 'output', which is no node of the file"),
        (("edges", 2, 3), -1, r"edges[2] leads to port -1 of 2, expected a port number from 0"),
        (("edges", 2, 3), 10**9, r"edges[2] leads to port 1000000000 of 2"),
        (("edges", 2, 3), 1, r"input port 0 of 2 is open"),
        (("edges", 0, 0), "2", r"form a cycle; unroll it"),
        (("output",), ["6"], r"output is a list of 1, expected [source node, source port]"),
        (("output",), ["z", 0], r"output reads from 'z'"),
        (("output",), ["5", 0], r"output port 0 of 6 is open"),
    ],
)
def test_every_place_is_named(path: Path, value: Any, said: str) -> None:
    assert said in refusal(changed(path, value))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (("format",), "the file lacks the field 'format'"),
        (("output",), "the file lacks the field 'output'"),
        (("inputs", 0, "features"), "inputs[0] lacks the field 'features' of Signal; give it an integer"),
        (("nodes", 0, "name"), "nodes[0] lacks the field 'name'"),
        (("nodes", 0, "config"), "nodes[0] lacks the field 'config'"),
        (("nodes", 0, "config", "width"), "nodes[0].config lacks the field 'width' of Embedding"),
        (("nodes", TIED, "ties", "weight", "node"), f"nodes[{TIED}].ties.weight lacks the field 'node'"),
        (("edges", 0), "0: Embedding(7, width=4) has 1 input ports, 0 are wired"),
        (("nodes", 2), "edges[2] leads to '2', which is no node of the file"),
    ],
)
def test_what_is_missing_is_named(path: Path, said: str) -> None:
    assert said in refusal(dropped(path))


def test_two_ties_that_need_each_other() -> None:
    data = copy.deepcopy(VALID)
    tie = {"node": "6", "parameter": "weight", "transposed": False}
    data["nodes"][1] |= {"ties": {"weight": tie}, "frozen": []}
    data["nodes"][TIED]["ties"]["weight"]["node"] = "1"
    said = refusal(json.dumps(data))
    assert "nodes[1]" in said and f"nodes[{TIED}]" in said and "cycle" in said


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 31, "1" + "0" * 6000])
@pytest.mark.parametrize("field", ["epsilon", "features"])
def test_numbers_that_are_none_are_refused_where_they_stand(field: str, number: str) -> None:
    i = NODES["5"]
    text = changed(("nodes", i, "config", field), "HERE").replace('"HERE"', number)
    assert f"nodes[{i}].config.{field} is " in refusal(text)


def test_a_field_that_is_there_twice_is_refused() -> None:
    text = json.dumps(VALID).replace('"width": 4', '"width": 4, "width": 4', 1)
    assert "nodes[0].config is an object with the field 'width' twice, expected an object" in refusal(text)


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000, "[" * 90_000 + "]" * 90_000])
def test_deep_nesting_is_one_error(deep: str) -> None:
    refusal(deep)
    refusal(json.dumps(VALID).replace('"version": 1', f'"version": {deep}'))


def test_nesting_that_just_parses_is_one_error_too() -> None:
    for depth in range(sys.getrecursionlimit() - 400, sys.getrecursionlimit() + 50, 7):
        refusal(changed(("nodes", 1, "config", "width"), "HERE").replace('"HERE"', "[" * depth + "]" * depth))


@pytest.mark.parametrize(
    "text", ["", " ", "nul", "{", '{"format": }', "\ufeff{}", "[1,]", "{'format': 1}", "\x00", "[] []"]
)
def test_what_is_no_json_says_where(text: str) -> None:
    assert "line 1, column" in refusal(text)


@pytest.mark.parametrize("text", ["null", "[]", "3", '"text"', "true", "NaN"])
def test_json_of_something_else(text: str) -> None:
    assert refusal(text).startswith("the file is ")


def test_bytes_that_are_no_text() -> None:
    assert "byte 3 of the file is no UTF-8" in refusal(b'{"a\xff": 1}')
    assert "UTF-8" in refusal(json.dumps(VALID).encode("utf-16"))
    assert "text is 7" in refusal(7)  # type: ignore[arg-type]


def test_files_beyond_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "MOST_BYTES", 100)
    assert "longer than 100 bytes" in refusal(json.dumps(VALID))
    monkeypatch.undo()
    monkeypatch.setattr(serial, "MOST_NODES", 3)
    assert f"nodes has {len(NODES)} entries, but at most 3 are read" in refusal(json.dumps(VALID))


def test_widths_that_grow_without_bound_are_stopped() -> None:
    """A hundred lines of concatenation with itself would be 2^100 features wide."""
    nodes = [{"name": f"n{i}", "kind": "Concat", "config": {}} for i in range(100)]
    names = ["input", *(n["name"] for n in nodes)]
    edges = [[a, 0, c, port] for a, c in pairwise(names) for port in (0, 1)]
    data = VALID | {"inputs": [{"features": 3}], "nodes": nodes, "edges": edges, "output": ["n99", 0]}
    assert "must be an integer of at least 0 and at most 1099511627776" in refusal(json.dumps(data))


def test_reading_allocates_nothing_of_the_size_it_names() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = (
        json.dumps(VALID)
        .replace('"vocabulary": 7', f'"vocabulary": {2**40}')
        .replace('"width": 7', f'"width": {2**40}')
    )
    text = text.replace('"features": 7', f'"features": {2**40}')
    assert Architecture.from_json(text).parameters["0.weight"].shape == (2**40, 4)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
