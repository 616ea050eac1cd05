"""What is not understood: an opaque block that computes the call itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Node

from lawful.blocks import Block, Moved, Opaque, Signal, Whole

from .along import along
from .arguments import Arguments
from .computed import resized
from .degrees import Equation, equations
from .felt import STEPS
from .layout import COPIES, Dims, canonical
from .measured import Call, measured
from .purity import name_of
from .steps.concatenation import as_positions
from .values import NotUnderstood, Stream, Value

if TYPE_CHECKING:
    from .context import Context


# why a call that is never felt is named: a choice that the rules take for free may be no free one
ONLY_CHOICES = "it makes choices only: laws that hold because some choices never occur are not listed"


def opaque_call(
    low: Context, node: Node, args: Sequence[Any], kwargs: Mapping[str, Any], reason: str, measure: bool = True
) -> Value:
    """The call of a node as an opaque block with a port for every stream that it reads; its degrees are measured."""
    arguments, slots, call = _planned(low, node, args, kwargs)
    still = node in low.program.detached
    many = isinstance(node.meta["val"], (list, tuple))
    kinds = [t.is_floating_point() or t.is_complex() for t in _several(node.meta["val"])]
    name = low.place(node).op.partition(".")[0]
    inner = node in low.unfelt
    cut = still or inner or name == "detach" or name in STEPS
    plain = all(kinds) and not still and not inner and not arguments.mixed
    known = equations(name, slots, args, len(kinds)) if plain and not arguments.divided else None
    reason = ONLY_CHOICES if inner else reason
    if many and any(kinds) and not all(kinds) and not cut:
        each = [lambda x, p, i=i: call(x, p)[i] for i in range(len(kinds))]
        gives = node.meta["val"]
        return tuple(_one(low, node, arguments, reason, f, t, measure) for f, t in zip(each, gives, strict=True))
    if plain and not many and not cut and measure and len(arguments.reads) == 1 and not arguments.names:
        alone = along(low, node, arguments.reads[0], _of_one(call), node.meta["val"])
        if alone is not None:
            return alone
        (whole,) = arguments.reads
        for d in whole.feature_dims[::-1] if len(whole.feature_dims) > 1 else ():  # the others may be positions as well
            apart = whole
            try:
                for other in [i for i in whole.feature_dims if i != d]:
                    apart = as_positions(low, node, apart, other)
            except NotUnderstood:
                continue
            moved, _, at = _planned(low, node, [apart if a is whole else a for a in args], kwargs)
            alone = along(low, node, moved.reads[0], _of_one(at), node.meta["val"])
            if alone is not None:
                return alone
    if plain and not cut and known is None and measure:
        known = measured_of(node, arguments, call)
    return emit_opaque(low, node, arguments.reads, reason, call, names=arguments.names, known=known, cut=cut)


def _planned(
    low: Context, node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Arguments, dict[str, list[str]], Call]:
    """What a call reads, which of it every argument takes, and the call from the tensors of that."""
    arguments = Arguments(low, node)
    slots: dict[str, list[str]] = {}
    plans, named = [], {}
    for i, a in enumerate(args):
        plans.append(arguments.plan(a))
        slots[str(i)] = arguments.taken()
    for k, v in kwargs.items():
        if k != "device":
            named[k] = arguments.plan(v)
            slots[k] = arguments.taken()
    target: Callable[..., Any] = node.target  # type: ignore[assignment]
    still = node in low.program.detached

    def call(x: Sequence[torch.Tensor], p: Mapping[str, torch.Tensor]) -> Any:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not still):
            values = [f(x, p) for f in plans]
            values[4:5] = [_end(values, node) for _ in values[4:5]]
            values = list(resized(node, values, low.batch, arguments.batch(x)))
            return target(*values, **{k: f(x, p) for k, f in named.items()})

    return arguments, slots, call


def _of_one(call: Call) -> Callable[[torch.Tensor], Any]:
    """A call of one tensor."""
    return lambda x: call([x], {})


def _one(
    low: Context,
    node: Node,
    arguments: Arguments,
    reason: str,
    call: Callable[..., Any],
    gives: torch.Tensor,
    measure: bool,
) -> Stream:
    """One of the outputs of a call that gives numbers and where they were found."""
    real = gives.is_floating_point()
    if real and measure and len(arguments.reads) == 1 and not arguments.names:
        alone = along(low, node, arguments.reads[0], _of_one(call), gives)
        if alone is not None:
            return alone
    known = measured_of(node, arguments, call, gives) if real and measure and not arguments.mixed else None
    out: Stream = emit_opaque(
        low,
        node,
        arguments.reads,
        reason if real else ONLY_CHOICES,
        call,
        names=arguments.names,
        known=known,
        gives=gives,
        cut=not real,
    )
    return out


def measured_of(
    node: Node, arguments: Arguments, call: Callable[..., Any], gives: Any = None
) -> tuple[tuple[Equation, ...], bool] | None:
    """What the factors of a call obey as they are measured, if all that it reads are real numbers.

    Args:
        node: the call.
        arguments: what it reads.
        call: computes what it gives.
        gives: an example of what it gives; by default that of the node.
    """
    read = [n.meta.get("val") for n in node.all_input_nodes]
    if any(s.signal.tokens for s in arguments.reads) or any(
        isinstance(t, torch.Tensor) and t.is_complex() for t in read
    ):
        return None
    reads = [(s.shape_batch, *s.signal.shape) for s in arguments.reads]
    own = {k: shape for k, (_, shape) in arguments.names.items()}
    return measured(call, reads, own, len(_several(node.meta["val"] if gives is None else gives)))


def _end(args: Sequence[Any], node: Node) -> Any:
    """The end of a slice that is written: torch cannot map over calls that name the largest number there is."""
    dim, end = args[2], args[4]
    if name_of(node) == "slice_scatter" and dim and type(end) is int:
        return min(end, node.meta["val"].shape[dim])
    return end


def emit_opaque(
    low: Context,
    node: Node,
    reads: Sequence[Stream],
    reason: str,
    call: Callable[..., Any],
    names: Mapping[str, tuple[str, tuple[int, ...]]] | None = None,
    known: tuple[tuple[Equation, ...], bool] | None = None,
    gives: Any = None,
    cut: bool = False,
    moves: str = "",
) -> Any:
    """An opaque block with the outputs of a node, and their streams; one with the degrees of the call if known.

    Args:
        low: the program.
        node: the call that it stands for.
        reads: the streams that it reads.
        reason: why it is opaque.
        call: computes what it gives from the tensors of the ports and of the parameters.
        names: parameters by local name, each with its name and shape in the architecture.
        known: what the factors of the call obey.
        gives: an example of what it gives, a tensor or several; by default that of the node.
        cut: whether no gradient comes back through it.
        moves: `picks`, `adds` or `chooses` for a call that moves the positions of its first port, adds them up, or
            gives the largest of them, feature by feature.
    """
    example = node.meta["val"] if gives is None else gives
    many = isinstance(example, (list, tuple))
    batched = any(r.batched for r in reads)
    shapes = [tuple(int(n) for n in t.shape) if isinstance(t, torch.Tensor) else (1,) for t in _several(example)]
    ranks = [len(s) for s in shapes]
    leads = [_lead(s, reads) if batched else () for s in shapes]
    single = [batched and _of_positions(s, reads) for s in shapes]
    shapes = [(*lead, *s[1:]) if lead else s for s, lead in zip(shapes, leads, strict=True)]
    shapes = [(*s, 1) if one else s for s, one in zip(shapes, single, strict=True)]
    if not batched:  # one example, whatever the first axis is
        shapes = [(1, *(s or (1,))) for s in shapes]
    signals = []
    for s in shapes:
        inner = s[1:] or (1,)
        image = len(s) > 3 and any(r.signal.channels_first and len(r.dims) == len(s) for r in reads)
        image |= len(s) > 2 and low.place(node).op.startswith("conv")
        signals.append(Signal(inner[0], inner[1:], True) if image else Signal(inner[-1], inner[:-1]))
    locals_ = tuple((k, shape) for k, (_, shape) in (names or {}).items())
    run = _canonical_outputs(call, shapes, many, batched)
    op = low.place(node).op
    behind = not names and not moves and _behind(low, reads)
    block: Block = Opaque(op, len(reads), tuple(signals), locals_, run, cut=cut)
    if known is not None and not behind:
        block = Whole(op, len(reads), tuple(signals), known[0], locals_, run, narrow=known[1])
    if moves:
        block = Moved(op, len(reads), tuple(signals), locals_, run, adds=moves == "adds", chooses=moves == "chooses")
    weights = {k: full for k, (full, _) in (names or {}).items()}
    streams = low.emit(node, block, reads, weights, label=low.place(node).op.split(".")[0])
    if behind:
        low.behind.add(streams[0].port[0])
    elif moves:
        pass
    elif known is None:
        low.reasons[streams[0].port[0]] = (node, reason)
    else:
        low.narrow[streams[0].port[0]] = (node, reason)
    out = tuple(
        Stream(s.port, s.signal, _arranged(shape, lead, rank, batched))
        for s, shape, lead, rank in zip(streams, shapes, leads, ranks, strict=True)
    )
    return out if many else out[0]


def _behind(low: Context, reads: Sequence[Stream]) -> bool:
    """Whether all that is read was made by opaque blocks, which are named already, without any parameter since."""
    builder = low.builder
    waiting, seen, opaque = [r.port for r in reads], set(), False
    while waiting:
        name = waiting.pop()[0]
        if name in seen or name == "input":
            continue
        seen.add(name)
        block = builder.blocks[name]
        if type(block) is Opaque and name not in low.narrow:
            opaque = True
        elif builder.names.get(name) or isinstance(block, Opaque) or not builder.reads.get(name):
            return False
        else:
            waiting += builder.reads[name]
    return opaque


def _lead(shape: Sequence[int], reads: Sequence[Stream]) -> tuple[int, ...]:
    """Examples and positions that share the first axis of an output as they share that of an input: their numbers."""
    for r in reads:
        atoms = r.dims[0] if r.dims and shape and r.shape[0] == shape[0] else ()
        axes = [a.axis for a in atoms]
        if len(atoms) > 1 and axes[0] == 0 and COPIES not in axes and r.feature_axis not in axes:
            return tuple(a.size for a in atoms)
    return ()


def _of_positions(shape: Sequence[int], reads: Sequence[Stream]) -> bool:
    """Whether an output has one number for every example and position of an input, and no features."""
    for r in reads:
        outer = r.dims[: len(shape)]
        axes = {a.axis for d in outer for a in d}
        if r.shape[: len(shape)] == tuple(shape) and len(axes) > 1 and not axes & {COPIES, r.feature_axis}:
            return True
    return False


def _arranged(shape: tuple[int, ...], lead: tuple[int, ...], rank: int, batched: bool) -> Dims:
    """How an output lies in what its port carries."""
    dims = canonical((*shape, 1))[0 if batched else 1 :]
    return (tuple(a for d in dims[: len(lead)] for a in d), *dims[len(lead) :])[:rank] if lead else dims[:rank]


def _several(example: Any) -> Sequence[Any]:
    return example if isinstance(example, (list, tuple)) else (example,)


def _canonical_outputs(
    call: Callable[..., Any], shapes: Sequence[tuple[int, ...]], many: bool, batched: bool
) -> Callable[..., Any]:
    def run(x: Sequence[torch.Tensor], p: Mapping[str, torch.Tensor]) -> Any:
        found = call(x, p)
        parts = list(found) if many else [found]
        out = []
        for t, shape in zip(parts, shapes, strict=True):
            inner = shape[1:] or (1,)
            batch = t.numel() // max(math.prod(inner), 1) if batched and isinstance(t, torch.Tensor) and t.ndim else 1
            out.append(t.reshape(batch, *inner) if isinstance(t, torch.Tensor) else t)
        return tuple(out) if many else out[0]

    return run
