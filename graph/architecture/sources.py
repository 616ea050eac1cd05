"""What a network computes of its inputs alone, and what such a wire can carry at all.

Blocks without parameters that read nothing but inputs (and each other) are run on numbers of many sizes.  For every
wire that leaves them the vectors with a constant product are measured (see `theory.spans`), and whether its values fill
the space that these leave: an image of full rank does, whatever computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch

from lawful.blocks import Run, Signal
from lawful.blocks.answers import rule_of, values_of
from lawful.blocks.opaque import Discard
from lawful.blocks.signals import DeclarationError
from lawful.theory.gauge.rules import ComputedRule, PassRule
from lawful.theory.gauge.rules.ends import Freedom
from lawful.theory.gauge.spans import Span, affine_dimension, measure

from .block_graph import BlockGraph
from .compile import Port
from .freedom import Prefix, Values, alike, derivatives, drawn, reached

SCALES = (1.0, 1.0, 30.0, 1000.0, 0.03)  # of the numbers that go in
BEYOND = (1, 4, 1000)  # whole numbers go in beyond those of the example too
MOST = 50_000_000  # numbers that are drawn and computed to measure one group
LARGEST = 600  # entries of one example whose relations are measured
WIDEST = 1024  # features whose relations are measured


@dataclass(frozen=True)
class Alone:
    """What a network computes of its inputs alone.

    Attributes:
        rules: for every node that hands on what cannot be everything, or is computed of what others read too.
        tied: these nodes, and those that they are computed of.
    """

    rules: dict[str, ComputedRule]
    tied: set[str]


_KNOWN: WeakKeyDictionary[BlockGraph, Alone] = WeakKeyDictionary()  # a graph never changes


def computed_alone(arch: BlockGraph) -> Alone:
    """Measures what a network computes of its inputs alone, once for every graph.

    What drops at random draws the same in every measurement, whatever was drawn before.
    """
    known = _KNOWN.get(arch)  # asked once: what is known may be of an equal graph, which goes at any moment
    if known is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            known = _KNOWN[arch] = _measure_all(arch)
    return known


def _measure_all(arch: BlockGraph) -> Alone:
    alone = _alone(arch)
    ends = _ends(arch, alone)
    if all(node == "input" for node, _ in ends):
        return Alone({}, set())
    rules: dict[str, ComputedRule] = {}
    tied: set[str] = set()
    for group in _groups(arch, ends):
        computed = list(dict.fromkeys(node for node, _ in group.ports if node != "input"))
        if not computed:
            continue
        found = _measured(arch, group)
        for node in computed:
            ports = [(node, i) for i in range(arch.block(node).outputs)]
            own = tuple(found.spans.get(p, Span()) for p in ports)
            steps = any(p in found.steps for p in ports)
            if found.notes or not found.free:
                rules[node] = ComputedRule(own, found.notes, found.freedoms, steps)
        if found.notes or not found.free:
            tied |= group.nodes
    return Alone(rules, tied)


@dataclass(frozen=True)
class _Found:
    """What is measured of a group: spans, what is missing, how free its wires are, which of them are steps."""

    spans: dict[Port, Span]
    notes: tuple[str, ...] = ()
    freedoms: tuple[Freedom, ...] = ()
    steps: frozenset[Port] = frozenset()

    @property
    def free(self) -> bool:
        """Whether all its wires are as good as free inputs."""
        return all(s.free for s in self.spans.values()) and all(f.open for f in self.freedoms)


def _alone(arch: BlockGraph) -> set[str]:
    """The nodes that read inputs and each other only, and have no parameters."""
    found: set[str] = set()
    for n in arch.nodes:
        block = arch.block(n)
        # not what mixes examples, or reads numbers that are kept apart
        free = not (arch.parameter_names(n) or block.over_batch or block.buffers or isinstance(block, Discard))
        if free and all(source == "input" or source in found for source, _ in arch.sources(n)):
            found.add(n)
    return found


def _ends(arch: BlockGraph, alone: set[str]) -> list[Port]:
    """The ports that the rest of the network reads of the inputs and of what is computed of them alone."""
    found: dict[Port, None] = {}
    for n in arch.nodes:
        if n not in alone and not isinstance(arch.block(n), Discard):
            ports = [_copied(arch, p) for p in arch.sources(n) if p[0] == "input" or p[0] in alone]
            found |= dict.fromkeys(ports)
    return list(found)


def _copied(arch: BlockGraph, port: Port) -> Port:
    """What a port is no more than a multiple of, feature by feature and position by position: the rules know it."""
    node, _ = port
    while node != "input":
        ports = arch.sources(node)
        rule = rule_of(arch.block(node), {}, [arch.signals[p] for p in ports], [arch.signals[node, 0]])
        if not isinstance(rule, PassRule) or rule != PassRule(factor=rule.factor):
            break
        port = ports[0]
        node = port[0]
    return port


@dataclass
class _Group:
    """Ports that are computed of the same inputs."""

    ports: list[Port]
    inputs: set[int]
    nodes: set[str]


def _groups(arch: BlockGraph, ends: Sequence[Port]) -> list[_Group]:
    groups: list[_Group] = []
    for port in ends:
        nodes, inputs = _before(arch, port)
        mine = _Group([port], inputs, nodes)
        for other in [g for g in groups if g.inputs & inputs]:
            groups.remove(other)
            mine = _Group(other.ports + mine.ports, other.inputs | mine.inputs, other.nodes | mine.nodes)
        groups.append(mine)
    return groups


def _before(arch: BlockGraph, port: Port) -> tuple[set[str], set[int]]:
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


def _prefix(arch: BlockGraph, group: _Group, training: bool = True) -> Prefix:
    """Runs the blocks of a group: from all inputs to every port as `(examples, positions, features)`."""

    def run(inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return _values(arch, group.nodes, group.ports, inputs, training)

    return run


def _values(
    arch: BlockGraph, nodes: set[str], wanted: Sequence[Port], inputs: Sequence[torch.Tensor], training: bool
) -> list[torch.Tensor]:
    """Some ports as `(examples, positions, features)`, of the blocks that they are computed by."""
    values: dict[Port, torch.Tensor] = {("input", i): x for i, x in enumerate(inputs)}
    state = Run(training=training)
    for n in (n for n in arch.nodes if n in nodes):
        ports = arch.sources(n)
        state.name, state.axis = n, arch.signals[ports[0]].axis if ports else -1
        block, reads = arch.block(n), [arch.signals[q] for q in ports]
        writes = [arch.signals[n, i] for i in range(block.outputs)]
        out = values_of(block, {}, [values[q] for q in ports], state, reads, writes)
        values |= {(n, i): y for i, y in enumerate(out)}
    return [_table(values[p], arch.signals[p]) for p in wanted]


def fixed_nodes(arch: BlockGraph) -> set[str]:
    """The nodes in which no input and no parameter has a part: what they write is always the same."""
    found: set[str] = set()
    for n in arch.nodes:
        block = arch.block(n)
        own = arch.parameter_names(n) or block.over_batch or block.buffers or not block.outputs
        if not own and all(source in found for source, _ in arch.sources(n)):
            found.add(n)
    return found


def fixed_numbers(arch: BlockGraph, port: Port) -> torch.Tensor | None:
    """What a port of a fixed node always carries, as `(positions, features)`; None if it cannot be computed alone."""
    s = arch.signals[port]
    if s.positions * s.features > MOST:
        return None
    try:
        (found,) = _values(arch, _before(arch, port)[0], [port], (), training=False)
    except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError):
        return None
    return None if found.is_meta else found[0]


def _table(value: torch.Tensor, signal: Signal) -> torch.Tensor:
    """Values of a port as `(examples, positions, features)`; tokens as what they pick, none where out of range."""
    if signal.tokens:
        flat = value.long().reshape(len(value), -1)
        hot = (flat[..., None] == torch.arange(signal.features)).to(torch.float64)
        return torch.where(hot.sum(-1, keepdim=True) > 0, hot, float("nan"))
    moved = value.movedim(1, -1) if signal.channels_first else value
    if moved.is_complex():  # both parts, as further positions
        moved = torch.stack([moved.real, moved.imag], 1)
    return moved.reshape(len(value), -1, signal.features)


def _measured(arch: BlockGraph, group: _Group) -> _Found:
    """What the ports of a group can carry, alone and together."""
    names = " and ".join(arch.port_name(p) for p in group.ports)
    large = f"{names} is computed of the inputs alone and too large to be measured: laws may be missing"
    run, generator = _prefix(arch, group), torch.Generator().manual_seed(0)
    try:
        if _moves_only(arch, run, generator):
            return _Found({})
        sizes = [(arch.signals[p].positions, arch.signals[p].features) for p in group.ports]
        if _large(sizes):
            calm = _prefix(arch, group, training=False)  # noise would hide that features are treated alike
            places, kept = (alike(arch, group.inputs, calm, generator, axis) for axis in (1, 2))
            sizes = [(places or p, kept or n) for p, n in sizes]
            run = _cut(run, places, kept)
        if _large(sizes):
            return _Found({}, (large,))
        rows = 2 * sum(p * n for p, n in sizes) + 20 if group.inputs else 2  # fixed numbers are always the same
        whole_size = sum(s.positions * s.features for s in (*arch.inputs, *(arch.signals[p] for p in group.ports)))
        if rows * whole_size > MOST:
            return _Found({}, (large,))
        narrow = _samples(arch, run, rows, generator, (1,))
        wide = _samples(arch, run, rows, generator, BEYOND) if _whole_inputs(arch, group) else narrow
        spans = {p: measure(v.flatten(0, 1)) for p, v in zip(group.ports, wide, strict=True)}
        whole = [n == arch.signals[p].features for p, (_, n) in zip(group.ports, sizes, strict=True)]
        if not all(kept or s.free for kept, s in zip(whole, spans.values(), strict=True)):
            return _Found({}, (large,))
        notes = []
        if any(not s.known for s in spans.values()):
            text = "never changes along some vectors that are no simple fractions"
            notes.append(f"{names} {text}: laws along these are not listed")
        own = [affine_dimension(v.flatten(0, 1)) for v in narrow]
        if wide is not narrow and own != [affine_dimension(v.flatten(0, 1)) for v in wide]:
            text = "takes more values than the example shows: laws that hold for some of them only are not listed"
            notes.append(f"{names} {text}")
        values = Values(group.ports, narrow, own)
        if _whole_inputs(arch, group):
            return _Found(spans, tuple(notes), values.chosen(reached(arch, group.inputs, run, generator)))
        slopes = derivatives(arch, group.inputs, run, generator)
        steps = {p for i, p in enumerate(group.ports) if slopes and not any(bool(rows[i].any()) for rows in slopes)}
        return _Found(spans, tuple(notes), values.moving(slopes), frozenset(steps))
    except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        text = f"{names} is computed of the inputs alone and cannot be run alone ({text}): laws may be missing"
        return _Found({}, (text,))


def _large(sizes: Sequence[tuple[int, int]]) -> bool:
    return sum(p * n for p, n in sizes) > LARGEST or max(n for _, n in sizes) > WIDEST


def _cut(run: Prefix, positions: int | None, features: int | None) -> Prefix:
    return lambda inputs: [v[:, :positions, :features] for v in run(inputs)]


def _samples(
    arch: BlockGraph, run: Prefix, rows: int, generator: torch.Generator, beyond: Sequence[int]
) -> list[torch.Tensor]:
    """Values of every port on inputs of all sizes; sizes at which a block does not run are left out."""
    found: list[list[torch.Tensor]] = []
    failed: Exception | None = None
    for scale in SCALES:
        for k in beyond:
            try:
                values = run(drawn(arch, rows, generator, scale, k))
            except (RuntimeError, IndexError, DeclarationError) as error:
                failed = error
                continue
            kept = torch.stack([torch.isfinite(v).flatten(1).all(1).expand(rows) for v in values]).all(0)
            found.append([v.expand(rows, *v.shape[1:])[kept] for v in values])
    if not any(len(v[0]) for v in found):
        raise failed or ValueError("its values are not finite")
    return [torch.cat(vs) for vs in zip(*found, strict=True)]


def _whole_inputs(arch: BlockGraph, group: _Group) -> bool:
    return any(arch.inputs[i].tokens for i in group.inputs)


def _moves_only(arch: BlockGraph, run: Prefix, generator: torch.Generator) -> bool:
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
