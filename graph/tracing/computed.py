"""What stands before all parameters: a block that runs it, or a free input where nothing can tell the two apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from lawful.blocks import Computed, Signal
from lawful.theory.oracle.double import double
from lawful.theory.oracle.modules import as_double

from .known import filled
from .layout import canonical
from .program import Program
from .purity import name_of
from .running import DROPOUTS, Unprepared, dropout_off
from .values import Data, NotUnderstood, Stream

if TYPE_CHECKING:
    from ..architecture.compile import Port
    from .builder import Builder
    from .context import Context

SIZED = frozenset(
    {"view", "reshape", "_unsafe_view", "_reshape_alias", "expand", "broadcast_to", "unflatten", "full", "zeros"}
    | {"ones", "empty", "new_zeros", "new_ones", "new_full", "new_empty", "rand", "randn", "as_strided"}
)
# calls that lose nothing and repeat nothing, for the part of their input that they give
MOVING = frozenset(
    {"view", "reshape", "_unsafe_view", "permute", "transpose", "t", "flatten", "unflatten", "squeeze", "unsqueeze"}
    | {"clone", "contiguous", "to", "_to_copy", "alias", "detach", "select", "slice", "neg", "flip", "roll", "movedim"}
)
SCALING = frozenset({"add", "sub", "mul", "div"})  # of numbers that are nowhere zero where they multiply
RANDOM = DROPOUTS | {"rand_like", "randn_like", "randint_like", "bernoulli", "rand", "randn", "normal", "randint"}


def has_sizes(node: Node) -> bool:
    """Whether the lists among the arguments of a call are sizes, whose first one may be the batch."""
    return name_of(node) in SIZED


def ancestors(nodes: Sequence[Node], ends: Collection[Node] = ()) -> set[Node]:
    """The nodes that some nodes are computed of, with themselves; those of `ends` are computed of nothing."""
    found: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += () if node in ends else node.all_input_nodes
    return found


def _reaches(node: Node, program: Program) -> bool:
    """Whether a parameter is among what a node is computed of."""
    return not ancestors([node]).isdisjoint(program.parameters)


def evaluator(program: Program, wanted: Sequence[Node], traced: int) -> Callable[[Sequence[Any]], list[torch.Tensor]]:
    """From the tensors of a program's inputs to the values of nodes that no parameter reaches.

    Args:
        program: the program.
        wanted: the nodes.
        traced: the batch size that was traced; sizes of views follow the batch that runs.
    """
    needed = ancestors(wanted)
    ones = {n: made.tensor for n in needed if (made := filled(n, n.kwargs)) and _reaches(n, program)}
    needed = ancestors(wanted, ones)  # ones in the shape of something that parameters reach are numbers all the same
    order = [n for n in program.graph.nodes if n in needed]
    known: dict[Node, Any] = {n: as_double(b) for n, (_, b) in program.buffers.items() if n in needed}
    known |= {n: as_double(c) for n, c in program.constants.items() if n in needed}

    def run(tensors: Sequence[Any]) -> list[torch.Tensor]:
        env = known | {i.node: x for i, x in zip(program.inputs, tensors, strict=True)}
        batch = next((x.shape[0] for x in tensors if x is not None and x.ndim), traced)
        for node in order:
            if node in ones:
                t = ones[node]
                env[node] = t[:1].expand(batch, *t.shape[1:]) if t.ndim and len(t) == traced else t
            elif node not in env:
                args = map_arg(node.args, env.__getitem__)
                kwargs = map_arg(node.kwargs, env.__getitem__)
                env[node] = node.target(*resized(node, args, traced, batch), **kwargs)
        return [env[n] for n in wanted]

    return run


def on_example(low: Context, node: Node) -> torch.Tensor | None:
    """What a node that no parameter reaches holds on the example; None where there are no numbers."""
    needed = ancestors([node])
    given = [i.example if i.node in needed else None for i in low.program.inputs]
    if any(x is not None and x.device.type == "meta" for x in given):
        return None
    try:
        with double(), dropout_off():
            (value,) = evaluator(low.program, [node], low.batch)([None if x is None else as_double(x) for x in given])
    except (RuntimeError, LookupError):
        return None
    return value


def resized(node: Node, args: Sequence[Any], traced: int, batch: int) -> Sequence[Any]:
    """The arguments of a call for another batch size than the one that was traced."""
    return [_sized(a, traced, batch) for a in args] if has_sizes(node) else args


def _sized(argument: Any, old: int, new: int) -> Any:
    """The sizes of a view with the batch that runs in place of the one that was traced."""
    if old != new and isinstance(argument, (list, tuple)) and argument and argument[0] == old:
        return type(argument)([new, *argument[1:]])
    return argument


def inserted(low: Context, node: Node, target: Any, *args: Any) -> Data:
    """What a call gives on what is made of the inputs, as one that stands before another call in the program.

    Args:
        low: the program.
        node: the call that needs it.
        target: the operation.
        args: nodes and plain data.
    """
    with low.program.graph.inserting_before(node):
        new = low.program.graph.call_function(target, args)
    new.meta = dict(node.meta)
    with torch.no_grad():
        new.meta["val"] = target(*map_arg(args, lambda n: n.meta["val"]))
    data = low.env[new] = Data(new)
    return data


def computed(low: Context, node: Node, signal: Signal) -> Stream:
    """A block that runs what stands before a node, on the network's own inputs.

    Raises:
        NotUnderstood: if it cannot run apart from the rest: an input has no batch axis, or there are no numbers.
    """
    needed = ancestors([node])
    inputs = [i for i, given in enumerate(low.program.inputs) if given.node in needed]
    reads = [_whole(low, i) for i in inputs]
    if not reads:
        raise NotUnderstood("it is made of the shape of the inputs")
    evaluate = evaluator(low.program, [node], low.batch)
    examples = [low.program.inputs[i].example for i in inputs]
    count = len(low.program.inputs)

    def call(x: Sequence[torch.Tensor]) -> torch.Tensor:
        tensors: list[Any] = [None] * count
        for i, given, example in zip(inputs, x, examples, strict=True):
            whole = given.reshape(-1, *example.shape[1:])
            tensors[i] = whole if example.is_floating_point() else whole.to(example.dtype)
        try:
            with double(), dropout_off():
                (value,) = evaluate(tensors)
            value = value.reshape(value.shape[0], *signal.shape)
            numbers = value.is_floating_point() or value.is_complex()
            return value if signal.tokens or numbers else value.double()  # a count, used as a number
        except (RuntimeError, LookupError) as error:
            raise Unprepared(str(error)) from error

    name = low.place(node).op
    batch = low.batch
    block = Computed(name, len(reads), signal, call)
    (port,) = low.builder.emit(low.title(node, name.split(".")[0]), block, [s.port for s in reads], {}, batch)
    low.origins[port.port[0]] = node
    return port.arranged(canonical((batch, *signal.shape)))


def _whole(low: Context, i: int) -> Stream:
    """An input of the module as an input of the network."""
    given = low.program.inputs[i]
    example = given.example
    if not example.ndim or example.shape[0] != low.batch or example.device.type == "meta":
        raise NotUnderstood("an input without a batch axis, or without numbers")
    shape = tuple(int(n) for n in example.shape[1:])
    if not example.is_floating_point():
        return low.add_input(given.node, Signal(_vocabulary(low, given.node, example), shape, tokens=True), "tokens")
    if not shape:
        return low.add_input(given.node, Signal(1), "column")
    return low.stream(Data(given.node, given.node, canonical((low.batch, *shape))), given.node)


def _vocabulary(low: Context, node: Node, example: torch.Tensor) -> int:
    """How many whole numbers an input may hold: as its readers say, else as the example, which is then said.

    The rows of the smallest table that it picks from say it, and the classes that `F.one_hot` is given.
    """
    if example.dtype == torch.bool:
        return 2
    given = [n for user in node.users if (n := _options(user, node)) > 0]
    if given:
        return min(given)
    found = words_of(example)
    said = (
        f"{node.name}: read as whole numbers below {found}, as in the example; what only others move is called frozen"
    )
    if found > 2 and said not in low.facts:  # zeros and ones are a mask
        low.facts.append(said)
    return found


def words_of(example: torch.Tensor | None) -> int:
    """How many whole numbers there are on an example; two where it has no numbers."""
    known = example is not None and example.device.type != "meta" and example.numel()
    return max(int(example.max()) + 1, 2) if known and example is not None else 2


def _options(user: Node, node: Node) -> int:
    """How many whole numbers a call can tell apart among those that it picks by; 0 where it does not say."""
    name = name_of(user)
    if name == "embedding" and user.args[1] is node:
        return int(user.args[0].meta["val"].shape[0])
    classes = user.args[1] if name == "one_hot" and len(user.args) > 1 else 0
    return classes if isinstance(classes, int) else 0


def is_simple(low: Context, node: Node) -> bool:
    """Whether a node only moves, leaves out, scales and shifts the numbers of one input: it can be everything."""
    program = low.program
    inputs = {i.node for i in program.inputs}
    while node not in inputs:
        name = name_of(node)
        before = [n for n in node.all_input_nodes if n not in program.buffers and n not in program.constants]
        others = [low.env[n].tensor for n in node.all_input_nodes if n not in before]
        others += [torch.tensor(float(a)) for a in node.args if isinstance(a, (int, float))]
        if len(before) != 1 or before[0] is not node.args[0]:
            return False
        size, new = (math.prod(n.meta["val"].shape) for n in (before[0], node))
        real = node.meta["val"].is_floating_point() and before[0].meta["val"].is_floating_point()
        scaled = real and name in SCALING and new == size and not node.kwargs
        if scaled and name in ("mul", "div"):
            scaled = all(bool((t != 0).all()) and bool(torch.isfinite(t).all()) for t in others)
        if not (scaled or (real and name in MOVING and new <= size)):
            return False
        node = before[0]
    return True


def is_random(low: Context, node: Node) -> bool:
    """Whether what stands before a node draws random numbers."""
    return any(name_of(n) in RANDOM for n in ancestors([node]))


def fold(low: Context, outputs: Sequence[Stream], kept: set[str] | None) -> list[Stream]:
    """Turns blocks before all parameters into free inputs where these say the same.

    Args:
        low: the program.
        outputs: the streams that the network ends in.
        kept: the blocks that cannot be everything, or are computed of what others read too; if it is not known yet,
            only those are turned that do nothing but move, scale and shift.

    Returns:
        The streams of the outputs.
    """
    builder = low.builder
    alive = builder.alive([s.port for s in outputs])
    renamed: dict[Port, Port] = {}
    for node, (origin, kind) in list(low.computed.items()):
        if node not in alive or node not in builder.blocks:
            continue
        block = builder.blocks[node]
        assert isinstance(block, Computed)
        if kept is None:
            ends = [s.port for s in outputs]
            sole = all(_readers(builder, alive, p, ends) == [node] for p in builder.reads[node])
            free = sole and (is_simple(low, origin) or is_random(low, origin))
        else:
            free = node not in kept
        if free:
            port = builder.turned_input(node, low.batch)
            low.data.append((origin, kind))
            renamed[node, 0] = port
    return [_renamed(s, renamed) for s in outputs]


def _readers(builder: Builder, alive: set[str], port: Port, ends: Sequence[Port]) -> list[str]:
    return [n for n in builder.blocks if n in alive and port in builder.reads[n]] + ["output"] * (port in ends)


def _renamed(s: Stream, names: dict[Port, Port]) -> Stream:
    return Stream(names[s.port], s.signal, s.dims) if s.port in names else s


__all__ = ["computed", "evaluator", "fold", "has_sizes", "resized"]
