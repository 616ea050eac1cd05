"""Parallel linear branches: their hidden wires are one wire, exactly so beside the epsilon of a norm (issue 12)."""

import pytest

import lawful as lw
from lawful import blocks as b


def plain(n: int, m: int) -> b.Block:
    return b.Linear(n, m, bias=False)


def branches(n: int, widths: list[int], m: int, bias: bool = False) -> b.Net:
    return b.parallel(*(b.Linear(n, w, bias) >> plain(w, m) for w in widths))


@pytest.mark.parametrize(
    ("net", "laws"),
    [
        (branches(2, [2, 2, 2], 2), 18),  # pair by pair it would be 21
        (branches(3, [2, 2, 2], 3), 21),
        (branches(2, [3, 3, 3], 1), 24),
        (branches(2, [3, 1, 3], 1), 18),  # a branch of one feature is a branch
        (branches(5, [1, 1, 1], 3), 6),
        (branches(1, [1, 1], 1), 3),
        (branches(2, [5, 1, 4], 2), 34),
    ],
)
def test_all_branches_together_are_one_wire(net: b.Net, laws: int) -> None:
    found = lw.check(net)
    assert found.lawful, found.summary
    assert found.count.laws == found.laws.independent == found.laws.exact_independent == laws


@pytest.mark.parametrize("widths", [[2, 2], [2, 1, 1], [3, 3]])
@pytest.mark.parametrize("norm", [b.LayerNorm(3), b.RMSNorm(3)], ids=["layer norm", "rms norm"])
def test_an_epsilon_elsewhere_leaves_them_exact(widths: list[int], norm: b.Net) -> None:
    arch = lw.Architecture(branches(3, widths, 3) >> norm >> plain(3, 2))
    laws = lw.derive(arch)
    crossed = [law for law in laws if law.axis_kinds == ("cross", "cross")]
    assert len(crossed) == len(widths) * (len(widths) - 1) // 2
    assert all(law.exact and law.proof.holds for law in crossed)
    assert laws.exact_independent == laws.independent - 1, "the sum of squares before the norm"
    assert laws.independent == lw.count(arch.with_epsilon(0.0)).laws
    assert laws.exact_independent == lw.count(arch.with_epsilon(0.1)).laws
    assert {r.verdict for r in lw.verify(arch, crossed, "mse").laws} == {lw.Verdict.HOLDS}
