"""What is not understood: an opaque block that computes the call itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Node

from lawful.blocks import Block, Opaque, Signal, Whole

from .computed import has_sizes
from .degrees import Equation, equations
from .layout import COPIES, canonical
from .purity import name_of
from .sources import same_rows
from .values import Data, Fixed, Lazy, Stream, Value, Weight

if TYPE_CHECKING:
    from .lowering import Lowering


def opaque_call(low: Lowering, node: Node, args: Sequence[Any], kwargs: Mapping[str, Any], reason: str) -> Value:
    """The call of a node as an opaque block with a port for every stream that it reads."""
    from .ops.formed import Formed, leaves, tensor_of

    reads: list[Stream] = []
    names: dict[str, tuple[str, tuple[int, ...]]] = {}
    slots: dict[str, list[str]] = {}
    here: list[str] = []  # the tensors in the argument that is planned
    mixed: list[Formed] = []  # arguments that are made of several parameters

    def plan(value: Any) -> Any:
        """How an argument is found again: a function of the streams and the parameters."""
        if isinstance(value, Data) and value.moved and value.example.is_floating_point():
            value = low.stream(value, node)
        if isinstance(value, Data):
            example = value.example
            tokens = not example.is_floating_point()
            kind = "raw" if example.ndim < 2 or example.shape[0] != low.batch else "tokens" if tokens else "numbers"
            shape = tuple(int(n) for n in example.shape[1:]) or (1,)
            signal = Signal(shape[-1], shape[:-1])
            if tokens:
                given = next((i.example for i in low.program.inputs if i.node is value.node), None)
                known = given is not None and given.device.type != "meta" and given.numel()
                words = int(given.max()) + 1 if known and given is not None else 2
                signal = Signal(words, tuple(int(n) for n in example.shape[1:]), tokens=True)
            value = low.add_input(value.node, signal, f"opaque {kind}")
            raw = tuple(int(n) for n in example.shape)
            reads.append(value)
            at = len(reads) - 1
            here.append(f"x{at}")
            sizes = (-1, *raw[1:]) if raw else ()
            if tokens:
                return lambda x, p: x[at].reshape(sizes).to(example.dtype)
            return lambda x, p: x[at].reshape(sizes)
        if isinstance(value, Formed):
            own = {w: plan(w) for w in leaves(value)}
            if len(own) != 1 or len(leaves(value)) != 1:
                mixed.append(value)
            return lambda x, p: tensor_of(value, lambda w: own[w](x, p))
        if isinstance(value, Weight):
            local = f"weight{len(names)}"
            here.append(f"p{len(names)}")
            names[local] = (value.name, value.full or (1,))
            restore = restored(value.dims, value.full, batch=False)
            return lambda x, p: restore(p[local])
        if isinstance(value, Fixed):
            here.append("f")
            t = value.tensor
            spread = t.ndim > 1 and t.shape[0] == low.batch > 1 and same_rows(t)

            def fixed(x: Sequence[torch.Tensor], p: Mapping[str, torch.Tensor]) -> torch.Tensor:
                found = t[:1].expand(x[0].shape[0], *t.shape[1:]) if spread and x else t
                return found.to(x[0]) if x and t.is_floating_point() else found

            return fixed
        if isinstance(value, (list, tuple)) and any(not isinstance(v, (int, float, bool, str)) for v in value):
            parts = [plan(v) for v in value]
            return lambda x, p: [part(x, p) for part in parts]
        if isinstance(value, (Stream, Lazy)):
            s = low.stream(value, node)
            reads.append(s)
            at = len(reads) - 1
            here.append(f"x{at}")
            restore = restored(s.dims, (1, *s.signal.shape), batch=True)
            return lambda x, p: restore(x[at])
        return lambda x, p: value

    plans, named = [], {}
    for i, a in enumerate(args):
        plans.append(plan(a))
        slots[str(i)], here = here, []
    for k, v in kwargs.items():
        if k != "device":
            named[k] = plan(v)
            slots[k], here = here, []
    target: Callable[..., Any] = node.target  # type: ignore[assignment]

    still = node in low.program.detached

    def call(x: Sequence[torch.Tensor], p: Mapping[str, torch.Tensor]) -> Any:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not still):
            fixed = list(args)
            values = [f(x, p) for f in plans]
            sizes = {low.batch: x[0].shape[0]} if any(r.batched for r in reads) else {}
            values[4:5] = [_end(values, node) for _ in values[4:5]]
            values = [_rebatched(v, a, sizes, node) for v, a in zip(values, fixed, strict=True)]
            return target(*values, **{k: f(x, p) for k, f in named.items()})

    many = isinstance(node.meta["val"], (list, tuple))
    real = all(t.is_floating_point() for t in (node.meta["val"] if many else [node.meta["val"]]))
    name = low.place(node).op.partition(".")[0]
    known = (
        equations(name, slots, args, len(node.meta["val"]) if many else 1) if real and not still and not mixed else None
    )
    return emit_opaque(low, node, reads, reason, call, names=names, known=known)


def _end(args: Sequence[Any], node: Node) -> Any:
    """The end of a slice that is written: torch cannot map over calls that name the largest number there is."""
    dim, end = args[2], args[4]
    if name_of(node) == "slice_scatter" and dim and type(end) is int:
        return min(end, node.meta["val"].shape[dim])
    return end


def _rebatched(value: Any, argument: Any, sizes: Mapping[int, int], node: Node) -> Any:
    """Sizes of a view follow the batch: a leading number that is the traced batch becomes the batch that runs."""
    if not sizes or not has_sizes(node) or not isinstance(argument, (list, tuple)) or not argument:
        return value
    (old, new), *_ = sizes.items()
    if old != new and all(isinstance(n, int) for n in argument) and argument[0] == old:
        return [new, *argument[1:]]
    return value


def emit_opaque(
    low: Lowering,
    node: Node,
    reads: Sequence[Stream],
    reason: str,
    call: Callable[..., Any],
    names: Mapping[str, tuple[str, tuple[int, ...]]] | None = None,
    known: tuple[tuple[Equation, ...], bool] | None = None,
) -> Any:
    """An opaque block with the outputs of a node, and their streams; one with the degrees of the call if known.

    Raises:
        NotUnderstood: for a call that gives no tensor of real numbers with a batch axis.
    """
    example = node.meta["val"]
    many = isinstance(example, (list, tuple))
    outputs = [t for t in (example if many else [example])]
    if any(not isinstance(t, torch.Tensor) or not t.is_floating_point() for t in outputs) and not many:
        outputs = [t for t in outputs if isinstance(t, torch.Tensor)]
    shapes = [tuple(int(n) for n in t.shape) if isinstance(t, torch.Tensor) else (1,) for t in outputs]
    if not any(r.batched for r in reads):  # one example, whatever the first axis is
        shapes = [(1, *(s or (1,))) for s in shapes]
    signals = []
    for s in shapes:
        inner = s[1:] or (1,)
        image = len(s) > 3 and any(r.signal.channels_first and len(r.dims) == len(s) for r in reads)
        image |= len(s) > 2 and low.place(node).op.startswith("conv")
        signals.append(Signal(inner[0], inner[1:], True) if image else Signal(inner[-1], inner[:-1]))
    locals_ = tuple((k, shape) for k, (_, shape) in (names or {}).items())
    run = _canonical_outputs(call, shapes, many, any(r.batched for r in reads))
    op = low.place(node).op
    block: Block = Opaque(op, len(reads), tuple(signals), locals_, run)
    if known is not None:
        block = Whole(op, len(reads), tuple(signals), known[0], locals_, run, narrow=known[1])
    weights = {k: full for k, (full, _) in (names or {}).items()}
    streams = low.emit(node, block, reads, weights, label=low.place(node).op.split(".")[0])
    if known is None:
        low.reasons[streams[0].port[0]] = (node, reason)
    else:
        low.narrow[streams[0].port[0]] = (node, reason)
    out = tuple(
        Stream(s.port, s.signal, canonical(shape if len(shape) > 1 else (*shape, 1))[: max(len(shape), 1)])
        for s, shape in zip(streams, shapes, strict=True)
    )
    if not any(r.batched for r in reads):
        out = tuple(s.arranged(s.dims[1:]) for s in out)
    return out if many else out[0]


def _canonical_outputs(
    call: Callable[..., Any], shapes: Sequence[tuple[int, ...]], many: bool, batched: bool
) -> Callable[..., Any]:
    def run(x: Sequence[torch.Tensor], p: Mapping[str, torch.Tensor]) -> Any:
        found = call(x, p)
        parts = list(found) if many else [found]
        out = []
        for t, shape in zip(parts, shapes, strict=True):
            inner = shape[1:] or (1,)
            batch = t.shape[0] if batched and isinstance(t, torch.Tensor) and t.ndim else 1
            out.append(t.reshape(batch, *inner) if isinstance(t, torch.Tensor) else t)
        return tuple(out) if many else out[0]

    return run


def restored(dims: Any, shape: Sequence[int], batch: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """From the tensor of a port (or a parameter) to the traced tensor.

    Args:
        dims: how the traced tensor arranges it.
        shape: shape of the tensor of the port; the length of the batch is read from the tensor that comes.
        batch: whether axis 0 is the batch.
    """
    atoms: dict[int, list[Any]] = {}
    for d in dims:
        for a in d:
            if a.axis != COPIES:
                atoms.setdefault(a.axis, []).append(a)
    pieces: list[int] = []
    index: dict[tuple[int, int], int] = {}
    for axis in range(len(shape)):
        found = sorted(atoms.get(axis, []), key=lambda a: -a.stride)
        for a in found:
            index[axis, a.stride] = len(pieces)
            pieces.append(-1 if batch and axis == 0 and len(found) == 1 else a.size)
        if not found:
            pieces.append(1)
            index[axis, -1 - axis] = len(pieces) - 1
    flat = [a for d in dims for a in d if a.axis != COPIES]
    order = [index[a.axis, a.stride] for a in flat]
    rest = [i for i in range(len(pieces)) if i not in order]

    def run(t: torch.Tensor) -> torch.Tensor:
        sizes = [t.shape[0] if n == -1 else n for n in pieces]
        y = t.reshape(sizes).permute(*order, *rest).reshape([sizes[i] for i in order])
        at = 0
        out: list[int] = []
        for d in dims:
            length = 1
            for a in d:
                if a.axis == COPIES:
                    y = y.unsqueeze(at)
                    y = y.expand(*y.shape[:at], a.size, *y.shape[at + 1 :])
                length *= y.shape[at]
                at += 1
            out.append(length)
        return y.reshape(out)

    return run
