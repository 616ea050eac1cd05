"""Runs the certificates again: every network is derived, verified and counted, and compared with its entries.

The work is cut into units, one for each network, family and checked claim, which run on any executor of
`concurrent.futures` or on its own processes.  What has passed is written down as it passes, so a run that was stopped
goes on where it was; a changed entry or another version of the library runs again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lawful.theory.arguments import ArgumentError, plural, shown
from lawful.theory.laws.pages import Printed
from lawful.theory.typed import typed

from .entry import Entry
from .search.index import cache_folder
from .store import by_id, entries

Unit = tuple[str, str, list[dict[str, Any]]]  # kind, name, its entries as data


@dataclass(frozen=True)
class Failure:
    """An entry whose certificate did not pass again.

    Attributes:
        id: the entry, or the network where it is about the whole list.
        reason: both sides of the disagreement.
    """

    id: str
    reason: str

    def __str__(self) -> str:
        return f"{self.id}: {self.reason}"


@dataclass(frozen=True, repr=False)
class Verified(Printed):
    """What came of running the certificates again.

    Attributes:
        entries: number of entries whose certificates passed, now or in the run that this one went on with.
        resumed: number of units that had passed before.
        failures: what did not pass.
    """

    entries: int
    resumed: int
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        """Whether something was verified and everything passed."""
        return self.entries > 0 and not self.failures

    def __str__(self) -> str:
        head = f"{plural(self.entries, 'entry', 'entries')} verified" + (
            f", {self.resumed} networks of them before" if self.resumed else ""
        )
        return "\n".join([head, *(f"FAILED {f}" for f in self.failures)])


@typed()
def verify(
    only: Sequence[str] = (),
    *,
    executor: Executor | Any = None,
    workers: int = 0,
    resume: Path | bool = False,
    progress: Callable[[int, int, str], None] | None = None,
    among: Sequence[Entry] | None = None,
) -> Verified:
    """Runs certificates again.

    Args:
        only: ids of entries or beginnings of ids; all where it is empty.
        executor: where the units run (`concurrent.futures`, Dask's `client.get_executor()`); in this process where it
            is None and `workers` is 0.
        workers: number of processes to start instead.
        resume: a file that keeps what has passed, True for one in the user's cache.
        progress: is told the number of units done, of all units, and the name of the last one.
        among: entries instead of the shipped ones.

    Raises:
        ValueError: if no entry is meant.
    """
    if executor is not None and not hasattr(executor, "submit"):
        raise ArgumentError(f"verify: executor is {shown(executor)}; pass one of concurrent.futures")
    units = _units(list(among) if among is not None else entries(), only)
    if not units:
        raise ValueError(f"no entry with a certificate is called {' or '.join(map(repr, only))}")
    memory = _Memory(resume)
    todo = [u for u in units if not memory.has(u)]
    failures: list[Failure] = []
    done = len(units) - len(todo)
    resumed = done

    def finished(unit: Unit, found: list[tuple[str, str]]) -> None:
        nonlocal done
        done += 1
        failures.extend(Failure(*f) for f in found)
        if not found:
            memory.add(unit)
        if progress is not None:
            progress(done, len(units), unit[1])

    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if executor is None and workers else None
    try:
        where = executor if executor is not None else pool
        if where is None:
            for unit in todo:
                finished(unit, run_unit(unit))
        else:
            futures: dict[Future[list[tuple[str, str]]], Unit] = {where.submit(run_unit, u): u for u in todo}
            for future in as_completed(futures):
                finished(futures[future], future.result())
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
    bad = {f.id for f in failures}
    passed = sum(len(u[2]) for u in units if not bad & {u[1], *(e["id"] for e in u[2])})
    return Verified(passed, resumed, tuple(sorted(failures, key=lambda f: f.id)))


def run_unit(unit: Unit) -> list[tuple[str, str]]:
    """Runs one unit; returns what failed, as ids and reasons."""
    import torch

    kind, name, data = unit
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stored = [Entry.from_data(d) for d in data]
        if kind == "setting":
            from .recheck import setting_failures

            return setting_failures(name, stored)
        if kind == "family":
            from .recheck import family_failures

            return family_failures(stored[0])
        from .checks import claim_failures

        return claim_failures(stored[0])
    except Exception as error:  # a unit that cannot run has not passed, whatever the reason
        return [(name, f"{type(error).__name__}: {error}")]
    finally:
        torch.set_num_threads(threads)


def _units(found: list[Entry], only: Sequence[str]) -> list[Unit]:
    meant = [e for e in found if not only or any(e.id == o or e.id.startswith(f"{o.rstrip('/')}/") for o in only)]
    settings: dict[str, list[Entry]] = {}
    wanted = {e.setting for e in meant if e.is_law}
    for e in found:
        if e.is_law and e.setting in wanted and not e.id.startswith("own/"):
            settings.setdefault(e.setting, []).append(e)
    units = [("setting", name, [e.to_data() for e in laws]) for name, laws in settings.items()]
    for e in meant:
        if e.kind == "family" and e.certificate is not None:
            units.append(("family", e.id, [e.to_data()]))
        elif not e.is_law and (e.check or e.evidence):
            units.append(("claim", e.id, [e.to_data()]))
    return units


class _Memory:
    """The units that have passed, one line each, written as they pass."""

    def __init__(self, resume: Path | bool) -> None:
        default = cache_folder() / "verified.txt"
        self.path = default if resume is True else resume if isinstance(resume, Path) else None
        self.known: set[str] = set()
        if self.path is not None and self.path.exists():
            self.known = set(self.path.read_text(encoding="utf-8").split())

    def has(self, unit: Unit) -> bool:
        return self._mark(unit) in self.known

    def add(self, unit: Unit) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(self._mark(unit) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _mark(unit: Unit) -> str:
        text = json.dumps([version("lawful"), *unit], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def known_ids() -> set[str]:
    """Ids of the shipped entries, which evidence may name."""
    return set(by_id())
