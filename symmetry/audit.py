"""Whether a map "scale this, compensate there" leaves the function of a model alone.

Three forms are read: AWQ's `{"smooth_layer": a, "balance_layers": [b, ...]}`, SmoothQuant's `[[b, ...], a]`, and
`{"scale": a, "compensate": [b, ...]}`; names are module paths, or regular expressions behind `re:`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.blocks import ShapeError
from lawful.graph.questions.reading import NetworkLike
from lawful.theory.arguments import of_right_kinds
from lawful.theory.laws.pages import Printed
from lawful.theory.refusals import ModuleError
from lawful.theory.typed import typed
from lawful.theory.verdict import Verdict

from .audit_forms import FORMS, entry_of, is_pair, matching, together
from .audit_scaled import scaled
from .audit_undone import undone
from .export import Scaling, scalings
from .given import WAYS
from .models import of_model
from .reach import moved_with, not_behind, readers_of
from .running import Tensors, distance, outputs
from .symmetries import Symmetries, symmetries

SEEN = 1e-7  # a wrong map changes outputs by more, rounding in float64 by less
ROUNDS = 4  # of other inputs and factors, while a map that is not proved changes nothing
ANEW = 2  # rounds after which the weights are others


@dataclass(frozen=True)
@of_right_kinds
class Finding:
    """What one entry of a map does.

    Attributes:
        smooth: the module that is scaled.
        balance: the modules that compensate.
        verdict: `HOLDS` if a symmetry proves it; `VIOLATED` if outputs change; `UNDECIDED` if neither is known.
        error: largest relative change of an output for random factors; not a number where nothing could be run.
        missing: modules that read what is scaled and do not compensate.
        wrong: modules that compensate and do not read it.
        reason: a sentence.
    """

    smooth: str
    balance: tuple[str, ...]
    verdict: Verdict
    error: float
    missing: tuple[str, ...]
    wrong: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.smooth} -> {', '.join(self.balance)}: {self.reason}"


@dataclass(frozen=True, repr=False)
@of_right_kinds
class Audit(Printed):
    """What a whole map does.

    Attributes:
        findings: one for every entry, patterns written out.
        unused: entries of the map that match no module.
    """

    findings: tuple[Finding, ...]
    unused: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of all entries; `VACUOUS` if there is none, `UNDECIDED` if a part of the map matches nothing."""
        found = [f.verdict for f in self.findings]
        if Verdict.VIOLATED in found:
            return Verdict.VIOLATED
        if Verdict.UNDECIDED in found or (found and self.unused):
            return Verdict.UNDECIDED
        return Verdict.HOLDS if found else Verdict.VACUOUS

    def __str__(self) -> str:
        lines = [str(f) for f in self.findings] + [f"matches no module: {u}" for u in self.unused]
        return "\n".join([*lines, f"verdict: {self.verdict}"])


@typed(ways=WAYS | {"mapping": FORMS})
def audit(
    mapping: Sequence[Any] | Mapping[str, Any],
    model: NetworkLike | Symmetries,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
) -> Audit:
    """Checks a scaling map of a quantisation tool against the symmetries of a model, and on the model itself.

    Args:
        mapping: a list of entries (see above), or one.
        model: a module, an architecture, a spec, or what `symmetries` gave for one.
        args: example inputs.
        kwargs: keyword inputs.
        seed: of the inputs and factors.

    Returns:
        A finding for every entry: it is exact only if a symmetry proves it, and accused only if outputs change.

    Raises:
        ValueError: for a map in none of the forms.

    >>> import lawful as lw
    >>> model = lw.families.mlp([3, 4, 4, 2]).to_torch()
    >>> print(audit({"scale": "fc1", "compensate": ["fc2"]}, model).verdict)
    holds
    >>> audit({"scale": "fc1", "compensate": ["fc3"]}, model).findings[0].missing
    ('fc2',)
    """
    found = model if isinstance(model, Symmetries) else symmetries(model, args=args, kwargs=kwargs)
    network = found.setting.network
    tensors = _tensors(found, seed)
    names = sorted({n.rpartition(".")[0] for n in tensors} | set(_modules(network)) | set(map(found.home, found.sizes)))
    findings, unused = [], []
    known = scalings(found)
    entries = [mapping] if isinstance(mapping, Mapping) or is_pair(mapping) else list(mapping)
    for entry in entries:
        smooth, balance = entry_of(entry)
        written = matching(smooth, names)
        lost = [x for x in (smooth, *balance) if not matching(x, names)]
        unused += lost
        for one in written if not lost else ():
            partners = tuple(b for x in balance for b in matching(x, names) if together(one, b, smooth, x))
            findings.append(_judge(found, known, tensors, one, tuple(dict.fromkeys(partners)), seed))
    return Audit(tuple(findings), tuple(unused))


