"""The first call of an exported graph that the rebuilt network computes otherwise: in value, or in gradient.

The exported graph holds every intermediate value; the rebuilt network runs block by block, and the streams, parameters
and fixed numbers that stand for the calls say where the same values are in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from lawful.blocks import Run
from lawful.theory.oracle.double import double
from lawful.theory.oracle.lending.storage import own_parameters
from lawful.theory.oracle.modules import as_double, perturbed
from lawful.theory.parts import read

from ..architecture.compile import Port
from ..architecture.forward import run_blocks
from .arguments import restored
from .gaps import TOLERANCE
from .lowering import Lowering
from .rebuilt import inputs_of, parameters_of
from .running import Tensors, draw_inputs, dropout_off
from .values import Fixed, Stream, Weight

if TYPE_CHECKING:
    from ..architecture.architecture import Architecture

SEED = 0


@dataclass
class _Seen:
    """The calls whose values are known on both sides, in the order of the graph."""

    calls: list[Node]
    exported: list[torch.Tensor]
    rebuilt: list[torch.Tensor]


def first_fault(low: Lowering, arch: Architecture, module: torch.nn.Module) -> Node | None:
    """The first call that the rebuilt network computes otherwise than the exported graph; None if none is seen.

    Args:
        low: what the module was lowered to.
        arch: the architecture of it.
        module: the module, for the numbers of its parameters.
    """
    generator = torch.Generator().manual_seed(SEED)
    trained = {n: p.requires_grad for n, p in own_parameters(module).items()}
    values = {n: perturbed(as_double(p.detach()), generator) for n, p in own_parameters(module).items()}
    leaves = {n: v.requires_grad_(trained[n]) for n, v in values.items()}
    batches = (low.batch, low.batch + 1)[
        : 2 - low.program.recorded
    ]  # some blocks only run at the batch that was traced
    for batch in batches:
        inputs = draw_inputs(low.program, batch, generator)
        with dropout_off(), double():
            ports, broken = _rebuilt(low, arch, leaves, inputs)
            if batch != low.batch:
                return broken
            env = _exported(low, leaves, inputs)
            seen = _compared(low, leaves, env, ports)
        wrong = [n for n, a, b in zip(seen.calls, seen.exported, seen.rebuilt, strict=True) if not same(a, b)]
        found = _first(low, [*wrong[:1], *([broken] if broken is not None else [])])
        found = found if found is not None else _wrong_gradient(low, seen, [v for v in leaves.values()])
        if found is not None:
            return found
    return None


def _exported(low: Lowering, leaves: Tensors, inputs: Sequence[torch.Tensor]) -> dict[Node, Any]:
    """The values of the exported graph, as far as it runs by itself."""
    program = low.program
    env: dict[Node, Any] = {node: leaves[n] for node, n in program.parameters.items()}
    env |= {node: as_double(b) for node, (_, b) in program.buffers.items()}
    env |= {node: as_double(c) for node, c in program.constants.items()}
    env |= {i.node: x for i, x in zip(program.inputs, inputs, strict=True)}
    for node in program.graph.nodes:
        if node.op == "call_function" and all(n in env for n in node.all_input_nodes):
            try:
                args, kwargs = map_arg(node.args, env.__getitem__), map_arg(node.kwargs, env.__getitem__)
                env[node] = node.target(*args, **kwargs)
            except Exception:  # calls that only run inside of a transform
                continue
    return env


def _rebuilt(
    low: Lowering, arch: Architecture, leaves: Tensors, inputs: Sequence[torch.Tensor]
) -> tuple[dict[Port, torch.Tensor], Node | None]:
    """The tensors of all ports that the rebuilt network comes to, and the call whose block does not run."""
    state = {n: as_double(t) for n, t in low.builder.state.items()}
    ports: dict[Port, torch.Tensor] = {}
    at = ""
    try:
        given = inputs_of(low)(inputs)
    except Exception:  # sizes that were traced are built in what is made of the inputs alone
        return ports, None
    try:
        ports |= {("input", k): x for k, x in zip(low.builder.used_inputs, given, strict=True)}
        own = parameters_of(arch, leaves)
        for at, outputs in run_blocks(arch, own, given, Run(training=False, state=state)):
            ports |= {(at, i): y for i, y in enumerate(outputs)}
    except Exception:
        nodes = list(arch.nodes)
        stuck = nodes[nodes.index(at) + 1] if at else nodes[0]
        return ports, low.origins.get(stuck)
    return ports, None


def _compared(low: Lowering, leaves: Tensors, env: Mapping[Node, Any], ports: Mapping[Port, torch.Tensor]) -> _Seen:
    seen = _Seen([], [], [])
    for node in low.program.graph.nodes:
        expected, value = env.get(node), low.env.get(node)
        if node.op != "call_function" or not isinstance(expected, torch.Tensor):
            continue
        try:
            got = _value(value, leaves, ports)
        except Exception:  # a stream whose arrangement does not fit what its block writes
            got = torch.full((), float("nan"), dtype=torch.float64)
        if got is not None:
            seen.calls.append(node)
            seen.exported.append(expected)
            seen.rebuilt.append(got)
    return seen


def _value(value: Any, leaves: Tensors, ports: Mapping[Port, torch.Tensor]) -> torch.Tensor | None:
    """The traced tensor that a value stands for; None if it is not known yet."""
    if isinstance(value, Stream) and value.port in ports:
        return restored(value.dims, (1, *value.signal.shape), batch=True)(ports[value.port])
    if isinstance(value, Weight):
        return restored(value.dims, value.full, batch=False)(read(value.name, leaves).reshape(value.full))
    if isinstance(value, Fixed) and value.known:
        return value.tensor
    return None


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are the same up to rounding, and of one kind of numbers."""
    kinds = [(t.is_floating_point(), t.is_complex(), t.dtype == torch.bool) for t in (a, b)]
    if a.shape != b.shape or kinds[0] != kinds[1]:
        return False
    if not (a.is_floating_point() or a.is_complex()):
        return bool((a == b).all())
    a, b = a.detach(), b.detach().to(a.device, a.dtype)
    equal = (a == b) | (a.isnan() & b.isnan())
    rest = torch.where(equal, 0, a - b)
    return float(rest.norm()) <= TOLERANCE * max(float(torch.where(equal, 0, a).norm()), 1e-3)


