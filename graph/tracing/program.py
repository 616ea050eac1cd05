"""What a torch module computes, as a flat graph of ATen calls.

This file is long because what a program holds stands beside the one place that reads it off an export.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.export.graph_signature import InputKind
from torch.fx import Graph, Node

from lawful.theory.oracle.double import double
from lawful.theory.oracle.lending.holders import LendingError
from lawful.theory.oracle.lending.lent import lent, refuse_unready
from lawful.theory.oracle.lending.storage import SharedMemoryError, same_memory, shared_names, shares_memory
from lawful.theory.oracle.modules import as_double
from lawful.theory.oracle.outputs import NO_EXAMPLE, is_empty

from .calls import Call, FlatCall, Outputs, read_call
from .empties import without_empty
from .errors import OpenError, TraceError
from .exported import Exported
from .exporting import export, on_meta, quietly
from .flatten import Flattener, Value
from .noise import as_placeholders, drawn_example
from .pairs import in_pairs
from .places import Place, place_of
from .products import reorder
from .refusals import drawn_from, moving_state, no_parameters, refuse_open_shapes, refuse_writes


@dataclass(frozen=True)
class Input:
    """A tensor that the module reads.

    Attributes:
        node: its placeholder.
        name: by the forward's own names.
        example: the example it was traced with.
        draw: for random numbers that the forward draws itself, what draws them.
    """

    node: Node
    name: str
    example: torch.Tensor
    draw: str = ""


@dataclass(frozen=True, eq=False)
class Program:
    """What a module computes.

    Attributes:
        graph: pure ATen calls in topological order, only those that an output needs; no output node.
        inputs: the tensors among its arguments, in order.
        parameters: placeholders of trained tensors, with the first name that the module has for each.
        aliases: other names of a parameter, with the first one.
        buffers: placeholders of buffers, with their names and the module's own tensors.
        constants: placeholders of tensors that the forward makes from numbers or keeps in plain attributes.
        outputs: the tensors of real numbers it gives, by name.
        frozen: parameters that take no gradient.
        unused: parameters that no output depends on.
        detached: nodes that are computed of parameters without gradients; `detach` stands where others read them.
        recorded: whether it is one run on the example, whose branches others may not take.
        call: the arguments of the module without their tensors.
        notes: what a reader should know.
        limits: what a reader of the laws should know.
        changed: the buffers of which they say that the forward changes them.
        draws: for every draw of random numbers the number of the input that holds it, or what it gave when it was
            recorded; None where no output depends on it.
        branches: whether another call may take other branches than the one that was traced.
        seconds: what took how long.
        doubted: why the forward as it is written cannot be read, where it was read with all rows in the place of chosen
            ones (see `AllRows`): a comparison has to show that this is the same. Empty for all other forwards.
    """

    graph: Graph
    inputs: tuple[Input, ...]
    parameters: dict[Node, str]
    aliases: dict[str, str]
    buffers: dict[Node, tuple[str, torch.Tensor]]
    constants: dict[Node, torch.Tensor]
    outputs: tuple[tuple[str, Node], ...]
    frozen: frozenset[str]
    unused: tuple[str, ...]
    detached: frozenset[Node]
    recorded: bool
    call: Call = field(repr=False)
    notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    changed: frozenset[str] = frozenset()
    branches: bool = False
    draws: tuple[int | torch.Tensor | None, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    doubted: str = ""

    def place(self, node: Node) -> Place:
        """Where a call stands in the module and in its code."""
        return place_of(node)


def export_program(
    module: torch.nn.Module,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    axis: int | None = 0,
    recorded: bool = False,
) -> Program:
    """Reads a module as a flat graph, in the mode that it is in.

    What is exported is the module itself, so that its hooks, its closures and a forward that was patched are read as
    they run; it is left as it was (see `lent`).  A batch of one example is doubled: with a single one torch would take
    broadcasting for granted.

    Args:
        module: any module, also on the meta device.
        args: its example inputs: tensors in any nesting; everything else is passed on as it is.
        kwargs: its keyword inputs, likewise.
        axis: that of the examples in its inputs, 0 or 1, or None where all of it is one example (see `read_call`).
        recorded: whether its run on the example is recorded (see `record`), where torch.export shows no graph.

    Raises:
        TraceError: for what cannot be read, with the line of code.
    """
    if recorded:
        return _exported(module, args, kwargs, axis, recorded=True)
    try:
        return _exported(module, args, kwargs, axis)
    except OpenError as error:
        if any(p.device.type == "meta" for p in module.parameters()):
            raise
        try:
            return replace(_exported(module, args, kwargs, axis, rows=True), doubted=str(error))
        except Exception:  # it takes more than all rows
            raise error from None


def _exported(
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    axis: int | None,
    rows: bool = False,
    recorded: bool = False,
) -> Program:
    """As `export_program`; with all rows in the place of chosen ones if asked to."""
    try:
        refuse_unready(module)
    except LendingError as error:
        raise TraceError(str(error)) from error
    call, given = read_call(module, args, kwargs or {}, axis)
    notes = list(_shared(call.names, given))
    examples = tuple(t.detach().clone(memory_format=torch.contiguous_format) for t in given)
    seen: list[Outputs] = []
    start = time.perf_counter()
    try:
        meta = any(p.device.type == "meta" for p in module.parameters())
        examples = tuple(t.to("meta") for t in examples) if meta else examples
        change = as_double if recorded else None  # numbers that are read out are those of the comparison
        examples = tuple(map(as_double, examples)) if recorded else examples
        wide = double() if recorded else nullcontext()
        with on_meta(module) if meta else nullcontext(), lent(module, change) as own, quietly(), wide:
            flat = FlatCall(module, call, seen.append, rows)
            if call.single:
                rest = [i for i in range(len(examples)) if i not in call.shared]
                examples = tuple(t.repeat(3, *[1] * (t.ndim - 1)) if i in rest else t for i, t in enumerate(examples))
                exported = export(flat, examples, module, recorded)
            elif all(t.ndim and t.shape[0] == 1 for t in examples):
                doubled = tuple(t.repeat(2, *[1] * (t.ndim - 1)) for t in examples)
                try:
                    exported, examples = export(flat, doubled, module, recorded), doubled
                except TraceError:  # a forward with a batch of one built in
                    exported = export(flat, examples, module, recorded)
                    notes.append("the forward takes a single example only: its numbers hold for a batch of one")
            else:
                exported = export(flat, examples, module, recorded)
    except (SharedMemoryError, LendingError) as error:
        raise TraceError(f"{type(module).__name__}: {error}") from error
    exporting = time.perf_counter() - start
    start = time.perf_counter()
    program = _read(module, exported, call, examples, seen[-1], notes, own.unregistered)
    if drawn := seen[-1].drawn:
        program = replace(program, limits=(*program.limits, drawn_from(drawn)), branches=True)
    program.seconds.update(export=exporting, flatten=time.perf_counter() - start)
    return program


def _shared(names: Sequence[str], tensors: Sequence[torch.Tensor]) -> Iterator[str]:
    """Notes on inputs that were one tensor, which are two inputs of the program."""
    first: dict[int, str] = {}
    for name, tensor in zip(names, tensors, strict=True):
        other = first.setdefault(id(tensor), name)
        if other != name:
            yield f"the inputs {other} and {name} were one tensor; they are traced as two"


def _read(
    module: torch.nn.Module,
    exported: Exported,
    call: Call,
    examples: Sequence[torch.Tensor],
    given: Outputs,
    notes: list[str],
    unregistered: Mapping[str, torch.Tensor],
) -> Program:
    """The flat graph of an exported program, with the module's own names."""
    flat = Flattener()
    shared = shared_names(module)
    first = {id(p): shared.get(n, n) for n, p in module.named_parameters()}
    names = {n: first[id(p)] for n, p in module.named_parameters(remove_duplicate=False)}
    tensors = dict(module.named_buffers(remove_duplicate=False))
    parameters: dict[str, Value] = {}
    buffers: dict[Node, tuple[str, torch.Tensor]] = {}
    constants: dict[Node, torch.Tensor] = {}
    stray: dict[Node, str] = {}
    inputs: list[Node] = []
    values: list[Any] = []
    placeholders = exported.graph_module.graph.find_nodes(op="placeholder")
    for node, source in zip(placeholders, exported.sources, strict=True):
        target, kind = source.target.removeprefix("module."), source.kind
        if kind is InputKind.CONSTANT_TENSOR:
            target, kind = _registered(module, exported.constants[source.target]) or (target, kind)
        if kind is InputKind.PARAMETER:
            values.append(parameters.setdefault(names[target], flat.placeholder(node, trained=True)))
            continue
        value = flat.placeholder(node)
        values.append(value)
        if kind is InputKind.USER_INPUT:
            inputs.append(value.node)
        elif kind is InputKind.BUFFER:
            buffers[value.node] = (target, tensors[target])
        elif kind is InputKind.CONSTANT_TENSOR:
            kept = exported.constants[source.target]
            constants[value.node] = exported.exact(kept)
            stray.update((value.node, n) for n, t in unregistered.items() if same_memory(t, kept))
    placed = {v.node: n for n, v in parameters.items()}
    found = [flat.outside(v) for v in flat.inline(exported.graph_module, values)]
    refuse_writes(module, flat, placed)
    changed = [n for node, n in zip(inputs, call.names, strict=True) if node in flat.written]
    notes.extend(f"the forward changes its input {n} in place, which is read as work on a copy of it" for n in changed)

    without_empty(flat.graph, found)
    noise = as_placeholders(flat.graph)
    found = in_pairs(flat.graph, flat.detached, _dependent(flat.graph, {*inputs, *placed}), placed, found)
    found = reorder(flat.graph, flat.detached, found)
    moving = _dependent(flat.graph, {*inputs, *placed})
    outputs = tuple((n, node) for n, node in zip(given.tensors, found, strict=True) if node in moving)
    if not outputs and (empty := [(n, t) for n, t in zip(call.names, examples, strict=True) if is_empty(t)]):
        name, tensor = empty[0]
        shape = tuple(tensor.shape)
        raise TraceError(f"{type(module).__name__} reads {name} of shape {shape}, which is empty; {NO_EXAMPLE}")
    if not outputs:
        raise TraceError(
            f"{type(module).__name__} gives no tensor of real numbers that depends on its inputs or parameters; "
            "return what a loss reads"
        )
    live = _needed([node for _, node in outputs])
    for node in reversed(flat.graph.nodes):
        if node not in live and node not in inputs:
            flat.graph.erase_node(node)
    draws, noise = list(noise), {node: name for node, name in noise.items() if node in live}
    state = {n: f"its buffer {name}" for n, (name, _) in buffers.items()} | dict.fromkeys(
        constants, "a tensor it keeps"
    )
    moved = [(state[n], write) for n, write in flat.written.items() if n in live and n in state]
    refuse_open_shapes(module, flat.graph)

    left = [*given.left, *(n for n, node in zip(given.tensors, found, strict=True) if node not in moving)]
    if left:
        notes.append(f"left out of the outputs: {', '.join(dict.fromkeys(left))}")
    used = {n for node, n in placed.items() if node in live}
    meta = any(x.device.type == "meta" for x in examples)
    if noise:
        notes.append(f"random numbers that the forward draws are inputs: {', '.join(sorted(set(noise.values())))}")
    return Program(
        graph=flat.graph,
        inputs=(*(Input(*each) for each in zip(inputs, call.names, examples, strict=True)), *_drawn(noise, meta)),
        parameters={node: n for node, n in placed.items() if node in live},
        aliases={n: canonical for n, canonical in names.items() if n != canonical},
        buffers={node: b for node, b in buffers.items() if node in live},
        constants={node: t for node, t in constants.items() if node in live},
        outputs=outputs,
        frozen=frozenset(n for n, p in module.named_parameters() if not p.requires_grad),
        unused=tuple(dict.fromkeys(n for n in first.values() if n not in used)),
        detached=frozenset(flat.detached & live),
        recorded=exported.recorded,
        call=call,
        notes=tuple(notes),
        limits=(
            *(moving_state(f"{what} ({place_of(write)})") for what, write in moved),
            *no_parameters([name for node, name in stray.items() if node in live]),
        ),
        changed=frozenset(buffers[n][0] for n in flat.written if n in live and n in buffers),
        branches=exported.branches,
        draws=_order(draws, noise, len(inputs)),
    )


