"""Where a law that holds up to an epsilon leaks: read off the gauge at every normalisation that has one."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ..gauge.contract import Site
from ..gauge.diagram import Diagram
from ..gauge.families import Family
from ..gauge.rules import BatchNormRule, NormRule, ReorderRule
from ..gauge.solution import Solution
from ..laws.leak import Leak


class Leaks:
    """The norms with an epsilon of a network, by what they read: every law asks for those on its own wires.

    Args:
        diagram: the network as it runs.
        solution: its gauges, with every epsilon read as 0.
    """

    def __init__(self, diagram: Diagram, solution: Solution) -> None:
        self._solution = solution
        self._ordered = any(isinstance(s.rule, ReorderRule) for s in diagram.sites)
        self._norms: dict[int, list[tuple[Site, bool]]] = {}  # by wire, and whether it is as wide as it runs
        self._unseen = False  # whether a division that nobody sees was not drawn: others see its epsilon
        drawn = {s.name: s for s in solution.drawn.sites}
        for site in diagram.sites:
            if not site.rule.approximate:
                continue
            now = drawn.get(site.name)
            if now is None or now.rule != site.rule or not isinstance(now.rule, (NormRule, BatchNormRule)):
                self._unseen = True
                return
            w = now.inputs[0]
            alike = solution.drawn.wires[w].size == diagram.wires[site.inputs[0]].size
            self._norms.setdefault(w, []).append((now, alike))

    def of(self, family: Family) -> tuple[Leak, ...] | None:
        """The norms that a gauge scales, None where that is not all that an epsilon sees of it."""
        if self._unseen:
            return None
        ends: dict[int, list[int]] = {}  # the places of its support, by wire
        for i, (end, _) in enumerate(family.support):
            ends.setdefault(_wire(end), []).append(i)
        out: list[Leak] = []
        for w, places in ends.items():
            for site, alike in self._norms.get(w, ()):
                found = _at(self._solution, family, places, site)
                if found is None or (self._ordered and any(not k.whole for k in found)) or (found and not alike):
                    return None
                out += found
        return tuple(out)


def _wire(end: tuple[Any, Any]) -> int:
    """The wire of an end of a gauge: of a box, or of a sector of one."""
    first = end[0]
    return first[0] if isinstance(first, tuple) else first


def _at(solution: Solution, family: Family, places: Sequence[int], site: Site) -> list[Leak] | None:
    """What a gauge does at one norm, whose wire stands at these places of its support."""
    algebra = solution.layouts.algebras[site.inputs[0]]
    if family.mixed:
        return _mixed(solution, family, places, site)
    out = []
    for ((_, box), a), axes in ((family.support[i], family.axes[i]) for i in places):
        start = sum(b.size for b in algebra.boxes[:box])
        dims = algebra.boxes[box].dims
        shown = [family.kinds[k] for k in axes if k >= 0]
        # every axis of the law has to be one of the norm's, or the norm sees a sum of what the law tells apart
        if set(shown) - {"free", "traceless"} or len(shown) != sum(k != "sum" for k in family.kinds):
            return None
        numbers = [k for k, kind in enumerate(family.kinds) if kind != "sum"]
        of_law = tuple(numbers.index(k) if k >= 0 else -1 for k in axes)
        out.append(Leak(site.name, Fraction(a), algebra.size, (start, start + algebra.boxes[box].size), dims, of_law))
    return out


def _mixed(solution: Solution, family: Family, places: Sequence[int], site: Site) -> list[Leak] | None:
    """The same of one scalar made of `c I + j (11^T - I)`, which is `c - j` on what a norm that centres keeps."""
    algebra = solution.layouts.algebras[site.inputs[0]]
    of_box = dict.fromkeys(range(len(algebra.boxes)), Fraction(0))
    for ((_, box), label), a in (family.support[i] for i in places):
        if label.count("j") > 1 or (len(label) > 1 and "j" in label):
            return None
        of_box[box] += -Fraction(a) if "j" in label else Fraction(a)
    if len(set(of_box.values())) > 1:
        return None
    a = of_box[0]
    return [Leak(site.name, a, algebra.size, (0, algebra.size), (algebra.size,), (-1,))] if a else []
