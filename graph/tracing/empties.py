"""Tensors without entries beside others: a flat graph without them (what is left of a head that is rotated whole)."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from torch.fx import Graph, Node

from lawful.theory.oracle.outputs import is_empty

from .purity import CUT, aten, dim_of_cut, name_of


def without_empty(graph: Graph, outputs: Sequence[Node]) -> None:
    """Takes tensors without entries out of what is put side by side, and out of what a tensor is cut into.

    Args:
        graph: calls without an output node; it is changed.
        outputs: calls that stay, whatever they give.
    """
    for node in graph.nodes:
        if name_of(node) in ("cat", "concat"):
            _join(node)
    for node in reversed(graph.nodes):
        if node.op == "call_function" and not node.users and is_empty(node.meta.get("val")) and node not in outputs:
            graph.erase_node(node)
    for node in graph.nodes:
        if name_of(node) in CUT - {"unbind"}:
            _cut(node)


def _join(node: Node) -> None:
    """What is put side by side, without the parts that have no entries."""
    parts: Any = node.args[0]
    kept = [p for p in parts if not is_empty(p.meta.get("val"))]
    if not kept or len(kept) == len(parts) or any(p.meta["val"].dtype != node.meta["val"].dtype for p in kept):
        return
    if len(kept) == 1:
        _alias(node, kept[0])
    else:
        node.args = (kept, *node.args[1:])


def _cut(node: Node) -> None:
    """A cut without the pieces that have no entries, where nothing reads these."""
    dim, whole, found = dim_of_cut(node), node.args[0], node.meta["val"]
    left = [i for i, t in enumerate(found) if not is_empty(t)]
    pieces: dict[Node, Any] = {u: u.args[1] for u in node.users if u.target is operator.getitem}
    if len(left) == len(found) or len(pieces) < len(node.users) or not set(pieces.values()) <= set(left):
        return
    if len(left) == 1:
        for u in pieces:
            _alias(u, whole)
        return
    widths = [int(found[i].shape[dim]) for i in left]
    node.target, node.args, node.kwargs = aten.split_with_sizes.default, (whole, widths, dim), {}
    node.meta["val"] = [found[i] for i in left]
    for u, i in pieces.items():
        u.args = (node, left.index(i))


def _alias(node: Node, source: Any) -> None:
    node.target, node.args, node.kwargs = aten.alias.default, (source,), {}


__all__ = ["without_empty"]
