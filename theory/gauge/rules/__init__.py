"""One rule per primitive block: the rows of the gauge calculus."""

from ..contract import Blind, Rule, Use
from .along import along_rule
from .attention import AttentionRule
from .complexes import ComplexLinearRule
from .copies import RepeatRule, SumFeaturesRule
from .curve import CurveRule
from .ends import ComputedRule, OutputRule, SourceRule
from .experts import ChoiceRule, GroupProductRule
from .factors import FixedGainRule, FixedMapRule, Runs
from .joins import AddRule, ConcatRule, DotRule, PlacesRule, ProductRule, ShiftedTermsRule, TokensRule
from .maps import GainRule, LinearRule, TableRule
from .mixing import PositionsRule, TokenMixRule
from .mixtures import BlendRule, LargerRule, MixtureRule
from .norms import BatchNormRule, FrozenNormRule, NormRule
from .opaque import OPAQUE, CutRule, DiscardRule, HeldRule, OpaqueRule
from .pointwise import (
    HomogeneousRule,
    OffsetRule,
    PassRule,
    PointwiseRule,
    SoftmaxRule,
)
from .position_mix import ChosenRule, MovedRule, PositionMixRule
from .recurrent import RecurrentRule, ScanRule, SelectiveScanRule
from .reorder import ReorderRule
from .reshape import FlattenRule, UnflattenRule
from .rotary import RotaryRule
from .scaling import ScalarGainRule
from .tensors import BilinearRule, HeadGainRule, SimilarityRule, UnitNormRule, UnitRowsRule
from .turns import TurnRule
from .whole import WholeRule

__all__ = [
    "OPAQUE",
    "AddRule",
    "AttentionRule",
    "BatchNormRule",
    "BilinearRule",
    "BlendRule",
    "Blind",
    "ChoiceRule",
    "ChosenRule",
    "ComplexLinearRule",
    "ComputedRule",
    "ConcatRule",
    "CurveRule",
    "CutRule",
    "DiscardRule",
    "DotRule",
    "FixedGainRule",
    "FixedMapRule",
    "FlattenRule",
    "FrozenNormRule",
    "GainRule",
    "GroupProductRule",
    "HeadGainRule",
    "HeldRule",
    "HomogeneousRule",
    "LargerRule",
    "LinearRule",
    "MixtureRule",
    "MovedRule",
    "NormRule",
    "OffsetRule",
    "OpaqueRule",
    "OutputRule",
    "PassRule",
    "PlacesRule",
    "PointwiseRule",
    "PositionMixRule",
    "PositionsRule",
    "ProductRule",
    "RecurrentRule",
    "ReorderRule",
    "RepeatRule",
    "RotaryRule",
    "Rule",
    "Runs",
    "ScalarGainRule",
    "ScanRule",
    "SelectiveScanRule",
    "ShiftedTermsRule",
    "SimilarityRule",
    "SoftmaxRule",
    "SourceRule",
    "SumFeaturesRule",
    "TableRule",
    "TokenMixRule",
    "TokensRule",
    "TurnRule",
    "UnflattenRule",
    "UnitNormRule",
    "UnitRowsRule",
    "Use",
    "WholeRule",
    "along_rule",
]
