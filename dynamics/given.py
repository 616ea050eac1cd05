"""What a ledger is given, checked when it is given and not in the middle of a run: laws, loss, optimizers, a state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from lawful.theory.arguments import plural, shown
from lawful.theory.derive.lawset import LawSet
from lawful.theory.laws.law import Law
from lawful.theory.losses import LossError, expect_loss
from lawful.theory.parts import base, read

from .account import Account
from .updates import RULES

STATE_VERSION = 2


def expect_options(every: object, sample: object, seed: object, like: object) -> None:
    """Checks how much is watched, and after which optimizer.

    Raises:
        ValueError: names the option, and what to pass.
    """
    for name, value in ("every", every), ("sample", sample):
        if value is not None and (type(value) is not int or value < 1):
            meant = "1 for every step, k for every k-th" if name == "every" else "how many laws are drawn"
            raise ValueError(f"Ledger: {name}={shown(value)} watches nothing; pass {meant}")
    if type(seed) is not int:
        raise ValueError(f"Ledger: seed={shown(seed)} draws no laws; pass an integer")
    if like is not None and like not in RULES:
        names = ", ".join(kind.__name__ for kind in RULES)
        raise ValueError(f"Ledger: like={shown(like)} has no equations here; pass one of torch.optim's {names}")


def expect_laws(laws: object) -> None:
    """Checks that something is a sequence of laws.

    Raises:
        ValueError: says what it is.
    """
    way_out = "pass what lw.derive(model, args=...) gave, or leave laws out and they are derived"
    if isinstance(laws, Law):
        raise ValueError(f"Ledger: laws is one law, {laws.name}; pass a list: laws=[law]")
    if isinstance(laws, (str, bytes)) or not isinstance(laws, Sequence):
        way_out = f"a loss goes by its name: loss={shown(laws)}" if _is_loss(laws) else way_out
        raise ValueError(f"Ledger: laws is {shown(laws)}; {way_out}")
    for law in laws:
        if not isinstance(law, Law):
            raise ValueError(f"Ledger: among the laws is {shown(law)}, which is no law; {way_out}")


def _is_loss(given: object) -> bool:
    try:
        expect_loss(given)
    except LossError:
        return False
    return isinstance(given, str)


def why_none(laws: Sequence[Law]) -> str:
    """Why a derivation gave no law."""
    notes = list(laws.notes) if isinstance(laws, LawSet) else []
    more = [f"and {plural(len(notes) - 3, 'more note')} of lw.derive"] if len(notes) > 3 else []
    return "; ".join([*notes[:3], *more]) or "the derivation found none"


def why_refused(error: Exception) -> str:
    """Why there was no derivation, in one line."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return f"the derivation is refused ({first})"


def expect_fit(laws: Iterable[Law], parameters: Mapping[str, torch.Tensor]) -> None:
    """Checks that laws read parameters of the shapes that a model has.

    Raises:
        ValueError: names the law, the parameter and both shapes; or a complex parameter, whose steps are not followed.
    """
    there = {n: torch.empty(p.shape, device="meta") for n, p in parameters.items()}
    for law in laws:
        for part in (p for t in law.terms for p in (t.part, t.partner) if p is not None):
            if parameters[base(part.parameter)].is_complex():
                raise ValueError(
                    f"the law {law.name} reads {base(part.parameter)}, whose numbers are complex, and a ledger follows "
                    "steps of real ones only; compare law.value(model) before and after training, or pass other laws="
                )
            try:
                found = tuple(read(part.parameter, there).shape)
            except (KeyError, IndexError, RuntimeError):
                found = ()
            wanted = part.view.shape
            turned = len(found) == len(wanted) == 2 and found == wanted[::-1] and found != wanted
            if not found or math.prod(found) != math.prod(wanted) or turned:
                name = base(part.parameter)
                shape = tuple(there[name].shape)
                raise ValueError(
                    f"the law {law.name} reads {part.parameter} in the shape {wanted}, and the model's {name} has the "
                    f"shape {shape}; pass the laws of this model (lw.derive(model, args=...))"
                )


def expect_trained(parameters: Mapping[str, torch.Tensor], optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Checks that the optimizers move something that is watched.

    Raises:
        ValueError: if they move nothing of it.
    """
    moved = {id(p) for o in optimizers for group in o.param_groups for p in group["params"]}
    if moved.isdisjoint(map(id, parameters.values())):
        name = next(iter(parameters))
        raise ValueError(
            f"the optimizer has {plural(len(moved), 'parameter')}, and none of the {len(parameters)} that the laws "
            f"read ({name}, ...); if it is meant to train only these, freeze the others (requires_grad_(False)) before "
            "the laws are derived, else make it from model.parameters()"
        )


def expect_of(model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Checks that every optimizer holds a parameter of the model; it may hold those of other models too.

    Raises:
        ValueError: for the optimizer of another model.
    """
    mine = dict(model.named_parameters())
    known = set(map(id, mine.values()))
    for i, one in enumerate(optimizers):
        held = {id(p) for group in one.param_groups for p in group["params"]}
        if known and held.isdisjoint(known):
            which = f"optimizer {i} of {len(optimizers)}" if len(optimizers) > 1 else "the optimizer"
            raise ValueError(
                f"{which} has {plural(len(held), 'parameter')}, and none of the {len(known)} of the model "
                f"({next(iter(mine))}, ...); pass the optimizer of this model, made from model.parameters()"
            )


def expect_state(state: object) -> None:
    """Checks that something is the saved account of a ledger.

    Raises:
        ValueError: says what it is, or what it lacks.
    """
    way_out = "pass what ledger.state_dict() gave, not the state of the model or of the optimizer"
    if not isinstance(state, Mapping):
        raise ValueError(f"the saved account is {shown(state)}; {way_out}")
    kinds = {"version": int, "steps": int, "edited": Mapping, "accounts": Mapping}
    for name, kind in kinds.items():
        if name not in state:
            raise ValueError(f"the saved account has no {name!r}; {way_out}")
        if not isinstance(state[name], kind):
            raise ValueError(f"the saved account has the {name} {shown(state[name])}; {way_out}")
    if state["version"] != STATE_VERSION:
        raise ValueError(
            f"the saved account has version {state['version']}, and this ledger reads version {STATE_VERSION}; "
            "read it with the release of lawful that wrote it"
        )


def expect_accounts(state: Mapping[str, Any], accounts: Mapping[str, Account]) -> None:
    """Checks that a saved account is of the laws that are watched.

    Raises:
        ValueError: names both, or the damaged entry.
    """
    if set(state["accounts"]) != set(accounts):
        mine, theirs = sorted(accounts), sorted(map(str, state["accounts"]))
        raise ValueError(
            f"the saved account is of the laws {theirs[:4]}, this ledger watches {mine[:4]}; "
            "load it into a ledger of the same laws"
        )
    for name, account in accounts.items():
        one, known = state["accounts"][name], account.state()
        whole = isinstance(one, Mapping) and set(one) <= set(known) and {"first", "last", "scale"} <= set(one)
        if not whole:
            raise ValueError(f"the saved account of {name} is damaged; pass what ledger.state_dict() gave")
        for key in ("first", "last", "scale"):
            shape = tuple(getattr(one[key], "shape", ()))
            if not isinstance(one[key], torch.Tensor) or shape != tuple(known[key].shape):
                raise ValueError(
                    f"the saved account of {name} has {shown(one[key])} as {key}, this ledger has the shape "
                    f"{tuple(known[key].shape)}; load it into a ledger of the same model"
                )
