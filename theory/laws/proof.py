"""A proof: a tree of theorem applications whose hypotheses can be checked again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

SHOWN = 10  # steps that are printed below one


@dataclass(frozen=True)
class Proof:
    """One application of a theorem.

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

    def text(self, indent: int = 0) -> str:
        """The tree as indented text; long lists of steps are cut and say so."""
        pad = "  " * indent
        lines = [f"{pad}{self.theorem}: {self.claim}" + (f"  [{self.source}]" if self.source else "")]
        lines += [step.text(indent + 1) for step in self.steps[:SHOWN]]
        if len(self.steps) > SHOWN:
            lines.append(f"{pad}  ... and {len(self.steps) - SHOWN} more steps")
        return "\n".join(lines)

    def latex(self) -> str:
        r"""The tree as nested LaTeX lists."""
        source = rf" \emph{{({_escape(self.source)})}}" if self.source else ""
        head = rf"\textbf{{{_escape(self.theorem)}}}: {_escape(self.claim)}{source}"
        if not self.steps:
            return head
        items = "\n".join(rf"\item {s.latex()}" for s in self.steps)
        return head + "\n\\begin{itemize}\n" + items + "\n\\end{itemize}"

    def __str__(self) -> str:
        return self.text()


def _escape(text: str) -> str:
    table = {"_": r"\_", "^": r"\^{}", "&": r"\&", "#": r"\#", "%": r"\%", "{": r"\{", "}": r"\}", "~": r"\~{}"}
    return "".join(table.get(c, c) for c in text)
