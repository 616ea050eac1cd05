"""The drawings of families in the pages: each wire is a link to the laws that live on it, without any script."""

import html.parser
import re
import shutil
from pathlib import Path

import pytest

from lawful import blocks as b
from lawful import catalog
from lawful.catalog.families import NAMES, small
from lawful.catalog.match import for_network
from lawful.catalog.site import write
from lawful.catalog.site.stored import family
from lawful.catalog.site.wires import drawing
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.drawing.captions import cards, links


class _Page(html.parser.HTMLParser):
    """The links of a drawing, and the text of the sheets that they lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.sheets: dict[str, str] = {}
        self.open: list[str] = []
        self.drawn = False
        self._sheet = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [v] if (v := values.get("id")) else []
        assert "style" not in values and not any(k.startswith("on") for k in values)  # what the page's policy forbids
        if tag == "svg":
            self.drawn = True
        if tag == "a" and self.drawn:
            self.links.append(values["href"] or "")
        if tag == "section":
            self._sheet = values["id"] or ""
            self.sheets[self._sheet] = ""
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        if tag == "svg":
            self.drawn = False

    def handle_data(self, data: str) -> None:
        if "section" in self.open and self._sheet:
            self.sheets[self._sheet] += data


@pytest.mark.parametrize("name", NAMES)
def test_every_wire_of_every_family_leads_to_its_laws(name: str) -> None:
    page = _Page(family(name))
    assert len(page.ids) == len(set(page.ids)) and page.links
    wires = [k for k in page.links if k.startswith("#wire-")]
    assert sorted(wires) == sorted(f"#{k}" for k in page.sheets if k.startswith("wire-"))
    assert {k.removeprefix("#") for k in page.links} == set(page.sheets)
    assert any("balance of" in text for text in page.sheets.values())


@pytest.mark.parametrize("name", ["gpt2", "lstm_lm", "vgg16"])
def test_the_stored_drawing_is_the_one_of_the_network(name: str) -> None:
    again = drawing(small(name), catalog.get(f"family/{name}").loss)
    assert again == family(name), "run `python -m lawful.catalog.site.wires`"


def test_a_sheet_has_the_laws_of_its_wire_and_no_others() -> None:
    arch = small("vit")
    found = for_network(arch, "cross_entropy")
    page = _Page(drawing(arch, "cross_entropy"))
    for i, wire in enumerate(links(arch, found.laws)):
        text = page.sheets[f"wire-{i}"]
        assert f"from {wire.source} to {wire.target}" in text
        assert {m.law.name for m in found if f"{m.law.name}:" in text} == set(wire.carried)
        assert bool(wire.carried) == wire.lawful and ("No law" in text) != wire.lawful
    for i, card in enumerate(cards(arch, found.laws).values()):
        assert (f"block-{i}" in page.sheets) == bool(card.laws)
    shown = {n for w in links(arch, found.laws) for n in w.carried}
    assert {m.law.name for m in found if m.law.kind == "balance"} >= shown > set()


def test_names_of_strangers_are_text() -> None:
    arch = Architecture(b.chain(**{"<script>alert(1)</script>": b.Linear(2, 3), "act": b.ReLU(), "V": b.Linear(3, 2)}))
    assert "<script" not in drawing(arch, "mse") and "&lt;script&gt;" in drawing(arch, "mse")
    assert family("../../laws/losses") == family("no-such") == ""


def test_a_wire_shows_its_laws_by_keyboard_without_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium is installed")
    monkeypatch.setenv("LAWFUL_CATALOG", str(tmp_path / "own.sqlite"))
    write(tmp_path / "site")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = browser.new_context(java_script_enabled=False, viewport={"width": 320, "height": 700})
        page = context.new_page()
        page.goto((tmp_path / "site" / "entry" / "family-gpt2.html").as_uri())
        assert page.locator(".sheet:visible").count() == 0
        page.locator('.drawing a[href="#wire-3"]').focus()
        page.keyboard.press("Enter")
        assert page.locator(".sheet:visible").count() == 1 and "balance of" in page.locator("#wire-3").inner_text()
        page.locator("#wire-3 a").last.click()
        assert page.locator(".sheet:visible").count() == 0 and page.url.endswith("#at-wire-3")
        page.locator('.drawing a[href="#wire-0"] .touch').dispatch_event("click")
        assert re.search(r"#wire-0$", page.url) and page.locator("#wire-0").is_visible()
        browser.close()
