"""How one parameter answers an element: what is read of it, what acts on that, and how it is put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import torch

from lawful.theory.gauge.families import is_matrix, skew_axes
from lawful.theory.laws.statement import Part
from lawful.theory.parts import base, read

from .element import Element

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Move:
    """One axis of a parameter that answers.

    Attributes:
        part: how the parameter is read: slices of packed ones, transposed, by heads or groups, with an offset.
        power: degree of the answer: positive for those that move by the element, negative for those that undo it.
        partner: a second parameter on the other half of a joint axis (parallel branches).
        off_diagonal: whether `11^T - I` acts instead of a factor.
    """

    part: Part
    power: Fraction = Fraction(1)
    partner: Part | None = None
    off_diagonal: bool = False

    @property
    def parameter(self) -> str:
        """The parameter by its path, without the slice that is read."""
        return base(self.part.parameter)

    @property
    def axis(self) -> int:
        """The axis of what is read of the parameter (after its views) along which it answers."""
        return self.part.view.order[0]

    def __str__(self) -> str:
        degree = "" if abs(self.power) == 1 else f" to the {abs(self.power)}"
        offset = f"({self.part.offset} + {self.part.parameter})" if self.part.offset else self.part.parameter
        both = "" if self.partner is None else f" with {self.partner.parameter}"
        runs = [f"{a}:{b}" for n, (a, b) in zip(self.part.sizes, self.part.slices, strict=True) if (a, b) != (0, n)]
        return f"{offset} axis {self.axis}" + (f" [{','.join(runs)}]" if runs else "") + both + degree


@dataclass(frozen=True)
class Stack:
    """One parameter of every branch (of every expert): they change places as wholes.

    Attributes:
        names: of the parameters, or of parts of one, in the order of the branches.
    """

    names: tuple[str, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters by their paths, each once."""
        return tuple(dict.fromkeys(map(base, self.names)))

    def read(self, tensors: Tensors) -> torch.Tensor:
        """What changes places, the branches first."""
        return torch.stack([read(n, tensors) for n in self.names])

    def __str__(self) -> str:
        return f"{self.names[0]}, ... {self.names[-1]} as wholes"


def restacked(stack: Stack, element: Element, tensors: Tensors) -> Tensors:
    """The parameters of all branches after a permutation of the branches, by name."""
    now = dict(tensors)
    held = stack.read(now)
    for i, name in zip(element.value.tolist(), stack.names, strict=True):
        whole = base(name)
        now[whole] = _replaced(name, now[whole], held[i])
    return {n: now[n] for n in stack.parameters}


def _replaced(name: str, whole: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A parameter after a part of it got another value."""
    if name == base(name):
        return value.clone()
    numbers = torch.arange(whole.numel(), device=whole.device).reshape(whole.shape)
    out = whole.detach().flatten().clone()
    out[read(name, {base(name): numbers}).flatten()] = value.flatten()
    return out.reshape(whole.shape)


def put(part: Part, tensors: Tensors, act: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The whole parameter after a map of what the part reads; what is not read stays as it is, to the bit."""
    name = base(part.parameter)
    plain = replace(part, offset=Fraction(0))

    def reader(whole: torch.Tensor) -> torch.Tensor:
        return plain.read(read(part.parameter, {name: whole}))

    whole = tensors[name]
    x, back = torch.func.vjp(reader, whole)[:2]
    x = x.detach()
    identity = part.read(read(part.parameter, tensors)) - x if part.offset else torch.zeros_like(x)
    y = act(x + identity) - identity
    kept, new = back(x)[0], back(y.to(x.dtype))[0]
    out: torch.Tensor = (whole - kept + new).detach()
    return out


def moved(moves: tuple[Move, ...], kinds: tuple[str, ...], element: Element, tensors: Tensors) -> Tensors:
    """The tensors that change under an element, by name.

    Args:
        moves: how the parameters answer.
        kinds: what every kept axis of a part is (see `Statement.axis_kinds`).
        element: the element.
        tensors: all whole parameters by name.
    """
    now = dict(tensors)
    changed: Tensors = {}
    for move in moves:
        if move.partner is not None:
            first, second = _joint(move, element, now)
            changed[base(move.part.parameter)] = now[base(move.part.parameter)] = first
            changed[base(move.partner.parameter)] = now[base(move.partner.parameter)] = second
            continue
        name = move.parameter
        now[name] = changed[name] = put(move.part, now, partial(_act, move, kinds, element))
    return changed


def _joint(move: Move, element: Element, tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """Both parameters of a joint axis."""
    assert move.partner is not None
    x, y = (p.read(read(p.parameter, tensors)) for p in (move.part, move.partner))
    both = torch.cat([x.flatten(1), y.flatten(1)])
    both = element.matrix(move.power).to(both) @ both
    n = x.shape[0]
    first = put(move.part, tensors, lambda _: both[:n].reshape(x.shape))
    return first, put(move.partner, tensors, lambda _: both[n:].reshape(y.shape))


def _act(move: Move, kinds: tuple[str, ...], element: Element, x: torch.Tensor) -> torch.Tensor:
    """What an element does to what is read: kept axes first, then one that is summed, then the rest."""
    value = element.value
    if element.kind == "permutation":
        index = value.to(x.device)
        if index.ndim == 1:
            return x.index_select(0, index)
        return x.gather(1, index.reshape(*index.shape, *(1,) * (x.ndim - 2)).expand(index.shape + x.shape[2:]))
    if element.kind == "signs":
        return x * value.to(x).reshape(-1, *(1,) * (x.ndim - 1)) if move.power % 2 else x
    if element.kind == "shift":
        step = value.to(x)
        step = step.unsqueeze(-1) if step.ndim < x.ndim - 1 else step
        return x + float(move.power) * step.unsqueeze(-2)
    if element.kind == "scale":
        factor = value.to(x) ** float(move.power)
        if move.off_diagonal:
            n = x.shape[0]
            return (x + (factor**n - 1) / n * x.sum(0, keepdim=True)) / factor
        return x * factor.reshape(*factor.shape, 1, 1)
    return _matrix(kinds, element.matrix(move.power).to(x), x)


def _matrix(kinds: tuple[str, ...], matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A matrix on its axis, or on both axes of skew planes; batched over all others."""
    flat = x.flatten(-2)
    skew = skew_axes(kinds, tuple(flat.shape))
    if skew is not None:
        pair = flat.movedim(skew, (0, -2))
        n = pair.shape[-2]
        both = matrix @ torch.cat([pair[0], pair[1]], -2)
        return torch.stack([both[..., :n, :], both[..., n:, :]]).movedim((0, -2), skew).reshape(x.shape)
    at = next(i for i, k in enumerate(kinds) if is_matrix(k) or k == "pair")
    return (matrix @ flat.movedim(at, -2)).movedim(-2, at).reshape(x.shape)
