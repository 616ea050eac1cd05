"""Pictures of a network with its laws: what `Architecture.draw` and `lawful draw` make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lawful.blocks import ShapeError
from lawful.graph.architecture.architecture import Architecture
from lawful.theory.laws.law import Law
from lawful.theory.typed import typed


@typed(ShapeError)
def paint(arch: Architecture, path: str | Path | None = None, laws: Sequence[Law] | None = None) -> Path | str:
    """Draws an architecture (see `Architecture.draw`)."""
    from lawful.graph.drawing.draw import save
    from lawful.graph.questions.derive import derive

    return save(arch, path, derive(arch) if laws is None else laws)
