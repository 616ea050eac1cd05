"""How ATen operations are lowered; importing the package registers all of them."""

from . import attention, joins, maps, norms, pointwise, positions, recurrent, views

__all__ = ["attention", "joins", "maps", "norms", "pointwise", "positions", "recurrent", "views"]
