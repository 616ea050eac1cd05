"""Every registered block in isolation: between linear maps its laws are those that the oracle counts."""

import json
import os

import pytest

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.compile import output_signal
from lawful.graph.questions.check import verify
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.verdict import Verdict

SIGNALS = {
    "vector": b.Signal(4),
    "wide vector": b.Signal(6),
    "tokens": b.Signal(3, (3,)),
    "more tokens": b.Signal(4, (4,)),
    "image": b.Signal(2, (4, 4), channels_first=True),
    "wide image": b.Signal(4, (4, 4), channels_first=True),
    "volume": b.Signal(2, (2, 2, 2), channels_first=True),
    "signal": b.Signal(3, (4,), channels_first=True),
    "grid": b.Signal(3, (4, 4)),
    "long tokens": b.Signal(2, (4,)),
    "large volume": b.Signal(2, (4, 4, 4), channels_first=True),
}
LARGEST = 90  # trainable scalars that the oracle counts in about a second
SHOWN = 2  # examples of a block that are counted in every run; the others at night, in turn
NIGHTS = 4  # that see all of them, on average
ENDS = {  # what the other networks of these tests begin with, join and end with
    "Concat",
    "ConcatTokens",
    "Embedding",
    "Flatten",
    "GlobalAveragePool",
    "Identity",
    "SelectToken",
    "Table",
}


def surrounded(net: b.Net, s: b.Signal, bias: bool) -> Architecture:
    """A linear map before the net, an average and a linear map after it."""
    convolutions = {1: b.Conv1d, 2: b.Conv2d, 3: b.Conv3d}
    n = s.features
    before: b.Net = convolutions[len(s.space)](n, n, 1, bias=bias) if s.channels_first else b.Linear(n, n, bias)
    out = output_signal(net, s)
    after: b.Net = b.Linear(out.features, 2, False)
    if out.space:
        # Averages right after a block that mixes positions would see their sum alone.
        after = b.LeakyReLU(0.3) >> b.GlobalAveragePool() >> after
    return Architecture(before >> net >> after, input=s)


def cases(everything: bool) -> list:
    out = []
    for kind, block in sorted(b.kinds().items()):
        found = [(where, i) for where, s in SIGNALS.items() for i in range(len(block.examples(s)))]
        for k, (where, i) in enumerate(found):
            if (k < SHOWN) != everything:
                out.append(pytest.param(kind, where, i, id=f"{kind}, {where}, {i}"))
    return out


def agree(kind: str, where: str, i: int, bias: bool) -> None:
    s = SIGNALS[where]
    arch = surrounded(b.kinds()[kind].examples(s)[i], s, bias)
    laws = derive(arch)
    if sum(p.size for p in arch.parameters.values()) > LARGEST:
        assert verify(arch, laws).verdict is Verdict.HOLDS or not len(laws)
        return
    oracle = count(arch)
    # Copies of one feature, scaled, switch together: their gates are tied at every point (see `questions.reach`).
    tied = kind == "RepeatFeatures" and "never come together" in oracle.method
    assert oracle.verdict is (Verdict.UNDECIDED if tied else Verdict.HOLDS)
    assert oracle.laws == laws.independent or (laws.notes and oracle.laws > laws.independent)
    if len(laws):
        assert verify(arch, laws).verdict is Verdict.HOLDS


@pytest.mark.parametrize(("kind", "where", "i"), cases(everything=False))
def test_the_laws_of_a_block_are_all_there_are(kind, where, i):
    agree(kind, where, i, bias=True)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("kind", "where", "i"), cases(everything=True)[int(os.environ["LAWFUL_SEED"]) % NIGHTS :: NIGHTS]
)
def test_the_laws_of_every_example_are_all_there_are(kind, where, i):
    for bias in (False, True):
        agree(kind, where, i, bias)


def test_every_block_is_in_an_example():
    nets = [(net, s) for s in SIGNALS.values() for block in b.kinds().values() for net in block.examples(s)]
    inside = {arch.block(n).kind for net, s in nets for arch in [Architecture(net, input=s)] for n in arch.nodes}
    assert set(b.kinds()) - inside <= ENDS


@pytest.mark.parametrize("kind", sorted(b.kinds()))
def test_a_block_says_what_it_is(kind):
    block = b.kinds()[kind]
    assert block.summary
    assert block.source
    assert block.__doc__


@pytest.mark.parametrize("kind", sorted(b.kinds()))
def test_the_examples_of_a_block_survive_json(kind):
    for s in SIGNALS.values():
        for net in b.kinds()[kind].examples(s)[:2]:
            arch = Architecture(net, input=s)
            text = arch.to_json()
            assert json.loads(text)
            again = Architecture.from_json(text)
            assert again.to_json() == text
            assert derive(again).independent == derive(arch).independent
