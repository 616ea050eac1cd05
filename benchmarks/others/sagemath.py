"""The published SageMath code of marcotte2023 on its 100 networks, timed on this machine; imports nothing of lawful.

    python -m venv sage && sage/bin/pip install passagemath-symbolics numpy tqdm
    git clone https://github.com/sibyllema/Conservation_laws
    sage/bin/python benchmarks/others/sagemath.py Conservation_laws sagemath.json

Networks run one after another, each with a limit; those that exceed it count with what they had used by then, so that
the sum is a lower bound.  `seconds` is what a clock shows, `cpu` the work of all processes together, which a busy
machine does not change.  The file that it writes is read by `exact_counting.py --sagemath`.  It can be stopped and
started again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np


def networks() -> list[tuple[list[int], bool, bool]]:
    """Widths, whether there are ReLUs, and biases, as the notebook `main.ipynb` draws them; linear and ReLU in turn."""
    found: list[list[tuple[list[int], bool, bool]]] = []
    for relu in (False, True):
        np.random.seed(0)
        row = []
        for _ in range(50):
            depth = np.random.randint(2, 5)
            widths = [int(np.random.randint(2, 10 if relu else 6)) for _ in range(depth + 1)]
            row.append((widths, relu, relu and bool(np.random.random() < 0.5)))
        found.append(row)
    return [network for pair in zip(*found, strict=True) for network in pair]


def published(folder: Path) -> tuple[Any, Any]:
    """The modules `lie` and `nn_vector_fields` of the published code, on a Sage that pip can install."""
    import sage.all__sagemath_symbolics as everything

    names = types.ModuleType("sage.all")
    names.__dict__.update({n: v for n, v in vars(everything).items() if not n.startswith("__")})
    names.__dict__.setdefault("product", math.prod)
    names.__dict__.setdefault("R", None)  # imported there, never used
    sys.modules["sage.all"] = names
    sys.path.insert(0, str(folder))
    lie = importlib.import_module("conservation_laws.lie")
    lie.vector = everything.vector  # the file was cut out of a notebook, where Sage's names are there
    return lie, importlib.import_module("conservation_laws.nn_vector_fields")


def known(widths: list[int], relu: bool) -> int:
    """Number of laws in the literature."""
    hidden = widths[1:-1]
    if relu:
        return sum(hidden)
    ranks = [min(n, a + b) for a, n, b in zip(widths, hidden, widths[2:], strict=False)]
    return sum(k * (2 * n + 1 - k) // 2 for k, n in zip(ranks, hidden, strict=True))


def timed(modules: tuple[Any, Any], widths: list[int], relu: bool, bias: bool, limit: int) -> dict[str, Any]:
    """Time and result for one network, in a process of its own that is killed after the limit."""
    read, write = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        lie, fields = modules
        if relu:
            d, vectors = fields.vector_fields_ReLU_q_layers(widths, bias=bias)
        else:
            d, vectors = fields.vector_fields_for_q_layer_LNN(widths)
        rank = lie.dim_trace_lie_algebra(vectors, n_known_functions=known(widths, relu))
        os.write(write, json.dumps(int(d - rank)).encode())
        os._exit(0)
    os.close(write)
    usage = None
    while usage is None and time.perf_counter() - start < limit:
        done, _, found = os.wait4(child, os.WNOHANG)
        usage = found if done else None
        time.sleep(0.005)
    seconds = time.perf_counter() - start
    if usage is None:
        cpu = _so_far(child)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    else:
        cpu = usage.ru_utime + usage.ru_stime
    text = os.read(read, 100)
    os.close(read)
    return {"seconds": min(seconds, limit), "cpu": cpu, "laws": json.loads(text) if text else None}


def _so_far(process: int) -> float:
    """CPU seconds of a process and of those children of it that have ended (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Times all networks that are not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("code", type=Path, help="a clone of the published repository")
    parser.add_argument("results", type=Path, help="the file to write")
    parser.add_argument("--limit", type=int, default=120, help="seconds for one network")
    options = parser.parse_args()
    rows = json.loads(options.results.read_text()) if options.results.exists() else []
    modules = published(options.code)
    todo = networks()
    for i, (widths, relu, bias) in enumerate(todo[len(rows) :], start=len(rows)):
        found = timed(modules, widths, relu, bias, options.limit)
        rows.append({"widths": widths, "relu": relu, "bias": bias, "limit": options.limit, **found})
        options.results.write_text(json.dumps(rows, indent=1) + "\n")
        print(f"{i + 1}/{len(todo)} {widths} {'ReLU' if relu else 'linear'}: {found}", flush=True)


if __name__ == "__main__":
    main()
