"""What each optimizer does to a law, in one sentence each: they follow from the kind of the law alone.

For `h(theta) = Q(theta) + <c, theta>` with `<grad h, g> = 0` for every gradient `g` of a minibatch, every sentence is
one line of algebra on the update rule; `optimizers.py` says what the terms of a law decide beyond its kind.
"""

from __future__ import annotations

from dataclasses import dataclass

from lawful.theory.arguments import of_right_kinds

KEPT, DECAYS, DRIFTS, BROKEN = "kept", "decays", "drifts", "broken"

OPTIMIZERS = {
    "gradient-flow": "gradient flow",
    "sgd": "SGD",
    "momentum": "SGD with momentum",
    "nesterov": "Nesterov momentum",
    "weight-decay": "SGD with weight decay (L2)",
    "decoupled-decay": "SGD with decoupled weight decay (SGDW)",
    "adam": "Adam (RMSProp, Adagrad alike)",
    "adamw": "AdamW",
    "sign": "sign descent (signSGD, Lion)",
    "clipping": "SGD with clipping of the global gradient norm",
    "sam": "SAM",
}


@dataclass(frozen=True)
@of_right_kinds
class OptimizerFate:
    """What one optimizer does to one law.

    Attributes:
        optimizer: its key in `OPTIMIZERS`.
        status: `kept` exactly; `decays` by a known factor; `drifts`: it is conserved as the step goes to zero and moves
            at second order in a step, or momentum moves it; `broken`: it moves at first order in a step.
        text: how, in one line.
    """

    optimizer: str
    status: str
    text: str

    def __str__(self) -> str:
        return f"{OPTIMIZERS[self.optimizer]}: {self.status}: {self.text}"


_FROZEN = {
    "gradient-flow": (KEPT, "its gradient is zero"),
    "sgd": (KEPT, "its gradient is zero at every step"),
    "momentum": (KEPT, "from rest its velocity stays zero"),
    "nesterov": (KEPT, "from rest its velocity stays zero"),
    "weight-decay": (DECAYS, "times 1 - η λ at every step, e^(-λ t) in the limit: only the decay moves it"),
    "decoupled-decay": (DECAYS, "times 1 - η λ at every step, e^(-λ t) in the limit: only the decay moves it"),
    "adam": (KEPT, "a zero gradient gives a zero step"),
    "adamw": (DECAYS, "times 1 - η λ at every step: only the decay moves it"),
    "sign": (KEPT, "the sign of zero is zero"),
    "clipping": (KEPT, "clipping scales a zero gradient"),
    "sam": (KEPT, "its gradient is zero at the perturbed point too"),
}
_LINEAR = {
    "gradient-flow": (KEPT, "<c, g> = 0"),
    "sgd": (KEPT, "exactly, at every step of any size: <c, g> = 0"),
    "momentum": (KEPT, "exactly, from rest: <c, v> = 0 at all times"),
    "nesterov": (KEPT, "exactly, from rest: the gradient is read elsewhere, where <c, g> = 0 too"),
    "weight-decay": (DECAYS, "times 1 - η λ at every step, e^(-λ t) in the limit"),
    "decoupled-decay": (DECAYS, "times 1 - η λ at every step, e^(-λ t) in the limit"),
    "adam": (BROKEN, "every entry is rescaled by its own history, so <c, step> is no longer zero"),
    "adamw": (BROKEN, "every entry is rescaled by its own history; the decay alone would give 1 - η λ"),
    "sign": (BROKEN, "<c, sign(g)> is not zero in general"),
    "clipping": (KEPT, "exactly: the clipped gradient is a multiple of the gradient"),
    "sam": (KEPT, "exactly: <c, g> = 0 at the perturbed point too"),
}
_PAIR = _LINEAR | {
    "adam": (KEPT, "in exact arithmetic: the two gradients are equal or opposite, so both entries have one history"),
    "adamw": (DECAYS, "times 1 - η λ at every step: the two entries have one history"),
    "sign": (KEPT, "the two gradients are equal or opposite, so the two signs cancel too"),
}
_QUADRATIC = {
    "gradient-flow": (KEPT, "dh/dt = -<∇h, g> = 0"),
    "sgd": (DRIFTS, "each step adds exactly η² Q(g): O(η² k) after k steps, O(η) at a fixed time"),
    "momentum": (DRIFTS, "<∇h, v> is not zero, since v remembers gradients of earlier points"),
    "nesterov": (DRIFTS, "as under momentum: <∇h, v> is not zero"),
    "weight-decay": (DECAYS, "h -> (1 - η λ)² h + η² Q(g) at a step, e^(-2 λ t) in the limit"),
    "decoupled-decay": (DECAYS, "h -> (1 - η λ)² h + η² Q(g) at a step, e^(-2 λ t) in the limit"),
    "adam": (BROKEN, "every entry of the gradient is rescaled by its own history, so <∇h, step> is not zero"),
    "adamw": (BROKEN, "Adam's step breaks it at first order in η; the decoupled decay alone would give (1 - η λ)²"),
    "sign": (BROKEN, "<∇h, sign(g)> is not zero in general"),
    "clipping": (DRIFTS, "each step adds c² η² Q(g), c <= 1 the clipping factor: as SGD with smaller steps"),
    "sam": (BROKEN, "the gradient is read ρ g/‖g‖ further on: dh/dt = 2 ρ Q(g)/‖g‖ + O(ρ²), kept only as ρ -> 0"),
}
_OFFSET = {
    "weight-decay": (BROKEN, "decay pulls W and not I + W to zero: the parts of the law decay at different rates"),
    "decoupled-decay": (BROKEN, "decay pulls W and not I + W to zero: the parts of the law decay at different rates"),
}


def fates_of(kind: str, momentum: str, decay: str, adam: str) -> dict[str, OptimizerFate]:
    """What every optimizer does to a law, by optimizer; nothing where there is no law.

    Args:
        kind: of the law.
        momentum: as in `Entry.momentum`.
        decay: as in `Entry.decay`.
        adam: as in `Entry.adam`.
    """
    table = {"frozen": _FROZEN, "shift": _PAIR if adam == KEPT else _LINEAR, "balance": _QUADRATIC}.get(kind, {})
    out = {name: OptimizerFate(name, *row) for name, row in table.items()}
    if kind == "balance" and decay == "no power":
        out |= {name: OptimizerFate(name, *row) for name, row in _OFFSET.items()}
    _, _, skew = momentum.partition("; ")
    if skew:
        count = skew.removesuffix(" skew")
        text = f"{out['momentum'].text}; but {count} angular momenta <v, B θ> with skew B live on (Noether)"
        out["momentum"] = OptimizerFate("momentum", DRIFTS, text)
    return out
