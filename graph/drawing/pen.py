"""The strokes of a picture: boxes with captions, wires, labels and the legend, in inches with y downwards."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Ellipse, FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve
from matplotlib.textpath import TextPath

from .captions import FAMILIES, PALETTE, Card, Link

Point = tuple[float, float]
SIGNS = {"Add": "+", "Product": "×"}
TITLE, SMALL, LABEL = 9.0, 7.0, 6.5  # points
PAD, SPACE, LINE, CIRCLE, LONGEST = 0.1, 0.07, 0.15, 0.26, 26
LEGEND_WIDTH, LEGEND_LINE = 2.9, 0.2
LAWFUL = "a wire with a law, one colour per law; dashed: up to an epsilon"
NAME, INK, LINEAR_LAW = "#777777", "#222222", "#b02a2a"


def size(card: Card) -> tuple[float, float]:
    """Width and height of a card."""
    if card.title in SIGNS:
        return CIRCLE, CIRCLE
    lines = [_heading_width(card), *(text_width(t, SMALL) for t, _ in _body(card))]
    return max(0.6, max(lines) + 2 * PAD), 0.27 + LINE * (len(lines) - 1)


def label_width(link: Link) -> float:
    """Room that the label of a wire takes to its right."""
    return max((0.08 + text_width(t, LABEL) for t in (link.label, *link.laws) if t), default=0.0)


@functools.lru_cache(maxsize=10_000)
def text_width(text: str, points: float, bold: bool = False) -> float:
    """Width of a line of text in inches."""
    if not text.strip():
        return 0.0
    font = FontProperties(weight="bold" if bold else "normal")
    return (
        float(TextPath((0, 0), plain(text).replace("$", "S"), size=points, prop=font).get_extents().x1) / 72 * 1.03
    )  # hinting widens letters


def plain(text: str) -> str:
    """Text in characters that the font has: what lies beyond Greek is written as an escape."""
    return "".join(c if c.isprintable() and (ord(c) < 0x400 or c in "…≈") else ascii(c)[1:-1] for c in text)


def short_name(name: str) -> str:
    """A dotted name with its last parts, as many as fit behind the number of its layer."""
    if len(name) <= LONGEST:
        return name
    parts = name.split(".")
    number = next((i for i, p in enumerate(parts[:-1]) if p.isdigit()), -1)
    head = ".".join(parts[max(0, number - 1) : number + 1])
    rest = parts[number + 1 :]
    while len(rest) > 1 and len(head) + 1 + len(".".join(rest)) > LONGEST:
        rest = rest[1:]
    tail = ".".join(rest)
    return f"{head}…{tail[-LONGEST:]}"


def _heading(card: Card) -> list[tuple[str, float, str, bool]]:
    """The pieces of the first line: text, size, colour, bold."""
    name = short_name(card.name) if card.name != card.title else ""
    pieces = [(card.title, TITLE, INK, True), (card.details, SMALL, INK, False), (name, SMALL, NAME, False)]
    return [piece for piece in pieces if piece[0]]


def _heading_width(card: Card) -> float:
    return sum(text_width(t, points, bold) + SPACE for t, points, _, bold in _heading(card)) - SPACE


def _body(card: Card) -> list[tuple[str, str]]:
    """The lines below the first one, with their colours."""
    shapes = [", ".join(card.shapes)] if sum(map(len, card.shapes)) <= 2 * LONGEST else list(card.shapes)
    return [
        *((t, NAME) for t in card.more),
        *((t, INK) for t in shapes if t),
        *((t, LINEAR_LAW) for t in [", ".join(card.laws)] if t),
    ]


class Pen:
    """Draws on matplotlib axes whose units are inches.

    Args:
        axes: where to draw.
    """

    def __init__(self, axes: Axes) -> None:
        self.axes = axes

    def text(self, x: float, y: float, text: str, points: float, colour: str = INK, **options: Any) -> None:
        """A line of text whose left end is at x."""
        defaults: dict[str, Any] = {"va": "center", "ha": "left", "zorder": 5}
        self.axes.text(x, y, plain(text), size=points, color=colour, parse_math=False, **(defaults | options))

    def card(self, card: Card, centre: Point) -> None:
        """A block: a box, or a circle for sums and products."""
        (x, y), (w, h) = centre, size(card)
        _, fill, line = FAMILIES[card.family]
        if card.title in SIGNS:
            self.axes.add_patch(Ellipse((x, y), w, h, facecolor=fill, edgecolor=line, linewidth=1.2, zorder=4))
            self.text(x, y - 0.005, SIGNS[card.title], 11, ha="center", weight="bold")
            return
        box = FancyBboxPatch(
            (x - w / 2, y - h / 2), w, h, boxstyle="round,pad=0,rounding_size=0.07", mutation_aspect=1,
            facecolor=fill, edgecolor=line, linewidth=1.1, zorder=4, linestyle="--" if card.family == "opaque" else "-",
        )  # fmt: skip
        self.axes.add_patch(box)
        top = y - h / 2 + 0.135
        left = x - _heading_width(card) / 2
        for text, points, colour, bold in _heading(card):
            self.text(left, top, text, points, colour, weight="bold" if bold else "normal")
            left += text_width(text, points, bold) + SPACE
        for i, (text, colour) in enumerate(_body(card)):
            self.text(x, top + LINE * (i + 1), text, SMALL, colour, ha="center")

    def wire(self, link: Link, points: Sequence[Point]) -> None:
        """A wire through its points, upright at both ends of every piece, with an arrow head at its last point."""
        vertices, codes = [points[0]], [Curve.MOVETO]
        for (x, y), (u, v) in pairwise(points):
            if abs(x - u) < 1e-6 or v <= y + 1e-6:
                vertices.append((u, v))
                codes.append(Curve.LINETO)
            else:
                bend = (v - y) * 0.55
                vertices += [(x, y + bend), (u, v - bend), (u, v)]
                codes += [Curve.CURVE4] * 3
        style = {"linewidth": 2.4, "zorder": 3} if link.lawful else {"linewidth": 1.1, "zorder": 2}
        dashes = "-" if link.exact else (0, (3, 1.2))
        path = Curve(vertices, codes)
        self.axes.add_patch(
            PathPatch(path, fill=False, edgecolor=link.colour, linestyle=dashes, joinstyle="round", **style)
        )
        x, y = points[-1]
        head = Curve([(x - 0.045, y - 0.09), (x + 0.045, y - 0.09), (x, y - 0.005)], closed=False)
        self.axes.add_patch(PathPatch(head, facecolor=link.colour, edgecolor="none", zorder=3))

    def label(self, link: Link, start: Point) -> None:
        """What a wire carries, beside its first piece."""
        x, y = start
        lines = [(link.label, NAME), *((t, link.colour) for t in link.laws)]
        for i, (text, colour) in enumerate([line for line in lines if line[0]]):
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
            self.text(x + 0.08, y + 0.085 + 0.115 * i, text, LABEL, colour, bbox=box)

    def legend(self, families: Sequence[str], lawful: bool, width: float, y: float) -> None:
        """What the colours mean, below the drawing."""
        columns = max(1, int(width / LEGEND_WIDTH))
        for i, family in enumerate(families):
            caption, fill, line = FAMILIES[family]
            x, z = LEGEND_WIDTH * (i % columns), y + LEGEND_LINE * (i // columns)
            box = FancyBboxPatch(
                (x, z - 0.055), 0.2, 0.11, boxstyle="round,pad=0,rounding_size=0.03", facecolor=fill, edgecolor=line
            )
            self.axes.add_patch(box)
            self.text(x + 0.28, z, caption, SMALL)
        if lawful:
            z = y + LEGEND_LINE * -(-len(families) // columns)
            self.axes.plot([0, 0.2], [z, z], color=PALETTE[0], linewidth=2.4)
            self.text(0.28, z, LAWFUL, SMALL)
