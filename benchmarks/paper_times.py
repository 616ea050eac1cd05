"""How long the quick runs of all papers take: each under a minute, together under eight.

Seconds of the processor (its share of a busy machine does not count).  Exit code 1 if a goal is missed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch

from lawful.papers.running import run
from lawful.papers.shelf import PAPERS, paper

EACH, ALL = 60.0, 480.0


def main() -> int:
    """Prints a row for each paper."""
    torch.set_num_threads(1)
    took = {}
    for name in PAPERS:
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            run(paper(name), True, Path(folder))
            took[name] = time.process_time() - start
            print(f"{name:15} {took[name]:6.1f} s", flush=True)
    print(f"{'together':15} {sum(took.values()):6.1f} s")
    missed = [name for name, s in took.items() if s > EACH]
    if missed or sum(took.values()) > ALL:
        print(f"The goals are {EACH:g} s each and {ALL:g} s together; missed: {', '.join(missed) or 'the sum'}.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
