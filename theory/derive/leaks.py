"""Where a law that holds up to an epsilon leaks: read off the gauge at every normalisation that has one."""

from __future__ import annotations

from fractions import Fraction

from ..gauge.contract import Site
from ..gauge.diagram import Diagram
from ..gauge.families import Family
from ..gauge.rules import BatchNormRule, NormRule, ReorderRule
from ..gauge.solution import Solution
from ..laws.leak import Leak


def leaks_of(diagram: Diagram, solution: Solution, family: Family) -> tuple[Leak, ...] | None:
    """The norms that a gauge scales, None where that is not all that an epsilon sees of it.

    Args:
        diagram: the network as it runs.
        solution: its gauges, with every epsilon read as 0.
        family: the gauge.
    """
    drawn = {s.name: s for s in solution.drawn.sites}
    ordered = any(isinstance(s.rule, ReorderRule) for s in diagram.sites)
    out: list[Leak] = []
    for site in diagram.sites:
        if not site.rule.epsilon:
            continue
        now = drawn.get(site.name)
        if now is None or now.rule != site.rule or not isinstance(now.rule, (NormRule, BatchNormRule)):
            return None  # a division that nobody sees was not drawn: others see its epsilon, token by token
        found = _at(solution, family, now)
        if found is None or (ordered and any(not k.whole for k in found)):
            return None
        if found and solution.diagram.wires[now.inputs[0]].size != diagram.wires[site.inputs[0]].size:
            return None
        out += found
    return tuple(out)


def _at(solution: Solution, family: Family, site: Site) -> list[Leak] | None:
    """What a gauge does at one norm."""
    w = site.inputs[0]
    algebra = solution.layouts.algebras[w]
    if family.mixed:
        return _mixed(solution, family, site)
    out = []
    for ((wire, box), a), axes in zip(family.support, family.axes, strict=True):
        if wire != w:
            continue
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


def _mixed(solution: Solution, family: Family, site: Site) -> list[Leak] | None:
    """The same of one scalar made of `c I + j (11^T - I)`, which is `c - j` on what a norm that centres keeps."""
    w = site.inputs[0]
    algebra = solution.layouts.algebras[w]
    of_box = dict.fromkeys(range(len(algebra.boxes)), Fraction(0))
    for ((wire, box), label), a in family.support:
        if wire != w:
            continue
        if label.count("j") > 1 or (len(label) > 1 and "j" in label):
            return None
        of_box[box] += -Fraction(a) if "j" in label else Fraction(a)
    if len(set(of_box.values())) > 1:
        return None
    a = of_box[0]
    return [Leak(site.name, a, algebra.size, (0, algebra.size), (algebra.size,), (-1,))] if a else []
