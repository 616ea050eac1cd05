"""Building blocks: a torch forward and a gauge rule each, and composites made of them.

This file is long because it names every block twice: where it comes from, and in `__all__`.
"""

import dataclasses
import types
from typing import Any

from lawful.theory.arguments import no_such
from lawful.theory.typed import named_arguments, typed

from . import (
    attention,
    batchnorm,
    bilinear,
    complexes,
    conv,
    curve,
    experts,
    given,
    graphs,
    heads,
    joins,
    linear,
    mixer,
    mixture,
    normalised,
    norms,
    opaque,
    piecewise,
    pointwise,
    pooling,
    position,
    rearrange,
    recurrent,
    resample,
    rotary,
    scaling,
    scans,
    spectators,
    standard,
    uneven,
    whole,
    windows,
)
from .along import Along
from .attention import DotProductAttention
from .base import (
    Block,
    Net,
    Parallel,
    Series,
    ShapeError,
    Signal,
    Spec,
    Tie,
    WidthError,
    WidthRelation,
    Wiring,
    chain,
    repeat,
)
from .batchnorm import BatchNorm, BatchNormCore, FrozenBatchNorm
from .bilinear import Bilinear, CosineSimilarity
from .complexes import ComplexLinear
from .composites import (
    MLP,
    ClassToken,
    LearnedPosition,
    TiedHead,
    frozen,
    parallel,
    residual,
)
from .computed import Computed
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .curve import Temperature
from .entrywise import Entrywise
from .experts import GroupProduct, TopChoice
from .gates import (
    GEGLU,
    GLU,
    BilinearGLU,
    GatedLinearUnit,
    Highway,
    LayerScale,
    PackedGate,
    ReGLU,
    SqueezeExcite,
    SwiGLU,
    mean_of,
)
from .given import AddNumbers, Given, TableRotary, TimesNumbers
from .graphs import GCN, Aggregate, GraphSAGE
from .heads import HeadAffine, HeadNorm, HeadNormCore
from .joins import Add, Blend, Concat, ConcatPositions, ConcatTokens, Larger, Mixture, Product, Split
from .linear import Affine, Embedding, Linear, Table
from .mixer import TokenMLP
from .mixing import InnerProducts, MixFeatures, MixPositions, WeighPositions
from .mixture import MixtureOfExperts, Router
from .normalised import SpectralLinear, StandardisedConv2d, UnitConv2d, UnitLinear, WeightNormLinear
from .norms import (
    GroupNorm,
    GroupNormCore,
    InstanceNorm,
    InstanceNormCore,
    L2Norm,
    LayerNorm,
    LayerNormCore,
    RMSNorm,
    RMSNormCore,
)
from .numbers import Numbers
from .opaque import Discard, Moved, Opaque
from .piecewise import CELU, ELU, SELU, GroupMax, HardSigmoid, HardSwish, HardTanh, Maxout, Piecewise, PReLU, ReLU6
from .pointwise import (
    GELU,
    Abs,
    Dropout,
    Identity,
    LeakyReLU,
    Pointwise,
    Power,
    ReLU,
    Scale,
    Sigmoid,
    SiLU,
    Softmax,
    StochasticDepth,
    Tanh,
)
from .pooling import AveragePool1d, AveragePool2d, AveragePool3d, MaxPool1d, MaxPool2d, MaxPool3d
from .position import Sinusoidal
from .rearrange import Positions, Rearrange, Turn
from .recurrent import GRU, LSTM, RNN, Recurrent
from .registry import build, kinds, register
from .reorder import Centre, Reorder
from .resample import PixelShuffle, PixelUnshuffle, UpSample
from .rotary import Rotary
from .run import Run, draw_gates
from .scaling import ScalarGain
from .scans import CausalConv, DiagonalScan, Mamba, RepeatFeatures, SelectiveScan, SumFeatures
from .spectators import Flatten, GlobalAveragePool, GlobalMaxPool, SelectToken, ToImage, ToTokens
from .standard import StandardConv
from .transformer import CrossAttention, SelfAttention, TransformerLayer
from .uneven import UnevenConv, UnevenPool
from .whole import Whole
from .windows import (
    ChannelsFirst,
    ChannelsLast,
    CyclicShift,
    MergeNeighbours,
    PatchEmbedding,
    PatchMerging,
    ToGrid,
    WindowPartition,
    WindowReverse,
)

