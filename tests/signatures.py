"""Calls made from signatures alone: good values of what must be given, and anything for one argument at a time."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import torch
from doors import NET
from hypothesis import strategies as st

import lawful as lw
from lawful import blocks as b
from lawful.blocks.given import Numbers
from lawful.theory.arguments import hints_of

NUMBERS = Numbers(torch.ones(4))
BY_NAME: dict[str, Any] = {
    "operation": "exp",
    "function": "gelu",
    "equations": (),
    "cut": False,
    "pieces": (1, 1, 1, 4),
    "joined": (4,),
    "order": (0, 1, 2, 3),
    "steps": 2,
    "shape": (2,),
    "experts": [b.Linear(4, 4), b.Linear(4, 4)],
    "branches": (("a", b.Linear(4, 4)), ("c", b.Linear(4, 4))),
    "parts": (("a", b.Linear(4, 4)),),
    "nets": [NET],
    "terms": {0: Fraction(1)},
}
BY_KIND: list[tuple[Any, Any]] = [
    (bool, True),
    (int, 2),
    (float, 0.5),
    (str, "a"),
    (Numbers, NUMBERS),
    (b.Signal, b.Signal(4)),
    (torch.Tensor, torch.ones(4)),
    (b.Embedding, b.Embedding(4, 4)),
    (b.Block, b.Linear(4, 4)),
    (b.Net, b.Linear(4, 4)),
    (tuple[int, ...], (2, 2)),
    (tuple[b.Signal, ...], (b.Signal(4),)),
]
SIZES = {"features": 4, "width": 4, "heads": 2, "hidden": 4, "channels": 4, "kernel": 3, "groups": 2, "tokens": 4}
SIZES |= {"n": 4}
ODD: list[Any] = [
    *(None, True, False, -3, -1, 0, 1, 3, 2**70, -(10**400), 0.5, -1.5, float("nan"), float("inf")),
    *("", "no", "x" * 5000, b"x", (), (0,), (-1, 2), (1, 2), ((1, 2),), (("a",),), (("a", 1.0),), ("a", "b"), (NET,)),
    *([], [3, "a"], [NET], {}, {"a": 1}, {3: NET}, {"a": NET}, object(), int, b.ReLU, b.GELU, torch.nn.ReLU),
    *(torch.nn.ReLU(), torch.zeros(2), lw, len, NET, b.ReLU(), b.Linear(4, 4), b.Signal(3), (b.Signal(3),)),
    *(
        Numbers(t)
        for t in (torch.ones(()), torch.ones(4), torch.eye(4), torch.zeros(0), torch.arange(4), torch.ones(2, 3, 4))
    ),
]
MADE_BY_USE = ("Block", "Net", "Run", "draw_gates", "register", "kinds", "build")
ODDITIES = st.sampled_from(ODD)


def makers() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every class of blocks, also those that only tracing makes, and every function that makes some."""
    seen: dict[int, str] = {}
    for name in dir(b):
        thing = getattr(b, name)
        if name in MADE_BY_USE or (isinstance(thing, type) and issubclass(thing, Exception)):
            continue
        if isinstance(thing, types.FunctionType) and name in b.__all__:
            seen[id(thing)] = name
            yield name, thing
    homes = [importlib.import_module(m.name) for m in pkgutil.iter_modules(b.__path__, "lawful.blocks.")]
    for home in homes:
        for name, thing in vars(home).items():
            if not isinstance(thing, type) or id(thing) in seen or name.startswith("_") or inspect.isabstract(thing):
                continue
            if issubclass(thing, (b.Net, b.Signal, b.Tie)) and thing not in (b.Net, b.Block):
                seen[id(thing)] = name
                yield name, thing


def good(make: Callable[..., Any]) -> dict[str, Any]:
    """A value of everything that must be given, by its name or else by its annotation."""
    hints, found = hints_of(make if isinstance(make, type) else inspect.unwrap(make)), {}
    for p in inspect.signature(make).parameters.values():
        if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) or p.default is not p.empty:
            continue
        hint = hints.get(p.name, Any)
        if p.name in SIZES and hint is int:
            found[p.name] = SIZES[p.name]
        elif p.name in BY_NAME and not (hint is int and not isinstance(BY_NAME[p.name], int)):
            found[p.name] = BY_NAME[p.name]
        else:
            found[p.name] = next((v for kind, v in BY_KIND if kind == hint), None)
    return found


def arguments(make: Callable[..., Any]) -> list[str]:
    """The names of all arguments."""
    every = inspect.signature(make).parameters.values()
    return [p.name for p in every if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "progress"]
