"""Calls that run together as one opaque block: what was rebuilt wrongly, and how little of it can be set apart."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from lawful.theory.oracle.double import double

from .arguments import Arguments
from .computed import resized
from .opaque import emit_opaque, measured_of
from .running import dropout_off
from .values import NotUnderstood

if TYPE_CHECKING:
    from .context import Context
    from .values import Value


@dataclass(frozen=True)
class Region:
    """Calls of a program that become one opaque block.

    Attributes:
        calls: the calls; what is between two of them is among them, and what takes apart a tuple that one gives.
        reason: why, for the report.
        measured: whether they are one block only if its degrees can be measured.
    """

    calls: frozenset[Node]
    reason: str
    measured: bool = False


def closed(calls: Iterable[Node]) -> frozenset[Node]:
    """Some calls, all that lie between them, and what takes apart the tuples that they give."""
    found = set(calls)
    while True:
        below, above = _reach(found, lambda n: list(n.users)), _reach(found, lambda n: n.all_input_nodes)
        wider = found | {n for n in below & above if n.op == "call_function"}
        wider |= {u for n in wider if isinstance(n.meta.get("val"), (list, tuple)) for u in n.users}
        if wider == found:
            return frozenset(found)
        found = wider


def _reach(start: Iterable[Node], following: Callable[[Node], Sequence[Node]]) -> set[Node]:
    """Some nodes, and all that follow them."""
    found: set[Node] = set()
    stack = list(start)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += following(node)
    return found


def units(graph: Graph, regions: Sequence[Region]) -> Iterator[Node | Region]:
    """The nodes of a graph, and the regions in the place of their calls, each after all that it reads."""
    if not regions:
        yield from graph.nodes
        return
    home = {n: r for r in regions for n in r.calls}
    todo: deque[Node | Region] = deque(dict.fromkeys(home.get(n, n) for n in graph.nodes))
    done: set[Node] = set()
    while todo:
        unit = todo.popleft()
        own = unit.calls if isinstance(unit, Region) else {unit}
        if all(n in done or n in own for c in own for n in c.all_input_nodes):
            done |= own
            yield unit
        else:
            todo.append(unit)


def lower_region(low: Context, region: Region) -> dict[Node, Value]:
    """One opaque block that runs the calls of a region.

    Args:
        low: the program.
        region: the calls.

    Returns:
        What its calls that others read stand for.

    Raises:
        NotUnderstood: if it reads what no port can carry, or its degrees cannot be measured and have to be.
    """
    program = low.program
    order = [n for n in program.graph.nodes if n in region.calls]
    ends = {n for _, n in program.outputs}
    outside = dict.fromkeys(n for c in order for n in c.all_input_nodes if n not in region.calls)
    last = next((n for n in reversed(order) if n.target is not operator.getitem), order[-1])
    arguments = Arguments(low, last)
    plans = {n: arguments.plan(low.env[n]) for n in outside}
    given = [n for n in order if n in ends or any(u not in region.calls for u in n.users)]

    def call(x: Sequence[torch.Tensor], p: Mapping[str, torch.Tensor]) -> tuple[Any, ...]:
        batch = arguments.batch(x)
        env: dict[Node, Any] = {n: find(x, p) for n, find in plans.items()}
        with double(), dropout_off():
            for node in order:
                args = map_arg(node.args, env.__getitem__)
                named = {k: map_arg(v, env.__getitem__) for k, v in node.kwargs.items() if k != "device"}
                with torch.set_grad_enabled(torch.is_grad_enabled() and node not in program.detached):
                    env[node] = node.target(*resized(node, args, low.batch, batch), **named)
        return tuple(env[n] for n in given)

    examples = [n.meta["val"] for n in given]
    known = measured_of(last, arguments, call, examples) if region.measured and not arguments.mixed else None
    if region.measured and (known is None or arguments.divided):
        raise NotUnderstood("its degrees are not known")
    out = emit_opaque(
        low, last, arguments.reads, region.reason, call, names=arguments.names, known=known, gives=examples
    )
    return dict(zip(given, out, strict=True))
