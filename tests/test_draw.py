"""Drawings show what is there: every block, every wire, the laws on them; and nothing that a name says breaks them."""

import re
import struct
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib
import pytest
import torch
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.drawing import draw as drawing
from lawful.graph.drawing.captions import FAMILIES, WIDE, WIRE, cards, describe, links
from lawful.graph.drawing.draw import dot, draw, mermaid
from lawful.graph.questions.derive import derive


def residual_network() -> Architecture:
    branch = b.chain(up=b.Linear(4, 6), act=b.ReLU(), down=b.Linear(6, 4))
    return Architecture(b.chain(stem=b.Linear(3, 4), block=b.residual(branch), head=b.Linear(4, 2)))


def transformer() -> Architecture:
    layer = b.TransformerLayer(8, 2, 16, causal=True)
    table = b.Embedding(11, 8)
    return Architecture(b.chain(embed=table, position=b.LearnedPosition(4, 8), layer=layer, head=b.TiedHead(table)))


HOSTILE = [
    'a"]; click n0 "javascript:x',
    "<script>",
    "a\nb",
    'q"\\',
    "`md`",
    "#35;",
    "-->|x|",
    "}",
    "%%{init}%%",
    "é$x^2$",
    "漢字",
]


def hostile_network() -> Architecture:
    edges = [(a, 0, c, 0) for a, c in pairwise(["input", *HOSTILE])]
    return Architecture.from_parts({name: b.Linear(3, 3) for name in HOSTILE}, edges, [(HOSTILE[-1], 0)], [b.Signal(3)])


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


NETWORKS = {
    "residual": residual_network(),
    "transformer": transformer(),
    "hostile": hostile_network(),
    "recurrent": Architecture(b.Recurrent(2, 3, 3) >> b.Linear(3, 2), b.Signal(2, (3,))),
    "nothing but a wire": Architecture(b.Identity(), b.Signal(3)),
    "one wire twice": Architecture(b.Linear(3, 4) >> b.parallel(b.Identity(), b.Identity(), join=b.Product())),
    "cut": Architecture(b.Linear(3, 4) >> b.Split((1, 3)) >> b.Concat() >> b.Linear(4, 2)),
}


def test_a_card_says_what_a_block_is() -> None:
    shown = cards(transformer(), derive(transformer(), "cross_entropy"))
    query = shown["layer.attention.branch.attention.heads.q"]
    assert (query.title, query.shapes, query.family) == ("Linear", ("weight 8×8", "bias 8"), "linear")
    core = shown["layer.attention.branch.attention.heads.dotproductattention"]
    assert (core.title, core.details, core.family) == ("DotProductAttention", "heads 2, causal", "attention")
    assert shown["head"].shapes == ("weight = embed.weight",)
    assert shown["layer.attention.branch.attention.heads.k"].laws == ("never moves: 8",)
    assert shown["input"].shapes == ("4 tokens of 11",) and shown["output"].shapes == ("4×11",)
    assert not any(card.title == "Identity" for card in shown.values())


def test_frozen_parameters_are_said_to_be() -> None:
    shown = cards(residual_network().freeze("stem.weight"))
    assert shown["stem"].shapes == ("weight 4×3 (frozen)", "bias 4")


def test_every_type_of_rule_has_a_family() -> None:
    blocks = [
        b.ReLU(),
        b.GELU(),
        b.Affine(3),
        b.LayerNormCore(3),
        b.BatchNormCore(3),
        b.Softmax(),
        b.Dropout(),
        b.Power(2),
    ]
    families = [cards(Architecture(block, b.Signal(3)))[block.kind.lower()].family for block in blocks]
    expected = ["homogeneous", "pointwise", "gain", "norm", "norm", "attention", "homogeneous", "homogeneous"]
    assert families == expected
    assert set(FAMILIES) >= set(families)


def test_a_block_without_a_rule_is_drawn_as_opaque() -> None:
    from lawful.theory.gauge.rules import Rule

    class Unknown(b.Identity):
        """A map of which nothing is known."""

        def rule(self, names: object, inputs: object, outputs: object) -> Rule:
            return Rule()

    class Mystery(b.ReLU):
        """The same, and not an identity."""

        rule = Unknown.rule  # type: ignore[assignment]

    assert cards(Architecture(Mystery(), b.Signal(3)))["mystery"].family == "opaque"


def test_skips_are_wires_and_carry_the_law_of_their_stream() -> None:
    arch = residual_network()
    laws = derive(arch)
    found = links(arch, laws)
    skip = next(k for k in found if k.skip)
    assert (skip.source, skip.target) == ("stem", "block.add")
    colours = {(k.source, k.target): k.colour for k in found}
    stream = colours["stem", "block.branch.up"]
    assert stream != WIRE
    assert (
        colours["stem", "block.add"]
        == colours["block.branch.down", "block.add"]
        == colours["block.add", "head"]
        == stream
    )
    assert colours["block.branch.up", "block.branch.act"] not in (stream, WIRE)
    assert colours["input", "stem"] == colours["head", "output"] == WIRE
    texts = [t for k in found for t in k.laws]
    assert sorted(texts) == sorted(f"{w.algebra}: {w.count} laws" for w in laws)


def test_approximate_laws_are_marked() -> None:
    """The stream law of a LayerNorm Transformer holds up to epsilon; those of the heads are exact."""
    layer, norm = b.TransformerLayer(8, 2, 16), b.LayerNorm(8)
    arch = Architecture(b.chain(embed=b.Embedding(11, 8), layer=layer, norm=norm, head=b.Linear(8, 5)))
    laws = derive(arch, "cross_entropy")
    found = {k.source: k for k in links(arch, laws)}
    assert found["embed"].lawful and not found["embed"].exact
    query = found["layer.attention.branch.attention.heads.q"]
    assert query.lawful and query.exact
    assert "stroke-dasharray" in mermaid(arch, laws) and 'style="dashed"' in dot(arch, laws)
    assert "stroke-dasharray" not in mermaid(arch) and 'style="dashed"' not in dot(arch)


