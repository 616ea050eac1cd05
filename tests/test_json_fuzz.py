"""Any file gives an architecture or a `ShapeError`, and nothing else."""

import copy
import json
from typing import Any

from hypothesis import assume, find, given
from hypothesis import strategies as st
from json_files import NODES, VALID, Path, refusal

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.serial import to_json

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.integers(10**18, 10**400)
    | st.sampled_from([-1, 0, 1, 2, 3, 4, 7, 2**40, 1e-5, *NODES])
    | st.sampled_from(["input", "output", "weight", "bias", "gelu", *b.kinds()])
)  # fmt: skip
KEYS = st.text(max_size=5) | st.sampled_from(
    ["name", "kind", "config", "frozen", "ties", "shares", "weight", "bias", "width", "features", "node", "widths"]
)
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)


def places(data: Any, at: Path = ()) -> list[Path]:
    """Every place in plain data but the root."""
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [p for key, value in inside for p in ((*at, key), *places(value, (*at, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid file with up to three places replaced, dropped, doubled, added to or swapped."""
    data = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(places(data)))
        place = data
        for step in path:
            place = place[step]
        match draw(st.sampled_from(["replace", "replace", "drop", "double", "add", "swap"])):
            case "replace":
                place[last] = draw(DATA)
            case "drop":
                del place[last]
            case "double" if isinstance(place, list):
                place.insert(last, copy.deepcopy(place[last]))
            case "add" if isinstance(place, dict):
                place[draw(KEYS)] = draw(DATA)
            case _:
                *other, key = draw(st.sampled_from(places(data)))
                source = data
                for step in other:
                    source = source[step]
                place[last] = copy.deepcopy(source[key])
        assume(places(data))
    return json.dumps(data)


def readable(text: str | bytes) -> bool:
    """Whether a file is read; what is read can be written and read again."""
    try:
        arch = Architecture.from_json(text)
    except b.ShapeError:
        return False
    assert to_json(Architecture.from_json(to_json(arch))) == to_json(arch)
    return True


@given(mutated())
def test_mutated_files_are_read_or_refused(text: str) -> None:
    readable(text)


@given(DATA.map(json.dumps) | st.text() | st.binary())
def test_any_other_file_is_refused(text: str | bytes) -> None:
    refusal(text)


@given(st.data())
def test_mutated_text_is_read_or_refused(data: st.DataObject) -> None:
    text = json.dumps(VALID)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 20)))
    readable(
        text[:start] + data.draw(st.text(alphabet='[]{}",:0123456789eE-.\\nulltruefas ', max_size=10)) + text[stop:]
    )


def test_mutation_reaches_both_outcomes() -> None:
    find(mutated(), lambda text: readable(text) and json.loads(text) != VALID)
    find(mutated(), lambda text: not readable(text))
