"""Exact counting: the 100 networks of marcotte2023, growth with D, and what others need for the same.

    python benchmarks/exact_counting.py                        the goals, about a minute
    python benchmarks/exact_counting.py --sagemath FILE        also compares with what `others/sagemath.py` measured
    python benchmarks/exact_counting.py --write docs/exact.md  puts the tables there

Goals: all 100 networks with certificates in 10 s, the degree-2 laws of 20 networks in 5 s; D = 2,000 in 2 minutes and
4 GB; growth at most D^3; 1,000 times faster than the published code.  Exit code 1 if one of them is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from others.sagemath import known, networks

import lawful as lw
from lawful import blocks as b

CERTIFIED, SEARCHED, LARGEST, GIGABYTES, GROWTH, FASTER = 10.0, 5.0, 120.0, 4.0, 3.0, 1000.0
WIDTHS = (5, 7, 10, 14, 20)  # of networks of five layers: D = 5 w^2
SYMPY_LIMIT, SYMPY_NETWORKS = 20, 20  # seconds for one network; the first networks, that is
PUBLISHED, SEARCH_PUBLISHED = 34 * 60 + 23 + 3600 + 53 * 60 + 11, 91 + 44  # seconds on 64 cores, as published
MARKS = ("<!-- benchmark -->", "<!-- end of benchmark -->")


def network(widths: list[int], relu: bool, bias: bool) -> lw.Architecture:
    """A chain of linear maps, with ReLU between them or not."""
    parts: dict[str, b.Block] = {}
    for i, (n, m) in enumerate(pairwise(widths)):
        parts[f"fc{i}"] = b.Linear(n, m, bias)
        if relu and i < len(widths) - 2:
            parts[f"act{i}"] = b.ReLU()
    return lw.Architecture(b.chain(**parts), input=b.Signal(widths[0]))


def hundred() -> list[dict[str, float]]:
    """CPU seconds to derive and count each of the 100 networks, seconds to certify it, and to check that."""
    lw.certificate(network([2, 2, 2], True, True)).check()
    rows = []
    for widths, relu, bias in networks():
        expected, arch = known(widths, relu), network(widths, relu, bias)
        start = time.process_time()
        counted = lw.count(arch, exact=True, known=lw.derive(arch).independent)
        cpu, begun = time.process_time() - start, time.perf_counter()
        found = lw.certificate(arch)
        made = time.perf_counter()
        proved = found.check()
        if not proved.at_least == proved.at_most == counted.laws == expected:
            sys.exit(f"{widths}: {proved.at_least} to {proved.at_most} laws, and {expected} are published")
        rows.append({"seconds": made - begun, "cpu": cpu, "check": time.perf_counter() - made})
    return rows


def searched() -> float:
    """Seconds for all laws of degree 2 of the 10 + 10 networks of the paper."""
    start = time.perf_counter()
    for relu in (False, True):
        np.random.seed(0)
        for _ in range(10):
            depth = np.random.randint(2, 4)
            widths = [int(np.random.randint(2, 5)) for _ in range(depth + 1)]
            found = lw.search_laws(network(widths, relu, False), degree=2)
            if found.count != known(widths, relu):
                sys.exit(f"{widths}: {found.count} laws of degree 2, and {known(widths, relu)} are published")
    return time.perf_counter() - start


def grown(width: int, relu: bool) -> dict[str, float]:
    """Seconds and gigabytes for one large network, in a fresh interpreter."""
    command = [sys.executable, __file__, "--measure", json.dumps([width, relu])]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def measure(width: int, relu: bool) -> dict[str, float]:
    """Counts one large network in this process."""
    arch = network([width] * 6, relu, False)
    lw.certificate(network([2, 2], False, False))
    start = time.perf_counter()
    found = lw.certificate(arch)
    seconds = time.perf_counter() - start
    if found.at_least != found.at_most:
        sys.exit(f"width {width}: {found.at_least} to {found.at_most} laws")
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return {"seconds": seconds, "gigabytes": kilobytes / 2**20, "laws": found.at_most}


def in_sympy(widths: list[int], relu: bool, bias: bool) -> float | None:
    """Seconds that plain sympy needs, None beyond the limit."""
    kind = "linear" if not relu else "bias" if bias else "relu"
    script = str(Path(__file__).parent / "others" / "plain_sympy.py")
    command = [sys.executable, script, json.dumps(widths), kind, str(known(widths, relu))]
    start = time.perf_counter()
    try:
        text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=SYMPY_LIMIT).stdout
    except subprocess.TimeoutExpired:
        return None
    if int(text) != known(widths, relu):
        sys.exit(f"{widths}: sympy finds {text.strip()} laws")
    return time.perf_counter() - start


def main() -> int:
    """Prints the tables; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sagemath", type=Path, help="what sagemath.py wrote")
    parser.add_argument("--write", type=Path, help="a page with a marked place for the tables")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.measure:
        print(json.dumps(measure(*json.loads(options.measure))))
        return 0
    rows = hundred()
    total, check = sum(r["seconds"] for r in rows), sum(r["check"] for r in rows)
    search = searched()
    missed = [total > CERTIFIED and "certificates", search > SEARCHED and "search"]
    lines = [
        "| what | seconds | factor |",
        "|---|---|---|",
        f"| 100 networks of marcotte2023 counted exactly, with certificates | {total:.1f} | 1 |",
        f"| checking the 100 certificates | {check:.1f} | {check / total:.1f} |",
        f"| its SageMath code, as published (64 cores, floats) | {PUBLISHED:,} | {PUBLISHED / total:,.0f} |",
        f"| all laws of degree 2 of its 20 smaller networks | {search:.2f} | 1 |",
        f"| its SageMath code for these, as published | {SEARCH_PUBLISHED} | {SEARCH_PUBLISHED / search:,.0f} |",
    ]
    if options.sagemath:
        found = json.loads(options.sagemath.read_text())
        cpu, own = sum(r["cpu"] for r in found), sum(r["cpu"] for r in rows[: len(found)])
        done = sum(r["laws"] is not None for r in found)
        lines += [
            f"| {len(found)} of these networks: counting alone, CPU | {own:.2f} | 1 |",
            f"| the same with its SageMath code on the same machine, CPU; {done} of them ended, the others were "
            f"stopped after {min(r['limit'] for r in found)} s or more | over {cpu:,.0f} | over {cpu / own:,.0f} |",
        ]
        missed.append(cpu < FASTER * own and "a thousand times faster")
    plain, ours = [], []
    for (widths, relu, bias), row in list(zip(networks(), rows, strict=True))[:SYMPY_NETWORKS]:
        seconds = in_sympy(widths, relu, bias)
        if seconds is not None:
            plain.append(seconds)
            ours.append(row["seconds"])
    lines.append(
        f"| plain sympy: the {len(plain)} of the first {SYMPY_NETWORKS} that it finishes in {SYMPY_LIMIT} s | "
        f"{sum(plain):.0f} | {sum(plain) / sum(ours):.0f} |"
    )
    lines += ["", "| D | linear: laws | seconds | GB | ReLU: laws | seconds | GB |", "|---|---|---|---|---|---|---|"]
    times: list[tuple[int, float]] = []
    for width in WIDTHS:
        linear, relu = grown(width, False), grown(width, True)
        times.append((5 * width**2, linear["seconds"] + relu["seconds"]))
        cells = [f"{r['laws']} | {r['seconds']:.2f} | {r['gigabytes']:.2f}" for r in (linear, relu)]
        lines.append(f"| {5 * width**2:,} | {' | '.join(cells)} |")
        if width == WIDTHS[-1]:
            missed.append(max(linear["seconds"], relu["seconds"]) > LARGEST and "D = 2,000 in time")
            missed.append(max(linear["gigabytes"], relu["gigabytes"]) > GIGABYTES and "D = 2,000 in memory")
    (d0, t0), (d1, t1) = times[-2:]
    power = math.log(t1 / t0) / math.log(d1 / d0)
    lines += ["", f"Between the two largest the time grows as D^{power:.1f}."]
    missed.append(power > GROWTH and "growth")
    print("\n".join(lines))
    if options.write:
        page = options.write.read_text()
        before, after = page.split(MARKS[0])[0], page.split(MARKS[1])[1]
        options.write.write_text(before + "\n".join([MARKS[0], *lines, MARKS[1]]) + after)
    names = [name for name in missed if name]
    if names:
        print(f"missed: {', '.join(names)}")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
