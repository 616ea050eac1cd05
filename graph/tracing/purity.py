"""What each ATen call writes to or is a view of, and the pure call that gives the same values."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils import _pytree

aten = torch.ops.aten
OpOverload = type(aten.relu.default)
Call = tuple[Any, tuple[Any, ...], dict[str, Any]]

RESHAPED = frozenset({"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view", "view_as"})
SAME = frozenset({"detach", "alias", "to", "contiguous", "lift_fresh", "positive", "expand_as", "expand"})
CUT = frozenset({"split", "chunk", "split_with_sizes", "tensor_split", "unbind"})
# flags of autograd that a write does not change
HARMLESS = frozenset({"detach_", "requires_grad_", "retain_grad"})


def name_of(node: Node) -> str:
    """The name of an ATen operation without its overload; empty for other calls."""
    return node.target.overloadpacket.__name__ if isinstance(node.target, OpOverload) else ""


def writes(node: Node) -> bool:
    """Whether a call writes into its first argument and gives it back."""
    target = node.target
    if not isinstance(target, OpOverload) or not target._schema.is_mutable:
        return False
    alias = target._schema.arguments[0].alias_info
    return alias is not None and alias.is_write and isinstance(node.args[0], Node)


def written_to(node: Node) -> Any:
    """What a call writes into and gives back: its first argument, or what it is given as `out=`; None for neither."""
    if writes(node):
        return node.args[0]
    out = node.kwargs.get("out")
    return out if isinstance(node.target, OpOverload) and isinstance(out, Node) else None


def is_view(node: Node, source: Node | None = None) -> bool:
    """Whether a call gives its first argument's storage, or may do so (see `shares_storage`).

    Args:
        node: the call.
        source: the view that its first argument is, if it is one: a piece of it is a view too.
    """
    if node.target is operator.getitem:
        return source is not None
    return isinstance(node.target, OpOverload) and node.target.is_view


def shares_storage(view: Node, parent: Node) -> bool:
    """Whether a call that may copy did give a view of its argument."""
    name, old, new = name_of(view), parent.meta["val"], view.meta["val"]
    if name == "to":
        return bool(old.dtype == new.dtype and old.device == new.device)
    if name == "contiguous":
        return bool(old.is_contiguous())
    if name in ("reshape", "flatten"):
        try:
            old.view(new.shape)
        except (RuntimeError, ValueError):  # fake tensors say it by the second
            return False
    return True


def gives_back(call: Node) -> bool:
    """Whether a call gave its first argument itself, not even a view of it (`to` for the dtype that it has)."""
    from torch._subclasses.fake_tensor import FakeTensorMode  # takes a second, which few graphs need

    first, value = call.args[0], call.meta.get("val")
    if not isinstance(call.target, OpOverload) or not isinstance(first, Node) or not isinstance(value, torch.Tensor):
        return False
    old = first.meta["val"]
    if (old.shape, old.dtype, old.device) != (value.shape, value.dtype, value.device):
        return False
    with FakeTensorMode():
        given = map_arg((call.args, call.kwargs), _alike)
        try:
            return call.target(*given[0], **given[1]) is given[0][0]
        except Exception:  # what torch has no shapes for computes something
            return False


def _alike(node: Node) -> Any:
    """Something like the tensors of a call, of no numbers."""
    return _pytree.tree_map_only(
        torch.Tensor,
        lambda t: torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device),
        node.meta.get("val"),
    )


def pure(call: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """The pure call with the values of one that writes, or the same call where there is none (random numbers).

    Args:
        call: the call that writes.
        args: the arguments to give it.
        kwargs: the keyword arguments to give it.
    """
    name = name_of(call)
    if name == "copy_":
        return _copied(call, args[1])
    if name == "fill_" and not isinstance(args[1], Node):
        return aten.full_like.default, args[:2], {}
    if name == "zero_":
        return aten.zeros_like.default, args[:1], {}
    if "out" in kwargs:
        rest = {k: v for k, v in kwargs.items() if k != "out"}
        return _overload(call.target, call.target.overloadpacket), args, rest
    plain = f"__{name[3:]}" if name.startswith("__i") else name.removesuffix("_")
    packet = getattr(aten, plain, None)
    return (call.target if packet is None else _overload(call.target, packet)), args, kwargs


def _overload(target: Any, packet: Any) -> Any:
    """The overload of a pure operation that takes what one that writes takes: namesakes may not (`pow_.Scalar`)."""

    def taken(overload: Any) -> list[str]:
        return [str(a.type) for a in overload._schema.arguments if not a.is_out]

    names = sorted(packet.overloads(), key=lambda n: n != target._overloadname)
    others = [o for n in names if not (o := getattr(packet, n))._schema.is_mutable]
    return next((o for o in others if taken(o) == taken(target)), target)


def _copied(call: Node, source: Node) -> Call:
    """What a tensor holds after another was copied into it."""
    old, new = call.meta["val"], source.meta["val"]
    if old.shape != new.shape:
        return aten.expand.default, (source, list(old.shape)), {}
    if old.dtype != new.dtype:
        return aten.to.dtype, (source, old.dtype), {}
    return aten.clone.default, (source,), {}


def put_back(view: Node, parent: Node, part: Node) -> Call | None:
    """The tensor that a view was taken of, with another content of that view; None for views that overlap.

    Args:
        view: the call that took the view.
        parent: what it was taken of.
        part: the content that the view has now.
    """
    name, whole = name_of(view), parent.meta["val"]
    rest: tuple[Any, ...] = view.args[1:]
    if name in ("slice", "select", "diagonal"):
        return _scatter(f"{name}_scatter", whole), (parent, part, *rest), dict(view.kwargs)
    if name == "narrow":
        dim, start, length = rest
        return _scatter("slice_scatter", whole), (parent, part, dim, start, start + length), {}
    if name in ("transpose", "t"):
        return view.target, (part, *rest), {}
    if name == "permute":
        order = [d % whole.ndim for d in rest[0]]
        return aten.permute.default, (part, [order.index(i) for i in range(whole.ndim)]), {}
    if name in RESHAPED:
        return aten.reshape.default, (part, list(whole.shape)), {}
    if name in SAME and view.meta["val"].shape == whole.shape:
        return aten.clone.default, (part,), {}
    return None


def _scatter(name: str, whole: torch.Tensor) -> Any:
    """The call that puts a part into a tensor; torch has no derivatives of those of complex numbers."""
    return (
        _OfParts(name, whole.ndim) if whole.is_complex() and name != "diagonal_scatter" else getattr(aten, name).default
    )


class _OfParts:
    """A call on the real and imaginary parts of its first two arguments.

    Args:
        name: of the operation.
        rank: of the tensors.
    """

    def __init__(self, name: str, rank: int) -> None:
        self.__name__ = name
        self.__module__, self.__qualname__ = __name__, name
        self._rank = rank

    def __call__(self, whole: torch.Tensor, part: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        """What the operation gives on complex numbers."""
        rest = tuple(r % self._rank if i == 0 else r for i, r in enumerate(rest))  # an axis of what holds no parts
        parts = [torch.view_as_real(t.to(whole.dtype).resolve_conj()) for t in (whole, part)]
        found: torch.Tensor = getattr(aten, self.__name__).default(*parts, *rest, **options)
        return torch.view_as_complex(found.contiguous())


def dim_of_cut(cut: Node) -> Any:
    """The dimension along which a call cuts a tensor into pieces."""
    at = 1 if name_of(cut) == "unbind" else 2
    return cut.kwargs.get("dim", cut.args[at] if len(cut.args) > at else 0)


def put_back_piece(cut: Node, index: int, parent: Node, part: Node) -> Call | None:
    """The tensor that was cut into pieces, with another content of one piece.

    Args:
        cut: the call that cut it (split, chunk, unbind).
        index: of the piece.
        parent: what was cut.
        part: the content that the piece has now.
    """
    name = name_of(cut)
    if name not in CUT:
        return None
    dim = dim_of_cut(cut)
    if name == "unbind":
        return _scatter("select_scatter", parent.meta["val"]), (parent, part, dim, index), {}
    sizes = [piece.shape[dim] for piece in cut.meta["val"]]
    start = sum(sizes[:index])
    return _scatter("slice_scatter", parent.meta["val"]), (parent, part, dim, start, start + sizes[index]), {}
