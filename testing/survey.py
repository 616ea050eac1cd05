"""The library against an independent referee on plain modules: what is false, wrong, missing, refused or crashes."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from torch.func import jacrev

from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.derive.lawset import LawSet
from lawful.theory.laws.law import Law
from lawful.theory.oracle.counting import Count
from lawful.theory.verdict import Verdict

from .breakdown import Breakdown
from .layers import layered
from .modules import class_axes, judged
from .programs import Program, shrunk
from .referee import Referee
from .writer import LayerModule

BATCH = 20  # modules in one piece of work
POINTS = 3  # of parameters at which laws are tested
SPARE_POINTS = 9  # that take the place of those where the gradient is rounding
MORE_POINTS, MANY_POINTS = 5, 16  # before a law is called missing: gates that never open at a point look like one
TOLERANCE = 1e-8
STILL = 1e-9  # a gradient below this is rounding
OWN_ERROR = 1e-10  # relative, of a gradient that laws are tested on: far below what a false law may pass
# The worst first; what comes before "noted" must not happen.
KINDS = ("false", "zero", "dependent", "more", "count", "exact count", "accused", "crash", "missing", "refused")
UNSOUND = ("false", "zero", "dependent", "more", "accused", "crash")  # what no list that is too short can excuse


@dataclass
class Outcome:
    """What came out for one module.

    Attributes:
        failures: kinds of failures with a line each.
        noted: whether the library names what may be missing.
        stated: whether it states facts that a reader should know.
        undecided: whether the referee, or the library's own count, does not know.
        missing: whether the referee counts more laws than were derived.
        notes: all that the library says beside its laws.
    """

    failures: dict[str, str] = field(default_factory=dict)
    noted: bool = False
    stated: bool = False
    undecided: bool = False
    missing: bool = False
    notes: tuple[str, ...] = ()


@dataclass
class Survey:
    """What a survey has seen.

    Attributes:
        modules: how many.
        noted: on how many the library names what may be missing.
        stated: on how many it states facts.
        missing: on how many of those with a note laws are really missing.
        breakdown: the kinds of notes.
        undecided: on how many the referee, or the library's own count, does not know.
        kinds: how many failures of each kind.
        calls: instructions of torch that were drawn.
        finds: kind, line, and the smallest module that was found, as source.
    """

    modules: int = 0
    noted: int = 0
    stated: int = 0
    missing: int = 0
    undecided: int = 0
    breakdown: Breakdown = field(default_factory=Breakdown)
    kinds: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    finds: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, other: Survey) -> None:
        """Counts those of another survey as well."""
        self.modules += other.modules
        self.noted += other.noted
        self.stated += other.stated
        self.missing += other.missing
        self.breakdown.add(other.breakdown)
        self.undecided += other.undecided
        self.kinds += other.kinds
        self.calls += other.calls
        self.finds += other.finds

    @property
    def summary(self) -> str:
        """One line."""
        many = max(self.modules, 1)
        found = ", ".join(f"{self.kinds[k]} {k}" for k in KINDS)
        return (
            f"{self.modules} plain modules: {found}; noted {100 * self.noted / many:.1f} % (laws are missing on "
            f"{self.missing} of these {self.noted}), facts {100 * self.stated / many:.1f} %, "
            f"referee undecided {100 * self.undecided / many:.1f} %"
        )

    @property
    def sound(self) -> bool:
        """Whether nothing was false and no correct module was accused, and nothing crashed."""
        return not any(self.kinds[k] for k in UNSOUND)

    @property
    def clean(self) -> bool:
        """Whether nothing was false, wrong, or missing without a note, and nothing crashed."""
        return not any(self.kinds[k] for k in KINDS if k != "refused")


def judge(program: Program | LayerModule, losses: Sequence[str], start: int = 0, only: str = "") -> Outcome:
    """Everything that the library says about one module, against the referee.

    Args:
        program: the module.
        losses: one for every output.
        start: seed of everything random.
        only: a failure to look for; what cannot show it is left out.
    """
    outcome, loss = Outcome(), losses[0] if len(losses) == 1 else list(losses)
    module, args, axes = program.module(start), program.args(start), class_axes(program)
    referee = Referee(module, args, losses, axes)

    def wanted(*kinds: str) -> bool:
        return not only or only in kinds or only in ("crash", "refused")

    laws = _asked(outcome, "derive", lambda: derive(module, loss, args=args))
    if laws is None:
        return outcome
    outcome.notes, outcome.noted, outcome.stated = laws.notes, bool(laws.gaps), bool(laws.facts)
    false = wanted("false", "zero", "dependent", "accused") and _test(outcome, laws, referee, start)
    if wanted("accused"):
        report = _asked(outcome, "verify", lambda: laws.verify(module, args=args))
        exact = {law.name for law in laws if law.exact}
        accused = [r.law for r in report.laws if r.law in exact and r.verdict is Verdict.VIOLATED] if report else []
        if accused and not false:
            outcome.failures["accused"] = f"{accused[0]} holds, and verify calls it violated"
    counted = exactly = None
    if wanted("count"):
        counted = _asked(outcome, "count", lambda: count(module, loss, args=args))
    if wanted("exact count"):
        exactly = _asked(outcome, "count exactly", lambda: count(module, loss, args=args, exact=True), polynomial=True)
    if only in ("", "more", "missing", "count", "exact count"):
        _compare(outcome, laws, referee, start, {"count": counted, "exact count": exactly})
    return outcome


def _asked(outcome: Outcome, what: str, question, polynomial: bool = False):  # type: ignore[no-untyped-def]
    """The answer, or None with the failure noted: a sentence is a refusal, anything else a crash."""
    try:
        return question()
    except Exception as error:
        own = type(error).__module__.startswith("lawful") and "\n" not in str(error).strip()
        if own and polynomial:
            return None
        place = traceback.extract_tb(error.__traceback__)[-1]
        line = f"{what}: {type(error).__name__}: {str(error).strip()[:300]} ({place.filename}:{place.lineno})"
        outcome.failures.setdefault("refused" if own else "crash", line)
        return None


def _test(outcome: Outcome, laws: LawSet, referee: Referee, start: int) -> bool:
    """Exact laws against gradients of the module itself; True if one is false."""
    exact = [law for law in laws if law.exact]
    if not exact:
        return False
    seen = 0
    for i in range(POINTS + SPARE_POINTS):
        parameters, gradients, errors = referee.gradient(start + 31 * i)
        sizes = [p.numel() for p in parameters.values()]
        theta = torch.cat([p.reshape(-1) for p in parameters.values()])
        slope, rounding = (torch.cat([g.reshape(-1) for g in each.values()]) for each in (gradients, errors))
        trained = torch.cat(
            [torch.full((n,), float(k in referee.shapes)) for k, n in zip(parameters, sizes, strict=True)]
        )
        if not slope.isfinite().all() or float(slope.norm()) < max(STILL, float(rounding.norm()) / OWN_ERROR):
            continue
        seen += 1
        rows = []
        for law in exact:
            jacobian = jacrev(partial(_values, law, parameters))(theta) * trained
            rows.append(jacobian)
            size = jacobian.abs() @ slope.abs()
            # below these a scalar and its change are both rounding: of all gradients, and of its own
            told = (size > 1e-12 * float(slope.norm())) & (size > jacobian.abs() @ rounding.abs() / TOLERANCE)
            residual = float(((jacobian @ slope).abs()[told] / size[told]).max()) if told.any() else 0.0
            if not residual <= TOLERANCE:
                outcome.failures["false"] = f"{law.name} ({law.kind}): {law.text[:160]}; residual {residual:.1e}"
                return True
            if float(jacobian.abs().max()) < 1e-12:
                outcome.failures["zero"] = f"{law.name} ({law.kind}): {law.text[:160]} is identically zero"
        stacked = torch.cat(rows)
        rank = int(torch.linalg.matrix_rank(stacked, rtol=1e-9))
        if rank != laws.exact_independent:
            outcome.failures["dependent"] = f"{laws.exact_independent} exact laws are called independent, rank {rank}"
        if seen == POINTS:
            break
    outcome.undecided |= not seen  # no gradient was more than its rounding: the laws were not tested
    return False


def _values(law: Law, parameters: Mapping[str, torch.Tensor], theta: torch.Tensor) -> torch.Tensor:
    """The scalars of a law as a function of all parameters laid end to end."""
    parts = theta.split([p.numel() for p in parameters.values()])
    shaped = {n: v.reshape(p.shape) for (n, p), v in zip(parameters.items(), parts, strict=True)}
    return law.value(shaped).reshape(-1)


def _compare(outcome: Outcome, laws: LawSet, referee: Referee, start: int, counts: Mapping[str, Count | None]) -> None:
    """The engine's number and the library's counts against the referee's; every disagreement is looked at twice."""
    sure = {kind: c.laws for kind, c in counts.items() if c is not None and c.verdict is Verdict.HOLDS}
    derived = laws.exact_independent
    found = referee.count(start)
    suspect = derived > found.laws or (derived < found.laws and not laws.gaps)
    for points in (MORE_POINTS, MANY_POINTS):
        # where the library finds fewer laws, the points of the referee may all be such that units are dead there
        if found.decided and (suspect or any(n != found.laws for n in sure.values())):
            found = referee.count(start, points)
    outcome.undecided |= not found.decided or not any(found.ranks)  # where nothing moves, nothing can be compared
    if outcome.undecided:
        return
    told = f"referee {found.laws} {found.ranks}"
    if derived > found.laws:
        outcome.failures["more"] = f"{derived} exact laws, {told}"
    outcome.missing = derived < found.laws
    if outcome.missing and not laws.gaps:
        outcome.failures["missing"] = f"{derived} exact laws, {told}, no note"
    for kind, number in sure.items():
        if number != found.laws:
            outcome.failures[kind] = f"{number} with verdict HOLDS, {told}"


