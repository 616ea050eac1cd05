"""A file of an architecture that uses all that the format can say, and how a bad one is refused."""

import json

import pytest

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.serial import to_json

Path = tuple[str | int, ...]


def network() -> Architecture:
    """A table, a tied head, a shared block, a frozen parameter, a cut and a join."""
    table = b.Embedding(7, 4)
    shared = b.Linear(4, 4, frozen=("bias",))
    cut = b.Wiring({"cut": b.Split((1, 3)), "join": b.Concat()}, {"cut": ("input",), "join": ("cut",)}, ("join",))
    return Architecture(table >> shared >> b.GELU() >> shared >> cut >> b.LayerNormCore(4) >> b.TiedHead(table))


VALID = json.loads(to_json(network()))
NODES = {entry["name"]: i for i, entry in enumerate(VALID["nodes"])}
TIED, CUT, SHARED = NODES["6"], NODES["4.cut"], NODES["3"]


def refusal(text: str | bytes) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(b.ShapeError) as caught:
        Architecture.from_json(text)
    said = str(caught.value)
    assert said.isprintable() and len(said) < 700 and not said.endswith("."), said
    return said
