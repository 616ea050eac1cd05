"""Drawings of architectures: Mermaid and DOT text, and a PNG whose wires show the laws they carry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from lawful.blocks import ShapeError
from lawful.theory.extras import needed
from lawful.theory.files import expect_writable
from lawful.theory.laws.law import Law

from ..architecture.architecture import Architecture
from .captions import FAMILIES, Card, cards, links

MOST_BLOCKS = 3000


PICTURES = {".png": "png", ".svg": "svg", ".pdf": "pdf"}
TEXTS = (".mmd", ".mermaid", ".dot", ".gv")


def save(arch: Architecture, path: str | Path | None = None, laws: Sequence[Law] = ()) -> Path | str:
    """Draws an architecture into a file, whose ending says what it is, or as SVG text.

    Args:
        arch: the architecture.
        path: ends in one of `PICTURES` or `TEXTS`; None for SVG text.
        laws: laws derived from it.

    Returns:
        The path, or the text.

    Raises:
        ShapeError: for another ending, and as `draw`.
        ImportError: without matplotlib, for pictures.
    """
    if path is None:
        with TemporaryDirectory() as folder:
            file = draw(arch, Path(folder) / "net.svg", laws)
            text = file.read_text(encoding="utf-8")
        return text[text.index("<svg") :]
    path = expect_writable(path, ShapeError)
    ending = path.suffix.lower()
    if ending in PICTURES:
        return draw(arch, path, laws)
    if ending not in TEXTS:
        raise ShapeError(f"cannot draw {path.name}: the ending must be one of {', '.join((*PICTURES, *TEXTS))}")
    path.write_text(dot(arch, laws) if ending in (".dot", ".gv") else mermaid(arch, laws), encoding="utf-8")
    return path


def mermaid(arch: Architecture, laws: Sequence[Law] = ()) -> str:
    """The architecture as a Mermaid flowchart, for Markdown pages.

    Args:
        arch: the architecture.
        laws: laws derived from it; the wires that carry one are coloured and annotated.

    Raises:
        ShapeError: if the laws are those of another network.
    """
    shown = cards(arch, laws)
    ids = {name: f"n{i}" for i, name in enumerate(shown)}
    lines = ["flowchart TB"]
    for name, card in shown.items():
        text = "<br/>".join(map(_mermaid_text, _lines(card)))
        lines.append(f'  {ids[name]}["{text}"]:::{card.family}')
    styles = []
    for i, link in enumerate(links(arch, laws)):
        text = "<br/>".join(_mermaid_text(t) for t in (link.label, *link.laws) if t)
        arrow = f'-->|"{text}"|' if text else "-->"
        lines.append(f"  {ids[link.source]} {arrow} {ids[link.target]}")
        if link.lawful:
            dash = "" if link.exact else ",stroke-dasharray:5 4"
            styles.append(f"  linkStyle {i} stroke:{link.colour},stroke-width:3px{dash}")
    used = dict.fromkeys(card.family for card in shown.values())
    classes = [f"  classDef {f} fill:{FAMILIES[f][1]},stroke:{FAMILIES[f][2]},color:#111111" for f in used]
    return "\n".join([*lines, *styles, *classes]) + "\n"


def dot(arch: Architecture, laws: Sequence[Law] = ()) -> str:
    """The architecture in Graphviz's DOT language.

    Args:
        arch: the architecture.
        laws: laws derived from it; the wires that carry one are coloured and annotated.

    Raises:
        ShapeError: if the laws are those of another network.
    """
    shown = cards(arch, laws)
    ids = {name: f"n{i}" for i, name in enumerate(shown)}
    lines = [
        "digraph architecture {",
        "  rankdir=TB;",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=10];',
        '  edge [fontname="Helvetica", fontsize=8, color="#8a8a8a"];',
    ]
    for name, card in shown.items():
        _, fill, line = FAMILIES[card.family]
        lines.append(f'  {ids[name]} [label="{_dot_text(_lines(card))}", fillcolor="{fill}", color="{line}"];')
    for link in links(arch, laws):
        given = {"label": _dot_text([t for t in (link.label, *link.laws) if t])}
        if link.lawful:
            given |= {"color": link.colour, "fontcolor": link.colour, "penwidth": "2"}
            given |= {} if link.exact else {"style": "dashed"}
        text = ", ".join(f'{key}="{value}"' for key, value in given.items() if value)
        lines.append(f"  {ids[link.source]} -> {ids[link.target]}" + (f" [{text}];" if text else ";"))
    return "\n".join([*lines, "}"]) + "\n"


def draw(arch: Architecture, path: str | Path, laws: Sequence[Law] = ()) -> Path:
    """Draws an architecture as a PNG, SVG or PDF, from top to bottom; a very tall drawing is cut into columns.

    Blocks are coloured by the type of their gauge rule and show the shapes of their parameters; identities are drawn
    as wires, so that residual skips run beside their branches.

    Args:
        arch: the architecture.
        path: where to write.
        laws: laws derived from it; the wires that carry one are coloured and annotated, dashed where it is approximate.

    Returns:
        The path.

    Raises:
        ShapeError: for more blocks than fit a picture, and if the laws are those of another network.
        ImportError: without matplotlib.
    """
    if len(arch.nodes) > MOST_BLOCKS:
        raise ShapeError(
            f"a picture holds {MOST_BLOCKS:,} blocks and the network has {len(arch.nodes):,}; use dot or arch.shrink()"
        )
    with needed("drawing", "matplotlib", "plot"):
        from .picture import picture
    return picture(list(cards(arch, laws).values()), links(arch, laws), Path(path))


def _lines(card: Card) -> list[str]:
    title = f"{card.title} {card.details}".strip()
    return [title, *([card.name] if card.name != card.title else []), *card.more, *card.shapes, *card.laws]


def _mermaid_text(text: str) -> str:
    """Text inside quotes: all that could mean something to Mermaid or to the page becomes a character code."""
    return "".join(c if c.isalnum() or c in " .,:=-_×/+()" else f"#{ord(c)};" for c in text)


def _dot_text(lines: Sequence[str]) -> str:
    """Text inside quotes: Graphviz reads backslashes, quotes and HTML entities in a label."""
    marks = {"\\": "\\\\", '"': '\\"', "&": "&amp;"}
    return "\\n".join("".join(marks.get(c, c) if c.isprintable() else "?" for c in line) for line in lines)
