"""Layer scale goes into the linear map that it scales: one factor per feature, or one for all."""

from __future__ import annotations

import torch

from lawful.symmetry.running import Tensors
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.rules import GainRule, LinearRule, ScalarGainRule
from lawful.theory.parts import base, read

from .steps import Change, Steps, changed, rewritten, used_elsewhere


def scales(found: Symmetries, now: Tensors) -> Steps:
    """Gains of what a linear map alone writes."""
    diagram = found.diagram
    assert diagram is not None
    for site in diagram.sites:
        rule = site.rule
        if not isinstance(rule, GainRule | ScalarGainRule) or rule.gain is None:
            continue
        x = site.inputs[0]
        writer = diagram.writer.get(x)
        if writer is None or not isinstance(writer.rule, LinearRule):
            continue
        said, tied = f"scale {rule.gain}", used_elsewhere(found, writer.rule)
        others = [s.name for s, _ in diagram.readers[x] if s is not site]
        if others:
            yield said, f"what it scales is read by {', '.join(others)} too"
        elif tied:
            yield said, f"{tied} is used elsewhere too"
        elif len(found.uses[rule.gain]) > 1:
            yield said, "it is used elsewhere too"
        else:
            yield (
                f"{said} into {base(writer.rule.weight).rpartition('.')[0]}",
                _scaled(writer, rule, diagram.wires[x].size, now),
            )


def _scaled(writer: Site, rule: GainRule | ScalarGainRule, size: int, now: Tensors) -> Change:
    assert rule.gain is not None
    factor = read(rule.gain, now).reshape(-1) + float(rule.offset)
    each = factor.expand(size)

    def act(x: torch.Tensor) -> torch.Tensor:
        return x * each.reshape(-1, *[1] * (x.ndim - 1))

    work = rewritten(writer, writer.outputs[0], size, now, act)
    plain = 1.0 - float(rule.offset)
    work[base(rule.gain)] = torch.full_like(now[base(rule.gain)], plain)
    return changed(work, now), {rule.gain: plain}