def survey(modules: int, start: int, minimise: bool = True, layers: bool = False) -> Survey:
    """Judges so many random modules.

    Args:
        modules: how many, all different from those of another `start`.
        start: seed.
        minimise: whether a module with a failure is made smaller while it fails in the same way.
        layers: modules of torch's own layers (see `layers`) instead of raw parameters and calls (see `modules`).
    """
    result = Survey()
    torch.set_num_threads(1)
    for number in range(modules):
        program, losses = layered(start + number) if layers else one(start + number)
        outcome = judge(program, losses)
        result.modules += 1
        result.noted += outcome.noted
        result.stated += outcome.stated
        result.missing += outcome.missing and outcome.noted
        result.undecided += outcome.undecided
        result.breakdown.note(outcome.notes, program.names, outcome.missing)
        result.kinds.update(outcome.failures.keys())
        result.calls.update(program.calls)
        for kind in outcome.failures:
            small: Program | LayerModule = program

            def same(p: Program, kind: str = kind, losses: tuple[str, ...] = losses, was: Outcome = outcome) -> bool:
                if not p.reads_inputs or min(z.shape[1:].numel() for z in p.run()) < 2:
                    return False
                line = judge(p, losses[: len(p.outputs)], only=kind).failures.get(kind, "")
                return line[:40] == was.failures[kind][:40] if kind in ("crash", "refused") else bool(line)

            if minimise and kind != "refused" and isinstance(program, Program):
                small = shrunk(program, same, 150)
            kept = losses[: len(small.outputs)]
            line = judge(small, kept).failures.get(kind, outcome.failures[kind])
            result.finds.append((kind, line, small.script(kept, kind, line)))
    return result


def one(number: int) -> tuple[Program, tuple[str, ...]]:
    """The random module of a number, with its losses: the first that hypothesis draws after the simplest."""
    drawn: list[tuple[Program, tuple[str, ...]]] = []

    @seed(number)
    @settings(
        max_examples=3,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(judged())
    def run(found: tuple[Program, tuple[str, ...]]) -> None:
        drawn.append(found)

    run()
    return drawn[min(1, len(drawn) - 1)]
