"""Measures many models in processes of their own, so that a hang, a crash or a full memory costs one model."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .measure import Task
from .record import STATUSES, Record, fault_of, inherit, unverified_families, write_csv

LIBRARIES = ("lawful", "torch", "torchvision", "timm", "transformers")
CHUNK = 40  # models that one process measures before a fresh one takes over: caches grow
START = 120.0  # seconds that a fresh process may take to import everything, on top of a model's time
LARGEST = 250_000_000  # parameters that the second pass verifies: some ten gigabytes in float64
COMMAND = (sys.executable, "-m", "lawful.atlas.worker")

Progress = Callable[[Record], None]


@dataclass(frozen=True)
class Limits:
    """What one model may take.

    Attributes:
        workers: processes at a time.
        timeout: seconds for each model.
        memory: bytes for each process; 0 for no limit.
        command: what starts a worker.
    """

    workers: int = 2
    timeout: float = 600.0
    memory: int = 0
    command: Sequence[str] = COMMAND


class Journal:
    """Records as lines of JSON, each written as soon as it is there; the last line of a model counts.

    Args:
        path: the file; it is made when the first record is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Record) -> None:
        """Adds a record, on the disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"versions": versions(), **record.to_data()}) + "\n"
        with self.path.open("ab") as file:
            if file.tell() and not self._ends_a_line():
                file.write(b"\n")  # a killed run left half a line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def _ends_a_line(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def read(self) -> dict[str, Record]:
        """The last record of every model that was measured with the libraries that are installed now."""
        found: dict[str, Record] = {}
        if not self.path.exists():
            return found
        current = versions()
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                data = json.loads(line)
                record = Record.from_data(data)
            except (ValueError, TypeError, AttributeError):
                continue  # half a line of a run that was killed
            if data.get("versions") == current:
                found[record.name] = record
        return found


def versions() -> dict[str, str]:
    """The versions of what decides about a record."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = ""
    return found


def left_to_do(names: Iterable[str], done: dict[str, Record], again: str | None) -> list[str]:
    """The models that have no record, or are asked for once more, families mixed: a part of a run is a fair sample.

    Args:
        names: all models.
        done: the records that there are.
        again: a status, `"all"`, or a pattern of names.
    """
    left = [n for n in names if n not in done or (again is not None and _repeats(done[n], again))]
    return sorted(left, key=lambda name: sha256(name.encode()).digest())


def _repeats(record: Record, again: str) -> bool:
    return again == "all" or (record.status == again if again in STATUSES else fnmatchcase(record.name, again))


def run(
    tasks: Sequence[Task],
    journal: Journal,
    limits: Limits,
    progress: Progress = lambda record: None,
    derived: Mapping[str, Record] | None = None,
) -> None:
    """Measures models in worker processes; every record is in the journal as soon as it is there.

    Args:
        tasks: what to do.
        journal: where records go.
        limits: processes, time and memory.
        progress: called with every record.
        derived: records that stay where only their verification was asked for and came to nothing.
    """
    waiting = deque(tasks)
    log = journal.path.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    workers: list[Worker] = []
    with log.open("ab") as errors, selectors.DefaultSelector() as ready:
        try:
            while waiting or workers:
                while waiting and len(workers) < limits.workers:
                    worker = Worker(limits, errors.fileno())
                    worker.start(waiting.popleft())
                    ready.register(worker.answers, selectors.EVENT_READ, worker)
                    workers.append(worker)
                spoke = {key.data for key, _ in ready.select(timeout=0.5)}
                for worker in list(workers):
                    record = worker.record(worker in spoke)
                    if record is None:
                        continue
                    earlier = (derived or {}).get(record.name)
                    if earlier is not None and not record.derived:
                        record = replace(earlier, verdict="not verified", reason=f"verification: {record.reason}")
                    journal.append(record)
                    progress(record)
                    if waiting and worker.fresh:
                        worker.start(waiting.popleft())
                    else:
                        ready.unregister(worker.answers)
                        workers.remove(worker)
                        worker.stop()
        finally:
            for worker in workers:
                worker.stop()


class Worker:
    """A process that measures one model at a time.

    Args:
        limits: time and memory.
        errors: the file descriptor that takes what it says.
    """

    def __init__(self, limits: Limits, errors: int) -> None:
        memory = (str(limits.memory),) if limits.memory else ()
        self.process = subprocess.Popen(
            [*limits.command, *memory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # so that what a model starts is killed along with it
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.tasks, self.answers = self.process.stdin, self.process.stdout
        self.limits, self.measured, self.fresh = limits, 0, True

    def start(self, task: Task) -> None:
        """Gives it the next model."""
        self.task = task
        self.began = time.monotonic()
        self.deadline = self.began + self.limits.timeout + (0.0 if self.measured else START)
        try:
            self.tasks.write(json.dumps(asdict(task)) + "\n")
            self.tasks.flush()
        except BrokenPipeError:
            pass  # it is gone, which reading its answer tells

    def record(self, spoke: bool) -> Record | None:
        """What it found, or why it never will; None while it works."""
        if spoke:
            line = self.answers.readline()
            self.measured += 1
            self.fresh = bool(line) and self.measured < CHUNK
            return Record.from_data(json.loads(line)) if line else self._failed(self._death())
        if time.monotonic() > self.deadline:
            self.fresh = False
            return self._failed(f"no answer within {self.limits.timeout:.0f} seconds")
        return None

    def _failed(self, reason: str) -> Record:
        seconds = round(time.monotonic() - self.began, 1)
        return Record(self.task.name, reason=reason, training=self.task.training, seconds={"until it stopped": seconds})

    def _death(self) -> str:
        self.stop()
        code = self.process.returncode
        if code >= 0:
            return f"the process ended with code {code}"
        hint = ", most likely for want of memory" if -code == signal.SIGKILL else ""
        return f"the process was stopped by {signal.Signals(-code).name}{hint}"

    def stop(self) -> None:
        """Ends the process; one that works is killed with everything it started."""
        if not self.tasks.closed:
            try:
                self.tasks.close()
            except BrokenPipeError:
                pass
        try:
            self.process.wait(timeout=1.0 if self.fresh or self.measured else 0.0)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.answers.close()


def second_pass(records: Sequence[Record], names: Iterable[str], training: bool) -> list[Task]:
    """Verifies the smallest model of each family all of whose models are too large, so that none is left unchecked.

    Args:
        records: what there is.
        names: the models that may be measured.
        training: the mode.
    """
    allowed = {r.name for r in records if r.parameters <= LARGEST} & set(names)
    return [Task(name, training, LARGEST) for name in unverified_families(records) if name in allowed]


def write_table(path: Path, journal: Journal) -> list[Record]:
    """Writes the table of everything in the journal, with the verdicts that siblings lend; gives its rows."""
    order = {s: i for i, s in enumerate(("torchvision", "timm", "hf", "ours"))}
    found = (replace(r, fault=fault_of(r)) for r in journal.read().values())
    records = sorted(inherit(found), key=lambda r: (order.get(r.source, 9), r.name))
    write_csv(path, [replace(r, reason=r.reason[:160]) for r in records])
    return records
