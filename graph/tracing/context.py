"""What handlers of operations know of the program that they help to lower, and the registry that they stand in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.fx import Node

from lawful.blocks import Block, Signal

from .builder import Builder
from .felt import unfelt
from .places import Place
from .program import Program
from .values import Stream, Value

Handler = Callable[..., Value]
HANDLERS: dict[str, Handler] = {}


def handles(*operations: str) -> Callable[[Handler], Handler]:
    """Registers how ATen operations are lowered.

    Args:
        operations: names without namespace; an overload where it matters (`add`, `slice.Tensor`).
    """

    def register(handler: Handler) -> Handler:
        for name in operations:
            if name in HANDLERS:
                raise ValueError(f"{name} has a handler already; give each operation one")
            HANDLERS[name] = handler
        return handler

    return register


def names_of(node: Node) -> tuple[str, str]:
    """Names under which an operation is looked up: with its overload, and without (`slice.Tensor`, `slice`)."""
    full = str(node.target).removeprefix("aten.").removesuffix(".default")
    overload = getattr(node.target, "_overloadname", "default")
    return full, full.removesuffix(f".{overload}")


class Context(ABC):
    """A program while it is lowered, as everything sees it that helps: handlers, and what they are made of.

    `Lowering` is the one; it stands above the handlers, and this is what they may ask of it.

    Args:
        program: the module as a flat graph.

    Attributes:
        env: what every node stands for.
        builder: the blocks so far.
        data: for every input of the architecture the node of the program that holds it, and how it is read.
        reasons: why a node became opaque.
        origins: the call that every node of the architecture comes from.
        narrow: why only the degrees of a node are known.
        behind: opaque nodes that read nothing but what others give, which are named.
        computed: blocks before all parameters, with their node of the program and how it is read.
        notes: what a reader of the laws should know.
        facts: what holds for the numbers of the example only.
        batch: length of the batch that was traced.
        unfelt: calls that nothing reads which feels a gradient.
        kinds: what calls are seen to be in numbers, by what decides it.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.env: dict[Node, Value] = {}
        self.builder = Builder(program.frozen)
        self.data: list[tuple[Node, str]] = []
        self.reasons: dict[str, tuple[Node, str]] = {}
        self.origins: dict[str, Node] = {}
        self.narrow: dict[str, tuple[Node, str]] = {}
        self.behind: set[str] = set()
        self.computed: dict[str, tuple[Node, str]] = {}
        self.notes: list[str] = []
        self.facts: list[str] = []
        self.batch = next((int(i.example.shape[0]) for i in program.inputs if i.example.ndim), 1)
        self.unfelt = unfelt(program.graph, [node for _, node in program.outputs], program.detached)
        self.kinds: dict[Any, Any] = {}
        self._seen: dict[Any, tuple[Stream, ...]] = {}

    @abstractmethod
    def stream(self, value: Value, node: Node, channels_first: bool | None = None) -> Stream:
        """A value as what a port carries: data become inputs of the network, parameters and numbers sources.

        Args:
            value: the value.
            node: the call that needs it.
            channels_first: whether an input is read with its features on the second axis; None where both will do.

        Raises:
            NotUnderstood: for what no port can carry, such as scores of attention that are used for something else.
        """

    @abstractmethod
    def add_input(self, node: Node, signal: Signal, kind: str) -> Stream:
        """An input of the architecture: a node of the program and how it is read (numbers, tokens, mask)."""

    def value(self, argument: Any) -> Any:
        """What an argument of a call stands for; plain data is itself."""
        if isinstance(argument, Node):
            return self.env[argument]
        if isinstance(argument, (list, tuple)):
            return type(argument)(self.value(a) for a in argument)
        return argument

    def place(self, node: Node) -> Place:
        """Where a call stands."""
        return self.program.place(node)

    def emit(
        self,
        node: Node,
        block: Block,
        reads: Sequence[Stream],
        weights: Mapping[str, str] | None = None,
        label: str = "",
        key: Any = None,
    ) -> tuple[Stream, ...]:
        """Adds a block that reads the ports of some streams, whatever their arrangement.

        Args:
            node: the call it comes from.
            block: the block.
            reads: the streams.
            weights: its parameters by local name.
            label: what it is called within the module; by default the module's name where the call is the whole of it.
            key: calls with equal keys give one block (pieces of one split).
        """
        if key is not None and key in self._seen:
            return self._seen[key]
        batch = max((s.shape_batch for s in reads), default=1)
        out = self.builder.emit(self.title(node, label), block, [s.port for s in reads], weights or {}, batch)
        if out:
            self.origins[out[0].port[0]] = node
        if key is not None:
            self._seen[key] = out
        return out

    def title(self, node: Node, label: str) -> str:
        """What a node of the architecture is called."""
        place = self.place(node)
        if not label:
            leaf = place.module_type.startswith("torch.nn.modules.") and "container" not in place.module_type
            label = "" if leaf else place.op.split(".")[0]
        return ".".join(part for part in (place.module, label) if part)
