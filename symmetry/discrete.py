"""Permutations and signs: finite groups that come from the diagram and give no law.

A wire whose readers and writers act alike on all features may have them in any order; where every map on it is odd (or
linear), every feature may change its sign.  Parameters, biases and running statistics on the wire answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial

import torch

from lawful.graph.architecture.architecture import Architecture
from lawful.theory.gauge.contract import Site, View
from lawful.theory.gauge.diagram import Diagram
from lawful.theory.gauge.rules import AttentionRule, BatchNormRule, FrozenNormRule, GainRule
from lawful.theory.laws.proof import Proof
from lawful.theory.laws.statement import Part

from .axes import Axis, Place
from .branches import Alike, alike
from .element import Element
from .moves import Move, Stack
from .running import Setting
from .symmetry import STATISTICS, Symmetry
from .wiring import Wiring

FINITE = "the group is finite, so that it has no generator"


def discrete(
    diagram: Diagram, known: Sequence[Symmetry], setting: Setting, arch: Architecture, training: bool
) -> tuple[list[Symmetry], list[str]]:
    """Permutations and signs that no continuous group contains, and notes on what is missing.

    Args:
        diagram: the network, as drawn.
        known: its continuous symmetries.
        setting: the network.
        arch: the network as an architecture.
        training: whether dropout draws.
    """
    statistics = Statistics(diagram, setting, arch)
    wiring = Wiring(diagram, statistics.held, training, arch)
    found: list[Symmetry] = []
    moving: set[Place] = set()
    matrices = [s for s in known if s.group in ("general linear", "orthogonal")]
    for signs in (False, True):
        for axis, places in _classes(wiring, signs):
            moving |= set() if signs else set(places)
            moves = tuple(_moves(wiring, places, statistics, signs))
            if not moves or any(_contains(s, moves, axis[1], signs) for s in matrices):
                continue
            found.append(_symmetry(wiring, axis, places, moves, signs, setting))
    for group in alike(wiring):
        one = _exchange(wiring, group, statistics, setting)
        if one is not None:
            found.append(one)
    noisy = training and any(s.rule.noisy for s in diagram.sites)
    stops = [f"{n} ({said})" for n, said in wiring.unread.items()]
    notes = (
        [f"orders of features are not followed through {'; '.join(stops)}: permutations may be missing"]
        if stops
        else []
    )
    notes += ["dropout draws, so that permutations hold on average only; put the module in eval()"] if noisy else []
    return found, notes + _still(wiring, moving)


def _still(wiring: Wiring, moving: set[Place]) -> list[str]:
    """A note on every attention whose heads have a fixed order, with the block that fixes it."""
    notes = []
    for site in wiring.diagram.sites:
        if not isinstance(site.rule, AttentionRule) or (site.rule.noisy and wiring.draws):
            continue
        fixed = [p for p in wiring.heads(site, site.rule) if p[1].count > 1 and p not in moving]
        if fixed:
            at = wiring.stopped.get(fixed[0], "")
            where = at if at not in ("", site.name) else "what it does to their scores"
            notes.append(f"no permutation of the heads of {site.name} is listed: it is not known to pass {where}")
    return notes


def _contains(symmetry: Symmetry, moves: Sequence[Move], axis: Axis, signs: bool) -> bool:
    """Whether a group of matrices (general linear, orthogonal) has these permutations or signs among its elements."""
    if not signs and symmetry.shape != (axis.count, axis.count):
        return False
    mine, theirs = (
        {(m.part.parameter, m.part.view.order, m.part.slices) for m in ms} for ms in (moves, symmetry.moves)
    )
    return mine <= theirs


def _classes(wiring: Wiring, signs: bool) -> Iterator[tuple[Place, list[Place]]]:
    """Every class of axes that move together, once."""
    tried: set[Place] = set()
    for start in wiring.starts():
        if start in tried or (start[1].count < 2 and not signs):
            continue
        if signs and (start[1].before, start[1].after) != (1, 1):
            continue
        places = wiring.follow([start], signs, tried)
        if places is not None:
            yield start, sorted(places, key=lambda p: (p[0], p[1].along, p[1].start))


def _moves(wiring: Wiring, places: Iterable[Place], statistics: Statistics, signs: bool) -> Iterator[Move]:
    seen: set[tuple[str, int, int]] = set()
    places = [p for p in places if p[1].along < 0 and p[1].only is None]
    moving = {w for w, _ in places}
    for w, axis in places:
        for name, use, i in wiring.on(w):
            grouped = use.groups > 1 and not use.constant and i == 1
            if grouped and axis.before % use.groups and not signs:
                continue  # whole groups: their axis has moved with the other side
            if signs and sum(v in moving for v, _ in use.axes[i]) % 2 == 0:
                continue  # a gain between two features that both change
            if (name, i, axis.start) not in seen:
                seen.add((name, i, axis.start))
                sign = max(s for v, s in use.axes[i] if v in moving)  # a gain is written, whatever is before it
                yield Move(_part(name, use.views[i], wiring.diagram.wires[w].size, axis, use.offset), Fraction(sign))
        for name in statistics.on(w):
            if not (signs and name.endswith("var")) and (name, -1, axis.start) not in seen:
                seen.add((name, -1, axis.start))  # a norm that is used twice has its numbers once
                size = wiring.diagram.wires[w].size
                yield Move(_part(name, View.axis((size,), 0), size, axis, Fraction(0)))


def _part(name: str, view: View, size: int, axis: Axis, offset: Fraction) -> Part:
    dims = (axis.before, axis.count, axis.after)
    return Part(name, view, (size,), ((axis.start, axis.stop),), dims, (-1, 0, -1), offset)


def _symmetry(
    wiring: Wiring, start: Place, places: list[Place], moves: tuple[Move, ...], signs: bool, setting: Setting
) -> Symmetry:
    w, axis = start
    what = "signs" if signs else "permutation"
    of = f" in each of {axis.before}" if axis.before > 1 else ""
    cut = "" if axis.after == axis.before == 1 else f" ({axis.count} blocks{of})"
    wire, whole = wiring.diagram.wires[w].name, axis.stop - axis.start == wiring.diagram.wires[w].size
    wire = wire if whole else f"{wire}[{axis.start}:{axis.stop}]"
    return Symmetry(
        f"{what} of {wire}{cut}",
        what,
        (axis.count,),
        moves,
        ("free",),
        what,
        _no_law,
        FINITE,
        partial(_prove, wiring, start, places, signs),
        partial(_make, axis.count, signs),
        None,
        setting,
    )


def _exchange(wiring: Wiring, group: Alike, statistics: Statistics, setting: Setting) -> Symmetry | None:
    """The permutation of branches that are alike, as wholes; None if running statistics of theirs cannot move."""
    if any(isinstance(s.rule, FrozenNormRule) and not wiring.held(s) for b in group.branches for s in b.sites):
        return None
    held = ([n for s in b.sites for w in s.outputs for n in statistics.on(w)] for b in group.branches)
    stacks = (*group.stacks, *zip(*held, strict=True))
    places = sorted(group.places, key=lambda p: (p[0], p[1].along, p[1].start))
    moves = tuple(_moves(wiring, places, statistics, False))
    if not stacks and not moves:
        return None
    return Symmetry(
        f"permutation of branches of {group.name}",
        "permutation",
        (len(group.branches),),
        moves,
        ("free",),
        "permutation",
        _no_law,
        FINITE,
        partial(_prove_alike, wiring, group),
        partial(_make, len(group.branches), False),
        None,
        setting,
        tuple(map(Stack, stacks)),
    )


def _no_law() -> None:
    """A finite group has no law."""


def _prove_alike(wiring: Wiring, group: Alike) -> Proof:
    steps = tuple(Proof(f"rule of {s.name}", s.rule.statement) for s in group.branches[0].sites)

    def check() -> bool:
        return group in list(alike(wiring))

    claim = f"the branches of {group.name} compute the same, each with parameters of its own, and are taken alike"
    return Proof("branches", claim, "symmetry/branches.py", (*steps, Proof("branches", "compared again", check=check)))


def _make(count: int, signs: bool, generator: torch.Generator) -> Element:
    if signs:
        value = 1 - 2 * torch.randint(2, (count,), generator=generator)
        value[0] = -1
        return Element("signs", value.double())
    order = torch.randperm(count, generator=generator)
    return Element("permutation", order.roll(1) if torch.equal(order, torch.arange(count)) else order)


def _prove(wiring: Wiring, start: Place, places: list[Place], signs: bool) -> Proof:
    wires = {w for w, _ in places}
    sites = [s for s in wiring.diagram.sites if wires & set(s.wires)]
    steps = tuple(Proof(f"rule of {s.name}", s.rule.statement) for s in sites)
    said = "changes the sign of every feature alike" if signs else "does the same to every feature"

    def check() -> bool:
        return wiring.follow([start], signs, set()) == set(places)

    claim = f"every block on {wiring.diagram.wires[start[0]].name} {said}, or its parameters undo it"
    return Proof("equivariance", claim, "symmetry/wiring.py", (*steps, Proof("classes", "followed again", check=check)))


class Statistics:
    """The running statistics of norms, by the wire that they belong to."""

    def __init__(self, diagram: Diagram, setting: Setting, arch: Architecture) -> None:
        self._found: dict[int, list[str]] = {}
        self._names: dict[str, list[str]] = {}
        network = setting.network
        buffers = dict(network.named_buffers()) if isinstance(network, torch.nn.Module) else {}
        state = dict(arch.trace.state) if arch.trace else {}
        if isinstance(network, Architecture):
            buffers = state
        for site in diagram.sites:
            if isinstance(site.rule, BatchNormRule | FrozenNormRule):
                homes = [site.name, *self._gains(diagram, site)]
                names = [n for home in homes for s in STATISTICS if (n := f"{home}.{s}") in buffers]
                if not names:
                    held = [state.get(f"{site.name}.{s}") for s in STATISTICS]
                    names = [
                        n for t in held if t is not None for n, b in buffers.items() if b.data_ptr() == t.data_ptr()
                    ]
                self._names[site.name] = names[:2]
                self._found.setdefault(site.outputs[0], []).extend(names[:2])

    @staticmethod
    def _gains(diagram: Diagram, site: Site) -> list[str]:
        """Where the module of a norm is, by its gain."""
        near = [s.rule for s, _ in diagram.readers[site.outputs[0]]]
        gains = [p for r in near if isinstance(r, GainRule) for p in (r.gain, r.bias) if p]
        return [p.rpartition(".")[0] for p in gains]

    def on(self, w: int) -> list[str]:
        """The statistics of what a norm writes on a wire."""
        return self._found.get(w, [])

    def held(self, site: Site) -> bool:
        """Whether the statistics of a norm can be moved."""
        return len(self._names.get(site.name, [])) == 2
