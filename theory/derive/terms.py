"""From families of solutions to terms: how a law reads the parameters next to its wires."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from ..gauge.contract import View
from ..gauge.families import Family
from ..gauge.rules import LinearRule
from ..gauge.solution import Solution
from ..gauge.sums import Pair
from ..gauge.unknowns import Cell
from ..laws.statement import Part, Term


def _parts(solution: Solution, w: int, box: int, axes: tuple[int, ...]) -> Iterator[tuple[int, Part]]:
    """How every parameter next to a wire reads one of its boxes, with its sign."""
    algebra = solution.layouts.algebras[w]
    start = sum(b.size for b in algebra.boxes[:box])
    stop = start + algebra.boxes[box].size
    for name, use, axis, sign in solution.next_to(w):
        dims = algebra.boxes[box].dims
        yield sign, Part(name, use.views[axis], (algebra.size,), ((start, stop),), dims, axes, use.offset)


def balance_terms(solution: Solution, family: Family) -> tuple[Term, ...]:
    """How a quadratic law reads the parameters on the wires of its gauge."""
    if family.mixed:
        return _mixed_terms(solution, family)
    terms: dict[Part, Fraction] = {}
    for ((w, b), a), axes in zip(family.support, family.axes, strict=True):
        for sign, part in _parts(solution, w, b, axes):
            terms[part] = terms.get(part, Fraction(0)) + Fraction(a) * sign
    return tuple(Term(c, p) for p, c in _cancel(terms).items() if c)


def _cancel(terms: dict[Part, Fraction]) -> dict[Part, Fraction]:
    """Two readings that both add up all squares of one parameter are the same reading."""
    out: dict[Part, Fraction] = {}
    whole: dict[str, Part] = {}
    for part, c in terms.items():
        total = all(a < 0 for a in part.axes) and part.slices == ((0, part.sizes[0]),)
        target = whole.setdefault(part.parameter, part) if total else part
        out[target] = out.get(target, Fraction(0)) + c
    return out


def _mixed_terms(solution: Solution, family: Family) -> tuple[Term, ...]:
    """The same of a scalar that is made of several sectors."""
    terms = []
    for entity, a in family.support:
        (w, b), label = entity
        for sign, part in _parts(solution, w, b, tuple(0 if kind == "j" else -1 for kind in label)):
            terms.append(Term(Fraction(a) * sign, part, off_diagonal="j" in label))
    plain: dict[Part, Fraction] = {}
    for t in terms:
        if not t.off_diagonal:
            plain[t.part] = plain.get(t.part, Fraction(0)) + t.coefficient
    diagonal = tuple(Term(c, p) for p, c in _cancel(plain).items() if c)
    return diagonal + tuple(t for t in terms if t.off_diagonal)


def field_part(solution: Solution, name: str, boxes: tuple, axes: tuple[int, ...]) -> Part:
    """How a linear law reads a run of a parameter."""
    shape = solution.diagram.parameters[name].shape
    use = solution.first_use(name)
    wires = [axis[0][0] for axis in (use.axes[:1] if use.constant else use.axes)]
    dims: tuple[int, ...] = ()
    sizes, slices = [], []
    if len(boxes) > len(wires):
        runs = solution.layouts.tokens[wires[0]]
        start = sum(runs[: boxes[0]])
        sizes.append(sum(runs))
        slices.append((start, start + runs[boxes[0]]))
        dims += (runs[boxes[0]],)
        boxes = boxes[1:]
    for w, box in zip(wires[: len(boxes)], boxes, strict=True):
        algebra = solution.layouts.algebras[w]
        start = sum(b.size for b in algebra.boxes[:box])
        sizes.append(algebra.size)
        slices.append((start, start + algebra.boxes[box].size))
        dims += algebra.boxes[box].dims
    return Part(name, View(shape, tuple(range(len(shape)))), tuple(sizes), tuple(slices), dims, axes)


def entity_of(solution: Solution, name: str, cell: Cell) -> tuple[tuple, str]:
    """A sector of a parameter as a run of it and one label per axis."""
    return (name, tuple(k[0] for k in cell)), "".join(k[1] for k in cell)


def run_of(part: Part) -> str:
    """The run of a parameter that a linear law is about, in brackets; empty for the whole of it."""
    runs = list(zip(part.sizes, part.slices, strict=True))
    while runs and runs[-1][1] == (0, runs[-1][0]):
        runs.pop()
    cut = ",".join("" if run == (0, size) else f"{run[0]}:{run[1]}" for size, run in runs)
    return f"[{cut}]" if cut else ""


def cross_terms(pair: Pair, sizes: list[int]) -> tuple[Term, ...]:
    """How the law of two hidden wires together reads the maps on both sides of them."""
    terms = []
    for axis, sites, sign in ((0, pair.producers, 1), (1, pair.consumers, -pair.sign)):
        first, second = (s.rule for s in sites)
        assert isinstance(first, LinearRule) and isinstance(second, LinearRule)
        terms.append(_cross(first, second, sign, axis))
        if not axis and first.bias:
            terms.append(_cross_bias(first, second, sizes))
    return tuple(terms)


def _cross(first: LinearRule, second: LinearRule, sign: int, axis: int) -> Term:
    parts = []
    for rule in (first, second):
        view = View.axis(rule.shape_, axis if not rule.transposed else 1 - axis)
        n = rule.shape_[view.order[0]]
        parts.append(Part(rule.weight, view, (n,), ((0, n),), (n,), (0,)))
    return Term(Fraction(sign), parts[0], parts[1])


def _cross_bias(first: LinearRule, second: LinearRule, sizes: list[int]) -> Term:
    parts = [
        Part(r.bias or "", View.axis((n,), 0), (n,), ((0, n),), (n,), (0,))
        for r, n in zip((first, second), sizes, strict=True)
    ]
    return Term(Fraction(1), parts[0], parts[1])
