"""The lock file: what named models conserve, under version control, so that a refactor that changes it is seen.

A file of plain text with one entry for every model.  It is read in every run and written only when that is asked for.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lawful.blocks import Net
from lawful.graph.architecture.architecture import Architecture
from lawful.theory.arguments import shown
from lawful.theory.derive.lawset import LawSet
from lawful.theory.inputs import inputs_of
from lawful.theory.losses import LossLike
from lawful.theory.oracle.outputs import named_outputs
from lawful.theory.refusals import refused
from lawful.theory.typed import typed

from .assertions import quiet
from .sets import changes, laws_of, renamed, statements
from .witness.keeping import kept
from .witness.steps import eagerly, inner

LOCK = "laws.lock.json"
FORMAT = "lawful-lock 1"
LONGEST = 25  # lines of a message
WIDEST = 200  # letters of a line
TO_UPDATE = "run pytest --lawful-update (or pass update=True)"

Entry = dict[str, Any]


class LockError(ValueError):
    """A lock file that cannot be read or written; says which, and what to do."""


@quiet
@typed(LockError, skip=("loss", "axis"), ways={"path": "give its path"})
def assert_locked(
    name: str,
    network: Architecture | Net | torch.nn.Module | LawSet,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    loss: LossLike = "mse",
    *,
    path: str | os.PathLike[str] = LOCK,
    update: bool = False,
) -> LawSet:
    """Fails where a model conserves something else than its lock file says.

    The fixture `assert_locked` does the same for the file in pytest's root folder, and `pytest --lawful-update` writes
    it.  A run without that option never writes.

    Args:
        name: of the model in the file.
        network: a module, an architecture, or laws that were derived.
        args: example inputs of a module.
        kwargs: those by keyword.
        loss: see `derive`.
        path: the file.
        update: write the entry instead of comparing it.

    Returns:
        The laws.

    Raises:
        AssertionError: which law of which module appeared, disappeared or changed; that the file has no such entry; or
            that nothing can train the network (no trainable parameter, NaN), which is never locked.
        ModuleError: for a module whose forward does not run on its inputs.
        LockError: for a file that is none, or that cannot be written.
    """
    __tracebackhide__ = True
    expect_name(name)
    laws = to_lock(network, args, kwargs, loss)
    if update:
        write({name: entry(laws)}, path)
    else:
        compare(name, laws, path)
    return laws


def expect_name(name: object) -> None:
    """Refuses what can be no name of a model in a lock file.

    Raises:
        LockError: for what is no text, or empty.
    """
    if not isinstance(name, str) or not name.strip():
        raise LockError(f"assert_locked: name is {shown(name)}; it must be a text that names the model")


def to_lock(
    network: Architecture | Net | torch.nn.Module | LawSet,
    args: torch.Tensor | Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    loss: LossLike = "mse",
) -> LawSet:
    """The laws of a network that trains; laws are derived from its structure, so whether it runs is asked apart.

    Raises:
        AssertionError: nothing can train it: no parameter, all frozen, or no numbers.
        ModuleError: its forward does not run on its inputs.
    """
    __tracebackhide__ = True
    if isinstance(network, torch.nn.Module):
        _expect_training(inner(network), *inputs_of("assert_locked", args, kwargs))
    laws = laws_of(network, args, kwargs, loss, "assert_locked")
    if not laws.parameters:
        raise AssertionError(f"these laws are of no trainable parameter {NOTHING}")
    return laws


NOTHING = "and nothing is locked"


def _expect_training(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuses a module that no training can move.

    Raises:
        AssertionError: names the parameter or the output.
        ModuleError: the forward does not run.
    """
    name, parameters = type(module).__name__, dict(module.named_parameters())
    if not any(p.requires_grad for p in parameters.values()):
        what = "has no parameters" if not parameters else "has no trainable parameter: all are frozen"
        raise AssertionError(f"{name} {what} {NOTHING}")
    if any(p.is_meta or torch.nn.parameter.is_lazy(p) for p in parameters.values()):
        return  # there are no numbers yet
    for n, p in parameters.items():
        if not torch.isfinite(p).all():
            raise AssertionError(f"the parameter {n} of {name} is not finite, so its gradients are none, {NOTHING}")
    if args or kwargs:
        with kept(module), eagerly(module), torch.no_grad(), refused(f"the forward of {name} does not run"):
            outputs = module(*args, **kwargs)
        for n, z in named_outputs(module, outputs).items():
            if torch.isnan(z).any():
                raise AssertionError(f"the {n} of {name} is not a number on these inputs, {NOTHING}")


def entry(laws: LawSet) -> Entry:
    """What the file says of a model."""
    told = statements(laws)
    return {
        "loss": laws.loss,
        "parameters": laws.parameters,
        "independent": laws.independent,
        "laws": {law.name: {"reads": list(law.parameters), "says": told[law.name]} for law in laws},
        "may_lack": list(laws.gaps),
    }


