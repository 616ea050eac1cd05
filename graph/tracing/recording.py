"""A call of a module as it ran on its example: the graph of what was computed, where torch.export shows none.

A forward that branches on values, that makes tensors whose shape depends on them, or that has a backward of its own is
no graph for every input.  For the example it is one: the run itself is recorded, call by call, with real numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import (
    disable_proxy_modes_tracing,
    extract_val,
    fetch_object_proxy,
    get_proxy_mode,
    make_fx,
    track_tensor_tree,
)
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from lawful.theory.oracle.lending.storage import same_memory

from .calls import FlatCall
from .exported import Exported, Source
from .noise import Kept, draw_of
from .purity import aten, name_of

# calls by which numbers get out of tensors, or into the shapes of others
READS = frozenset({"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique"})


EXPANDS = frozenset({"expand", "view", "unsqueeze", "_unsafe_view", "reshape"})
VIEWS = frozenset({"view", "_unsafe_view", "reshape"})


class OwnBackward:
    """A call of a `torch.autograd.Function`, whose backward is its own.

    Args:
        function: the class.
        given: the arguments of the call; tensors stand for those that it reads.
    """

    def __init__(self, function: type[torch.autograd.Function], given: Sequence[Any]) -> None:
        self.function = function
        self._given = tuple(None if isinstance(a, torch.Tensor) else a for a in given)
        self._slots = [i for i, a in enumerate(given) if isinstance(a, torch.Tensor)]
        self.__name__ = function.__name__
        self.__module__ = function.__module__
        self.__qualname__ = function.__qualname__

    def __call__(self, *tensors: torch.Tensor) -> Any:
        """What its forward gives; a backward through it is its own."""
        given = list(self._given)
        for i, tensor in zip(self._slots, tensors, strict=True):
            given[i] = tensor
        return self.function.apply(*given)


def record(flat: FlatCall, examples: tuple[torch.Tensor, ...]) -> Exported:
    """Runs a call of a module on its example, and gives the graph of what ran.

    Args:
        flat: the call; it runs as it is, with its own parameters.
        examples: its tensors.

    Raises:
        Exception: whatever the forward raises.
    """
    flat.mapped = flat.call.single
    try:
        return _with_placeholders(_recorded(flat, examples), flat)
    except Exception:
        if not flat.mapped:
            raise
    flat.mapped = False  # one example after the other
    return _with_placeholders(_recorded(flat, examples), flat)


def _recorded(flat: FlatCall, examples: tuple[torch.Tensor, ...]) -> GraphModule:
    """The graph of a run; with the derivatives in it where the forward takes some itself."""
    called: list[bool] = []
    plain = torch.autograd.grad

    def noticed(*args: Any, **kwargs: Any) -> Any:
        called.append(True)
        return plain(*args, **kwargs)

    with patch.object(torch.autograd, "grad", noticed):
        graph = _run(flat, examples, deep=flat.mapped)
    if not called or flat.mapped:
        return graph
    graph = _run(flat, examples, deep=True)
    for node in [n for n in graph.graph.nodes if name_of(n) == "detach"]:  # what autograd keeps of a forward
        node.replace_all_uses_with(node.args[0])
    return graph


def _run(flat: FlatCall, examples: tuple[torch.Tensor, ...], deep: bool) -> GraphModule:
    """The graph of a run.

    Args:
        flat: the call.
        examples: its tensors.
        deep: whether calls are seen below transforms and derivatives: what runs inside of these runs nowhere else.
    """
    plainly = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]  # TorchScript hides what it differentiates itself
    with _paths(flat), _whole_functions(), plainly, Kept() as kept:
        graph: GraphModule = make_fx(
            flat.forward,
            tracing_mode="real",
            pre_dispatch=not deep,
            _error_on_data_dependent_ops=False,
            record_stack_traces=True,
        )(*examples)
    if flat.mapped:
        _unfold(graph)
    draws = [n for n in graph.graph.nodes if n.op == "call_function" and draw_of(n)]
    if len(kept.numbers) == len(draws):
        for node, number in zip(draws, kept.numbers, strict=True):
            node.meta["drawn"] = number
    return graph


def _unfold(graph: GraphModule) -> None:
    """Maps that transforms run on all rows of all examples at once become maps of the features again."""
    for node in [n for n in graph.graph.nodes if name_of(n) == "mm"]:
        rows, matrix = node.args
        ends = [u for u in node.users if name_of(u) in VIEWS]
        if name_of(rows) not in VIEWS or not ends or len(ends) < len(node.users):
            continue
        whole = rows.args[0]
        before, after = whole.meta["val"].shape, {tuple(u.meta["val"].shape) for u in ends}
        if before[-1] != rows.meta["val"].shape[-1] or after != {(*before[:-1], node.meta["val"].shape[-1])}:
            continue
        with graph.graph.inserting_before(node):
            new = graph.graph.call_function(aten.matmul.default, (whole, matrix))
        new.meta = dict(ends[0].meta)
        for end in ends:
            end.replace_all_uses_with(new)
    for node in [n for n in graph.graph.nodes if name_of(n) == "gather"]:
        whole, dim, index = node.args[:3]
        rank = whole.meta["val"].ndim
        if (rows := _rows(index, dim % rank)) is not None:
            with graph.graph.inserting_before(node):
                new = graph.graph.call_function(aten.index_select.default, (whole, dim % rank, rows))
            new.meta = dict(node.meta)
            node.replace_all_uses_with(new)


def _rows(index: Node, dim: int) -> Node | None:
    """The integers along one axis that an index repeats along all others; None for any other index."""
    value = index.meta["val"]
    if any(step and n > 1 for i, (step, n) in enumerate(zip(value.stride(), value.shape, strict=True)) if i != dim):
        return None
    source: Any = index
    while name_of(source) in EXPANDS and source.meta["val"].ndim > 1:
        source = source.args[0]
    found = source.meta["val"]
    return source if found.ndim == 1 and found.shape[0] == value.shape[dim] else None


@contextmanager
def _paths(flat: FlatCall) -> Iterator[None]:
    """Inside, calls are recorded with the modules that they stand in."""
    names = {m: n for n, m in reversed(list(flat.named_modules(remove_duplicate=False)))}
    stack: list[Any] = []

    def enter(module: torch.nn.Module, args: Any) -> None:
        mode = get_proxy_mode()
        if mode is not None and module in names:
            kind = f"{type(module).__module__}.{type(module).__qualname__}"
            key = f"{names[module]}/{len(stack)}"
            mode.tracer.module_stack[key] = (names[module], kind)
            stack.append((mode.tracer, key))
        else:
            stack.append(None)

    def leave(module: torch.nn.Module, args: Any, output: Any) -> None:
        last = stack.pop() if stack else None
        if last is not None:
            last[0].module_stack.pop(last[1], None)

    hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _whole_functions() -> Iterator[None]:
    """Inside, a function with a backward of its own is one call, which keeps it."""
    plain: Callable[..., Any] = torch.autograd.Function.__dict__["apply"].__func__

    def apply(cls: type[torch.autograd.Function], *args: Any, **kwargs: Any) -> Any:
        mode = get_proxy_mode()
        own = not cls.__module__.startswith("torch.") and not kwargs
        if mode is None or not own or not any(isinstance(a, torch.Tensor) for a in args):
            return plain(cls, *args, **kwargs)
        tracer = mode.tracer

        def proxy(t: torch.Tensor) -> Any:
            found = fetch_object_proxy(tracer, t)
            return getattr(found, "proxy", found)

        proxies = tuple(proxy(a) for a in args if isinstance(a, torch.Tensor))
        with disable_proxy_modes_tracing():
            out = plain(cls, *args)
        call = tracer.create_proxy("call_function", OwnBackward(cls, args), proxies, {})
        return track_tensor_tree(out, call, constant=None, tracer=tracer)

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        torch.autograd.Function.apply = classmethod(plain)  # type: ignore[assignment, method-assign]


def _with_placeholders(graph: GraphModule, flat: FlatCall) -> Exported:
    """The recorded graph with an input for every tensor that it found in the module or elsewhere."""
    parameters = {id(p): n for n, p in flat.named_parameters()}
    buffers = {id(b): n for n, b in flat.named_buffers()}
    sources = [Source(InputKind.USER_INPUT, "") for n in graph.graph.nodes if n.op == "placeholder"]
    constants: dict[str, torch.Tensor] = {}
    first: dict[int, Node] = {}
    given = [n for n in graph.graph.nodes if n.op == "placeholder"]
    for node in [n for n in graph.graph.nodes if n.op == "get_attr"]:
        tensor = _attribute(graph, node.target)
        if id(tensor) not in first:
            with graph.graph.inserting_after(given[-1]) if given else graph.graph.inserting_before(node):
                new = graph.graph.placeholder(f"own_{len(first)}")
            given.append(new)
            held, name = _registered(tensor, flat)
            if id(tensor) in parameters:
                sources.append(Source(InputKind.PARAMETER, parameters[id(tensor)]))
            elif id(tensor) in buffers:
                sources.append(Source(InputKind.BUFFER, buffers[id(tensor)]))
            elif held is not None:
                sources.append(Source(InputKind.PARAMETER, name))
            else:
                constants[new.name] = tensor
                sources.append(Source(InputKind.CONSTANT_TENSOR, new.name))
            new.meta["val"] = extract_val(tensor.detach())
            first[id(tensor)] = new
            if (
                held is not None and held is not tensor and not tensor.requires_grad
            ):  # `.data`: its numbers, without their gradient
                with graph.graph.inserting_before(node):
                    cut = graph.graph.call_function(aten.detach.default, (new,))
                cut.meta = dict(new.meta)
                first[id(tensor)] = cut
        node.replace_all_uses_with(first[id(tensor)])
        graph.graph.erase_node(node)
    return Exported(graph, tuple(sources), constants, recorded=True, branches=_branches(graph))


def _branches(graph: GraphModule) -> bool:
    """Whether a run may have been another one for other numbers: it read some, or nothing else says why it is here."""
    calls = [n for n in graph.graph.nodes if n.op == "call_function"]
    return any(name_of(n) in READS for n in calls) or not any(isinstance(n.target, OwnBackward) for n in calls)


def _registered(tensor: torch.Tensor, flat: FlatCall) -> tuple[torch.Tensor | None, str]:
    """The parameter whose memory a tensor is, with its name; None if there is none."""
    for name, p in flat.named_parameters():
        if p is tensor or (same_memory(p, tensor) and p.shape == tensor.shape and p.stride() == tensor.stride()):
            return p, name
    return None, ""


def _attribute(graph: GraphModule, path: Any) -> torch.Tensor:
    found: Any = graph
    for part in str(path).split("."):
        found = getattr(found, part)
    tensor: torch.Tensor = found
    return tensor
