"""What the rules do not cover: named in the result, never guessed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...gauge.contract import Site
from ...gauge.families import gather
from ...gauge.rewrites import invisible
from ...gauge.rules import (
    AddRule,
    AttentionRule,
    ConcatRule,
    CurveRule,
    DiscardRule,
    FlattenRule,
    FrozenNormRule,
    GainRule,
    HeadGainRule,
    HomogeneousRule,
    LinearRule,
    MixtureRule,
    NormRule,
    OffsetRule,
    OpaqueRule,
    OutputRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    ReorderRule,
    Rule,
    SimilarityRule,
    SoftmaxRule,
    TableRule,
    TokenMixRule,
    TokensRule,
    UnitRowsRule,
    Use,
    WholeRule,
)
from ...gauge.solution import Solution
from ...gauge.subspace import key_dimension, vector_keys
from ..ranks import rows_on, vectors_on
from .inputs import computed_limits
from .paths import averaged, path_limits
from .sums import sum_limits

# readers through which another constant can answer for a frozen one
PASSES_CONSTANTS = (AddRule, ConcatRule, FlattenRule, MixtureRule, PassRule, TokensRule)


def limits(solution: Solution) -> list[str]:
    """Reasons why a list of laws may be incomplete, one sentence each (empty: none is known).

    A frozen matrix lets laws pass that follow its own singular directions, and a frozen vector leaves those of its
    complement; both depend on the frozen values and are not listed.
    """
    found = [
        *computed_limits(solution),
        *_tokens_alone(solution),
        *path_limits(solution.drawn),
        *sum_limits(solution),
        *_fixed_numbers(solution),
        *_thin_wires(solution),
        *_unread_of_norms(solution),
        *_single_rows(solution),
        *_unseen_scales(solution),
        *_opaque(solution),
        *_narrow(solution),
        *_frozen(solution),
        *_unlike(solution),
    ]
    return list(dict.fromkeys(found))


def _opaque(solution: Solution) -> Iterator[str]:
    for site in solution.drawn.sites:
        if type(site.rule) in (Rule, OpaqueRule):
            yield f"{site.name} is opaque: no law crosses it, so laws through it may be missing"


def _narrow(solution: Solution) -> Iterator[str]:
    """Operations of which only the degrees are known."""
    for site in solution.drawn.sites:
        if isinstance(site.rule, WholeRule) and site.rule.narrow:
            yield f"{site.name} is known by its degrees only: other laws through it than those of sizes may be missing"
        if isinstance(site.rule, ReorderRule):
            what = "puts features in another order that other blocks keep"
            yield f"{site.name} {what}: other laws through it than those of sizes may be missing"
        if isinstance(site.rule, CurveRule) and not _normed(solution, site.inputs[0]):
            yield f"{site.name} is a factor that answers sizes by a function of its own: such laws are not listed"


def _normed(solution: Solution, wire: int) -> bool:
    """Whether a norm wrote what a wire carries, so that nothing before it can be scaled."""
    writer = solution.drawn.writer
    while isinstance(writer[wire].rule, PassRule):
        wire = writer[wire].inputs[0]
    return isinstance(writer[wire].rule, (NormRule, SimilarityRule))


def _tokens_alone(solution: Solution) -> Iterator[str]:
    """Tokens whose place is known have gauges of their own, token by token."""
    sites = solution.drawn.sites
    rules = [site.rule for site in sites]
    unread = {s.inputs[0] for s in sites if isinstance(s.rule, DiscardRule)}
    tables = {w for s in sites if isinstance(s.rule, TableRule) for w in s.outputs} - unread
    joined = [s for s in sites if isinstance(s.rule, TokensRule)]
    if ((joined and tables) or _rows_meet(solution, tables)) and not any(isinstance(r, AttentionRule) for r in rules):
        yield "no block lets tokens see one another: laws of the row of a single token may be missing"
    taken = [s.name for s in sites if isinstance(s.rule, PassRule) and isinstance(s.rule.weights, int)]
    if taken and joined:
        yield f"{taken[0]} reads one token of several kinds: laws that move the tokens apart are not listed"
    if any(s.inputs[0] in tables for s in joined):
        ordered = [s.name for s in sites if isinstance(s.rule, AttentionRule) and s.rule.ordered]
        if ordered:
            yield f"{ordered[0]} lets the learned first token see nothing else: laws of that token are not listed"


def _rows_meet(solution: Solution, tables: set[int]) -> bool:
    """Whether tables of several rows meet what depends on data so that a single row may have laws of its own.

    A table that is added is a map of the position, which is read beside the data by what all positions share.
    """
    wires = solution.drawn.wires
    alone = {w for w in tables if wires[w].positions > 1}
    products = 0
    for site in solution.drawn.sites:
        read = alone.intersection(site.inputs)
        if read and read == set(site.inputs) and not isinstance(site.rule, OutputRule):
            alone.update(w for w in site.outputs if wires[w].positions > 1)
        elif read and isinstance(site.rule, ProductRule):
            products += 1  # between two of them a token has a wire of its own
        elif read and not isinstance(site.rule, (AddRule, WholeRule, OpaqueRule)):
            return True
    return products > 1


def _fixed_numbers(solution: Solution) -> Iterator[str]:
    """Fixed numbers: matrices that kill them, or that a trained constant answers, depend on their values."""
    writer, averages = solution.drawn.writer, averaged(solution.drawn)
    for site in solution.drawn.sites:
        rule = site.rule
        live = bool(site.inputs) and solution.shifts.live(site.inputs[0])
        if isinstance(rule, OffsetRule):
            x = site.inputs[0]
            few = rule.rows - live < solution.layouts.size(x) or site.outputs[0] in averages
            if few and not isinstance(writer[x].rule, (PointwiseRule, SoftmaxRule)):
                yield f"{site.name} adds fixed numbers: laws that depend on their values are not listed"
        if isinstance(rule, FrozenNormRule):
            unseen = solution.directions.moving(site.outputs[0]) or solution.directions.still(site.outputs[0])
            if live or unseen:
                yield f"{site.name} has fixed statistics: laws that depend on their values are not listed"
        if isinstance(rule, PointwiseRule) and rule.exponential and live:
            yield f"{site.name} turns constants into factors: laws that join the two are not listed"


def _thin_wires(solution: Solution) -> Iterator[str]:
    """A wire before a norm that is wider than all vectors on it: the space that they span never changes.

    The vectors are those of the parameters next to the wire and, since what comes back through a norm is made of
    them, the rows of the maps that read the norm; a trained gain behind it turns these about, as any curved reader.
    """
    blind = (NormRule, UnitRowsRule, SimilarityRule)
    readers, place = solution.drawn.readers, solution.drawn.place
    for family in gather(solution.gauges):
        if (
            family.mixed
            or family.kinds[-1:] not in (("sum",), ("pair",))
            or any(k != "free" for k in family.kinds[:-1])
        ):
            continue
        entities = list(dict.fromkeys(at for at, _ in family.support))
        blinded = {s.name: s for w, _ in entities for s, _ in readers[w] if isinstance(s.rule, blind)}
        read = sorted(blinded.values(), key=lambda s: place[s.name])
        if not read or any(isinstance(s.rule, NormRule) and _turned(solution, s.outputs[0]) for s in read):
            continue
        w, box = entities[0]
        size = solution.layouts.algebras[w].boxes[box].dims[-1] - (family.kinds[-1] == "pair")  # without the mean
        through = (_seen_through(solution, s) for s in read if isinstance(s.rule, NormRule))
        wires = {w for w, _ in entities}.union(*through)
        found = sum(vectors_on(solution, w) for w in wires)
        # As many vectors as features still have a determinant, which a map with normalised rows keeps.
        exact = any(isinstance(s.rule, UnitRowsRule) for s in read)
        if sum(vectors_on(solution, w) for w, _ in entities) == 1 and found == 2:
            yield f"{read[0].name} reads one vector for one row: only a sign is left of the input"
        elif found < size or (exact and found == size):
            what = f"{read[0].name} reads {size} features that only {found} vectors span"
            yield f"{what}: laws of their space are not listed"


def _unread_of_norms(solution: Solution) -> Iterator[str]:
    """A norm of which some features are read only by their size: the space of their vectors never changes."""
    for site in solution.drawn.sites:
        rule = site.rule
        if not isinstance(rule, (NormRule, SimilarityRule, UnitRowsRule)) or not getattr(rule, "scale", True):
            continue
        x, y = site.inputs[0], site.outputs[0]
        layout, before = solution.layouts.algebras[y], solution.layouts.algebras[x]
        never = solution.directions.absent(x)
        left = before.size - sum(key_dimension(before, k) for k in vector_keys(before) if never.contains({k: 1}))
        if left < 2 <= before.size:
            yield f"{site.name} normalises so few features that only a sign is left: nothing before it moves"
        unread = solution.directions.moving(y)
        if sum(key_dimension(layout, k) for k in vector_keys(layout) if unread.contains({k: 1})) > 1:
            yield f"{site.name} normalises features that nothing else reads: laws of their space are not listed"


def _turned(solution: Solution, wire: int) -> bool:
    """Whether what comes back to a wire may be any vector."""
    for site, _ in solution.drawn.readers[wire]:
        rule = site.rule
        if isinstance(rule, (OutputRule, PointwiseRule, HomogeneousRule, ProductRule)):
            return True
        gain = isinstance(rule, HeadGainRule) or _trained_gain(solution, site)
        mapped = all(isinstance(r.rule, LinearRule) for r, _ in solution.drawn.readers[site.outputs[0]])
        if gain and (not mapped or rows_on(solution, site.outputs[0]) > 1):
            return True
    return False


def _seen_through(solution: Solution, norm: Site) -> set[int]:
    """The wires whose vectors come back through a norm: what it writes, and the other side of scores."""
    found = set(norm.outputs)
    writer = solution.drawn.writer
    for site, _ in solution.drawn.readers[norm.outputs[0]]:
        if isinstance(site.rule, AttentionRule):
            for w in site.inputs[:2]:
                found |= {w, *(writer[w].inputs if isinstance(writer[w].rule, NormRule) else ())}
    return found


def _trained_gain(solution: Solution, site: Site) -> bool:
    rule = site.rule
    return isinstance(rule, GainRule) and rule.gain is not None and not solution.diagram.parameters[rule.gain].frozen


def _single_rows(solution: Solution) -> Iterator[str]:
    """A gain `g` that one row `u` reads: `log (g + u) / (g - u)` moves as what the gain multiplies."""
    for site in solution.drawn.sites:
        if not _trained_gain(solution, site) or not site.inputs or not solution.directions.absent(site.inputs[0]):
            continue
        readers = [r for r, _ in solution.drawn.readers[site.outputs[0]]]
        if all(isinstance(r.rule, LinearRule) for r in readers) and rows_on(solution, site.outputs[0]) == 1:
            yield f"{site.name} is a gain that one row reads: laws of their ratios are not listed"


def _unseen_scales(solution: Solution) -> Iterator[str]:
    """Blocks that give every token, or every choice of an expert, a scale of its own which nothing sees."""
    sites = list(solution.drawn.sites)
    writer = solution.drawn.writer
    chosen = {w for s in sites if isinstance(s.rule, SoftmaxRule) and s.rule.unseen == "everything" for w in s.outputs}
    for i, site in enumerate(sites):
        rule = site.rule
        if isinstance(rule, AddRule) and all(_looked_up(writer[w]) for w in site.inputs) and invisible(sites, i, True):
            yield f"{site.name} adds rows of tables whose scale is unseen: laws of the scale of each row are not listed"
        hard = isinstance(rule, MixtureRule) and site.inputs[0] in chosen
        sunk = isinstance(rule, AttentionRule) and rule.heads == 1 and not rule.normalised
        if (hard or sunk or isinstance(rule, TokenMixRule)) and invisible(sites, i, local=True):
            yield f"{site.name} scales what readers blind to a scale see: laws of that scale are not listed"


def _looked_up(site: Site) -> bool:
    return isinstance(site.rule, LinearRule) and site.rule.lookup


def _unlike(solution: Solution) -> Iterator[str]:
    """Parameters whose sectors two blocks see in different ways."""
    for name in solution.shifts.admissions.unlike:
        yield f"{name} is used by blocks that see it cut in different ways: its linear laws are not listed"
    for name in solution.entangled:
        yield f"{name} has laws that join its rows with its columns: these are not listed"
    for name, uses in solution.uses.items():
        rows = any(use.constant and len(use.views[0].shape) == 2 and use.views[0].shape[0] > 1 for use in uses)
        if rows and not all(use.constant for use in uses) and not solution.diagram.parameters[name].frozen:
            yield f"{name} is a table here and a matrix there: laws that join the two are not listed"
        kinds = {use.constant for use in uses if len(use.axes) == 1}
        if len(kinds) > 1 and not solution.diagram.parameters[name].frozen:
            yield f"{name} is a gain here and a shift there: laws that join the two are not listed"
        if len({use.offset for use in uses}) > 1:
            yield f"{name} is used as it is and with a fixed number added: laws that join the two are not listed"


def _frozen(solution: Solution) -> Iterator[str]:
    """What frozen values let through: it depends on these values, and so it is not listed."""
    for site in solution.drawn.sites:
        if isinstance(site.rule, LinearRule) and site.rule.still:
            name = site.rule.weight
            yield f"{name} has a row for padding that is read and never trained: laws that leave it are not listed"
    frozen = {n for n, p in solution.diagram.parameters.items() if p.frozen}
    matrices: dict[str, None] = {}
    vectors: dict[str, None] = {}
    for site in solution.drawn.sites:
        for use in site.rule.uses(site):
            if use.parameter not in frozen:
                continue
            if len(use.axes) > 1 and not use.constant:
                if _matrix_matters(solution, site, use):
                    matrices[use.parameter] = None
            elif _constant_matters(solution, site) if use.constant else _gain_matters(solution, site):
                vectors[use.parameter] = None
    for found, what in ((matrices, "their singular directions"), (vectors, "the complement of their values")):
        if found:
            first, *others = found
            more = f"and {len(others)} more parameters are frozen" if others else "is frozen"
            yield f"{first} {more}: laws along {what} are not listed"


def _matrix_matters(solution: Solution, site: Site, use: Use) -> bool:
    """Whether a frozen matrix may let a law or a constant through.

    `S_out W = W S_in` makes both commute with `W W^T` and `W^T W`.  Where one side carries no matrix off the diagonal a
    generic `W` leaves `c I` on it, so the other has `c I` as well but for what `W` kills: nothing if it is no wider.
    """
    if _sees_everything(solution, site):
        return False
    if not site.inputs or any(solution.shifts.live(w) for w in site.inputs) or use.groups > 1 or len(use.axes) > 2:
        return True
    if isinstance(site.rule, LinearRule) and solution.layouts.size(site.outputs[0]) > solution.layouts.size(
        site.inputs[0]
    ):
        # What it writes has directions that are never there, which a trained map may read, also behind a norm.
        if _read_alone(solution, site.outputs[0]):
            return True
    blocks = [solution.layouts.off_diagonal(axis[0][0]) for axis in use.axes]
    sizes = [solution.layouts.size(axis[0][0]) for axis in use.axes]
    return all(blocks) or any(block > sizes[1 - i] for i, block in enumerate(blocks))


def _sees_everything(solution: Solution, site: Site) -> bool:
    """Whether a loss sees every change of what a frozen matrix reads: it is no wider than what the loss sees."""
    rule, reading = site.rule, solution.drawn.readers
    if not isinstance(rule, LinearRule) or rule.groups > 1 or rule.lookup or math.prod(rule.shape_[2:]) > 1:
        return False
    ends = [r.rule for r, _ in reading[site.outputs[0]]]
    if not ends or not all(isinstance(r, OutputRule) and r.loss.span in ("all", "shift") for r in ends):
        return False
    unseen = any(isinstance(r, OutputRule) and r.loss.span == "shift" for r in ends)
    return solution.layouts.size(site.inputs[0]) <= solution.layouts.size(site.outputs[0]) - unseen


def _read_alone(solution: Solution, wire: int) -> bool:
    """Whether a map may read what a frozen matrix writes, with nothing trained added and nothing curved between."""
    writer = solution.drawn.writer
    for site, _ in solution.drawn.readers[wire]:
        rule = site.rule
        if isinstance(rule, (HomogeneousRule, OutputRule, PointwiseRule, ProductRule)):
            continue
        if isinstance(rule, AddRule):
            beside = [writer[w].rule for w in site.inputs if w != wire]
            if any(isinstance(r, LinearRule) and not solution.diagram.parameters[r.weight].frozen for r in beside):
                continue
        if not isinstance(rule, (AddRule, PassRule)) or _read_alone(solution, site.outputs[0]):
            return True
    return False


def _gain_matters(solution: Solution, site: Site) -> bool:
    """Whether constants reach a frozen gain, or a direction that its input never has is read by a trained map."""
    if not site.inputs:
        return True  # a source that scales a parameter
    x, y = site.inputs[0], site.outputs[0]
    if solution.shifts.live(x) or solution.directions.moving(y) or solution.directions.still(y):
        return True
    if not solution.directions.absent(x):
        return False
    parameters = solution.diagram.parameters
    readers = (r.rule for r, _ in solution.drawn.readers[y])
    return any(isinstance(rule, LinearRule) and not parameters[rule.weight].frozen for rule in readers)


def _constant_matters(solution: Solution, site: Site) -> bool:
    """Whether a matrix may kill a frozen constant `b`, or another constant may answer `S b`."""
    y = site.outputs[0]
    if all(isinstance(r.rule, OutputRule) for r, _ in solution.drawn.readers[y]):
        return False  # what a matrix makes of it is along 1, where a loss sees nothing
    if solution.layouts.off_diagonal(y):
        return True
    if any(solution.directions.absent(x) for x in site.inputs):
        return True  # a sum that was 0 is now a fixed number
    if not solution.layouts.algebras[y].count:
        return False
    unseen = solution.directions.moving(y) or solution.directions.still(y)
    return bool(unseen) or solution.shifts.live(y) or any(_passes(solution, r) for r, _ in solution.drawn.readers[y])


def _passes(solution: Solution, site: Site) -> bool:
    """Whether a constant, or its image under something frozen, goes through a block."""
    rule = site.rule
    if isinstance(rule, LinearRule):
        y = site.outputs[0]
        return solution.diagram.parameters[rule.weight].frozen or solution.directions.still(y).covers(
            solution.directions.layout(y)
        )
    return isinstance(rule, PASSES_CONSTANTS) or (isinstance(rule, GainRule) and rule.gain is None)
