"""Which optimizer treatment each parameter can have, from what its laws and symmetries say about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lawful.theory.arguments import ArgumentError
from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.rules import (
    AddRule,
    FlattenRule,
    GainRule,
    HomogeneousRule,
    MixtureRule,
    OffsetRule,
    OpaqueRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    ReorderRule,
    RepeatRule,
    ScanRule,
    SelectiveScanRule,
    TableRule,
    TurnRule,
    UnflattenRule,
    WholeRule,
)
from lawful.theory.laws.statement import Term
from lawful.theory.parts import base
from lawful.theory.typed import typed

from .given import WAYS
from .symmetries import Symmetries, symmetries

REASONS = {
    "unseen": "no output depends on it, so that its gradient is zero",
    "scale_invariant": "the function does not depend on its size (a norm reads it), so that decay only sets the step",
    "gains": "a gain, or a shift: decay pulls it away from what it is for",
    "rates": "it only multiplies features, as it is or through exp, sigmoid, ... (how fast a state decays, a "
    "temperature): decay pulls it to another rate, not to a simpler function",
    "tables": "a table whose rows are looked up or added: no matrix that maps features",
    "matrices": "a matrix that maps features to features: what Muon and Shampoo are for",
    "others": "no rule says what it is",
}
FUNCTIONS = (
    FlattenRule
    | HomogeneousRule
    | OffsetRule
    | PassRule
    | PointwiseRule
    | ReorderRule
    | RepeatRule
    | TurnRule
    | UnflattenRule
)  # of numbers, or of where they stand


@typed(ways=WAYS)
def param_groups(
    model: torch.nn.Module,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    weight_decay: float = 0.01,
    network: Symmetries | None = None,
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer of torch, each with a name and a reason.

    Args:
        model: a module.
        args: example inputs.
        kwargs: keyword inputs.
        weight_decay: of matrices and tables; everything else gets none.
        network: what `symmetries` gave for the module, if it is there.

    Returns:
        Dicts with `params`, `weight_decay`, and `name`, `reason` and `names`, which optimizers ignore; every trainable
        parameter is in one of them: `unseen`, `scale_invariant` (convolutions before BatchNorm), `gains` (and biases),
        `rates` (what decays a state, temperatures), `tables`, `matrices`, `others`.

    Raises:
        ShapeError: for a module without inputs.
        ValueError: for a weight decay below 0.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    >>> for group in param_groups(model, args=(torch.randn(5, 3),)):
    ...     print(group["name"], group["names"], group["weight_decay"])
    scale_invariant ['0.weight'] 0.0
    gains ['1.weight', '1.bias', '3.bias'] 0.0
    matrices ['3.weight'] 0.01
    """
    if weight_decay < 0:
        raise ArgumentError(f"param_groups: weight_decay is {weight_decay}; it must be at least 0")
    found = network if network is not None else symmetries(model, args=args, kwargs=kwargs)
    kinds = _kinds(found)
    groups: dict[str, list[str]] = {}
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for name in trained:
        groups.setdefault(kinds.get(name, "others"), []).append(name)
    return [
        {
            "params": [trained[n] for n in groups[kind]],
            "weight_decay": weight_decay if kind in ("matrices", "tables", "others") else 0.0,
            "name": kind,
            "reason": reason,
            "names": groups[kind],
        }
        for kind, reason in REASONS.items()
        if kind in groups
    ]


def _kinds(found: Symmetries) -> dict[str, str]:
    """What every parameter is."""
    out: dict[str, str] = {}
    for site in found.diagram.sites if found.diagram is not None else ():
        if isinstance(site.rule, ScanRule | SelectiveScanRule):
            out |= {base(n): "rates" for n in site.parameters}
    for name, uses in found.uses.items():
        for site, use in uses:
            rule = site.rule
            if isinstance(rule, OpaqueRule | WholeRule):
                continue  # what it does with them is not known
            if all(_is_factor(found, s) for s, _ in uses):
                kind = "rates"
            elif base(name) in found.tables and not all(_is_shift(found, s) for s, _ in uses):
                kind = "tables"
            elif use.constant or isinstance(rule, GainRule) or len(use.axes) < 2:
                kind = "gains"
            else:
                kind = "matrices"
            out[base(name)] = kind
    sizes: dict[str, int] = {}
    for law in found.laws:
        if law.kind == "frozen":
            for n in law.parameters:
                sizes[base(n)] = sizes.get(base(n), 0) + law.count
    for name, count in sizes.items():
        parameter = found.arch.parameters.get(name)
        if parameter is not None and count >= parameter.size:
            out[name] = "unseen"
    for law in found.laws:
        # ||W||^2 is conserved by itself exactly where the size of W is unseen (up to the epsilon of the norm)
        terms = [t for t in law.terms if out.get(base(t.part.parameter)) != "unseen"]
        alone = {base(t.part.parameter) for t in terms}
        if law.kind == "balance" and len(alone) == 1 and all(map(_whole, terms)):
            name = next(iter(alone))
            out[name] = "scale_invariant" if out.get(name) == "matrices" else out.get(name, "others")
    return out


def _is_factor(found: Symmetries, site: Site) -> bool:
    """Whether what a site holds meets features only in products, by itself or as a function of it."""
    if found.diagram is None or not isinstance(site.rule, TableRule):
        return False
    waiting, seen = list(site.outputs), set[int]()
    while waiting:
        w = waiting.pop()
        for reader, _ in found.diagram.readers[w]:
            if isinstance(reader.rule, FUNCTIONS):
                waiting += [v for v in reader.outputs if v not in seen]
                seen.update(reader.outputs)
            elif not isinstance(reader.rule, ProductRule | MixtureRule):
                return False
    return any(found.diagram.readers[w] for w in site.outputs)


def _is_shift(found: Symmetries, site: Site) -> bool:
    """Whether a site holds one row that is added at every position alike: a shift."""
    if found.diagram is None or not isinstance(site.rule, TableRule) or math.prod(site.rule.shape_[:-1]) != 1:
        return False
    waiting, added = list(site.outputs), False
    while waiting:
        for reader, _ in found.diagram.readers[waiting.pop()]:
            if isinstance(reader.rule, PassRule):
                waiting += reader.outputs
            elif not isinstance(reader.rule, AddRule):
                return False
            else:
                added = True
    return added


def _whole(term: Term) -> bool:
    """Whether a term adds up squares of a whole parameter."""
    part = term.part
    full = part.parameter == base(part.parameter) and all(
        run == (0, n) for run, n in zip(part.slices, part.sizes, strict=True)
    )
    return term.coefficient > 0 and term.partner is None and not term.off_diagonal and full