def _first(low: Lowering, calls: Sequence[Node]) -> Node | None:
    """The first of some calls in the order of the graph."""
    return next((n for n in low.program.graph.nodes if n in calls), None)


def _wrong_gradient(low: Lowering, seen: _Seen, leaves: Sequence[torch.Tensor]) -> Node | None:
    """The first call whose derivative by the parameters differs: of all calls before it every sum agrees."""
    sources = [v for v in leaves if v.requires_grad]
    generator = torch.Generator().manual_seed(SEED)
    terms: list[tuple[Node, torch.Tensor, torch.Tensor]] = []
    for node, a, b in zip(seen.calls, seen.exported, seen.rebuilt, strict=True):
        if a.is_floating_point() and (a.requires_grad or b.requires_grad) and node not in low.program.detached:
            w = torch.randn(a.shape, generator=generator, dtype=torch.float64).to(a.device)
            terms.append((node, _product(a, w), _product(b, w)))
    if not sources or not terms:
        return None

    def agree(count: int) -> bool:
        pairs = [_gradient(sum(t[side] for t in terms[:count]), sources) for side in (1, 2)]
        return all(same(a, b) for a, b in zip(*pairs, strict=True))

    low_end, high_end = 0, len(terms)
    if agree(high_end):
        return None
    while high_end - low_end > 1:
        middle = (low_end + high_end) // 2
        if agree(middle):
            low_end = middle
        else:
            high_end = middle
    return terms[low_end][0]


def _product(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """A product with finite numbers only: masks are infinite."""
    return (torch.where(x.isfinite(), x, 0) * w).sum()


def _gradient(total: Any, sources: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    if not total.requires_grad:
        return [torch.zeros_like(s) for s in sources]
    found = torch.autograd.grad(total, sources, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(s) if g is None else g for s, g in zip(sources, found, strict=True)]


__all__ = ["first_fault", "same"]
