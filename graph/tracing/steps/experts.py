"""Sparse mixtures of experts: chosen experts, picked from batched weights, as maps of all experts side by side.

A token that is sent to its `k` experts gives what all experts give with weights that are 0 for the others.  So the
first maps of all experts are one wide map, the weights of a token multiply one group of hidden units each, and the last
maps of all experts are one wide map again.  The calls between are read backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch.fx import Node

from lawful.blocks import Add, GroupProduct, Linear, Scale, TopChoice

from ..context import Context
from ..layout import Atom, Dims, size
from ..sources import arranged_name
from ..values import NotUnderstood, Stream
from .chosen import CHOSEN, OUT, Chosen, Written
from .routing import DEPTH, Reader, near


def mixture_of_experts(low: Context, node: Node, asked: Sequence[int]) -> Stream | None:
    """A sum over chosen experts, None for any other sum and for mixtures of another form.

    Args:
        low: the program.
        node: the call.
        asked: the dimensions that are summed.

    Raises:
        NotUnderstood: for weights at other positions than the experts.
    """
    if not any("aten.topk" in str(n.target) for n in near(node.args[0], 4 * DEPTH)):
        return None
    try:
        found = Reader(low).read(node.args[0])
    except Exception:  # whatever else is written in another way
        return None
    if not isinstance(found, Written) or found.by is None or len(asked) != 1:
        return None
    at = asked[0] % len(found.dims)
    gone = found.dims[at]
    if [a.axis for a in gone] != [CHOSEN]:
        return None
    y = _summed(low, node, found, found.by)
    dims = list(found.dims)
    dims[at] = ()
    where = [d for i, d in enumerate(dims) if i != at]
    return y.arranged(tuple(tuple(replace(a, axis=y.feature_axis) if a.axis == OUT else a for a in d) for d in where))


def _summed(low: Context, node: Node, found: Written, by: Chosen) -> Stream:
    """The blocks behind the hidden units: weights of the chosen, and the last maps."""
    experts, h = found.hidden.experts, found.hidden.stream
    p = _weights(low, node, by)
    if p.signal.space != h.signal.space or p.signal.features != experts:
        raise NotUnderstood("weights at other positions than the experts")
    (weighed,) = low.emit(node, GroupProduct(), [p, h], label="weigh")
    wide, width = h.signal.features, size(found.out)
    name = arranged_name(found.weight.weight, [*found.out, *found.weight.expert, *found.inn])
    (y,) = low.emit(node, Linear(wide, width, False), [weighed], {"weight": name}, label="down")
    if found.bias is not None:
        shift = arranged_name(found.bias.weight, [*_flat(found.bias.own), *found.bias.expert])
        (more,) = low.emit(node, Linear(experts, width, False), [p], {"weight": shift}, label="bias")
        (y,) = low.emit(node, Add(), [y, more], label="add")
    return y


def _weights(low: Context, node: Node, by: Chosen) -> Stream:
    """The weights of all experts, 0 for those that are not chosen."""
    apart = by.scores is not None
    reads = [by.stream, by.scores] if by.scores is not None else [by.stream]
    top = next(a.size for d in by.dims for a in d if a.axis == CHOSEN)
    (p,) = low.emit(node, TopChoice(top, by.normalised, apart), reads, label="choose", key=("choose", by))
    if by.factor != 1:
        (p,) = low.emit(node, Scale(by.factor), [p], label="scale", key=("scale", p.port, by.factor))
    return p


def _flat(dims: Dims) -> list[Atom]:
    return [a for d in dims for a in d]
