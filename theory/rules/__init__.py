"""One rule per primitive block: the rows of the gauge calculus."""

from .attention import AttentionRule
from .base import OPAQUE, Blind, Rule, Use
from .joins import AddRule, ConcatRule, MixtureRule, ProductRule, TokensRule
from .maps import GainRule, LinearRule, OutputRule, SourceRule, TableRule
from .norms import BatchNormRule, NormRule
from .pointwise import FlattenRule, HomogeneousRule, PassRule, PointwiseRule, RotaryRule, SoftmaxRule

__all__ = [
    "OPAQUE",
    "AddRule",
    "AttentionRule",
    "BatchNormRule",
    "Blind",
    "ConcatRule",
    "FlattenRule",
    "GainRule",
    "HomogeneousRule",
    "LinearRule",
    "MixtureRule",
    "NormRule",
    "OutputRule",
    "PassRule",
    "PointwiseRule",
    "ProductRule",
    "RotaryRule",
    "Rule",
    "SoftmaxRule",
    "SourceRule",
    "TableRule",
    "TokensRule",
    "Use",
]
