"""Whether two checkpoints compute one function because a symmetry leads from one to the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from lawful.graph.questions.reading import NetworkLike
from lawful.theory.laws.pages import Printed
from lawful.theory.parts import read
from lawful.theory.typed import typed
from lawful.theory.verdict import Verdict

from .align import aligned_pair, by_signature
from .balance import symmetries_of
from .element import Element
from .given import ACTING
from .least_norm import least_norm
from .moves import Move
from .running import Tensors, distance, outputs, tensors_of
from .symmetries import Symmetries, unread_parts
from .symmetry import Symmetry

Model = TypeVar("Model", torch.nn.Module, dict[str, torch.Tensor])

EQUAL = 1e-6  # relative distance of parameters of one network; balancing ends at about 1e-8
ALIKE = 1e-12  # relative distance of outputs of one function that float64 may make of a symmetry that is applied
ROUNDINGS = 50  # units of rounding of the checkpoints' own type that both may be off by
SHAKEN = 20  # times what one unit of rounding does to the outputs: checkpoints are rounded at every step
NARROW = 1e-6  # units of rounding above this hide real differences: then only equal parameters are called the same
TURNS = 40
STILL = 1e-8  # logarithm of a factor, from which on nothing moves


@dataclass(frozen=True, repr=False)
class Same(Printed):
    """Whether two models compute one function.

    Attributes:
        verdict: `HOLDS` where a symmetry leads from one to the other; `VIOLATED` where outputs differ; `UNDECIDED`
            where the outputs agree on random inputs but no symmetry was found.
        elements: by the name of a symmetry, the permutations, signs and matrices that lead from the balanced second
            model to the balanced first one.
        moved: names of the parameters in which the two models differ.
        outputs: largest relative difference of outputs on random inputs.
        parameters: relative distance of the parameters after the elements.
        reason: why it is undecided; empty if it is not.
    """

    verdict: Verdict
    elements: dict[str, Element]
    moved: tuple[str, ...]
    outputs: float
    parameters: float
    reason: str = ""

    def __bool__(self) -> bool:
        return self.verdict.passed

    def __str__(self) -> str:
        rows = [f"{name}: {element}" for name, element in self.elements.items()]
        rows.append(f"outputs differ by {self.outputs:.1e}, parameters after that by {self.parameters:.1e}")
        return "\n".join([*rows, f"one function: {self.verdict}{f', {self.reason}' if self.reason else ''}"])


@typed(ways=ACTING)
def same_function(
    a: Model,
    b: Model,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    network: NetworkLike | Symmetries | None = None,
    seed: int = 0,
) -> Same:
    """Recognises two checkpoints that differ by a symmetry.

    Outputs on random inputs decide whether they differ (by more than rounding of the checkpoints does). If not, both
    are brought to the least norm of their orbits (weights that a norm divides by their size get the size 1), where what
    is left of the groups is compact: permutations, signs and rotations, which are matched.

    Args:
        a: one model.
        b: the other.
        args: example inputs of a module.
        kwargs: its keyword inputs.
        network: the architecture or module of dicts of tensors, or what `symmetries` gave.
        seed: of the inputs and of the order of matching.

    Raises:
        ShapeError: for models of two architectures.

    >>> import lawful as lw
    >>> arch = lw.families.mlp([3, 8, 2])
    >>> a = arch.to_torch()
    >>> b = a
    >>> for s in lw.symmetries(arch):
    ...     b = s.apply(b, s.random())
    >>> found = same_function(a, b)
    >>> print(found.verdict, found.moved)
    holds ('fc1.weight', 'fc1.bias', 'fc2.weight')
    """
    found = symmetries_of(a, args, kwargs, network)
    first, second = aligned_pair(a, b, found)
    differ = tuple(n for n, t in first.items() if not torch.equal(t, second[n]))
    unit = max((_unit(t) for m in (a, b) for t in tensors_of(m).values()), default=0.0)
    rounding = ROUNDINGS * unit
    changes: list[Tensors] = [first, second, _rounded(first, unit, seed), _rounded(second, unit, seed)]
    seen: list[list[torch.Tensor]] = outputs(found.setting, changes, seed)
    gap, shaken = distance(*seen[:2]), max(distance(x, y) for x, y in zip(seen[:2], seen[2:], strict=True))
    if gap > max(ALIKE, rounding, SHAKEN * shaken) or gap != gap:
        verdict, why = (Verdict.UNDECIDED, "the outputs are no numbers") if gap != gap else (Verdict.VIOLATED, "")
        return Same(verdict, {}, differ, gap, _gap(first, second), why)
    unread = sorted(unread_parts(found.diagram)) if found.diagram is not None else []
    for name in unread:
        if _gap({name: read(name, first)}, {name: read(name, second)}) > rounding:
            why = f"{name} differs, which these inputs do not read; give inputs that read all of it"
            return Same(Verdict.UNDECIDED, {}, differ, gap, _gap(first, second), why)
    lawful = [s for s in found if s.lawful]
    x, y = (_canonical(t, lawful) for t in (first, second))
    turned = frozenset(n for s in found if s.kind == "matrix" for n in s.parameters)
    y, elements = by_signature(x, y, [s for s in found if s.kind == "permutation"], turned)
    y = _signs([s for s in found if s.kind == "signs"], x, y, elements, turned)
    rest = _gap(x, y)
    for _ in range(TURNS):
        before = rest
        for s in found:
            y = _compact(s, x, y, elements)
        rest = _gap(x, y)
        if rest < EQUAL or rest > before * (1 - 1e-6):
            break
    if rest < max(EQUAL, rounding if unit < NARROW else 0.0):
        return Same(Verdict.HOLDS, elements, differ, gap, rest)
    why = "the outputs agree on random inputs, and no symmetry that is known leads from one to the other"
    return Same(Verdict.UNDECIDED, elements, differ, gap, rest, why)


def _canonical(tensors: Tensors, lawful: Sequence[Symmetry]) -> Tensors:
    """The least norm of an orbit; what only scales (a weight that a norm divides by its size) gets the size 1.

    An orbit under such a factor has no least norm; where other symmetries move the same weight both are asked in turn.
    """
    now = dict(tensors) | least_norm(tensors, lawful).tensors
    free = [s for s in lawful if s.kind == "scale" and len({m.power for m in s.moves}) == 1 and not s.moves[0].partner]
    free = [s for s in free if "traceless" not in s.kinds and not s.moves[0].off_diagonal]
    for _ in range(TURNS if free else 0):
        moved = 0.0
        for s in free:
            total = torch.zeros(s.shape, dtype=torch.float64)
            for m in s.moves:
                total = total + m.part.read(read(m.part.parameter, now)).square().sum((-1, -2)).cpu()
            size = torch.where(total > 0, total, torch.ones_like(total)).sqrt()
            moved = max(moved, float(size.log().abs().max()))
            now |= s.changed(now, Element("scale", size ** (-1 / float(s.moves[0].power))))
        if moved < STILL:
            break
        now |= least_norm(now, lawful).tensors
    return now


def _rounded(tensors: Tensors, unit: float, seed: int) -> Tensors:
    """The tensors off by about a unit of rounding."""
    generator = torch.Generator().manual_seed(seed)
    return {n: t * (1 + unit * torch.randn(t.shape, generator=generator).to(t)) for n, t in tensors.items()}


def _unit(tensor: torch.Tensor) -> float:
    return torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0


def _gap(x: Tensors, y: Tensors) -> float:
    """Relative distance of all tensors."""
    total = sum(float(t.square().sum()) for t in x.values())
    return (sum(float((t - y[n]).square().sum()) for n, t in x.items()) / max(total, 1e-300)) ** 0.5


def _signs(
    chosen: Sequence[Symmetry], x: Tensors, y: Tensors, elements: dict[str, Element], turned: frozenset[str]
) -> Tensors:
    """The signs of all units, one class after the other, from parameters on which no other sign is unknown."""
    touched: dict[str, list[str]] = {}
    for s in chosen:
        for m in s.moves:
            if m.power % 2:
                touched.setdefault(m.parameter, []).append(s.name)
    known: set[str] = set()
    waiting = list(chosen)
    while waiting:
        sure = [(s, _sure(s, touched, known, turned)) for s in waiting]
        s, moves = next(((s, ms) for s, ms in sure if ms), sure[0])
        waiting.remove(s)
        known.add(s.name)
        if moves:
            element = _sign(s, moves, x, y)
            if bool((element.value < 0).any()):
                y = y | s.changed(y, element)
                elements[s.name] = element
    return y


def _sure(s: Symmetry, touched: Mapping[str, list[str]], known: set[str], turned: frozenset[str]) -> list[Move]:
    """The moves of a sign whose parameters nothing else that is unknown changes."""
    return [
        m
        for m in s.moves
        if m.power % 2
        and m.parameter not in turned
        and set(touched[m.parameter]) <= known | {s.name}
        and touched[m.parameter].count(s.name) == 1
    ]


def _sign(s: Symmetry, moves: Sequence[Move], x: Tensors, y: Tensors) -> Element:
    rows = [[m.part.read(read(m.part.parameter, t)).flatten(1) for t in (x, y)] for m in moves]
    value = torch.stack([(a * b).sum(1) for a, b in rows]).sum(0)
    return Element("signs", torch.where(value < 0, -1.0, 1.0).double())


def _compact(s: Symmetry, x: Tensors, y: Tensors, elements: dict[str, Element]) -> Tensors:
    """The signs or the rotation that bring the second tensors closest to the first."""
    if s.kind == "signs":
        element = _sign(s, [m for m in s.moves if m.power % 2], x, y)
    elif s.kind == "matrix" and "matrix" in s.kinds and all(abs(m.power) == 1 for m in s.moves):
        at = s.kinds.index("matrix")
        gram = torch.zeros(s.shape, dtype=torch.float64)
        for m in s.moves:
            a, b = (m.part.read(read(m.part.parameter, t)).flatten(-2).movedim(at, -2) for t in (x, y))
            gram = gram + (a @ b.transpose(-1, -2)).cpu()
        u, _, v = torch.linalg.svd(gram)
        turn = u @ v
        if s.group in ("orthogonal", "unit complex") and bool((torch.linalg.det(turn) < 0).any()):
            flip = torch.ones(s.shape[-1], dtype=torch.float64)
            flip[-1] = -1
            turn = torch.where((torch.linalg.det(turn) < 0)[..., None, None], (u * flip) @ v, turn)
        element = Element("matrix", turn)
    else:
        return y
    moved = y | s.changed(y, element)
    if _gap(x, moved) > _gap(x, y) * (1 - 1e-9):
        return y
    elements[s.name] = element @ elements[s.name] if s.name in elements else element
    return moved
