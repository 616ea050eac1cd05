"""Blocks that only tracing makes: their laws are those that the oracle counts."""

import math

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful.blocks import Numbers


def table(*shape: int) -> Numbers:
    """Numbers of no special value."""
    return Numbers(torch.sin(2.4 * torch.arange(1.0, math.prod(shape) + 1)).reshape(shape) + 0.2)


def around(*middle: b.Net, width: int = 3, out: int = 3, signal: b.Signal | None = None) -> lw.Architecture:
    """Linear maps before and after some nets, on tokens."""
    s = signal or b.Signal(2, (3,))
    first: b.Net = b.Linear(s.features, width)
    for net in middle:
        first = first >> net
    return lw.Architecture(first >> b.Linear(out, 2, False), input=s)


def heads(core: b.Block, extra: tuple[tuple[str, b.Net], ...] = (), rotary: b.Block | None = None) -> b.Net:
    """Projections of a stream of width 3 to two heads of width 2, attention, and a map behind it."""

    def turned() -> b.Net:
        proj = b.Linear(3, 4, False)
        return b.chain(proj=proj, rotary=rotary) if rotary else proj

    branches = (("q", turned()), ("k", turned()), ("v", b.Linear(3, 4)), *extra)
    return b.chain(heads=b.Parallel(branches, core), out=b.Linear(4, 2))


causal = torch.full((3, 3), -math.inf).triu(1)
angles = torch.tensor([0.0, 0.7, 1.9])[:, None].repeat(1, 2)
grid = b.Signal(2, (2, 3))

NETS = {
    "add numbers": around(b.AddNumbers(table(3, 3))),
    "add one number": around(b.AddNumbers(Numbers(torch.ones(1, 1)))),
    "times a number per position": around(b.TimesNumbers(table(3, 1)), b.ReLU()),
    "times a number per feature": around(b.TimesNumbers(table(3))),
    "given beside a stream": around(
        b.Parallel((("x", b.Identity()), ("given", b.Given(table(3, 2), b.Signal(2, (3,))))), b.Concat()), out=5
    ),
    "rearranged: positions swapped": around(
        b.Rearrange((2, 3, 3), (1, 0, 2), (1, 1, 1), b.Signal(3, (2, 3))), b.LeakyReLU(0.3), signal=grid
    ),
    "rearranged: positions join the features": around(
        b.Rearrange((2, 3, 3), (0, 1, 2), (1, 2), b.Signal(3, (2, 3)), move="flatten", before=3),
        out=9,
        signal=grid,
    ),
    "rearranged: inner features become positions": around(
        b.Rearrange((3, 2, 2), (0, 2, 1), (2, 1), b.Signal(4, (3,)), move="inner", after=2), width=4, out=2
    ),
    "rearranged: heads become positions": around(
        b.Rearrange((3, 2, 2), (0, 1, 2), (2, 1), b.Signal(4, (3,)), move="outer", before=2), width=4, out=2
    ),
    "attention with a fixed mask": lw.Architecture(
        heads(b.DotProductAttention(2, mask=Numbers(causal))), input=b.Signal(3, (3,))
    ),
    "attention with fixed biases": lw.Architecture(
        heads(b.DotProductAttention(2, mask=table(2, 3, 3))), input=b.Signal(3, (3,))
    ),
    "attention with a table of biases": lw.Architecture(
        heads(
            b.DotProductAttention(
                2, relative="given", rows=4, index=Numbers(torch.tensor([[0, 1, 2], [1, 0, 1], [2, 1, 0]]))
            ),
            (("table", b.Table(4, 2)),),
        ),
        input=b.Signal(3, (3,)),
    ),
    "rotation by given angles": lw.Architecture(
        heads(b.DotProductAttention(2), rotary=b.TableRotary(2, Numbers(angles.cos()), Numbers(angles.sin()))),
        input=b.Signal(3, (3,)),
    ),
    "a transposed weight": lw.Architecture(b.Linear(3, 4, transposed=True) >> b.ReLU() >> b.Linear(4, 2)),
    "a gain of 1 + w": lw.Architecture(b.Linear(3, 4) >> b.Affine(4, shift=False, offset=1.0) >> b.Linear(4, 2)),
    "a gain of 1 + w for all heads": lw.Architecture(
        b.Linear(3, 4, False) >> b.HeadNormCore(2, False, 0.0) >> b.HeadAffine(2, 2, offset=1.0) >> b.Linear(4, 2)
    ),
    "what nothing reads": lw.Architecture(
        b.Wiring(
            {"spare": b.Table(2, 3), "end": b.Discard(), "first": b.Linear(3, 4), "last": b.Linear(4, 2)},
            {"spare": (), "end": ("spare",), "first": ("input",), "last": ("first",)},
            ("last",),
        ),
        input=b.Signal(3),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_the_laws_are_all_there_are(name: str) -> None:
    found = lw.check(NETS[name])
    assert found.holds, found.summary
    assert found.complete or (found.findings and found.count.laws > found.small_laws.independent), found.summary


def test_a_mask_that_depends_on_data_is_one_more_port() -> None:
    nodes: dict[str, b.Net] = {
        "q": b.Linear(3, 2, False),
        "k": b.Linear(3, 2, False),
        "v": b.Linear(3, 2),
        "attention": b.DotProductAttention(masked=True),
        "out": b.Linear(2, 2),
    }
    reads = {n: ("input:0",) for n in "qkv"} | {"attention": ("q", "k", "v", "input:1"), "out": ("attention",)}
    net = b.Wiring(nodes, reads, ("out",), inputs=2)
    arch = lw.Architecture(net, input=[b.Signal(3, (3,)), b.Signal(3, (3,))])
    assert lw.check(arch).lawful


def test_what_cannot_be_written_says_so() -> None:
    with pytest.raises(b.ShapeError, match="AddNumbers"):
        NETS["add numbers"].to_json()


def test_numbers_are_compared_by_value() -> None:
    assert table(3) == table(3) and hash(table(3)) == hash(table(3))
    assert table(3) != table(4) and table(3) != 3
    assert Numbers(torch.zeros(2)) != Numbers(torch.zeros(2, dtype=torch.long))
