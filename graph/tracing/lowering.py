"""From a flat graph of ATen calls to an architecture: every call becomes a block, a change of view, or opaque."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from lawful.blocks import Block, Signal
from lawful.theory.oracle.modules import as_double

from .arrange import exact
from .builder import Builder
from .errors import TraceError
from .layout import Tangled, canonical
from .places import Place
from .program import Program
from .regions import Region, lower_region, units
from .values import Data, Fixed, Lazy, NotUnderstood, Stream, Value, Weight

Handler = Callable[..., Value]
HANDLERS: dict[str, Handler] = {}
VIEWS = frozenset(
    {"transpose", "permute", "view", "reshape", "unsqueeze", "squeeze", "t", "expand", "contiguous", "clone"}
    | {"repeat_interleave"}
)

# operations that read a shape only, and what they fill it with (None: their last argument)
MAKERS = {"new_zeros": 0, "zeros_like": 0, "new_ones": 1, "ones_like": 1, "new_full": None, "full_like": None}


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


class Broken(Exception):
    """What went wrong with a call while it was lowered, when not even an opaque block could be made of it.

    Attributes:
        call: the call.
        error: what was raised.
    """

    def __init__(self, call: Node, error: Exception) -> None:
        super().__init__(str(error))
        self.call = call
        self.error = error


class Lowering:
    """One program on its way to an architecture.

    Args:
        program: the module as a flat graph.
        regions: calls that become opaque blocks, whatever is known of them.
        cuts: for parameters of which overlapping parts are read, the places where their axes are cut.

    Attributes:
        env: what every node stands for.
        builder: the blocks so far.
        data: for every input of the architecture the node of the program that holds it, and how it is read.
        reasons: why a node became opaque.
        origins: the call that every node of the architecture comes from.
        narrow: why only the degrees of a node are known.
        computed: blocks before all parameters, with their node of the program and how it is read.
        notes: what a reader of the laws should know.
    """

    def __init__(
        self,
        program: Program,
        regions: Sequence[Region] = (),
        cuts: Mapping[str, Sequence[Sequence[int]]] | None = None,
    ) -> None:
        from .ops.formed import grid

        self.program = program
        self.regions = regions
        self.env: dict[Node, Value] = {}
        self.builder = Builder(program.frozen)
        self.data: list[tuple[Node, str]] = []
        self.reasons: dict[str, tuple[Node, str]] = {}
        self.origins: dict[str, Node] = {}
        self.narrow: dict[str, tuple[Node, str]] = {}
        self.computed: dict[str, tuple[Node, str]] = {}
        self.notes: list[str] = []
        self._inputs: dict[tuple[Node, str], Stream] = {}
        self._seen: dict[Any, tuple[Stream, ...]] = {}
        self.batch = next((int(i.example.shape[0]) for i in program.inputs if i.example.ndim), 1)
        for i in program.inputs:
            self.env[i.node] = self._made(i.node)
        for node, name in program.parameters.items():
            whole = Weight.whole(name, tuple(int(n) for n in node.meta["val"].shape))
            self.env[node] = grid(whole, cuts[name]) if cuts and name in cuts else whole
        for node, (_, tensor) in program.buffers.items():
            self.env[node] = Fixed(as_double(tensor))
        for node, tensor in program.constants.items():
            self.env[node] = Fixed(as_double(tensor))

    def run(self) -> list[Stream]:
        """Lowers every call; gives the streams of the outputs.

        Raises:
            Broken: for a call that no block can stand for.
            TraceError: for an output that has no features.
        """
        for unit in units(self.program.graph, self.regions):
            try:
                if isinstance(unit, Region):
                    self.env |= lower_region(self, unit)
                elif unit.op == "call_function" and unit not in self.env:
                    self.env[unit] = self._lower(unit)
            except Exception as error:
                call = unit if isinstance(unit, Node) else next(iter(unit.calls))
                raise Broken(call, error) from error
        return [self.output(node) for _, node in self.program.outputs]

    def output(self, node: Node) -> Stream:
        """The stream of an output of the program: features where its own features are, else last."""
        try:
            s = self.stream(self.env[node], node)
        except NotUnderstood as error:
            if node.op == "call_function":
                raise Broken(node, error) from error
            raise TraceError(f"an output cannot be read: {error}") from error
        found = s.feature_dims
        feature = found[0] if len(found) == 1 and found[0] > 0 else len(s.dims) - 1
        if len(s.dims) < 2:
            raise TraceError("an output cannot be read: it is one number for every example; give it a feature axis")
        try:
            return exact(self, node, s, feature, first=feature == 1 and len(s.dims) > 2)
        except NotUnderstood as error:
            from .arguments import restored

            restore = restored(s.dims, (1, *s.signal.shape), batch=True)
            out: Stream = self.opaque(node, [s], str(error), lambda x, p: restore(x[0]))
            return out

    def value(self, argument: Any) -> Any:
        """What an argument of a call stands for; plain data is itself."""
        if isinstance(argument, Node):
            return self.env[argument]
        if isinstance(argument, (list, tuple)):
            return type(argument)(self.value(a) for a in argument)
        return argument

    def _lower(self, node: Node) -> Value:
        args = [self.value(a) for a in node.args]
        kwargs = {k: self.value(v) for k, v in node.kwargs.items()}
        if node.target is operator.getitem:
            return self._item(node, args)
        kinds = {type(v) for v in _tensors((*args, *kwargs.values()))}
        if kinds <= {Fixed}:
            return self._fold(node, args, kwargs)
        if made := _made(node, kwargs):
            return made
        if kinds <= {Fixed, Data}:
            return self._data(node, args, kwargs)
        if (plain := _plain(node, args, kwargs)) is not None:
            return plain
        if node in self.program.detached:
            return self._fallback(node, args, kwargs, "it is computed without gradients")
        if _names(node)[1] == "detach":
            if node.args[0] in self.program.detached and isinstance(args[0], Stream):
                return args[0]  # opaque, and without a gradient, already
            return self._fallback(node, args, kwargs, "no gradient comes back through it")
        handler = next((HANDLERS[n] for n in _names(node) if n in HANDLERS), _unknown)
        try:
            out = self._handled(node, handler, args, kwargs)
            return replace(out, origin=(node, tuple(args), kwargs)) if isinstance(out, Lazy) else out
        except (NotUnderstood, Tangled) as error:
            return self._fallback(node, args, kwargs, str(error))
        except Exception as error:  # arguments that a handler does not foresee
            reason = f"its arguments are not foreseen ({type(error).__name__}: {error})"
            return self._fallback(node, args, kwargs, reason)

    def _handled(self, node: Node, handler: Handler, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Value:
        """What a handler makes of a call, in which sums of parameters are taken apart."""
        from .ops.combined import opened, prepared
        from .ops.forming import formed

        name = _names(node)[1]
        out = None if kwargs else formed(node, name, args)
        if out is not None:
            return out
        out = prepared(self, node, name, handler, args)
        if out is not None:
            return out
        plain = [opened(self, node, name, a) for a in args]
        return handler(self, node, *plain, **{k: opened(self, node, name, v) for k, v in kwargs.items()})

    def _data(self, node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Data:
        """What is made of inputs alone; views of one input stay views of it."""
        names = [n for n in _names(node) if n in HANDLERS]
        if args and isinstance(args[0], Data) and args[0].base is not None and not VIEWS.isdisjoint(_names(node)):
            try:
                return replace(HANDLERS[names[0]](self, node, *args, **kwargs), node=node)
            except Exception:  # views that nothing follows
                return self._made(node)
        return self._made(node)

    def _made(self, node: Node) -> Data:
        """What is made of inputs, by more than a view."""
        example = node.meta["val"]
        if not isinstance(example, torch.Tensor) or example.ndim < 2 or example.shape[0] != self.batch:
            return Data(node)
        return Data(node, node, canonical([int(n) for n in example.shape]))

    def _item(self, node: Node, args: Sequence[Any]) -> Value:
        whole, i = args
        if isinstance(whole, Data):
            return Data(node)
        return whole[i]

    def _fold(self, node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Value:
        """The value of a call that depends on nothing."""
        fixed = [v.tensor for v in _tensors((*args, *kwargs.values()))]
        plain = [_mapped(a, lambda v: v.tensor) for a in args]
        named = {k: _mapped(v, lambda t: t.tensor) for k, v in kwargs.items()}
        if "device" in named:
            named["device"] = "cpu"
        try:
            out = node.target(*plain, **named)  # type: ignore[operator]
        except (RuntimeError, NotImplementedError, TypeError):
            if not fixed:
                raise
            meta = [_mapped(a, lambda v: v.tensor.to("meta")) for a in args]
            named = {k: _mapped(v, lambda t: t.tensor.to("meta")) for k, v in kwargs.items()}
            if "device" in named:
                named["device"] = "meta"
            out = node.target(*meta, **named)  # type: ignore[operator]
        return _wrapped(out)

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

    def stream(self, value: Value, node: Node, channels_first: bool | None = None) -> Stream:
        """A value as what a port carries: data become inputs of the network, parameters and numbers sources.

        Raises:
            NotUnderstood: for scores of attention that are used for something else.
        """
        from .sources import source

        if isinstance(value, Stream):
            return value
        if isinstance(value, Data):
            return self._input(value, channels_first)
        return source(self, node, value)

    def _input(self, value: Data, channels_first: bool | None) -> Stream:
        if value.moved and value.base is not None:
            last = value.dims[-1]
            image = len(value.base.meta["val"].shape) > 2
            first = channels_first is not True and image and bool(last) and last[0].axis == 1
            whole = self._input(Data(value.base), first if last else channels_first)
            return whole.arranged(value.dims)
        example = value.example
        if not example.ndim:
            raise NotUnderstood("something made of the inputs has no batch axis")
        given = any(i.node is value.node for i in self.program.inputs)
        if example.shape[0] != self.batch and given and example.is_floating_point():  # the same for every example
            sizes = tuple(int(n) for n in example.shape)
            return self.add_input(value.node, Signal(sizes[-1], sizes[:-1]), "single").single
        if example.shape[0] != self.batch:
            raise NotUnderstood("something made of the inputs has no batch axis")
        if not example.is_floating_point():
            raise NotUnderstood("integers made of the inputs are used as numbers")
        first = example.ndim > 2 if channels_first is None else channels_first
        first = first and example.ndim > 2 and (channels_first is True or example.ndim > 3)
        shape = tuple(int(n) for n in example.shape[1:])
        if not shape:
            raise NotUnderstood("an input is one number for every example; give it a feature axis")
        signal = Signal(shape[0], shape[1:], True) if first else Signal(shape[-1], shape[:-1])
        return self.add_input(value.node, signal, "numbers")

    def add_input(self, node: Node, signal: Signal, kind: str) -> Stream:
        """An input of the architecture: a node of the program and how it is read (numbers, tokens, mask)."""
        if (node, kind) not in self._inputs:
            self._inputs[node, kind] = self._read_input(node, signal, kind)
        return self._inputs[node, kind]

    def _read_input(self, node: Node, signal: Signal, kind: str) -> Stream:
        from .computed import computed

        made = node not in {i.node for i in self.program.inputs}
        if made and kind in ("numbers", "tokens", "opaque numbers", "opaque tokens"):
            try:
                s = computed(self, node, signal)
                self.computed[s.port[0]] = node, kind
                return s
            except NotUnderstood as error:
                self.notes.append(f"{self.place(node).op} of the inputs is read as if it could be anything: {error}")
        self.data.append((node, kind))
        return self.builder.add_input(signal, self.batch)

    def _fallback(self, node: Node, args: Sequence[Any], kwargs: Mapping[str, Any], reason: str) -> Value:
        from .opaque import opaque_call

        return opaque_call(self, node, args, kwargs, reason)

    def opaque(self, node: Node, reads: Sequence[Stream], reason: str, call: Callable[..., Any], **options: Any) -> Any:
        """An opaque block; its reason is kept for the report."""
        from .opaque import emit_opaque

        return emit_opaque(self, node, reads, reason, call, **options)


def _unknown(low: Lowering, node: Node, *args: Any, **kwargs: Any) -> Value:
    raise NotUnderstood("no rule is known for it")


def _names(node: Node) -> tuple[str, str]:
    """Names under which an operation is looked up: with its overload, and without (`slice.Tensor`, `slice`)."""
    full = str(node.target).removeprefix("aten.").removesuffix(".default")
    overload = getattr(node.target, "_overloadname", "default")
    return full, full.removesuffix(f".{overload}")


def _tensors(values: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for v in values:
        if isinstance(v, (list, tuple)):
            found += _tensors(v)
        elif isinstance(v, (Stream, Weight, Fixed, Data, Lazy)):
            found.append(v)
    return found


def _made(node: Node, kwargs: Mapping[str, Any]) -> Fixed | None:
    """What a call makes of the shape of a tensor alone: zeros, ones, or one number everywhere."""
    name = _names(node)[1]
    example = node.meta.get("val")
    if name not in MAKERS or not isinstance(example, torch.Tensor):
        return None
    dtype = torch.float64 if example.is_floating_point() else example.dtype
    value = MAKERS[name]
    if value is None:
        value = kwargs.get("fill_value", node.args[-1])
        if not isinstance(value, (int, float, bool)):
            return None
    return Fixed(torch.full(tuple(int(n) for n in example.shape), value, dtype=dtype))


def _plain(node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Value | None:
    """A product with zeros, and a sum with zeros of no other shape: states that loops start from; None for all else."""
    name, example = _names(node)[1], node.meta.get("val")
    zeros = [isinstance(a, Fixed) and a.known and a.tensor.is_floating_point() and not a.tensor.any() for a in args]
    if len(args) != 2 or kwargs or sum(zeros) != 1 or not isinstance(example, torch.Tensor):
        return None
    other = args[zeros.index(False)]
    if name in ("mul", "matmul", "mm", "bmm"):
        return Fixed(torch.zeros(tuple(int(n) for n in example.shape), dtype=torch.float64))
    if name == "add" and isinstance(other, Stream) and other.shape == tuple(int(n) for n in example.shape):
        return other
    return None


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, Fixed):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(v, change) for v in value)
    return value


def _wrapped(value: Any) -> Value:
    if isinstance(value, torch.Tensor):
        return Fixed(value)
    if isinstance(value, (list, tuple)):
        return tuple(_wrapped(v) for v in value)
    return value


def nodes_of(arguments: Any) -> list[Node]:
    """The nodes among the arguments of a call."""
    found: list[Node] = []
    map_arg(arguments, found.append)
    return found
