"""Formulas as a question: what is left of one without its names, so that `‖W1[i,:]‖² - ‖W2[:,i]‖²` finds its kind.

A formula of squared norms and of products with transposes is read as a sum of terms; sign of the whole, order, names of
parameters and the side that is transposed (papers differ) do not count.  Any other is compared as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate

from ..entry import Entry
from .analysis import stop_words, tokens

SAME, LIKE, NEAR = 3.0, 2.0, 1.0  # how a formula fits: as it is written, in all but names, without indices and biases
LONGEST = 400  # characters
DIFFERENTIAL = r"(?:\\(?:mathrm|text|rm|partial|operatorname)?\s*\{?\s*d?\s*\}?|d|∂)"
WRAPPED = (
    (rf"\\[dt]?frac\s*\{{\s*{DIFFERENTIAL}\s*\}}\s*\{{\s*{DIFFERENTIAL}\s*t\s*\}}", ""),
    (r"(?<![A-Za-z])d\s*/\s*dt(?![A-Za-z])|(?:\\partial|∂)_\{?t\}?", ""),
    (r"(?:=|\\equiv)\s*(?:0(?!\.?\d)|\\?(?:text|mathrm)?\s*\{?\s*const(?:ant)?\b\.?\s*\}?)\.?(?!\w)", ""),
)  # what says that a formula is conserved, and not which one it is
OUTER = re.compile(r"\s*(?:\\(?:left|[bB]igl?)\s*)?\((.*?)(?:\\(?:right|[bB]igr?)\s*)?\)\s*[.]?\s*")
REWRITTEN = (
    (r"\\(?:left|right|big[lr]?|Big[lr]?|,|;|!|quad)(?![a-zA-Z])", ""),
    (r"\\[lr]?Vert|\\\||\|\|", "‖"),
    (r"\\(?:mathrm|mathbf|mathit|text|operatorname|boldsymbol|bm)\s*\{([^{}]*)\}", r"\1"),
    (r"\\(?:cdot|times|odot)|@", " "),
    (r"\\_", "_"),
    (r"\^\{?\s*(?:\\top|\\intercal|⊤|T)\s*\}?|⊤|\.T\b|\.mT\b|\.transpose\(\)", "ᵀ"),
    (r"(?<=[A-Za-z\]\)0-9])'", "ᵀ"),
    (r"\^\{?2\}?|\*\*\s*2", "²"),
    (r"‖_\{?(?:F|2|Fro|fro)\}?", "‖"),
    (r"[−–]", "-"),
    (r"\\gamma(?![a-zA-Z])", "γ"),
    (r"\\beta(?![a-zA-Z])", "β"),
    (r"\\([a-zA-Z]+)", r" \1 "),
)
LETTER, MORE = "A-Za-zα-ωΑ-Ω", "A-Za-z0-9_α-ωΑ-Ω"  # without the signs ᵀ and ²
NAME = rf"[{LETTER}][{MORE}]*(?:\.[{MORE}]+)*(?:\([{MORE}.,: ]*\))?"
INDEX = r"(?:\[[^\[\]]*\]|_\{[^{}]*\})"
FACTOR = rf"(?:\((?:I ?\+ ?)?{NAME}{INDEX}?\)|{NAME}){INDEX}?"
TERM = re.compile(
    rf"(?P<times>\d+(?:/\d+)?)?\s*\*?\s*(?:‖\s*(?P<norm>{FACTOR})\s*‖²|(?P<square>{FACTOR})²"
    rf"|(?P<a>{FACTOR})(?P<at>ᵀ?)\s*(?P<b>{FACTOR})(?P<bt>ᵀ?))"
)
SUM = re.compile(rf"-?\s*{TERM.pattern}(?:\s*[+-]\s*{re.sub('[?]P<[a-z]+>', '?:', TERM.pattern)})*")
SIGNS = re.compile("[²ᵀ‖]")
Shape = tuple[tuple[str, ...], ...]


def is_formula(text: str) -> bool:
    """Whether a question holds a formula of norms or transposes."""
    return bool(SIGNS.search(_formula(_rewritten(text))[0]))


def unwrapped(text: str) -> str:
    """A formula without what says that it is conserved (`d/dt (...) = 0`, in LaTeX too); any other text as it is."""
    bare = text.strip().strip("$").strip()
    for pattern, instead in WRAPPED:
        bare = re.sub(pattern, instead, bare)
    whole = OUTER.fullmatch(bare)
    if whole and _closed(whole[1]) and _formula(_rewritten(whole[1]))[1]:
        bare = whole[1]
    return bare.strip() if is_formula(bare) else text


def _closed(text: str) -> bool:
    """Whether parentheses that are open before a text are so all through it: `a) - (b` closes one."""
    depth = list(accumulate(text, lambda n, c: n + (c == "(") - (c == ")"), initial=0))
    return min(depth) == depth[-1] == 0


def stated(text: str, entries: Iterable[Entry]) -> list[tuple[float, Entry]]:
    """The laws that a formula states, and how well it fits each.

    Args:
        text: a question; beside other words a formula counts only as it is written.
        entries: the entries.
    """
    written, (asked, alone) = _solid(text), _formula(_rewritten(text))
    shape = _shape(asked) if alone and SIGNS.search(asked) else None
    whole = shape is not None and not any(side for *_, side in shape)  # vectors: `‖w_in‖² - ‖w_out‖²` of one neuron
    found = []
    for e in entries:
        if not e.is_law or not e.text:
            continue
        same = written in (_solid(e.text), _solid(e.latex))
        if same or (SIGNS.search(asked) and _plain(e.text) == _plain(asked)):
            found.append((SAME, e))
        elif shape is not None and shape == _shape(_rewritten(e.text)):
            found.append((LIKE, e))
        elif shape is not None and _bare(shape) == _bare(_shape(_rewritten(e.text))):
            found.append((LIKE if whole else NEAR, e))
    return found


def _formula(text: str) -> tuple[str, bool]:
    """The longest formula in a text, and whether the words around it say nothing."""
    found = max((m[0].strip() for m in SUM.finditer(text) if _shape(m[0].strip())), key=len, default="")
    left = [w for w in tokens(text.replace(found, " ", 1)) if w not in stop_words()]
    return (found, not left) if found else (text, True)


@lru_cache(maxsize=2000)
def _rewritten(text: str) -> str:
    """The spelling of the catalog: `‖`, `²`, `ᵀ`, no commands of LaTeX."""
    text = text[:LONGEST].strip().strip("$").strip("?.! ")
    for pattern, instead in REWRITTEN:
        text = re.sub(pattern, instead, text)
    text = re.sub(rf"\(\s*({NAME})\s*\)(?=_|\[|²|‖)", r"\1", text)
    text = re.sub(r"_\{([\w., ]*:[\w., :]*|i|j|k|h)\}", r"[\1]", text)
    text = re.sub(r"_\{([\w.]+)\}", r"_\1", text)
    text = re.sub(r"(?<![A-Za-z_])([A-Z])\1(?=ᵀ)", r"\1 \1", text)  # VVᵀ
    text = re.sub(r"(?<![\w.])([A-Z])ᵀ(?=[A-Z](?![\w.]))", r"\1ᵀ ", text)  # QᵀQ
    return re.sub(r"\s+", " ", text).strip()


def _plain(text: str) -> str:
    return _solid(_rewritten(text))


def _solid(text: str) -> str:
    return re.sub(r"\s", "", text)


@lru_cache(maxsize=2000)
def _shape(text: str) -> Shape | None:
    """Its terms without names, in order, the first positive; None for what is no such sum."""
    terms: list[tuple[str, ...]] = []
    at = 0
    while at < len(text):
        sign = re.compile(r"\s*([+-]?)\s*").match(text, at)
        assert sign is not None
        if at and not sign[1]:
            return None
        found = TERM.match(text, sign.end())
        kind = None if found is None else _kind(found)
        if found is None or kind is None:
            return None
        terms.append((sign[1] or "+", found["times"] or "1", *kind))
        at = found.end()
        if not text[at:].strip():
            break
    if not terms:
        return None
    turned = [("-" if t[0] == "+" else "+", *t[1:]) for t in terms]
    return max(tuple(sorted(terms)), tuple(sorted(turned)))


def _kind(term: re.Match[str]) -> tuple[str, str] | None:
    for kind in ("norm", "square"):
        if term[kind]:
            return kind, _side(term[kind])
    same = term["a"] == term["b"] and term["at"] != term["bt"]
    return ("gram", _side(term["a"])) if same else None


def _side(factor: str) -> str:
    """Which entries a factor takes: all, rows or columns by one index, or others."""
    found = re.search(r"\[([^\[\]]*)\]", factor)
    if not found:
        return ""
    index = [part.strip() for part in found[1].split(",")]
    free = [i for i, part in enumerate(index) if part != ":"]
    return {(): "", (0,): "rows", (1,): "columns"}.get(tuple(free), ",".join(index))


def _bare(shape: Shape | None) -> Shape | None:
    """The same without indices and biases."""
    if shape is None:
        return None
    kept = sorted(t[:3] for t in shape if t[2] != "square") or sorted((*t[:2], "norm") for t in shape)
    turned = sorted(("-" if t[0] == "+" else "+", *t[1:]) for t in kept)
    return max(tuple(kept), tuple(turned))
