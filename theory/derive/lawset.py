"""The answer to a derivation: the laws of one network, how many of them are independent, and what may be missing."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from ..arguments import ArgumentError, expect_counted, expect_text, misfit, of_a_file, plural, shown
from ..inputs import inputs_of
from ..laws.law import Law
from ..laws.named import Named
from ..laws.notes import Fact, facts, gaps, once
from ..laws.pages import formula, lines, table
from ..parts import base
from ..typed import typed, typed_methods

if TYPE_CHECKING:
    from ..oracle.verification import Report


FORMAT = "lawful-laws 1"
KINDS = ("balance", "shift", "frozen")
SHOWN = 20  # laws that are printed before the list is cut
FIELDS = {
    "loss": str,
    "parameters": int,
    "independent": int,
    "exact_independent": int,
    "notes": tuple[str, ...],
    "facts": tuple[str, ...],
    "axes": tuple[int | None, ...],
    "laws": tuple[dict[str, Any], ...],
}


@typed_methods(skip=("loss", "independent", "exact_independent", "parameters"))  # counts know no bounds
class LawSet(Named[Law]):
    """The laws of one network under one loss.

    Attributes:
        independent: number of independent scalar laws at a generic point.
        exact_independent: the same for the laws that hold exactly (without those up to an epsilon).
        loss: the loss they were derived for.
        parameters: number of trainable scalars.
        notes: what may be missing, for example behind an opaque block, and facts that a reader should know.  For small
            modules they are completed when they are first read, since this takes as long as a derivation (see `noted`).
        axes: of a traced module, the axis of the classes in each of its outputs, None where they fill none; else empty.
        evaluated: names of the parts of a traced module that were in evaluation mode; None where that is not known.
    """

    axes: tuple[int | None, ...] = ()
    evaluated: frozenset[str] | None = None

    def __init__(
        self,
        laws: Sequence[Law],
        independent: int,
        exact_independent: int,
        loss: str,
        parameters: int,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(laws)
        expect_counted("LawSet", independent=independent, exact_independent=exact_independent, parameters=parameters)
        expect_text("LawSet", loss=loss)
        self.independent = independent
        self.exact_independent = exact_independent
        self.loss = loss
        self.parameters = parameters
        self._notes: Sequence[str] | Callable[[], tuple[str, ...]] = tuple(notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What may be missing, and what a reader should know."""
        return self._notes() if callable(self._notes) else tuple(self._notes)

    def noted(self, notes: Sequence[str] | Callable[[], Sequence[str]]) -> LawSet:
        """The same laws with other notes.

        Args:
            notes: them, or what finds them: it is called when they are first read, and at most once.
        """
        out = self._subset(list(self._laws), (self.independent, self.exact_independent))
        out._notes = cache(lambda: tuple(notes())) if callable(notes) else tuple(notes)
        return out

    @property
    def gaps(self) -> tuple[str, ...]:
        """The notes that say where laws may be missing: empty if no limit of the rules was met."""
        return gaps(self.notes)

    @property
    def facts(self) -> tuple[str, ...]:
        """The other notes: what holds for the example's shape only, what was not compared."""
        return facts(self.notes)

    def _subset(self, laws: list[Law], counts: tuple[int, int] | None = None) -> LawSet:
        """Some of the laws, and how many of them are independent where their sum is not."""
        sums = (sum(law.independent for law in laws), sum(law.independent for law in laws if law.exact))
        out = LawSet(laws, *(counts or sums), self.loss, self.parameters)
        out.axes, out.evaluated, out._notes = self.axes, self.evaluated, self._notes
        return out

    def where(
        self,
        *,
        algebra: str | None = None,
        wire: str | None = None,
        exact: bool | None = None,
        kind: str | None = None,
    ) -> LawSet:
        """The laws that match; `algebra` and `wire` match as the beginning of the name.

        Raises:
            ValueError: for a kind that no law can have, and an algebra that looks like one here and is none.
        """
        if kind is not None and kind not in KINDS:
            raise ArgumentError(f"no kind of laws is called {kind!r}; there are {', '.join(KINDS)}")
        names = {law.algebra.partition("(")[0] for law in self._laws}
        near = difflib.get_close_matches(algebra.partition("(")[0], names, 1, 0.8) if algebra else []
        if algebra and near and not any(n.startswith(algebra.partition("(")[0]) for n in names):
            raise ArgumentError(f"no algebra {algebra!r}; did you mean {near[0]}?")
        return self._subset(
            [
                law
                for law in self._laws
                if (algebra is None or law.algebra.startswith(algebra))
                and (wire is None or law.wire.startswith(wire))
                and (exact is None or law.exact == exact)
                and (kind is None or law.kind == kind)
            ]
        )

    @typed()
    def on(self, parameters: Sequence[str] | str) -> LawSet:
        """The laws that depend only on these parameters (names, or a prefix of names): the submodule theorem.

        Source: Marcotte, Gribonval, Peyré 2025, theorem 4.6.
        """
        if isinstance(parameters, str):
            return self._subset([w for w in self._laws if all(p.startswith(parameters) for p in w.parameters)])
        allowed = set(parameters)
        return self._subset([w for w in self._laws if all(allowed & {p, base(p)} for p in w.parameters)])

    def without(self, laws: Sequence[Law], notes: Sequence[str]) -> LawSet:
        """All laws but these, with further notes that say why."""
        kept = [w for w in self._laws if w not in laws]
        lost = sum(w.independent for w in laws)
        lost_exact = sum(w.independent for w in laws if w.exact)
        out = self._subset(kept, (self.independent - lost, self.exact_independent - lost_exact))
        return out.noted(lambda: (*self.notes, *notes)) if notes else out

    def verify(self, network: object, **options: Any) -> Report:
        """Checks every law by gradients in float64 (see `verification.verify` for the options).

        Args:
            network: an architecture, or a module with `args=(example inputs,)`.
            **options: `args`, `samples`, `seed`, `tolerance`, `axis`.
        """
        from ..oracle.verification import verify

        inputs = inputs_of("verify", options.pop("args", ()), options.pop("kwargs", None))
        return verify(self, network, self.loss, args=inputs[0], kwargs=inputs[1], **options)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """The laws as plain data for JSON, without their proofs; `from_dict` reads it."""
        return {
            "format": FORMAT,
            "loss": self.loss,
            "parameters": self.parameters,
            "count": self.count,
            "independent": self.independent,
            "exact_independent": self.exact_independent,
            "notes": list(self.notes),
            "facts": list(self.facts),
            "axes": list(self.axes),
            "laws": [law.to_dict() for law in self._laws],
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict())

    @staticmethod
    def from_dict(data: object) -> LawSet:
        """Laws from what `to_dict` made; they can be evaluated and verified, their proofs not be checked again.

        Raises:
            ValueError: for data that are no laws; names the place.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise ArgumentError(f"the data are {shown(data)}, expected what LawSet.to_dict made, of format {FORMAT!r}")
        found: dict[str, Any] = {}
        for name, hint in FIELDS.items():
            value = tuple(data[name]) if isinstance(data.get(name), list) else data.get(name)
            if wrong := misfit(value, hint, -8 if name == "axes" else 0):
                raise ArgumentError(f"{name} is {shown(value)}, expected {wrong}; write it with LawSet.to_dict")
            found[name] = value
        laws = [Law.from_dict(law, f"laws[{i}]") for i, law in enumerate(found.pop("laws"))]
        axes, known = found.pop("axes"), found.pop("facts")
        found["notes"] = tuple(Fact(n) if n in known else n for n in found["notes"])
        out = LawSet(laws, **found)
        out.axes = axes
        return out

    @staticmethod
    def from_json(text: str) -> LawSet:
        """Laws from what `to_json` made.

        Raises:
            ValueError: for text that is none; names the place.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            why = of_a_file(text) or f"the text is no JSON ({error}); write it with LawSet.to_json"
            raise ArgumentError(why) from error
        return LawSet.from_dict(data)

    def to_pandas(self) -> Any:
        """A pandas table with one row for every family.

        Raises:
            ImportError: without pandas.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise ImportError("a table needs pandas, which is not installed; pip install pandas") from error
        columns = ("name", "kind", "wire", "algebra", "count", "independent", "exact", "text", "latex")
        rows = [{c: getattr(law, c) for c in columns} for law in self._laws]
        return pandas.DataFrame(rows, columns=list(columns))

    def __eq__(self, other: object) -> bool:
        """Whether another one has the same laws in the same order, with the same counts, under the same loss."""
        return isinstance(other, LawSet) and (self is other or self._identity() == other._identity())

    def __hash__(self) -> int:
        return hash((self.loss, self.parameters, self.independent, *(law.name for law in self._laws)))

    def _identity(self) -> tuple[Any, ...]:
        counts = (self.loss, self.parameters, self.independent, self.exact_independent)
        return (*counts, [law.to_dict() for law in self._laws])

    def __reduce__(self) -> tuple[Any, ...]:
        return LawSet.from_dict, (self.to_dict(),)

    def _repr_html_(self) -> str:
        rows = (
            (escape(w.name), escape(w.algebra), f"{w.count:,}", "yes" if w.exact else "up to ε", formula(w.short_latex))
            for w in self._laws
        )
        head = ("law", "indexed by", "scalars", "exact", "what is conserved")
        scalars, families = plural(self.count, "scalar law"), plural(len(self), "family", "families")
        caption = f"{scalars} in {families}, {self.independent:,} independent, {self.loss}"
        return table(head, rows, caption) + lines(once(self.notes))

    @property
    def text(self) -> str:
        """Every law whole, in plain text, one a line: its name and what is conserved."""
        return "\n".join(f"{law.name}: {law.text}" for law in self._laws)

    @property
    def latex(self) -> str:
        """Every law whole, in LaTeX, one a row of an `aligned` environment, without delimiters; it needs amsmath."""
        rows = " \\\\\n".join(f"&{law.latex}" for law in self._laws)
        return f"\\begin{{aligned}}\n{rows}\n\\end{{aligned}}" if rows else ""

    def _repr_latex_(self) -> str:
        """The laws in LaTeX, long sums cut, for what has no HTML: a notebook that becomes a paper."""
        rows = " \\\\\n".join(f"&{law.short_latex}" for law in self._laws)
        return f"$\\displaystyle \\begin{{aligned}}\n{rows}\n\\end{{aligned}}$" if rows else ""

    def _size(self) -> str:
        families = plural(len(self), "family", "families")
        notes = f", {plural(len(once(self.notes)), 'note')}" if self.notes else ""
        return (
            f"{families}, {plural(self.count, 'scalar law')}, {self.independent} independent, loss {self.loss}{notes}"
        )

    def __str__(self) -> str:
        """The size of the set, its laws, a line each, and its notes; what is cut says how much."""
        lines = [f"{law.name}: {law.short}" for law in self._laws[:SHOWN]]
        if len(self) > SHOWN:
            lines.append(f"... and {len(self) - SHOWN} more; .text has all")
        notes = once(self.notes)
        lines += [f"note: {note}" for note in notes[:SHOWN]]
        if len(notes) > SHOWN:
            lines.append(f"... and {plural(len(notes) - SHOWN, 'more note')}; .notes has all")
        if not self and not self.gaps:
            lines.append(
                "no law was derived, and no limit of the rules is known: lw.check counts whether one is missing"
            )
        return "\n".join([self._size(), *(f"  {line}" for line in lines)])

    def __repr__(self) -> str:
        return f"<LawSet: {self._size()}>"
