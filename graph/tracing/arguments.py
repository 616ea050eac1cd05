"""What an opaque block reads, and how the arguments of its calls are found again in that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Node

from lawful.blocks import Signal
from lawful.theory.oracle.double import WIDE

from .computed import on_example, words_of
from .layout import COPIES
from .sources import same_rows
from .steps.formed import Formed, is_linear, leaves, tensor_of
from .values import Combined, Data, Fixed, Lazy, NotUnderstood, Stream, Weight

if TYPE_CHECKING:
    from .context import Context

Found = Callable[[Sequence[torch.Tensor], Mapping[str, torch.Tensor]], Any]


class Arguments:
    """The ports and parameters that an opaque block reads.

    Args:
        low: the program.
        node: the call that the block stands for.

    Attributes:
        reads: the streams that it reads.
        names: its parameters by local name, each with its name and shape in the architecture.
        mixed: whether some argument is made of several parameters.
        divided: whether some argument is divided by its length, so that it has other degrees than its parameter.
    """

    def __init__(self, low: Context, node: Node) -> None:
        self.reads: list[Stream] = []
        self.names: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.mixed = False
        self.divided = False
        self._low = low
        self._node = node
        self._here: list[str] = []
        self._leading: int | None = None  # a port with the examples first

    def batch(self, x: Sequence[torch.Tensor]) -> int:
        """The batch size that runs, by the tensors of the ports."""
        return self._low.batch if self._leading is None else x[self._leading].shape[0]

    def taken(self) -> list[str]:
        """The tensors that were planned since the last time: x0, x1, ... streams, p0, ... parameters, f fixed."""
        out, self._here = self._here, []
        return out

    def plan(self, value: Any) -> Found:
        """How an argument is found again: a function of the streams and the parameters.

        Raises:
            NotUnderstood: for what no port can carry.
        """
        low, node = self._low, self._node
        if isinstance(value, Data) and value.moved and value.example.is_floating_point():
            value = low.stream(value, node)
        if isinstance(value, Data):
            return self._data(value)
        if isinstance(value, Formed):
            own = {w: self._weight(w) for w in leaves(value)}
            self.mixed = self.mixed or len(leaves(value)) != 1
            self.divided = self.divided or not is_linear(value)
            return lambda x, p: tensor_of(value, lambda w: own[w](x, p))
        if isinstance(value, Weight):
            return self._weight(value)
        if isinstance(value, Fixed):
            return self._fixed(value)
        if isinstance(value, (list, tuple)) and any(not isinstance(v, (int, float, bool, str)) for v in value):
            parts = [self.plan(v) for v in value]
            return lambda x, p: [part(x, p) for part in parts]
        if isinstance(value, Combined):
            try:
                value = low.stream(value, node)
            except NotUnderstood:  # a sum that no table can be
                terms = [(self._weight(w), factor) for w, factor in value.terms]
                return lambda x, p: sum(factor * term(x, p) for term, factor in terms)
        if isinstance(value, (Stream, Lazy)):
            s = low.stream(value, node)
            at = self._read(s)
            restore = restored(s.dims, (1, *s.signal.shape), batch=True)
            return lambda x, p: restore(x[at])
        plain = WIDE.get(value, value) if isinstance(value, torch.dtype) else value
        return lambda x, p: plain

    def _read(self, s: Stream, raw: bool = False) -> int:
        self.reads.append(s)
        at = len(self.reads) - 1
        if self._leading is None and s.shape_batch == self._low.batch and s.batched and not raw:
            self._leading = at
        self._here.append(f"x{at}")
        return at

    def _weight(self, value: Weight) -> Found:
        local = f"weight{len(self.names)}"
        self._here.append(f"p{len(self.names)}")
        self.names[local] = (value.name, value.full or (1,))
        restore = restored(value.dims, value.full, batch=False)
        return lambda x, p: restore(p[local])

    def _data(self, value: Data) -> Found:
        low, example = self._low, value.example
        tokens = not (example.is_floating_point() or example.is_complex())
        kind = "raw" if example.ndim < 2 or example.shape[0] != low.batch else "tokens" if tokens else "numbers"
        shape = tuple(int(n) for n in example.shape[1:]) or (1,)
        signal = Signal(shape[-1], shape[:-1])
        if tokens:
            given = example.shape[:1] == (low.batch,) or any(i.node is value.node for i in low.program.inputs)
            words = words_of(on_example(low, value.node) if given else None)  # sizes and counts nobody can draw
            signal = Signal(words, tuple(int(n) for n in example.shape[1:]), tokens=True)
        raw = tuple(int(n) for n in example.shape)
        at = self._read(low.add_input(value.node, signal, f"opaque {kind}"), raw=kind == "raw")
        sizes = (-1, *raw[1:]) if raw else ()
        if tokens:
            return lambda x, p: x[at].reshape(sizes).to(example.dtype)
        return lambda x, p: x[at].reshape(sizes)

    def _fixed(self, value: Fixed) -> Found:
        self._here.append("f")
        t = value.tensor
        spread = t.ndim > 1 and t.shape[0] == self._low.batch > 1 and same_rows(t)

        def fixed(x: Sequence[torch.Tensor], p: Mapping[str, torch.Tensor]) -> torch.Tensor:
            found = t[:1].expand(self.batch(x), *t.shape[1:]) if spread else t
            like = next((y for y in x if y.is_floating_point()), None)
            return found.to(like) if like is not None and t.is_floating_point() else found

        return fixed


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
        y = t.reshape(sizes).permute([*order, *rest]).reshape([sizes[i] for i in order])
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
