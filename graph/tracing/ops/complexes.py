"""Linear maps by matrices of complex numbers, on pairs of real ones."""

from __future__ import annotations

from torch.fx import Node

from lawful.blocks import ComplexLinear
from lawful.theory.parts import HALVES

from ..arrange import focus
from ..complex_maps import ComplexMap, PairPart
from ..context import Context, handles
from ..layout import Atom, canonical, size
from ..sources import arranged_name
from ..steps.maps import plus_bias
from ..steps.pieces import piece
from ..values import NotUnderstood, Stream, Value, Weight


@handles("complex_linear")
def complex_linear(low: Context, node: Node, x: Value, weight: Value, bias: Value = None) -> Stream:
    """`x W^T + b` over the complex numbers."""
    kind = node.target
    if not isinstance(weight, Weight) or not isinstance(kind, ComplexMap):
        raise NotUnderstood("a complex map whose weight is computed")
    out, inn, parts = weight.dims
    width, features = size(out), size(inn)
    atoms = [*out, *inn, *parts]
    memory = sorted(atoms, key=lambda a: (a.axis, -a.stride))
    # Where one end is real, the parts are columns of a matrix if they lie beside the other end.
    transposed = kind.writes and atoms != memory and [*inn, *out, *parts] == memory
    name = weight.name if transposed else arranged_name(weight, atoms)
    s = low.stream(x, node, channels_first=False)
    if kind.reads:
        s = s.arranged((*s.dims[:-2], s.dims[-2] + s.dims[-1]))
    s = focus(low, node, s, -1)
    ends = ["complex" if end else "real" for end in (kind.reads, kind.writes)]
    names = {"weight": name}
    if isinstance(bias, Weight) and bias.dims == canonical(bias.full):
        names["bias"] = bias.name
    block = ComplexLinear(features, width, "bias" in names, (), transposed, *ends)
    (y,) = low.emit(node, block, [s], names)
    axis, step = y.feature_axis, 2 if kind.writes else 1
    rows = (Atom(axis, width, step),) if width > 1 else ()
    y = y.arranged((*s.dims[:-1], rows, *(((Atom(axis, 2),),) if kind.writes else ())))
    return y if bias is None or "bias" in names else plus_bias(low, node, y, bias)


@handles("pair_part")
def pair_part(low: Context, node: Node, x: Value) -> Value:
    """The real or the imaginary part of a complex parameter."""
    kind = node.target
    assert isinstance(kind, PairPart)
    if isinstance(x, Weight) and x.dims[-1] == (Atom(len(x.full) - 1, 2),):
        return Weight(f"{x.name}{HALVES[kind.which]}", x.base, x.full[:-1], x.dims[:-1])
    return piece(low, node, x, -1, [1, 1], kind.which, gone=True)
