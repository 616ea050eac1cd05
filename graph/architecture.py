"""An architecture: a networkx graph of blocks with checked shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import networkx as nx
import torch

from lawful.blocks import Block, Net, Run, ShapeError, Signal, Spec, Tie, draw_gates
from lawful.blocks.registry import LARGEST
from lawful.theory.diagram import Diagram, Parameter, Site, Wire
from lawful.theory.rewrites import representatives
from lawful.theory.rules import OutputRule, SourceRule
from lawful.theory.verification import Point, point_of

from .compile import Nodes, Port

LOSSES = ("mse", "cross_entropy")
Edge = tuple[str, int, str, int]


class Architecture:
    """A network as a graph of blocks; shapes are checked when it is made.

    Args:
        net: an expression of blocks.
        input: what the network reads; by default what its first block says it reads.
        space: lengths of the position axes of the input (height and width, or tokens), if the default is not wanted.

    Attributes:
        graph: a `networkx.MultiDiGraph`; nodes carry `block`, edges carry `source` and `target` port numbers.
        inputs: signals of the network's inputs.
        output: signal of its output.

    Raises:
        ShapeError: for widths that do not fit, open ports and cycles; names the node, both sides and the way out.
    """

    def __init__(
        self, net: Net, input: Signal | Sequence[Signal] | None = None, space: Sequence[int] | None = None
    ) -> None:
        if not isinstance(net, Net):
            raise ShapeError(
                f"expected a block or an expression of blocks, got {type(net).__name__}; lw.trace reads torch modules"
            )
        count = 1 if input is None or isinstance(input, Signal) else len(input)
        nodes = Nodes()
        nodes.outputs = nodes.add("", net, [("input", i) for i in range(count)])
        signals = _input_signals(nodes, input, space)
        self._build(nodes.blocks, nodes.edges, nodes.outputs, signals)

    @classmethod
    def from_parts(
        cls, blocks: Mapping[str, Block], edges: Sequence[Edge], outputs: Sequence[Port], inputs: Sequence[Signal]
    ) -> Architecture:
        """An architecture from named blocks and edges; `"input"` is the source of the network's inputs."""
        self = cls.__new__(cls)
        self._build(blocks, list(edges), list(outputs), tuple(inputs))
        return self

    def _build(
        self, blocks: Mapping[str, Block], edges: list[Edge], outputs: list[Port], inputs: tuple[Signal, ...]
    ) -> None:
        if len(outputs) != 1:
            raise ShapeError(f"the network ends in {len(outputs)} wires, expected one; join them with Add or Concat")
        graph = nx.MultiDiGraph()
        graph.add_node("input")
        for name, block in blocks.items():
            if name in graph or name == "output":
                raise ShapeError(
                    f"a node is named {name!r}, which stands for an end of the network; give it another name"
                )
            graph.add_node(name, block=block)
        graph.add_node("output")
        for source, out, target, port in [*edges, (*outputs[0], "output", 0)]:
            for end in (source, target):
                if end not in graph:
                    raise ShapeError(f"the edge {source} -> {target} names the node {end!r}, which does not exist")
            graph.add_edge(source, target, source=out, target=port)
        self.graph = graph
        self._sources: dict[str, list[Port]] = {}
        self.inputs = inputs
        self._order = self._topological_order()
        self.signals = self._signals()
        self.output = self.signals[outputs[0]]
        self._names = self._parameter_names()

    def _topological_order(self) -> list[str]:
        try:
            return [
                n
                for n in nx.lexicographical_topological_sort(self.graph, key=self._rank())
                if n not in ("input", "output")
            ]
        except nx.NetworkXUnfeasible:
            cycle = [u for u, _, _ in nx.find_cycle(self.graph)]
            raise ShapeError(f"the nodes {' -> '.join(cycle)} form a cycle; unroll it with blocks.Recurrent") from None

    def _rank(self) -> Callable[[str], int]:
        order = {n: i for i, n in enumerate(self.graph.nodes)}
        return order.__getitem__

    def sources(self, name: str) -> list[Port]:
        """The ports a node reads, in the order of its own ports."""
        if name not in self._sources:
            self._sources[name] = self._read_sources(name)
        return list(self._sources[name])

    def _read_sources(self, name: str) -> list[Port]:
        found: dict[int, Port] = {}
        for u, _, data in self.graph.in_edges(name, data=True):
            if data["target"] in found:
                raise ShapeError(f"input port {data['target']} of {name} has two wires; add them with Add")
            found[data["target"]] = (u, data["source"])
        if sorted(found) != list(range(len(found))):
            missing = next(i for i in range(len(found) + 1) if i not in found)
            raise ShapeError(f"input port {missing} of {name} is open; wire something to it")
        return [found[i] for i in range(len(found))]

    def _signals(self) -> dict[Port, Signal]:
        signals: dict[Port, Signal] = {("input", i): s for i, s in enumerate(self.inputs)}
        read: set[Port] = set()
        for name in self._order:
            block = self.block(name)
            ports = self.sources(name)
            wanted = block.inputs
            if (wanted is not None and len(ports) != wanted) or (wanted is None and len(ports) < 2):
                raise ShapeError(
                    f"{name}: {block} has {wanted or '2 or more'} input ports, {len(ports)} are wired; "
                    "wire every port once"
                )
            for p in ports:
                if p not in signals:
                    raise ShapeError(f"{name} reads port {p[1]} of {p[0]}, which has no such port")
            read.update(ports)
            try:
                out = block.output(*(signals[p] for p in ports))
            except ShapeError as error:
                after = ", ".join(p[0] for p in ports)
                raise ShapeError(f"{name} (after {after or 'nothing'}): {error}") from error
            for i, s in enumerate(out):
                if max(s.features, s.positions) > LARGEST:
                    raise ShapeError(
                        f"{name} (after {', '.join(p[0] for p in ports)}) makes a wire wider than {LARGEST}; "
                        "make it narrower"
                    )
                signals[name, i] = s
        read.update(self.sources("output"))
        for port in signals:
            if port not in read:
                raise ShapeError(
                    f"output port {port[1]} of {port[0]} is open; wire it to something or remove the block"
                )
        for s in signals.values():
            if s.features < 1:
                raise ShapeError(f"a wire has {s.features} features; every width must be at least 1")
        return signals

    def _parameter_names(self) -> dict[str, dict[str, str]]:
        """For every node its parameters' global names; a block that appears twice owns them where it appears first."""
        owner: dict[int, str] = {}
        for name in self.graph.nodes:
            if name not in ("input", "output"):
                owner.setdefault(id(self.block(name)), name)
        names = {}
        for name in self._order:
            block = self.block(name)
            own = {local: f"{owner[id(block)]}.{local}" for local in block.parameters}
            for local, tie in block.ties.items():
                if id(tie.block) not in owner:
                    raise ShapeError(
                        f"{name} takes its {local} from {tie.block}, which is not in the network; add that block"
                    )
                self._check_tie(name, block, local, tie)
                own[local] = f"{owner[id(tie.block)]}.{tie.parameter}"
            names[name] = own
        return names

    @staticmethod
    def _check_tie(name: str, block: Block, local: str, tie: Tie) -> None:
        owned = tie.block.parameters
        if tie.parameter not in owned:
            known = ", ".join(owned) or "no parameter"
            raise ShapeError(
                f"{name} takes its {local} from {tie.parameter!r} of {tie.block}, which owns {known}; tie to the owner"
            )
        untied = dataclasses.replace(block, tie=None)  # type: ignore[call-arg]
        wanted, found = untied.parameters[local].shape, owned[tie.parameter].shape
        if wanted != (found[::-1] if tie.transposed else found):
            read = "transposed" if tie.transposed else "as it is"
            raise ShapeError(
                f"{name} has a {local} of shape {wanted} but takes one of shape {found} from {tie.block}, {read}; "
                "make them fit"
            )

    def block(self, name: str) -> Block:
        """The block of a node."""
        return self.graph.nodes[name]["block"]

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
        return {
            self._names[n][local]
            for n in self._order
            for local in getattr(self.block(n), "frozen", ())
            if local in self._names[n]
        }

    def specs(self) -> dict[str, Spec]:
        """Shape and initial distribution of every parameter."""
        return {self._names[n][local]: spec for n in self._order for local, spec in self.block(n).parameters.items()}

    def parameter_names(self, node: str) -> dict[str, str]:
        """Global names of a node's parameters by local name."""
        return dict(self._names[node])

    def freeze(self, *prefixes: str) -> Architecture:
        """The same architecture with all parameters frozen whose names begin with one of the prefixes."""
        replaced: dict[int, Block] = {}
        for n in self._order:
            block = self.block(n)
            hit = tuple(k for k in block.parameters if any(self._names[n][k].startswith(p) for p in prefixes))
            if hit:
                merged = tuple(dict.fromkeys((*getattr(block, "frozen", ()), *hit)))
                replaced.setdefault(id(block), dataclasses.replace(block, frozen=merged))  # type: ignore[call-arg]
        return self._with_blocks(lambda n, b: replaced.get(id(b), b))

    def _with_blocks(self, change: Callable[[str, Block], Block]) -> Architecture:
        """The same wiring with other blocks; ties follow the blocks they name."""
        new: dict[int, Block] = {}
        for n in self.graph.nodes:
            if n not in ("input", "output"):
                new.setdefault(id(self.block(n)), change(n, self.block(n)))
        for key, block in list(new.items()):
            for tie in block.ties.values():
                target = new.get(id(tie.block), tie.block)
                if target is not tie.block:
                    new[key] = dataclasses.replace(block, tie=dataclasses.replace(tie, block=target))  # type: ignore[call-arg]
        blocks = {n: new[id(self.block(n))] for n in self.graph.nodes if n not in ("input", "output")}
        return Architecture.from_parts(blocks, self.edges(), self.sources("output"), self.inputs)

    def edges(self) -> list[Edge]:
        """All edges but the one to the output."""
        return [(u, d["source"], v, d["target"]) for u, v, d in self.graph.edges(data=True) if v != "output"]

    def diagram(self, loss: str = "mse") -> Diagram:
        """The network as the theorems see it.

        Raises:
            ShapeError: for an unknown loss.
        """
        if loss not in LOSSES:
            raise ShapeError(f"no loss {loss!r}; there are {', '.join(LOSSES)}")
        index: dict[Port, int] = {}
        wires: list[Wire] = []
        sites: list[Site] = []
        for port, s in self.signals.items():
            index[port] = len(wires)
            tokens = s.space[0] if len(s.space) == 1 and not s.channels_first else 1
            label = port[0] if self._single_port(port[0]) else f"{port[0]}:{port[1]}"
            wires.append(Wire(label, s.features, tokens))
        sources = tuple(index["input", i] for i in range(len(self.inputs)))
        sites.append(Site("input", SourceRule(), (), sources))
        for n in self._order:
            ports = self.sources(n)
            outs = [(n, i) for i in range(self.block(n).outputs)]
            rule = self.block(n).rule(self._names[n], [self.signals[p] for p in ports], [self.signals[p] for p in outs])
            function = (self.block(n).kind, *self.block(n).config().items())
            sites.append(Site(n, rule, tuple(index[p] for p in ports), tuple(index[p] for p in outs), function))
        sites.append(Site("output", OutputRule(loss), (index[self.sources("output")[0]],), ()))
        return Diagram(tuple(wires), tuple(sites), self.parameters)

    def _single_port(self, name: str) -> bool:
        return (len(self.inputs) if name == "input" else self.block(name).outputs) == 1

    def forward(
        self, params: Mapping[str, torch.Tensor], inputs: Sequence[torch.Tensor], run: Run | None = None
    ) -> torch.Tensor:
        """The network's output, in primitive torch operations that can be differentiated any number of times.

        Args:
            params: tensors by name.
            inputs: one batch per network input; tokens as integers, everything else with the shape of its signal.
            run: gates, mode and running statistics.
        """
        if len(inputs) != len(self.inputs):
            raise ShapeError(
                f"the network has {len(self.inputs)} inputs but gets {len(inputs)} tensors; give one per input"
            )
        run = run or Run()
        gate_name = self._gate_names() if run.gates is not None or run.recording else {}
        values: dict[Port, torch.Tensor] = {("input", i): x for i, x in enumerate(inputs)}
        for n in self._order:
            ports = self.sources(n)
            run.name = gate_name.get(n, n)
            run.axis = self.signals[ports[0]].axis if ports else -1
            p = {local: params[name] for local, name in self._names[n].items()}
            out = self.block(n).forward(p, [values[q] for q in ports], run)
            for i, y in enumerate(out if isinstance(out, tuple) else (out,)):
                values[n, i] = y
        return values[self.sources("output")[0]]

    def _gate_names(self) -> dict[str, str]:
        """Nodes that compute the same thing draw the same gates."""
        return representatives(self.diagram().sites)

    def random_inputs(
        self, batch: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
    ) -> list[torch.Tensor]:
        """Random inputs of the right shapes."""
        return [
            torch.randint(s.features, (batch, *s.shape), generator=generator)
            if s.tokens
            else torch.randn((batch, *s.shape), generator=generator, dtype=dtype)
            for s in self.inputs
        ]

    def random_parameters(
        self, generator: torch.Generator, dtype: torch.dtype = torch.float64
    ) -> dict[str, torch.Tensor]:
        """A generic point: every parameter random, none at the special values of an initialisation."""
        return {
            n: s.mean + max(s.std, 0.5) * torch.randn(s.shape, generator=generator, dtype=dtype)
            for n, s in self.specs().items()
        }

    def with_epsilon(self, epsilon: float) -> Architecture:
        """The same architecture with another constant under every root of a norm."""

        def change(name: str, block: Block) -> Block:
            return dataclasses.replace(block, epsilon=epsilon) if hasattr(block, "epsilon") else block  # type: ignore[call-arg]

        return self._with_blocks(change)

    def points(self, loss: str, samples: int, seed: int, exact_norms: bool) -> list[Point]:
        """Random parameters, data and losses with their gradients; every other point draws activation patterns freely.

        Args:
            loss: `"mse"` or `"cross_entropy"`.
            samples: number of points.
            seed: of everything random.
            exact_norms: read every epsilon as 0.
        """
        network = self.with_epsilon(0.0) if exact_norms else self
        generator = torch.Generator().manual_seed(seed)
        out = []
        for i in range(samples):
            values = network.random_parameters(generator)
            inputs = network.random_inputs(6, generator)
            gates = None
            if i % 2:
                recording = Run(recording=True)
                network.forward(values, inputs, recording)
                gates = draw_gates(recording.recorded, (), generator)
            frozen = {n: v for n, v in values.items() if n in self.frozen}
            trainable = {n: v for n, v in values.items() if n not in self.frozen}

            def forward(
                p: Mapping[str, torch.Tensor],
                x: Sequence[torch.Tensor],
                fixed: dict[str, torch.Tensor] = frozen,
                patterns: Any = gates,
            ) -> torch.Tensor:
                return network.forward({**fixed, **p}, x, Run(gates=patterns))

            point = point_of(forward, trainable, inputs, loss, generator, self.output.axis)
            still = {n: torch.zeros_like(v) for n, v in frozen.items()}
            out.append(Point({**frozen, **point.parameters}, {**still, **point.gradient}, point.loss))
        return out

    def to_torch(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.nn.Module:
        """A trainable `nn.Module` with this graph's parameter names, freshly initialised."""
        from .module import Network

        return Network(self, dtype, seed)

    def to_json(self) -> str:
        """The architecture as JSON (no weights)."""
        from .serial import to_json

        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Reads what `to_json` wrote; runs no code.

        Raises:
            ShapeError: for anything that is not such a file; names the place.
        """
        from .serial import from_json

        return from_json(text)

    def shrink(self) -> Architecture:
        """The same architecture with tiny axes and few repeated blocks, small enough for the oracle."""
        from .shrink import shrink

        return shrink(self)

    def __repr__(self) -> str:
        total = sum(p.size for p in self.parameters.values())
        return f"<Architecture: {len(self._order)} blocks, {total:,} parameters, {self.inputs[0]} -> {self.output}>"


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
    raise ShapeError("cannot tell what the network reads; pass input=Signal(features, space)")
