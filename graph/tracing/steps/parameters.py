"""Parameters as weights of blocks: their names, slices and sums."""

from __future__ import annotations

import math

from torch.fx import Node

from ..context import Context
from ..layout import COPIES, Atom, Dim, size
from ..sources import arranged_name
from ..values import Combined, NotUnderstood, Value, Weight


def combined(*parts: tuple[Value, float]) -> Combined | None:
    """The sum of parameters and of such sums, with factors; None where shapes differ or nothing is left."""
    factors: dict[Weight, float] = {}
    for value, c in parts:
        for w, a in value.terms if isinstance(value, Combined) else ((value, 1.0),):
            factors[w] = factors.get(w, 0.0) + a * c
    terms = tuple((w, a) for w, a in factors.items() if a)
    if not terms or len({w.shape for w in factors}) > 1:
        return None
    return Combined(terms=terms)


def repeats(weight: Weight) -> bool:
    """Whether a tensor is a parameter that was expanded: one number stands for several."""
    return any(a.axis == COPIES for d in weight.dims for a in d)


def matrix_name(weight: Weight, out: Dim, inn: Dim) -> tuple[str, bool]:
    """The name of a weight, and whether it is stored with its inputs first."""
    first = [a for a in (*out, *inn)]
    memory = sorted(first, key=lambda a: (a.axis, -a.stride))
    if first != memory and [*inn, *out] == memory and not any(a.axis == COPIES for a in first):
        return weight.name, True
    return arranged_name(weight, first), False


def bias_name(bias: Value, width: int) -> dict[str, str]:
    """The bias of a map, if it is a parameter.

    Raises:
        NotUnderstood: for one that is computed.
    """
    if bias is None:
        return {}
    if not isinstance(bias, Weight) or repeats(bias) or bias.shape[-1] != width or size(bias.dims[-1]) != width:
        raise NotUnderstood("a bias that is computed")
    atoms = [a for d in bias.dims for a in d]
    if len({a.axis for a in atoms}) > 1:
        raise NotUnderstood("a bias that is a whole matrix")
    return {"bias": arranged_name(bias, atoms)}


def sliced(w: Weight, dim: int, widths: list[int], which: int, gone: bool) -> Weight:
    """A slice of a parameter, as a parameter with a name of its own."""
    flat = [a for d in w.dims for a in d if a.axis != COPIES]
    memory = sorted(flat, key=lambda a: (a.axis, -a.stride))
    cut = w.dims[dim][0]
    inner = size(w.dims[dim]) // cut.size
    if any(n % inner for n in widths) or math.prod(a.size for a in memory) != math.prod(w.full):
        raise NotUnderstood("a parameter is cut across its axes")
    start, stop = sum(widths[:which]) // inner, (sum(widths[:which]) + widths[which]) // inner
    at = memory.index(cut)
    index = ",".join([*[":"] * at, f"{start}:{stop}"])
    sizes = tuple(a.size for a in memory)
    plain = sizes == tuple(w.full)
    name = f"{w.name}{'' if plain else '.view(' + ','.join(map(str, sizes)) + ')'}[{index}]"
    full = tuple(stop - start if i == at else n for i, n in enumerate(sizes))
    new = {a: Atom(i, n) for i, (a, n) in enumerate(zip(memory, full, strict=True))}
    dims = tuple(tuple(b for b in (new.get(a, a) for a in d) if b.size > 1) for d in w.dims)
    return Weight(name, w.base, full, dims[:dim] + dims[dim + 1 :] if gone else dims)


def piece_of(w: Weight, dim: int, start: int, stop: int) -> Weight:
    """A run of one dimension of a parameter."""
    widths = [start, stop - start, w.shape[dim] - stop]
    kept = [n for n in widths if n]
    return sliced(w, dim, kept, 1 if start else 0, gone=False)


def unsqueezed(low: Context, node: Node, value: Value, count: int) -> Value:
    """A parameter, a sum of some, or what is made of them, with so many dimensions of length 1 behind its own."""
    if isinstance(value, Combined):
        return Combined(terms=tuple((unsqueezed(low, node, w, count), a) for w, a in value.terms))
    s = value if isinstance(value, Weight) else low.stream(value, node)
    return s.arranged((*s.dims, *[()] * count))
