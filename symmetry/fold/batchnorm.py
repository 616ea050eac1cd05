"""BatchNorm in evaluation goes into the linear map that writes what it reads.

Statistics and gain become part of the weight, the shift part of the bias.  A map without a bias gets one when the norm
is taken out of the model (`removal.py`); until then the norm keeps its shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from lawful.symmetry.discrete import Statistics
from lawful.symmetry.moves import put
from lawful.symmetry.running import Tensors
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.rules import BatchNormRule, FrozenNormRule, GainRule, LinearRule
from lawful.theory.parts import base

from .steps import Change, Steps, added, changed, rewritten, writing


def batchnorms(found: Symmetries, now: Tensors) -> Steps:
    """BatchNorm in evaluation: a fixed gain and shift, which the map before it takes."""
    diagram = found.diagram
    assert diagram is not None
    statistics = Statistics(diagram, found.setting, found.arch)
    modules = dict(_modules(found))
    eps = {n: eps for n, m in modules.items() if isinstance(eps := getattr(m, "eps", None), float)}
    for site in diagram.sites:
        if not isinstance(site.rule, BatchNormRule | FrozenNormRule):
            continue
        names = statistics.on(site.outputs[0])
        writer, readers = diagram.writer.get(site.inputs[0]), diagram.readers[site.inputs[0]]
        behind = [s.rule for s, _ in diagram.readers[site.outputs[0]]]
        home = names[0].rpartition(".")[0] if names else site.name
        if isinstance(site.rule, BatchNormRule):
            yield home, _of_batches(modules.get(home))
        elif len(names) != 2 or home not in eps:
            yield home, "its statistics are no buffers of the module"
        elif writer is None or not isinstance(writer.rule, LinearRule) or len(readers) > 1:
            others = ", ".join(s.name for s, _ in readers if s is not site)
            yield home, f"what it reads is read by {others} too" if others else "no linear map writes what it reads"
        elif len(found.uses[writer.rule.weight]) > 1:
            yield home, f"{writer.rule.weight} is used elsewhere too"
        else:
            gain = behind[0] if len(behind) == 1 and isinstance(behind[0], GainRule) else None
            yield _batchnorm(writer, gain, names, eps[home], home, now)


def _of_batches(module: torch.nn.Module | None) -> str:
    """Why a norm that takes the statistics of every batch is no fixed gain and shift."""
    if module is not None and module.training:
        return "it is in training mode, where it takes the statistics of every batch; call model.eval() before the fold"
    return "it takes the statistics of every batch, also in evaluation"


def _modules(found: Symmetries) -> list[tuple[str, torch.nn.Module]]:
    network = found.setting.network
    return list(network.named_modules()) if isinstance(network, torch.nn.Module) else []


def _batchnorm(
    site: Site, own: GainRule | None, names: Sequence[str], eps: float, home: str, now: Tensors
) -> tuple[str, Change | str]:
    """Statistics and gain go into the weight, the shift into the bias; where there is no bias it stays for removal."""
    linear = site.rule
    assert isinstance(linear, LinearRule)
    mean, var = now[names[0]], now[names[1]]
    gain, shift = (None, None) if own is None else (own.gain, own.bias)
    factor = (1.0 if gain is None else now[gain]) / torch.sqrt(var + eps)
    step = (0.0 if shift is None else now[shift]) - mean * factor
    if linear.bias is None and shift is None and bool((step != 0).any()):
        return home, f"{base(linear.weight)} has no bias that could take the shift, and the norm has none of its own"
    work = rewritten(site, site.outputs[0], len(mean), now, lambda x: x * factor.reshape(-1, *[1] * (x.ndim - 1)))
    if linear.bias is not None:
        name = base(linear.bias)
        use = next(u for u in linear.uses(site) if u.parameter == linear.bias)
        work[name] = put(writing(use, len(mean), site.outputs[0]), work, partial(added, step))
        step = torch.zeros_like(step)
    if shift is not None:
        work[shift] = step
    if gain is not None:
        work[gain] = torch.ones_like(mean)
    work[names[0]], work[names[1]] = torch.zeros_like(mean), torch.full_like(var, 1 - eps)  # it divides by 1
    path = base(linear.weight).rpartition(".")[0]
    what = ", ".join(["statistics", *(["gain"] if gain else []), *(["shift"] if shift else [])])
    return f"{what} of {home} into {path}", (changed(work, now), {home: path})
