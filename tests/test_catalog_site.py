"""The pages: whole, escaped, with the ranking of the library; and in a real browser where there is one."""

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from catalog_fresh import QUESTIONS as FRESH
from catalog_optimizers import OPTIMIZERS
from catalog_questions import QUESTIONS

from lawful import catalog
from lawful.catalog import shelf
from lawful.catalog.entry import Entry
from lawful.catalog.site import write
from lawful.catalog.site.data import data
from lawful.catalog.site.formulas import rendered
from lawful.catalog.site.names import slug, url

JOINED = ("what happens to the norm of a conv filter followed by batchnorm", "relu between conv and a linear layer")
READ = (
    "dead ReLU",
    "quantization of relu",
    "CLIP",
    "scale invariant weights",
    "learning rate warmup",
    "zzzqqq",
    "blorptastic frobnitz",
    "atenshun modjule",
)
ASKED = [*QUESTIONS, *FRESH, *JOINED, *OPTIMIZERS, *READ]
HOSTILE = "<script>alert(1)<"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAWFUL_CATALOG", str(folder / "own.sqlite"))
        own = Entry(f"own/{HOSTILE}/balance/x", "balance", HOSTILE, HOSTILE, HOSTILE, "lawful", setting=HOSTILE)
        shelf.add(HOSTILE, [own])
        assert write(folder / "site") > len(catalog.entries())
    return folder / "site"


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.found += [v for k in ("href", "src") if (v := values.get(k))]
        if tag == "script":
            self.scripts.append(values.get("src"))


def test_every_link_leads_somewhere_and_nothing_comes_from_the_network(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = _Links()
        page.feed(path.read_text(encoding="utf-8"))
        assert all(page.scripts), path  # no script in a page
        for to in page.found:
            if not to.startswith(("https://arxiv.org/", "https://doi.org/", "data:,", "#")):
                assert (path.parent / to).resolve().is_file(), (path, to)


def test_foreign_text_is_shown_and_never_run(site: Path) -> None:
    text = "".join(p.read_text(encoding="utf-8") for p in site.rglob("*.html"))
    assert HOSTILE not in text and "&lt;script&gt;alert(1)&lt;" in text
    assert "<" not in (site / "data.js").read_text(encoding="utf-8")


def test_every_formula_is_rendered() -> None:
    # claims that were run again are sentences, and shown as such
    missing = [e.id for e in catalog.entries() if e.latex not in rendered() and not e.outcome]
    assert not missing, "run `python -m lawful.catalog.site.formulas`"
    assert all("merror" not in text and "<math" in text for text in rendered().values())


def test_addresses_are_safe_and_told_apart() -> None:
    ids = [e.id for e in catalog.entries()]
    assert len({url(i).lower() for i in ids}) == len(ids)
    for name in ("../../etc/passwd", "a b", "a-b", "a/b", "", "ä", "x" * 300):
        assert re.fullmatch(r"[A-Za-z0-9.-]{1,130}", slug(name)) and not slug(name).startswith(".")


def test_the_browser_ranks_as_the_library(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    monkeypatch.setenv("LAWFUL_CATALOG", str(tmp_path / "none.sqlite"))
    (tmp_path / "data.json").write_text(json.dumps({"data": data(catalog.entries()), "asked": ASKED}))
    code = (
        f"const {{ lawfulSearch }} = require({json.dumps(str(site / 'search.js'))});"
        f"const {{ data, asked }} = JSON.parse(require('fs').readFileSync({json.dumps(str(tmp_path / 'data.json'))}));"
        "const search = lawfulSearch(data); const start = performance.now();"
        "const out = asked.map((q) => { const f = search(q);"
        "return [f.nearest, f.entries.slice(0, 5).map((e) => e.id), [f.optimizer, ...f.beside], f.unknown]; });"
        "console.log(JSON.stringify({ out, each: (performance.now() - start) / asked.length }));"
    )
    run = subprocess.run([node, "-e", code], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    for question, (nearest, ids, optimizers, unknown) in zip(ASKED, found["out"], strict=True):
        own = catalog.search(question)
        assert (own.nearest, [e.id for e in own[:5]]) == (nearest, ids), question
        read = own.understood
        assert ([read.optimizer, *read.beside], list(read.unknown)) == (optimizers, unknown), question
    assert found["each"] < 100  # milliseconds


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


CONTRAST = """() => {
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).map((v) => { v /= 255;
    return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const paper = (n) => { for (; n; n = n.parentElement) { const c = getComputedStyle(n).backgroundColor;
    if (!/, 0\\)$|transparent/.test(c)) return c; } return "rgb(255,255,255)"; };
  const bad = [];
  for (const n of document.querySelectorAll("main *, nav *")) {
    if (![...n.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim()) || !n.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(n).color), light(paper(n))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) bad.push([n.tagName, n.textContent.slice(0, 30), (a + .05) / (b + .05)]);
  }
  return bad;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(site: Path, browser, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 320, "height": 700}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text))
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("dialog", lambda d: said.append("dialog"))
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")  # to the content
    page.fill("#q", "what does AdamW do to Q^T Q - K^T K?")
    assert page.locator("#answers li a").first.get_attribute("href") == url("attention/balance/heads.q")
    assert "AdamW: broken" in page.locator("#answers li").first.inner_text()
    page.select_option("#optimizer", "weight-decay")
    assert "decays" in page.locator("#answers li").first.inner_text()
    page.fill("#q", "batchnorm")
    page.select_option("#kind", "frozen")
    assert "batchnorm/frozen/W.bias" in page.locator("#answers").inner_text()
    page.select_option("#kind", "")
    page.fill("#q", "script alert")
    assert HOSTILE in page.locator("#answers").inner_text()
    assert page.evaluate(CONTRAST) == []
    for name in (
        "index.html",
        "blocks.html",
        "families.html",
        "papers.html",
        "optimizers.html",
        url("attention/balance/heads.q"),
    ):
        page.goto((site / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, name
        assert page.evaluate(CONTRAST) == [], name
    page.goto((site / url("family/gpt2")).as_uri())
    wire = page.locator("details.wire").first
    assert not wire.locator("p").is_visible()
    wire.locator("summary").click()
    assert wire.locator("p").is_visible()
    page.locator("details.wire summary").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.locator("details.wire").nth(1).locator("p").is_visible()
    assert page.locator("details.wire a").count() > 3
    assert said == []
    page.close()


def test_it_reads_without_scripts(site: Path, browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert not page.locator("#q").is_visible()
    page.locator("summary", has_text="Attention").first.click()
    page.locator("a", has_text="softmax attention, one head").first.click()
    assert "completeness" in page.locator("main").inner_text()
    assert page.locator("math").first.is_visible()
    context.close()
