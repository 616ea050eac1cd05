"""Calls that mix positions and do the same to every feature, each by itself: Fourier transforms, medians, spreads.

No table names them.  A call of one stream is looked at in numbers: it is a linear map of the positions if it commutes
with every matrix on the features and takes sums to sums, and homogeneous if it commutes with positive factors up to a
power.  Sizes from tiny to huge are tried, so that what is linear between fixed bounds alone is not taken for more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Node

from lawful.blocks import Along, Signal

from .layout import COPIES, Atom, Dim, canonical
from .measured import CLOSE, DENOMINATOR, SCALES
from .values import Stream

if TYPE_CHECKING:
    from .context import Context

Traced = Callable[[torch.Tensor], torch.Tensor]
MOST = 4_000_000  # entries that are read and given at most
LARGE = 250_000  # entries above which fewer points are tried
FEW = (1.0, 1e-3, 1e6, 1e-6)


def along(low: Context, node: Node, s: Stream, call: Traced, example: torch.Tensor) -> Stream | None:
    """What a call gives that treats every feature of a stream alike and by itself; None for any other call.

    Args:
        low: the program.
        node: the call.
        s: the stream that it reads.
        call: from the tensor of its port to the traced output.
        example: something of the shape of that.
    """
    plain = example.is_floating_point() and example.ndim and s.batched
    if not plain or s.signal.tokens or not s.dims[0] or [a.axis for a in s.dims[0]] != [0]:
        return None
    if max(s.shape_batch * math.prod(s.signal.shape), example.numel()) > MOST:
        return None
    own = s.feature_dims
    whole = all(len(s.dims[d]) == 1 for d in own)
    if not whole or not s.signal.space or 0 in own or any(a.axis == COPIES for d in own for a in s.dims[d]):
        return None
    shape = tuple(int(n) for n in example.shape)
    order = sorted(own, key=lambda d: -s.dims[d][0].stride)
    for found in combinations(range(1, len(shape)), len(own)):
        home = [found[own.index(d)] for d in order]
        if shape[0] == s.shape_batch and [shape[d] for d in home] == [s.shape[d] for d in order]:
            seen = _Seen(s, call, home)
            key = (node.target, node.args[1:], s.signal, s.dims, tuple(home)) if _alone(node) else node
            if key not in low.kinds or key is node:
                low.kinds[key] = seen.kind()
            if (kind := low.kinds[key]) is not None:
                return _emitted(low, node, s, seen, shape, kind)
    return None


def _alone(node: Node) -> bool:
    """Whether a call reads one tensor and plain data, so that others like it do the same, and gives one."""
    one = isinstance(node.meta["val"], torch.Tensor) and not node.meta["val"].is_complex()
    return one and node.all_input_nodes == list(node.args[:1]) and not node.kwargs


@dataclass(frozen=True)
class _Kind:
    """What a call is seen to be: its degree, what comes out of a constant, and whether it leaves positions out."""

    power: Fraction | None
    total: Fraction | None
    gaps: bool


class _Seen:
    """A call in numbers, with the features last on both sides.

    Args:
        s: the stream that it reads.
        call: from the tensor of its port to the traced output.
        home: the dimensions of the output that hold features, from the outermost one.
    """

    def __init__(self, s: Stream, call: Traced, home: Sequence[int]) -> None:
        self.home = home
        self._stream = s
        self._call = call
        self._generator = torch.Generator().manual_seed(0)

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """From the tensor of the port to the output with features last."""
        y = self._call(x)
        y = y.movedim(list(self.home), list(range(-len(self.home), 0)))
        return y.flatten(-len(self.home)) if len(self.home) > 1 else y if self.home else y.unsqueeze(-1)

    def _plain(self, x: torch.Tensor) -> torch.Tensor:
        """The same, of features last."""
        return self.run(x.movedim(-1, self._stream.feature_axis))

    def _random(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self._generator, dtype=torch.float64, device="cpu")

    def _points(self) -> Iterator[torch.Tensor]:
        s = self._stream
        shape = (s.shape_batch, *s.signal.space, s.signal.features)
        for c in SCALES if math.prod(shape) <= LARGE else FEW:
            yield c * self._random(*shape)

    def kind(self) -> _Kind | None:
        """What the call is; None for one of no such kind."""
        with torch.random.fork_rng(devices=[]):
            try:
                linear = self.linear()
                power = None if linear else self.power()
            except Exception:  # numbers of another kind are asked for
                return None
            if linear or (power is not None and not self.turns()):
                return _Kind(power, self.total(), self.gaps())
        return None

    def linear(self) -> bool:
        """Whether it commutes with matrices on the features, takes sums to sums, and examples by themselves."""
        n = self._stream.signal.features
        for x in self._points():
            z = float(x.abs().max()) * self._random(*x.shape)
            orders = [torch.randperm(n, generator=self._generator) for _ in range(2)]
            factors = self._random(2, n)
            y = self._plain(x)

            def mixed(t: torch.Tensor, orders: Any = orders, factors: Any = factors) -> torch.Tensor:
                return factors[0] * t[..., orders[0]] + factors[1] * t[..., orders[1]]

            sums = _same(self._plain(x + z), y + self._plain(z))
            if not (sums and _same(self._plain(mixed(x)), mixed(y)) and self._apart(x, y)):
                return False
        return True

    def power(self) -> Fraction | None:
        """The degree in which it answers positive factors of single features, 0 for none; None if it mixes them."""
        n = self._stream.signal.features
        found: Fraction | None = None
        homogeneous = True
        for x in self._points():
            factors = torch.exp(self._random(n))
            order = torch.randperm(n, generator=self._generator)
            y = self._plain(x)
            if not bool(y.isfinite().all()) or not bool(y.any()):
                return None
            if found is None:
                ratio = math.log(float(self._plain(2 * x).norm() / y.norm())) / math.log(2)
                found = Fraction(ratio).limit_denominator(DENOMINATOR)
            others = self._plain(torch.cat([x[..., :1], 1.7 * x[..., 1:].flip(0)], -1))
            alone = _same(others[..., :1], y[..., :1]) and _same(self._plain(x[..., order]), y[..., order])
            if not (alone and self._apart(x, y)):
                return None
            homogeneous &= _same(self._plain(x * factors), y * factors ** float(found))
        if homogeneous:
            return found or None  # no rule of ours says that every scale of its own is unseen
        return Fraction(0)

    def _apart(self, x: torch.Tensor, y: torch.Tensor) -> bool:
        """Whether it treats every example alike and by itself."""
        if len(x) == 1:
            return True
        mixed = x.clone()
        mixed[1:] = x[1:].flip(0) * 1.7
        return _same(self._plain(mixed)[:1], y[:1]) and _same(self._plain(x.flip(0)), y.flip(0))

    def gaps(self) -> bool:
        """Whether some places of what it gives are always 0, or some of what it reads are not read."""
        given, read = [], []
        for x in self._points():  # a median reads one place of each
            with torch.enable_grad():
                x = x.requires_grad_()
                y = self._plain(x)
                (slope,) = torch.autograd.grad((y * self._random(*y.shape)).sum(), x)
            given.append(y.detach().abs().amax(-1))
            read.append(slope.abs().amax(-1))
        return any(bool((torch.stack(t).amax(0) <= CLOSE * t[0].amax()).any()) for t in (given, read))

    def turns(self) -> bool:
        """Whether a factor or a constant, of all positions or of one, becomes a factor or a constant of everything.

        Products, logarithms and sums of exponentials do that; laws that join the two are of no rule here.
        """
        x = next(self._points())
        y = self._plain(x)
        one = torch.zeros(x.shape[1:-1], dtype=x.dtype).flatten()
        one[0] = 1.0
        for where in (one.reshape(*x.shape[1:-1], 1), torch.ones(*x.shape[1:-1], 1, dtype=x.dtype)):
            scaled, shifted = self._plain(x * (1 + where * 0.7)), self._plain(x + where * 0.7 * x.abs().max())
            constants = (scaled - y,)  # of a factor; a constant of a constant is `total`
            factors = (shifted / y, scaled / y) if bool((where == 0).any()) else (shifted / y,)
            for t, still in (*((t, 0.0) for t in constants), *((t, 1.0) for t in factors)):
                level = t.mean()
                moved = float((level - still).abs()) > CLOSE
                if moved and bool(t.isfinite().all()) and float((t - level).abs().max()) <= CLOSE * float(level.abs()):
                    return True
        return False

    def total(self) -> Fraction | None:
        """What comes out of a constant one at every position on top of the rest: one number, else None."""
        numbers = set()
        for x in self._points():
            t = self._random(x.shape[-1]) * x.abs().max()
            more, size = self._plain(x + t) - self._plain(x), float(t.norm())
            number = Fraction(float((more.flatten(0, -2).mean(0) @ t) / (t @ t))).limit_denominator(10**6)
            numbers.add(number if float((more - float(number) * t).abs().max()) <= CLOSE * size else None)
        return numbers.pop() if len(numbers) == 1 else None


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(a.isfinite().all()) and float((a - b).norm()) <= CLOSE * float(b.norm()) + 1e-300


def _emitted(
    low: Context,
    node: Node,
    s: Stream,
    seen: _Seen,
    shape: Sequence[int],
    kind: _Kind,
) -> Stream:
    """The block of such a call, and what it gives."""
    name = low.place(node).op
    space = tuple(n for i, n in enumerate(shape) if i and i not in seen.home)
    signal = Signal(s.signal.features, space)
    block = Along(name, (signal,), kind.power, kind.total, kind.gaps, lambda x, p: seen.run(x[0]))
    (y,) = low.emit(node, block, [s], label=name.partition(".")[0])
    rest = iter(canonical((s.shape_batch, *space)))
    dims: list[Dim] = [() if i in seen.home else next(rest) for i in range(len(shape))]
    stride = s.signal.features
    for d in seen.home:
        stride //= shape[d]
        dims[d] = (Atom(y.feature_axis, shape[d], stride),) if shape[d] > 1 else ()
    return y.arranged(tuple(dims))


__all__ = ["along"]
