"""Random search for networks on which engine and oracle disagree: `python -m lawful.testing.search`.

A disagreement is a missing rule, a wrong rule, or an accidental law.  Blocks that are registered take part: `--module`
imports a package that registers its own.  With `--modules` it is plain torch modules that are drawn, and the library is
held against an independent referee (see `survey`).
"""

from __future__ import annotations

import argparse
import importlib
import math
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.oracle.counting import ContradictionError
from lawful.theory.verdict import Verdict

from .strategies import architectures, losses
from .survey import BATCH as PIECE
from .survey import Survey, survey

LARGEST = 90  # trainable scalars that the oracle counts in about a second
BATCH = 50  # networks in one piece of work


@dataclass
class Found:
    """What a search has seen.

    Attributes:
        agreed: networks on which engine and oracle give the same number.
        limited: networks that name a limit of the rules and on which the engine claims no more than the oracle.
        undecided: networks whose oracle count is not clear.
        disagreements: the others, each as a line for people and the network as JSON.
    """

    agreed: int = 0
    limited: int = 0
    undecided: int = 0
    disagreements: list[tuple[str, str]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, other: Found) -> None:
        """Counts those of another search as well."""
        self.agreed += other.agreed
        self.limited += other.limited
        self.undecided += other.undecided
        self.disagreements += other.disagreements
        self.kinds += other.kinds

    @property
    def compared(self) -> int:
        """Number of networks that were decided."""
        return self.agreed + self.limited + len(self.disagreements)

    @property
    def summary(self) -> str:
        """One line."""
        return (
            f"{self.compared} random networks compared: engine = oracle on {self.agreed}, "
            f"{self.limited} with a named limit, {len(self.disagreements)} disagreements; "
            f"{self.undecided} undecided, {len(self.kinds)} kinds of blocks"
        )


def compare(arch: Architecture, loss: str, found: Found) -> None:
    """Compares engine and oracle on one network."""
    laws = derive(arch, loss)
    try:
        oracle = count(arch, loss, known=None if laws.gaps else laws.independent)
    except ContradictionError as error:
        found.disagreements.append((f"{loss}: {error}", arch.to_json()))
        return
    if oracle.verdict is not Verdict.HOLDS:
        found.undecided += 1
        return
    found.kinds.update({arch.block(n).kind for n in arch.nodes})
    if oracle.laws == laws.independent:
        found.agreed += 1
    elif laws.gaps and oracle.laws > laws.independent:
        found.limited += 1
    else:
        line = f"{loss}: engine {laws.independent}, oracle {oracle.laws} (gap {oracle.gap:.0e})"
        found.disagreements.append((line, arch.to_json()))


def search(networks: int, start: int, depth: int = 2) -> Found:
    """Compares so many random networks.

    Args:
        networks: how many, all different from those of another `start`.
        start: seed.
        depth: how deep residuals and branches nest.
    """
    found = Found()
    torch.set_num_threads(1)

    @seed(start)
    @settings(
        max_examples=20 * networks,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(architectures(depth), losses())
    def run(arch: Architecture, loss: str) -> None:
        size = sum(p.size for p in arch.parameters.values() if not p.frozen)
        if found.compared + found.undecided < networks and 0 < size <= LARGEST:
            compare(arch, loss, found)

    run()
    return found


def _piece(task: tuple[int, int, int, tuple[str, ...]]) -> Found:
    networks, start, depth, modules = task
    for name in modules:
        importlib.import_module(name)
    return search(networks, start, depth)


def _pieces(networks: int, start: int, depth: int, modules: tuple[str, ...]) -> Iterator[tuple[int, int, int, Any]]:
    for i in range(-(-networks // BATCH)):
        yield min(BATCH, networks - i * BATCH), start + i, depth, modules


def _survey_piece(task: tuple[int, int, bool, bool]) -> Survey:
    return survey(*task)


def _shared(work: Callable[[Any], Any], tasks: Iterable[Any], workers: int, minutes: float) -> Iterator[Any]:
    """What the tasks give; each is begun when a worker is free, and none after so many minutes."""
    end = time.monotonic() + 60 * minutes
    left = takewhile(lambda _: time.monotonic() < end, tasks)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(work, task) for task in islice(left, workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(work, task) for task in islice(left, len(done))}
            for one in done:
                yield one.result()


def plain_modules(
    modules: int,
    start: int,
    workers: int,
    output: Path,
    sound: bool = False,
    layers: bool = False,
    minutes: float = math.inf,
) -> int:
    """Surveys plain torch modules, and writes what is found as scripts.

    Args:
        modules: how many at most.
        start: seed.
        workers: processes.
        output: folder for the scripts.
        sound: whether what is only missing, or counted wrongly, is written but no failure.
        layers: modules of torch's own layers instead of raw parameters and calls.
        minutes: after which nothing new is begun.

    Returns:
        0 if nothing was false, wrong or silently missing, and nothing crashed; else 1.
    """
    found = Survey()
    tasks = [(min(PIECE, modules - i), start + i, True, layers) for i in range(0, modules, PIECE)]
    for part in _shared(_survey_piece, tasks, workers, minutes):
        found.add(part)
        print(f"\r{found.modules}/{modules}, {len(found.finds)} finds", end="", file=sys.stderr)
    print(file=sys.stderr)
    print(f"{found.summary}; seed {start}")
    print(found.breakdown.table)
    for i, (kind, line, text) in enumerate(found.finds):
        output.mkdir(parents=True, exist_ok=True)
        path = output / f"{start}-{i}-{kind.replace(' ', '-')}.py"
        path.write_text(text, encoding="utf-8")
        print(f"{kind}: {line}: {path}")
    return 0 if found.sound and (sound or found.clean) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """The command: exit code 0 if nothing disagrees, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m lawful.testing.search", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=5000, help="how many random networks (default: 5000)")
    parser.add_argument("--modules", type=int, default=0, help="so many plain torch modules instead, with a referee")
    parser.add_argument("--layers", type=int, default=0, help="so many modules of torch's own layers, likewise")
    parser.add_argument("--sound", action="store_true", help="modules whose laws are only missing are no failure")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which nothing new is begun")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first piece (default: the time)")
    parser.add_argument("--depth", type=int, default=2, help="how deep residuals and branches nest (default: 2)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--module", action="append", default=[], help="imported first: it registers your own blocks")
    parser.add_argument("--output", type=Path, default=Path("disagreements"), help="folder for what disagrees, as JSON")
    options = parser.parse_args(argv)
    if many := options.modules or options.layers:
        layers = not options.modules
        return plain_modules(
            many, options.seed, options.workers, options.output, options.sound, layers, options.minutes
        )
    found = Found()
    tasks = _pieces(options.networks, options.seed, options.depth, tuple(options.module))
    for part in _shared(_piece, tasks, options.workers, options.minutes):
        found.add(part)
        done = found.compared + found.undecided
        print(f"\r{done}/{options.networks}, {len(found.disagreements)} disagreements", end="", file=sys.stderr)
    print(file=sys.stderr)
    print(f"{found.summary}; seed {options.seed}")
    for i, (line, text) in enumerate(found.disagreements):
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / f"{options.seed}-{i}.json"
        path.write_text(text, encoding="utf-8")
        print(f"{line}: {path}")
    return 1 if found.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