def test_laws_of_another_network_are_refused(tmp_path: Path) -> None:
    laws = derive(transformer())
    for make in (mermaid, dot, lambda a, w: draw(a, tmp_path / "x.png", w)):
        with pytest.raises(b.ShapeError, match="is not in this network; derive the laws from it"):
            make(residual_network(), laws)


MERMAID = [
    r"flowchart TB",
    r'  n\d+\["[^"<>\[\]`]*(<br/>[^"<>\[\]`]*)*"\]:::[a-z]+',
    r'  n\d+ --> n\d+|  n\d+ -->\|"[^"<>\[\]|`]*(<br/>[^"<>\[\]|`]*)*"\| n\d+',
    r"  linkStyle \d+ stroke:#[0-9a-f]{6},stroke-width:3px(,stroke-dasharray:5 4)?",
    r"  classDef [a-z]+ fill:#[0-9a-f]{6},stroke:#[0-9a-f]{6},color:#111111",
]


@pytest.mark.parametrize("name", NETWORKS)
def test_mermaid_is_well_formed_and_complete(name: str) -> None:
    arch = NETWORKS[name]
    text = mermaid(arch, derive(arch))
    lines = text.splitlines()
    kinds = [next(i for i, p in enumerate(MERMAID) if re.fullmatch(p, line)) for line in lines]
    assert kinds == sorted(kinds) and kinds.count(0) == 1
    assert kinds.count(1) == len(cards(arch)) and kinds.count(2) == len(links(arch))
    assert kinds.count(3) == sum(k.lawful for k in links(arch, derive(arch)))


@pytest.mark.parametrize("name", NETWORKS)
def test_dot_is_well_formed_and_complete(name: str) -> None:
    arch = NETWORKS[name]
    text = dot(arch, derive(arch))
    quoted = r'"(?:[^"\\\n]|\\.)*"'
    bare = re.sub(quoted, "Q", text)
    assert '"' not in bare and bare.count("{") == bare.count("}") == 1
    body = bare.splitlines()[4:-1]
    assert all(re.fullmatch(r"  n\d+( -> n\d+)?( \[\w+=Q(, \w+=Q)*\])?;", line) for line in body)
    assert sum("->" in line for line in body) == len(links(arch))
    assert sum("->" not in line for line in body) == len(cards(arch))


def test_labels_mean_what_the_names_say() -> None:
    arch = hostile_network()
    shown = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), mermaid(arch))
    assert all(name in shown for name in HOSTILE)
    assert r"q\"\\" in dot(arch) and "&amp;" not in dot(arch)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_picture_is_drawn(name: str, tmp_path: Path) -> None:
    arch = NETWORKS[name]
    before = dict(matplotlib.rcParams)
    path = draw(arch, str(tmp_path / "net.png"), derive(arch))
    assert path == tmp_path / "net.png"
    width, height = png_size(path)
    assert 300 < width < 6000 and 200 < height < 6000
    assert dict(matplotlib.rcParams) == before


def test_a_tall_network_is_cut_into_columns(tmp_path: Path) -> None:
    def depth(blocks: int) -> tuple[int, int]:
        net = b.repeat([b.residual(b.Linear(4, 4) >> b.ReLU() >> b.Linear(4, 4)) for _ in range(blocks)])
        return png_size(draw(Architecture(net, b.Signal(4)), tmp_path / f"{blocks}.png"))

    (narrow, _), (wide, high) = depth(5), depth(25)
    assert wide > 2 * narrow and high < 4 * wide


def test_too_many_blocks_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(drawing, "MOST_BLOCKS", 5)
    with pytest.raises(b.ShapeError, match="holds 5 blocks and the network has 7; use dot or"):
        draw(residual_network(), tmp_path / "x.png")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("lawful.graph.drawing.picture", "lawful.graph.drawing.pen"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImportError, match=r"pip install 'lawful\[plot\]' torch=="):
        draw(residual_network(), tmp_path / "x.png")


def test_signals_are_described_by_their_shape() -> None:
    assert describe(b.Signal(3)) == "3"
    assert describe(b.Signal(3, (8, 9), channels_first=True)) == "3×8×9"
    assert describe(b.Signal(3, (8,))) == "8×3"


class Chosen(nn.Module):
    """Operations without a rule, and moves of positions, as tracing makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.score, self.out = nn.Conv2d(1, 6, 3), nn.Linear(6, 4), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.conv(x).flatten(2).transpose(1, 2)
        value, place = self.score(tokens).softmax(-1).topk(2, -1)
        return self.out(tokens * torch.erfinv(value[..., :1].cumsum(1) / 40) * (place[..., :1] == 2)).mean(1)


def test_boxes_of_traced_networks_say_what_is_done_and_why_no_rule_covers_it_in_short_lines() -> None:
    torch.manual_seed(0)
    texts = []
    for _ in range(2):
        arch = lw.trace(Chosen(), torch.randn(3, 1, 6, 6))
        texts += [mermaid(arch), dot(arch)]
        shown = cards(arch)
        for card in shown.values():
            for line in (card.details, *card.more):
                assert len(line) <= WIDE, line
                assert "Signal(" not in line and "function" not in line and " at 0x" not in line, line
    assert texts[:2] == texts[2:], "no address may stand in a drawing: the same network gives the same text"
    assert any("topk" in card.details for card in shown.values())
    assert arch.trace is not None
    for op in arch.trace.opaque:
        assert op.reason.split()[0] in shown[op.node].more[0]
