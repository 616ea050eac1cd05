"""A fixed matrix that joins only some features with some: every part has a factor of its own."""

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful.blocks.numbers import Numbers
from lawful.theory.verdict import Verdict


def matrix(parts: list[tuple[int, int]], order: list[int], seed: int = 0) -> torch.Tensor:
    """Dense blocks of given sizes (rows, columns) with the columns in another order."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [torch.rand(rows, columns, generator=generator, dtype=torch.float64) + 0.5 for rows, columns in parts]
    return torch.block_diag(*blocks)[:, order]


CASES = {
    "sums of neighbours": (matrix([(1, 3), (1, 3)], list(range(6))), 2),
    "in another order": (matrix([(1, 2), (1, 2), (2, 2)], [3, 0, 5, 1, 4, 2]), 3),
    "one part": (matrix([(3, 5)], list(range(5))), 1),
    "one feature by itself": (matrix([(1, 1), (2, 4)], [4, 1, 2, 3, 0]), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_every_part_has_a_factor(name: str) -> None:
    fixed, parts = CASES[name]
    width, features = fixed.shape
    first = b.Linear(3, features) >> b.ReLU() >> b.MixFeatures(Numbers(fixed)) >> b.ReLU()
    net = first >> b.Linear(width, 2, False)
    laws = lw.derive(net)
    assert laws.exact_independent == parts
    assert lw.verify(net, laws=laws).verdict == Verdict.HOLDS
    assert lw.count(net).laws == parts


@pytest.mark.parametrize("gone", [True, False])
def test_what_the_numbers_add_is_noted(gone: bool) -> None:
    """A row of zeros, outputs that are multiples of one another: there are more laws than the parts say."""
    fixed = matrix([(1, 2), (1, 2)], [0, 1, 2, 3]) if gone else matrix([(3, 1), (2, 2)], [2, 0, 1])
    if gone:
        fixed[0] = 0
    width, features = fixed.shape
    first = b.Linear(3, features) >> b.ReLU() >> b.MixFeatures(Numbers(fixed)) >> b.ReLU()
    net = first >> b.Linear(width, 2, False)
    laws = lw.derive(net)
    assert lw.verify(net, laws=laws).verdict == (Verdict.VACUOUS if gone else Verdict.HOLDS)
    assert laws.exact_independent <= lw.count(net).laws
    assert any("fixed matrix" in note for note in laws.notes)


def test_numbers_that_are_not_there_are_one_part() -> None:
    net = b.Linear(3, 4) >> b.MixFeatures(Numbers(torch.empty(2, 4, device="meta"))) >> b.Linear(2, 2)
    assert lw.derive(net).exact_independent >= 1
