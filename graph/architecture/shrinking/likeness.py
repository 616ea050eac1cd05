"""Whether a small copy speaks for a network: widths in the same order, the same families of laws, the same limits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lawful.theory.derive.lawset import LawSet
from lawful.theory.derive.ranks import full_rank, vectors_on
from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.diagram import Diagram
from lawful.theory.gauge.families import gather, has_off_diagonal, is_matrix
from lawful.theory.gauge.rules import AddRule, LinearRule, NormRule, OffsetRule, SimilarityRule, UnitRowsRule
from lawful.theory.gauge.solution import Solution

from ..block_graph import BlockGraph
from ..compile import Port
from ..diagrams import diagram
from .widths import WidthClasses

FAR = 2  # a width this far above (below) the number of vectors is above (below) by any amount
NORMS = (NormRule, UnitRowsRule, SimilarityRule)
Key = tuple[str, Port, int]


@dataclass(frozen=True)
class Comparison:
    """A width against the number of vectors that the parameters put on it.

    Attributes:
        what: which vectors.
        wire: a wire of this width.
        size: the width.
        vectors: columns of what writes, rows of what reads, biases and gains.
        ports: all wires of this width.
        matters: whether a number of laws may depend on it: a law of matrices or of a scalar, or a norm, on these wires.
    """

    what: str
    wire: str
    size: int
    vectors: int
    ports: tuple[Port, ...]
    matters: bool = True

    @property
    def margin(self) -> int:
        """`size - vectors`, cut at `FAR` on either side."""
        return max(-FAR, min(FAR, self.size - self.vectors))

    def __str__(self) -> str:
        return f"{self.wire} has {self.size} features and {self.vectors} {self.what}"


def comparisons(arch: BlockGraph) -> dict[Key, Comparison]:
    """All comparisons of widths with numbers of vectors, by what they compare and a wire.

    A law of full matrices has as many independent scalars as the vectors on its wire allow; vectors that do not span a
    wire before a norm keep their span; a map that is narrower than what it reads loses directions, and a frozen one
    that is wider leaves some that it never writes.
    """
    solution = Solution(diagram(arch, "mse"), lax=True)
    families = list(_of_families(arch, solution))
    ports = list(arch.signals)
    special = {p for _, c in families if c.size == arch.signals[c.ports[0]].features for p in c.ports}
    for site in solution.drawn.sites:
        if isinstance(site.rule, NORMS) and not (isinstance(site.rule, NormRule) and site.rule.groups > 1):
            special |= {ports[w] for w in (*site.inputs, *site.outputs) if w < len(ports)}
    fixed = (
        (ports[w], s.rule.rows)
        for s in solution.drawn.sites
        for w in s.inputs
        if isinstance(s.rule, OffsetRule) and w < len(ports)
    )
    rows = [(0, Comparison("rows of fixed numbers", p[0], arch.signals[p].features, n, (p,))) for p, n in fixed]
    found = [*_of_classes(arch, special), *families, *rows, *_of_frozen(arch, solution)]
    return {(c.what, port, i): c for i, c in found for port in c.ports}


def _of_classes(arch: BlockGraph, special: set[Port]) -> Iterator[tuple[int, Comparison]]:
    """One for all wires that must be equally wide."""
    classes = WidthClasses(arch)
    ports = list(arch.signals)
    members: dict[Port, list[Port]] = {}
    for port in ports:
        members.setdefault(classes.find(port), []).append(port)
    vectors: dict[Port, dict[tuple[str, int], int]] = {}
    drawn = diagram(arch, "mse")
    for site in drawn.sites:
        for use in site.rule.uses(site):
            for axis, terms in enumerate(use.axes):
                w = terms[0][0]
                if w < len(ports):  # a wire between blocks
                    per_index = drawn.parameters[use.parameter].size // drawn.wires[w].size
                    vectors.setdefault(classes.find(ports[w]), {})[use.parameter, axis] = per_index
    for root, found in vectors.items():
        size, wires = arch.signals[root].features, tuple(members[root])
        what = "vectors on all wires of this width"
        yield 0, Comparison(what, root[0], size, sum(found.values()), wires, bool(special & set(wires)))


def _of_frozen(arch: BlockGraph, solution: Solution) -> Iterator[tuple[int, Comparison]]:
    """Four for every frozen map: what it writes against what it reads, alone and with the maps that are added to it.

    On either side it is held against all frozen maps there, beside which some directions may be left.
    """
    ports, drawn = list(arch.signals), solution.drawn
    frozen = {n for n, p in solution.diagram.parameters.items() if p.frozen}
    for site in drawn.sites:
        x, *_ = site.inputs or (len(ports),)
        if not isinstance(site.rule, LinearRule) or site.rule.weight not in frozen or x >= len(ports):
            continue
        y = site.outputs[0]
        if y >= len(ports):
            continue
        added = _before(drawn, y)
        read = sum(drawn.wires[s.inputs[0]].size for s in added)
        yield 0, _compared(arch, y, drawn.wires[x].size, "features that its frozen map reads")
        yield 0, _compared(arch, y, read, "features that all maps there read")
        for w in (x, y):
            ends = [s.inputs[0] for s in _before(drawn, w) if _weight(s) in frozen]
            ends += [s.outputs[0] for s in _behind(drawn, w) if _weight(s) in frozen]
            found = sum(drawn.wires[v].size for v in ends)
            yield 0, _compared(arch, w, found, "features of all frozen maps on it")


def _weight(site: Site) -> str:
    return site.rule.weight if isinstance(site.rule, LinearRule) else ""


def _compared(arch: BlockGraph, w: int, found: int, what: str) -> Comparison:
    port = list(arch.signals)[w]
    return Comparison(what, port[0], arch.signals[port].features, found, (port,))


def _summed(drawn: Diagram, w: int) -> list[int]:
    """A wire with those that are added to it, and their sums."""
    sums = [s for s in (drawn.writer[w], *(r for r, _ in drawn.readers[w])) if isinstance(s.rule, AddRule)]
    return sorted({w, *(v for s in sums for v in (*s.inputs, *s.outputs))})


def _before(drawn: Diagram, w: int) -> list[Site]:
    """The maps that write a wire, or what is added to it."""
    return [s for v in _summed(drawn, w) if isinstance((s := drawn.writer[v]).rule, LinearRule)]


def _behind(drawn: Diagram, w: int) -> list[Site]:
    """The maps that read a wire, or the sum that it is a part of."""
    return [s for v in _summed(drawn, w) for s, _ in drawn.readers[v] if isinstance(s.rule, LinearRule)]


def _of_families(arch: BlockGraph, solution: Solution) -> Iterator[tuple[int, Comparison]]:
    """One for every family of laws that is indexed by more than single features."""
    ports = list(arch.signals)
    normed: dict[int, list[int]] = {}
    for site in solution.drawn.sites:
        if isinstance(site.rule, NORMS):
            normed.setdefault(site.inputs[0], []).extend(site.outputs)
    for family in gather(solution.gauges):
        if family.mixed:
            continue
        wires = list(dict.fromkeys(w for (w, _), _ in family.support))
        known = tuple(ports[w] for w in wires if w < len(ports))
        if not known:
            continue
        (w, box), _ = family.support[0]
        axis = next((i for i, k in enumerate(family.kinds) if is_matrix(k)), None)
        if axis is not None and has_off_diagonal(family):
            size = solution.layouts.algebras[w].boxes[box].dims[axis]
            yield box, Comparison("vectors of a matrix law", known[0][0], size, full_rank(solution, w, box), known)
        elif "sum" in family.kinds and set(family.kinds) <= {"sum", "free"}:
            dims = solution.layouts.algebras[w].boxes[box].dims
            parts = math.prod(n for n, k in zip(dims, family.kinds, strict=True) if k == "sum")
            size = parts if "free" in family.kinds else solution.layouts.size(w)
            found = sum(vectors_on(solution, v) for v in wires)
            yield box, Comparison("vectors of a scalar law", known[0][0], size, found, known)
            behind = [v for u in wires for v in normed.get(u, [])]
            if behind:
                found += sum(vectors_on(solution, v) for v in behind)
                yield box, Comparison("vectors before and behind a norm", known[0][0], size, found, known)


def differing(large: Mapping[Key, Comparison], small: Mapping[Key, Comparison]) -> list[tuple[Comparison, Comparison]]:
    """Comparisons that come out differently in a network and in its copy: those of the network and of the copy."""
    pairs = [(large[key], c) for key, c in small.items() if key in large]
    return list(dict.fromkeys((a, b) for a, b in pairs if a.margin != b.margin))


def doubts(arch: BlockGraph, small: BlockGraph, laws: LawSet, small_laws: LawSet) -> list[str]:
    """Why a copy may not speak for a network, one sentence each; empty if it does."""
    differ = differing(comparisons(arch), comparisons(small))
    out = [f"{a}, its copy {b.size} and {b.vectors}" for a, b in differ if a.matters]
    missing, added = _families(laws) - _families(small_laws), _families(small_laws) - _families(laws)
    for names, who in ((missing, "the network"), (added, "the copy")):
        if names:
            out.append(f"only {who} has the families {_listed(sorted(f'{n} ({a})' for n, a in names))}")
    if _plain(laws.gaps) != _plain(small_laws.gaps):
        out.append("the rules meet other limits in the network than in its copy")
    return out


def agreement(small: BlockGraph, laws: LawSet) -> str:
    """What a network and a copy without doubts have in common."""
    widths = sum(c.matters for c in set(comparisons(small).values()))
    same = f"{widths} comparisons of widths come out the same, " if widths else ""
    return (
        f"{same}the {len(_families(laws))} kinds of families of laws have "
        "the same names and algebras, and the rules meet the same limits"
    )


def _families(laws: LawSet) -> set[tuple[str, str]]:
    """Names and algebras of all families, without numbers: those of repeated blocks are the same."""
    return {(_numberless(law.name), _numberless(law.algebra)) for law in laws}


def _plain(notes: Sequence[str]) -> set[str]:
    return {_numberless(n) for n in notes}


def _numberless(text: str) -> str:
    return re.sub(r"(#?\d+)+", "*", text)


def _listed(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
