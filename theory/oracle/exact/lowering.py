"""Reading a torch function as a polynomial program, operation by operation.

The function is run once, and every one of the few hundred operations that torch is made of is seen on its way
(`TorchDispatchMode`).  Each is one of: a movement of entries (which is *measured*, by moving their numbers), a sum, a
product, a fixed map, a function of choices alone (whose table is measured option by option), or no polynomial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..aten import FRESH, MAPS, MOVES
from .operations import OPERATIONS, WIDEST
from .program import NotPolynomialError, Program, Shape
from .symbols import Choice, Symbol, Writer

Tensors = dict[str, torch.Tensor]
Function = Callable[[Tensors, Tensors, Tensors], torch.Tensor]


def program_of(
    function: Function,
    parameters: Mapping[str, torch.Tensor],
    data: Mapping[str, torch.Tensor],
    choices: Mapping[str, tuple[Shape, int]],
    frozen: Mapping[str, torch.Tensor] | None = None,
    realised: Mapping[str, np.ndarray] | None = None,
) -> Program:
    """The polynomial that a torch function computes.

    Args:
        function: of parameters, data and choices by name; gives a scalar.
        parameters: examples of the parameters, float64.
        data: examples of what is drawn from all numbers, float64.
        choices: shape and number of options of what is drawn from a few; the function gets integers.
        frozen: examples of what is drawn once; the function gets them beside the data.
        realised: see `Program`.

    Raises:
        NotPolynomialError: names the operation that is no polynomial.
    """
    recorder = Recorder()
    fixed = frozen or {}
    p, x, c = recorder.sources(parameters, data, choices, fixed)
    with torch.no_grad(), recorder:
        result = function(p, x, c)
    out = recorder.read(result)
    if not isinstance(out, Symbol):
        raise NotPolynomialError("nothing that moves reaches the output")
    steps = recorder.writer.builder.reachable(out.step)
    return Program(_shapes(parameters), _shapes(data), dict(choices), steps, _shapes(fixed), realised or {})


def _shapes(examples: Mapping[str, torch.Tensor]) -> dict[str, Shape]:
    return {n: tuple(t.shape) for n, t in examples.items()}


def _options(name: str, shape: Shape, options: int) -> Choice:
    """Choices as they are drawn."""
    table = torch.arange(options).reshape(-1, *[1] * len(shape)).expand(-1, *shape)
    return Choice(name, np.arange(math.prod(shape)).reshape(shape), table)


@dataclass(frozen=True, eq=False)
class Heard:
    """An operation that is no polynomial, in the course of a comparison.

    Attributes:
        name: of the operation.
        given: its positional arguments, values of the program as symbols.
        result: the tensor that it gave for the example numbers.
    """

    name: str
    given: tuple[Any, ...]
    result: Any

    @property
    def above(self) -> bool:
        """Whether it asks if one value of the program is above a fixed number."""
        value, *other = self.given
        plain = len(other) == 1 and isinstance(other[0], (int, float)) and math.isfinite(other[0])
        return self.name == "gt" and isinstance(value, Symbol) and plain

    @property
    def number(self) -> Fraction:
        """The fixed number that a value is compared with."""
        return Fraction(float(self.given[1]))


class Recorder(TorchDispatchMode):
    """Runs operations on example numbers and writes down what they do to symbols."""

    def __init__(self) -> None:
        super().__init__()
        self.writer = Writer()
        self._known: dict[int, tuple[torch.Tensor, Symbol | Choice]] = {}  # holds tensors, so that no id comes twice
        self._heard: list[Heard] | None = None

    def bound(self, tensor: torch.Tensor, value: Symbol | Choice) -> torch.Tensor:
        """A tensor that stands for a value from now on."""
        own = tensor.detach().clone()
        self._known[id(own)] = own, value
        return own

    def sources(
        self,
        parameters: Mapping[str, torch.Tensor],
        data: Mapping[str, torch.Tensor],
        choices: Mapping[str, tuple[Shape, int]],
        frozen: Mapping[str, torch.Tensor],
    ) -> tuple[Tensors, Tensors, Tensors]:
        """Tensors that stand for parameters, for data and frozen numbers, and for choices."""
        kinds = (("parameter", parameters), ("data", data), ("frozen", frozen))
        p, x, f = (
            {n: self.bound(t, self.writer.source(kind, n, tuple(t.shape))) for n, t in examples.items()}
            for kind, examples in kinds
        )
        return p, x | f, {n: self.choice(n, s, k) for n, (s, k) in choices.items()}

    def choice(self, name: str, shape: Shape, options: int) -> torch.Tensor:
        """Integers that stand for choices."""
        return self.bound(torch.zeros(shape, dtype=torch.long), _options(name, shape, options))

    def listen(self, compute: Callable[[], torch.Tensor]) -> tuple[tuple[Heard, ...] | None, torch.Tensor | None]:
        """Runs a comparison; gives the operations in it that are no polynomials, and its result.

        None twice if it does what cannot be read at all.
        """
        self._heard = []
        try:
            result = compute()
            return tuple(self._heard), result
        except NotPolynomialError:
            return None, None
        finally:
            self._heard = None

    def read(self, value: Any) -> Any:
        """The value that a tensor stands for; anything else as it is."""
        return self._known[id(value)][1] if id(value) in self._known else value

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs one operation."""
        out = func(*args, **(kwargs or {}))
        given, named = _mapped(args, self.read), _mapped(kwargs or {}, self.read)
        values = [a for a in _flat((given, named)) if isinstance(a, (Symbol, Choice))]
        name = func.overloadpacket.__name__
        if not values or name in FRESH:
            return out
        if func._schema.is_mutable:
            raise NotPolynomialError(f"{name} changes a value in place, which its other readers would not be told")
        lower = _symbolic if any(isinstance(a, Symbol) for a in values) else _chosen
        try:
            found = lower(self.writer, name, func, given, named)
        except NotPolynomialError:
            if self._heard is None or named:
                raise
            self._heard.append(Heard(name, given, out))
            return out
        for tensor, value in zip(_flat(out), _flat(found), strict=True):
            self._known[id(tensor)] = tensor, value
        return out


