"""Gains and shifts of norms go into the linear maps that read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from lawful.symmetry.export import Scaling, scalings
from lawful.symmetry.moves import put
from lawful.symmetry.reach import readers_of
from lawful.symmetry.running import Tensors
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.diagram import Diagram
from lawful.theory.gauge.rules import BatchNormRule, FrozenNormRule, GainRule, LinearRule, PassRule
from lawful.theory.parts import base, read

from .steps import Change, Steps, changed, reading, with_bias


def norms(found: Symmetries, now: Tensors) -> Steps:
    """Gains and shifts behind norms."""
    diagram = found.diagram
    assert diagram is not None
    known = {s.smooth: s for s in scalings(found) if s.norm}
    for site in diagram.sites:
        writer = diagram.writer.get(site.inputs[0]) if site.inputs else None
        if not isinstance(site.rule, GainRule) or site.rule.gain is None or writer is None:
            continue
        if isinstance(writer.rule, LinearRule | BatchNormRule | FrozenNormRule):
            continue  # a scale of a layer, and norms that another fold is about
        rule, end = _whole(diagram, site)
        norm = base(rule.gain or "").rpartition(".")[0]
        readers = _readers(diagram, end)
        others = [s for s in readers if not isinstance(s.rule, LinearRule)]
        if norm not in known or others:
            tied = [
                s.rule.weight for s in readers if isinstance(s.rule, LinearRule) and len(found.uses[s.rule.weight]) > 1
            ]
            why = f"{', '.join(tied)} is tied, and its other use would change" if tied else readers_of(found, norm)
            if others:
                why = f"it is read by {', '.join(s.name for s in others)}, and only a linear map can take it"
            yield f"gain of {norm or base(site.rule.gain)}", why
            continue
        yield _norm(found, known[norm], rule, readers, now)


def _whole(diagram: Diagram, site: Site) -> tuple[GainRule, int]:
    """A gain with the shift behind it, where that is written apart, and the wire that both write."""
    rule, wire = site.rule, site.outputs[0]
    assert isinstance(rule, GainRule)
    behind = diagram.readers[wire]
    shift = behind[0][0].rule if len(behind) == 1 else None
    if rule.bias is None and isinstance(shift, GainRule) and shift.gain is None and shift.bias:
        return replace(rule, bias=shift.bias), behind[0][0].outputs[0]
    return rule, wire


def _readers(diagram: Diagram, wire: int) -> list[Site]:
    """The blocks that read a wire, behind averages over positions and picks of some, which keep every constant."""
    out: list[Site] = []
    for site, _ in diagram.readers[wire]:
        passing = isinstance(site.rule, PassRule) and site.rule.keeps_constants
        out += _readers(diagram, site.outputs[0]) if passing else [site]
    return out


def _norm(
    found: Symmetries, known: Scaling, rule: GainRule, readers: Sequence[Site], now: Tensors
) -> tuple[str, Change | str]:
    assert rule.gain is not None
    gain = now[rule.gain] + float(rule.offset)
    plain = 1.0 - float(rule.offset)
    shift = now[rule.bias] if rule.bias else torch.zeros_like(gain)
    what = "gain and shift" if rule.bias else "gain"
    said = f"{what} of {known.smooth} into {', '.join(known.balance)}"
    work = dict(now)
    for site in readers:
        linear = site.rule
        assert isinstance(linear, LinearRule)
        use = next(u for u in linear.uses(site) if u.parameter == linear.weight)
        part = reading(use, len(gain), site.inputs[0])
        if bool((shift != 0).any()):
            if linear.bias is None:
                return f"{what} of {known.smooth}", f"{base(linear.weight)} has no bias that could take the shift"
            if not linear.keeps_constants:
                return f"{what} of {known.smooth}", f"{base(linear.weight)} pads with zeros, which no bias can undo"
            x = part.read(read(linear.weight, work))
            step = _taken(x, shift, linear)
            work[base(linear.bias)] = with_bias(found, linear.bias, step, work)
        work[base(linear.weight)] = put(part, work, lambda x: x * gain.reshape(-1, 1, 1))
    work[rule.gain] = torch.full_like(gain, plain)
    empty: dict[str, float | str] = {rule.gain: plain}
    if rule.bias:
        work[rule.bias] = torch.zeros_like(shift)
        empty[rule.bias] = 0.0
    return said, (changed(work, now), empty)


def _taken(x: torch.Tensor, shift: torch.Tensor, linear: LinearRule) -> torch.Tensor:
    """What a linear map makes of a constant, from its weight as `(in, 1, out / groups * kernel)`."""
    if linear.groups == 1:
        out = linear.shape_[1] if linear.transposed else linear.shape_[0]
        return (x * shift.reshape(-1, 1, 1)).sum((0, 1)).reshape(out, -1).sum(1)
    outs = linear.shape_[0] // linear.groups
    each = (x * shift.reshape(-1, 1, 1)).reshape(linear.groups, -1, outs, x.shape[-1] // outs)
    return each.sum((1, 3)).reshape(-1)
