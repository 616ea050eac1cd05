"""Changes of weights that cancel before anything sees them: `A h + B h / 2` only acts through `A + B / 2`.

Where linear maps read the same roots, a change `M` of each adds `M z` to what it writes.  Sums, factors, cuts and
copies carry these on; only where another block reads them must their total lie in what it does not see.  So `A - 2 B`
is conserved, `2 A - B - C` for `A relu(h) + B |h| + C h`, `W_1 - W_2` for one map of `cat(h, h)`, and the differences
of the rows that `h[:2] + h[2:4]` adds up.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator, Sequence

import networkx

from .admissions import Move
from .algebra import Algebra
from .contract import Site
from .diagram import Diagram
from .directions import Directions
from .linalg import Equations, Number
from .roots import AVERAGED, Pull, Root, Roots, merge, moves_on, onward
from .rules import AddRule, ConcatRule, FixedGainRule, LinearRule, SumFeaturesRule
from .subspace import Vector, VectorKey, vector_keys
from .unknowns import Cell, Open, ShiftKey, ShiftRow

Arrived = dict[VectorKey, dict[tuple[int, VectorKey], Number]]  # per sector of a wire: (map, sector of what it writes)


class Carried:
    """The changes of linear maps that cancel against one another.

    Args:
        directions: what readers do not see.
        diagram: the network.
        loose: whether constants that are added on the way are left out.
    """

    def __init__(self, directions: Directions, diagram: Diagram, loose: bool = False) -> None:
        self._directions = directions
        self._diagram = diagram
        self.roots = Roots(directions, diagram, loose)
        self._writer = diagram.writer
        self._place = diagram.place
        self._ends: dict[str, list[tuple[Site, int, Arrived]]] = {}
        self._members: dict[str, tuple[Site, ...]] = {}
        self._mixing = self._mixed()
        for members in self._groups():
            if not self._may_meet(members):
                continue
            ends = list(self.ends_of([s.outputs[0] for s in members]))
            if self._meet(members, ends):
                self._members |= dict.fromkeys((s.name for s in members), tuple(members))
                self._ends[members[0].name] = ends

    def __contains__(self, name: str) -> bool:
        """Whether a map has changes of this kind."""
        return name in self._members

    def members(self, name: str) -> tuple[Site, ...]:
        """The maps that one acts together with, none where it acts alone."""
        return self._members.get(name, ())

    def _trained(self) -> Iterator[Site]:
        for site in self._diagram.sites:
            rule = site.rule
            if isinstance(rule, LinearRule) and not self._diagram.parameters[rule.weight].frozen:
                if rule.groups == 1 or not rule.transposed:
                    yield site

    def _pull(self, site: Site) -> Pull:
        """What a map reads; each group of a grouped one reads its own inputs as they are, or a multiple of them."""
        rule = site.rule
        assert isinstance(rule, LinearRule)
        pull = self.roots.of(site.inputs[0])
        if rule.groups == 1:
            return pull
        found = {(root, a) for k, row in pull.items() for (root, key), a in row.items() if key == k}
        whole = len(found) == 1 and all(len(row) == 1 for row in pull.values())
        (root, a) = next(iter(found)) if whole else (("", site.inputs[0]), 1)
        layout = self._directions.layout(site.outputs[0])
        groups = dict.fromkeys(_inputs(layout, box, rule.groups) for box in range(len(layout.boxes)))
        return {g: {((("group", root[0]), root[1]), g): a} for g in groups}

    def reads(self, site: Site) -> list[dict[tuple[Root, VectorKey], Number]]:
        """What each sector of what a map reads is of sectors of roots."""
        return list(self._pull(site).values())

    def meeting(self, name: str) -> set[str]:
        """The maps whose changes arrive together with those of one, and may cancel them: itself among them."""
        members = self.members(name)
        ends = self._ends[members[0].name] if members else []
        own = {i for i, s in enumerate(members) if s.name == name}
        rows = [{i for i, _ in row} for _, _, found in ends for row in found.values()]
        return {name}.union(*({members[i].name for i in row} for row in rows if own & row))

    def _groups(self) -> list[list[Site]]:
        """The maps that read a root in common and have one geometry."""
        graph: networkx.Graph[Hashable] = networkx.Graph()
        trained = list(self._trained())
        for i, site in enumerate(trained):
            rule = site.rule
            assert isinstance(rule, LinearRule)
            kind = (rule.geometry, rule.lookup, rule.groups, rule.shape_[2:])
            graph.add_node(i)
            graph.add_edges_from((i, (kind, root)) for root in roots_of(self._pull(site)))
        parts = (sorted(n for n in part if isinstance(n, int)) for part in networkx.connected_components(graph))
        return [[trained[i] for i in part] for part in sorted(parts)]

    def last_sum(self, w: int) -> str | None:
        """The sum that a wire comes from through fixed moves alone."""
        while (site := self._writer.get(w)) and not isinstance(site.rule, AddRule):
            if not site.inputs or onward(self._directions, self._diagram, site, 0) is None:
                return None
            w = site.inputs[0]
        return site.name if site else None

    def ends_of(self, starts: Sequence[int]) -> Iterator[tuple[Site, int, Arrived]]:
        """The readers that see some wires, with what arrives there of each of them."""
        carried: dict[int, Arrived] = {}
        waiting: list[tuple[int, int]] = []  # wires by the place of their writer, so that what meets has met

        def arrive(w: int, key: VectorKey, row: dict[tuple[int, VectorKey], Number], place: int) -> None:
            if w not in carried:
                carried[w] = {}
                heapq.heappush(waiting, (place, w))
            merge(carried[w].setdefault(key, {}), row)

        for i, w in enumerate(starts):
            for key in self._directions.keys(w):
                arrive(w, key, {(i, key): 1}, self._place[self._writer[w].name])
        while waiting:
            _, w = heapq.heappop(waiting)
            for reader, port in self._diagram.readers[w]:
                outputs = onward(self._directions, self._diagram, reader, port)
                if outputs is None:
                    yield reader, port, carried[w]
                    continue
                for y, push in outputs:
                    for key, targets in push.items():
                        for target, a in targets.items():
                            row = {k: b * a for k, b in carried[w].get(key, {}).items()}
                            if row:
                                arrive(y, target, row, self._place[reader.name])

    def _mixed(self) -> dict[int, bool]:
        """For every wire that goes on through fixed moves whether its own sectors may meet or be dropped there."""
        out: dict[int, bool] = {}
        for site in reversed(self._diagram.sites):
            for w in site.outputs:
                further = [r for r, port in self._diagram.readers[w] if moves_on(r)]
                if further:
                    cut = any(isinstance(r.rule, (ConcatRule, FixedGainRule, SumFeaturesRule)) for r in further)
                    out[w] = len(further) > 1 or cut or any(out.get(y, False) for r in further for y in r.outputs)
        return out

    def goes_on(self, w: int) -> bool:
        """Whether some fixed move reads a wire."""
        return w in self._mixing

    def _may_meet(self, members: list[Site]) -> bool:
        """Whether it is worth following what maps write."""
        if self._related(members):
            return True
        further = [s.outputs[0] for s in members if self.goes_on(s.outputs[0])]
        return len(further) > 1 or any(self._mixing[w] for w in further)

    def _meet(self, members: list[Site], ends: list[tuple[Site, int, Arrived]]) -> bool:
        """Whether several sectors of what the maps write meet at a reader, or of one root at a map."""
        if any(len(row) > 1 for _, _, found in ends for row in found.values()):
            return True
        seen: set[tuple[int, VectorKey]] = {k for _, _, found in ends for row in found.values() for k in row}
        written = {(i, k) for i, s in enumerate(members) for k in self._directions.keys(s.outputs[0])}
        if written - seen:
            return True  # differences that a sum of neighbours does not see, or terms that cancel
        if any(self._together(*end, members) for end in ends):
            return True
        return self._related(members)

    def _together(self, reader: Site, port: int, found: Arrived, members: list[Site]) -> bool:
        """Whether a direction that a reader does not see mixes what several maps write (classes in two parts).

        Several sectors of one map are mixed by the reader itself, unless they come on several ways.
        """
        for u in self._directions.unseen(reader, port).vectors:
            met = {at for key in u for at in found.get(key, {})}
            mixed = len(met) > 1 and any(self._mixing.get(members[i].outputs[0]) for i, _ in met)
            if mixed or len({i for i, _ in met}) > 1:
                return True
        return False

    def _related(self, members: list[Site]) -> bool:
        """Whether sectors of what some map reads are one sector of a root, or a root lacks some."""
        for site in members:
            pull = self._pull(site)
            hit = [k for row in pull.values() for k in row]
            if len(hit) != len(set(hit)) or not all(pull.values()):
                return True
            if any(root[1] != site.inputs[0] and self.absent(root) for root in roots_of(pull)):
                return True
        return False

    def absent(self, root: Root) -> tuple[Vector, ...]:
        """What a root never has; of a function of a wire nothing is known."""
        return () if root[0] not in ("", AVERAGED) else self._directions.absent(root[1]).vectors

    def _keys(self, root: Root, pulls: Sequence[Pull]) -> list[VectorKey]:
        """The sectors of a root that its readers, or what it never has, speak of."""
        read = [k for pull in pulls for row in pull.values() for found, k in row if found == root]
        return list(dict.fromkeys([*read, *(k for u in self.absent(root) for k in u)]))

    def moves(self, name: str) -> list[Move]:
        """The free change of every sector of a map's weight."""
        site = self._diagram.sites[self._place[name]]
        rule = site.rule
        assert isinstance(rule, LinearRule)
        outs = vector_keys(self._directions.layout(site.outputs[0]))
        cells = dict.fromkeys(_cell(rule, a, b) for a in outs for b in self._pull(site))
        return [(Open("carried", site.name, cell), {cell: 1}) for cell in cells]

    def require(self, equations: Equations[ShiftKey]) -> None:
        """Adds the equations: what arrives at each reader is unseen there, root by root."""
        for name, ends in self._ends.items():
            members = self._members[name]
            pulls = [self._pull(s) for s in members]
            roots = dict.fromkeys(root for pull in pulls for row in pull.values() for root, _ in row)
            sectors = [(root, k) for root in roots for k in self._keys(root, pulls)]
            for at, (reader, port, found) in enumerate(ends):
                unseen = self._directions.unseen(reader, port).vectors
                for sector in sectors:
                    never = self.absent(sector[0])
                    for key in self._directions.keys(reader.inputs[port]):
                        row: ShiftRow = {
                            Open("carried absent", name, (at, key, sector[0], i)): -u[sector[1]]
                            for i, u in enumerate(never)
                            if sector[1] in u
                        }
                        for (i, out), a in found.get(key, {}).items():
                            merge(row, self._change(members[i], pulls[i], out, sector), a)
                        for i, u in enumerate(unseen):
                            if key in u:
                                row[Open("carried unseen", name, (at, i, sector))] = -u[key]
                        equations.require(row)

    def _change(self, site: Site, pull: Pull, out: VectorKey, sector: tuple[Root, VectorKey]) -> ShiftRow:
        """What a change of a weight adds to a sector of its output, for one sector of a root."""
        rule = site.rule
        assert isinstance(rule, LinearRule)
        if rule.groups > 1:
            inputs = _inputs(self._directions.layout(site.outputs[0]), out[0], rule.groups)
            pull = {inputs: pull[inputs]}
        found = {inn: row[sector] for inn, row in pull.items() if sector in row}
        return {Open("carried", site.name, _cell(rule, out, inn)): a for inn, a in found.items()}


def _inputs(layout: Algebra, box: int, groups: int) -> VectorKey:
    """The inputs that a box of a grouped map's output is made of: from which group to which."""
    start = sum(b.size for b in layout.boxes[:box])
    first, last = (i * groups // layout.size for i in (start, start + layout.boxes[box].size - 1))
    return first, f"group to {last}"


def _cell(rule: LinearRule, out: VectorKey, inn: VectorKey) -> Cell:
    """The sector of a weight; one of a grouped map is known by its output, since both sides share the groups."""
    if rule.groups > 1:
        return (out,)
    return (inn, out) if rule.transposed else (out, inn)


def roots_of(pull: Pull) -> set[Root]:
    """The roots of a wire."""
    return {root for row in pull.values() for root, _ in row}
