"""What a drawing of an architecture says: a card per block, a link per wire, the laws on them."""

from __future__ import annotations

import colorsys
import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from lawful.blocks import Block, DotProductAttention, Identity, ShapeError, Signal
from lawful.theory.laws.law import Law

from ..architecture.architecture import Architecture
from ..architecture.compile import Port
from ..architecture.outputs import output_sites

# One family per type of gauge rule: (caption, fill, line).  What a rule allows is what decides which laws there are.
FAMILIES = {
    "linear": ("linear map: answers with its weights", "#d6e6fa", "#3b6ea8"),
    "gain": ("gain and shift", "#d2efee", "#2f8583"),
    "homogeneous": ("homogeneous: a law per feature passes", "#dcf2d4", "#4d8a35"),
    "pointwise": ("smooth map: no law passes", "#e6e6e6", "#6b6b6b"),
    "norm": ("normalisation", "#e8defa", "#7657b3"),
    "attention": ("attention, softmax and routing", "#fde3c8", "#b8691b"),
    "join": ("joins or cuts wires", "#fdf3c4", "#a38613"),
    "spectator": ("acts on positions only", "#f4f4f2", "#8c8c86"),
    "opaque": ("opaque: no law is claimed through it", "#fbd9d9", "#b03030"),
    "end": ("network input and output", "#ffffff", "#333333"),
}
FAMILY_OF = {
    "LinearRule": "linear",
    "ComplexLinearRule": "linear",
    "TableRule": "linear",
    "BilinearRule": "linear",
    "RecurrentRule": "linear",
    "TokenMixRule": "linear",
    "UnitRowsRule": "linear",
    "WholeRule": "linear",
    "CurveRule": "linear",
    "UnitNormRule": "linear",
    "GainRule": "gain",
    "HeadGainRule": "gain",
    "ScalarGainRule": "gain",
    "FixedGainRule": "gain",
    "FixedMapRule": "linear",
    "HomogeneousRule": "homogeneous",
    "ScanRule": "homogeneous",
    "ChosenRule": "homogeneous",
    "PointwiseRule": "pointwise",
    "NormRule": "norm",
    "BatchNormRule": "norm",
    "FrozenNormRule": "norm",
    "AttentionRule": "attention",
    "RotaryRule": "attention",
    "SoftmaxRule": "attention",
    "SelectiveScanRule": "attention",
    "SimilarityRule": "attention",
    "ChoiceRule": "attention",
    "AddRule": "join",
    "ProductRule": "join",
    "DotRule": "join",
    "ConcatRule": "join",
    "TokensRule": "join",
    "MixtureRule": "join",
    "BlendRule": "join",
    "LargerRule": "join",
    "RepeatRule": "join",
    "ShiftedTermsRule": "join",
    "SumFeaturesRule": "join",
    "GroupProductRule": "join",
    "PassRule": "spectator",
    "FlattenRule": "spectator",
    "UnflattenRule": "spectator",
    "OffsetRule": "spectator",
    "PlacesRule": "spectator",
    "TurnRule": "spectator",
    "PositionMixRule": "attention",
    "MovedRule": "spectator",
    "CutRule": "spectator",
    "PositionsRule": "spectator",
    "ReorderRule": "spectator",
    "SourceRule": "end",
    "ComputedRule": "end",
    "OutputRule": "end",
    "DiscardRule": "end",
}
PALETTE = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#e8780a", "#17a0b0", "#c2419c", "#8c564b", "#7f8f00", "#3949ab")
WIRE = "#8a8a8a"
KINDS = {"frozen": "never moves"}  # nobody froze it: no loss sees it
WIDE, MOST_LINES = 44, 3  # letters in a line of a box, and lines of one text


def colour_of(i: int) -> str:
    """The colour of the i-th law; none comes twice in a drawing."""
    if i < len(PALETTE):
        return PALETTE[i]
    turn, lap = math.modf(i * GOLDEN)[0], i // len(PALETTE)
    red, green, blue = colorsys.hls_to_rgb(turn, (0.30, 0.42, 0.36)[lap % 3], 0.75)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


