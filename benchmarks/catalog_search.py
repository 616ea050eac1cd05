"""How long the catalog takes to answer with 100,000 laws of your own beside the shipped ones, and without them.

Median seconds of the processor for a question, and the ratio of both.  Exit code 1 if one takes more than `RATIO`
times as long, or more than `SECONDS`.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from lawful import catalog
from lawful.catalog import shelf
from lawful.catalog.entry import Entry

NETWORKS, LAWS, REPEATS = 200, 500, 7
RATIO, SECONDS = 8.0, 0.05
QUESTIONS = ("attention query", "net17 layer 3", "does Adam keep the balance of attention", "momentum")


def law(network: str, layer: int) -> Entry:
    """A law of somebody's network."""
    return Entry(
        id=f"own/{network}/balance/layer{layer}",
        kind="balance",
        title=f"layer {layer} of {network}",
        statement_text="A - B",
        statement_latex="A - B",
        source="lawful",
        setting=network,
        also="attention query key balance",
    )


def seconds(question: str) -> float:
    """Median of a few answers, after the first."""
    catalog.search(question)
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        catalog.search(question)
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> int:
    """Prints a row for each question."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LAWFUL_CATALOG"] = str(Path(folder) / "own.sqlite")
        alone = [seconds(q) for q in QUESTIONS]
        for k in range(NETWORKS):
            shelf.add(f"net{k}", [law(f"net{k}", i) for i in range(LAWS)])
        beside = [seconds(q) for q in QUESTIONS]
    missed = False
    print(f"{'question':45} {'shipped':>9} {f'+ {NETWORKS * LAWS:,}':>11} {'ratio':>6}")
    for question, a, b in zip(QUESTIONS, alone, beside, strict=True):
        print(f"{question:45} {1e3 * a:6.1f} ms {1e3 * b:8.1f} ms {b / a:6.1f}")
        missed |= b > SECONDS or b > RATIO * a
    if missed:
        print(f"The goal is {RATIO:g} times the time without them, and {1e3 * SECONDS:g} ms.")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
