"""The drawings of the families as SVG in their pages: each wire is a link to the laws that it carries.

It works without scripts: the link leads to a sheet with the laws, which the style shows when it is the target.
They are data, so that pages need no torch: `python -m lawful.catalog.site.wires` draws them all.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

from lawful.graph.architecture.architecture import Architecture
from lawful.graph.drawing.captions import FAMILIES, Card, Link, cards, links
from lawful.graph.drawing.layout import layout

from ..families import NAMES, small
from ..match import Match, for_network
from ..store import by_id
from ..wording import field_text
from .names import link, url

INCH = 96  # pixels
LETTER, LINE, PAD = 0.085, 0.17, 0.1  # inches of a monospaced letter of 13 pixels, of a line, around the text
MARGIN = 0.3

Point = tuple[float, float]


def drawing(arch: Architecture, loss: str) -> str:
    """The drawing of a small network with the sheets of its wires and blocks, as HTML.

    Args:
        arch: the network.
        loss: the loss of its laws.
    """
    found = for_network(arch, loss)
    said = {m.law.name: m for m in found}
    shown, wires = list(cards(arch, found.laws).values()), links(arch, found.laws)
    index = {card.name: i for i, card in enumerate(shown)}
    sizes = [_size(card) for card in shown]
    placed = layout(
        sizes, [(index[k.source], index[k.target]) for k in wires], {i for i, k in enumerate(wires) if k.skip}
    )
    strokes, boxes, sheets = [], [], []
    for i, (wire, points) in enumerate(zip(wires, placed.routes, strict=True)):
        name = f"the wire from {wire.source} to {wire.target}"
        strokes.append(_wire(f"wire-{i}", name, wire, points))
        sheets.append(_sheet(f"wire-{i}", name, [said[n] for n in wire.carried]))
    for i, (card, centre) in enumerate(zip(shown, placed.centres, strict=True)):
        own = [said[n] for n in card.carried]
        box = _box(card, centre)
        if own:
            name = f"the parameters of {card.name}"
            box = _linked(f"block-{i}", f"{name}: {_number(own)}", box)
            sheets.append(_sheet(f"block-{i}", name, own))
        boxes.append(box)
    left, right = _reach(sizes, placed.centres, placed.routes)
    width, height = right - left + 2 * MARGIN, placed.height + 2 * MARGIN
    view = f"{_px(left - MARGIN)} {_px(-MARGIN)} {_px(width)} {_px(height)}"
    return (
        "<p>A small copy of it. Choose a wire, or a block with a thick line, by click or by Tab and Enter: its laws "
        "are shown. One colour for each law; dashed where it holds up to an epsilon.</p>"
        '<div class="wide drawing" tabindex="0" role="region" aria-label="Drawing of a small copy">'
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" width="{_px(width)}" height="{_px(height)}" '
        f'role="group" aria-label="Blocks and wires">\n{"".join(strokes)}{"".join(boxes)}</svg></div>\n'
        f"{''.join(sheets)}"
    )


def _sheet(to: str, name: str, found: Sequence[Match]) -> str:
    """What is shown when a wire or a block is chosen."""
    items = "".join(
        f"<li>{escape(m.law.name)}: <span class='plain'>{escape(field_text(m.law.short, m.law.parameters))}</span>"
        f"{' ' + link('../' + url(m.entry.id), m.entry.id) if m.entry else ''}</li>"
        for m in found
    )
    laws = f"<ul>{items}</ul>" if items else "<p>No law of the list lives here.</p>"
    return (
        f'<section class="sheet" id="{to}" aria-label="Laws of {escape(name)}"><h3>Laws of {escape(name)}</h3>{laws}'
        f'<p><a href="#at-{to}">Back to the drawing</a></p></section>\n'
    )


def _linked(to: str, said: str, strokes: str) -> str:
    return f'<a id="at-{to}" href="#{to}"><title>{escape(said)}</title>{strokes}</a>\n'


def _number(found: Sequence[object]) -> str:
    return f"{len(found) or 'no'} law{'s' * (len(found) != 1)}"


def _wire(to: str, name: str, wire: Link, points: Sequence[Point]) -> str:
    path = f"M{_px(points[0][0])} {_px(points[0][1])}"
    for (x, y), (u, v) in pairwise(points):
        if abs(x - u) < 1e-6 or v <= y + 1e-6:
            path += f"L{_px(u)} {_px(v)}"
        else:
            bend = (v - y) * 0.55
            path += f"C{_px(x)} {_px(y + bend)} {_px(u)} {_px(v - bend)} {_px(u)} {_px(v)}"
    x, y = points[-1]
    head = f"{_px(x - 0.045)},{_px(y - 0.09)} {_px(x + 0.045)},{_px(y - 0.09)} {_px(x)},{_px(y)}"
    dashes = "" if wire.exact else ' stroke-dasharray="6 4"'
    wide = 2.6 if wire.lawful else 1.3
    strokes = (
        f'<path class="touch" d="{path}"/>'
        f'<path class="stroke" d="{path}" stroke="{wire.colour}" stroke-width="{wide}"{dashes}/>'
        f'<polygon points="{head}" fill="{wire.colour}"/>'
    )
    return _linked(to, f"{name}: {_number(wire.carried)}", strokes)


def _lines(card: Card) -> list[str]:
    """The text in a box, the name and the kind first; every other line is one parameter."""
    named = [card.name] if card.name != card.title else []
    return [f"{card.title} {card.details}".strip(), *named, *filter(None, card.shapes), *card.laws]


def _size(card: Card) -> tuple[float, float]:
    lines = _lines(card)
    return max(map(len, lines)) * LETTER + 2 * PAD, len(lines) * LINE + PAD


def _box(card: Card, centre: Point) -> str:
    (x, y), (w, h) = centre, _size(card)
    _, fill, line = FAMILIES[card.family]
    edge = 2.6 if card.carried else 1.1
    rows = "".join(
        f'<text x="{_px(x)}" y="{_px(y - h / 2 + LINE * (i + 1) + 0.01)}">{escape(text)}</text>'
        for i, text in enumerate(_lines(card))
    )
    return (
        f'<rect x="{_px(x - w / 2)}" y="{_px(y - h / 2)}" width="{_px(w)}" height="{_px(h)}" rx="6" '
        f'fill="{fill}" stroke="{line}" stroke-width="{edge}"/>{rows}\n'
    )


def _reach(sizes: Sequence[Point], centres: Sequence[Point], routes: Sequence[Sequence[Point]]) -> Point:
    """Left and right end of all boxes and wires."""
    ends = [x + side * w / 2 for (x, _), (w, _) in zip(centres, sizes, strict=True) for side in (-1, 1)]
    ends += [x for points in routes for x, _ in points]
    return min(ends), max(ends)


def _px(inches: float) -> str:
    return f"{inches * INCH:.0f}"


def main() -> None:
    """Writes the drawings of all families."""
    folder = Path(str(files("lawful.catalog"))) / "data" / "rendered" / "families"
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        print(name, file=sys.stderr, flush=True)
        text = drawing(small(name), by_id()[f"family/{name}"].loss)
        (folder / f"{name}.html").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
