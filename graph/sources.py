"""What a network computes of its inputs alone, and what such a wire can carry at all.

Blocks without parameters that read nothing but inputs (and each other) are run on numbers of many sizes.  For every
wire that leaves them the vectors with a constant product are measured (see `theory.spans`), and whether its values fill
the space that these leave: an image of full rank does, whatever computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lawful.blocks import BatchNormCore, FrozenBatchNorm, Identity, Run, Signal
from lawful.blocks.opaque import Discard
from lawful.theory.rules import ComputedRule
from lawful.theory.spans import Span, affine_dimension, measure

from .naming import port_name

if TYPE_CHECKING:
    from .architecture import Architecture
    from .compile import Port

SCALES = (1.0, 1.0, 30.0, 1000.0, 0.03)  # of the numbers that go in
BEYOND = (1, 4, 1000)  # whole numbers go in beyond those of the example too
LARGEST = 600  # entries of one example whose relations are measured
WIDEST = 1024  # features whose relations are measured
RANK = 1e-9  # relative singular values of a derivative below it are rounding
COUPLED = (BatchNormCore, FrozenBatchNorm)  # these mix examples, or read numbers that are kept apart

Values = list[torch.Tensor]
Prefix = Callable[[Sequence[torch.Tensor]], Values]


@dataclass(frozen=True)
class Alone:
    """What a network computes of its inputs alone.

    Attributes:
        rules: for every node that hands on what cannot be everything, or is computed of what others read too.
        tied: these nodes, and those that they are computed of.
    """

    rules: dict[str, ComputedRule]
    tied: set[str]


def computed_alone(arch: Architecture) -> Alone:
    """Measures what a network computes of its inputs alone."""
    alone = _alone(arch)
    ends = _ends(arch, alone)
    if all(node == "input" for node, _ in ends):
        return Alone({}, set())
    spans: dict[Port, Span] = {}
    notes: dict[str, tuple[tuple[str, ...], str, bool]] = {}
    tied: set[str] = set()
    for group in _groups(arch, ends):
        if all(node == "input" for node, _ in group.ports):
            continue
        found, missing, (freedom, steps) = _measured(arch, group)
        spans |= found
        for node in {node for node, _ in group.ports if node != "input"}:
            notes[node] = missing, freedom, steps
        if missing or freedom != "free" or not all(s.free for s in found.values()):
            tied |= group.nodes
    rules = {}
    for node in dict.fromkeys(node for node, _ in ends if node != "input"):
        own = tuple(spans.get((node, i), Span()) for i in range(arch.block(node).outputs))
        missing, freedom, steps = notes.get(node, ((), "free", False))
        if missing or freedom != "free" or not all(s.free for s in own):
            rules[node] = ComputedRule(own, missing, freedom, steps)
    return Alone(rules, tied)


def _alone(arch: Architecture) -> set[str]:
    """The nodes that read inputs and each other only, and have no parameters."""
    found: set[str] = set()
    for n in arch.nodes:
        block = arch.block(n)
        free = not arch.parameter_names(n) and not isinstance(block, (*COUPLED, Discard))
        if free and all(source == "input" or source in found for source, _ in arch.sources(n)):
            found.add(n)
    return found


def _ends(arch: Architecture, alone: set[str]) -> list[Port]:
    """The ports that the rest of the network reads of the inputs and of what is computed of them alone."""
    found: dict[Port, None] = {}
    for n in arch.nodes:
        if n not in alone and not isinstance(arch.block(n), Discard):
            found |= {_origin(arch, p): None for p in arch.sources(n) if p[0] == "input" or p[0] in alone}
    return list(found)


def _origin(arch: Architecture, port: Port) -> Port:
    """What a port is a name for: copies of one wire are that wire."""
    while port[0] != "input" and isinstance(arch.block(port[0]), Identity):
        (port,) = arch.sources(port[0])
    return port


@dataclass
class _Group:
    """Ports that are computed of the same inputs."""

    ports: list[Port]
    inputs: set[int]
    nodes: set[str]


def _groups(arch: Architecture, ends: Sequence[Port]) -> list[_Group]:
    groups: list[_Group] = []
    for port in ends:
        nodes, inputs = _before(arch, port)
        mine = _Group([port], inputs, nodes)
        for other in [g for g in groups if g.inputs & inputs]:
            groups.remove(other)
            mine = _Group(other.ports + mine.ports, other.inputs | mine.inputs, other.nodes | mine.nodes)
        groups.append(mine)
    return groups


def _before(arch: Architecture, port: Port) -> tuple[set[str], set[int]]:
    """The nodes and the inputs that a port is computed of."""
    nodes: set[str] = set()
    inputs: set[int] = set()
    stack = [port]
    while stack:
        node, i = stack.pop()
        if node == "input":
            inputs.add(i)
        elif node not in nodes:
            nodes.add(node)
            stack += arch.sources(node)
    return nodes, inputs


def _prefix(arch: Architecture, group: _Group) -> Prefix:
    """Runs the blocks of a group: from all inputs to every port as `(examples, positions, features)`."""
    order = [n for n in arch.nodes if n in group.nodes]

    def run(inputs: Sequence[torch.Tensor]) -> Values:
        values: dict[Port, torch.Tensor] = {("input", i): x for i, x in enumerate(inputs)}
        state = Run()
        for n in order:
            ports = arch.sources(n)
            state.name, state.axis = n, arch.signals[ports[0]].axis if ports else -1
            out = arch.block(n).forward({}, [values[q] for q in ports], state)
            values |= {(n, i): y for i, y in enumerate(out if isinstance(out, tuple) else (out,))}
        return [_table(values[p], arch.signals[p]) for p in group.ports]

    return run


def _table(value: torch.Tensor, signal: Signal) -> torch.Tensor:
    """Values of a port as `(examples, positions, features)`; tokens as what they pick, none where out of range."""
    if signal.tokens:
        flat = value.long().reshape(len(value), -1)
        hot = (flat[..., None] == torch.arange(signal.features)).to(torch.float64)
        return torch.where(hot.sum(-1, keepdim=True) > 0, hot, float("nan"))
    moved = value.movedim(1, -1) if signal.channels_first else value
    return moved.reshape(len(value), -1, signal.features)


def _drawn(arch: Architecture, batch: int, generator: torch.Generator, scale: float, beyond: int) -> Values:
    """Inputs of a size; whole numbers up to a multiple of what the example holds, a few below zero."""
    out = []
    for s in arch.inputs:
        shape = (batch, *s.shape)
        if s.tokens:
            whole = torch.randint(s.features * beyond, shape, generator=generator)
            low = torch.rand(shape, generator=generator) < 0.02 * (beyond > 1)
            out.append(torch.where(low, -1 - whole % 3, whole))
        else:
            out.append(scale * torch.randn(shape, generator=generator, dtype=torch.float64))
    return out


def _measured(arch: Architecture, group: _Group) -> tuple[dict[Port, Span], tuple[str, ...], tuple[str, bool]]:
    """The span of every port of a group, what is known to be missing, and how free its values are beyond the spans."""
    names = " and ".join(port_name(arch, p) for p in group.ports)
    run, generator = _prefix(arch, group), torch.Generator().manual_seed(0)
    sizes = [(arch.signals[p].positions, arch.signals[p].features) for p in group.ports]
    flat = sum(p * n for p, n in sizes)
    try:
        if _moves_only(arch, run, generator):
            return {}, (), ("free", False)
        if flat > LARGEST or max(n for _, n in sizes) > WIDEST:
            text = f"{names} is computed of the inputs alone and too large to be measured: laws may be missing"
            return {}, (text,), ("free", False)
        rows = 2 * flat + 20
        narrow = _samples(arch, run, rows, generator, (1,))
        wide = _samples(arch, run, rows, generator, BEYOND) if _whole_inputs(arch, group) else narrow
        spans = {p: measure(v.flatten(0, 1)) for p, v in zip(group.ports, wide, strict=True)}
        notes = []
        if any(not s.known for s in spans.values()):
            notes.append(f"{names} keeps products with vectors of no simple fractions: laws along them are not listed")
        own = [affine_dimension(v.flatten(0, 1)) for v in narrow]
        if wide is not narrow and own != [affine_dimension(v.flatten(0, 1)) for v in wide]:
            text = "takes more values than the example shows: laws of those that never come are not listed"
            notes.append(f"{names} {text}")
        return spans, tuple(notes), _freedom(arch, group, run, generator, own, narrow)
    except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        text = f"{names} is computed of the inputs alone and cannot be run alone ({text}): laws may be missing"
        return {}, (text,), ("free", False)


def _freedom(
    arch: Architecture,
    group: _Group,
    run: Prefix,
    generator: torch.Generator,
    own: Sequence[int],
    values: Sequence[torch.Tensor],
) -> tuple[str, bool]:
    """How free the values of a group are within the spans of its ports, and whether they are steps."""
    room = [v.shape[1] * n for v, n in zip(values, own, strict=True)]
    steps = False
    if not group.inputs:
        full = not sum(room)
    elif _whole_inputs(arch, group):
        joint = [affine_dimension(v.flatten(1)) for v in values]
        full = joint == room and all(n <= 1 for n in _reached(arch, group, run, generator))
    else:
        rank = 0
        for x in _points(arch, generator):
            rank = max(rank, _derivative_rank(group, run, x))
            if rank == sum(room):
                break
        full, steps = rank == sum(room), not rank
    return ("free" if full else _looser(values, own)), steps


def _looser(values: Sequence[torch.Tensor], own: Sequence[int]) -> str:
    """How free values are that do not fill their spans."""
    room = [v.shape[1] * n for v, n in zip(values, own, strict=True)]
    if affine_dimension(torch.cat([v.flatten(1) for v in values], 1)) == sum(room):
        return "affine"
    positions = {v.shape[1] for v in values}
    if len(positions) == 1 and affine_dimension(torch.cat(list(values), 2).flatten(0, 1)) == sum(own):
        return "local"
    return "tied"


def _samples(
    arch: Architecture, run: Prefix, rows: int, generator: torch.Generator, beyond: Sequence[int]
) -> list[torch.Tensor]:
    """Values of every port on inputs of all sizes; sizes at which a block does not run are left out."""
    found: list[Values] = []
    failed: Exception | None = None
    for scale in SCALES:
        for k in beyond:
            try:
                values = run(_drawn(arch, rows, generator, scale, k))
            except (RuntimeError, IndexError) as error:
                failed = error
                continue
            kept = torch.stack([torch.isfinite(v).flatten(1).all(1).expand(rows) for v in values]).all(0)
            found.append([v.expand(rows, *v.shape[1:])[kept] for v in values])
    if not any(len(v[0]) for v in found):
        raise failed or ValueError("its values are not finite")
    return [torch.cat(vs) for vs in zip(*found, strict=True)]


def _whole_inputs(arch: Architecture, group: _Group) -> bool:
    return any(arch.inputs[i].tokens for i in group.inputs)


def _moves_only(arch: Architecture, run: Prefix, generator: torch.Generator) -> bool:
    """Whether every entry of every port is an entry of an input of real numbers, and none of them comes twice."""
    inputs, total = [], 0
    for s in arch.inputs:
        n = s.positions * (1 if s.tokens else s.features)
        numbers = total + 1 + torch.randperm(n, generator=generator).to(torch.float64)
        inputs.append(torch.zeros(1, *s.shape, dtype=torch.long) if s.tokens else numbers.reshape(1, *s.shape))
        total += n
    found = torch.cat([v.flatten() for v in run(inputs)])
    whole = bool((found == found.round()).all()) and bool((found >= 1).all()) and bool((found <= total).all())
    if not whole or len(found.unique()) != len(found):
        return False
    other = torch.cat([v.flatten() for v in run([x if x.dtype == torch.long else x + 0.25 for x in inputs])])
    return bool((other == found + 0.25).all())


def _points(arch: Architecture, generator: torch.Generator) -> Iterator[Values]:
    """One example at a time, of any sign, positive, negative and small."""
    for change in (lambda t: t, torch.abs, lambda t: -t.abs(), lambda t: 0.1 * t, lambda t: t.abs() + 1):
        drawn = _drawn(arch, 2, generator, 1.0, 1)
        yield [x if s.tokens else change(x) for x, s in zip(drawn, arch.inputs, strict=True)]


def _derivative_rank(group: _Group, run: Prefix, x: Values) -> int:
    """Rank of the derivative of all ports of the first example by the inputs."""
    used = sorted(group.inputs)

    def function(*moved: torch.Tensor) -> torch.Tensor:
        values = list(x)
        for i, t in zip(used, moved, strict=True):
            values[i] = t
        return torch.cat([v[0].flatten() for v in run(values)])

    parts = torch.autograd.functional.jacobian(function, tuple(x[i] for i in used))
    rows = torch.cat([p.flatten(1) for p in parts], 1)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)
    s = torch.linalg.svdvals(rows)
    return int((s > RANK * s[0].clamp_min(1e-300)).sum())


def _reached(arch: Architecture, group: _Group, run: Prefix, generator: torch.Generator) -> list[int]:
    """For every position of the inputs, how many positions of the ports it reaches."""
    out = []
    for i in sorted(group.inputs):
        signal = arch.inputs[i]
        inner = signal.space if signal.tokens else signal.shape
        for place in range(max(1, torch.Size(inner).numel())):
            changed: torch.Tensor | None = None
            for _ in range(6):
                x = _drawn(arch, 2, generator, 1.0, 1)
                y = [t.clone() for t in x]
                fresh = _drawn(arch, 2, generator, 1.0, 1)[i]
                y[i].reshape(2, -1)[:, place] = fresh.reshape(2, -1)[:, place]
                pairs = zip(run(x), run(y), strict=True)
                differ = torch.cat([(a != b).any(-1).any(0) for a, b in pairs])
                changed = differ if changed is None else changed | differ
            assert changed is not None
            out.append(int(changed.sum()))
    return out
