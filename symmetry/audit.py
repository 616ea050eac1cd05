"""Whether a map "scale this, compensate there" leaves the function of a model alone.

Three forms are read: AWQ's `{"smooth_layer": a, "balance_layers": [b, ...]}`, SmoothQuant's `[[b, ...], a]`, and
`{"scale": a, "compensate": [b, ...]}`; names are module paths, or regular expressions behind `re:`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.blocks import ShapeError
from lawful.graph.questions.reading import NetworkLike
from lawful.theory.arguments import ArgumentError, of_right_kinds, shown
from lawful.theory.gauge.contract import View
from lawful.theory.laws.pages import Printed
from lawful.theory.parts import base, read
from lawful.theory.refusals import ModuleError
from lawful.theory.typed import typed
from lawful.theory.verdict import Verdict

from .export import Scaling, scalings
from .given import WAYS
from .models import of_model
from .moves import moved
from .running import Tensors, distance, outputs, real_shape
from .symmetries import Symmetries, symmetries

FORMS = 'write {"smooth_layer": "a", "balance_layers": ["b"]}, [["b"], "a"] or {"scale": "a", "compensate": ["b"]}'
SEEN = 1e-7  # a wrong map changes outputs by more, rounding in float64 by less


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
    entries = [mapping] if isinstance(mapping, Mapping) or _is_pair(mapping) else list(mapping)
    for entry in entries:
        smooth, balance = _entry(entry)
        scaled = _matching(smooth, names)
        lost = [x for x in (smooth, *balance) if not _matching(x, names)]
        unused += lost
        for one in scaled if not lost else ():
            partners = tuple(b for x in balance for b in _matching(x, names) if _together(one, b, smooth, x))
            findings.append(_judge(found, known, tensors, one, tuple(dict.fromkeys(partners)), seed))
    return Audit(tuple(findings), tuple(unused))


def _tensors(found: Symmetries, seed: int) -> Tensors:
    return of_model(found.setting, None, torch.Generator().manual_seed(seed))[1]


def _modules(network: object) -> list[str]:
    return [n for n, _ in network.named_modules()] if isinstance(network, torch.nn.Module) else []


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, Sequence) and len(entry) == 2 and isinstance(entry[1], str) and not isinstance(entry, str)


def _entry(entry: Any) -> tuple[str, tuple[str, ...]]:
    """What is scaled, and what compensates.

    Raises:
        ValueError: for none of the forms.
    """
    if _is_pair(entry):
        smooth, balance = entry[1], entry[0]
    elif isinstance(entry, Mapping):
        smooth = entry.get("smooth_layer", entry.get("scale"))
        balance = entry.get("balance_layers", entry.get("compensate"))
    else:
        smooth = balance = None
    balance = [balance] if isinstance(balance, str) else balance
    if (
        not isinstance(smooth, str)
        or not isinstance(balance, Sequence)
        or not balance
        or not all(isinstance(b, str) for b in balance)
    ):
        raise ArgumentError(f"cannot read {shown(entry)} as an entry of a map; {FORMS}")
    return smooth, tuple(balance)


def _matching(name: str, names: Sequence[str]) -> list[str]:
    if name.startswith("re:"):
        try:
            expression = re.compile(name.removeprefix("re:"))
        except re.error as error:
            raise ArgumentError(f"{name!r} is no regular expression: {error}") from error
        return [n for n in names if n and expression.match(n)]
    return [n for n in names if n == name]


def _together(smooth: str, balance: str, one: str, other: str) -> bool:
    """Whether two modules that patterns name are of one layer: their numbers agree as far as both have some."""
    if not (one.startswith("re:") and other.startswith("re:")):
        return True
    numbers = [[p for p in n.split(".") if p.isdigit()] for n in (smooth, balance)]
    return numbers[0] == numbers[1][: len(numbers[0])] or numbers[1] == numbers[0][: len(numbers[1])]


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
    change, why = _scaled(found, tensors, smooth, balance, closest, seed)
    error = _measure(found, tensors, change, seed) if change else float("nan")
    missing = tuple(b for b in closest.balance if b not in balance) if closest else ()
    wrong = tuple(b for b in balance if b not in closest.balance) if closest else _before(found, smooth, balance)
    if error > SEEN:
        parts = [f"{', '.join(missing)} reads it too and does not compensate"] if missing else []
        parts += [f"{', '.join(wrong)} does not read it"] if wrong else []
        if exact is not None:
            parts = ["channels stand in another order where they are read, which a map cannot say"]
        parts += [readers_of(found, smooth)] if not parts else []
        said = f"outputs change by {error:.1%}: " + "; ".join(parts)
        return Finding(smooth, balance, Verdict.VIOLATED, error, missing, wrong, said)
    measured = "outputs did not change on random inputs" if error <= SEEN else why or "it could not be run"
    said = f"not known: {measured}, but no symmetry proves it: {readers_of(found, smooth)}"
    return Finding(smooth, balance, Verdict.UNDECIDED, error, missing, wrong, said)


def _measure(found: Symmetries, tensors: Tensors, change: Tensors, seed: int) -> float:
    """Relative change of the outputs; not a number where the network does not run."""
    try:
        start, end = outputs(found.setting, [tensors, tensors | change], seed)
    except (ModuleError, ShapeError, NotImplementedError):
        return float("nan")
    return distance(start, end)


def readers_of(found: Symmetries, smooth: str) -> str:
    """What stands between a module and its readers."""
    diagram = found.diagram
    if diagram is None:
        return "the network's axes are cut in ways that do not nest"
    mine = [n for n in found.uses if found.home(n) == smooth]
    wires = {w for n in mine for _, u in found.uses[n] for ends in u.axes for w, sign in ends if sign > 0}
    sites = dict.fromkeys(f"{s.name} ({s.rule.statement})" for w in sorted(wires) for s, _ in diagram.readers[w])
    if not mine:
        return f"no rule reads the parameters of {smooth}"
    return f"what it writes is read by {'; '.join(list(sites)[:4]) or 'nothing'}"


def _before(found: Symmetries, smooth: str, balance: Sequence[str]) -> tuple[str, ...]:
    """Modules that nothing reaches of what another module writes: a map that is written the wrong way round."""
    if found.diagram is None:
        return ()
    homes = {s.name: set(map(found.home, s.parameters)) for s in found.diagram.sites}
    reached: set[int] = set()
    behind: set[str] = set()
    for site in found.diagram.sites:
        hit = not reached.isdisjoint(site.inputs)
        behind |= homes[site.name] if hit else set()
        if hit or smooth in homes[site.name]:
            reached.update(site.outputs)
    known = set().union(*homes.values())
    return tuple(b for b in balance if b in known and b not in behind) if smooth in known else ()


def _scaled(
    found: Symmetries, tensors: Tensors, smooth: str, balance: Sequence[str], closest: Scaling | None, seed: int
) -> tuple[Tensors, str]:
    """The parameters under random factors, as a tool that reads the map scales them; or why that is impossible."""
    if closest is not None and closest.ordered and any(b in closest.balance for b in balance):
        return _answered(found, tensors, smooth, balance, closest, seed)
    ends = [_axis(found, tensors, smooth, 0), *(_axis(found, tensors, b, 1) for b in balance)]
    known = [end for end in ends if end is not None]
    if len(known) < len(ends):
        name = (smooth, *balance)[ends.index(None)]
        gain = name in tensors or f"{name}.weight" in tensors
        return {}, f"{name} has {'one number for a channel' if gain else 'no weight'}, and nothing that reads channels"
    sizes = [tensors[n].shape[axis] for n, axis in known]
    if len(set(sizes[1:])) > 1 or sizes[0] < sizes[1]:
        return {}, f"{smooth} writes {sizes[0]} channels and {balance[0]} reads {sizes[1]}"
    n = sizes[1]
    factors = torch.exp(0.4 * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    out: Tensors = {}
    (weight, axis), *others = known
    offset = _offset(found, weight)
    out[weight] = _times(tensors[weight] + offset, 1 / factors, axis) - offset
    bias = f"{smooth}.bias"
    if bias in tensors and tensors[bias].ndim == 1:
        out[bias] = _times(tensors[bias], 1 / factors, 0)
    for name, at in others:
        out[name] = _times(out.get(name, tensors[name]), factors, at)
    return out, ""


def _answered(
    found: Symmetries, tensors: Tensors, smooth: str, balance: Sequence[str], closest: Scaling, seed: int
) -> tuple[Tensors, str]:
    """The same where a symmetry says how most of them are scaled: heads, experts and packed parts as they are."""
    s = closest.symmetry
    shape = s.shape if s.kind == "scale" else s.shape[:-1]
    logs = 0.4 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    element = s.exp(logs if s.kind == "scale" else torch.diag_embed(logs))
    moves = tuple(m for m in s.moves if found.home(m.parameter) in (smooth, *balance))
    out = moved(moves, s.kinds, element, tensors)
    for name in (b for b in balance if b not in closest.balance):
        end = _axis(found, tensors, name, 1)
        if end is None or tensors[end[0]].shape[end[1]] != logs.numel():
            return out if set(closest.balance) - set(balance) else {}, f"{name} has no weight of {logs.numel()} inputs"
        out[end[0]] = _times(out.get(end[0], tensors[end[0]]), torch.exp(-logs).reshape(-1), end[1])
    return out, ""


def _axis(found: Symmetries, tensors: Tensors, module: str, side: int) -> tuple[str, int] | None:
    """The weight of a module and the axis of its outputs (side 0) or inputs (side 1)."""
    name = module if module in found.sizes else f"{module}.weight"
    if name not in tensors:
        return None
    for part, uses in found.uses.items():
        if base(part) == name:
            for _, use in uses:
                for ends, view in zip(use.axes, use.views, strict=True):
                    if (max(s for _, s in ends) > 0) == (side == 0):
                        axis = _axis_of(part, view, real_shape(tensors[name]))
                        if axis is not None:
                            return name, axis
    return (name, side) if side < tensors[name].ndim else None


def _axis_of(part: str, view: View, whole: tuple[int, ...]) -> int | None:
    """The axis of a whole parameter that a view of its part leads with: the one along which it steps."""
    numbers = torch.arange(torch.Size(whole).numel()).reshape(whole)
    seen = read(part, {base(part): numbers}).reshape(view.shape).movedim(view.order[view.lead - 1], 0)
    places = torch.unravel_index(seen.reshape(len(seen), -1)[:2, 0], whole) if len(seen) > 1 else ()
    moving = [i for i, place in enumerate(places) if place[0] != place[1]]
    return moving[0] if len(moving) == 1 else None


def _offset(found: Symmetries, weight: str) -> float:
    return float(next((u.offset for _, u in found.uses.get(weight, ())), 0))


def _times(tensor: torch.Tensor, factors: torch.Tensor, axis: int) -> torch.Tensor:
    """A tensor with the last entries of an axis multiplied."""
    every = torch.ones(tensor.shape[axis], dtype=torch.float64)
    every[-len(factors) :] = factors
    return tensor * every.to(tensor).reshape([-1 if i == axis else 1 for i in range(tensor.ndim)])
