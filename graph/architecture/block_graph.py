"""A graph of blocks with checked shapes: what everything that reads, runs or changes an architecture works on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Self, TypeVar

import networkx as nx

from lawful.blocks import Block, Net, ShapeError, Signal, Spec, WidthError
from lawful.blocks.signals import DeclarationError
from lawful.theory.arguments import misfit, near_or_all, plural, shown, there_are
from lawful.theory.gauge.contract import EPSILON
from lawful.theory.gauge.diagram import Parameter
from lawful.theory.typed import typed_methods

from .compile import Nodes, Port
from .shapes import ENDS, infer_signals, only, read_sources, topological_order
from .sharing import parameter_names

if TYPE_CHECKING:
    from .origin import Trace

Edge = tuple[str, int, str, int]


@typed_methods(
    ShapeError,
    skip=("net", "input", "space"),
    least={"edges": 0, "outputs": 0},
    leave=("block", "sources", "port_name", "parameter_names"),
)
class BlockGraph:
    """Nodes with blocks, the edges between their ports, and the signal on each: the data of an `Architecture`.

    `Architecture` describes the arguments and the attributes; what reads, runs or changes a network works on this.
    """

    trace: Trace | None

    def __init__(
        self, net: Net, input: Signal | Sequence[Signal] | None = None, space: Sequence[int] | None = None
    ) -> None:
        if not isinstance(net, Net):
            raise ShapeError(
                f"expected a block or an expression of blocks, got {shown(net)}; lw.trace reads torch modules"
            )
        _expect_input(input, space)
        count = 1 if input is None or isinstance(input, Signal) else len(input)
        nodes = Nodes()
        nodes.outputs = nodes.add("", net, [("input", i) for i in range(count)])
        signals = _input_signals(nodes, input, space)
        try:
            self._build(nodes.blocks, nodes.edges, nodes.outputs, signals)
        except ShapeError as error:
            told = isinstance(error, (WidthError, DeclarationError))
            if told or input is not None or signals[0].shape != (signals[0].features,):
                raise
            raise ShapeError(
                f"{error}; if the network reads tokens or an image, "
                f"write Architecture(net, input=Signal({signals[0].features}, (8,)))"
            ) from error

    @classmethod
    def from_parts(
        cls,
        blocks: Mapping[str, Block],
        edges: Sequence[Edge],
        outputs: Sequence[Port],
        inputs: Sequence[Signal],
        names: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Self:
        """An architecture from named blocks and edges; `"input"` is the source of the network's inputs.

        Args:
            blocks: by the name of their node.
            edges: source node and port, target node and port.
            outputs: the ports that the network ends in.
            inputs: signals of its inputs.
            names: for every node the names of its parameters by local name, where they are not those of the node (a
                traced module); nodes that name one parameter share it.
        """
        self = cls.__new__(cls)
        self._build(blocks, list(edges), list(outputs), tuple(inputs), names)
        return self

    def _build(
        self,
        blocks: Mapping[str, Block],
        edges: list[Edge],
        outputs: list[Port],
        inputs: tuple[Signal, ...],
        names: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.trace = None
        if not outputs:
            raise ShapeError("the network ends in 0 wires, expected one or more; name its outputs")
        graph = nx.MultiDiGraph()
        graph.add_node("input")
        for name, block in blocks.items():
            if name in graph or name == "output" or name.startswith("output:"):
                raise ShapeError(
                    f"a node is named {name!r}, which stands for an end of the network; give it another name"
                )
            graph.add_node(name, block=block)
        graph.add_node("output")
        ends = [(*port, "output", i) for i, port in enumerate(outputs)]
        for source, out, target, port in [*edges, *ends]:
            for name in (source, target):
                if name not in graph:
                    raise ShapeError(f"the edge {source} -> {target} names the node {name!r}, which does not exist")
            graph.add_edge(source, target, source=out, target=port)
        self.graph = graph
        self._sources: dict[str, list[Port]] = {}
        self.inputs = inputs
        self._order = topological_order(graph)
        reads = {n: self.sources(n) for n in self._order}
        self.signals = infer_signals({n: self.block(n) for n in reads}, reads, inputs, self.sources("output"))
        own = {n: self.block(n) for n in graph.nodes if n not in ENDS}
        self._given = names
        self._names = {n: dict(names[n]) for n in own} if names is not None else parameter_names(own)

    def sources(self, name: str) -> list[Port]:
        """The ports a node reads, in the order of its own ports; `"output"` reads those that the network ends in."""
        try:
            if name not in self._sources:
                self._sources[name] = read_sources(self.graph, name)
        except (nx.NetworkXError, TypeError):
            raise self._no_node(name) from None
        return list(self._sources[name])

    def block(self, name: str) -> Block:
        """The block of a node.

        Raises:
            ShapeError: for a node that is not there; names those that are.
        """
        try:
            return self.graph.nodes[name]["block"]
        except (KeyError, TypeError):
            raise self._no_node(name) from None

    def _no_node(self, name: object) -> ShapeError:
        return ShapeError(f"no node is called {shown(name)}; {near_or_all(str(name), self._order)}")

    @property
    def nodes(self) -> list[str]:
        """Node names in topological order, without input and output."""
        return list(self._order)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """All parameters by name."""
        frozen = self.frozen
        return {name: Parameter(name, spec.shape, name in frozen) for name, spec in self.specs().items()}

    @property
    def frozen(self) -> set[str]:
        """Names of the parameters that training does not move."""
        return {self._names[n][local] for n in self._order for local in self.block(n).frozen if local in self._names[n]}

    def specs(self) -> dict[str, Spec]:
        """Shape and initial distribution of every parameter."""
        return {self._names[n][local]: spec for n in self._order for local, spec in self.block(n).parameters.items()}

    def parameter_names(self, node: str) -> dict[str, str]:
        """Global names of a node's parameters by local name."""
        try:
            return dict(self._names[node])
        except (KeyError, TypeError):
            raise self._no_node(node) from None

    def freeze(self, *prefixes: str) -> Self:
        """The same architecture with all parameters frozen whose names begin with one of the prefixes.

        Raises:
            ShapeError: for a prefix that no parameter begins with, or a block without a field `frozen`.
        """
        names = list(self.parameters)
        for prefix in prefixes:
            if not any(n.startswith(prefix) for n in names):
                raise ShapeError(f"no parameter begins with {prefix!r}; {there_are(names)}")
        replaced: dict[int, Block] = {}
        for n in self._order:
            block = self.block(n)
            hit = tuple(k for k in block.parameters if any(self._names[n][k].startswith(p) for p in prefixes))
            if hit:
                if all(f.name != "frozen" for f in dataclasses.fields(block)):
                    raise ShapeError(f"{n} cannot be frozen: give {block.kind} a field `frozen: tuple[str, ...] = ()`")
                merged = tuple(dict.fromkeys((*block.frozen, *hit)))
                replaced.setdefault(id(block), dataclasses.replace(block, frozen=merged))  # type: ignore[call-arg]
        return self._with_blocks(lambda n, b: replaced.get(id(b), b))

    def _with_blocks(self, change: Callable[[str, Block], Block]) -> Self:
        """The same wiring with other blocks; ties follow the blocks they name."""
        new: dict[int, Block] = {}
        for n in self.graph.nodes:
            if n not in ENDS:
                new.setdefault(id(self.block(n)), change(n, self.block(n)))
        for key, block in list(new.items()):
            for tie in block.ties.values():
                target = new.get(id(tie.block), tie.block)
                if target is not tie.block:
                    new[key] = dataclasses.replace(block, tie=dataclasses.replace(tie, block=target))  # type: ignore[call-arg]
        blocks = {n: new[id(self.block(n))] for n in self.graph.nodes if n not in ENDS}
        ends = (self.edges(), self.sources("output"), self.inputs)
        changed = self.from_parts(blocks, *ends, self._given)
        changed.trace = self.trace
        return changed

    def edges(self) -> list[Edge]:
        """All edges but those to the outputs."""
        return [(u, d["source"], v, d["target"]) for u, v, d in self.graph.edges(data=True) if v != "output"]

    @property
    def outputs(self) -> tuple[Signal, ...]:
        """Signals of the network's outputs."""
        return tuple(self.signals[p] for p in self.sources("output"))

    @property
    def output(self) -> Signal:
        """Signal of the only output.

        Raises:
            ShapeError: if there are several.
        """
        return only(self.outputs, self.output_names)

    @property
    def output_names(self) -> list[str]:
        """The node that writes each output, with the number of its port where it has several."""
        return [self.port_name(p) for p in self.sources("output")]

    def port_name(self, port: Port) -> str:
        """The node that writes a port, with the port's number where it has several."""
        if not isinstance(port, tuple) or len(port) != 2:
            raise ShapeError(f"the port is {shown(port)}; it must be a node and the number of one of its outputs")
        node, i = port
        single = (len(self.inputs) if node == "input" else self.block(node).outputs) == 1
        return node if single else f"{node}:{i}"

    @property
    def output_axes(self) -> tuple[int, ...]:
        """Index of the feature axis in a batch of each output."""
        return tuple(s.axis for s in self.outputs)

    def with_epsilon(self, epsilon: float) -> Self:
        """The same architecture with another epsilon in every norm.

        A constant above 1e-2 is no epsilon: the norm is another function with it than without it, and it stays.
        """

        def change(name: str, block: Block) -> Block:
            if block.epsilon is None or block.epsilon > EPSILON:
                return block
            return dataclasses.replace(block, epsilon=epsilon)  # type: ignore[call-arg]

        return self._with_blocks(change)

    @property
    def given_names(self) -> Mapping[str, Mapping[str, str]] | None:
        """Names of the parameters of every node by local name, where they are not those of the node."""
        return self._given

    def __str__(self) -> str:
        size = sum(p.size for p in self.parameters.values())
        ends = " and ".join(map(str, self.outputs))
        blocks = f"{plural(len(self._order), 'block')}, {plural(size, 'parameter')}"
        return f"<{type(self).__name__}: {blocks}, {self.inputs[0]} -> {ends}>"


