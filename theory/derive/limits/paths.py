"""Shapes of a network that have laws which the rules do not see, found by following its wires.

This file is long because every such shape has a walk of its own, and all walks are of one kind.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from ...gauge.contract import Site
from ...gauge.diagram import Diagram
from ...gauge.rewrites import identity_sources, invisible
from ...gauge.rules import (
    AddRule,
    AttentionRule,
    BlendRule,
    ConcatRule,
    DotRule,
    FixedGainRule,
    GainRule,
    HeadGainRule,
    HomogeneousRule,
    LargerRule,
    LinearRule,
    NormRule,
    OffsetRule,
    OutputRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    ReorderRule,
    RepeatRule,
    Rule,
    ScalarGainRule,
    SimilarityRule,
    SoftmaxRule,
    SourceRule,
    SumFeaturesRule,
    TableRule,
    TokensRule,
    TurnRule,
    UnflattenRule,
    UnitRowsRule,
)

# what two places find: a norm of so few features that it is a sign, a function of entries of a table
SIGN = "normalises so few features that only a sign is left: what is before it never changes, and is not listed"
OF_ENTRIES = "applies a function to values looked up in a table: laws of single entries, no polynomials, are not listed"


def path_limits(diagram: Diagram) -> Iterator[str]:
    """Reasons why laws may be missing that only depend on how the blocks are joined, one sentence each."""
    yield from _maps_in_a_row(diagram)
    yield from _products_of_rows(diagram)
    yield from _copies_added(diagram)
    yield from _averaged_positions(diagram)
    yield from _skips_into_sums(diagram)
    yield from _shared_paths(diagram)
    yield from _fixed_sums(diagram)
    yield from _accidents(diagram)
    yield from _factors(diagram)


def _maps_in_a_row(diagram: Diagram) -> Iterator[str]:
    """A shared matrix applied to its own result has laws that are no polynomials of degree two.

    None where the first application reads inputs that can be anything and that nothing else reads, and writes no more
    features: then every direction of the matrix moves by itself.  One feature on either side, what stands beside the
    two, or rows that no input reaches leave some that do not.
    """
    written: dict[int, tuple[str, bool]] = {}  # the weight, and whether its first application reads all of an input
    for site in diagram.sites:
        if isinstance(site.rule, LinearRule):
            before = written.get(site.inputs[0], ("", False))
            again = before[0] == site.rule.weight
            if again and not before[1]:
                what = f"applies {site.rule.weight} to what {site.rule.weight} has just computed"
                yield f"{site.name} {what}: laws of degree above two are not listed"
            spans = before[1] if again else _reads_all(diagram, site)
            written |= dict.fromkeys(site.outputs, (site.rule.weight, spans))
        elif isinstance(site.rule, PassRule) and site.inputs[0] in written:
            written[site.outputs[0]] = written[site.inputs[0]]


def _reads_all(diagram: Diagram, site: Site) -> bool:
    """Whether a map alone reads an input that can be anything, and makes several features, no more than it reads."""
    x, rule = site.inputs[0], site.rule
    read, made = (diagram.wires[w].size for w in (x, site.outputs[0]))
    free = x in diagram.writer and isinstance(diagram.writer[x].rule, SourceRule)
    plain = isinstance(rule, LinearRule) and rule.groups == 1 and not rule.lookup and not rule.mixes
    return free and plain and 1 < made <= read and len(diagram.readers[x]) == 1


# what values read off a table stay values of single entries through
ROWS = (
    AddRule,
    BlendRule,
    ConcatRule,
    GainRule,
    HomogeneousRule,
    LargerRule,
    OffsetRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    TokensRule,
)


def _products_of_rows(diagram: Diagram) -> Iterator[str]:
    """Products of values that are read off a table without a map between: each row then has laws of its own."""
    rows: dict[int, frozenset[int]] = {}  # with the wires that choose the rows
    summed: set[int] = set()
    for site in diagram.sites:
        rule = site.rule
        if isinstance(rule, TableRule) or (isinstance(rule, LinearRule) and rule.lookup):
            rows |= dict.fromkeys(site.outputs, frozenset(site.inputs or (-1,)))
        elif site.inputs and rows.keys() >= set(site.inputs):
            chosen = [rows[w] for w in site.inputs]
            if isinstance(rule, ProductRule) or (isinstance(rule, DotRule) and not chosen[0].isdisjoint(chosen[1])):
                yield f"{site.name} multiplies values looked up in a table: laws of single rows of it are not listed"
            if isinstance(rule, HomogeneousRule) and rule.mixes and summed.intersection(site.inputs):
                what = "chooses the largest of sums of entries of tables"
                yield f"{site.name} {what}: laws of entries that are never chosen are not listed"
            signs = isinstance(rule, HomogeneousRule) and rule.isometric and summed.isdisjoint(site.inputs)
            sigmoid = isinstance(rule, SoftmaxRule) and diagram.wires[site.inputs[0]].size == 2
            if (
                isinstance(rule, PointwiseRule)
                or sigmoid
                or signs
                or (isinstance(rule, HomogeneousRule) and rule.power != 1)
            ):
                yield f"{site.name} {OF_ENTRIES}"
            if isinstance(rule, NormRule) and rule.scale and rule.epsilon and summed.isdisjoint(site.inputs):
                if len(diagram.readers[site.inputs[0]]) == 1:  # its epsilon makes sizes of rows another function
                    yield f"{site.name} {OF_ENTRIES}"
            if isinstance(rule, ROWS):
                rows |= dict.fromkeys(site.outputs, frozenset().union(*chosen))
            if isinstance(rule, AddRule) or summed.intersection(site.inputs):
                summed.update(site.outputs)


def _copies_added(diagram: Diagram) -> Iterator[str]:
    """Copies of one feature that are added up again behind gains of their own."""
    writer = diagram.writer
    for site in diagram.sites:
        if isinstance(site.rule, SumFeaturesRule):
            before = writer[site.inputs[0]]
            while isinstance(before.rule, (GainRule, HomogeneousRule)):
                before = writer[before.inputs[0]]
            if isinstance(before.rule, RepeatRule):
                what = "adds copies of the same features, each with a gain of its own"
                yield f"{site.name} {what}: laws that compare these gains are not listed"


# maps through which single positions stay apart until they are averaged
SPREADS = (
    AddRule,
    ConcatRule,
    DotRule,
    FixedGainRule,
    GainRule,
    HeadGainRule,
    LinearRule,
    OffsetRule,
    PassRule,
    ProductRule,
    ReorderRule,
    RepeatRule,
    ScalarGainRule,
    SumFeaturesRule,
)


def averaged(diagram: Diagram) -> dict[int, str]:
    """For every wire the site that averages or picks its positions, where nothing but maps lies between."""
    out: dict[int, str] = {}
    for site in reversed(diagram.sites):
        for w in site.outputs:
            for reader, _ in diagram.readers[w]:
                rule = reader.rule
                if isinstance(rule, PassRule) and (rule.mixes or isinstance(rule.weights, int)):
                    found = reader.name
                elif isinstance(rule, SPREADS) or (isinstance(rule, NormRule) and not rule.scale):
                    found = next((out[y] for y in reader.outputs if y in out), "")
                else:
                    continue
                if found:
                    out[w] = found
                    break
    return out


def _averaged_positions(diagram: Diagram) -> Iterator[str]:
    """Positions that are mixed, made or centred, and then averaged with nothing but maps between."""
    sites = list(diagram.sites)
    averages = averaged(diagram)
    for i, site in enumerate(sites):
        rule = site.rule
        kernel = isinstance(rule, LinearRule) and math.prod(rule.shape_[2:]) > 1
        pieces = isinstance(rule, UnflattenRule) and not rule.choose
        unit = isinstance(rule, UnitRowsRule) and rule.mixes
        joined = isinstance(rule, TokensRule) and _maps_of_one_wire(diagram, site)
        if not (kernel or pieces or unit or joined or isinstance(rule, (NormRule, TurnRule))):
            continue
        name = next((averages[w] for w in site.outputs if w in averages), None)
        if name and isinstance(rule, TurnRule):
            yield f"{name} averages the positions that {site.name} mixes: laws of single positions are not listed"
        if name and joined:
            what = f"averages over layers that read the same features, which {site.name} joins"
            yield f"{name} {what}: laws that compare these layers are not listed"
        if name and isinstance(rule, NormRule) and not rule.local and rule.centre:
            what = f"averages over positions whose mean {site.name} has subtracted"
            yield f"{name} {what}: laws of that mean are not listed"
        if name and (pieces or unit or (isinstance(rule, LinearRule) and _every_tap(rule))):
            what = f"averages over all positions to which {site.name} spreads its input"
            yield f"{name} {what}: laws that compare entries of its kernel are not listed"
        if isinstance(rule, LinearRule) and rule.geometry[:1] == ("transposed conv",) and rule.bias is None:
            if rule.mixes and rule.geometry[1] > 1 and invisible(sites, i, local=True):
                what = "writes positions in turn with different entries of its kernel, and nothing sees their scales"
                yield f"{site.name} {what}: laws of these scales are not listed"


def _maps_of_one_wire(diagram: Diagram, site: Site) -> bool:
    """Whether two inputs of a site are linear maps of the same wire."""
    made = [diagram.writer[w] for w in site.inputs if w in diagram.writer]
    read = [s.inputs[0] for s in made if isinstance(s.rule, LinearRule)]
    return len(set(read)) < len(read)


def _every_tap(rule: LinearRule) -> bool:
    """Whether every tap of a kernel meets every pixel."""
    kind, *window = rule.geometry
    if kind != "conv":
        return kind == "transposed conv"
    stride, padding, dilation = window
    return stride == 1 and all(padding >= dilation * (k - 1) for k in rule.shape_[2:])


def _skips_into_sums(diagram: Diagram) -> Iterator[str]:
    """`x + f(W x)` where the skip could be drawn into `W`, but for what stands between."""
    writer = diagram.writer
    origin = identity_sources(list(diagram.sites))

    def start(w: int) -> int:
        return origin[w][0] if w in origin else w

    for site in diagram.sites:
        if not isinstance(site.rule, AddRule):
            continue
        starts = {start(w) for w in site.inputs}
        for w in site.inputs:
            branch = writer[w]
            while isinstance(branch.rule, GainRule) and not branch.rule.gain:
                branch = writer[branch.inputs[0]]
            noisy = isinstance(branch.rule, PassRule) and branch.rule.noisy
            chosen = noisy or (isinstance(branch.rule, UnflattenRule) and branch.rule.choose)
            if chosen:
                branch = writer[branch.inputs[0]]
            if _multiplies(branch.rule):
                if _multiplies(writer[branch.inputs[0]].rule):
                    what = f"{site.name} adds features that two gains in a row have multiplied"
                    yield f"{what}: laws of degree above two are not listed"
            if not isinstance(branch.rule, LinearRule):
                continue
            source, changed = branch.inputs[0], "a part, or a choice, of a layer" if chosen else ""
            while change := _change(writer[source].rule):
                source, changed = writer[source].inputs[0], changed or change
            if start(source) in starts and changed:
                what = changed
                yield f"{site.name} adds a skip to {what}: laws of the two as one layer are not listed"


def _shared_paths(diagram: Diagram) -> Iterator[str]:
    """Two ways from one wire to one sum, with a shared map on both: parts of the maps beside it may be exchanged.

    `S diag(a) x + L S x` is the same for `a - c 1` and `L + c I`; `q D f + k D h` for `f + c h` and `k - c q`, channel
    by channel where `D` is a gain.
    """
    shared = Counter(_map(s.rule) for s in diagram.sites)
    for site in diagram.sites:
        if not isinstance(site.rule, AddRule):
            continue
        seen: set[tuple[int, str]] = set()
        for w in site.inputs:
            way: list[tuple[str, bool]] = []  # the maps from here back to the wire, and whether each is a gain
            while isinstance(diagram.writer[w].rule, (LinearRule, GainRule, PassRule)) and diagram.writer[w].inputs:
                rule = diagram.writer[w].rule
                way += [(_map(rule), isinstance(rule, GainRule))] if _map(rule) else []
                w = diagram.writer[w].inputs[0]
            between = [name for name, gain in way if not gain]  # a gain is seen beside maps on both sides alone
            inner = {name for name, gain in way[1:-1] if gain} if len(between) > 1 else set()
            ends = {(w, name) for name, gain in way if shared[name] > 1 and (not gain or name in inner)}
            for _, name in sorted(ends & seen):
                yield f"{site.name} adds two paths through {name}: laws that join other weights on them are not listed"
            seen |= ends


def _map(rule: Rule) -> str:
    """The parameter by which a rule multiplies, none for other rules."""
    if isinstance(rule, LinearRule):
        return rule.weight
    return rule.gain or "" if isinstance(rule, GainRule) else ""


def _change(rule: Rule) -> str:
    """What stands between a skip and a map beside it that could be drawn as one with it but for that."""
    if isinstance(rule, GainRule) and not rule.gain:
        return "a layer behind a shift"
    return "a layer behind a centring" if isinstance(rule, NormRule) and not rule.scale else ""


def _multiplies(rule: Rule) -> bool:
    """Whether a rule is that of a gain per feature, also of one that is written as a depthwise map of kernel 1."""
    if isinstance(rule, LinearRule):
        return rule.groups > 1 and math.prod(rule.shape_[1:]) == 1
    return isinstance(rule, GainRule) and rule.gain is not None


def _fixed_sums(diagram: Diagram) -> Iterator[str]:
    """Squares of normalised features add up to a constant; an exponential scale answers a factor by a constant."""
    writer = diagram.writer
    readers = diagram.readers
    for site in diagram.sites:
        rule = site.rule
        if isinstance(rule, HomogeneousRule) and rule.power > 1 and isinstance(writer[site.inputs[0]].rule, NormRule):
            what = "takes powers of normalised features, whose squares have a fixed sum"
            yield f"{site.name} {what}: laws of that sum are not listed"
        if isinstance(rule, SimilarityRule) and rule.scaled:
            if any(not isinstance(r.rule, OutputRule) for r, _ in readers[site.outputs[0]]):
                what = "multiplies by the exponential of a parameter, and trained blocks follow"
                yield f"{site.name} {what}: laws of that parameter are not listed"


def _accidents(diagram: Diagram) -> Iterator[str]:
    """Axes so short that a block is another function: its accidental laws hold for these widths only."""
    writer = diagram.writer
    for site in diagram.sites:
        rule = site.rule
        if isinstance(rule, NormRule) and rule.scale and rule.local:
            left = diagram.wires[site.inputs[0]].size // rule.groups - rule.centre
            if left < 2 and rule.sees_scale(lax=True):
                yield f"{site.name} normalises so few features that one number is left: laws of it are not listed"
            elif left < 2:
                yield f"{site.name} {SIGN}"
        if isinstance(rule, AttentionRule) and rule.keys == 1:
            what = "attends to a single key, whose attention weight is fixed"
            yield f"{site.name} {what}: laws of the parameters behind the scores are not listed"
        if isinstance(rule, OutputRule):
            maps, w = 0, site.inputs[0]
            while diagram.wires[w].size == 1 or maps:
                before = writer[w]
                if before.rule != PassRule() and (not isinstance(before.rule, LinearRule) or before.rule.bias):
                    break
                maps, w = maps + isinstance(before.rule, LinearRule), before.inputs[0]
            if maps > 2 and isinstance(writer[w].rule, SourceRule) and diagram.wires[w].size == 1:
                what = "is the end of a chain of layers from one number to one number, which is a single product"
                yield f"{site.name} {what}: further laws of such a product are not listed"


def _factors(diagram: Diagram) -> Iterator[str]:
    """A linear branch beside a skip of one number is one factor of everything that it stands between."""
    writer = diagram.writer
    origin = identity_sources(list(diagram.sites))
    for site in diagram.sites:
        if not isinstance(site.rule, AddRule) or diagram.wires[site.outputs[0]].size > 1:
            continue
        starts = {origin[w][0] if w in origin else w for w in site.inputs}
        for w in site.inputs:
            maps, before = 0, writer[w]
            while before.rule == PassRule() or (isinstance(before.rule, LinearRule) and not before.rule.bias):
                maps += isinstance(before.rule, LinearRule)
                w = before.inputs[0]
                before = writer[w]
                if maps > 1 and w in starts:
                    what = "multiplies one number by a product of layers"
                    yield f"{site.name} {what}: further laws of this product are not listed"
                    break
