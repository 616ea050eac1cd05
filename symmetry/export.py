"""Symmetries as the plain data that other tools read: no table of model names, every entry derived.

- AWQ: `{"smooth_layer": ..., "balance_layers": [...]}` (AutoAWQ, llm-compressor);
- SmoothQuant: `[[balance layers], smooth layer]` (llm-compressor), norms only;
- Git Re-Basin: the permutation of every axis of every parameter (Ainsworth et al. 2022);
- Torch-Pruning: groups of modules whose channels go together (Fang et al. 2023);
- rotations: R1 of the residual stream and R2 of the values (QuaRot, SpinQuant).

This file is long because all forms of one derivation stand side by side.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lawful.theory.arguments import no_such, of_right_kinds
from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.rules import GainRule, NormRule
from lawful.theory.parts import base
from lawful.theory.typed import typed

from .given import WAYS
from .moves import Move
from .order import axis_of, ordered
from .symmetries import Symmetries
from .symmetry import Symmetry

LAST_ROWS = re.compile(r"\.view\(\d+,(\d+),\d+\)\[:,\d+:(\d+)\]$")
__all__ = ["Scaling", "awq", "git_rebasin", "patterns", "rotation_maps", "scalings", "smoothquant", "torch_pruning"]


@dataclass(frozen=True)
@of_right_kinds
class Scaling:
    """One factor per channel that a module writes and others undo.

    Attributes:
        smooth: path of the module whose output is divided.
        balance: paths of the modules that multiply their input.
        symmetry: what it was derived from.
        norm: whether `smooth` is the gain of a norm.
        ordered: whether channel `i` is row `i` of one and column `i` of the others, which plain data cannot say else.
    """

    smooth: str
    balance: tuple[str, ...]
    symmetry: Symmetry
    norm: bool
    ordered: bool


def homes(found: Symmetries, moves: Iterable[Move]) -> tuple[str, ...]:
    """The modules (or parameters) that moves belong to, each once."""
    return tuple(dict.fromkeys(found.home(m.parameter) for m in moves))


@typed(ways=WAYS)
def scalings(found: Symmetries) -> list[Scaling]:
    """All factors per channel that one module writes and linear readers undo.

    Factors of queries that keys undo are none: both write. A packed projection counts where its last rows are meant,
    which is how these tools scale it.
    """
    out = []
    for s in found:
        channels = s.kind == "scale" and s.shape and "traceless" not in s.kinds
        if not (channels or s.group == "general linear") or any(abs(m.power) != 1 or m.partner for m in s.moves):
            continue
        for sign in (1, -1):
            up = [m for m in s.moves if m.power * sign > 0]
            down = [m for m in s.moves if m.power * sign < 0]
            if not up or not down or not all(map(found.writes, up)) or any(map(found.writes, down)):
                continue
            written = homes(found, up)
            if len(written) == 1 and all(map(_last, up)) and _whole(found, down):
                gain = any(_is_gain(found, m) for m in up)
                out.append(Scaling(written[0], homes(found, down), s, gain, ordered(s.moves, found.setting.shapes)))
    return out


def _last(move: Move) -> bool:
    """Whether the last rows of a parameter answer: of a matrix, or of each in a stack of experts."""
    name = move.part.parameter
    stacked = LAST_ROWS.search(name)
    if stacked:
        return stacked[1] == stacked[2]
    return base(name) == name and move.part.slices[-1][1] == move.part.sizes[-1]


def _whole(found: Symmetries, moves: Sequence[Move]) -> bool:
    """Whether all that a module reads is undone: whole parameters, or all slices of a packed one."""
    read: dict[str, int] = {}
    for m in moves:
        if any(run != (0, n) for run, n in zip(m.part.slices, m.part.sizes, strict=True)):
            return False
        read[m.parameter] = read.get(m.parameter, 0) + math.prod(m.part.view.shape)
    return all(count >= found.sizes[n] for n, count in read.items())


def _is_gain(found: Symmetries, move: Move) -> bool:
    return any(isinstance(site.rule, GainRule) for site, _ in found.uses.get(move.part.parameter, ()))


@typed(ways=WAYS)
def awq(found: Symmetries) -> list[dict[str, Any]]:
    """Mappings for AWQ: what is divided and what is multiplied.

    What an embedding writes is not among them, since these tools divide rows, and its features are columns; nor are
    channels that a reader has in another order (behind a flip, a roll, an index or a channel shuffle), since these
    tools multiply column `i` by the factor of row `i`. A map whose module has several of its own (experts in one
    tensor, an LSTM) or none (a bare parameter of the model), is named by its parameter: a consumer that is left out
    would change the function, so tools that know modules only have to be taught it.

    >>> import lawful as lw
    >>> awq(lw.symmetries(lw.families.mlp([3, 4, 2])))
    [{'smooth_layer': 'fc1', 'balance_layers': ['fc2']}]
    """
    tables = set(map(found.home, found.tables))
    return [
        {"smooth_layer": s.smooth, "balance_layers": list(s.balance)}
        for s in scalings(found)
        if s.ordered and s.smooth not in tables
    ]


@typed(ways=WAYS)
def smoothquant(found: Symmetries) -> list[list[Any]]:
    """Mappings for SmoothQuant: the readers of every norm, and the norm; in one order of the channels, as for `awq`."""
    return [[list(s.balance), s.smooth] for s in scalings(found) if s.norm and s.ordered]


@typed(ways={"mappings": "pass what lawful.export.awq gave"})
def patterns(mappings: Sequence[dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    """AWQ mappings with one entry for all layers, as regular expressions.

    Args:
        mappings: what `awq` gave.
        names: of all modules of the model.

    Raises:
        ValueError: where a pattern would match a module that was not derived, and for an entry that names a parameter,
            which patterns for modules do not reach; names it.
    """
    known = set(names)
    for name in (n for one in mappings for n in (one["smooth_layer"], *one["balance_layers"])):
        if name not in known:
            raise ValueError(
                f"{name} is none of the modules that were given, so that no pattern finds it; leave its entry out"
            )
    folded: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for one in mappings:
        key = (_pattern(one["smooth_layer"]), tuple(dict.fromkeys(map(_pattern, one["balance_layers"]))))
        folded.setdefault(key, []).append(one)
    out = []
    for (smooth, balance), members in folded.items():
        derived = ({m["smooth_layer"] for m in members}, {b for m in members for b in m["balance_layers"]})
        for expressions, meant in zip(((smooth,), balance), derived, strict=True):
            for name in sorted(known):
                if any(re.match(e.removeprefix("re:"), name) for e in expressions) and name not in meant:
                    raise ValueError(f"{expressions[0]} matches {name}, for which no such symmetry was derived")
        out.append({"smooth_layer": smooth, "balance_layers": list(balance)})
    return out


def _pattern(name: str) -> str:
    return "re:" + re.sub(r"(?<=\.)\d+(?=\.)", r"\\d+", re.escape(name).replace(r"\.", ".")).replace(".", r"\.") + "$"


@typed(ways=WAYS)
def git_rebasin(found: Symmetries) -> dict[str, Any]:
    """The permutation of every axis of every parameter; apart, those of blocks of features (heads) and of wholes.

    `blocks` has for every axis that is cut, or held in another order, where it begins and how wide a block is; it names
    parts as laws do (`fc2.weight.flip(1)` has its columns from behind). `stacks` has the parameters of alike branches
    (experts in a list) that change places as wholes.

    >>> import lawful as lw
    >>> git_rebasin(lw.symmetries(lw.families.mlp([3, 4, 2])))["axes_to_perm"]
    {'fc1.weight': ['P_0', None], 'fc1.bias': ['P_0'], 'fc2.weight': [None, 'P_0']}
    """
    axes: dict[str, list[str | None]] = {}
    blocks: dict[str, list[list[Any]]] = {}
    perms: dict[str, list[list[Any]]] = {}
    stacks: dict[str, list[list[str]]] = {}
    for i, s in enumerate(s for s in found if s.kind == "permutation"):
        name = f"P_{i}"
        if s.stacks:
            stacks[name] = [list(stack.names) for stack in s.stacks]
        wholes = [found.setting.shapes.get(m.parameter, m.part.sizes) for m in s.moves]  # statistics are no parameters
        places = [axis_of(m.part.parameter, m.part.view, whole) for m, whole in zip(s.moves, wholes, strict=True)]
        plain = all(_plain(*one, s.shape[0]) for one in zip(s.moves, places, wholes, strict=True))
        for m, axis, whole in zip(s.moves, places, wholes, strict=True):
            if plain and axis is not None:
                axes.setdefault(m.parameter, [None] * len(whole))[axis] = name
                perms.setdefault(name, []).append([m.parameter, axis])
            else:
                before, _, after = m.part.dims
                start = m.part.slices[0][0]
                cut = {"start": start, "before": before, "count": s.shape[0], "width": after}
                blocks.setdefault(name, []).append([m.part.parameter, m.axis if axis is None else axis, cut])
    return {"axes_to_perm": axes, "perm_to_axes": perms, "blocks": blocks, "stacks": stacks}


def _plain(move: Move, axis: int | None, whole: tuple[int, ...], count: int) -> bool:
    """Whether a whole axis of a whole parameter is permuted, entry by entry."""
    entire = axis is not None and whole[axis] == count and move.part.sizes == (count,)
    return entire and base(move.part.parameter) == move.part.parameter and move.part.dims == (1, count, 1)


@typed(ways=WAYS)
def torch_pruning(found: Symmetries) -> list[dict[str, Any]]:
    """Groups of modules whose channels are pruned together, with the side on which each is.

    Channels that a module has in another order (behind a flip, a roll, an index or a channel shuffle) are left out: a
    group says which modules go together, and channel `i` is pruned from each.
    """
    out = []
    for s in found:
        if s.kind != "permutation" or s.stacks or not ordered(s.moves, found.setting.shapes):
            continue  # experts as wholes are no channels
        sides = []
        for m in s.moves:
            statistic = m.parameter.endswith(("running_mean", "running_var"))
            side = "prune_out_channels" if statistic or found.writes(m) else "prune_in_channels"
            module = m.parameter.rpartition(".")[0] if statistic else found.home(m.parameter)
            sides.append((module, side))
        group = [list(x) for x in dict.fromkeys(sides)]
        out.append({"channels": s.shape[0], "width": s.moves[0].part.dims[2], "group": group})
    return out


@typed(ways=WAYS)
def rotation_maps(found: Symmetries) -> dict[str, Any]:
    """R1, the rotation of the residual stream, and R2, those of the values of every attention.

    Returns:
        `R1` has the size and the parameters, each with its side; it is None with a reason, `why`, where gains of norms
        or norms that take off the mean stand on the stream (`fold` moves them away) or nothing turns. `R2` has for
        every attention what writes values and what reads them, with the parts of packed parameters; other linear maps
        with nothing in between that tells features apart are listed alike, embeddings are not.
    """
    streams = [s for s in found if s.group in ("orthogonal", "general linear") and len(s.shape) == 2]
    stream = max(streams, key=lambda s: len(s.parameters), default=None)
    out: dict[str, Any] = {"R1": None, "R2": []}
    if stream is not None and not ordered(stream.moves, found.setting.shapes):
        out["why"] = f"{stream.name} turns features that stand in another order somewhere, which a map cannot say"
    elif stream is not None and len(stream.parameters) > 2:
        out["R1"] = {"size": stream.shape[-1], "parameters": [[m.parameter, _side(found, m)] for m in stream.moves]}
    else:
        stream = None
        out["why"] = f"the residual stream has no rotation: {_still(found)}"
    values = (s for s in found if s is not stream and _of_values(found, s))
    out["R2"] = [_values(found, s) for s in values if ordered(s.moves, found.setting.shapes)]
    return out


def _side(found: Symmetries, move: Move) -> str:
    return "output" if found.writes(move) else "input"


def _of_values(found: Symmetries, s: Symmetry) -> bool:
    """Whether matrices act on what one side writes and the other reads: values; queries and keys are both written."""
    table = not found.tables.isdisjoint(s.parameters)
    return s.group == "general linear" and not table and len({found.writes(m) for m in s.moves}) == 2


def _values(found: Symmetries, s: Symmetry) -> dict[str, Any]:
    sides = {side: [m for m in s.moves if _side(found, m) == side] for side in ("output", "input")}
    return {
        "value": homes(found, sides["output"])[0],
        "output": list(homes(found, sides["input"])),
        "size": s.shape[-1],
        "parts": {side: [m.part.parameter for m in moves] for side, moves in sides.items()},
    }


def _still(found: Symmetries) -> str:
    """What keeps the residual stream from turning, in words."""
    diagram = found.diagram
    if diagram is None:
        return "the network's axes are cut in ways that do not nest"
    norms = [s for s in diagram.sites if isinstance(s.rule, NormRule)]
    gains = {r.name: None for s in norms for r, _ in diagram.readers[s.outputs[0]] if _gained(r)}
    if gains:
        return f"the gain of {_few(gains)} stands behind a norm on it; fold them, or read why fold keeps some"
    centred = [s.name for s in norms if isinstance(s.rule, NormRule) and s.rule.centre]
    if centred:
        return f"{_few(centred)} takes off the mean, which rotations do not keep; fold centres what nn.LayerNorm reads"
    return "no wire turns as a whole"


def _gained(site: Site) -> bool:
    return isinstance(site.rule, GainRule) and site.rule.gain is not None


def _few(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:3]) + (f" and {len(every) - 3} more" if len(every) > 3 else "")


def __getattr__(name: str) -> Any:
    raise no_such("lawful.export", name, __all__)
