"""What momentum, weight decay and Adam do to a law: read off the law's own terms, never decided block by block.

With `h(theta) = Q(theta) + <c, theta>` and `<grad h, g> = 0` for every minibatch gradient `g`:

* momentum `v' = mu v + g`, `theta' = theta - eta v'`: a linear law has `<c, v> = 0` at all times if it starts at rest,
  so it is kept.  A quadratic one drifts by `eta^2 Q(v')` and by `<grad h, v>`, which momentum keeps alive.  But two
  matrices `S_1, S_2` of one law leave the loss alone, so their commutator does: it is skew, and for a skew `B` the
  momentum law `<v, B theta>` only decays as `mu^k` (Noether; Marcotte, Gribonval, Peyré 2024).
* weight decay `g + λ theta`, in the limit of small steps: `h' = -2 λ h` for a quadratic form, `h' = -λ h`
  for a linear one (Marcotte et al. 2025, theorem 2.1).
* Adam and sign descent rescale every entry of the gradient by its own history.  That breaks `<grad h, g> = 0` unless
  nothing is left to rescale: a parameter whose gradient is always zero, or two entries whose gradients are always
  equal or opposite, which have one history.
"""

from __future__ import annotations

from dataclasses import dataclass

from lawful.theory.laws.law import Law

KEPT, DRIFTS, BROKEN = "kept", "drifts", "broken"
MATRIX = ("matrix", "cross")


@dataclass(frozen=True)
class Fate:
    """What becomes of a law.

    Attributes:
        momentum: `kept`, or `drifts` and how many momentum laws its skew matrices have.
        decay: how it shrinks with weight decay `λ` at time `t`, or that it follows no power.
        adam: `kept` or `broken`.
    """

    momentum: str
    decay: str
    adam: str


def fate(law: Law, skew: str = "") -> Fate:
    """What momentum, weight decay and Adam do to a law.

    Args:
        law: the law.
        skew: how many skew matrices its full matrices generate, as a formula; empty for none.
    """
    if law.kind == "frozen":
        return Fate(KEPT, "e^(-λ t)", KEPT)
    if law.kind == "shift":
        return Fate(KEPT, "e^(-λ t)", KEPT if of_pairs(law) else BROKEN)
    shifted = any(t.part.offset or (t.partner is not None and t.partner.offset) for t in law.terms)
    drift = f"{DRIFTS}; {skew} skew" if skew else DRIFTS
    return Fate(drift, "no power" if shifted else "e^(-2 λ t)", BROKEN)


def of_pairs(law: Law) -> bool:
    """Whether every scalar of a linear law is a sum or a difference of two entries, whose gradients are then alike."""
    alike = len({abs(t.coefficient) for t in law.terms}) == 1
    single = all(d == 1 for t in law.terms for d, a in zip(t.part.dims, t.part.axes, strict=True) if a < 0)
    return len(law.terms) == 2 and alike and single
