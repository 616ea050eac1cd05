"""Operations along positions that do the same to every feature, each by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from lawful.theory.gauge.rules import Rule, along_rule

from .base import Signal
from .called import Call, Operation


@dataclass(frozen=True, eq=False, repr=False)
class Along(Operation):
    """A function of the positions of a feature, the same for all: a Fourier transform, a median, a spread over time.

    It is what tracing makes of calls that are seen to be so.

    Args:
        operation: its name.
        writes: the signal that it writes, with the features that it reads.
        power: its degree, 0 for a function that has none; None for a linear map.
        total: what comes out of a constant one at every position, None where that is no constant.
        gaps: whether it leaves some positions unread, or gives zeros at some.
        call: computes the output; it is no plain data, so an architecture with such a block cannot be written as JSON.

    Law: `S_out = S_in` for a linear map, `S_out = p S_in`, diagonal, for one of degree p, `S = 0` for any other
        (wire-balance theorem).
    """

    operation: str
    writes: tuple[Signal, ...]
    power: Fraction | None = None
    total: Fraction | None = None
    gaps: bool = False
    call: Call | None = field(default=None, compare=False)

    reads = 1
    shapes = ()
    summary = "a function of the positions of every feature"
    source = "wire-balance theorem (lawful)"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return along_rule(self.power, self.total)