_MODULES = (
    attention,
    batchnorm,
    bilinear,
    complexes,
    conv,
    curve,
    experts,
    given,
    graphs,
    heads,
    joins,
    linear,
    mixer,
    mixture,
    normalised,
    norms,
    opaque,
    piecewise,
    pointwise,
    pooling,
    position,
    rearrange,
    recurrent,
    resample,
    rotary,
    scaling,
    scans,
    spectators,
    standard,
    uneven,
    whole,
    windows,
)
for _module in _MODULES:
    for _value in vars(_module).copy().values():
        if (
            isinstance(_value, type)
            and issubclass(_value, Block)
            and not _value.__name__.startswith("_")
            and not _value.__abstractmethods__
            and _value.portable
        ):
            register(_value)

__all__ = [
    "CELU",
    "ELU",
    "GCN",
    "GEGLU",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "MLP",
    "RNN",
    "SELU",
    "Abs",
    "Add",
    "AddNumbers",
    "Affine",
    "Aggregate",
    "Along",
    "AveragePool1d",
    "AveragePool2d",
    "AveragePool3d",
    "BatchNorm",
    "BatchNormCore",
    "Bilinear",
    "BilinearGLU",
    "Blend",
    "Block",
    "CausalConv",
    "Centre",
    "ChannelsFirst",
    "ChannelsLast",
    "ClassToken",
    "ComplexLinear",
    "Computed",
    "Concat",
    "ConcatPositions",
    "ConcatTokens",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "CosineSimilarity",
    "CrossAttention",
    "CyclicShift",
    "DiagonalScan",
    "Discard",
    "DotProductAttention",
    "Dropout",
    "Embedding",
    "Entrywise",
    "Flatten",
    "FrozenBatchNorm",
    "GatedLinearUnit",
    "Given",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GraphSAGE",
    "GroupMax",
    "GroupNorm",
    "GroupNormCore",
    "GroupProduct",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "HeadAffine",
    "HeadNorm",
    "HeadNormCore",
    "Highway",
    "Identity",
    "InnerProducts",
    "InstanceNorm",
    "InstanceNormCore",
    "L2Norm",
    "Larger",
    "LayerNorm",
    "LayerNormCore",
    "LayerScale",
    "LeakyReLU",
    "LearnedPosition",
    "Linear",
    "Mamba",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Maxout",
    "MergeNeighbours",
    "MixFeatures",
    "MixPositions",
    "Mixture",
    "MixtureOfExperts",
    "Moved",
    "Net",
    "Numbers",
    "Opaque",
    "PReLU",
    "PackedGate",
    "Parallel",
    "PatchEmbedding",
    "PatchMerging",
    "Piecewise",
    "PixelShuffle",
    "PixelUnshuffle",
    "Pointwise",
    "Positions",
    "Power",
    "Product",
    "RMSNorm",
    "RMSNormCore",
    "ReGLU",
    "ReLU",
    "ReLU6",
    "Rearrange",
    "Recurrent",
    "Reorder",
    "RepeatFeatures",
    "Rotary",
    "Router",
    "Run",
    "ScalarGain",
    "Scale",
    "SelectToken",
    "SelectiveScan",
    "SelfAttention",
    "Series",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "Signal",
    "Sinusoidal",
    "Softmax",
    "Spec",
    "SpectralLinear",
    "Split",
    "SqueezeExcite",
    "StandardConv",
    "StandardisedConv2d",
    "StochasticDepth",
    "SumFeatures",
    "SwiGLU",
    "Table",
    "TableRotary",
    "Tanh",
    "Temperature",
    "Tie",
    "TiedHead",
    "TimesNumbers",
    "ToGrid",
    "ToImage",
    "ToTokens",
    "TokenMLP",
    "TopChoice",
    "TransformerLayer",
    "Turn",
    "UnevenConv",
    "UnevenPool",
    "UnitConv2d",
    "UnitLinear",
    "UpSample",
    "WeighPositions",
    "WeightNormLinear",
    "Whole",
    "WidthError",
    "WidthRelation",
    "WindowPartition",
    "WindowReverse",
    "Wiring",
    "build",
    "chain",
    "draw_gates",
    "frozen",
    "kinds",
    "mean_of",
    "parallel",
    "register",
    "repeat",
    "residual",
]

# What people call checks what it is given; the parts of this folder, which call one another, need not.
_CHECKED_ELSEWHERE = ("build", "chain", "draw_gates", "kinds", "register", "repeat")
for _name in __all__:
    _public = globals()[_name]
    if isinstance(_public, types.FunctionType) and _name not in _CHECKED_ELSEWHERE:
        globals()[_name] = typed(ShapeError)(_public)
    elif dataclasses.is_dataclass(_public) and isinstance(_public, type) and _public not in kinds().values():
        named_arguments(_public)  # `register` does it for the others


def __getattr__(name: str) -> Any:
    raise no_such("lawful.blocks", name, __all__, "block")
