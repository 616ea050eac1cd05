"""All settings, grouped by the kind of block that they are about."""

from __future__ import annotations

from collections.abc import Callable

from .attention import attention_settings, score_settings
from .gates import gate_settings, join_settings
from .images import convolution_settings, image_settings, pool_settings, window_settings
from .linear import linear_settings
from .losses import loss_settings
from .norms import norm_settings
from .pointwise import activation_settings, factor_settings
from .recurrent import recurrent_settings, scan_settings
from .routing import routing_settings
from .setting import Setting
from .streams import stream_settings, transformer_settings
from .tokens import mixing_settings, table_settings
from .traced import traced_settings

GROUPS: dict[str, tuple[Callable[[], list[Setting]], ...]] = {
    "Linear maps": (linear_settings,),
    "Activations": (activation_settings,),
    "Fixed and random factors": (factor_settings,),
    "Gates, joins and cuts": (gate_settings, join_settings),
    "Normalisations": (norm_settings,),
    "Residual streams": (stream_settings,),
    "Convolutions": (convolution_settings,),
    "Pooling and moves of pixels": (pool_settings, image_settings, window_settings),
    "Attention": (attention_settings, score_settings),
    "Tables and positions": (table_settings,),
    "Transformer layers": (transformer_settings,),
    "Mixtures of experts": (routing_settings,),
    "What published models add": (traced_settings,),
    "Recurrence and state spaces": (recurrent_settings, scan_settings),
    "Mixing of tokens, graphs": (mixing_settings,),
    "Losses": (loss_settings,),
}


def settings() -> list[Setting]:
    """All settings."""
    return [s for makers in GROUPS.values() for make in makers for s in make()]


def group_of() -> dict[str, str]:
    """The group of every setting, by name."""
    return {s.name: title for title, makers in GROUPS.items() for make in makers for s in make()}
