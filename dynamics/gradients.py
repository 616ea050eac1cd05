"""What backward wrote, before clipping, unscaling or anything else changed it: watched, and copied only where needed.

A hook notes the version of every gradient when backward has written it, and a few entries.  Where the optimizer later
finds others, somebody changed the gradient in between, and from then on the hook keeps a copy of what backward wrote
(one extra copy of the gradients; of a small model it always keeps one).  The same for the weights: SAM takes its
gradient at another point than its step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .sharded import Shards, local, version

Version = tuple[tuple[int, int, int] | None, tuple[int, int], int]
KEPT = 8  # entries of a gradient that are kept beside its version, which the unscaling of a scaler does not count up
NOISE = 16  # a difference of so many units of rounding, relative to the gradient, is no change


@dataclass
class Seen:
    """What happened to the gradients between backward and the step.

    Attributes:
        altered: the gradients minus the common multiple of what backward wrote that comes closest, where they differ.
        displaced: weights at backward minus weights at the step, where they differ.
        edited: parameters whose gradient was turned around or enlarged, which no clipping does.
        unknown: the gradients were changed, but no copy was kept this time.
        multiple: the common multiple (clipping by norm, unscaling).
        scaled: multiples of single parameters, where others are as backward wrote them.
        mended: parameters whose gradient was not finite when backward wrote it, and is now.
        dropped: those whose gradient backward wrote and somebody took away, so that the optimizer leaves them alone.
    """

    altered: dict[str, Tensor] = field(default_factory=dict)
    displaced: dict[str, Tensor] = field(default_factory=dict)
    edited: tuple[str, ...] = ()
    unknown: bool = False
    multiple: float = 1.0
    scaled: dict[str, float] = field(default_factory=dict)
    mended: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


class GradientWatch:
    """Hooks on the parameters of a model.

    Args:
        parameters: the parameters by name.
        spending: counts the time of what is done inside.
        shards: where the gradients lie, if every process has parts of them only.
        shared: gradients are averaged between processes during backward, so that what counts is there at its end.
        held: whether some optimizer moves a parameter.
        always: copy at every step, for a model that is small.
    """

    def __init__(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        spending: Callable[[], AbstractContextManager[None]],
        shared: bool = False,
        shards: Shards | None = None,
        held: Callable[[Tensor], bool] = lambda p: True,
        always: bool = False,
    ) -> None:
        self._shards, self._held, self._always = shards, held, always
        self._spending = spending
        self._parameters = dict(parameters)
        self._aimed: Collection[str] = self._parameters.keys()  # what is watched in the next step
        self._copy_gradients = self._copy_weights = always or not shared
        self._shared = shared
        self.beginning: Callable[[bool | None], None] = lambda carried: None
        self.running: Callable[[], None] = lambda: None  # called wherever backward writes, watched or not
        self._running = False  # a backward pass
        self._written: set[str] = set()  # by this pass
        self._versions: dict[str, Version] = {}
        self._prints: dict[str, Tensor] = {}
        self._raw: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._handles = [
            p.register_post_accumulate_grad_hook(lambda p, n=n: self._note(n, p))
            for n, p in self._parameters.items()
            if p.requires_grad and p.is_leaf
        ]

    def aim(self, names: Collection[str]) -> None:
        """Says which parameters are watched in the next step."""
        self._aimed = names

    def keep(self) -> None:
        """Takes the gradients as they are now for what backward wrote: call it right before clipping."""
        for n, p in self._watched():
            if p.grad is not None:
                self._mark(n, local(p.grad, p))
                self._raw[n] = local(p.grad, p).clone()

    def close(self) -> None:
        """Takes the hooks away."""
        for handle in self._handles:
            handle.remove()

    def _note(self, name: str, p: Tensor) -> None:
        self.running()
        if name not in self._aimed or p.grad is None or p.grad.is_sparse:
            return
        with self._spending():
            self._written.add(name)
            self.begins()
            if not self._shared:
                self._take(name, p)

    def _take(self, name: str, p: Tensor) -> None:
        if p.grad is not None:
            self._mark(name, local(p.grad, p))
            if self._copy_gradients:
                self._raw[name] = local(p.grad, p).clone()
        if self._copy_weights:
            self._weights[name] = local(p).clone()

    def begins(self) -> None:
        """Says, from a hook within it, that a backward pass runs; the first such call in a pass is its beginning."""
        if self._running:
            return
        self._running = True
        engine = torch.autograd.Variable._execution_engine
        # one more turn: what DDP and FSDP do at the end of the pass is asked for by then, and done before
        engine.queue_callback(lambda: engine.queue_callback(self._ends))
        carried = self.carried(self._held)
        if carried is False:  # what earlier passes wrote is thrown away
            self.forget()
        self.beginning(carried)

    def _ends(self) -> None:
        self._running, self._written = False, set()
        if self._shared:
            with self._spending(), torch.no_grad():
                for n, p in self._watched():
                    if p.grad is not None and not p.grad.is_sparse:
                        self._take(n, p)

    def carried(self, held: Callable[[Tensor], bool]) -> bool | None:
        """At the beginning of a backward pass: whether it adds to earlier gradients; None if these were changed.

        Args:
            held: which parameters count.
        """
        for n, p in self._watched():
            if n in self._written or p.grad is None or not held(p) or not bool(local(p.grad).any()):
                continue
            changed = n in self._versions and self._changed(n, local(p.grad, p))
            return None if changed else True
        return False

    def left(self) -> tuple[str, ...]:
        """At the beginning of a backward pass: the parameters that have a gradient already."""
        some = {n: p.grad for n, p in self._watched() if n not in self._written}
        return tuple(n for n, g in some.items() if g is not None and bool(local(g).any()))

    def seen(self, grads: Mapping[str, Tensor]) -> Seen:
        """What changed since backward; call it right before the step.

        Args:
            grads: the gradients that the optimizer is about to use.
        """
        self._running, self._written = False, set()  # a pass that broke off has no end
        changed = [n for n in grads if n in self._versions and self._changed(n, grads[n])]
        moved = [n for n in grads if n in self._versions and self._version(n)[1:] != self._versions[n][1:]]
        lost = any(n not in self._raw for n in changed) or any(n not in self._weights for n in moved)
        some, other, unknown = self._agreed(bool(changed), bool(moved), lost)
        found = Seen(unknown=unknown)
        found.dropped = tuple(n for n in self._versions if self._parameters[n].grad is None)
        if not unknown:
            if some:
                self._compare(found, grads, set(changed))
            for n in moved:
                step = self._weights[n] - local(self._parameters[n])
                if self._shared or bool(step.any()):  # others may have moved their part
                    found.displaced[n] = step
            if not self._agreed(any(bool(x.any()) for x in found.displaced.values()))[0]:
                found.displaced = {}
        self._copy_gradients = self._always or some
        self._copy_weights = self._always or (unknown and other) or bool(found.displaced)
        self.forget()
        return found

    def forget(self) -> None:
        """Lets go of what backward wrote."""
        self._raw, self._weights, self._versions, self._prints = {}, {}, {}, {}

    def _agreed(self, *answers: bool) -> list[bool]:
        """What some process says, all say: they have to go the same way."""
        if not self._shared:
            return list(answers)
        device = next(iter(self._parameters.values())).device
        said = torch.tensor(answers, dtype=torch.int32, device=device)
        torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX)
        return [bool(x) for x in said.tolist()]

    def _watched(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        return ((n, p) for n, p in self._parameters.items() if n in self._aimed)

    def _version(self, name: str) -> Version:
        p = self._parameters[name]
        mine = None if p.grad is None else (*version(p.grad), local(p.grad).data_ptr())
        return (mine, version(p), local(p).data_ptr())

    def _mark(self, name: str, grad: Tensor) -> None:
        self._versions[name], self._prints[name] = self._version(name), _print(grad).clone()

    def _changed(self, name: str, grad: Tensor) -> bool:
        """Whether a gradient is not what it was when its version was noted."""
        if self._version(name)[0] != self._versions[name][0]:
            return True
        now, before = _print(grad), self._prints[name]
        return not bool(((now == before) | (now.isnan() & before.isnan())).all())

    def _compare(self, found: Seen, grads: Mapping[str, Tensor], changed: set[str]) -> None:
        names = [n for n in grads if n in self._raw]
        # written to, and the same numbers: clipping that did nothing, a scale that was taken back
        other = [(float(n in changed and not torch.equal(grads[n], self._raw[n])),) for n in names]
        changed = {n for n, (x,) in zip(names, self._sums(names, other), strict=True) if x > 0}
        if not changed:
            return
        if self._shards is None:
            found.mended = tuple(
                n for n in changed if bool(grads[n].isfinite().all()) and not bool(self._raw[n].isfinite().all())
            )
            names = [n for n in names if n not in found.mended]
        both = self._sums(names, [(_dot(grads[n], self._raw[n]), _dot(self._raw[n], self._raw[n])) for n in names])
        dots, squares = ({n: pair[i] for n, pair in zip(names, both, strict=True)} for i in (0, 1))
        whole = sum(squares.values())
        found.multiple = sum(dots.values()) / whole if whole > 0 else 1.0
        free = max((dots[n] / squares[n] for n in dots if squares[n] > 0), default=1.0)
        if any(n not in changed for n in dots):  # what nobody touched says how large an untouched gradient is
            free = found.multiple = 1.0
        rests = {n: grads[n] - found.multiple * self._raw[n] for n in names}
        numbers = []
        for n in names:
            unit = NOISE * torch.finfo(grads[n].dtype).eps
            turns = bool((grads[n] * self._raw[n] < 0).any())
            grows = bool((grads[n].abs() > (1 + unit) * abs(free) * self._raw[n].abs() + 1e-300).any())
            numbers.append((_dot(rests[n], rests[n]), _dot(grads[n], grads[n]), float(turns), float(grows)))
        edited = []
        for n, (left, size, turned, grown) in zip(names, self._sums(names, numbers), strict=True):
            unit = NOISE * torch.finfo(grads[n].dtype).eps
            if not left > unit**2 * max(size, found.multiple**2 * squares[n]):
                continue
            own = dots[n] / squares[n] if squares[n] > 0 else 1.0
            if n in changed and any(m not in changed for m in dots):
                rest = grads[n] - own * self._raw[n]
                if self._shards is None and _dot(rest, rest) <= unit**2 * max(size, own**2 * squares[n]):
                    found.scaled[n] = own
            # an orthogonal projection (gradient centralisation, a mask) does neither, whatever single entries do
            projected = abs(free * dots[n] - size) <= unit * size
            if n in changed and not projected and (turned or (grown and len(changed) < len(dots))):
                edited.append(n)
            else:
                found.altered[n] = rests[n]
        found.edited = tuple(edited)

    def _sums(self, names: Sequence[str], numbers: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
        """Numbers of each gradient, added up over the processes that have parts of it; replicas count once."""
        return list(numbers) if self._shards is None else self._shards.sums(names, numbers)


def _print(grad: Tensor) -> Tensor:
    flat = grad.reshape(-1) if grad.is_contiguous() else grad.flatten()[:0]
    return flat[:: max(1, flat.numel() // KEPT)]


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.reshape(-1).double(), b.reshape(-1).double()))
