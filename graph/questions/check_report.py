"""What `check` found, and of which network each sentence is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lawful.theory.arguments import of_right_kinds, plural
from lawful.theory.derive.lawset import LawSet
from lawful.theory.laws.law import Law
from lawful.theory.laws.notes import once
from lawful.theory.laws.pages import lines
from lawful.theory.oracle.counting import SMALLER, Count
from lawful.theory.oracle.verification import LawReport, Report
from lawful.theory.verdict import Verdict

from ..architecture.architecture import Architecture
from ..architecture.footprint import FEW, longest
from ..architecture.shrinking.likeness import agreement

MOST = 3  # laws that are named one by one where they fail


@dataclass(frozen=True)
class Subject:
    """The network that is counted for another.

    Attributes:
        arch: the network itself or its shrunken copy, with every epsilon read as 0.
        laws: the laws of it.
        copied: whether it is a shrunken copy.
        runs: whether it can be verified and counted.
        reason: why it does not speak for the network; empty if it does.
        name: what it is called where it is not the network itself.
    """

    arch: Architecture
    laws: LawSet
    copied: bool = False
    runs: bool = True
    reason: str = ""
    name: str = "its shrunken copy"


@dataclass(frozen=True, repr=False)
@of_right_kinds
class CheckReport:
    """What was derived, measured and counted for one architecture.

    Attributes:
        arch: the architecture; of a module the one that was traced.
        laws: the laws of it.
        subject: what was counted: the network itself, or a shrunken copy.
        own_report: a verdict for each law of `laws`, None where the network is too large to be verified itself.
        small_report: a verdict for each law of `small_laws`, None where nothing could be counted.
        count: what the oracle says about `small`, None where nothing could be counted.
        rank: numerical rank of the gradients of `small_laws` at a generic point, -1 where it is not clear.
    """

    arch: Architecture
    laws: LawSet
    subject: Subject
    own_report: Report | None = None
    small_report: Report | None = None
    count: Count | None = None
    rank: int = -1

    @property
    def small(self) -> Architecture:
        """What was counted: the network itself or its shrunken copy, with every epsilon read as 0."""
        return self.subject.arch

    @property
    def small_laws(self) -> LawSet:
        """The laws of `small`."""
        return self.subject.laws

    @property
    def copied(self) -> bool:
        """Whether a shrunken copy was counted and not the network itself."""
        return self.subject.copied

    @property
    def verified_on(self) -> Architecture:
        """What `report` is about: the network itself, or its shrunken copy if that alone was verified."""
        return self.arch if self.own_report is not None else self.small

    @property
    def verified_laws(self) -> LawSet:
        """The laws in `report`: those of `verified_on`."""
        return self.laws if self.own_report is not None else self.small_laws

    @property
    def report(self) -> Report:
        """A verdict for every law of `verified_on`; an empty one where nothing could be verified."""
        return self.own_report or self.small_report or Report(())

    @property
    def holds(self) -> bool:
        """Whether every law that was to be verified was; one that is only approximate may miss by its epsilon."""
        small = self.small_report is None or acceptable(self.small_report, self.small_laws)
        return small and acceptable(self.report, self.verified_laws)

    @property
    def decided(self) -> bool:
        """Whether the oracle came to a number."""
        if self.count is None:
            return False
        return self.count.verdict.passed or (self.count.verdict is Verdict.VACUOUS and not self.count.parameters)

    @property
    def difference(self) -> int:
        """How many more laws the oracle counts than were derived."""
        return 0 if self.count is None else self.count.laws - self.small_laws.independent

    @property
    def complete(self) -> bool:
        """Whether all derived laws hold, are independent, and are as many as the oracle counts.

        Of a network whose shrunken copy was counted this is said only where the copy speaks for it.
        """
        equal = self.count is not None and self.count.laws == self.small_laws.independent == self.rank
        return equal and self.decided and self.holds and not self.subject.reason

    @property
    def lawful(self) -> bool:
        """Whether the laws hold and the list is complete.  What is undecided is not lawful."""
        return self.holds and self.complete

    @property
    def findings(self) -> tuple[str, ...]:
        """The limits of the rules that explain why the oracle counts more laws than were derived; empty if none do."""
        return self.small_laws.gaps if self.decided and self.difference > 0 else ()

    @property
    def differs(self) -> bool:
        """Whether the oracle contradicts the list, and no limit of the rules explains it."""
        return self.decided and self.difference != 0 and not self.findings

    @property
    def verdict(self) -> Verdict:
        """`HOLDS` if lawful, `VIOLATED` if a law is false or missing, else `UNDECIDED`.

        Laws that are missing behind a limit that the engine names are a finding, not a violation, and what a copy
        misses that does not speak for the network says nothing about the network.
        """
        if self.lawful:
            return Verdict.HOLDS
        found = {r.verdict for report in (self.own_report, self.small_report) if report for r in report.laws}
        found |= {self.count.verdict} if self.count else set()
        differs = self.differs and not self.subject.reason
        return Verdict.VIOLATED if Verdict.VIOLATED in found or differs else Verdict.UNDECIDED

    @property
    def summary(self) -> str:
        """A few lines for people; each says of which network it is."""
        approximate = sum(not law.exact for law in self.laws)
        text = [
            f"{plural(self.laws.count, 'scalar law')} in {plural(len(self.laws), 'family', 'families')}, "
            f"{self.laws.independent} independent"
            + (f"; {plural(approximate, 'family holds', 'families hold')} up to an epsilon" if approximate else ""),
            *self._verified(),
            *self._counted(),
            *once((*self.laws.notes, *self.findings)),
        ]
        return "\n".join(text)

    @property
    def outcome(self) -> str:
        """The verdict in words; of one that is undecided why it is, where, and what to do."""
        if self.verdict is not Verdict.UNDECIDED:
            return f"verdict: {self.verdict}"
        reasons = list(self._doubts()) or ["the gradients of the laws do not show their number; try another seed"]
        return f"verdict: undecided, because {'; and because '.join(reasons[:MOST])}"

    def _doubts(self) -> Iterator[str]:
        """Everything that keeps the verdict from being another one, each with a way out."""
        reports = {id(r): r for r in (self.own_report, self.small_report) if r is not None}.values()
        open_ = [r for report in reports for r in report.laws if r.verdict in (Verdict.UNDECIDED, Verdict.VACUOUS)]
        if open_:
            more = f" and {len(open_) - 1} more were" if len(open_) > 1 else " was"
            yield f"{open_[0].law}{more} not tested: verify with more samples, or another seed"
        where = self.subject.name if self.copied else self._itself
        if self.count is None:
            yield f"nothing was counted: {self.subject.reason}"
            return
        if not self.decided:
            yield f"the count of {where} is {self.count.verdict}: {self.count.doubt or SMALLER}"
        elif self.findings and self.holds:
            yield (
                f"the list lacks {plural(self.difference, 'law')} that the count sees, for the reason that a note "
                "gives: take the list as it is, for what it says holds, or change the part that the note names"
            )
        elif self.rank != self.count.laws and not self.difference:
            yield f"the gradients of the laws of {where} do not show how many are independent: try another seed"
        if self.subject.reason and self.copied:
            yield f"the copy does not speak for the network ({self.subject.reason}): {SMALLER}"
        elif self.subject.reason:
            yield self.subject.reason

    def __repr__(self) -> str:
        return f"<CheckReport: verdict {self.verdict}; print it for the whole>"

    def __str__(self) -> str:
        return f"{self.summary}\n{self.outcome}"

    def _repr_html_(self) -> str:
        report = self.report._repr_html_() if self.report.laws else ""
        return f"{self.laws._repr_html_()}{lines(str(self).splitlines())}{report}"

    @property
    def _itself(self) -> str:
        return "the traced network" if self.arch.trace is not None else "the network itself"

    def _verified(self) -> Iterator[str]:
        size = sum(p.size for p in self.arch.parameters.values())
        if self.own_report is not None:
            yield f"verified on {self._itself}: {_outcome(self.own_report, self.laws)}"
        elif not self.subject.runs and self.subject.arch is self.arch:
            yield f"not verified on {self._itself}, which does not run by itself"
        else:
            rows = longest(self.arch)
            many = f"{size:,} parameters" + (f" at {rows:,} positions" if rows > FEW else "")
            yield f"not verified on {self._itself}: {many} are too many to take gradients in float64"
        if self.small_report is not None and self.copied:
            copy = sum(p.size for p in self.small.parameters.values())
            outcome = _outcome(self.small_report, self.small_laws)
            yield f"verified on {self.subject.name} of {plural(copy, 'parameter')}: {outcome}"

    def _counted(self) -> Iterator[str]:
        if self.count is None:
            yield f"not counted: {_scalars(self.arch):,} parameters; {self.subject.reason}"
            return
        where = self.subject.name if self.copied else self._itself
        yield (
            f"counted on {where}, {plural(self.count.parameters, 'trainable scalar')}: "
            f"oracle {self.count.laws}, engine {self.small_laws.independent}, "
            f"rank of their gradients {self.rank if self.rank >= 0 else 'unclear'}"
        )
        if not self.decided or self.difference or self.rank != self.count.laws:
            yield self._incomplete()
        else:
            but = ", but for what is named below" if self.laws.gaps else ""
            whose = " for the copy" if self.copied else " for the run on the example" if self.subject.reason else ""
            if self.holds:
                yield f"complete{whose}{but}: no law is missing"
            else:
                wrong = "hold: the list is not correct"
                state = wrong if self.report.verdict is Verdict.VIOLATED else "could be tested"
                yield f"as many laws are counted as were derived, but not all of these {state}"
        if self.subject.reason and not self.copied:
            yield f"undecided for the module: {self.subject.reason}"
        elif self.subject.reason:
            yield f"{self._itself} was not counted, and the copy does not speak for it: {self.subject.reason}"
        elif self.copied:
            yield f"{self._itself} was not counted; the copy speaks for it: {agreement(self.small, self.laws)}"

    def _incomplete(self) -> str:
        assert self.count is not None
        if not self.decided:
            why = self.count.doubt
            return f"undecided: the oracle says {self.count.verdict}{why and f': {why}'}"
        families = ", ".join(f"{law.name} ({law.algebra})" for law in self.small_laws) or "none"
        where = f" in the copy, whose families of laws are {families}" if self.copied else ""
        if self.findings and not self.holds:
            state = "holds" if self.report.verdict is Verdict.VIOLATED else "could be tested"
            return f"not complete, and not all that is listed {state}{where}"
        if self.findings:
            found = f"{plural(self.difference, 'more law')} than {'is' if self.difference == 1 else 'are'} listed"
            return f"correct but not complete: the count sees {found}, for a reason named below{where}"
        if self.difference:
            more = self.difference > 0
            laws = plural(abs(self.difference), "law")
            missing = "is missing" if abs(self.difference) == 1 else "are missing"
            return f"NOT complete: {laws} {missing if more else 'too many'}{where}"
        return f"undecided: the gradients of the laws do not show their number{where}"


def acceptable(report: Report, laws: Sequence[Law]) -> bool:
    """Whether every law was verified; only a law that is marked as approximate may miss by the epsilon of a norm."""
    approximate = {law.name for law in laws if not law.exact}
    missing = {law.name for law in laws} - {r.law for r in report.laws}
    return not missing and all(
        r.verdict.passed or (r.verdict is Verdict.APPROXIMATE and r.law in approximate) for r in report.laws
    )


def _outcome(report: Report, laws: Sequence[Law]) -> str:
    if not acceptable(report, laws):
        bad = [r for r in report.laws if not (r.verdict.passed or r.verdict is Verdict.APPROXIMATE)]
        worst = "; ".join(f"{r.law} is {r.verdict} (residual {r.residual:.1e}){_why(r)}" for r in bad[:MOST])
        more = f"; and {len(bad) - MOST} more" if len(bad) > MOST else ""
        return f"NOT every law: {worst}{more}" if worst else "NOT every law: some were not measured"
    if not laws:
        return "there is no law to verify"
    return f"every law, largest residual of an exact law {report.residual:.1e}"


def _why(report: LawReport) -> str:
    """Why a law is undecided, and what to do."""
    if report.verdict is not Verdict.UNDECIDED:
        return f": {report.reason}" if report.reason else ""
    return f": {report.reason or 'no sample tested it'}; verify it with more samples or another seed"


def _scalars(arch: Architecture) -> int:
    return sum(p.size for p in arch.parameters.values())
