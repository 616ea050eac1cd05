"""Which axes of a canonical tensor the dimensions of a traced tensor are made of.

Views, permutations and expansions move no numbers that matter: a traced tensor is followed as a product of *atoms*,
runs of the axes of the tensor that a block wrote.  A block is added only where an operation needs another arrangement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

COPIES = -1  # the axis of atoms along which a tensor was expanded


@dataclass(frozen=True)
class Atom:
    """A run of a canonical axis.

    Attributes:
        axis: the axis, or `COPIES` where the tensor repeats itself.
        size: how many steps.
        stride: how many elements of the axis one step is.
    """

    axis: int
    size: int
    stride: int = 1


Dim = tuple[Atom, ...]
Dims = tuple[Dim, ...]


class Tangled(ValueError):
    """A view that the atoms cannot follow."""


def canonical(shape: Sequence[int]) -> Dims:
    """The dimensions of a tensor that is as a block wrote it."""
    return tuple((Atom(i, n),) if n != 1 else () for i, n in enumerate(shape))


def size(dim: Dim) -> int:
    """Length of a dimension."""
    return math.prod(a.size for a in dim)


def shape(dims: Dims) -> tuple[int, ...]:
    """Lengths of all dimensions."""
    return tuple(map(size, dims))


def view(dims: Dims, sizes: Sequence[int]) -> Dims:
    """The dimensions after a reshape.

    Raises:
        Tangled: where a boundary falls inside an atom that it does not divide.
    """
    total = math.prod(shape(dims))
    known = math.prod(n for n in sizes if n != -1)
    wanted = [n if n != -1 else total // max(known, 1) for n in sizes]
    if math.prod(wanted) != total:
        raise Tangled(f"{shape(dims)} does not fill {tuple(wanted)}")
    rest = [a for d in dims for a in d][::-1]
    out: list[Dim] = []
    for n in wanted:
        found: list[Atom] = []
        while n > 1:
            atom = rest.pop()
            if n % atom.size == 0:
                found.append(atom)
                n //= atom.size
            elif atom.size % n == 0:
                inner = atom.size // n
                found.append(Atom(atom.axis, n, atom.stride * inner))
                rest.append(Atom(atom.axis, inner, atom.stride))
                n = 1
            else:
                raise Tangled(f"an axis of {atom.size} is cut into pieces of {n}")
        out.append(merged(found))
    return tuple(out)


def merged(atoms: Iterable[Atom]) -> Dim:
    """Atoms of one axis that follow each other in memory as one."""
    out: list[Atom] = []
    for a in atoms:
        last = out[-1] if out else None
        if last and last.axis == a.axis and (a.axis == COPIES or last.stride == a.stride * a.size):
            out[-1] = Atom(a.axis, last.size * a.size, a.stride)
        elif a.size > 1:
            out.append(a)
    return tuple(out)


def refine(dims: Dims, cuts: dict[int, set[int]]) -> list[list[Atom]]:
    """Every dimension as atoms that are cut at all strides in `cuts` (by axis)."""
    out = []
    for dim in dims:
        pieces: list[Atom] = []
        for atom in dim:
            at = sorted((s for s in cuts.get(atom.axis, ()) if atom.stride < s < atom.stride * atom.size), reverse=True)
            top = atom.stride * atom.size
            for s in [*at, atom.stride]:
                if top % s:
                    raise Tangled(f"an axis is cut into pieces of {s} and of {top}")
                pieces.append(Atom(atom.axis, top // s, s))
                top = s
        out.append(pieces)
    return out


def common(shape_: Sequence[int], *many: Dims) -> list[list[list[Atom]]]:
    """The dimensions of several tensors of one shape, cut so that their atoms have equal sizes one by one.

    Dimensions of length 1 that others have longer are filled with copies.
    """
    out: list[list[list[Atom]]] = [[] for _ in many]
    for i, n in enumerate(shape_):
        own = [list(d[i]) or ([Atom(COPIES, n)] if n > 1 else []) for d in many]
        done: list[list[Atom]] = [[] for _ in many]
        while any(own):
            if not all(own):
                raise Tangled(f"an axis of {n} meets one that is cut to another length")
            step = min(a[0].size for a in own)
            for k, atoms in enumerate(own):
                first = atoms.pop(0)
                if first.size % step:
                    # cut from the outside: the outer piece must have the size of the smallest outer atom
                    raise Tangled(f"axes of {first.size} and {step} do not nest")
                inner = first.size // step
                done[k].append(Atom(first.axis, step, first.stride * inner))
                if inner > 1:
                    atoms.insert(0, Atom(first.axis, inner, first.stride))
        for k in range(len(many)):
            out[k].append(done[k])
    return out
