"""An exported graph as one flat list of pure ATen calls.

Subgraphs (`torch.no_grad`, autocast, checkpointing) are inlined; what `no_grad` computes of parameters is detached
where it is read outside.  Operations that write into a tensor become pure ones: a write into a view is put back into
what it is a view of, and every other view of that is taken anew when it is read.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from .purity import (
    HARMLESS,
    aten,
    gives_back,
    is_view,
    name_of,
    pure,
    put_back,
    put_back_piece,
    shares_storage,
    written_to,
)

# operations on subgraphs that only set a mode: where the subgraph and its first argument stand among their arguments
INLINED = {
    "wrap_with_set_grad_enabled": (1, 2),
    "wrap_with_autocast": (4, 5),
    "tag_activation_checkpoint": (0, 1),
    "invoke_subgraph": (0, 2),
    "wrap": (0, 1),
}
MODES = ("_enter_autocast", "_exit_autocast")
CHECKS = ("_assert", "sym_constrain_range", "_functional_")


@dataclass(eq=False)
class Value:
    """A tensor of the program: the node that holds it now, and what it is a view of."""

    node: Node
    parent: Value | None = None
    view: Node | None = None  # the exported call that took the view
    stale: bool = False  # whether what it is a view of was written to since
    children: list[Value] = field(default_factory=list)

    @property
    def owner(self) -> Value | None:
        """What it is really a view of; None if it has its own storage."""
        if self.parent is None or self.view is None or not shares_storage(self.view, self.parent.node):
            return None
        return self.parent

    @property
    def root(self) -> Value:
        """The tensor that owns the storage."""
        return self if self.owner is None else self.owner.root


class Flattener:
    """Copies exported graphs into one flat graph.

    Attributes:
        graph: pure ATen calls in topological order, without an output node.
        detached: what is computed of parameters without gradients.
        written: placeholders that are written to, with the first call that does.
        hidden: calls that write into a view that cannot be put back.
    """

    def __init__(self) -> None:
        self.graph = Graph()
        self.detached: set[Node] = set()
        self.written: dict[Node, Node] = {}
        self.hidden: list[Node] = []
        self._gradients = True
        self._moving: set[Node] = set()  # what depends on trained numbers
        self._cut: dict[Node, Node] = {}

    def placeholder(self, like: Node, trained: bool = False) -> Value:
        """An input of the flat graph.

        Args:
            like: the input of the exported graph.
            trained: whether it is a parameter.
        """
        node = self.graph.placeholder(like.name)
        node.meta = dict(like.meta)
        if trained:
            self._moving.add(node)
        return Value(node)

    def inline(self, module: GraphModule, arguments: Sequence[Any]) -> list[Any]:
        """Copies a graph and its subgraphs, and gives its outputs: values, and what is no tensor."""
        env: dict[Node, Any] = {}
        inputs = iter(arguments)
        for node in module.graph.nodes:
            if node.op == "placeholder":
                env[node] = next(inputs)
            elif node.op == "get_attr":
                env[node] = getattr(module, node.target)
            elif node.op == "call_function":
                env[node] = self._call(node, env)
            elif node.op == "output":
                found = node.args[0] if isinstance(node.args[0], (tuple, list)) else (node.args[0],)
                return [env[n] if isinstance(n, Node) else n for n in found]
        return []

    def read(self, value: Any) -> Any:
        """The node that holds a value now."""
        if not isinstance(value, Value):
            return value
        if value.stale:
            assert value.parent is not None and value.view is not None
            args = (self.read(value.parent), *value.view.args[1:])
            value.node = self._emit(value.view, value.view.target, args, value.view.kwargs)
            value.stale = False
        return value.node

    def outside(self, value: Any) -> Any:
        """The node that holds a value now, for what takes gradients: of what was computed without, none come back."""
        node = self.read(value)
        if (
            not isinstance(node, Node)
            or node not in self.detached
            or not isinstance(node.meta.get("val"), torch.Tensor)
        ):
            return node
        if node not in self._cut:
            cut = self.graph.create_node("call_function", aten.detach.default, (node,), {})
            cut.meta = dict(node.meta)
            self._cut[node] = cut
        return self._cut[node]

    def _call(self, node: Node, env: dict[Node, Any]) -> Any:
        name = getattr(node.target, "__name__", "")
        if name in INLINED:
            at, first = INLINED[name]
            outer = self._gradients
            if name == "wrap_with_set_grad_enabled":
                self._gradients = bool(node.args[0])
            arguments = [env[a] if isinstance(a, Node) else a for a in node.args[first:]]
            found = self.inline(env[node.args[at]], arguments)  # type: ignore[index]
            self._gradients = outer
            return found
        if node.target is torch._C._set_grad_enabled:
            self._gradients = bool(node.args[0])
            return None
        if name.startswith(CHECKS) or name in MODES:
            return None
        source = env.get(node.args[0]) if node.args and isinstance(node.args[0], Node) else None
        if isinstance(source, list):  # what an inlined subgraph gave
            return source[node.args[1]]  # type: ignore[index]
        goal = written_to(node)
        goal = env.get(goal) if isinstance(goal, Node) else None
        if isinstance(goal, Value):
            return self._write(node, goal, env)
        if not self._gradients and isinstance(source, Value) and gives_back(node):
            return source  # the tensor itself, whose gradients come back wherever else it is read
        value = Value(self._emit(node, node.target, *self._arguments(node, env)))
        if isinstance(source, Value) and is_view(node, source.view):
            value.parent, value.view = source, node
            source.children.append(value)
        return value

    def _arguments(self, node: Node, env: dict[Node, Any]) -> tuple[Any, Any]:
        """What the arguments of a call hold now."""

        def read(n: Node) -> Any:
            return self.outside(env[n]) if self._gradients else self.read(env[n])

        return map_arg(node.args, read), map_arg(node.kwargs, read)

    def _emit(self, like: Node, target: Any, args: Any, kwargs: Any) -> Node:
        """A call at the place of another."""
        name = like.name if target is like.target else None
        new = self.graph.create_node("call_function", target, args, kwargs, name=name)
        new.meta = dict(like.meta)
        sources = set(new.all_input_nodes)
        if not self._moving.isdisjoint(sources):
            self._moving.add(new)
            if not self._gradients or (target is operator.getitem and not self.detached.isdisjoint(sources)):
                self.detached.add(new)
        return new

    def _write(self, node: Node, value: Value, env: dict[Node, Any]) -> Value:
        """Gives a value a new content, and everything that shares its storage."""
        root = value.root.node
        if root.op == "placeholder" and name_of(node) not in HARMLESS:
            self.written.setdefault(root, node)
        args, kwargs = self._arguments(node, env)
        value.node = self._emit(node, *pure(node, args, kwargs))
        self._outdate(value)
        written = value
        while value.owner is not None:
            value = self._put_back(node, value)
        return written

    def _put_back(self, node: Node, value: Value) -> Value:
        """Puts a view with a new content back into what it is a view of, and gives that."""
        parent, view = value.owner, value.view
        assert parent is not None and view is not None
        cut = parent if view.target is operator.getitem else None
        if cut is not None and cut.parent is not None and cut.view is not None:  # one of several pieces
            parent = cut.parent
            whole = self.read(parent)
            back = put_back_piece(cut.view, view.args[1], whole, value.node)  # type: ignore[arg-type]
        else:
            whole = self.read(parent)
            back = put_back(view, whole, value.node)
        if back is None:
            self.hidden.append(node)
            return parent
        meta = whole.meta.get("val")
        parent.node = self._emit(node, *back)
        parent.node.meta["val"] = meta
        self._outdate(parent, value)
        return parent

    def _outdate(self, value: Value, but: Value | None = None) -> None:
        """All views of a value have to be taken anew, except for one (and its own)."""
        for child in value.children:
            if child is not but:
                child.stale = True
                self._outdate(child, but)
