"""What is not as it should be in a run, seen without any law: groups, gradients, processes, clipping, silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lawful.theory.arguments import of_right_kinds
from lawful.theory.parts import base

if TYPE_CHECKING:
    from .watcher import Watcher

CLIMBED = 3  # steps along its gradient after which a parameter counts as one that goes up
SILENT = 20  # steps without a gradient before a layer counts as one that does not learn
CONSTANT = 1e-4  # a norm that varies less from step to step was set by clipping


@dataclass(frozen=True)
@of_right_kinds
class Finding:
    """Something that is not as it should be.

    Attributes:
        kind: `frozen`, `not finite`, `gradient`, `momentum`, `optimizer`, `missing`, `edited`, `decay`, `clipping`,
            `silent`, `processes`, `outside`, `changed gradients`, `epsilon`, `twice`, `uncleared`,
            `within backward`, `alternating`, `uphill`, `no law`, `mode`.
        parameters: where it sits.
        text: the sentence for a reader.
        fault: False for what may be meant: it is worth a look, and no verdict depends on it.
    """

    kind: str
    parameters: tuple[str, ...]
    text: str
    fault: bool = True


def known(ledger: Watcher) -> list[Finding]:
    """What is seen without any law."""
    return [
        *_lawless(ledger),
        *_missing(ledger),
        *_twice(ledger),
        *_edited(ledger),
        *_dropped(ledger),
        *_uncleared(ledger),
        *_uphill(ledger),
        *_thawed(ledger),
        *_modes(ledger),
        *_apart(ledger),
    ]


def _lawless(ledger: Watcher) -> list[Finding]:
    """A run without laws says why, and is still watched for all of the rest."""
    if ledger.lawless is None:
        return []
    other = '"cross_entropy"' if str(ledger.loss) == "mse" else '"mse"'
    text = (
        f"no law is watched, so that gradients and steps are not judged: {ledger.lawless}; another loss may have laws "
        f"(lw.Ledger(..., loss={other})), and assert_lawful judges the gradients without any"
    )
    out = [Finding("no law", (), text, fault=False)]
    if ledger.not_finite:
        out.append(Finding("not finite", ledger.not_finite, "there are numbers that are not finite"))
    return out


def _missing(ledger: Watcher) -> list[Finding]:
    names = tuple(ledger.notes.missing)
    return [Finding("missing", names, "a gradient, but in no group of the optimizer")] if names else []


def _twice(ledger: Watcher) -> list[Finding]:
    """Parameters that several groups hold, so that every one of them moves them."""
    held = [id(p) for o in ledger.optimizers for group in o.param_groups for p in group["params"]]
    names = tuple(n for n, p in ledger.parameters.items() if held.count(id(p)) > 1)
    text = "in several groups or optimizers, each of which moves it"
    return [Finding("twice", names, text)] if names else []


def _edited(ledger: Watcher) -> list[Finding]:
    out = []
    if ledger.notes.edited:
        text = "the gradient was turned around or enlarged between backward and the step"
        out.append(Finding("edited", tuple(ledger.notes.edited), text))
    if ledger.notes.mended:
        step = min(ledger.notes.mended.values())
        text = f"the gradient of step {step} was not finite, and was replaced before the step"
        out.append(Finding("not finite", tuple(ledger.notes.mended), text))
    fixed = {n: m for n, m in ledger.notes.scaled.items() if len(m) == 3 and max(m) - min(m) <= CONSTANT * abs(m[0])}
    fixed = {n: m for n, m in fixed.items() if abs(m[0] - 1) > CONSTANT and n not in ledger.notes.edited}
    if fixed:
        factor = next(iter(fixed.values()))[0]
        others = tuple(n for n in ledger.notes.last if n not in fixed)
        if len(others) < len(fixed):
            text = f"the gradient is as backward wrote it, and that of all others is {factor:.4g} times that"
        else:
            text = f"the gradient is {factor:.4g} times what backward wrote at every step, and that of others is not"
        names = others if len(others) < len(fixed) else tuple(fixed)
        out.append(Finding("edited", names, f"{text} (an average that leaves some out?)"))
    return out


def _dropped(ledger: Watcher) -> list[Finding]:
    """Gradients that backward wrote and no optimizer saw: they come back in loops that alternate, and else are lost."""
    notes = ledger.notes
    lost = tuple(n for n, first in notes.dropped.items() if notes.last.get(n, 0) < first < notes.looked[n] - 1)
    text = "backward wrote a gradient, which was taken away before the step: the parameter does not train"
    some = tuple(n for n in notes.dropped if n not in lost)
    seldom = "in some steps its gradient was taken away before the step: laws that read it are not judged there"
    out = [Finding("gradient", lost, text)] if lost else []
    return [*out, Finding("alternating", some, seldom, fault=False)] if some else out


def _uphill(ledger: Watcher) -> list[Finding]:
    """Parameters that climb while others descend, or that climb without `maximize`: an adversary, or a wrong sign."""
    groups = [group for o in ledger.optimizers for group in o.param_groups]
    climbs = {id(p): bool(group.get("maximize")) for group in groups for p in group["params"]}
    seen = [n for n, count in ledger.notes.uphill.items() if count is not None and count >= CLIMBED]
    if len(set(climbs.values())) > 1:
        seen += [n for n, p in ledger.parameters.items() if climbs.get(id(p)) and n not in seen]
    else:
        seen = [n for n in seen if not climbs.get(id(ledger.parameters[n]))]
    text = "goes up along its gradient at every step (an adversary, or a wrong sign?)"
    return [Finding("uphill", tuple(seen), text, fault=False)] if seen else []


def _modes(ledger: Watcher) -> list[Finding]:
    """Parts that were switched to the other mode: the laws are those of another network."""
    if ledger.modes.since is None:
        return []
    step, parts = ledger.modes.since
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    text = (
        f"{', '.join(parts[:3])}{more} changed between training and evaluation mode at step {step}: the laws are those "
        "of the mode before, and steps in the other one are booked as not watched; make another Ledger for them"
    )
    return [Finding("mode", (), text, fault=False)]


def _uncleared(ledger: Watcher) -> list[Finding]:
    if ledger.notes.uncleared is None:
        return []
    text = f"the gradients of the step before were still there in step {ledger.notes.uncleared}: zero_grad is missing"
    names = tuple(n for n, p in ledger.parameters.items() if p.requires_grad and n in ledger.notes.kept)
    return [Finding("uncleared", names, text)]


def _thawed(ledger: Watcher) -> list[Finding]:
    out = []
    if ledger.weights.thawed:
        text = "requires no gradient, but the optimizer moves it (by decay, or by a momentum of before)"
        out.append(Finding("frozen", tuple(ledger.weights.thawed), text))
    strayed = tuple(n for n in ledger.weights.strayed if n not in ledger.weights.thawed)
    if strayed:
        text = "requires no gradient, but changed, not by the optimizer (an average of weights, or written over?)"
        out.append(Finding("frozen", strayed, text, fault=False))
    return out


def _apart(ledger: Watcher) -> list[Finding]:
    if not ledger.notes.apart:
        return []
    step = min(ledger.notes.apart.values())
    names = tuple(n for n, first in ledger.notes.apart.items() if first == step)
    text = f"the processes have different gradients from step {step} on: they are not synchronised"
    return [Finding("processes", names, text)]


def clipped(ledger: Watcher) -> list[Finding]:
    """Clipping that acts on gradients which a scaler has enlarged leaves next to nothing of them."""
    norms, multiples = [n for _, n in ledger.notes.clipped], [m for m, _ in ledger.notes.clipped]
    if len(norms) < 3 or not max(norms) - min(norms) <= CONSTANT * max(norms) or max(norms) > 1e-3:
        return []
    raw = min(n / m for m, n in ledger.notes.clipped if m > 0)
    if raw < 100 or max(multiples) > 1e-3:
        return []
    text = (
        f"every step has a gradient of norm {norms[-1]:.2g} after clipping, of {raw:.2g} before: clip_grad_norm_ sees "
        "the scaled gradients; call scaler.unscale_(optimizer) before it"
    )
    return [Finding("clipping", tuple(ledger.parameters), text)]


def silent(ledger: Watcher) -> list[Finding]:
    """Layers that have stopped learning."""
    fixed = {base(n) for law in ledger.laws if law.kind == "frozen" for n in law.parameters}
    held = {id(p) for o in ledger.optimizers for group in o.param_groups for p in group["params"]}
    names = tuple(
        n
        for n, p in ledger.parameters.items()
        if id(p) in held and n not in fixed and ledger.notes.looked.get(n, 0) - ledger.notes.last.get(n, 0) >= SILENT
    )
    text = f"no gradient for {SILENT} steps or more, the layer has stopped learning"
    return [Finding("silent", names, text, fault=False)] if names else []
