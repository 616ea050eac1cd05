"""Biases of values go into the output bias of attention, since the weights of a query sum to 1."""

from __future__ import annotations

import torch

from lawful.symmetry.moves import put
from lawful.symmetry.running import Tensors
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.rules import AttentionRule, ConcatRule, LinearRule
from lawful.theory.laws.statement import Part
from lawful.theory.parts import base, read

from .steps import Steps, changed, reading, view_of, with_bias


def values(found: Symmetries, now: Tensors) -> Steps:
    """A constant of the values is one of the output: the weights of a query sum to 1."""
    diagram = found.diagram
    assert diagram is not None
    for site in diagram.sites:
        rule = site.rule
        if not isinstance(rule, AttentionRule):
            continue
        v, y = site.inputs[2], site.outputs[0]
        readers, (writer, start) = diagram.readers[y], _written(found, v)
        if writer is None or not isinstance(writer.rule, LinearRule) or writer.rule.bias is None:
            continue
        bias = writer.rule.bias
        reader = readers[0][0].rule if len(readers) == 1 else None
        if not rule.normalised or rule.sink is not None or (rule.noisy and found.setting.network.training):  # type: ignore[union-attr]
            yield bias, "the weights of a query do not sum to 1"
        elif (
            len(diagram.readers[v]) > 1
            or not isinstance(reader, LinearRule)
            or reader.bias is None
            or reader.groups > 1
        ):
            why = (
                "the values are read elsewhere too"
                if len(diagram.readers[v]) > 1
                else "no linear map with a bias reads it"
            )
            yield bias, why
        elif len(found.uses[bias]) > 1 or len(found.uses[reader.bias]) > 1:
            yield bias, "it is used elsewhere too"
        else:
            copies, n, width = rule.heads // rule.kv_heads, diagram.wires[y].size, diagram.wires[v].size
            size = read(bias, now).numel()
            mine = Part(bias, view_of(found, bias), (size,), ((start, start + width),), (width,), (0,))
            value = mine.read(read(bias, now)).reshape(rule.kv_heads, 1, -1).expand(-1, copies, -1).reshape(-1)
            use = next(u for u in reader.uses(readers[0][0]) if u.parameter == reader.weight)
            x = reading(use, n, y).read(read(reader.weight, now))
            step = (x * value.reshape(-1, 1, 1)).sum((0, 1))
            work = dict(now)
            work[base(reader.bias)] = with_bias(found, reader.bias, step, work)
            work[base(bias)] = put(mine, work, torch.zeros_like)
            yield f"{bias} into {reader.bias}", (changed(work, now), {})


def _written(found: Symmetries, w: int) -> tuple[Site | None, int]:
    """The map that writes a wire, and where the wire begins in what it writes (packed projections are cut)."""
    diagram = found.diagram
    assert diagram is not None
    writer = diagram.writer.get(w)
    if writer is None or not isinstance(writer.rule, ConcatRule) or not writer.rule.cut:
        return writer, 0
    before = writer.outputs[: writer.outputs.index(w)]
    whole = writer.inputs[0]
    alone = len(diagram.readers[whole]) == 1
    return (diagram.writer.get(whole) if alone else None), sum(diagram.wires[v].size for v in before)
