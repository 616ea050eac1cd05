"""Whatever is handed to a public function or a block: an answer, one sentence of lawful, or Python's own TypeError."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lawful as lw
from lawful import blocks as b

NET = b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)
WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.just(2**70),
    st.just(-(10**400)),
    st.sampled_from([float("nan"), float("inf"), -1.5, "", "no", b"x", (), (0,), (-1, 2), [], [3, "a"], {}, {"a": 1}]),
    st.sampled_from(
        [object(), int, b.ReLU, b.GELU, torch.nn.ReLU, torch.nn.ReLU(), torch.zeros(2), lw, len, NET, b.ReLU()]
    ),
    st.just(b.Signal(3)),
)
BLOCKS = sorted(n for n in b.__all__ if n not in ("Block", "Net", "Run", "draw_gates", "register", "kinds", "build"))
ASKED = (
    "check",
    "verify",
    "count",
    "derive",
    "parameter_count",
    "certificate",
    "lora",
    "trace",
    "search_laws",
    "summary",
)
SMALL = {"features": 4, "width": 4, "heads": 2, "hidden": 4, "channels": 4, "kernel": 3, "groups": 2, "tokens": 4}


def answered(call: Callable[[], object]) -> None:
    """The call gives something, or refuses in one sentence of its own."""
    try:
        call()
    except ValueError as error:
        assert type(error).__module__.startswith("lawful"), repr(error)
        assert "\n" not in str(error), str(error)
    except TypeError as error:  # Python's own, for a wrong number or names of arguments
        assert "argument" in str(error), repr(error)


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


@pytest.mark.parametrize("name", ASKED)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_questions(name: str, data: st.DataObject) -> None:
    ask = getattr(lw, name)
    first = next(iter(inspect.signature(ask).parameters))
    answered(lambda: ask(**wrong_call(data, ask, {first: NET})))


@settings(max_examples=60, deadline=None)
@given(WRONG, st.booleans())
def test_composition(other: Any, first: bool) -> None:
    answered(lambda: other >> NET if first else NET >> other)
    answered(lambda: b.residual(other) if first else b.chain(a=NET, b=other))
    answered(lambda: lw.Architecture(NET, input=other) if first else lw.Architecture(other))
    answered(lambda: lw.Architecture(NET, space=other) if first else b.repeat(other))
