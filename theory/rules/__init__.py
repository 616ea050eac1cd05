"""One rule per primitive block: the rows of the gauge calculus."""

from .attention import AttentionRule
from .base import OPAQUE, Blind, Rule, Use
from .copies import RepeatRule, SumFeaturesRule
from .ends import OutputRule, SourceRule
from .joins import AddRule, BlendRule, ConcatRule, MixtureRule, ProductRule, TokensRule
from .maps import GainRule, LinearRule, TableRule
from .mixing import TokenMixRule
from .norms import BatchNormRule, FrozenNormRule, NormRule
from .pointwise import (
    HomogeneousRule,
    OffsetRule,
    PassRule,
    PointwiseRule,
    SoftmaxRule,
)
from .recurrent import RecurrentRule, ScanRule, SelectiveScanRule
from .reshape import FlattenRule, UnflattenRule
from .rotary import RotaryRule
from .tensors import BilinearRule, HeadGainRule, SimilarityRule, UnitNormRule, UnitRowsRule

__all__ = [
    "OPAQUE",
    "AddRule",
    "AttentionRule",
    "BatchNormRule",
    "BilinearRule",
    "BlendRule",
    "Blind",
    "ConcatRule",
    "FlattenRule",
    "FrozenNormRule",
    "GainRule",
    "HeadGainRule",
    "HomogeneousRule",
    "LinearRule",
    "MixtureRule",
    "NormRule",
    "OffsetRule",
    "OutputRule",
    "PassRule",
    "PointwiseRule",
    "ProductRule",
    "RecurrentRule",
    "RepeatRule",
    "RotaryRule",
    "Rule",
    "ScanRule",
    "SelectiveScanRule",
    "SimilarityRule",
    "SoftmaxRule",
    "SourceRule",
    "SumFeaturesRule",
    "TableRule",
    "TokenMixRule",
    "TokensRule",
    "UnflattenRule",
    "UnitNormRule",
    "UnitRowsRule",
    "Use",
]
