"""Every public callable of lawful, found by introspection, with a good value for each argument that it needs."""

from __future__ import annotations

import copy
import enum
import functools
import inspect
import linecache
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from torch import nn

import lawful as lw
from lawful import blocks as b

MODULES = ("catalog", "dynamics", "dynamics.callbacks", "dynamics.loggers", "dynamics.predict", "export", "flows")
MODULES += ("losses", "testing", "testing.strategies")
LEFT_OUT = {"progress", "self"}
HOME = Path(lw.__file__).parents[1]
SMALL = {"lw.catalog.verify": {"among": ()}}  # what keeps a call short if everything else is let through
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


@dataclass(frozen=True)
class Door:
    """A public callable.

    Attributes:
        name: as a user writes it.
        call: it.
    """

    name: str
    call: Callable[..., Any]

    @functools.cached_property
    def parameters(self) -> tuple[inspect.Parameter, ...]:
        try:
            found = inspect.signature(self.call).parameters.values()
        except (TypeError, ValueError):
            return ()
        return tuple(p for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in LEFT_OUT)

    def with_good(self, **others: Any) -> Callable[[], Any]:
        """A call with good values of what must be given, and some others."""
        known, blocks = examples(), {"network", "arch"} & {p.name for p in self.parameters}
        values = {p.name: known.get(p.name) for p in self.parameters if p.default is p.empty}
        if not blocks and any(p.name == "args" for p in self.parameters):
            values["args"] = known["args"]
        values |= SMALL.get(self.name, {}) | others
        first = [values.pop(p.name) for p in self.parameters if p.kind is p.POSITIONAL_ONLY]
        return lambda: self.call(*first, **values)

    def wrong(self, data: st.DataObject) -> Callable[[], Any]:
        """A call with good values of what must be given, and anything for one argument or two."""
        others = {}
        for p in data.draw(st.lists(st.sampled_from(self.parameters), min_size=1, max_size=2, unique=True)):
            value = data.draw(WRONG, p.name)
            if not (callable(value) and "Callable" in str(p.annotation)):  # errors of a user's function are the user's
                others[p.name] = value
        return self.with_good(**others)


@functools.cache
def examples() -> dict[str, Any]:
    """Good values of arguments, by their names."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.randn(5, 3)
    found = lw.symmetries(model, args=x)
    laws = lw.derive(model, args=x)
    ledger = lw.Ledger(model, torch.optim.SGD(model.parameters(), 0.1), laws)
    return {
        "network": NET,
        "arch": lw.Architecture(NET),
        "model": model,
        "module": model,
        "a": model,
        "b": model,
        "args": x,
        "found": found,
        "laws": laws,
        "law": laws[0],
        "ledger": ledger,
        "flow": lw.flows.Momentum(),
        "mapping": {"scale": "0", "compensate": ["2"]},
        "optimizer": torch.optim.SGD(model.parameters(), 0.1),
        "params": model,
        "parameters": dict(model.named_parameters()),
        "tensors": dict(model.named_parameters()),
        "element": found[0].random(),
        "setting": lw.dynamics.predict.Setting(0.1),
        "generator": found[0],
        "first": lambda: model(x).square().mean().backward(),
        "second": lambda: model(x).square().mean().backward(),
        "measure": lambda m: 0.0,
        "invariant": lambda p: p["0.weight"].sum(),
        "name": "net",
        "loss": "mse",
        "query": "balance",
        "text": laws.to_json(),
        "data": laws.to_dict(),
    }


def objects() -> dict[str, Any]:
    """Public objects, whose methods are doors too."""
    known = examples()
    model, x = known["model"], known["args"]
    found = {
        "arch": known["arch"],
        "signal": b.Signal(3),
        "net": known["network"],
        "laws": known["laws"],
        "law": known["law"],
        "proof": known["law"].proof,
        "symmetries": known["found"],
        "symmetry": known["found"][0],
        "element": known["element"],
        "ledger": known["ledger"],
        "count": lw.count(known["network"]),
        "check": lw.check(known["network"]),
        "certificate": lw.certificate(known["network"]),
        "entry": next(iter(lw.catalog.entries())),
        "flow": known["flow"],
        "flowlaws": lw.flows.laws(known["network"], known["flow"]),
        "loss": lw.losses.Loss("mse"),
        "parameters": lw.parameter_count(model, args=x),
        "audit": lw.audit(known["mapping"], model, args=x),
        "folded": lw.fold(model, args=x),
        "alignment": lw.align(model, copy.deepcopy(model), args=x),
        "same": lw.same_function(model, copy.deepcopy(model), args=x),
        "findings": lw.testing.assert_lawful(model, (x,)),
        "report": lw.verify(model, args=x),
        "matches": lw.catalog.for_network(lw.Architecture(NET)),
        "summary": lw.summary(model, args=x),
    }
    return found


def doors() -> Iterator[Door]:
    """All of them."""
    for name in lw.__all__:
        yield from _of(f"lw.{name}", getattr(lw, name))
    for path in MODULES:
        module = functools.reduce(getattr, path.split("."), lw)
        for name in getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]:
            thing = getattr(module, name)
            home = getattr(thing, "__module__", "")
            if home == module.__name__ or (home.startswith("lawful") and name in getattr(module, "__all__", ())):
                yield from _of(f"lw.{path}.{name}", thing)
    for name, thing in objects().items():
        for method in dir(type(thing)):
            static = inspect.getattr_static(type(thing), method)
            if isinstance(static, (property, functools.cached_property)) or method.startswith("_"):
                continue
            if (getattr(getattr(thing, method), "__module__", "") or "").startswith("lawful"):  # not those of Python
                yield from _of(f"{name}.{method}", getattr(thing, method))


def _of(name: str, thing: Any) -> Iterator[Door]:
    if isinstance(thing, (types.FunctionType, types.MethodType, types.BuiltinFunctionType)) or (
        isinstance(thing, type) and not issubclass(thing, (Exception, enum.Enum))
    ):
        yield Door(name, thing)


def answered(call: Callable[[], object]) -> None:
    """Checks that a call gives something, or is refused in one sentence that lawful wrote."""
    try:
        call()
    except AssertionError as error:
        assert traceback.extract_tb(error.__traceback__)[-1].line.startswith("raise"), repr(error)
    except Exception as error:
        text = str(error.args[0]) if error.args else ""
        last = traceback.extract_tb(error.__traceback__)[-1]
        line = linecache.getline(last.filename, last.lineno or 0).strip()
        said = type(error).__module__.startswith("lawful") or (
            Path(last.filename).is_relative_to(HOME)
            and "site-packages" not in last.filename
            and line.startswith("raise")
        )
        python = isinstance(error, TypeError) and "argument" in text  # a wrong number of arguments, or names
        assert (said or python) and text and "\n" not in text, repr(error)
