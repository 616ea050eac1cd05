"""Norms as they are written out: what calls compute them, read backwards from the last one."""

from __future__ import annotations

import operator
from typing import Any

from torch.fx import Node

CASTS = ("to.", "_to_copy", "float", "contiguous", "clone", "type_as", "alias", "expand")


def plain(node: Any) -> Any:
    """A node without the casts and copies around it."""
    while isinstance(node, Node) and node.op == "call_function" and _op(node).startswith(CASTS):
        node = node.args[0]
    return node


def _op(node: Any) -> str:
    if not isinstance(node, Node) or node.op != "call_function" or node.target is operator.getitem:
        return ""
    return str(node.target).removeprefix("aten.")


def rms_pattern(node: Node) -> tuple[Node, float, list[int]] | None:
    """`x * rsqrt(mean(x^2) + epsilon)` or `x / sqrt(...)`: x, epsilon and the dimensions of the mean."""
    for a, b in ((node.args[0], node.args[1]), (node.args[1], node.args[0])):
        found = _inverse_root(plain(b), divided=_op(node).startswith("div"))
        if found is None or (_op(node).startswith("div") and b is not node.args[1]):
            continue
        square, epsilon = found
        square = plain(square)
        if not _op(square).startswith("mean.dim"):
            continue
        x = _squared(plain(square.args[0]))
        if x is not None and plain(x) is plain(a):
            return plain(a), epsilon, list(square.args[1])
    return None


def layer_pattern(node: Node) -> tuple[Node, float, list[int]] | None:
    """`(x - mean(x)) / sqrt(var(x) + epsilon)`: x, epsilon and the dimensions."""
    for a, b in ((node.args[0], node.args[1]), (node.args[1], node.args[0])):
        found = _inverse_root(plain(b), divided=_op(node).startswith("div"))
        if found is None or (_op(node).startswith("div") and b is not node.args[1]):
            continue
        var, epsilon = found
        var, centred = plain(var), plain(a)
        if not _op(centred).startswith("sub"):
            continue
        x, mean = (plain(n) for n in centred.args[:2])
        if not _op(mean).startswith("mean.dim") or plain(mean.args[0]) is not x:
            continue
        if _op(var).startswith("var.correction") and plain(var.args[0]) is x and var.kwargs.get("correction") == 0:
            return x, epsilon, list(mean.args[1])
        if _op(var).startswith("var.dim") and plain(var.args[0]) is x and var.args[2] is False:
            return x, epsilon, list(mean.args[1])
        if _op(var).startswith("mean.dim"):
            inner = _squared(plain(var.args[0]))
            inner = plain(inner) if inner is not None else None
            same = inner is centred or (
                _op(inner).startswith("sub") and [plain(n) for n in inner.args[:2]] == [x, mean]
            )
            if same:
                return x, epsilon, list(mean.args[1])
    return None


def beside_pattern(node: Node) -> tuple[Node, float, list[int], bool] | None:
    """`x / (sqrt(mean(x^2)) + epsilon)`: x, epsilon, the dimensions, and whether a mean is taken off, as in `layer`."""
    root = plain(node.args[1])
    if not _op(node).startswith("div.Tensor") or not _op(root).startswith("add.") or isinstance(root.args[1], Node):
        return None
    inner = _inverse_root(plain(root.args[0]), divided=True)
    if inner is None or inner[1]:
        return None
    a, square = plain(node.args[0]), inner[0]
    if _op(square).startswith("mean.dim"):
        x = _squared(plain(square.args[0]))
        return (a, float(root.args[1]), list(square.args[1]), False) if x is not None and plain(x) is a else None
    if (
        not _op(square).startswith("var.correction")
        or square.kwargs.get("correction") != 0
        or not _op(a).startswith("sub")
    ):
        return None
    x, mean = (plain(n) for n in a.args[:2])
    if not _op(mean).startswith("mean.dim") or plain(mean.args[0]) is not x or plain(square.args[0]) is not x:
        return None
    return x, float(root.args[1]), list(square.args[1]), True


def length_pattern(node: Node) -> tuple[Node, float, list[int]] | None:
    """`x / max(||x||, epsilon)`: x, epsilon and the dimensions."""
    if not _op(node).startswith("div"):
        return None
    a, b = plain(node.args[0]), plain(node.args[1])
    epsilon = 0.0
    if _op(b).startswith("clamp_min") or (_op(b).startswith("clamp.") and len(b.args) == 2 and not b.kwargs):
        epsilon, b = float(b.args[1]), plain(b.args[0])
    kept = _op(b).startswith(("norm.", "linalg_vector_norm")) and b.meta["val"].ndim == a.meta["val"].ndim
    if kept and plain(b.args[0]) is a:  # lengths that lost their dimension may be those of other rows
        order = b.args[1] if len(b.args) > 1 else 2
        dims = b.args[2] if len(b.args) > 2 else None
        if order in (2, 2.0) and dims is not None:
            return a, epsilon, [dims] if isinstance(dims, int) else list(dims)
    return None


def _inverse_root(b: Any, divided: bool) -> tuple[Any, float] | None:
    """What stands under an inverse root, and the number added to it."""
    op = _op(b)
    if divided:
        if not (op.startswith("sqrt") or (op.startswith("pow.Tensor_Scalar") and b.args[1] == 0.5)):
            return None
    elif not (op.startswith("rsqrt") or (op.startswith("pow.Tensor_Scalar") and b.args[1] == -0.5)):
        return None
    inner = plain(b.args[0])
    if _op(inner).startswith("add.") and not isinstance(inner.args[1], Node):
        return plain(inner.args[0]), float(inner.args[1])
    return inner, 0.0


def _squared(node: Any) -> Any:
    """What is squared, None if it is no square."""
    op = _op(node)
    if op.startswith("pow.Tensor_Scalar") and node.args[1] == 2:
        return node.args[0]
    if op.startswith("square"):
        return node.args[0]
    if op.startswith("mul.Tensor") and node.args[0] is node.args[1]:
        return node.args[0]
    return None
