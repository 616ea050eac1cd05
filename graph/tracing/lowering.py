"""From a flat graph of ATen calls to an architecture: every call becomes a block, a change of view, or opaque."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import Signal
from lawful.theory.oracle.modules import as_double

from .arguments import restored
from .arrange import exact
from .computed import computed
from .context import HANDLERS, Context, Handler, names_of
from .errors import TraceError
from .known import by_zeros, filled, folded, tensors_of
from .layout import Tangled, canonical
from .opaque import emit_opaque, opaque_call
from .program import Program
from .regions import Region, lower_region, units
from .steps.combined import opened, prepared
from .steps.entrywise import entrywise
from .steps.formed import grid
from .steps.forming import formed
from .unfinished import finished
from .values import Data, Fixed, Lazy, NotUnderstood, Scores, Stream, Value, Weight

TAKEN = "of the inputs is taken for an input of its own, with any values"  # what could not be followed back
VIEWS = frozenset(
    {"transpose", "permute", "view", "reshape", "unsqueeze", "squeeze", "t", "expand", "contiguous", "clone"}
    | {"repeat_interleave", "flatten", "unflatten", "_unsafe_view", "view_as", "reshape_as", "alias", "swapaxes"}
)


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


class Lowering(Context):
    """One program on its way to an architecture.

    Args:
        program: the module as a flat graph.
        regions: calls that become opaque blocks, whatever is known of them.
        cuts: for parameters of which overlapping parts are read, the places where their axes are cut.
    """

    def __init__(
        self,
        program: Program,
        regions: Sequence[Region] = (),
        cuts: Mapping[str, Sequence[Sequence[int]]] | None = None,
    ) -> None:
        super().__init__(program)
        self.regions = regions
        self._inputs: dict[tuple[Node, str], Stream] = {}
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
                    self.env |= self._region(unit)
                elif unit.op == "call_function" and unit not in self.env:
                    self.env[unit] = self._lower(unit)
            except Exception as error:
                call = unit if isinstance(unit, Node) else next(iter(unit.calls))
                raise Broken(call, error) from error
        return [self.output(node) for _, node in self.program.outputs]

    def _region(self, region: Region) -> Mapping[Node, Value]:
        """Several calls as one block, or one by one."""
        try:
            return lower_region(self, region)
        except NotUnderstood:
            if not region.measured:
                raise
        for node in self.program.graph.nodes:
            if node in region.calls:
                self.env[node] = self._lower(node)
        return {}

    def output(self, node: Node) -> Stream:
        """The stream of an output of the program: features where its own features are, else last."""
        try:
            s = self.stream(self.env[node], node)
        except NotUnderstood as error:
            if node.op == "call_function":
                raise Broken(node, error) from error
            raise TraceError(f"an output cannot be read: {error}") from error
        rank = len(s.dims)
        if rank < 2:  # one number for every example, or a loss: a single feature
            s = s.arranged((*s.dims, *((),) * (2 - rank)))
        found = s.feature_dims
        alone = [d for d in found if all(a.axis == s.feature_axis for a in s.dims[d])]  # the others are pixels too
        found = alone if len(alone) == 1 else found
        feature = found[0] if len(found) == 1 and found[0] > 0 else len(s.dims) - 1
        try:
            y = exact(self, node, s, feature, first=feature == 1 and len(s.dims) > 2)
            return y.arranged(y.dims[:rank]) if rank < 2 else y
        except NotUnderstood as error:
            restore = restored(s.dims, (1, *s.signal.shape), batch=True)
            out: Stream = emit_opaque(self, node, [s], str(error), lambda x, p: restore(x[0]))
            return out

    def _lower(self, node: Node) -> Value:
        args = [self.value(a) for a in node.args]
        kwargs = {k: self.value(v) for k, v in node.kwargs.items()}
        if node.target is operator.getitem:
            return self._item(node, args)
        kinds = {type(v) for v in tensors_of((*args, *kwargs.values()))}
        if kinds <= {Fixed}:
            return folded(node, args, kwargs)
        if made := filled(node, kwargs):
            return made
        if kinds <= {Fixed, Data}:
            return self._data(node, args, kwargs)
        if (plain := by_zeros(node, args, kwargs)) is not None:
            return plain
        if node in self.program.detached:
            return opaque_call(self, node, args, kwargs, "it is computed without gradients")
        if names_of(node)[1] == "detach":
            if node.args[0] in self.program.detached and isinstance(args[0], Stream):
                return args[0]  # opaque, and without a gradient, already
            return opaque_call(self, node, args, kwargs, "no gradient comes back through it")
        handler = next((HANDLERS[n] for n in names_of(node) if n in HANDLERS), _unknown)
        try:
            return self._with_origin(node, handler, args, kwargs)
        except (NotUnderstood, Tangled) as error:
            plain = [self._shown(node, a) for a in args]  # what waits for one thing may be a tensor for another
            if any(a is not b for a, b in zip(args, plain, strict=True)):
                try:
                    return self._with_origin(node, handler, plain, kwargs)
                except (NotUnderstood, Tangled):
                    pass
            return opaque_call(self, node, args, kwargs, str(error))
        except Exception:  # arguments that a handler does not foresee
            return opaque_call(self, node, args, kwargs, "its arguments are of a form that no rule follows")

    def _with_origin(self, node: Node, handler: Handler, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Value:
        """As `_handled`; what is lazy knows the call it comes from."""
        out = self._handled(node, handler, args, kwargs)
        return replace(out, origin=(node, tuple(args), dict(kwargs))) if isinstance(out, Lazy) else out

    def _shown(self, node: Node, value: Value) -> Value:
        """Scores and weights of attention as a tensor, where it can be written down."""
        if isinstance(value, (list, tuple)) and any(isinstance(v, Scores) for v in value):
            return type(value)(self._shown(node, v) for v in value)
        if not isinstance(value, Scores):
            return value
        before = set(self.reasons) | set(self.narrow)
        try:
            out = self.stream(value, node)
        except (NotUnderstood, Tangled):
            return value
        return out if before >= set(self.reasons) | set(self.narrow) else value

    def _handled(self, node: Node, handler: Handler, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Value:
        """What a handler makes of a call, in which sums of parameters are taken apart."""
        name = names_of(node)[1]
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
        names = [n for n in names_of(node) if n in HANDLERS]
        if args and isinstance(args[0], Data) and args[0].base is not None and not VIEWS.isdisjoint(names_of(node)):
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

    def stream(self, value: Value, node: Node, channels_first: bool | None = None) -> Stream:
        """See `Context.stream`."""
        if isinstance(value, Stream):
            return value
        if isinstance(value, Data):
            return self._input(value, channels_first)
        return finished(self, node, value)

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
        if example.shape[0] != self.batch and not example.is_complex():  # the same for every example
            sizes = tuple(int(n) for n in example.shape)
            if not given:
                self.notes.append(f"{self.place(value.node).op} {TAKEN}")
            return self.add_input(value.node, Signal(sizes[-1], sizes[:-1]), "single").single
        if example.shape[0] != self.batch:
            raise NotUnderstood("something made of the inputs has no batch axis")
        if example.is_complex():
            raise NotUnderstood("complex numbers made of the inputs are used")
        first = example.ndim > 2 if channels_first is None else channels_first
        first = first and example.ndim > 2 and (channels_first is True or example.ndim > 3)
        shape = tuple(int(n) for n in example.shape[1:])
        if not shape:
            raise NotUnderstood("an input is one number for every example; give it a feature axis")
        signal = Signal(shape[0], shape[1:], True) if first else Signal(shape[-1], shape[:-1])
        return self.add_input(value.node, signal, "numbers")

    def add_input(self, node: Node, signal: Signal, kind: str) -> Stream:
        """See `Context.add_input`."""
        if (node, kind) not in self._inputs:
            self._inputs[node, kind] = self._read_input(node, signal, kind)
        return self._inputs[node, kind]

    def _read_input(self, node: Node, signal: Signal, kind: str) -> Stream:
        made = node not in {i.node for i in self.program.inputs}
        if made and kind in ("numbers", "tokens", "opaque numbers", "opaque tokens"):
            try:
                s = computed(self, node, signal)
                self.computed[s.port[0]] = node, kind
                return s
            except NotUnderstood as error:
                if node.meta["val"].is_complex():  # no input of the network is complex
                    raise
                self.notes.append(f"{self.place(node).op} {TAKEN}: {error}")
        self.data.append((node, kind))
        return self.builder.add_input(signal, self.batch)


def _unknown(low: Context, node: Node, *args: Any, **kwargs: Any) -> Value:
    return entrywise(low, node, *args, **kwargs)
