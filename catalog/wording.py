"""Statements in the words of the field: `Q Qᵀ - K Kᵀ` for `heads.q.weight @ heads.q.weight.T - ...`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from lawful.theory.laws.proof import GREEK_SIGNS

TEXT = {"q": "Q", "k": "K", "v": "V", "qkv": "W_QKV", "kv": "W_KV", "router": "W_router", "head": "W_head"}
OWNERS = {
    "up": "W_up", "gate": "W_gate", "down": "W_down", "stem": "W_stem", "patch": "W_patch", "fc1": "W_1", "fc2": "W_2",
    "E": "E", "P": "P", "table": "T", "token": "E_token", "position": "P", "proj": "W", "logits": "W_router",
}  # fmt: skip
PLAIN = ("weight", "bias")
PASS = ("proj", "affine", "core", "direction", "branch", "heads", "weights", "logits", "table")


def field_text(text: str, parameters: Sequence[str]) -> str:
    """A statement in plain text with short symbols for the parameters."""
    names = symbols(tuple(parameters))
    known = "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True))
    if known:
        text = re.sub(rf"(?<![\w.])({known})(?!\w)", lambda m: names[m[1]], text)
    return text.replace(" @ ", " ").replace(".T", "ᵀ")


def field_latex(latex: str, parameters: Sequence[str]) -> str:
    """The same for LaTeX."""
    for name, symbol in symbols(tuple(parameters)).items():
        owner, _, local = name.rpartition(".")
        letters = {"bias": r"b|\\beta", "weight": r"W|\\gamma|E"}.get(local)
        if letters and owner:
            written = re.escape(owner.replace("_", r"\_"))
            new = symbol_latex(symbol).replace("\\", "\\\\")
            latex = re.sub(rf"(?:{letters})_\{{\\mathrm\{{{written}\}}\}}", new, latex)
    return latex


def symbol_latex(symbol: str) -> str:
    r"""`W_up` as `W_{\mathrm{up}}`, `γ(q)` as `\gamma(q)`."""
    head, _, tail = symbol.partition("_")
    head = "".join(GREEK_SIGNS.get(c, c) for c in head)
    if not tail:
        return head
    tail = tail.replace("_", r"\_")
    return rf"{head}_{{{tail}}}" if len(tail) == 1 else rf"{head}_{{\mathrm{{{tail}}}}}"


@cache
def symbols(parameters: tuple[str, ...]) -> dict[str, str]:
    """A short symbol for each parameter, two for no two; the name itself where no short one is free."""
    for depth in range(4):
        found = {p: _symbol(p, depth, parameters) for p in parameters}
        if len(set(found.values())) == len(found):
            return found
    return {p: p for p in parameters}


def _symbol(name: str, depth: int, parameters: Sequence[str]) -> str:
    parts = name.split(".")
    owner, local = parts[:-1], parts[-1]
    if not owner:
        return name
    gain = owner[-1] in ("affine", "norm", "gain", "scale") and local in PLAIN
    telling = [p for p in owner if p not in PASS and not p.isdigit()] or owner[-1:]
    last = telling[-1]
    attention = "heads" in owner or any(p.rpartition(".")[0].endswith(("heads.v", ".v")) for p in parameters)
    if gain:
        base = "γ" if local == "weight" else "β"
        context = [p for p in telling if p not in ("norm", "gain", "scale")]
    elif last in ("out", "o") and attention:
        base, context = ("O" if local == "weight" else "b_O"), telling[:-1]
    else:
        symbol = TEXT.get(last) or OWNERS.get(last) or (last if len(last) == 1 and last.isalpha() else f"W_{last}")
        base = {"weight": symbol, "bias": f"b_{symbol.removeprefix('W_')}"}.get(local, f"{symbol}.{local}")
        context = telling[:-1]
    if not depth:
        return base
    more = ".".join((context or owner)[-depth:])
    numbers = ".".join(p for p in owner if p.isdigit())
    tag = ",".join(t for t in (more, numbers) if t)
    return f"{base}({tag})" if tag else base


def symmetry_of(kind: str, algebra: str, statement: str) -> str:
    """The symmetry behind a law, in the words of the field."""
    if kind == "frozen":
        return "none of the outputs sees this parameter: every translation of it is a symmetry"
    if kind == "shift":
        return "translation: the loss does not see a shift of these parameters along a fixed direction"
    if kind != "balance":
        return ""
    if "Full" in algebra or "cross" in algebra.lower():
        return "change of basis: any invertible matrix on the inner wire, undone by its reader (GL(n))"
    if "Skew" in algebra:
        return "complex change of basis: phases and mixing of complex features, undone by their reader (GL(n, C))"
    one_sided = " - " not in statement and not statement.startswith("-")
    if one_sided:
        return "scale invariance: the output does not see the size of these parameters"
    if "Scalar" in algebra:
        return "rescaling of the whole wire by one factor, undone by its readers"
    return "rescaling: each neuron or channel times a positive factor, undone by its readers (positive homogeneity)"
