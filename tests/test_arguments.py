"""Whatever is handed to a block or a family: an answer, one sentence of lawful, or Python's own TypeError."""

from __future__ import annotations

import inspect
import types
from typing import Any

import pytest
from doors import NET, WRONG, answered
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lawful as lw
from lawful import blocks as b

BLOCKS = sorted(n for n in b.__all__ if n not in ("Block", "Net", "Run", "draw_gates", "register", "kinds", "build"))
SMALL = {"features": 4, "width": 4, "heads": 2, "hidden": 4, "channels": 4, "kernel": 3, "groups": 2, "tokens": 4}


def wrong_call(data: st.DataObject, function: Any, given_: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a function of which at least one is anything."""
    names = [
        n
        for n, p in inspect.signature(function).parameters.items()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and n != "progress"
    ]
    values = {n: v for n, v in given_.items() if n in names}
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)) if names else ():
        values[name] = data.draw(WRONG, name)
    return values


@pytest.mark.parametrize("name", BLOCKS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_blocks(name: str, data: st.DataObject) -> None:
    make = getattr(b, name)
    if not isinstance(make, (type, types.FunctionType)) or (isinstance(make, type) and issubclass(make, Exception)):
        return
    if isinstance(make, type) and issubclass(make, b.Block) and not make.portable:
        return  # made by tracing only
    answered(lambda: make(**wrong_call(data, make, SMALL)))


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
