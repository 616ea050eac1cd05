"""Second pass: directions a wire may move in unseen, and directions it never has."""

from __future__ import annotations

from collections.abc import Sequence

from .algebra import Algebra
from .diagram import Site
from .layouts import Layouts
from .linalg import Number
from .rules import Blind
from .subspace import Subspace, Vector, VectorKey, ones, vector_keys


class Directions:
    """For every wire what is unseen by all its readers, and what its writer never produces."""

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        diagram = layouts.diagram
        self._seen: list[Blind | None] = [None] * len(diagram.wires)
        self._ports: dict[tuple[str, int], Blind] = {}
        self._absent = [Subspace()] * len(diagram.wires)
        self._fixed: dict[int, list[tuple[Vector, Number]]] = {}
        for site in diagram.sites:
            for w, absent in zip(site.outputs, site.rule.silent(self, site), strict=True):
                self._absent[w] = absent
            for w, fixed in zip(site.outputs, site.rule.fixed(self, site), strict=True):
                if fixed:
                    self._fixed[w] = list(fixed)
        for site in reversed(diagram.sites):
            seen = site.rule.blind(self, site)
            if site.outputs and all(self.moving(y).covers(self.layout(y)) for y in site.outputs):
                whole = [Subspace.everything(self.layout(w)) for w in site.inputs]  # nothing sees what it writes
                seen = [Blind(every, every, every) for every in whole]
            for port, (w, blind) in enumerate(zip(site.inputs, seen, strict=True)):
                self._ports[site.name, port] = blind
                known = self._seen[w]
                self._seen[w] = blind if known is None else known.meet(blind)

    def layout(self, w: int) -> Algebra:
        """How a wire is cut."""
        return self._layouts.algebras[w]

    def moving(self, w: int) -> Subspace:
        """Data-dependent shifts of a wire that no reader sees."""
        blind = self._seen[w]
        return blind.moving if blind else Subspace()

    def still(self, w: int) -> Subspace:
        """Constant shifts of a wire that no reader sees."""
        blind = self._seen[w]
        return blind.still if blind else Subspace()

    def shared(self, w: int) -> Subspace:
        """Shifts that all positions of an example share and that no reader sees."""
        blind = self._seen[w]
        return blind.shared if blind else Subspace()

    def writer(self, w: int) -> Site | None:
        """The block that writes a wire."""
        return self._layouts.diagram.writer.get(w)

    def unseen(self, site: Site, port: int) -> Subspace:
        """Data-dependent shifts of an input that its reader does not see."""
        return self._ports[site.name, port].moving

    def positions(self, w: int) -> int:
        """Number of positions of a wire."""
        return self._layouts.diagram.wires[w].positions

    def absent(self, w: int) -> Subspace:
        """Directions orthogonal to everything the wire carries."""
        return self._absent[w]

    def fixed(self, w: int) -> list[tuple[Vector, Number]]:
        """Vectors whose product with everything that the wire carries is one number, and that number (not 0)."""
        return self._fixed.get(w, [])

    def ones(self, w: int) -> Subspace:
        """The line of the all-ones vector."""
        return Subspace((ones(self.layout(w)),))

    def keys(self, w: int) -> list[VectorKey]:
        """The sectors of a wire's vectors."""
        return vector_keys(self.layout(w))

    def offsets(self, parts: Sequence[int]) -> list[tuple[int, int]]:
        """The parts of a concatenation with the index of their first box."""
        return box_offsets(self._layouts, parts)


def box_offsets(layouts: Layouts, parts: Sequence[int]) -> list[tuple[int, int]]:
    """The parts of a concatenation with the index of their first box."""
    out, at = [], 0
    for p in parts:
        out.append((p, at))
        at += len(layouts.algebras[p].boxes)
    return out
