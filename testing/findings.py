"""What a test of a module found, as an object and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lawful.theory.arguments import plural
from lawful.theory.laws.pages import Printed
from lawful.theory.verdict import Verdict

from .witness.judge import DERIVATIVE, LAWS, REACH, REFERENCE, ParameterFinding
from .witness.resemblance import share
from .witness.stops import COMMENT
from .witness.tape import Stop
from .witness.where import Fault

WITNESSES = (LAWS, REFERENCE, DERIVATIVE, REACH)
LONGEST = 25  # lines of a message
WIDEST = 200  # letters of a line


@dataclass(frozen=True)
class LawFinding:
    """What was measured for one family of laws.

    Attributes:
        law: its name.
        verdict: `HOLDS`, `VIOLATED`, `VACUOUS` if nothing that it reads moved, or `UNDECIDED`.
        residual: largest change of a scalar along a gradient, relative to its terms, without what an epsilon explains.
        tested: how many of its scalars moved.
        scalars: how many it has.
        parameters: what it reads.
        reason: why it is no pass.
        sized: those of the parameters whose gradient, times a number, would break it.
        felt: those whose gradient it weighs at all: a law of one parameter sees directions of it only, and what a
            balance weighs with a parameter that is zero it does not see.
    """

    law: str
    verdict: Verdict
    residual: float
    tested: int
    scalars: int
    parameters: tuple[str, ...]
    reason: str = ""
    sized: tuple[str, ...] = ()
    felt: tuple[str, ...] = ()


@dataclass(repr=False)
class Findings(Printed):
    """The outcome of `assert_lawful` and `assert_step_lawful` on a module.

    Attributes:
        model: the name of its class.
        parameters: what is known about the gradient of each trainable parameter.
        laws: what was measured for each family of laws.
        fault: the first wrong place, walking backwards.
        notes: what else is to be known: laws that were not derived, straight-through estimators.
        allowed: parameters that may be without a witness.
        seconds: how long it took.
        vacuous: why laws that were given say nothing.
        silent: parameters of a step that nothing is known of; they may be wrong.
        halved: of a step, parameters that laws judge in part: their gradient times a number would break none.
        stale: what is to be said about exceptions that except nothing.
    """

    model: str
    parameters: dict[str, ParameterFinding]
    laws: tuple[LawFinding, ...] = ()
    fault: Fault | None = None
    notes: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()
    seconds: float = 0.0
    vacuous: str = ""
    silent: tuple[str, ...] = ()
    halved: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()

    @property
    def wrong(self) -> list[ParameterFinding]:
        """Parameters that a witness speaks against."""
        return [p for p in self.parameters.values() if p.against]

    @property
    def stopped(self) -> list[ParameterFinding]:
        """Parameters that lack a part of their gradient where gradients stop, which may be meant."""
        found = [p for p in self.parameters.values() if p.stops and not p.against]
        return [p for p in found if not (p.missing and self._excepted(p.name))]

    @property
    def stops(self) -> list[Stop]:
        """Where the gradients of those stop."""
        return list(dict.fromkeys(s for p in self.stopped for s in p.stops))

    @property
    def untested(self) -> list[ParameterFinding]:
        """Parameters without a witness that nobody excepted."""
        return [p for p in self.parameters.values() if not p.known and not self._excepted(p.name)]

    def _excepted(self, name: str) -> bool:
        return any(_fits(name, a) for a in self.allowed)

    @property
    def violated(self) -> list[LawFinding]:
        """Laws that a gradient moves."""
        return [r for r in self.laws if r.verdict is Verdict.VIOLATED]

    @property
    def verdict(self) -> Verdict:
        """`HOLDS`, `VIOLATED` if a witness contradicts, or `VACUOUS` if a parameter has none.

        `UNDECIDED` where gradients stop, and that may be meant.
        """
        if self.wrong or self.violated:
            return Verdict.VIOLATED
        if self.stopped:
            return Verdict.UNDECIDED
        return Verdict.VACUOUS if self.untested or not self.parameters or self.vacuous else Verdict.HOLDS

    @property
    def residual(self) -> float:
        """The largest residual of a law that holds."""
        return max((r.residual for r in self.laws if r.verdict is Verdict.HOLDS), default=0.0)

    @property
    def gist(self) -> str:
        """The verdict on the gradients of the model."""
        return f"{self.model}: {self.verdict}"

    @property
    def row(self) -> str:
        """One line for a summary."""
        scalars, tested = sum(r.scalars for r in self.laws), sum(r.tested for r in self.laws)
        known = sum(p.known for p in self.parameters.values())
        return (
            f"{self.model}: {self.verdict}, {tested} of {scalars} scalar laws exercised, {known} parameters with a "
            f"witness, {len(self.parameters) - known} without, {self.seconds:.1f} s"
        )

    @property
    def partial(self) -> str:
        """Of a step that only a part of the parameters was judged in: which; empty if all were, or if more is wrong."""
        if not (self.silent or self.halved) or self.verdict is not Verdict.HOLDS:
            return ""
        right = len(self.parameters) - len(self.silent) - len(self.halved)
        text = f"{self.model}: the gradients of {right} of {plural(len(self.parameters), 'parameter')} are right"
        if self.halved:
            text += f"; up to a factor, so are those of {_some(self.halved)}"
        return text + (f"; no law and no reference decides on {_some(self.silent)}" if self.silent else "")

    @property
    def explained(self) -> list[tuple[str, ...]]:
        """The fewest parameters whose gradients explain all broken laws: of each group one is enough."""
        kept = {n for r in self.laws if r.verdict.passed for n in r.sized}
        read = [set(self._read(r)) for r in self.violated]
        left, found = [names - kept or names for names in read], []
        while left := [names for names in left if names]:
            counts = {n: sum(n in names for names in left) for names in left for n in names}
            group = tuple(n for n in self.parameters if counts.get(n) == max(counts.values()))
            found.append(group)
            left = [names for names in left if names.isdisjoint(group)]
        return found

    def _read(self, law: LawFinding) -> list[str]:
        """The parameters of a broken law that only laws speak against."""
        return [n for n in law.parameters if n in self.parameters and set(self.parameters[n].against) == {LAWS}]

    def __getitem__(self, law: str) -> LawFinding:
        for r in self.laws:
            if r.law == law:
                return r
        raise KeyError(f"no law named {law!r} was tested")

    def vouched(self, witness: str) -> list[str]:
        """Names of the parameters that a witness vouches for: `"laws"`, `"reference"`, `"derivative"`, `"reach"`.

        Raises:
            ValueError: for another witness.
        """
        if witness not in WITNESSES:
            raise ValueError(f"there is no witness {witness!r}; there are {', '.join(WITNESSES)}")
        return [p.name for p in self.parameters.values() if witness in p.vouched]

    def __str__(self) -> str:
        return "\n".join(line[:WIDEST] for line in self._lines())

    def _lines(self) -> list[str]:
        wrong, untested = self.wrong, self.untested
        if self.violated and not wrong:
            some = f"{len(self.violated)} of {plural(len(self.laws), 'law')}"
            lines = [f"{self.model}: {some} {'is' if len(self.violated) == 1 else 'are'} broken"]
        elif wrong:
            groups = self.explained
            named = {n for group in groups for n in group}
            meant = [p for p in wrong if set(p.against) != {LAWS} or p.name in named]
            least = len(meant) - len(named) + len(groups)
            count = f"{'at least ' * (least < len(wrong))}{least} of {plural(len(self.parameters), 'parameter')}"
            lines = [f"{self.model}: wrong gradients ({count})"]
        elif self.stopped:
            lines = [f"{self.model}: {self._asked()}"]
        elif self.vacuous:
            lines = [f"{self.model}: {self.vacuous}"]
        elif untested:
            some = f"{len(untested)} of {plural(len(self.parameters), 'trainable parameter')}"
            lines = [f"{self.model}: {some} {'has' if len(untested) == 1 else 'have'} no witness"]
        elif self.partial:
            lines = [self.partial]
        else:
            lines = [f"{self.model}: the gradients of {plural(len(self.parameters), 'parameter')} are right"]
        if self.fault is not None:
            lines += [
                f"  where:      {self.fault.place}",
                f"  operation:  {self.fault.operation}, for {self.fault.toward}",
                f"  it seems:   {self.fault.guess}",
            ]
            if self.fault.written:
                lines.insert(-1, f"  written at: {self.fault.written}")
            if self.fault.operator:
                what = f"by_design=[{self.fault.operator!r}]"
                lines.append(f"  if meant:   an operator that is there to change gradients is declared: {what}")
        if stops := self.stops:
            lines += _cut([f"  stopped by: {s}" for s in stops], 6, "places where gradients stop")
            names = ", ".join(dict.fromkeys(repr(s.name) for s in stops))
            lines.append(f'  if meant:   pass by_design=[{names}], or write "# {COMMENT}" on the line')
        lines += self._accused()
        few = sorted(self.stopped, key=lambda p: -p.error)
        lines += _cut([_row(p) for p in few], 4 if wrong else 8, "parameters that lack a part of their gradient")
        lines += _cut(
            [f"  law broken: {r.law} (by {r.residual:.1e} of its terms) {r.reason}".rstrip() for r in self.violated],
            4,
            "broken laws",
        )
        silent = _by_module(untested, self.parameters)
        rows = [f"  no witness: {_counted(n, k)}: {why}" for n, (k, why) in silent.items()]
        lines += _cut(rows, 6, "without a witness")
        if untested:
            names = ", ".join(map(repr, [*silent][:2]))
            lines.append(f"  if that is meant: allow_untested=[{names}{', ...' if len(silent) > 2 else ''}]")
        lines.append("  witnesses:  " + "; ".join(self._witnesses()))
        lines += _cut(
            [f"  note:       {n}" for n in (*self.notes, *self.stale)], max(1, LONGEST - len(lines) - 1), "notes"
        )
        return lines[:LONGEST]

    def _accused(self) -> list[str]:
        """The parameters that are wrong; of those that only laws speak against, the fewest that explain these."""
        rows = [_row(p) for p in sorted(self.wrong, key=lambda p: -p.error) if set(p.against) != {LAWS}]
        groups = self.explained
        for group in groups:
            laws = [r.law for r in self.violated if not set(group).isdisjoint(r.parameters)]
            which = f"one of {_some(group)}" if len(group) > 1 else group[0]
            rows.append(f"  parameter:  {which}: {LAWS}: enough to break {_some(laws)}")
        named = {n for group in groups for n in group}
        others = [p.name for p in self.wrong if set(p.against) == {LAWS} and p.name not in named]
        found = _cut(rows, 8, "wrong parameters")
        return found + [f"  or several: of the broken laws' other parameters, {_some(others)}"] * bool(others)

    def _asked(self) -> str:
        """The question whether stopped gradients are meant."""
        missing, every = sum(p.missing for p in self.stopped), plural(len(self.parameters), "parameter")
        partly = len(self.stopped) - missing
        some = [f"a part is missing in {partly} of {every}"] * bool(partly)
        some += [f"all of it in {missing} of {every}"] * bool(missing)
        where = plural(len(self.stops), "place")
        return f"gradients stop at {where}: {', '.join(some)}; is that meant? Nothing else is wrong"

    def _witnesses(self) -> list[str]:
        found = [f"{w} {len(self.vouched(w))}/{len(self.parameters)}" for w in WITNESSES]
        scalars, tested = sum(r.scalars for r in self.laws), sum(r.tested for r in self.laws)
        return [*found, f"{tested} of {scalars} scalar laws exercised"]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + f" and {len(names) - 6} more" * (len(names) > 6)


def _row(p: ParameterFinding) -> str:
    size = "" if not p.error else f" (off by {p.error:.1e})" if p.error < 1e6 else ""
    if p.stops and not p.against:
        part = f"what is stopped is {share(p.error)} its size"
        return f"  parameter:  {p.name}: {REACH}: {'it gets no gradient' if p.missing else part}"
    return f"  parameter:  {p.name}{size}: " + "; ".join(f"{w}: {text}" for w, text in p.against.items())


def _by_module(untested: Sequence[ParameterFinding], every: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Parameters without a witness, and whole modules of them: how many there are, and why."""
    why = {p.name: p.untested or "whether its gradient is right could not be measured" for p in untested}
    members: dict[str, list[str]] = {}
    for name in every:
        parts = name.split(".")
        for i in range(1, len(parts)):
            members.setdefault(".".join(parts[:i]), []).append(name)
    found: dict[str, tuple[int, str]] = {}
    for name, reason in why.items():
        parts = name.split(".")
        above = (".".join(parts[:i]) for i in range(1, len(parts)))
        whole = next((m for m in above if len(members[m]) > 1 and all(why.get(n) == reason for n in members[m])), name)
        found[whole] = (len(members.get(whole, [name])), reason)
    return found


def _counted(name: str, count: int) -> str:
    return name if count == 1 else f"{name} (all {count} parameters)"


def _cut(lines: Sequence[str], most: int, what: str) -> list[str]:
    rest = len(lines) - most
    return list(lines) if rest <= 0 else [*lines[:most], f"  ... and {rest} more {what}"]


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(f"{pattern}.")


__all__ = ["WITNESSES", "Findings", "LawFinding"]
