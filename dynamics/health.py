"""What is normal in a run and what is not: a verdict for every law, and the parameters that a fault sits in.

This file is long because every finding is told from all the others of one step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch

from lawful.theory.arguments import plural
from lawful.theory.laws.notes import once
from lawful.theory.parts import base

from .account import Account
from .findings import Finding, clipped, known, silent
from .sharded import local
from .step import FROZEN, NORM, OUTSIDE

if TYPE_CHECKING:
    from .watcher import Watcher

OK, ROUNDING, APPROXIMATE, UNEXPLAINED = "ok", "rounding", "epsilon", "unexplained"
UNDECIDED = "undecided"  # there is no law
NOT_WATCHED = "not watched"  # no step of the law was accounted for yet
NOT_TESTED = "not tested"  # rounding alone may be larger than the law by far
LOOSE = 10.0  # that far: a short run in bfloat16 has bounds near the size of its laws, and stays within them
ORDER = (OK, ROUNDING, APPROXIMATE, NOT_TESTED, NOT_WATCHED, UNEXPLAINED)
COARSE = 1e-3  # products of gradients that are known no better than this
ALIKE = 0.3  # how far the changes of a law may be from one multiple of it that decay would make
SAID = 3  # notes of a derivation that are said again
PRECISE = 1e-10  # a remainder below this part of the law is none


@dataclass(frozen=True)
class Judgement:
    """The verdicts of a run.

    Attributes:
        verdicts: one for every law.
        findings: what is not as it should be.
        text: all of it in plain words.
        partial: there are trainable parameters that no watched law reads.
    """

    verdicts: dict[str, str]
    findings: tuple[Finding, ...]
    text: str
    partial: bool = False

    @property
    def worst(self) -> str:
        """The worst verdict; a fault that no law sees counts as well, and what no law reads is said."""
        if any(f.fault for f in self.findings):
            return UNEXPLAINED
        if any(f.kind == "no law" for f in self.findings):
            return UNDECIDED
        tested = [v for v in self.verdicts.values() if v != NOT_TESTED]
        worst = max(tested or self.verdicts.values(), key=ORDER.index, default=NOT_WATCHED)
        partial = self.partial or len(tested) < len(self.verdicts)
        return f"{worst} in part" if partial and worst in (OK, ROUNDING, APPROXIMATE) else worst


def verdict(account: Account, low: bool, typical: Callable[[], float] = float) -> str:
    """The verdict on one law.

    Args:
        account: its account.
        low: weights or gradients are less precise than float64.
        typical: gives the size of an entry of a parameter: a law that is linear in them is small where it starts at 0.
    """
    if account.broken is not None or not torch.isfinite(account.remainder).all():
        return UNEXPLAINED
    if not account.steps:
        return NOT_WATCHED
    if bool((account.remainder.abs() > account.bound).any()) or account.stale_step is not None:
        return UNEXPLAINED
    if account.leak > account.tolerance:
        return UNEXPLAINED
    if not account.judged:
        return NOT_WATCHED
    bound, several = float(torch.linalg.vector_norm(account.bound)), account.first.numel() ** 0.5
    if bound > LOOSE * account.norm and (account.form.quadratic or bound > LOOSE * typical() * several):
        return NOT_TESTED
    if not account.form.law.exact:
        return APPROXIMATE
    return ROUNDING if low and account.relative > PRECISE else OK


def judge(ledger: Watcher) -> Judgement:
    """Verdicts, findings and words for a run."""
    low = max(ledger.precision.gradient, ledger.precision.unit, ledger.precision.rate) > PRECISE
    typical = cache(lambda: _typical(ledger))
    verdicts = {n: verdict(a, low, typical) for n, a in ledger.accounts.items()}
    still = {n for n, p in ledger.parameters.items() if not p.requires_grad}
    undecided = [
        n
        for n, a in ledger.accounts.items()
        if verdicts[n] == NOT_WATCHED and FROZEN in a.causes and still & set(map(base, a.form.law.parameters))
    ]
    idle = _idle(ledger, verdicts)
    verdicts.update(dict.fromkeys(idle, NOT_WATCHED))
    bad = [ledger.accounts[n] for n, v in verdicts.items() if v == UNEXPLAINED]
    judged = (OK, ROUNDING, APPROXIMATE)
    good = [ledger.accounts[n] for n, v in verdicts.items() if v in judged]
    findings = [
        *known(ledger),
        *_broken(ledger, bad, good),
        *clipped(ledger),
        *silent(ledger),
    ]
    findings += [*_outside(ledger), *_unaccounted(ledger), *_unmeasured(ledger, verdicts)]
    if idle:
        text = "no step had a gradient but zero, so nothing was tested: is backward() there, on the loss of this model?"
        read = {base(n) for law in idle for n in ledger.accounts[law].form.law.parameters}
        findings.append(Finding("idle", tuple(n for n in ledger.parameters if n in read - still), text, fault=False))
    if undecided:
        read = {base(n) for law in undecided for n in ledger.accounts[law].form.law.parameters}
        text = "does not train, and laws that read it were derived for a network where it does: derive them again"
        findings.append(Finding("frozen", tuple(n for n in ledger.parameters if n in still & read), text, fault=False))
    for f in findings:
        outside = f.kind == "decay" and f.fault
        if outside or f.kind == "processes":
            touched = [
                n for n, a in ledger.accounts.items() if set(map(base, a.form.law.parameters)) & set(f.parameters)
            ]
            touched = [n for n in touched if not outside or OUTSIDE in ledger.accounts[n].causes]
            verdicts.update(dict.fromkeys(touched, UNEXPLAINED))
    partial = bool(verdicts) and bool(ledger.unread)
    return Judgement(verdicts, tuple(findings), _words(ledger, verdicts, findings, low), partial)


def _typical(ledger: Watcher) -> float:
    """The size of an entry of a parameter: the middle one of all parameters that do not start at 0."""
    parts = [local(p.detach()) for p in ledger.parameters.values()]
    sizes = sorted(float(torch.linalg.vector_norm(x)) / x.numel() ** 0.5 for x in parts if x.numel())
    moved = [s for s in sizes if s > 0]
    return moved[len(moved) // 2] if moved else 0.0


def _idle(ledger: Watcher, verdicts: Mapping[str, str]) -> list[str]:
    """The laws whose account closed, where no parameter that a law reads ever had a gradient: nothing was tested."""
    fine = (OK, ROUNDING, APPROXIMATE)
    closed = [n for n, a in ledger.accounts.items() if verdicts[n] in fine and a.form.law.kind != "frozen"]
    read = {base(n) for a in ledger.accounts.values() for n in a.form.law.parameters}
    return closed if read.isdisjoint(ledger.notes.last) else []


def _broken(ledger: Watcher, bad: Sequence[Account], good: Sequence[Account]) -> list[Finding]:
    """What the laws say whose account does not close."""
    out = []
    nans = [a for a in bad if a.broken is not None]
    if nans:
        first = min(a.broken for a in nans if a.broken is not None)
        names = ledger.not_finite or suspects([a for a in nans if a.broken == first], good)
        out.append(Finding("not finite", names, f"from step {first} on there are numbers that are not finite"))
    rest = [a for a in bad if a.broken is None]
    seen = {n for f in known(ledger) if f.fault for n in f.parameters}
    rest = [a for a in rest if not any(base(n) in seen for n in a.form.law.parameters)]
    stale = [a for a in rest if a.stale_step is not None and not _earlier(a)]
    leaks = [
        a for a in rest if a.leak_first is not None and a.leak_first <= (a.off_first or a.leak_first) and a not in stale
    ]
    other = [a for a in rest if a not in stale and a not in leaks]
    if stale:
        names, step = suspects(stale, good), min(a.stale_step or 0 for a in stale)
        out.append(
            Finding("momentum", names, f"the momentum buffer at step {step} is not the one that the step before left")
        )
    if leaks:
        # in few digits a law that seems to hold is no witness for the gradients that it reads
        names = suspects(leaks, good if ledger.precision.gradient < COARSE else ())
        penalty = _penalty(leaks)
        text = (
            f"the gradient holds {penalty:.3g} times the weights: the loss has a penalty on them, beside decay"
            if penalty
            else f"first-order drift from step {min(a.leak_first or 0 for a in leaks)} on: no gradient of a loss of "
            "the outputs alone (a wrong backward, a detached branch, a wrong scale, noise; or the loss has a term "
            "of the weights, or is another one than the laws are of)"
        )
        out.append(Finding("decay" if penalty else "gradient", names, text))
    if other:
        kind = " and ".join(type(o).__name__ for o in ledger.optimizers)
        meant = kind if ledger.like is None else f"{ledger.like.__name__} (like=)"
        whose = "the step" if ledger.like is None else f"the step of {kind}"
        text = f"the gradients are right, but {whose} is not the one that {meant} makes with its settings"
        out.append(Finding("optimizer", suspects(other, good), text))
    return out


def _earlier(account: Account) -> bool:
    """Whether something went wrong before the momentum buffer did, which is then the consequence."""
    first = [step for step in (account.leak_first, account.off_first) if step is not None]
    return account.stale_step is not None and bool(first) and min(first) < account.stale_step


def suspects(bad: Sequence[Account], good: Sequence[Account]) -> tuple[str, ...]:
    """The parameters of the fewest places that explain why these laws are broken and those are not.

    A law that holds says that the gradients of its parameters are right, or all wrong by one factor: they are one
    place.  A broken law is explained by any of the places that it joins; those count that most broken laws share, and
    of these the ones with the fewest parameters.
    """
    place = {n: n for a in (*bad, *good) for n in a.form.law.parameters}
    for a in good:
        first, *others = (place[n] for n in a.form.law.parameters)
        place = {n: first if p in others else p for n, p in place.items()}
    sizes = Counter(place.values())
    left, out = list(bad), []
    while left:
        votes = Counter(p for a in left for p in {place[n] for n in a.form.law.parameters})
        rank = {p: (-n, sizes[p]) for p, n in votes.items()}
        best = min(rank.values())
        chosen = [n for a in left for n in a.form.law.parameters if rank[place[n]] == best]
        out += chosen
        left = [a for a in left if not set(chosen) & set(a.form.law.parameters)]
    return tuple(dict.fromkeys(out))


def _penalty(leaks: Sequence[Account]) -> float:
    """The multiple of the weights in the gradient, if that is what all broken laws show; else 0."""
    rates = []
    for a in leaks:
        if a.slopes is None or not bool(a.slopes[1].abs().max() > 0):
            return 0.0
        leak, weights = a.slopes
        c = float((leak * weights).sum() / weights.square().sum())
        if not float((leak - c * weights).abs().max()) <= 1e-3 * float(leak.abs().max()):
            return 0.0
        rates.append(c)
    if sum(a.slopes[0].numel() for a in leaks if a.slopes is not None) < 2:
        return 0.0  # one number is always a multiple of another one
    return rates[0] if rates and max(rates) - min(rates) <= 1e-3 * abs(max(rates)) and rates[0] > 0 else 0.0


def _outside(ledger: Watcher) -> list[Finding]:
    """Weights that were changed outside of the step, and whether they shrank as decay makes them."""
    moved = [
        a
        for a in ledger.accounts.values()
        if OUTSIDE in a.causes and float(a.causes[OUTSIDE].abs().max()) > 1e-9 * a.norm
    ]
    if not moved and not (ledger.lawless and ledger.weights.outside):
        return []
    read = dict.fromkeys(base(n) for a in moved for n in a.form.law.parameters)
    seen = ledger.weights
    sure = bool(seen.outside)
    names = tuple(n for n in seen.outside or seen.rewritten or read if n not in seen.strayed)
    if not names:
        return []
    decays = any(float(g.get("weight_decay", 0) or 0) for o in ledger.optimizers for g in o.param_groups)
    if decays and moved and all(map(_shrunk, moved)):
        text = "shrink between the steps as well as by weight_decay: decay is applied twice"
        return [Finding("decay", names, text)]
    perhaps = tuple(n for n in seen.rewritten if sure and n not in names and n not in seen.strayed)
    text = "written between the steps: may have changed, of a large model a sample of the entries is compared"
    maybe = [Finding("outside", perhaps, text, fault=False)] if perhaps else []
    text = "changed between the steps, not by the optimizer"
    return [Finding("outside", names, text if sure or len(names) == 1 else f"one of these {text}", fault=False), *maybe]


def _shrunk(account: Account) -> bool:
    """Whether what happened outside made all scalars of a law smaller by about one factor, as decay does."""
    change, law = account.causes[OUTSIDE], account.last
    factor = float((change * law).sum() / law.square().sum().clamp(min=1e-300))
    misfit = torch.linalg.vector_norm(change - factor * law)
    return factor < 0 and bool(misfit <= ALIKE * torch.linalg.vector_norm(change))


def _unaccounted(ledger: Watcher) -> list[Finding]:
    if ledger.within is not None:
        text = (
            f"step {ledger.within} was the first that was made while backward ran (in hooks, one optimizer per "
            "parameter), when not all gradients are there: such steps are booked as not watched"
        )
        return [Finding("within backward", (), text, fault=False)]
    if not ledger.unaccounted:
        return []
    text = (
        f"step {ledger.unaccounted[0]} was the first whose gradients were changed after backward (clipping?), so that "
        "no copy was there: its change is booked as not watched"
    )
    return [Finding("changed gradients", (), text, fault=False)]


def _unmeasured(ledger: Watcher, verdicts: dict[str, str]) -> list[Finding]:
    """Laws that hold up to an epsilon which nobody could measure."""
    laws = [n for n in ledger.unmeasured if verdicts[n] == NOT_WATCHED and ledger.accounts[n].steps]
    if not laws:
        return []
    sites = tuple(dict.fromkeys(s for n in laws for s in ledger.unmeasured[n]))
    where = f"of {_some(sites)} " if sites else "of the norms "
    text = (
        f"{plural(len(laws), 'law')} ({_some(laws)}) {'holds' if len(laws) == 1 else 'hold'} up to the epsilon {where}"
        "only, and what it does was not measured (the norm is no module of its own, or compiled), so that the slope is "
        "not judged"
    )
    return [Finding("epsilon", (), text, fault=False)]


def _unruled(ledger: Watcher) -> list[str]:
    """What the derivation says of the places behind which laws are missing, with their lines; the first few."""
    notes = once(ledger.derived.gaps) if ledger.derived is not None else ()
    more = f" (and {plural(len(notes) - SAID, 'more note')} of lw.derive)" if len(notes) > SAID else ""
    return [f"{note}{more if i == SAID - 1 else ''}" for i, note in enumerate(notes[:SAID])]


def _alone(ledger: Watcher) -> list[str]:
    """Parameters that laws read, but none of them together with another parameter that has a gradient."""
    still = {base(n) for law in ledger.laws if law.kind == "frozen" for n in law.parameters}
    reads = [set(map(base, law.parameters)) - still for law in ledger.laws]
    joined = {n for names in reads if len(names) > 1 for n in names}
    return [n for n, p in ledger.parameters.items() if n not in joined | still and p.requires_grad]


def _some(names: Iterable[str]) -> str:
    many = list(names)
    return ", ".join(many[:6]) + (f" and {len(many) - 6} more" if len(many) > 6 else "")


def _words(ledger: Watcher, verdicts: dict[str, str], findings: Sequence[Finding], low: bool) -> str:
    counts = {v: sum(x == v for x in verdicts.values()) for v in ORDER}
    summary = ", ".join(f"{n} {v}" for v, n in counts.items() if n) or (UNDECIDED if ledger.lawless else NOT_WATCHED)
    lines = [f"{plural(ledger.steps, 'step')}, {plural(len(verdicts), 'law')}: {summary}"]
    if not ledger.steps:
        lines.append("no step was seen: a ledger watches the steps that come after it, so make it before the loop.")
    faults = sum(f.fault for f in findings)
    if faults and not counts[UNEXPLAINED]:
        lines[0] += f"; but {plural(faults, 'fault')} that no law sees: {UNEXPLAINED}"
    if ledger.every > 1:
        turns = (
            f"laws take turns, each is watched at about every {ledger.every}. step, so that watching costs at most 5 % "
            "of the time; every=1 watches all at all steps."
        )
        lines.append(turns if ledger.every_measured else f"every {ledger.every}. step is watched.")
    if counts[OK]:
        lines.append("ok: every change of these laws has a cause, nothing is left over.")
    if counts[ROUNDING]:
        those = [a for n, a in ledger.accounts.items() if verdicts[n] == ROUNDING]
        worst = max(those, key=lambda a: a.relative)
        bound = float(torch.linalg.vector_norm(worst.bound)) / worst.norm
        lines.append(
            f"rounding: what is left over is rounding (bound {bound:.0e} of the law, seen {worst.relative:.0e})."
        )
    if counts[NOT_TESTED]:
        names = [n for n, v in verdicts.items() if v == NOT_TESTED]
        lines.append(
            f"not tested: rounding alone may be larger than {_some(names)}, so that their account says nothing (an "
            "optimizer that divides a gradient by its own size makes whole steps of rounding)."
        )
    if counts[APPROXIMATE]:
        those = [a for n, a in ledger.accounts.items() if verdicts[n] == APPROXIMATE]
        did = max(float(torch.linalg.vector_norm(a.causes[NORM])) / a.norm for a in those if NORM in a.causes)
        left = max(a.relative for a in those)
        lines.append(
            "epsilon: these hold up to the epsilon of norms. What it did was measured at the norms (at most "
            f"{did:.0e} of a law); at most {left:.0e} is left over."
        )
    if verdicts and (unread := ledger.unread):
        other = "a training with another loss may have more (loss=), and " if ledger.loss == "mse" else ""
        lines.append(f"no law that is watched reads {_some(unread)}: {other}`assert_lawful` judges their gradients.")
        lines += [f"why there may be no law: {why}." for why in _unruled(ledger)]
    if verdicts and (alone := _alone(ledger)):
        text = "a wrong factor on the whole gradient of one of them is not seen by any law; `assert_lawful` sees it."
        lines.append(f"no law joins {_some(alone)} to other parameters: {text}")
    lines += [
        f"{'fault' if f.fault else 'look'}: {_some(f.parameters)}{': ' if f.parameters else ''}{f.text}"
        for f in findings
    ]
    return "\n".join(lines)
