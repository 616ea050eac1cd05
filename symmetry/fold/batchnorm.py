"""BatchNorm in evaluation goes into the linear map that writes what it reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lawful.symmetry.discrete import Statistics
from lawful.symmetry.running import Tensors
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.rules import BatchNormRule, FrozenNormRule, GainRule, LinearRule
from lawful.theory.parts import base

from .steps import Change, Steps, changed, rewritten


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
        elif (
            len(behind) != 1 or not isinstance(behind[0], GainRule) or behind[0].gain is None or behind[0].bias is None
        ):
            yield home, "it has no gain and shift of its own"
        else:
            yield _batchnorm(writer, behind[0], names, eps[home], home, now)


def _of_batches(module: torch.nn.Module | None) -> str:
    """Why a norm that takes the statistics of every batch is no fixed gain and shift."""
    if module is not None and module.training:
        return "it is in training mode, where it takes the statistics of every batch; call model.eval() before the fold"
    return "it takes the statistics of every batch, also in evaluation"


def _modules(found: Symmetries) -> list[tuple[str, torch.nn.Module]]:
    network = found.setting.network
    return list(network.named_modules()) if isinstance(network, torch.nn.Module) else []


def _batchnorm(
    site: Site, gain: GainRule, names: Sequence[str], eps: float, home: str, now: Tensors
) -> tuple[str, Change | str]:
    linear = site.rule
    assert isinstance(linear, LinearRule) and gain.gain is not None and gain.bias is not None
    mean, var = now[names[0]], now[names[1]]
    factor = now[gain.gain] / torch.sqrt(var + eps)
    work = rewritten(site, site.outputs[0], len(factor), now, lambda x: x * factor.reshape(-1, *[1] * (x.ndim - 1)))
    work[gain.bias] = now[gain.bias] - mean * factor
    work[gain.gain] = torch.full_like(factor, (1 + eps) ** 0.5)
    work[names[0]], work[names[1]] = torch.zeros_like(mean), torch.ones_like(var)
    return f"statistics and gain of {home} into {base(linear.weight).rpartition('.')[0]}", (
        changed(work, now),
        {},
    )