GOLDEN = 0.6180339887  # steps of this part of a turn come as far from one another as they can
_SIZES = ("features", "width", "widths", "channels", "vocabulary", "tokens", "kernel", "bias", "gain", "shift")


@dataclass(frozen=True)
class Card:
    """A block in a drawing.

    Attributes:
        name: the node.
        title: its kind.
        details: the fields that its parameters do not show (`stride 2`).
        shapes: one entry per parameter (`weight 16×3×3×3`).
        family: key of `FAMILIES`.
        laws: linear laws of its parameters (`shift: 16`).
        carried: the names of those laws.
        more: lines below: details that are too long for the first one, and why no rule covers the block.
    """

    name: str
    title: str
    details: str
    shapes: tuple[str, ...]
    family: str
    laws: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """A wire in a drawing, from one reader's point of view.

    Attributes:
        source: the node that writes it.
        target: the node that reads it.
        label: its signal, on the first wire that has this width.
        laws: what its laws are called, where they are named (`Diagonal(16): 16 laws`).
        colour: that of its first law, or of a wire without one.
        exact: whether that law is exact.
        skip: whether an identity lies on it: the skip of a residual junction.
        carried: the names of all laws that live on it.
    """

    source: str
    target: str
    label: str = ""
    laws: tuple[str, ...] = ()
    colour: str = WIRE
    exact: bool = True
    skip: bool = False
    carried: tuple[str, ...] = ()

    @property
    def lawful(self) -> bool:
        """Whether it carries a law."""
        return self.colour != WIRE


def cards(arch: Architecture, laws: Sequence[Law] = ()) -> dict[str, Card]:
    """A card per node that is drawn; identities are drawn as wires.

    Raises:
        ShapeError: if the laws are those of another network.
    """
    _expect(arch, laws)
    named = arch.parameters
    linear: dict[str, list[Law]] = {}
    for law in laws:
        if law.kind != "balance":
            linear.setdefault(law.wire, []).append(law)
    outputs = zip(output_sites(len(arch.outputs)), arch.outputs, strict=True)
    ends = {"input": arch.inputs} | {name: (signal,) for name, signal in outputs}
    several = len(arch.outputs) > 1
    written = dict(zip(output_sites(len(arch.outputs)), arch.output_names, strict=True)) if several else {}
    unknown = (*arch.trace.opaque, *arch.trace.narrow) if arch.trace is not None else ()
    reasons = {op.node: op.reason for op in unknown}
    out = {}
    for site in arch.diagram().sites:
        family = FAMILY_OF.get(type(site.rule).__name__, "opaque")
        if site.name in ends:
            name = written.get(site.name, "")
            out[site.name] = Card(site.name, site.name, name, tuple(map(describe, ends[site.name])), family)
            continue
        block = arch.block(site.name)
        if isinstance(block, Identity):
            continue
        shapes: list[str] = []
        own_laws: list[Law] = []
        for local, full in arch.parameter_names(site.name).items():
            own = full == f"{site.name}.{local}"
            shape = "×".join(map(str, named[full].shape)) if own else f"= {full}"
            shapes.append(f"{local} {shape}" + (" (frozen)" if full in arch.frozen else ""))
            own_laws += linear.get(full, []) if own else []
        notes = tuple(f"{KINDS.get(law.kind, law.kind)}: {law.count:,}" for law in own_laws)
        carried = tuple(law.name for law in own_laws)
        details = _details(block) if block.portable else _moved(arch, site.name)
        long, more = len(details) > WIDE, folded(reasons.get(site.name, ""))
        details, more = ("", (*folded(details), *more)) if long else (details, more)
        out[site.name] = Card(site.name, block.kind, details, tuple(shapes), family, notes, carried, more)
    return out


