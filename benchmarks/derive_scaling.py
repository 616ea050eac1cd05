"""Time and memory of `derive` over depth and width: cost follows the number of blocks, never the width.

Every row runs in a fresh interpreter, so that its peak memory is its own; times are those of the processor, which a
busy machine hardly changes, and the best of three.  Memory is what building the architecture and deriving its laws add
to the imported library.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from lawful.graph import families
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.derive import derive

SECONDS, MEGABYTES = 1.0, 300.0  # what gpt2 and the 70B shape may take
DEPTHS = (80, 100, 200, 500, 1000)
EXPONENT = 1.1  # of the time between 100 and 1,000 layers
TIMES = 13.0  # that 80 layers take, for 1,000
WIDTHS = (1024, 2048, 4096, 8192, 16384)
REPEATS = 3


def architecture(spec: dict[str, int | str]) -> Architecture:
    """The network a row is about: `gpt2`, or a llama of the given depth and width with 70B's proportions."""
    if spec["family"] == "gpt2":
        return families.gpt2()
    layers, width = int(spec["layers"]), int(spec["width"])
    return families.llama(layers=layers, width=width, heads=width // 128, kv_heads=8, hidden=width * 7 // 2)


def peak() -> float:
    """Largest resident size of this process so far, in megabytes."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)


def measure(spec: dict[str, int | str]) -> dict[str, float]:
    """Builds and derives in this process."""
    before = peak()
    arch = architecture(spec)
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        laws = derive(arch)
        times.append(time.process_time() - start)
    return {"seconds": min(times), "megabytes": peak() - before, "blocks": len(arch.nodes), "laws": laws.count}


def measured_apart(spec: dict[str, int | str]) -> dict[str, float]:
    """`measure` in a fresh interpreter."""
    command = [sys.executable, __file__, "--measure", json.dumps(spec)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def table(title: str, rows: list[tuple[str, dict[str, int | str]]], console: Console) -> list[dict[str, float]]:
    """Measures and prints rows; ratios are to the first."""
    out = Table(title=title)
    for column in ("network", "blocks", "scalar laws", "seconds", "ratio", "megabytes"):
        out.add_column(column, justify="left" if column == "network" else "right")
    results: list[dict[str, float]] = []
    for name, spec in rows:
        result = measured_apart(spec)
        results.append(result)
        ratio = result["seconds"] / results[0]["seconds"]
        cells = (f"{result['blocks']:,}", f"{result['laws']:,}", f"{result['seconds']:.3f}", f"{ratio:.2f}")
        out.add_row(name, *cells, f"{result['megabytes']:.0f}")
    console.print(out)
    return results


def main() -> int:
    """Prints the three tables; 1 if one of the named networks misses its goal."""
    console = Console()

    def llama(layers: int, width: int) -> dict[str, int | str]:
        return {"family": "llama", "layers": layers, "width": width}

    goals = [("gpt2, 124M", {"family": "gpt2"}), ("llama, 70B shape", llama(80, 8192))]
    named = table("named networks", goals, console)
    depth = table("depth, width 8192", [(f"{n} layers", llama(n, 8192)) for n in DEPTHS], console)
    width = table("width, 20 layers", [(f"width {n}", llama(20, n)) for n in WIDTHS], console)
    deeper, wider = (r[-1]["seconds"] / r[first]["seconds"] for r, first in ((depth, 1), (width, 0)))
    exponent = math.log(deeper) / math.log(DEPTHS[-1] / DEPTHS[1])
    console.print(
        f"{DEPTHS[-1] // DEPTHS[1]} times the depth takes {deeper:.1f} times as long: exponent {exponent:.2f},"
    )
    console.print(f"{WIDTHS[-1] // WIDTHS[0]} times the width {wider:.2f} times.")
    met = [r["seconds"] < SECONDS and r["megabytes"] < MEGABYTES for r in named]
    missed = [name for (name, _), ok in zip(goals, met, strict=True) if not ok]
    for name in missed:
        console.print(f"{name} misses its goal of {SECONDS:g} s and {MEGABYTES:g} MB.")
    if exponent > EXPONENT:
        console.print(f"The exponent of the depth misses its goal of {EXPONENT}.")
    if (times := depth[-1]["seconds"] / depth[0]["seconds"]) > TIMES:
        missed.append(f"{DEPTHS[-1]} layers")
        console.print(f"{DEPTHS[-1]:,} layers take {times:.1f} times as long as {DEPTHS[0]}; the goal is {TIMES:g}.")
    return 1 if missed or exponent > EXPONENT else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", type=json.loads, help="measure one network in this process and print JSON")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
    else:
        sys.exit(main())
