"""Branches that are alike and whose outputs are summed, weighed or joined: they may change places as wholes.

The experts of a mixture, the heads of attention that stand in a list, parallel towers: what a branch computes depends
on its own parameters alone, so that all parameters of two branches may be exchanged.  Where each branch reads a piece
of a wire of its own (its router's weight), or writes one (its part of a join), these pieces change places too, with
the parameters on that wire.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.diagram import Diagram
from lawful.theory.gauge.rules import AddRule, ConcatRule, MixtureRule
from lawful.theory.parts import base

from .axes import Axis, Place
from .wiring import Wiring


@dataclass(frozen=True)
class Branch:
    """What stands between wires that others read too and one input of a sum.

    Attributes:
        sites: its blocks, from the last to the first.
        entries: the wires that it reads, in the order in which the blocks ask for them.
        parameters: the names of its parameters in that order.
        form: what it computes, with numbers in place of names.
    """

    sites: tuple[Site, ...]
    entries: tuple[int, ...]
    parameters: tuple[str, ...]
    form: tuple[Any, ...]

    @property
    def wires(self) -> set[int]:
        """What its blocks write."""
        return {w for s in self.sites for w in (*s.outputs, *s.inner)}


@dataclass(frozen=True)
class Alike:
    """Branches that may change places.

    Attributes:
        name: of the block that takes their outputs.
        branches: in the order of the pieces that they read or write.
        places: axes of wires that change places with them.
    """

    name: str
    branches: tuple[Branch, ...]
    places: frozenset[Place]

    @property
    def stacks(self) -> Iterator[tuple[str, ...]]:
        """One parameter of every branch, for every parameter that they do not share."""
        for names in zip(*(b.parameters for b in self.branches), strict=True):
            if len(set(names)) > 1:
                yield names


def alike(wiring: Wiring) -> Iterator[Alike]:
    """All groups of branches that may change places."""
    for site in wiring.diagram.sites:
        groups: dict[tuple[Any, ...], list[tuple[int, Branch]]] = {}
        for port, w in _gathered(wiring.diagram, site):
            branch = _branch(wiring, w)
            if branch is None or (wiring.draws and any(s.rule.noisy for s in branch.sites)):
                continue
            key = (branch.form, tuple(_origin(wiring, e) for e in branch.entries))
            groups.setdefault(key, []).append((port, branch))
        for members in groups.values():
            found = _joined(wiring, site, members) if len(members) > 1 else None
            if found is not None:
                yield found


def _gathered(diagram: Diagram, site: Site) -> Iterator[tuple[int, int]]:
    """The ports and wires on which a block takes branches alike; sums of sums are one sum."""
    rule = site.rule
    if isinstance(rule, MixtureRule) and len(site.inputs) > 2:
        yield from enumerate(site.inputs[1:], 1)
    elif isinstance(rule, ConcatRule) and not rule.cut:
        yield from enumerate(site.inputs)
    elif isinstance(rule, AddRule) and not _summand(diagram, site.outputs[0]):
        yield from enumerate(_terms(diagram, site))


def _summand(diagram: Diagram, w: int) -> bool:
    """Whether a wire is one term of a larger sum and nothing else."""
    return len(diagram.readers[w]) == 1 and isinstance(diagram.readers[w][0][0].rule, AddRule)


def _terms(diagram: Diagram, site: Site) -> Iterator[int]:
    sizes = {diagram.wires[w].positions for w in (*site.inputs, *site.outputs)}
    for w in site.inputs:
        inner = diagram.writer.get(w)
        if inner is not None and isinstance(inner.rule, AddRule) and _summand(diagram, w) and len(sizes) == 1:
            yield from _terms(diagram, inner)
        else:
            yield w


def _branch(wiring: Wiring, end: int) -> Branch | None:
    """Everything that only one wire needs, in a form that does not depend on names."""
    diagram = wiring.diagram
    if len(diagram.readers[end]) != 1:
        return None
    mine: dict[str, Site] = {}
    order = diagram.place
    waiting = [(-order[s.name], s.name, s) for s in [diagram.writer.get(end)] if s is not None]
    seen = {s.name for *_, s in waiting}
    while waiting:
        site = heapq.heappop(waiting)[2]
        if not site.inputs and not site.parameters:
            continue  # an input of the network
        if wiring.sliced(site.outputs[0]) and len(site.outputs) == 1:
            continue  # one place of what holds one for every branch
        if not all(w == end or all(r.name in mine for r, _ in diagram.readers[w]) for w in site.outputs):
            continue
        if any(not diagram.readers[w] for w in site.outputs):
            continue
        mine[site.name] = site
        for w in site.inputs:
            before = diagram.writer.get(w)
            if before is not None and before.name not in seen:
                seen.add(before.name)
                heapq.heappush(waiting, (-order[before.name], before.name, before))
    return _written(diagram, end, mine) if mine else None


def _written(diagram: Diagram, end: int, mine: dict[str, Site]) -> Branch | None:
    """The branch, walked from its end."""
    numbers: dict[str, int] = {}
    entries: dict[int, int] = {}
    names: dict[str, int] = {}
    form: list[Any] = []
    waiting = [end]
    while waiting:
        w = waiting.pop()
        site = diagram.writer.get(w)
        if site is None or site.name not in mine or site.name in numbers:
            continue
        if site.function is None:
            return None  # nothing says that it computes what another one computes
        numbers[site.name] = len(numbers)
        own = dict.fromkeys((*site.parameters, *(u.parameter for u in site.rule.uses(site))))
        for n in own:
            names.setdefault(n, len(names))
        shapes = tuple(diagram.parameters[n].shape for n in own if n in diagram.parameters)
        for x in site.inputs:
            before = diagram.writer.get(x)
            if before is None or before.name not in mine:
                entries.setdefault(x, len(entries))
            waiting.append(x)
        form.append((site, tuple(own), shapes))
    if len(numbers) < len(mine):
        return None

    def port(w: int) -> tuple[Any, ...]:
        writer = diagram.writer.get(w)
        size = diagram.wires[w].size, diagram.wires[w].positions
        if w in entries and (writer is None or writer.name not in mine):
            return ("entry", entries[w], size)
        assert writer is not None
        return (numbers[writer.name], writer.outputs.index(w), size)

    said = tuple(
        (
            type(s.rule).__name__,
            _plain(s.rule, names),
            _plain(s.function, names),
            shapes,
            tuple(names[n] for n in own),
            tuple(map(port, s.inputs)),
        )
        for s, own, shapes in form
    )
    return Branch(tuple(s for s, *_ in form), tuple(entries), tuple(names), (port(end), *said))


def _plain(value: Any, names: dict[str, int]) -> Any:
    """A rule or what a block computes, with numbers in place of the names of parameters."""
    if isinstance(value, str):
        return ("parameter", names[value]) if value in names else value
    if isinstance(value, tuple | list):
        return tuple(_plain(v, names) for v in value)
    if is_dataclass(value) and not isinstance(value, type):
        return tuple((f.name, _plain(getattr(value, f.name), names)) for f in fields(value) if f.compare)
    return value


def _origin(wiring: Wiring, w: int) -> tuple[Any, ...]:
    """Where a branch reads: the wire, or what another wire is cut into pieces by for all branches."""
    if (found := wiring.sliced(w)) is not None:
        return ("place", *found[:2])
    writer = wiring.diagram.writer.get(w)
    if writer is not None and isinstance(writer.rule, ConcatRule) and writer.rule.cut:
        return ("piece", writer.name)
    return ("wire", w)


def _joined(wiring: Wiring, site: Site, members: Sequence[tuple[int, Branch]]) -> Alike | None:
    """The branches with the axes that move with them; None where these do not let them."""
    diagram = wiring.diagram
    ports, branches = zip(*members, strict=True)
    axes: list[tuple[int, tuple[int, ...], str]] = []  # the whole wire, the branches' pieces of it, the block between
    turned: list[tuple[int, tuple[int, ...], int]] = []  # the same for an axis of positions
    names: set[str] = set()
    for wires in zip(*(b.entries for b in branches), strict=True):
        if len(set(wires)) == 1:
            continue
        places = [p for w in wires if (p := wiring.sliced(w)) is not None]
        if len(places) == len(wires):
            turned.append((places[0][0], tuple(p[2] for p in places), places[0][1]))
            names |= {diagram.writer[w].name for w in wires}
            continue
        cut = diagram.writer[wires[0]]
        if len(set(wires)) < len(wires) or not isinstance(cut.rule, ConcatRule) or not cut.rule.cut:
            return None
        axes.append((cut.inputs[0], tuple(cut.outputs.index(w) for w in wires), cut.name))
    if isinstance(site.rule, MixtureRule):
        axes.append((site.inputs[0], tuple(p - 1 for p in ports), site.name))
    if isinstance(site.rule, ConcatRule):
        axes.append((site.outputs[0], ports, site.name))
    order = sorted(range(len(branches)), key=lambda i: (axes or turned)[0][1][i] if axes or turned else i)
    starts = []
    for whole, pieces, name in axes:
        axis = _axis(diagram, whole, [pieces[i] for i in order], name)
        if axis is None:
            return None
        starts.append((whole, axis))
    for whole, at, along in turned:
        if [at[i] for i in order] != list(range(diagram.wires[whole].space[along])):
            return None
        starts.append((whole, Axis(0, 1, len(at), 1, along)))
    through = frozenset(name for *_, name in axes) | names
    moved = wiring.follow(starts, False, set(), through) if starts else set()
    chosen = tuple(branches[i] for i in order)
    own: set[int] = set().union(*(b.wires for b in chosen))
    if not starts and not any(b.parameters for b in chosen):
        return None
    if moved is None or any(w in own for w, _ in moved) or not _apart(wiring, chosen, moved):
        return None
    return Alike(site.name, chosen, frozenset(moved))


def _axis(diagram: Diagram, whole: int, pieces: Sequence[int], name: str) -> Axis | None:
    """The axis of a wire of which branches have one piece each, one behind the other and equally wide."""
    site = next(s for s in (diagram.writer.get(whole), *(r for r, _ in diagram.readers[whole])) if s and s.name == name)
    if list(pieces) != list(range(pieces[0], pieces[0] + len(pieces))):
        return None
    if isinstance(site.rule, MixtureRule):
        return Axis(pieces[0], 1, len(pieces), 1)
    rule = site.rule
    assert isinstance(rule, ConcatRule)
    sizes = [diagram.wires[w].size for w in (site.outputs if rule.cut else site.inputs)]
    if len({sizes[i] for i in pieces}) > 1:
        return None
    return Axis(sum(sizes[: pieces[0]]), 1, len(pieces), sizes[pieces[0]])


def _apart(wiring: Wiring, branches: Sequence[Branch], places: set[Place]) -> bool:
    """Whether no branch shares a parameter with anything else, unless all branches have it at the same place."""
    moving = {name for w, _ in places for name, *_ in wiring.on(w)}
    for names in zip(*(b.parameters for b in branches), strict=True):
        if len(set(names)) == 1:
            continue
        if len(set(names)) < len(names) or moving & set(names):
            return False
        for name, branch in zip(names, branches, strict=True):
            if not wiring.holders[name] <= {s.name for s in branch.sites}:
                return False
            others = [n for n in wiring.parts[base(name)] if n != name and n not in names]
            if others and not wiring.separate([*names, *others]):
                return False
    return True