def compare(name: str, laws: LawSet, path: str | os.PathLike[str]) -> None:
    """Compares a model with its entry.

    Raises:
        AssertionError: says what changed.
    """
    __tracebackhide__ = True
    known, file = models(path), Path(path)
    _expect_folder(file, "read")
    if name not in known:
        there = f"; it has {', '.join(list(known)[:6])}" if known else ""
        what = "has no entry" if file.exists() else "is not there, so it has no entry"
        raise AssertionError(f"{file.name} {what} {name!r}{there}; {TO_UPDATE} and commit the file")
    old, new = known[name], entry(laws)
    if old["loss"] != new["loss"]:
        raise AssertionError(
            f"{name} is locked in {file.name} for the loss {old['loss']}, and tested with {new['loss']}; "
            f"pass that loss, or {TO_UPDATE}"
        )
    lines = _difference(old, new)
    if lines:
        head = f"{name} does not conserve what {file.name} says: {lines.pop(0)}"
        tail = [*(f"  note: {n}" for n in new["may_lack"] if n not in old["may_lack"])][:3]
        tail += [f"  if that is meant: {TO_UPDATE} and commit {file.name}"]
        rest = len(lines) - (LONGEST - len(tail) - 2)
        if rest > 0:
            lines = [*lines[: -rest - 1], f"  ... and {rest + 1} more lines"]
        raise AssertionError("\n".join(line[:WIDEST] for line in [head, *lines, *tail]))


def _expect_folder(file: Path, done: str) -> None:
    folder = file.absolute().parent
    if not folder.is_dir():
        raise LockError(f"{file.name} cannot be {done}: there is no folder {folder}; make it first, or change path=")


def _difference(old: Entry, new: Entry) -> list[str]:
    """In one line, and then law by law; nothing where the two are equal."""
    before, after = old["laws"], new["laws"]
    if before != after:
        names = renamed(before, after)
        if names:
            said = [f"{a} -> {b}" for a, b in names.items() if a != b]
            return ["the same laws under other names", *(f"  {line}" for line in said)]
        return changes({n: v["says"] for n, v in before.items()}, {n: v["says"] for n, v in after.items()})
    if old["independent"] != new["independent"]:
        return [f"{old['independent']} of its laws were independent, now {new['independent']} are"]
    return []


def models(path: str | os.PathLike[str]) -> dict[str, Entry]:
    """The entries of a lock file by name; none where there is no file.

    Raises:
        LockError: for a file that is none.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise LockError(f"the lock file is {shown(path)}; give its path, such as {LOCK!r}")
    file = Path(path)
    if not file.exists():
        return {}
    again = f"take it from version control, or delete it and {TO_UPDATE}"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LockError(f"{file} cannot be read ({' '.join(str(error).split())[:120]}); {again}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("models"), dict):
        raise LockError(f"{file} is no lock file of format {FORMAT!r}; {again}")
    for name, one in data["models"].items():
        if not _is_entry(one):
            raise LockError(f"the entry {name!r} of {file} is damaged; {again}")
    found: dict[str, Entry] = data["models"]
    return found


def _is_entry(one: object) -> bool:
    if not isinstance(one, dict) or not isinstance(one.get("laws"), dict):
        return False
    laws = all(
        isinstance(v, dict)
        and isinstance(v.get("says"), str)
        and isinstance(v.get("reads"), list)
        and all(isinstance(r, str) for r in v["reads"])
        for v in one["laws"].values()
    )
    numbers = all(isinstance(one.get(k), int) for k in ("parameters", "independent"))
    lacks = one.get("may_lack")
    return laws and numbers and isinstance(one.get("loss"), str) and isinstance(lacks, list)


def write(entries: Mapping[str, Entry], path: str | os.PathLike[str]) -> list[str]:
    """Puts entries into a lock file and keeps all others; writes nothing where nothing changes.

    The file is replaced as a whole, so that nobody ever reads half of it.

    Returns:
        Names of the entries that are new or changed.

    Raises:
        LockError: for a file that cannot be read or written.
    """
    known, file = models(path), Path(path)
    _expect_folder(file, "written")
    changed = [n for n, one in entries.items() if known.get(n) != one]
    if not changed:
        return []
    every = {n: dict(entries).get(n, known.get(n)) for n in sorted({*known, *entries})}
    text = json.dumps({"format": FORMAT, "models": every}, indent=1, ensure_ascii=False) + "\n"
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=file.name, delete=False, newline="\n"
        ) as new:
            new.write(text)
        os.chmod(new.name, file.stat().st_mode & 0o777 if file.exists() else 0o644)
        os.replace(new.name, file)
    except OSError as error:
        raise LockError(
            f"{file} cannot be written ({error.strerror or error}); name a file in a folder that is open to you"
        ) from error
    return changed


__all__ = ["LOCK", "Entry", "LockError", "assert_locked", "compare", "entry", "models", "to_lock", "write"]
