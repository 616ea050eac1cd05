"""What writes into a stream that only LayerNorms read is centred: their means do nothing afterwards.

A LayerNorm does not see the mean over the features.  Once every writer of a stream has mean zero, the LayerNorm is an
RMSNorm, which lets the stream turn (SliceGPT, Ashkboos et al. 2024; QuaRot, Ashkboos et al. 2024).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from lawful.symmetry.running import Tensors
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.diagram import Diagram
from lawful.theory.gauge.rules import (
    AddRule,
    DiscardRule,
    GainRule,
    LinearRule,
    NormRule,
    PassRule,
    ScalarGainRule,
    TableRule,
    TokensRule,
)
from lawful.theory.parts import base, read

from .steps import Change, Steps, changed, rewritten, used_elsewhere


def centring(found: Symmetries, now: Tensors) -> Steps:
    """Every stream of which a LayerNorm reads the whole."""
    diagram = found.diagram
    assert diagram is not None
    seen: set[int] = set()
    for site in diagram.sites:
        if not _blind(site.rule) or site.inputs[0] in seen:
            continue
        wires, near = _stream(diagram, site.inputs[0], now)
        seen |= wires
        said = f"centring of {diagram.wires[min(wires)].name}"
        norms = [s for s in near if _blind(s.rule) and s.inputs[0] in wires]
        written = [s for s in near if _centrable(s, now) and s.outputs[0] in wires]
        others = [s for s in near if not _fits(s, wires, now)]
        tied = next((t for s in written if isinstance(s.rule, LinearRule) and (t := used_elsewhere(found, s.rule))), "")
        if others:
            yield said, "on it stands " + ", ".join(f"{s.name} ({s.rule.statement})" for s in others)
        elif tied:
            yield said, f"{tied} is used elsewhere too"
        elif all(not list(s.rule.uses(s)) for s in written):
            yield said, "nothing that is trained writes it"
        else:
            yield f"{said}, read by {', '.join(s.name for s in norms)}", _centred(diagram, written, wires, norms, now)


def _blind(rule: object) -> bool:
    """Whether a block reads all features and does not see their mean."""
    return isinstance(rule, NormRule) and rule.centre and rule.groups == 1


def _centrable(site: Site, now: Tensors) -> bool:
    """Whether what a block writes is centred by centring parameters of it alone."""
    rule = site.rule
    if isinstance(rule, GainRule):
        return rule.bias is not None and _passes(site, now)
    return isinstance(rule, TableRule) or (isinstance(rule, LinearRule) and rule.groups == 1)


def _fits(site: Site, wires: set[int], now: Tensors) -> bool:
    """Whether a block at the end of a stream does not see its mean, and writes what has none or can be centred."""
    reads, writes = not wires.isdisjoint(site.inputs), not wires.isdisjoint(site.outputs)
    if _passes(site, now):
        return True
    read = _blind(site.rule) or isinstance(site.rule, DiscardRule)
    return (read or not reads) and (not writes or _blind(site.rule) or _centrable(site, now))


def _passes(site: Site, now: Tensors) -> bool:
    """Whether what a block writes has mean zero if what it reads has: all features are treated alike."""
    rule = site.rule
    if isinstance(rule, GainRule):
        return rule.gain is None or bool((read(rule.gain, now) + float(rule.offset) == 1).all())
    return isinstance(rule, AddRule | PassRule | TokensRule | ScalarGainRule) and not rule.noisy


def _stream(diagram: Diagram, start: int, now: Tensors) -> tuple[set[int], list[Site]]:
    """The wires that have mean zero together, and the blocks at their ends."""
    wires, waiting, ends = set[int](), [start], dict[str, Site]()
    while waiting:
        w = waiting.pop()
        if w in wires:
            continue
        wires.add(w)
        for site in _near(diagram, w):
            if _passes(site, now):
                waiting += [*site.inputs, *site.outputs]
                if isinstance(site.rule, GainRule) and site.rule.bias:
                    ends[site.name] = site
            else:
                ends[site.name] = site
    return wires, list(ends.values())


def _near(diagram: Diagram, w: int) -> Iterator[Site]:
    if w in diagram.writer:
        yield diagram.writer[w]
    yield from (s for s, _ in diagram.readers[w])


def _centred(diagram: Diagram, written: list[Site], wires: set[int], norms: list[Site], now: Tensors) -> Change:
    work = dict(now)
    for site in written:
        w = site.outputs[0]
        if isinstance(site.rule, GainRule):
            bias = base(site.rule.bias or "")
            work[bias] = work[bias] - work[bias].mean()
        else:
            work = rewritten(site, w, diagram.wires[w].size, work, _without_mean)
    return changed(work, now), {s.name: 0.0 for s in norms}


def _without_mean(x: torch.Tensor) -> torch.Tensor:
    return x - x.mean(0, keepdim=True)
