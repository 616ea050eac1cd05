"""Maps with normalised rows on wires that are wider than all vectors on them."""

import pytest

import lawful as lw
from lawful import blocks as b


@pytest.mark.parametrize(("read", "wide", "rows"), [(2, 4, 2), (2, 5, 2), (1, 3, 2), (2, 3, 1)])
@pytest.mark.parametrize("curve", [(), pytest.param((b.Pointwise("silu"),), marks=pytest.mark.nightly)])
def test_rows_of_length_one_keep_the_space_that_they_span(read, wide, rows, curve):
    """With as many vectors as features a determinant is kept: found by the engine property, 16 laws and 15 derived."""
    made = b.Series.of(b.Linear(3, read, False), b.Linear(read, wide, False), b.UnitLinear(wide, rows), *curve)
    arch = lw.Architecture(made >> b.Linear(rows, 3))
    laws = lw.derive(arch)
    assert lw.count(arch).laws == laws.independent or any("they span only" in g for g in laws.gaps), laws


def test_enough_rows_of_length_one_are_no_limit():
    arch = lw.Architecture(b.Linear(3, 2, False) >> b.Linear(2, 3, False) >> b.UnitLinear(3, 2) >> b.Linear(2, 3))
    laws = lw.derive(arch)
    assert lw.count(arch).laws == laws.independent and not laws.gaps, laws
