"""Which papers there are."""

from __future__ import annotations

import importlib
from dataclasses import replace

from .paper import Paper

PAPERS = {
    "marcotte2023": "Abide by the law and follow the flow",
    "marcotte2024": "Keep the momentum",
    "marcotte2025": "Transformative or conservative?",
    "kunin2021": "Neural mechanics",
    "tran2026": "Conservation laws for modern neural architectures",
    "wen2023": "Sharpness minimization algorithms do not only minimize sharpness",
    "curth2023": "A U-turn on double descent",
    "zhao2023": "Symmetries, flat minima, and the conserved quantities of gradient flow",
    "ziyin2024": "Parameter symmetry and noise equilibrium of SGD",
    "streams": "The laws of whole residual streams",
}


class PaperError(ValueError):
    """No such paper, or one that cannot be run here."""


def paper(name: str) -> Paper:
    """A paper by its name, or one part of it as `PAPER/PART`.

    Raises:
        PaperError: for a name that there is not.
    """
    key, _, part = name.partition("/")
    if key not in PAPERS:
        raise PaperError(f"there is no paper {key!r} to run again; there are {', '.join(PAPERS)}")
    found: Paper = importlib.import_module(f"lawful.papers.{key}").PAPER
    if not part and "/" not in name:
        return found
    chosen = tuple(p for p in found.parts if p.name == part)
    if not chosen:
        raise PaperError(f"{key} has no part {part!r}; it has {', '.join(p.name for p in found.parts)}")
    return replace(found, parts=chosen)