def links(arch: Architecture, laws: Sequence[Law] = ()) -> list[Link]:
    """A link per wire and reader, in the order of the readers and of their ports.

    Raises:
        ShapeError: if the laws are those of another network.
    """
    _expect(arch, laws)
    carried: dict[Port, list[tuple[int, Law]]] = {}
    names = _wire_names(arch)
    for i, law in enumerate(w for w in laws if w.kind == "balance"):
        for wire in law.wires:
            if (port := names[wire]) is not None:
                carried.setdefault(port, []).append((i, law))
    said: set[Port | int] = set()
    out = []
    reads = [(n, p) for n in arch.nodes if not isinstance(arch.block(n), Identity) for p in arch.sources(n)]
    ends = list(zip(output_sites(len(arch.outputs)), arch.sources("output"), strict=True))
    for at, (target, port) in enumerate([*reads, *ends]):
        found = carried.get(port, [])
        source = _behind(arch, port)
        new = source not in said and at < len(reads) and _changes(arch, source)
        label = describe(arch.signals[source]) if new else ""
        texts = tuple(f"{w.algebra}: {w.count:,} law{'s' * (w.count > 1)}" for i, w in found if i not in said)
        said |= {source, *(i for i, _ in found)}
        colour = colour_of(found[0][0]) if found else WIRE
        exact, carried_by = not found or found[0][1].exact, tuple(w.name for _, w in found)
        out.append(Link(source[0], target, label, texts, colour, exact, source != port, carried_by))
    return out


def describe(signal: Signal) -> str:
    """A signal in a few characters: `16×32×32`, or `128 tokens of 50257`."""
    shape = "×".join(map(str, signal.shape))
    return f"{shape} tokens of {signal.features}" if signal.tokens else shape


def folded(text: str) -> tuple[str, ...]:
    """A text in a few lines of a box."""
    return tuple(textwrap.wrap(text, WIDE, max_lines=MOST_LINES, placeholder=" ..."))


def _moved(arch: Architecture, name: str) -> str:
    """What a block of a traced network does: the names among its fields, and the shapes that it changes.

    Its other fields are sizes of one example and the call that it stands for, which say nothing to a reader.
    """
    block = arch.block(name)
    fields = ((f, getattr(block, f.name)) for f in dataclasses.fields(block))
    words = [v for f, v in fields if isinstance(v, str) and v and v != f.default]
    reads = list(dict.fromkeys(describe(arch.signals[p]) for p in arch.sources(name)))
    gives = list(dict.fromkeys(describe(arch.signals[name, i]) for i in range(block.outputs)))
    shapes = [f"{', '.join(reads)} to {', '.join(gives)}"] if reads != gives and reads and gives else []
    return ", ".join([*words, *shapes])


def _details(block: Block) -> str:
    """Every field that is not its default, but for sizes that the shapes of the parameters show."""
    parts = []
    for f in dataclasses.fields(block):
        value = getattr(block, f.name)
        hidden = ("tie", "frozen", *(_SIZES if f.name in _SIZES and (block.parameters or block.ties) else ()))
        if f.name not in hidden and f.name not in ("features", "epsilon", "kv_heads") and value != f.default:
            flag = f.name if value is True else f"not {f.name}"
            parts.append(value if isinstance(value, str) else flag if type(value) is bool else f"{f.name} {value}")
    if isinstance(block, DotProductAttention) and block.kv_heads != block.heads:
        parts.append(f"kv heads {block.kv_heads}")
    return ", ".join(parts)


def _changes(arch: Architecture, port: Port) -> bool:
    node = port[0]
    if node == "input" or arch.block(node).outputs > 1:
        return node != "input"
    return all(describe(arch.signals[p]) != describe(arch.signals[port]) for p in arch.sources(node))


def _behind(arch: Architecture, port: Port) -> Port:
    """The port that writes what this one carries, behind any number of identities."""
    while port[0] != "input" and isinstance(arch.block(port[0]), Identity):
        port = arch.sources(port[0])[0]
    return port


def _wire_names(arch: Architecture) -> Mapping[str, Port | None]:
    """The port of every wire, None for those inside a block."""
    return {wire.name: port for wire, port in zip_longest(arch.diagram().wires, arch.signals)}


def _expect(arch: Architecture, laws: Sequence[Law]) -> None:
    wires, parameters = _wire_names(arch), arch.parameters
    for law in laws:
        strange = [n for n in law.parameters if n not in parameters] + [w for w in law.wires if w not in wires]
        if strange:
            raise ShapeError(
                f"the law {law.name!r} names {strange[0]!r}, which is not in this network; derive the laws from it"
            )
