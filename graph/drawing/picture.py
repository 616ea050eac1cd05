"""The PNG of an architecture: a layout cut into columns, drawn without matplotlib's global state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .captions import FAMILIES, Card, Link
from .layout import GAP_Y, Layout, layout
from .pen import LAWFUL, LEGEND_LINE, LEGEND_WIDTH, SMALL, Pen, Point, label_width, size, text_width

MARGIN, GUTTER = 0.3, 0.6
TALL, SHAPE = 20.0, 1.3  # inches above which a drawing is cut into columns, and the height / width aimed at
SHARP, MOST_PIXELS = 160.0, 16_000


def picture(cards: Sequence[Card], links: Sequence[Link], path: Path) -> Path:
    """Writes the drawing of cards (in topological order) and links to a file."""
    index = {card.name: i for i, card in enumerate(cards)}
    sizes = [size(card) for card in cards]
    wires = [(index[k.source], index[k.target]) for k in links]
    placed = layout(sizes, wires, {i for i, k in enumerate(links) if k.skip})
    sheet = _Sheet.of(placed, _extents(links, sizes, placed))
    families = [f for f in FAMILIES if f != "end" and any(c.family == f for c in cards)]
    lawful = any(k.lawful for k in links)
    width = max(sheet.width, LEGEND_WIDTH, text_width(LAWFUL, SMALL) + 0.4)
    rows = math.ceil(len(families) / int(width / LEGEND_WIDTH)) + lawful
    total = (width + 2 * MARGIN, sheet.height + 2 * MARGIN + 0.25 + LEGEND_LINE * rows)
    figure = Figure(figsize=total, dpi=min(SHARP, MOST_PIXELS / max(total)))
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set(xlim=(-MARGIN, total[0] - MARGIN), ylim=(total[1] - MARGIN, -MARGIN))
    pen = Pen(axes)
    for link, points in zip(links, _spread(links, placed, sizes, index), strict=True):
        pen.wire(link, sheet.route(points))
    for card, centre in zip(cards, placed.centres, strict=True):
        pen.card(card, sheet.point(centre))
    for link, points in zip(links, placed.routes, strict=True):
        pen.label(link, sheet.point(points[0]))
    pen.legend(families, lawful, width, sheet.height + 0.4)
    kind = path.suffix.lower().removeprefix(".") or "png"
    fixed = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the same network gives the same file
    with rc_context({"svg.hashsalt": "lawful", "svg.fonttype": "path"}):
        canvas.print_figure(path, format=kind, facecolor="white", metadata=fixed.get(kind))
    return path


def _extents(
    links: Sequence[Link], sizes: Sequence[tuple[float, float]], placed: Layout
) -> list[tuple[float, float, float]]:
    """Left end, right end and height of everything, captions included."""
    out = []
    for (x, y), (w, _) in zip(placed.centres, sizes, strict=True):
        out.append((x - w / 2, x + w / 2, y))
    for link, points in zip(links, placed.routes, strict=True):
        out += [(x, x, y) for x, y in points]
        out.append((points[0][0], points[0][0] + label_width(link), points[0][1]))
    return out


def _spread(
    links: Sequence[Link], placed: Layout, sizes: Sequence[tuple[float, float]], index: dict[str, int]
) -> list[list[Point]]:
    """The routes with the wires into one block side by side, from left to right as they come."""
    routes = [list(r) for r in placed.routes]
    arriving: dict[str, list[int]] = {}
    for i, link in enumerate(links):
        arriving.setdefault(link.target, []).append(i)
    for target, mine in arriving.items():
        width, height = sizes[index[target]]
        mine.sort(key=lambda i: routes[i][-2][0])
        for place, i in enumerate(mine):
            x, y = routes[i][-1]
            shift = min(0.3, 0.6 * width / len(mine)) * (place - (len(mine) - 1) / 2)
            if width == height:  # a circle: what comes straight from above stays straight, the others touch its sides
                side = routes[i][-2][0] - x
                shift = math.copysign(0.3 * width, side) if abs(side) > 0.05 else 0.0
                y += width / 2 - math.sqrt(width**2 / 4 - shift**2)
            routes[i][-1] = (x + shift, y)
    return routes


@dataclass(frozen=True)
class _Sheet:
    """A layout cut into columns where a single value passes.

    Attributes:
        starts: the height at which every column begins.
        shifts: how far every column moves to the right.
        gutters: the middle of the space to the right of every column.
        width: of the whole.
        height: of the tallest column.
    """

    starts: tuple[float, ...]
    shifts: tuple[float, ...]
    gutters: tuple[float, ...]
    width: float
    height: float

    @staticmethod
    def of(placed: Layout, extents: Sequence[tuple[float, float, float]]) -> _Sheet:
        """Cuts a layout so that the whole has a shape that fits a screen."""
        count = 1
        if placed.height > TALL:
            count = max(1, round(math.sqrt(placed.height / SHAPE / (placed.width + GUTTER))))
        starts = [0.0]
        for i in range(1, count):
            wanted, reach = i * placed.height / count, placed.height / count / 2
            near = [y for y in placed.cuts if abs(y - wanted) < reach and y > starts[-1]]
            if near:
                starts.append(min(near, key=lambda y: abs(y - wanted)))
        ends = [*starts[1:], placed.height + 1.0]
        left, shifts, gutters = 0.0, [], []
        for start, end in zip(starts, ends, strict=True):
            inside = [(low, high) for low, high, y in extents if start <= y < end]
            low, high = min(a for a, _ in inside), max(b for _, b in inside)
            shifts.append(left - low)
            left += high - low + GUTTER
            gutters.append(left - GUTTER / 2)
        height = max(min(e, placed.height) - s for s, e in zip(starts, ends, strict=True))
        return _Sheet(tuple(starts), tuple(shifts), tuple(gutters), left - GUTTER, height)

    def column(self, y: float) -> int:
        """The column that a height lies in."""
        return sum(start <= y for start in self.starts[1:])

    def point(self, p: Point) -> Point:
        """Where a point of the layout is drawn."""
        i = self.column(p[1])
        return p[0] + self.shifts[i], p[1] - self.starts[i]

    def route(self, points: Sequence[Point]) -> list[Point]:
        """Where a wire is drawn: from one column to the next it goes down, up the gutter, and in from above."""
        out = [self.point(points[0])]
        for a, b in pairwise(points):
            i = self.column(a[1])
            if self.column(b[1]) > i:
                foot, (x, _) = out[-1][1] + GAP_Y / 2, self.point(b)
                out += [(out[-1][0], foot), (self.gutters[i], foot), (self.gutters[i], -GAP_Y / 2), (x, -GAP_Y / 2)]
            out.append(self.point(b))
        return out