def _symbolic(writer: Writer, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """An operation on values of the program."""
    if name in MOVES:
        return _moved(writer, name, func, args, kwargs)
    if name in MAPS:
        return _measured(writer, name, func, args)
    operation = OPERATIONS.get(name)
    if operation is None:
        raise NotPolynomialError(f"{name} is no polynomial")
    return operation(writer, *args, **kwargs)


def _chosen(writer: Writer, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """A function of choices: its value for each option."""
    chosen = [a for a in _flat((args, kwargs)) if isinstance(a, Choice)]
    options = range(len(chosen[0].table))
    if name in ("embedding", "index_select", "index", "gather") and not isinstance(args[0], Choice):
        raise NotPolynomialError(f"{name} of choices reads a table in a way that is not known here")
    if len({c.name for c in chosen}) > 1:
        return _symbolic(writer, name, func, args, kwargs)  # two kinds of choices: each as numbers
    tables = [func(*_mapped(args, _option(k)), **_mapped(kwargs, _option(k))) for k in options]
    if not isinstance(tables[0], torch.Tensor):
        raise NotPolynomialError(f"{name} of choices gives no single tensor")
    if name in MOVES:
        moved = func(*_mapped(args, lambda c: torch.tensor(c.places) if isinstance(c, Choice) else c), **kwargs)
        return Choice(chosen[0].name, moved.numpy().astype(np.int64), torch.stack(tables))
    shape = tuple(tables[0].shape)
    places = [np.broadcast_to(c.places, shape) for c in chosen if len(c.places.shape) <= len(shape)]
    same = len(places) == len(chosen) and all(np.array_equal(p, places[0]) for p in places)
    if not same or (torch.Tag.pointwise not in func.tags and name not in ("where", "_to_copy")):
        return _symbolic(writer, name, func, args, kwargs)
    return Choice(chosen[0].name, places[0], torch.stack(tables))


def _moved(writer: Writer, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """A movement of entries, measured on their numbers."""
    value, *rest = args
    if not isinstance(value, Symbol) or any(isinstance(a, (Symbol, Choice)) for a in _flat((rest, kwargs))):
        raise NotPolynomialError(f"{name} moves entries to places that are computed")
    if name == "constant_pad_nd" and len(rest) > 1 and rest[1]:
        raise NotPolynomialError("padding with a number other than zero")
    shape = writer.shape(value)
    numbers = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).reshape(shape)
    out = func(numbers, *rest, **{k: v for k, v in kwargs.items() if k not in ("dtype", "memory_format")})
    if isinstance(out, torch.Tensor):
        return writer.take(value, out.numpy().astype(np.int64) - 1)
    return [writer.take(value, o.numpy().astype(np.int64) - 1) for o in out]


def _measured(writer: Writer, name: str, func: Any, args: Any) -> Symbol:
    """A linear map with fixed coefficients, measured on a basis: of one row, where it does the same to each of them."""
    value, *rest = args
    shape = writer.shape(value)
    rows = shape[0] if _by_rows(func, shape, rest) else 1
    n = math.prod(shape) // rows
    if n > WIDEST:
        raise NotPolynomialError(f"{name} of {n} entries is too large to be written down")
    basis = torch.eye(n, dtype=torch.float64)
    if rows == 1:
        out = torch.stack([func(e.reshape(shape), *rest) for e in basis])
        found: Shape = tuple(out.shape[1:])
    else:
        out = func(basis.reshape(n, *shape[1:]), *rest)
        found = (rows, *out.shape[1:])
    y = writer.matmul(writer.reshaped(value, (1, rows, n)), writer.symbol(out.reshape(1, n, -1)))
    return writer.reshaped(y, found)


def _by_rows(func: Any, shape: Shape, rest: Sequence[Any]) -> bool:
    """Whether a linear map does the same to every row of a value, and joins none."""
    probe = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).reshape(shape).sin()
    once = torch.cat([func(row, *rest) for row in probe.split(1)])
    whole = func(probe, *rest)
    return once.shape == whole.shape and bool(torch.allclose(once, whole, rtol=1e-12, atol=1e-12))


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in _flat(v)]
    if isinstance(value, dict):
        return [x for v in value.values() for x in _flat(v)]
    return [value]


def _mapped(value: Any, read: Callable[[Any], Any]) -> Any:
    """Arguments with everything in them replaced."""
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(v, read) for v in value)
    if isinstance(value, dict):
        return {k: _mapped(v, read) for k, v in value.items()}
    return read(value)


def _option(k: int) -> Callable[[Any], Any]:
    """Reads what a value is for one option."""
    return lambda value: value.table[k] if isinstance(value, Choice) else value
