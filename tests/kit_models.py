"""Published models under the kit, by a rule that was fixed before any was run: `python tests/kit_models.py` runs them.

Of the published models the first of every family in the order of docs/atlas.csv that has fewer than `SMALL` parameters,
as many of each source as `OF_SOURCE` says; whether the atlas could read it does not matter.  Results are appended to
docs/gradients.csv one by one, smallest first; a model that stands there is not run again.
"""

from __future__ import annotations

import csv
import sys
import warnings
from pathlib import Path

import torch

from lawful.atlas.models import build
from lawful.testing.examine import examine
from lawful.testing.findings import Findings

DOCS = Path(__file__).parent.parent / "docs"
RESULTS = DOCS / "gradients.csv"
COLUMNS = ("name", "parameters", "verdict", "tensors", "reference", "laws", "unread", "scalar laws")
SMALL = 6_000_000
OF_SOURCE = {"torchvision": 7, "timm": 42, "hf": 71}


def chosen() -> dict[str, int]:
    """The models, by the rule above, and how many parameters each has."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    with (DOCS / "atlas.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            source = row["name"].partition(":")[0]
            if source in OF_SOURCE and row["parameters"] and 0 < int(row["parameters"]) < SMALL:
                found.setdefault((source, row["family"]), (row["name"], int(row["parameters"])))
    return dict(pair for s, most in OF_SOURCE.items() for pair in [v for (t, _), v in found.items() if t == s][:most])


def outcome(name: str) -> Findings:
    """What the kit says of a model; parameters that this call of it does not read are excepted, as a user would do."""
    built = build(name, full=False)
    found = examine(built.module, built.args, built.kwargs, samples=1)
    found.allowed = tuple(p.name for p in found.untested if "kernel of torch" in p.untested)
    return found


def row(name: str, size: int) -> dict[str, object]:
    """One line of the results."""
    try:
        found = outcome(name)
    except Exception as error:
        return {"name": name, "parameters": size, "verdict": f"{type(error).__name__}: {error}"[:200]}
    counts = (len(found.parameters), len(found.vouched("reference")), len(found.vouched("laws")), len(found.allowed))
    scalars = sum(r.tested for r in found.laws)
    return dict(zip(COLUMNS, (name, size, str(found.verdict), *counts, scalars), strict=True))


def main(path: Path) -> None:
    """Runs what is not in a file yet, and appends it."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    known = set()
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            known = {r["name"] for r in csv.DictReader(file)}
    for name, size in sorted(chosen().items(), key=lambda pair: pair[1]):
        if name in known:
            continue
        line = row(name, size)
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if not file.tell():
                writer.writeheader()
            writer.writerow(line)
        print(*line.values(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)
