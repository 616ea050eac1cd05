"""Runs a paper piece by piece; a run that was killed goes on with the first piece that was not finished."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .paper import REFUTED, Claim, Paper, Part, Plain, Report, Results
from .published import compared
from .shelf import PaperError

FORMAT = "lawful paper 1"
DIGITS = 6  # that a number of the JSON has
PACKAGES = ("lawful", "torch", "numpy")
Progress = Callable[[str, int, int], None]


def run(paper: Paper, quick: bool, folder: Path, progress: Progress | None = None) -> Plain:
    """Runs a paper, or some parts of it.

    Args:
        paper: the paper.
        quick: the run of less than a minute.
        folder: where the finished pieces are kept until the run has ended.
        progress: called before each piece with its name, the number of pieces done, and of all.

    Returns:
        What the JSON says: settings, seeds, versions, the numbers beside the published ones, the claims, the pieces.

    Raises:
        PaperError: if the folder cannot be written.
    """
    units = [(part, name, unit) for part in paper.parts for name, unit in part.units(quick).items()]
    mark = _fingerprint(paper, quick)  # in the name too: a run of one part leaves the pieces of the whole alone
    diary = Diary(folder / f"{paper.name}-{mark[:8]}.pieces", mark)
    for done, (part, name, unit) in enumerate(units):
        key = f"{part.name}/{name}"
        if key in diary.found:
            continue
        if progress:
            progress(key, done, len(units))
        torch.manual_seed(part.seeds[0])
        diary.write(key, rounded(unit()))
    out = told(paper, "quick" if quick else "full", diary.found)
    diary.path.unlink()
    return out


def told(paper: Paper, kind: str, found: Results) -> Plain:
    """What the JSON of a run says: the criteria of today on the pieces of the run.

    Args:
        paper: the paper, or some parts of it.
        kind: `quick` or `full`.
        found: what the pieces gave, by `part/piece`.
    """
    parts = [_plain(part, pieces(part, found)) for part in paper.parts]
    numbers = {k: v for p in parts for k, v in p.pop("numbers").items()}
    return {
        "format": FORMAT,
        "paper": paper.name,
        "title": paper.title,
        "run": kind,
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "numbers": rounded(compared(paper.name, numbers, [p.name for p in paper.parts])),
        "parts": parts,
    }


def as_text(data: Plain) -> str:
    """JSON to read and to compare line by line: a list of numbers is one line."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    return (
        re.sub(r"\[\n\s*([^\[\]{}]*?)\n\s*\]", lambda m: "[" + " ".join(map(str.strip, m[1].splitlines())) + "]", text)
        + "\n"
    )


def pieces(part: Part, found: Results) -> dict[str, Any]:
    """What the units of one part gave, by their own names."""
    return {k.removeprefix(f"{part.name}/"): v for k, v in found.items() if k.startswith(f"{part.name}/")}


def rounded(value: Any) -> Any:
    """Plain data, numbers to six digits: a run repeated gives the same text; what is not finite is null."""
    if isinstance(value, dict):
        return {str(k): rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS - 1}e}") if math.isfinite(value) else None
    return value


class Diary:
    """The finished pieces of a run, one line each, in a file that is only ever added to.

    Args:
        path: the file; one that another version, or another kind of run, wrote is begun anew.
        fingerprint: of the run.

    Raises:
        PaperError: if the file cannot be written.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.found = path, dict[str, Any]()
        try:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
            whole = [line for line in lines if line.endswith("\n")]  # a kill may have cut the last one
            try:
                rows = [json.loads(line) for line in whole]
                if rows and rows[0] == fingerprint:
                    self.found = {str(k): v for k, v in rows[1:]}
            except (ValueError, TypeError):
                self.found = {}
            path.parent.mkdir(parents=True, exist_ok=True)
            start = [json.dumps(fingerprint), *(json.dumps([k, v]) for k, v in self.found.items())]
            path.write_text("".join(f"{line}\n" for line in start), encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PaperError(f"{path} cannot be written ({error}); choose a folder with --output") from error

    def write(self, key: str, value: Any) -> None:
        """Adds a piece; it is on the disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, value], allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.found[key] = value


def _plain(part: Part, results: Results) -> Plain:
    report: Report = part.report(results)
    return {
        "name": part.name,
        "title": part.title,
        "setting": part.setting,
        "seeds": list(part.seeds),
        "claims": [_judged(c) for c in report.claims],
        "numbers": report.numbers,
        "results": dict(results),
    }


def _judged(claim: Claim) -> Plain:
    """A refuted claim has a counterexample, the measured numbers where there is no smaller one; no other has any."""
    out: Plain = {k: v for k, v in vars(claim).items() if k != "counterexample"}
    return out | {"counterexample": claim.counterexample or claim.evidence} if claim.verdict == REFUTED else out


def _fingerprint(paper: Paper, quick: bool) -> str:
    told = [paper.name, quick, *(p.name for p in paper.parts), *(version(p) for p in PACKAGES), *_sources(paper)]
    return hashlib.sha256("\n".join(map(str, told)).encode()).hexdigest()


def _sources(paper: Paper) -> list[str]:
    """The text of the files that a run reads its settings from: an edit between a kill and the next run counts."""
    home = Path(__file__).parent
    own = sorted((home / paper.name).glob("*.py")) or [home / f"{paper.name}.py"]
    return [path.read_text(encoding="utf-8") for path in (*own, home / "counting.py", home / "data.py")]
