"""The smallest widths that keep a network what it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import networkx as nx

from lawful.blocks import Block, ShapeError, Signal, WidthRelation

from ..block_graph import BlockGraph
from ..compile import Port
from ..diagrams import diagram

OUTPUT_MINIMUM = 3  # two classes under cross-entropy are one scalar output
VOCABULARY_MINIMUM = 3


class WidthClasses:
    """Wires that must be equally wide form a class.

    Args:
        arch: the network with its original widths.
        blocks: its blocks as they will be, before `resize`; those that it has by default.
        signals: its signals with their new positions; those that it has by default.
    """

    def __init__(
        self,
        arch: BlockGraph,
        blocks: Mapping[str, Block] | None = None,
        signals: Mapping[Port, Signal] | None = None,
    ) -> None:
        signals = arch.signals if signals is None else signals
        self._arch = arch
        self._parent: dict[Port, Port] = {p: p for p in signals}
        self._relations: list[tuple[Port, dict[Port, Fraction], int]] = []
        for name in arch.nodes:
            self._read(name, (blocks or {}).get(name) or arch.block(name), signals)
        self._unite_shared()

    def find(self, port: Port) -> Port:
        """The port that stands for the class of another."""
        while self._parent[port] != port:
            self._parent[port] = self._parent[self._parent[port]]
            port = self._parent[port]
        return port

    def _unite(self, a: Port, b: Port) -> None:
        self._parent[self.find(a)] = self.find(b)

    def _port(self, name: str, port: int) -> Port:
        return self._arch.sources(name)[port] if port >= 0 else (name, ~port)

    def _read(self, name: str, block: Block, signals: Mapping[Port, Signal]) -> None:
        relations = block.width_relations([signals[p] for p in self._arch.sources(name)])
        for r in relations:
            target = self._port(name, r.port)
            if _is_equality(r):
                (source,) = r.terms
                self._unite(target, self._port(name, source))
            else:
                terms: dict[Port, Fraction] = {}
                for port, c in r.terms.items():
                    p = self._port(name, port)
                    terms[p] = terms.get(p, Fraction(0)) + c
                self._relations.append((target, terms, r.constant))

    def _unite_shared(self) -> None:
        """Every use of a parameter, and of a block that appears twice, has the same widths."""
        drawn = diagram(self._arch, "mse")
        ports = list(self._arch.signals)
        first: dict[tuple[str, int], Port] = {}
        for site in drawn.sites:
            for use in site.rule.uses(site):
                for axis, terms in enumerate(use.axes):
                    for w, _ in terms:
                        if w >= len(ports):  # a wire inside a block
                            continue
                        self._unite(ports[w], first.setdefault((use.parameter, axis), ports[w]))
        seen: dict[int, str] = {}
        for name in self._arch.nodes:
            twin = seen.setdefault(id(self._arch.block(name)), name)
            if twin != name:
                self._unite_ports(name, twin)

    def _unite_ports(self, name: str, twin: str) -> None:
        signals = self._arch.signals
        pairs = list(zip(self._arch.sources(name), self._arch.sources(twin), strict=False))
        pairs += [((name, i), (twin, i)) for i in range(self._arch.block(name).outputs)]
        for a, b in pairs:
            if signals[a].features == signals[b].features:
                self._unite(a, b)


class Widths(WidthClasses):
    """The least widths; a class is free or follows from others.

    Args:
        arch: the network with its original widths.
        blocks: its blocks as they will be, before `resize`.
        signals: its signals with their new positions.
        wanted: ports that should be at least so wide.
    """

    def __init__(
        self,
        arch: BlockGraph,
        blocks: Mapping[str, Block],
        signals: Mapping[Port, Signal],
        wanted: Mapping[Port, int] | None = None,
    ) -> None:
        super().__init__(arch, blocks, signals)
        self._least: dict[Port, int] = {}
        self._multiple: dict[Port, int] = {}
        self._collect_bounds(blocks)
        for port, least in (wanted or {}).items():
            self._bound(port, least)
        self._chosen = self._choose()

    def __getitem__(self, port: Port) -> int:
        return self._chosen[self.find(port)]

    def _bound(self, port: Port, least: int, multiple: int = 1) -> None:
        root = self.find(port)
        self._least[root] = max(self._least.get(root, 2), least)
        self._multiple[root] = math.lcm(self._multiple.get(root, 1), multiple)

    def _collect_bounds(self, blocks: Mapping[str, Block]) -> None:
        for port in self._parent:
            self._bound(port, 2)
        for i, s in enumerate(self._arch.inputs):
            self._bound(("input", i), VOCABULARY_MINIMUM if s.tokens else 2)
        for name, block in blocks.items():
            ports = (*range(len(self._arch.sources(name))), *(~i for i in range(block.outputs)))
            for p in ports:
                self._bound(self._port(name, p), block.width_minimum(p), block.width_multiple(p))
        for port in self._arch.sources("output"):
            self._bound(port, OUTPUT_MINIMUM)

    def _choose(self) -> dict[Port, int]:
        roots = {self.find(p) for p in self._parent}
        graph = nx.DiGraph()
        graph.add_nodes_from(roots)
        derived: dict[Port, list[tuple[dict[Port, Fraction], int]]] = {}
        for target, terms, constant in self._relations:
            merged: dict[Port, Fraction] = {}
            for p, c in terms.items():
                merged[self.find(p)] = merged.get(self.find(p), Fraction(0)) + c
            derived.setdefault(self.find(target), []).append((merged, constant))
            graph.add_edges_from((source, self.find(target)) for source in merged)
        try:
            order = list(nx.topological_sort(graph))
        except nx.NetworkXUnfeasible:
            raise ShapeError("the widths of this network depend on one another in a circle") from None
        for root in reversed(order):
            for terms, _ in derived.get(root, ()):
                self._pull(root, terms)
        original = {self.find(p): s.features for p, s in self._arch.signals.items()}
        chosen: dict[Port, int] = {}
        for root in order:
            values = {sum((c * chosen[p] for p, c in terms.items()), Fraction(k)) for terms, k in derived.get(root, ())}
            if len(values) > 1 or any(v.denominator > 1 for v in values):
                raise ShapeError(f"the width of {root[0]} follows in two ways: {', '.join(map(str, sorted(values)))}")
            m = self._multiple[root]
            chosen[root] = int(values.pop()) if values else min(-(-self._least[root] // m) * m, original[root])
        return chosen

    def _pull(self, root: Port, terms: Mapping[Port, Fraction]) -> None:
        """Asks of the sources of a class what the class is asked for."""
        for i, (source, c) in enumerate(terms.items()):
            least = self._least[source]
            if len(terms) == 1:
                least = max(least, math.ceil(self._least[root] / c))
            elif i == 0:
                rest = sum(k * self._least[p] for p, k in terms.items() if p != source)
                least = max(least, math.ceil((self._least[root] - rest) / c))
            whole = c.denominator * self._multiple[root]
            self._bound(source, least, whole // math.gcd(c.numerator, whole))


def _is_equality(relation: WidthRelation) -> bool:
    return not relation.constant and list(relation.terms.values()) == [1]
