"""How ATen operations are lowered; importing the package registers all of them."""

from . import attention, composed, einsum, joins, maps, norms, pointwise, positions, recurrent, stacks, views

__all__ = [
    "attention",
    "composed",
    "einsum",
    "joins",
    "maps",
    "norms",
    "pointwise",
    "positions",
    "recurrent",
    "stacks",
    "views",
]
