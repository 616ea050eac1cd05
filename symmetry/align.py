"""Two networks of one architecture: the permutation that brings one next to the other, and whether they are one.

Weight matching is that of Ainsworth, Hayase and Srinivasa 2022 (Git Re-Basin): the permutations of one class of wires
at a time, the others held, until nothing changes; each is a linear assignment problem, which scipy solves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch

from lawful.blocks import ShapeError
from lawful.graph.questions.reading import NetworkLike
from lawful.theory.extras import needed
from lawful.theory.laws.pages import Printed
from lawful.theory.oracle.modules import as_double
from lawful.theory.parts import read
from lawful.theory.refusals import ModuleError
from lawful.theory.typed import typed

from .balance import symmetries_of
from .element import Element
from .given import ACTING, weights_of
from .models import write
from .running import Setting, Tensors, distance, outputs, tensors_of
from .symmetries import Symmetries
from .symmetry import STATISTICS, Symmetry

Model = TypeVar("Model", torch.nn.Module, dict[str, torch.Tensor])

SWEEPS = 100
MOST = 3  # names that are printed
ALIKE = 1e-6  # relative difference of outputs of one function, whatever its constants are kept in


@dataclass(frozen=True, repr=False)
class Alignment(Printed, Generic[Model]):
    """A model brought next to another one.

    Attributes:
        model: the second model after the permutations; it computes what it computed.
        elements: the permutation of every symmetry, by its name.
        distance: of the parameters of the two models, before and after.
        sweeps: how often every permutation was matched.
        left: the symmetries that are no permutations, and so were not settled: their names by their groups.
    """

    model: Model
    elements: dict[str, Element]
    distance: tuple[float, float]
    sweeps: int
    left: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        before, after = self.distance
        moved: list[str] = [f"{name}: {element}" for name, element in self.elements.items()]
        if self.left and not self.elements:
            groups = "; ".join(f"{g}: {', '.join(names[:MOST])}" for g, names in self.left.items())
            moved.append(
                f"nothing was permuted; symmetries that are no permutations ({groups}) are not matched here: "
                "lw.same_function says whether they are the difference"
            )
        return "\n".join([*moved, f"distance of the parameters {before:.4g} before and {after:.4g} after"])


@typed(ways=ACTING)
def align(
    a: Model,
    b: Model,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    network: NetworkLike | Symmetries | None = None,
    seed: int = 0,
) -> Alignment[Model]:
    """Permutes hidden units, channels and heads of one model so that its weights come next to those of another.

    Args:
        a: the model that stays.
        b: the model that is permuted; what is given here is not changed.
        args: example inputs of a module.
        kwargs: its keyword inputs.
        network: the architecture or module of dicts of tensors, or what `symmetries` gave.
        seed: of the order in which permutations are matched.

    Raises:
        ShapeError: for models of two architectures.
        ModuleNotFoundError: without scipy; says how to install it.

    >>> import lawful as lw
    >>> arch = lw.families.mlp([3, 8, 8, 2])
    >>> a = arch.to_torch()
    >>> b = lw.symmetries(arch)["permutation of fc1"]
    >>> moved = b.apply(a, b.random())
    >>> [round(d, 6) for d in align(a, moved).distance][1]
    0.0
    """
    found = symmetries_of(a, args, kwargs, network)
    first, second = aligned_pair(a, b, found)
    expect_one_function(a, b, found.setting, seed)
    chosen = [s for s in found if s.kind == "permutation"]
    before = _distance(first, second)
    now, elements, sweeps = matched(first, second, chosen, seed)
    moved = {n: now[n] for s in chosen for n in s.parameters}
    model = write(
        b,
        {n: t.to(tensors_of(b, found.setting.aliases)[n].dtype) for n, t in moved.items()},
        found.setting.aliases,
        False,
    )
    named: dict[str, list[str]] = {}
    for group, name in [(s.group, s.name) for s in found if s.kind != "permutation"]:
        named.setdefault(group, []).append(name)
    left = {group: tuple(names) for group, names in named.items()}
    return Alignment(model, elements, (before, _distance(first, now)), sweeps, left)


def matched(
    first: Tensors, second: Tensors, chosen: Sequence[Symmetry], seed: int
) -> tuple[Tensors, dict[str, Element], int]:
    """Weight matching: the second tensors permuted, the permutations, and the number of sweeps.

    Starts from what no permutation changes (the sorted sizes of the weights of every unit), so that a permuted copy is
    recognised at once, and from the second network as it is; the closer result is kept.
    """
    starts = [by_signature(first, second, chosen), (dict(second), {})]
    done = []
    for now, elements in starts:
        generator = torch.Generator().manual_seed(seed)
        done.append((*_sweeps(first, now, elements, chosen, generator),))
    return min(done, key=lambda d: _distance(first, d[0]))


def _sweeps(
    first: Tensors, now: Tensors, elements: dict[str, Element], chosen: Sequence[Symmetry], generator: torch.Generator
) -> tuple[Tensors, dict[str, Element], int]:
    sweep, changed = 0, True
    while changed and sweep < SWEEPS:
        sweep, changed = sweep + 1, False
        for i in torch.randperm(len(chosen), generator=generator).tolist():
            one = chosen[i]
            pairs = zip(_rows(one, first), _rows(one, now), strict=True)
            gain = torch.stack([x @ y.T for (_, x), (_, y) in pairs]).sum(0)
            order = _assignment(gain)
            held = torch.arange(len(order))
            if float(gain[held, order].sum()) > float(gain.trace()) + 1e-9 * float(gain.abs().sum()):
                now, changed = _permute(one, now, elements, order), True
    return now, elements, sweep


def _permute(one: Symmetry, now: Tensors, elements: dict[str, Element], order: torch.Tensor) -> Tensors:
    element = Element("permutation", order)
    elements[one.name] = element @ elements[one.name] if one.name in elements else element
    return now | one.changed(now, element)


def by_signature(
    first: Tensors, second: Tensors, chosen: Sequence[Symmetry], turned: frozenset[str] = frozenset()
) -> tuple[Tensors, dict[str, Element]]:
    """Matches units by what no permutation and no sign of other axes changes.

    Args:
        first: the tensors that stay.
        second: those that are permuted.
        chosen: permutations.
        turned: parameters that rotations mix as well, of which the size of every row is compared alone.
    """
    now, elements = dict(second), dict[str, Element]()
    for one in sorted(chosen, key=_width, reverse=True):
        mine, theirs = (torch.cat([_signature(x, n in turned) for n, x in _rows(one, t)], 1) for t in (first, now))
        order = _assignment(-torch.cdist(mine, theirs, compute_mode="donot_use_mm_for_euclid_dist"))
        if not torch.equal(order, torch.arange(len(order))):
            now = _permute(one, now, elements, order)
    return now, elements


def _width(symmetry: Symmetry) -> float:
    """How much changes place as a whole: experts and heads are matched before what is inside of them."""
    return math.inf if symmetry.stacks else max(m.part.dims[-1] for m in symmetry.moves)


def _signature(rows: torch.Tensor, size_alone: bool) -> torch.Tensor:
    sizes = rows.norm(dim=1, keepdim=True) if size_alone else rows.abs().sort(1).values
    return sizes / rows.norm().clamp_min(1e-300)


def _rows(symmetry: Symmetry, tensors: Tensors) -> list[tuple[str, torch.Tensor]]:
    """What every parameter has for each unit, one row for each, with the parameter."""
    moves = [m for m in symmetry.moves if not m.parameter.endswith(STATISTICS)]
    stacks = [s for s in symmetry.stacks if not s.names[0].endswith(STATISTICS)]
    return [(m.parameter, m.part.read(read(m.part.parameter, tensors)).flatten(1)) for m in moves] + [
        (s.parameters[0], s.read(tensors).flatten(1)) for s in stacks
    ]


def _assignment(gain: torch.Tensor) -> torch.Tensor:
    """For every row the column of the assignment with the largest sum."""
    with needed("matching", "scipy", "align"):
        from scipy.optimize import linear_sum_assignment
    return torch.from_numpy(linear_sum_assignment(gain.cpu().numpy(), maximize=True)[1]).long()


def aligned_pair(a: object, b: object, found: Symmetries) -> tuple[Tensors, Tensors]:
    """The tensors of both in float64, tied ones under their first name.

    Raises:
        ShapeError: for two architectures, symmetries of another network, and weights that are not finite.
    """
    expect_same(*(tensors_of(m, found.setting.aliases) for m in (a, b)))
    first, second = (
        {
            n: as_double(t)
            for n, t in weights_of(m, found.setting).items()
            if t.is_floating_point() and n not in found.setting.aliases
        }
        for m in (a, b)
    )
    return first, second


def expect_one_function(a: object, b: object, setting: Setting, seed: int) -> None:
    """Refuses two modules of which one computes something else with the weights of the other (ReLU, GELU).

    Both run in evaluation mode; tensors, and modules that do not run on the inputs, are not compared.

    Raises:
        ShapeError: by how much their outputs differ.
    """
    if not (isinstance(a, torch.nn.Module) and isinstance(b, torch.nn.Module)):
        return
    weights = {n: as_double(t) for n, t in tensors_of(a, setting.aliases).items()}
    modes = [(part, part.training) for m in (a, b) for part in m.modules()]
    try:
        a.eval()
        b.eval()
        settings = [Setting(m, setting.args, setting.kwargs, setting.aliases) for m in (a, b)]
        one, other = (outputs(s, [weights], seed)[0] for s in settings)
    except (ModuleError, ShapeError, NotImplementedError):
        return
    finally:
        for part, training in modes:
            part.training = training
    if [x.shape for x in one] != [x.shape for x in other] or distance(one, other) > ALIKE:
        raise ShapeError(
            "with the weights of the first model the second one computes something else than the first; give two "
            "models of one architecture"
        )


def expect_same(first: Tensors, second: Tensors) -> None:
    """Refuses tensors of two architectures.

    Raises:
        ShapeError: names the first tensor that only one has, or that has two shapes.
    """
    for name in sorted(set(first) ^ set(second)):
        raise ShapeError(f"only one of the two models has a parameter {name!r}; give two models of one architecture")
    for name, t in first.items():
        if t.shape != second[name].shape:
            raise ShapeError(
                f"{name} has the shapes {tuple(t.shape)} and {tuple(second[name].shape)}; "
                "give two models of one architecture"
            )


def _distance(first: Tensors, second: Tensors) -> float:
    pairs = [(t, second[n]) for n, t in first.items() if not n.endswith(STATISTICS)]
    return float(torch.stack([(x - y).square().sum() for x, y in pairs]).sum().sqrt()) if pairs else 0.0
