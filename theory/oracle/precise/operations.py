"""Primitive operations of torch on jets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from flint import arb, arb_series, fmpq

from .. import aten
from .jets import Jet, Series, UnknownError, compared, joined
from .numbers import one

# after differentiation there are also those of several values, and the adjoints
MOVES = aten.MOVES | frozenset("cat stack slice_scatter select_scatter embedding copy scatter".split())
MAPS = aten.MAPS | frozenset(
    "avg_pool2d_backward avg_pool3d_backward _adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward".split()
)
WIDEST = 1024  # entries of a value whose map is measured
Operation = Callable[..., Any]


def _tanh(x: arb_series) -> arb_series:
    return 1 - 2 / ((2 * x).exp() + 1)


def _sinh(x: arb_series) -> arb_series:
    return (x.exp() - (-x).exp()) / 2


def _cosh(x: arb_series) -> arb_series:
    return (x.exp() + (-x).exp()) / 2


SERIES: dict[str, Series] = {
    "exp": lambda x: x.exp(),
    "exp2": lambda x: (x * arb(2).log()).exp(),
    "expm1": lambda x: x.exp() - 1,
    "log": lambda x: x.log(),
    "log1p": lambda x: (1 + x).log(),
    "log2": lambda x: x.log() / arb(2).log(),
    "log10": lambda x: x.log() / arb(10).log(),
    "tanh": _tanh,
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "erf": lambda x: x.erf(),
    "erfc": lambda x: x.erfc(),
    "sqrt": lambda x: x.sqrt(),
    "rsqrt": lambda x: x.rsqrt(),
    "reciprocal": lambda x: 1 / x,
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
    "tan": lambda x: x.tan(),
    "sinh": _sinh,
    "cosh": _cosh,
    "atan": lambda x: x.atan(),
    "asin": lambda x: x.asin(),
    "acos": lambda x: x.acos(),
    "lgamma": lambda x: x.lgamma(),
}
COMPARISONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gt": lambda s: s > 0,
    "ge": lambda s: s >= 0,
    "lt": lambda s: s < 0,
    "le": lambda s: s <= 0,
    "eq": lambda s: s == 0,
    "ne": lambda s: s != 0,
}


Places = tuple[np.ndarray, ...] | np.ndarray


def places(func: Any, args: Any, kwargs: Any) -> Places:
    """Where a movement takes entries from, measured on their numbers: -1 for a zero.

    The entries of all arrays among the arguments are numbered one after the other.
    """
    number = 1

    def numbered(value: Any) -> Any:
        nonlocal number
        if not isinstance(value, Jet):
            return value
        start, number = number, number + math.prod(value.shape)
        return torch.arange(start, number, dtype=torch.float64).reshape(value.shape)

    out = func(*mapped(args, numbered), **mapped(kwargs, numbered))
    if isinstance(out, torch.Tensor):
        return out.numpy().astype(np.int64) - 1
    return tuple(o.numpy().astype(np.int64) - 1 for o in out)


def taken(jets: Sequence[Jet], index: Places) -> Any:
    """Entries of some arrays by their numbers."""
    whole = jets[0].linear(np.ravel) if len(jets) == 1 else joined(jets)
    if isinstance(index, tuple):
        return [_taken(whole, i) for i in index]
    return _taken(whole, index)


def _taken(whole: Jet, index: np.ndarray) -> Jet:
    if index.min(initial=0) >= 0:
        return whole.linear(lambda a: a[index])
    return whole.linear(lambda a: np.where(index >= 0, a[index], one(arb(0))))


def measured(func: Any, args: Any, kwargs: Any, fixed: Callable[[torch.Tensor], Jet]) -> Jet:
    """A linear map of the first argument, measured on a basis; what else has entries gives its shape only."""
    value, *rest = args
    n = value.value.size
    if n > WIDEST:
        raise UnknownError(f"{func} of {n} entries")
    rest = mapped(rest, lambda v: torch.zeros(v.shape, dtype=torch.float64) if isinstance(v, Jet) else v)
    rows = [func(row.reshape(value.shape), *rest, **kwargs) for row in torch.eye(n, dtype=torch.float64)]
    shape = tuple(rows[0].shape)
    matrix = fixed(torch.stack([r.reshape(-1) for r in rows], 1))
    flat_value = value.linear(lambda a: a.reshape(n, 1))
    return matrix.product(flat_value, np.matmul).linear(lambda a: a.reshape(shape))


def add(a: Jet, b: Jet, alpha: Jet | None = None) -> Jet:
    """`a + alpha b`."""
    return a.plus(b if alpha is None else b.times(alpha))


def sub(a: Jet, b: Jet, alpha: Jet | None = None) -> Jet:
    """`a - alpha b`."""
    return a.plus((b if alpha is None else b.times(alpha)).scaled(arb(-1)))


def div(a: Jet, b: Jet) -> Jet:
    """The quotient."""
    return a.times(b.map(SERIES["reciprocal"]))


def floor(a: Jet) -> Jet:
    """The next integer below, whose derivative is zero."""
    found = np.frompyfunc(lambda x: x.floor(), 1, 1)(a.value)
    if not all(x.is_exact() for x in np.ravel(found)):
        raise UnknownError("a number that is rounded down is an integer in all digits")
    return Jet({0: found}, a.work)


def power(a: Jet, exponent: Jet) -> Jet:
    """A power with a fixed exponent, or with a fixed positive base."""
    if len(exponent.parts) > 1 or exponent.value.size > 1:
        return exponent.times(a.map(SERIES["log"])).map(SERIES["exp"])
    n = exponent.value.ravel()[0]
    if n.is_integer():
        whole = int(n.unique_fmpz())
        base = a if whole >= 0 else a.map(SERIES["reciprocal"])
        out = Jet({0: np.full(a.shape, arb(1), dtype=object)}, a.work)
        for _ in range(abs(whole)):
            out = out.times(base)
        return out
    if n == arb(fmpq(1, 2)):
        return a.map(SERIES["sqrt"])
    return a.map(lambda x: (x.log() * n).exp())


def total(a: Jet, axes: Any = (), keep: bool = False) -> Jet:
    """Sum over some axes, over all if none is named."""
    named = [axes] if isinstance(axes, int) else list(axes or range(len(a.shape)))
    over = tuple(i % len(a.shape) for i in named)
    a.work.done += a.value.size * len(a.parts)

    return a.linear(lambda x: x.sum(axis=over, keepdims=keep))


def mean(a: Jet, axes: Any = (), keep: bool = False) -> Jet:
    """Mean over some axes, over all if none is named."""
    out = total(a, axes, keep)
    return out.scaled(arb(fmpq(out.value.size, a.value.size)))


def largest(a: Jet, axes: Any = (), keep: bool = False, *, sign: int = 1) -> Jet:
    """The largest entry over one axis, over all if none is named; the smallest with the sign -1."""
    named = [axes] if isinstance(axes, int) else list(axes)
    if len(named) != 1:
        raise UnknownError("the largest over several axes")
    rows = np.moveaxis(a.value, named[0], -1)
    place = np.zeros(rows.shape[:-1], dtype=np.int64)
    for i in range(1, rows.shape[-1]):
        best = np.take_along_axis(rows, place[..., None], -1)[..., 0]
        place = np.where(sign * compared(rows[..., i], best) > 0, i, place)

    def pick(x: np.ndarray) -> np.ndarray:
        found = np.take_along_axis(np.moveaxis(x, named[0], -1), place[..., None], -1)
        return np.moveaxis(found, -1, named[0]) if keep else found[..., 0]

    return a.linear(pick)


def where(condition: torch.Tensor, a: Jet, b: Jet) -> Jet:
    """Entries of one or the other."""
    chosen = condition.numpy().astype(bool)
    shape = np.broadcast_shapes(chosen.shape, a.shape, b.shape)
    zero = one(arb(0))
    out = {m: np.where(chosen, a.parts.get(m, zero), b.parts.get(m, zero)) for m in a.parts.keys() | b.parts.keys()}
    return Jet({m: np.broadcast_to(x, shape) for m, x in out.items()}, a.work)


def maximum(a: Jet, b: Jet, *, sign: int = 1) -> Jet:
    """The larger of two entries; the smaller with the sign -1."""
    return where(torch.from_numpy(sign * compared(*np.broadcast_arrays(a.value, b.value)) > 0), a, b)


def signs(a: Jet) -> Jet:
    """The signs of all entries."""
    found = compared(a.value, np.broadcast_to(one(arb(0)), a.shape))
    return Jet({0: np.frompyfunc(arb, 1, 1)(found.astype(object))}, a.work)


def put(a: Jet, indices: Sequence[Any], values: Jet, accumulate: bool = False) -> Jet:
    """Entries added at some places, or put there."""
    numbers = torch.arange(math.prod(a.shape)).reshape(a.shape)
    places = numbers[tuple(slice(None) if i is None else i for i in indices)].numpy()
    masks = a.parts.keys() | values.parts.keys()
    out = {}
    for m in masks:
        flat_ = a.parts[m].ravel().copy() if m in a.parts else np.full(math.prod(a.shape), arb(0), dtype=object)
        new = np.broadcast_to(values.parts[m] if m in values.parts else one(arb(0)), places.shape).ravel()
        if accumulate:
            np.add.at(flat_, places.ravel(), new)
        else:
            flat_[places.ravel()] = new
        out[m] = flat_.reshape(a.shape)
    return Jet(out, a.work)


def _matmul(a: Jet, b: Jet) -> Jet:
    return a.product(b, np.matmul)


def _inner(a: Jet, b: Jet) -> Jet:
    column = _matmul(a, b.linear(lambda x: x[:, None]))
    return column.linear(lambda x: x[..., 0] if x.ndim > 1 else x.reshape(()))


OPERATIONS: dict[str, Operation] = {
    "add": add,
    "sub": sub,
    "rsub": lambda a, b, alpha=None: sub(b, a, alpha),
    "neg": lambda a: a.scaled(arb(-1)),
    "mul": Jet.times,
    "div": div,
    "floor": floor,
    "pow": power,
    "square": lambda a: a.times(a),
    "mm": _matmul,
    "bmm": _matmul,
    "mv": _inner,
    "dot": _inner,
    "addmm": lambda c, a, b: c.plus(_matmul(a, b)),
    "baddbmm": lambda c, a, b: c.plus(_matmul(a, b)),
    "addcmul": lambda c, a, b: c.plus(a.times(b)),
    "sum": total,
    "mean": mean,
    "amax": largest,
    "amin": lambda a, axes=(), keep=False: largest(a, axes, keep, sign=-1),
    "where": where,
    "maximum": maximum,
    "minimum": lambda a, b: maximum(a, b, sign=-1),
    "abs": lambda a: a.times(signs(a)),
    "sign": signs,
    "sgn": signs,
    "index_put": put,
}


def flat(value: Any) -> list[Any]:
    """Everything in nested arguments."""
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in flat(v)]
    if isinstance(value, dict):
        return [x for v in value.values() for x in flat(v)]
    return [value]


def mapped(value: Any, read: Callable[[Any], Any]) -> Any:
    """Nested arguments with everything in them replaced."""
    if isinstance(value, (list, tuple)):
        return type(value)([mapped(v, read) for v in value])
    if isinstance(value, dict):
        return {k: mapped(v, read) for k, v in value.items()}
    return read(value)
