"""A gradient that is stopped tells a law of training from a symmetry of the function: every symmetry is tried once.

A law says that no gradient moves it.  Where the forward reads numbers whose gradient it stops (the row of a padding
token, `detach`, a straight-through estimator) that is no statement about the function, and the transformation behind
the law may change it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lawful.blocks import ShapeError
from lawful.graph.architecture.architecture import Architecture
from lawful.theory.gauge.rules import DiscardRule, LinearRule, OpaqueRule
from lawful.theory.refusals import ModuleError

from .models import of_model
from .running import Setting, Tensors, distance, outputs, tensors_of
from .symmetry import TOLERANCE, Symmetry

JOINT = 100 * TOLERANCE  # rounding of all elements one after the other
ROUNDS = 12  # trials where something may be compared: a gate or a choice changes its mind at some examples only
LARGEST = 50_000_000  # parameters of an architecture that is drawn at random for a trial


def tried(
    found: Sequence[Symmetry], setting: Setting, arch: Architecture, seed: int = 0
) -> tuple[list[Symmetry], list[str]]:
    """The symmetries that leave the outputs alone, and notes on the others, or on why they were not tried.

    All of them act at once; only if that changes an output is each tried by itself.
    """
    stopped = [s.name for s in arch.diagram("mse").sites if _stops(s.rule)]
    if not found:
        return [], []
    if not _runs(setting, arch):
        if not stopped:
            return list(found), []
        return list(found), [
            f"a gradient may be stopped at {stopped[0]}, and nothing was run: symmetries of laws were not tried"
        ]
    if isinstance(setting.network, Architecture) and not stopped and arch.trace is None:
        return list(found), []
    generator = torch.Generator().manual_seed(seed)
    _, start = of_model(setting, None, generator)

    def worst(symmetries: Sequence[Symmetry], bound: float) -> float:
        error = 0.0
        for i in range(ROUNDS):
            now: Tensors = dict(start)
            for s in list(symmetries) * (1 + i % 3):  # larger elements too
                now |= s.changed(now, s.random(generator))
            one, other = outputs(setting, [start, now], seed + i)
            error = max(error, distance(one, other))
            if not error <= bound or not (stopped or any(map(_whole, one))):
                break
        return error

    try:
        error = worst(found, JOINT)
    except (ModuleError, ShapeError) as problem:
        return list(found), [f"symmetries were not tried: {problem}"]
    if error <= JOINT:
        return list(found), []
    kept, notes = [], []
    for s in found:
        error = worst([s], TOLERANCE)
        if error <= TOLERANCE:
            kept.append(s)
        else:
            why = f": a gradient may be stopped at {stopped[0]}" if stopped else ""
            notes.append(f"{s.name} is no symmetry of the function, whose outputs change by {error:.0e}{why}")
    return kept, notes


def _whole(output: torch.Tensor) -> bool:
    """Whether an output is codes or choices: whole numbers, which answer to no small change."""
    return output.numel() > 0 and bool((output == output.round()).all())


def _stops(rule: object) -> bool:
    """Whether a rule may stand for numbers whose gradient is stopped."""
    return isinstance(rule, DiscardRule | OpaqueRule) or (isinstance(rule, LinearRule) and rule.still)


def _runs(setting: Setting, arch: Architecture) -> bool:
    if isinstance(setting.network, torch.nn.Module):
        return not any(t.is_meta for t in tensors_of(setting.network).values())
    return sum(p.size for p in arch.parameters.values()) <= LARGEST
