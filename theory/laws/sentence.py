"""Sentences with signs in them (`η²`, `U_ik`, `e^(∫τ)`) as formulas of LaTeX."""

from __future__ import annotations

import re

from .proof import SIGNS

MATH: dict[str, str] = {s: t for s, t in SIGNS.items() if not s.isascii()}
MATH |= {"α": r"\alpha", "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau", "μ": r"\mu", "φ": r"\varphi", "∫": r"\int"}
MATH |= {"½": r"\frac{1}{2}", "ĝ": r"\hat{g}", "∇": r"\nabla", "³": "^3", "≈": r"\approx", "⊤": r"\top", "Σ": r"\Sigma"}
MATH["Σ_"] = r"\sum"  # with an index it is a sum
RAISED = r"\^\([^()]*\)|\^-?\w+"
LOWERED = r"(?:_[A-Za-z0-9]+)+"
PIECE = re.compile(f"({RAISED}|{LOWERED}|[{''.join(s for s in MATH if len(s) == 1)}])")
PLAIN = {c: rf"\{c}" for c in "_%&#$"} | {"{": "(", "}": ")", "\\": " ", "~": " ", "^": " "}


def sentence(text: str) -> str:
    r"""The sentence for math mode: words in `\text`, signs, indices and exponents as mathematics."""
    out, high = "", False
    pieces = [p for p in PIECE.split(text) if p]
    for piece, after in zip(pieces, [*pieces, ""][1:], strict=True):
        sign = MATH.get(piece + after[:1] if piece == "Σ" else piece, MATH.get(piece, ""))
        if piece[0] == "^" or sign[:1] == "^":
            power = sign[1:] or sentence(piece[1:].removeprefix("(").removesuffix(")"))
            out += ("{}" if high else "") + f"^{{{power}}}"  # no base has two exponents
            high = True
            continue
        high = False
        if sign:
            out += f"{sign} "
        elif PIECE.fullmatch(piece):
            out += f"_{{{_words(piece[1:])}}}"
        else:
            out += rf"\text{{{_words(piece)}}}"
    return out.strip()


def _words(text: str) -> str:
    return "".join(PLAIN.get(c, c) for c in text)
