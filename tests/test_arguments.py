"""Whatever is handed to a block or a family: an answer, one sentence of lawful, or Python's own TypeError."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
from doors import NET, WRONG, answered
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signatures import ODD, ODDITIES, arguments, good, makers

import lawful as lw
from lawful import blocks as b

MAKERS = dict(makers())
READS = (None, b.Signal(4), b.Signal(4, (3,)), b.Signal(4, (4, 4), True), b.Signal(4, (3,), tokens=True))
LARGEST = 20_000  # parameters of what is derived here
QUIET = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))


def test_there_are_many_and_each_is_made_of_good_values() -> None:
    refused = set()
    for name, make in MAKERS.items():
        try:
            make(**good(make))
        except b.ShapeError:
            refused.add(name)
    assert len(MAKERS) > 150 and refused <= {
        "chain",
        "mean_of",
        "parallel",
        "MixFeatures",
        "MixPositions",
        "Piecewise",
    }


@pytest.mark.parametrize("name", MAKERS)
def test_every_argument_of_every_block(name: str) -> None:
    make, values = MAKERS[name], good(MAKERS[name])
    for argument in arguments(make):
        for odd in ODD:
            answered(functools.partial(make, **values | {argument: odd}))


def used(net: b.Net) -> None:
    """A network of a block, whatever it reads, and its laws."""
    for signal in READS:
        try:
            arch = lw.Architecture(net) if signal is None else lw.Architecture(net, input=signal)
        except b.ShapeError:
            continue
        if sum(p.size for p in arch.parameters.values()) <= LARGEST:
            lw.derive(arch)
            arch.to_torch()
        return


@pytest.mark.parametrize("name", MAKERS)
@QUIET
@given(data=st.data())
def test_what_a_block_takes_has_laws(name: str, data: st.DataObject) -> None:
    make = MAKERS[name]
    values = good(make)
    for argument in data.draw(st.lists(st.sampled_from([*arguments(make), ""]), max_size=2, unique=True)):
        values |= {argument: data.draw(ODDITIES, argument)} if argument else {}
    try:
        made = make(**values)
    except Exception:
        answered(functools.partial(make, **values))
        return
    if isinstance(made, b.Net):
        answered(lambda: used(made))


def wrong_call(data: st.DataObject, function: Any, given_: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a function of which at least one is anything."""
    values = {n: v for n, v in given_.items() if n in arguments(function)}
    names = data.draw(st.lists(st.sampled_from(arguments(function)), min_size=1, max_size=2, unique=True))
    return values | {name: data.draw(ODDITIES, name) for name in names}


@pytest.mark.parametrize("name", sorted(lw.families.__all__))
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_families(name: str, data: st.DataObject) -> None:
    make = getattr(lw.families, name)
    small = {n: 1 for n in inspect.signature(make).parameters if n in ("layers", "depth")}
    answered(lambda: make(**wrong_call(data, make, small)))


@settings(max_examples=60, deadline=None)
@given(WRONG, st.booleans())
def test_composition(other: Any, first: bool) -> None:
    answered(lambda: other >> NET if first else NET >> other)
    answered(lambda: b.residual(other) if first else b.chain(a=NET, b=other))
    answered(lambda: lw.Architecture(NET, input=other) if first else lw.Architecture(other))
    answered(lambda: lw.Architecture(NET, space=other) if first else b.repeat(other))