def _tensors(found: Symmetries, seed: int, anew: bool = False) -> Tensors:
    """The network's tensors, or others of the same sizes: a map that is right is right at all weights."""
    generator = torch.Generator().manual_seed(seed)
    tensors = of_model(found.setting, None, generator)[1]
    for name in found.setting.shapes if anew else ():
        t = tensors[name]
        if t.is_floating_point() and t.numel():
            drawn = torch.randn(t.shape, generator=generator, dtype=t.dtype).to(t.device)
            ties = [name, *(n for n, first in found.setting.aliases.items() if first == name and n in tensors)]
            tensors |= dict.fromkeys(ties, drawn * t.square().mean().sqrt())
    return tensors


def _modules(network: object) -> list[str]:
    return [n for n, _ in network.named_modules()] if isinstance(network, torch.nn.Module) else []


def _judge(
    found: Symmetries, known: Sequence[Scaling], tensors: Tensors, smooth: str, balance: tuple[str, ...], seed: int
) -> Finding:
    mine = [s for s in known if s.smooth == smooth]
    exact = next((s for s in mine if set(s.balance) == set(balance)), None)
    if exact is not None and exact.ordered:
        generator = torch.Generator().manual_seed(seed)
        change = exact.symmetry.changed(tensors, exact.symmetry.random(generator))
        error = _measure(found, tensors, change, seed)
        if not error > SEEN:
            said = f"exact: {exact.symmetry.name} proves it"
            return Finding(smooth, balance, Verdict.HOLDS, error, (), (), said)
        said = f"{exact.symmetry.name} says that it is exact, but outputs change: this is a bug of lawful"
        return Finding(smooth, balance, Verdict.UNDECIDED, error, (), (), said)
    closest = max(mine, key=lambda s: len(set(s.balance) & set(balance)), default=None)
    missing = tuple(b for b in closest.balance if b not in balance) if closest else moved_with(found, smooth, balance)
    wrong = tuple(b for b in balance if b not in closest.balance) if closest else not_behind(found, smooth, balance)
    error, why = _tried(found, tensors, smooth, balance, closest, seed)
    if error > SEEN:
        if exact is not None:
            parts = ["channels stand in another order where they are read, which a map cannot say"]
        else:
            parts = _blame(known, balance, missing, wrong, closest is not None) or [why or readers_of(found, smooth)]
        said = f"outputs change by {error:.1%}: " + "; ".join(parts)
        return Finding(smooth, balance, Verdict.VIOLATED, error, missing, wrong, said)
    measured = why or ("outputs did not change on random inputs" if error <= SEEN else "it could not be run")
    said = f"not known: {measured}, but no symmetry proves it: {readers_of(found, smooth)}"
    return Finding(smooth, balance, Verdict.UNDECIDED, error, missing, wrong, said)


def _blame(
    known: Sequence[Scaling], balance: Sequence[str], missing: Sequence[str], wrong: Sequence[str], one: bool
) -> list[str]:
    """Why a map changes outputs, in words: who is missing, who does not belong there, and whom they read.

    Args:
        known: the maps that are right.
        balance: what compensates in the wrong one.
        missing: what has to move and is not named.
        wrong: what is named and does not read it.
        one: whether a right map has the same writer.
    """
    parts = []
    if missing and one:
        parts.append(
            f"{_verbs(missing, 'reads', 'read')} it too and {'does' if len(missing) == 1 else 'do'} not compensate"
        )
    elif missing:
        parts.append(f"{_verbs(missing, 'moves', 'move')} with it, and a map has one writer")
    if wrong:
        parts.append(f"{_verbs(wrong, 'does', 'do')} not read it")
    right = next((s.smooth for s in known if set(balance) <= set(s.balance)), None)
    if right is not None and not missing and not wrong:
        parts.append(f"{_verbs(balance, 'reads', 'read')} {right}")
    return parts


def _verbs(names: Sequence[str], one: str, several: str) -> str:
    """Names with their verb, in the number of the names."""
    return f"{', '.join(names)} {one if len(names) == 1 else several}"


def _tried(
    found: Symmetries,
    tensors: Tensors,
    smooth: str,
    balance: tuple[str, ...],
    closest: Scaling | None,
    seed: int,
) -> tuple[float, str]:
    """What a map changes, on other inputs and at other weights while nothing is seen; or why it cannot be applied.

    Units that are dead at the network's own weights hide what is wrong with a map.
    """
    for i in range(ROUNDS):
        now = tensors if i < ANEW else _tensors(found, seed + i, anew=True)
        change, why = scaled(found, now, smooth, balance, closest, seed + i)
        if not change:
            left = undone(found, tensors, smooth, balance, seed) if why else None
            return (left, f"no factors of what {', '.join(balance)} reads undo it") if left else (float("nan"), why)
        error = _measure(found, now, change, seed + i)
        if error > SEEN or error != error:
            return error, ""
    return error, ""


def _measure(found: Symmetries, tensors: Tensors, change: Tensors, seed: int) -> float:
    """Relative change of the outputs; not a number where the network does not run."""
    try:
        start, end = outputs(found.setting, [tensors, tensors | change], seed)
    except (ModuleError, ShapeError, NotImplementedError):
        return float("nan")
    return distance(start, end)
