"""Building blocks: a torch forward and a gauge rule each, and composites made of them."""

from . import attention, joins, linear, norms, pointwise, spectators
from .attention import DotProductAttention, Rotary
from .base import Block, Net, Parallel, Series, ShapeError, Signal, Spec, Tie, WidthRelation, Wiring, chain, repeat
from .composites import (
    MLP,
    ClassToken,
    GatedLinearUnit,
    LearnedPosition,
    MixtureOfExperts,
    Recurrent,
    ReGLU,
    SelfAttention,
    SwiGLU,
    TiedHead,
    TransformerLayer,
    frozen,
    parallel,
    residual,
)
from .joins import Add, Concat, ConcatTokens, Mixture, Product, Split
from .linear import Affine, Conv1d, Conv2d, Embedding, Linear, Table
from .norms import (
    BatchNorm,
    BatchNormCore,
    GroupNorm,
    GroupNormCore,
    LayerNorm,
    LayerNormCore,
    RMSNorm,
    RMSNormCore,
)
from .pointwise import (
    GELU,
    Abs,
    Dropout,
    Identity,
    LeakyReLU,
    Pointwise,
    Power,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from .registry import build, kinds, register
from .run import Run, draw_gates
from .spectators import AveragePool2d, Flatten, GlobalAveragePool, MaxPool2d, SelectToken, ToTokens

for _module in (attention, joins, linear, norms, pointwise, spectators):
    for _value in vars(_module).copy().values():
        if (
            isinstance(_value, type)
            and issubclass(_value, Block)
            and not _value.__name__.startswith("_")
            and _value is not Block
        ):
            register(_value)

__all__ = [
    "GELU",
    "MLP",
    "Abs",
    "Add",
    "Affine",
    "AveragePool2d",
    "BatchNorm",
    "BatchNormCore",
    "Block",
    "ClassToken",
    "Concat",
    "ConcatTokens",
    "Conv1d",
    "Conv2d",
    "DotProductAttention",
    "Dropout",
    "Embedding",
    "Flatten",
    "GatedLinearUnit",
    "GlobalAveragePool",
    "GroupNorm",
    "GroupNormCore",
    "Identity",
    "LayerNorm",
    "LayerNormCore",
    "LeakyReLU",
    "LearnedPosition",
    "Linear",
    "MaxPool2d",
    "Mixture",
    "MixtureOfExperts",
    "Net",
    "Parallel",
    "Pointwise",
    "Power",
    "Product",
    "RMSNorm",
    "RMSNormCore",
    "ReGLU",
    "ReLU",
    "Recurrent",
    "Rotary",
    "Run",
    "SelectToken",
    "SelfAttention",
    "Series",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "Signal",
    "Softmax",
    "Spec",
    "Split",
    "SwiGLU",
    "Table",
    "Tanh",
    "Tie",
    "TiedHead",
    "ToTokens",
    "TransformerLayer",
    "WidthRelation",
    "Wiring",
    "build",
    "chain",
    "draw_gates",
    "frozen",
    "kinds",
    "parallel",
    "register",
    "repeat",
    "residual",
]
