"""Shifts that a later parameter undoes: gauges that are no gradients, and so give no law.

A bias may move a wire by a constant `t` if whoever reads the wire answers: a linear map with a bias of its own by
`xi_b' = -W t`.  Such a field depends on the parameters, and its derivative `-W` on one side is not symmetric, so it is
not the gradient of a function.  It still moves along the fibre of functions that are equal (a value bias of attention
against the output bias).  Constant fields, which do give laws, are the special case in which nobody has to answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import singledispatchmethod

import torch

from .contract import Rule, Site
from .diagram import Diagram
from .rules import (
    AddRule,
    AttentionRule,
    ConcatRule,
    DiscardRule,
    GainRule,
    LinearRule,
    OutputRule,
    PassRule,
    TableRule,
)

Unknown = tuple[str, int | str]  # a wire, or a parameter that adds a constant
Row = dict[Unknown, torch.Tensor]


class Translations:
    """Constant shifts of wires at one point, and what parameters do about them.

    Every position of a wire is shifted alike.  A rule that is not listed here lets no shift through.

    Args:
        diagram: the network.
        values: its parameters, float64.
    """

    def __init__(self, diagram: Diagram, values: Mapping[str, torch.Tensor]) -> None:
        self.diagram, self.values = diagram, values
        self._rows: list[Row] = []
        for site in diagram.sites:
            self._read(site.rule, site)

    def fields(self) -> list[dict[str, torch.Tensor]]:
        """A basis of the fields, each as a tensor for every parameter that it moves."""
        sizes: dict[Unknown, int] = {("wire", w): wire.size for w, wire in enumerate(self.diagram.wires)}
        sizes |= {k: m.shape[1] for row in self._rows for k, m in row.items() if k[0] == "parameter"}
        names, start = list(sizes), dict(zip(sizes, _starts(list(sizes.values())), strict=True))
        blocks = []
        for row in self._rows:
            block = torch.zeros(next(iter(row.values())).shape[0], sum(sizes.values()), dtype=torch.float64)
            for k, m in row.items():
                block[:, start[k] : start[k] + sizes[k]] += m
            blocks.append(block)
        system = torch.cat(blocks)
        _, s, basis = torch.linalg.svd(system)
        rank = int((s > 1e-10 * s.max().clamp_min(1e-300)).sum())
        moved = [k for k in names if k[0] == "parameter"]
        found = []
        for vector in basis[rank:]:
            field = {str(k[1]): vector[start[k] : start[k] + sizes[k]] for k in moved}
            if any(float(v.norm()) > 1e-10 for v in field.values()):
                found.append({n: v.expand(self.values[n].shape) for n, v in field.items()})
        return found

    def _eye(self, wire: int) -> torch.Tensor:
        return torch.eye(self.diagram.wires[wire].size, dtype=torch.float64)

    def _stop(self, *wires: int) -> None:
        self._rows += [{("wire", w): self._eye(w)} for w in wires]

    def _give(self, wire: int, maps: Iterable[tuple[int, torch.Tensor]], parameter: str | None = None) -> None:
        """A wire's shift is the sum of maps of other wires' and of what a parameter adds."""
        row: Row = {("wire", wire): self._eye(wire)}
        for w, m in maps:
            row["wire", w] = row.get(("wire", w), torch.zeros_like(m)) - m
        if parameter and not self.diagram.parameters[parameter].frozen:
            row["parameter", parameter] = -self._eye(wire)
        self._rows.append(row)

    @singledispatchmethod
    def _read(self, rule: Rule, site: Site) -> None:
        """Whatever sees a shift."""
        self._stop(*site.inputs, *site.outputs)

    @_read.register
    def _(self, rule: DiscardRule, site: Site) -> None:
        """Nothing reads it."""

    @_read.register
    def _(self, rule: OutputRule, site: Site) -> None:
        (w,) = site.inputs
        seen = self._eye(w)
        if rule.loss.span == "shift":
            seen = seen - 1.0 / len(seen)
        self._rows.append({("wire", w): seen})

    @_read.register
    def _(self, rule: LinearRule, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if not rule.keeps_constants or rule.still or rule.padding is not None or rule.transposed:
            self._stop(x)
        maps = []
        if not rule.transposed and not rule.lookup:
            weight = self.values[rule.weight].double().reshape(*rule.shape_[:2], -1).sum(-1)
            whole = torch.block_diag(*weight.chunk(rule.groups))
            if rule.offset:
                whole = whole + float(rule.offset) * torch.eye(len(whole), dtype=torch.float64)
            maps = [(x, whole)]
        self._give(y, maps, rule.bias)

    @_read.register
    def _(self, rule: TableRule, site: Site) -> None:
        self._give(site.outputs[0], [], rule.table)

    @_read.register
    def _(self, rule: GainRule, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        factor = self.values[rule.gain].double().reshape(-1) if rule.gain else torch.ones(rule.size).double()
        self._give(y, [(x, torch.diag(factor + float(rule.offset)))], rule.bias)

    @_read.register
    def _(self, rule: AddRule, site: Site) -> None:
        y = site.outputs[0]
        self._give(y, [(x, self._eye(y)) for x in site.inputs])

    @_read.register
    def _(self, rule: ConcatRule, site: Site) -> None:
        whole, parts = (site.inputs[0], site.outputs) if rule.cut else (site.outputs[0], site.inputs)
        pieces = zip(parts, self._eye(whole).split([self.diagram.wires[w].size for w in parts]), strict=True)
        if not rule.cut:
            self._give(whole, [(part, piece.T) for part, piece in pieces])
            return
        for part, piece in pieces:
            self._give(part, [(whole, piece)])

    @_read.register
    def _(self, rule: PassRule, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        self._stop(*site.inputs[1:], *site.outputs[1:])
        if rule.keeps_constants:
            self._give(y, [(x, float(rule.factor) * self._eye(x))])
        else:
            self._stop(x, y)

    @_read.register
    def _(self, rule: AttentionRule, site: Site) -> None:
        # Weights that sum to 1 pass a constant of the values on, to every query head that reads them.
        v, y = site.inputs[2], site.outputs[0]
        self._stop(*site.inputs[:2], *site.inputs[3:])
        if not rule.normalised or rule.noisy or rule.sink:
            self._stop(v, y)
            return
        heads = self._eye(v).reshape(rule.kv_heads, -1, self.diagram.wires[v].size)
        self._give(y, [(v, heads.repeat_interleave(rule.heads // rule.kv_heads, 0).flatten(0, 1))])


def _starts(sizes: list[int]) -> list[int]:
    return [sum(sizes[:i]) for i in range(len(sizes))]
