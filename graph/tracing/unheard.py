"""Values without a gradient that change nothing: the largest logit that a softmax subtracts, written out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch.fx import Node

from lawful.theory.oracle.double import double
from lawful.theory.oracle.lending.storage import own_parameters
from lawful.theory.oracle.modules import as_double, perturbed

from .program import Program
from .running import batch_of, calls, draw_inputs, dropout_off

POINTS = 2
SILENT = 1e-9  # relative to what the outputs are


def unheard(program: Program, module: torch.nn.Module, nodes: Collection[Node]) -> set[Node]:
    """Those of some calls whose values may be anything near what they are: no output moves with them.

    Args:
        program: what was traced.
        module: the module, for the numbers of its parameters.
        nodes: the calls.
    """
    left = {n for n in nodes if isinstance(n.meta.get("val"), torch.Tensor) and n.meta["val"].is_floating_point()}
    if not left or any(p.device.type == "meta" for p in module.parameters()):
        return set()
    generator = torch.Generator().manual_seed(0)
    with dropout_off(), double(), torch.enable_grad():
        for _ in range(POINTS):
            values = {n: perturbed(as_double(p.detach()), generator) for n, p in own_parameters(module).items()}
            inputs = draw_inputs(program, batch_of(program), generator)
            leaves: dict[Node, torch.Tensor] = {}
            env: dict[Node, Any] = {}
            try:
                for node in calls(program, values, inputs, env):
                    if node in left:
                        leaves[node] = env[node] = env[node].detach().requires_grad_()
            except Exception:  # calls that only run inside of a transform
                return set()
            outputs = [env[n] for _, n in program.outputs]
            total = sum((y * torch.randn(y.shape, generator=generator, dtype=y.dtype)).sum() for y in outputs)
            size = max(float(y.detach().abs().max()) for y in outputs)
            if not isinstance(total, torch.Tensor) or not total.requires_grad:
                return left
            slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
            for (node, leaf), g in zip(leaves.items(), slopes, strict=True):
                moved = 0.0 if g is None else float(g.norm()) * (1 + float(leaf.detach().norm()))
                if not moved <= SILENT * size:
                    left.discard(node)
    return left


__all__ = ["unheard"]
