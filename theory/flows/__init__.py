"""Flows other than the gradient flow: what they conserve, and how many laws there are.

Answers: the laws of momentum, weight decay, mirror and natural gradient flow, sign descent, and noise; their counts.
Imports: `gauge`, `laws`, `oracle`, `derive`.
Read first: `kinds` (the flows), `base` (a flow as a vector field), then `derive` (which laws become what).
"""

from .base import Flow, Layout, State, as_flow
from .derive import flow_laws
from .errors import FlowError
from .kinds import GradientFlow, Mirror, Momentum, NaturalGradient, WeightDecay
from .laws import FlowLaw, FlowLaws
from .noise import Noise, noise_drift
from .potentials import Potential
from .rate import Rate
from .sign import SignDescent
from .verification import check_laws

__all__ = [
    "Flow",
    "FlowError",
    "FlowLaw",
    "FlowLaws",
    "GradientFlow",
    "Layout",
    "Mirror",
    "Momentum",
    "NaturalGradient",
    "Noise",
    "Potential",
    "Rate",
    "SignDescent",
    "State",
    "WeightDecay",
    "as_flow",
    "check_laws",
    "flow_laws",
    "noise_drift",
]
