"""How ATen operations are lowered; importing the package registers all of them.

A file here holds handlers and what they alone need. What several of them need is in `steps`.
"""

from . import (
    arithmetic,
    attention,
    choices,
    complexes,
    concatenation,
    convolutions,
    einsum,
    gates,
    lookups,
    losses,
    maps,
    masks,
    norms,
    pointwise,
    pooling,
    positions,
    recurrent,
    reductions,
    reparametrised,
    scatters,
    views,
    writes,
)

__all__ = [
    "arithmetic",
    "attention",
    "choices",
    "complexes",
    "concatenation",
    "convolutions",
    "einsum",
    "gates",
    "lookups",
    "losses",
    "maps",
    "masks",
    "norms",
    "pointwise",
    "pooling",
    "positions",
    "recurrent",
    "reductions",
    "reparametrised",
    "scatters",
    "views",
    "writes",
]
