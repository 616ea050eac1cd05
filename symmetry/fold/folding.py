"""Folds: parameters move into others that can do their work; each fold is exact, or refused with its reason.

What the diagram allows is done, and then tried: a fold that changes the outputs is taken back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.symmetry.given import FOLDING, weights_of
from lawful.symmetry.models import of_model, write
from lawful.symmetry.reach import readers_of
from lawful.symmetry.running import copied, distance, outputs, tensors_of
from lawful.symmetry.symmetries import Symmetries, symmetries, unread_parts
from lawful.symmetry.symmetry import TOLERANCE
from lawful.theory.arguments import of_right_kinds, plural
from lawful.theory.laws.pages import Printed
from lawful.theory.parts import base
from lawful.theory.typed import typed

from .batchnorm import batchnorms
from .centring import centring
from .norms import norms
from .removal import without
from .scales import scales
from .steps import Gone
from .values import values

MAKERS = {"norms": norms, "batchnorm": batchnorms, "values": values, "scales": scales, "centring": centring}
KINDS = tuple(MAKERS)


@dataclass(frozen=True, repr=False)
@of_right_kinds
class Folded(Printed):
    """A model after folding.

    Attributes:
        model: it computes what the given one computes.
        done: what was folded into what.
        refused: what was not, with the reason.
        error: largest relative change of an output in float64.
    """

    model: torch.nn.Module
    done: tuple[str, ...]
    refused: dict[str, str]
    error: float

    @property
    def gist(self) -> str:
        """How much was folded."""
        more = f", {len(self.refused)} refused" if self.refused else ""
        return f"{plural(len(self.done), 'fold')}{more}, outputs change by {self.error:.1e}"

    def __str__(self) -> str:
        done = [f"folded: {d}" for d in self.done] or ["nothing was folded"]
        refused = [f"refused: {what}: {why}" for what, why in self.refused.items()]
        return "\n".join([*done, *refused, f"outputs change by {self.error:.1e}"])


@typed(ways=FOLDING)
def fold(
    model: torch.nn.Module,
    kinds: Sequence[str] = KINDS,
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    network: Symmetries | None = None,
    remove: bool = False,
    seed: int = 0,
) -> Folded:
    """Folds what can be folded exactly.

    Args:
        model: a module; it stays as it is.
        kinds: some of `norms`, `batchnorm`, `values`, `scales`, `centring`.
        args: example inputs.
        kwargs: keyword inputs.
        network: what `symmetries` gave for the module, if it is there.
        remove: take gains, shifts and scales that do nothing any more out of their modules, make an RMSNorm of a
            LayerNorm whose stream is centred, and take a folded BatchNorm out of the model (a convolution without a
            bias gets one, which holds the shift), so that a trace no longer sees them: then the rotations of the
            residual stream are among the symmetries, and `equalise` reaches the convolutions. The state dict loses
            what is taken out.
        seed: of the inputs on which the result is compared.

    Raises:
        ValueError: for another kind.
        ShapeError: for a module without inputs, symmetries of another network, and weights that are not finite.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    >>> _ = nn.init.normal_(model[1].weight)
    >>> found = fold(model, ["norms"], args=(torch.randn(2, 3),))
    >>> found.done, found.model[1].weight.tolist()
    (('gain and shift of 1 into 2',), [1.0, 1.0, 1.0, 1.0])
    """
    strange = [k for k in kinds if k not in KINDS]
    if strange:
        raise ValueError(f"no fold is called {strange[0]!r}; there are {', '.join(KINDS)}")
    found = network if network is not None else symmetries(model, args=args, kwargs=kwargs)
    weights_of(model, found.setting)
    setting, start = of_model(found.setting, model, torch.Generator().manual_seed(seed))
    refused: dict[str, str] = {}
    unread = sorted(unread_parts(found.diagram)) if found.diagram is not None else []
    now, done = dict(start), []
    gone: Gone = {}
    for kind in KINDS:
        if kind not in kinds or found.diagram is None:
            continue
        for said, what in MAKERS[kind](found, now):
            if said in done:
                continue  # a norm that is used twice
            if isinstance(what, str):
                refused[said] = what
                continue
            change, plain = what
            if cut := [n for n in unread if base(n) in change]:
                refused[said] = f"nothing reads {cut[0]} here, which longer inputs may; give inputs that read all of it"
                continue
            error = distance(*outputs(setting, [now, now | change], seed))
            if error > TOLERANCE or error != error:
                refused[said] = f"outputs would change by {error:.1e}"
                continue
            now |= change
            gone |= plain
            done.append(said)
    if found.diagram is None:
        refused |= {k: "the axes of the network are cut in ways that do not nest" for k in kinds}
    if {"norms", "batchnorm"} & set(kinds) and found.diagram is not None:
        refused |= {f"gain of {n}": readers_of(found, n) for n in _silent(model, (*done, *refused))}
    own = tensors_of(model)
    changed = {n: t.to(own[n].dtype) for n, t in now.items() if n in own and not torch.equal(t, start[n])}
    out = write(copied(model), changed, setting.aliases, True)
    if remove:
        refused |= without(out, gone, setting, seed)
    return Folded(out, tuple(done), refused, distance(*outputs(setting, [start, now], seed)))


def _silent(model: torch.nn.Module, said: Sequence[str]) -> list[str]:
    """Norms with a gain of which no fold has spoken: no rule sees their gain as one."""
    named = {word for text in said for word in re.split(r"[ ,]+", text)}
    norms = [n for n, m in model.named_modules() if "norm" in type(m).__name__.lower()]
    return [
        n
        for n in norms
        if n not in named and isinstance(model.get_submodule(n)._parameters.get("weight"), torch.Tensor)
    ]