def _drawn(noise: Mapping[Node, str], meta: bool) -> Iterator[Input]:
    """The random numbers that a forward draws, as inputs."""
    generator = torch.Generator().manual_seed(0)
    for i, (node, draw) in enumerate(noise.items()):
        example = drawn_example(node, draw, generator)
        yield Input(node, f"noise {i} ({draw})", example.to("meta") if meta else example, draw)


def _order(draws: Sequence[Node], noise: Mapping[Node, str], inputs: int) -> tuple[int | torch.Tensor | None, ...]:
    """For every draw of a forward the input that holds it, or what it gave; None where nobody knows that or cares."""
    place = {node: inputs + i for i, node in enumerate(noise)}
    return tuple(place.get(node, node.meta.get("drawn")) for node in draws)


def _registered(module: torch.nn.Module, constant: torch.Tensor) -> tuple[str, InputKind] | None:
    """The parameter or buffer that a tensor of a closure or a global is; None if it is neither.

    Raises:
        TraceError: for a view of a parameter that was taken outside of the forward.
    """
    kinds = ((InputKind.PARAMETER, module.named_parameters()), (InputKind.BUFFER, module.named_buffers()))
    for kind, named in kinds:
        for name, tensor in named:
            if same_memory(constant, tensor):
                return name, kind
    for name in shares_memory(constant, module):
        raise TraceError(
            f"the forward of {type(module).__name__} reads a view of its parameter {name} that was taken outside of "
            "it, which gets no gradient and moves all the same; take the view in the forward"
        )
    return None


def _dependent(graph: Graph, sources: set[Node]) -> set[Node]:
    """The nodes that depend on some others."""
    found = set(sources)
    for node in graph.nodes:
        if any(n in found for n in node.all_input_nodes):
            found.add(node)
    return found


def _needed(nodes: Sequence[Node]) -> set[Node]:
    """The nodes that some others depend on."""
    found, todo = set(nodes), list(nodes)
    while todo:
        for node in todo.pop().all_input_nodes:
            if node not in found:
                found.add(node)
                todo.append(node)
    return found