def _expect_input(input: object, space: object) -> None:
    """Checks what a network is said to read."""
    if input is not None and (wrong := misfit(input, Signal | Sequence[Signal])):
        raise ShapeError(f"Architecture: input is {shown(input)}; it must be {wrong}, such as input=Signal(3)")
    if isinstance(input, Sequence) and not input:
        raise ShapeError("Architecture: input is an empty list; give the Signal of every input, or leave it out")
    if space is not None and (wrong := misfit(space, Sequence[int])):
        raise ShapeError(f"Architecture: space is {shown(space)}; it must be {wrong}, such as space=(32, 32)")


def _input_signals(
    nodes: Nodes, given: Signal | Sequence[Signal] | None, space: Sequence[int] | None
) -> tuple[Signal, ...]:
    if given is not None:
        return (given,) if isinstance(given, Signal) else tuple(given)
    for source, _, target, _ in nodes.edges:
        if source == "input":
            found = nodes.blocks[target].input_signal()
            if found is not None:
                if space is None:
                    return (found,)
                if found.space and len(found.space) != len(space):
                    raise ShapeError(f"{target} reads {len(found.space)} position axes, space has {len(space)}")
                return (dataclasses.replace(found, space=tuple(space)),)
    raise ShapeError("cannot tell what the network reads; write Architecture(net, input=Signal(features, space))")


G = TypeVar("G", bound=BlockGraph)  # what a change of a graph gives is of the same class
