"""A proof: a tree of theorem applications whose hypotheses can be checked again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..arguments import plural
from ..typed import typed_methods

SHOWN = 10  # steps that are printed below one


@typed_methods(leave=("__init__",))
@dataclass(frozen=True, repr=False)
class Proof:
    """One application of a theorem.

    A pickled one has its whole text; its hypotheses were checked in the process that derived it and are not again.

    Attributes:
        theorem: name of the theorem or rule.
        claim: what it gives here.
        source: where it is from, empty for the definitions of this library.
        steps: the applications it rests on.
        check: tests its hypotheses again; None where it has none of its own.
    """

    theorem: str
    claim: str
    source: str = ""
    steps: tuple[Proof, ...] = ()
    check: Callable[[], bool] | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Proof, (self.theorem, self.claim, self.source, self.steps)

    def __deepcopy__(self, memo: object) -> Proof:
        return self  # nothing of it changes

    def walk(self) -> Iterator[Proof]:
        """The step and all steps below it, from the leaves up."""
        for step in self.steps:
            yield from step.walk()
        yield self

    def recheck(self) -> list[tuple[Proof, bool]]:
        """Tests every hypothesis again; one entry for each step that has one."""
        return [(step, step.check()) for step in self.walk() if step.check is not None]

    @property
    def holds(self) -> bool:
        """Whether every hypothesis passes its check again, and there is at least one."""
        results = self.recheck()
        return bool(results) and all(ok for _, ok in results)

    @property
    def text(self) -> str:
        """The whole tree as indented text."""
        return self._text(0, None)

    def _text(self, indent: int, most: int | None) -> str:
        pad = "  " * indent
        lines = [f"{pad}{self.theorem}: {self.claim}" + (f"  [{self.source}]" if self.source else "")]
        shown = self.steps[:most]
        lines += [step._text(indent + 1, most) for step in shown]
        if len(shown) < len(self.steps):
            lines.append(f"{pad}  ... and {plural(len(self.steps) - len(shown), 'more step')}")
        return "\n".join(lines)

    @property
    def short(self) -> str:
        """The tree as indented text; long lists of steps are cut and say so."""
        return self._text(0, SHOWN)

    @property
    def latex(self) -> str:
        r"""The whole tree as nested LaTeX lists, for a document with amsmath and amssymb; letters are ASCII."""
        source = rf" \emph{{({escaped(self.source)})}}" if self.source else ""
        head = rf"\textbf{{{escaped(self.theorem)}}}: {escaped(self.claim)}{source}"
        if not self.steps:
            return head
        items = "\n".join(rf"\item {s.latex}" for s in self.steps)
        return head + "\n\\begin{itemize}\n" + items + "\n\\end{itemize}"

    def _repr_html_(self) -> str:
        from html import escape

        source = f" <em>({escape(self.source)})</em>" if self.source else ""
        steps = "".join(f"<li>{step._repr_html_()}</li>" for step in self.steps)
        return f"<b>{escape(self.theorem)}</b>: {escape(self.claim)}{source}" + (f"<ul>{steps}</ul>" if steps else "")

    def _repr_latex_(self) -> str:
        return self.latex

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Proof by {self.theorem}: {plural(len(list(self.walk())), 'step')}; print it for the whole>"


GREEK_NAMES = (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma tau "
    "upsilon varphi chi psi omega"
)
GREEK_SIGNS = {chr(ord("α") + i): rf"\{name}" for i, name in enumerate(GREEK_NAMES.split()) if name != "omicron"}
SIGNS = {
    **{"‖": r"\|", "²": "^2", "ᵀ": r"^\top", "Σ": r"\sum", "√": r"\surd", "≤": r"\le", "≥": r"\ge", "∞": r"\infty"},
    **{"×": r"\times", "·": r"\cdot", "→": r"\to", "≠": r"\neq", "⟨": r"\langle", "⟩": r"\rangle", "∈": r"\in"},
    **GREEK_SIGNS,
    **{"<": "<", ">": ">", "|": "|", "*": "*", "=": "="},
}
GREEK = ("beta", "gamma")
INDEXED = r"(?<![\w.\\])(?:xi|[A-Za-z])_[A-Za-z0-9]+(?![\w.(])"
LETTER = rf"(?<![\w.\\])(?:{'|'.join(GREEK)})(?![\w.(])"
LETTERS = {"_": r"\_", "^": r"\^{}", "&": r"\&", "#": r"\#", "%": r"\%", "{": r"\{", "}": r"\}", "~": r"\~{}"}
LETTERS |= {"$": r"\$"}
LETTERS |= {"\\": r"\textbackslash{}", "é": r"\'e", "è": r"\`e", "ö": r"\"o", "ü": r"\"u", "ä": r"\"a"}
LETTERS |= {"…": r"\dots{}"}
LETTERS |= {"–": "--", "—": "---", "’": "'"}


def escaped(text: str) -> str:
    """Plain text for LaTeX; signs, letters with an index (`S_in`), and exponents (`^T`, `^2`) become formulas."""
    return "".join(_piece(p) for p in re.split(rf"(\^(?:T|-?\d+)|{INDEXED}|{LETTER})", text))


def _piece(text: str) -> str:
    if len(text) > 1 and text.startswith("^"):
        power = r"\top" if text == "^T" else text[1:]
        return rf"\ensuremath{{^{{{power}}}}}"
    if text in GREEK:
        return rf"\ensuremath{{\{text}}}"
    if re.fullmatch(INDEXED, text):
        letter, _, index = text.partition("_")
        letter = rf"\{letter}" if len(letter) > 1 else letter
        index = index if len(index) == 1 else rf"\{index}" if index in GREEK else rf"\mathrm{{{index}}}"
        return rf"\ensuremath{{{letter}_{{{index}}}}}"
    return "".join(
        rf"\ensuremath{{{SIGNS[c]}}}" if c in SIGNS else LETTERS.get(c, c if c.isascii() else "?") for c in text
    )
