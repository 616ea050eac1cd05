"""Random architectures: the engine's count is the oracle's, every law holds, and every corrupted law is refused."""

import functools
import os

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, find, given, note, settings
from hypothesis import strategies as st

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import gradient_rank
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.testing.strategies import architectures, losses
from lawful.theory.oracle.verification import corruptions, residuals
from lawful.theory.verdict import Verdict

LARGEST = 110  # trainable scalars that the oracle counts in about a second


def trainable(arch: Architecture) -> int:
    return sum(p.size for p in arch.parameters.values() if not p.frozen)


def kinds(arch: Architecture) -> set[str]:
    return {arch.block(n).kind for n in arch.nodes}


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])  # two tests, so that two workers share the longest one
@given(architectures())
@settings(max_examples=max(settings().max_examples // 6, 1))
def test_engine_agrees_with_the_oracle(loss, arch):
    """Engine = oracle; where the engine names a limit of its rules, it never claims too much.

    A note that the network itself has refuted is none, and then the oracle counts on its own.
    """
    assume(0 < trainable(arch) <= LARGEST)
    note(arch.to_json())
    laws = derive(arch, loss)
    oracle = count(arch, loss, known=None if laws.notes else laws.independent)
    # Norms of features that are all zero, outputs that do not move and gaps that are not clear decide nothing.
    assume(oracle.verdict is Verdict.HOLDS)
    if laws.gaps:
        assert oracle.laws >= laws.independent
    else:
        assert oracle.laws == laws.independent
    assert gradient_rank(arch, laws) == laws.independent


@given(architectures(), losses())
@settings(max_examples=max(settings().max_examples // 6, 1))
def test_true_laws_hold_and_corrupted_ones_do_not(arch, loss):
    """A sign flipped or a term dropped breaks a law wherever that term moves at all."""
    assume(0 < trainable(arch) <= 4 * LARGEST)
    laws = derive(arch, loss)
    points = arch.points(loss, 2, 0, False)
    assume(all(torch.isfinite(g).all() for p in points for g in p.gradient.values()) and all(p.moves for p in points))
    for law in laws:
        residual, _ = residuals(law, points)
        assert residual <= 1e-10, (law, residual)
        for false in corruptions(law)[1:]:
            if all(_moves(law, i, points) for i in range(len(law.terms))):
                assert residuals(false, points)[0] > 1e-8, (law, false)


def _moves(law, term: int, points) -> bool:
    """Whether one term of a law changes at all along the gradients, so that a law without it is false."""
    from dataclasses import replace

    alone = replace(law, terms=(law.terms[term],))
    return residuals(alone, points)[0] > 1e-6


REACHED = settings(max_examples=20_000, phases=[Phase.generate])
REACH = sorted(set(b.kinds()) - {"Identity"})


NIGHT = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


@functools.cache
def drawn() -> list[Architecture]:
    """The first 300 networks, at night 4,000: one search for all that is rare, and not one for each."""
    seen: list[Architecture] = []

    @settings(max_examples=4_000 if NIGHT else 300, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(architectures())
    def collect(arch):
        seen.append(arch)

    collect()
    return seen


@functools.cache
def reached() -> frozenset[str]:
    """The kinds of blocks in these."""
    return frozenset().union(*map(kinds, drawn()))


@pytest.mark.parametrize("kind", REACH)
def test_the_strategy_reaches_every_block(kind):
    """A kind that one network in some hundreds has is looked for in `make nightly`; most are found at once."""
    seen = reached()
    if kind in seen:
        return
    if not NIGHT:
        assert len(seen.intersection(REACH)) > 0.6 * len(REACH)  # which ones are among the first is chance
        pytest.skip("rare: make nightly looks for it")
    find(architectures(), lambda arch: kind in kinds(arch), settings=REACHED)


CASES = {
    "residual": lambda a: any("skip" in n for n in a.nodes),
    "shared": lambda a: (
        len({id(a.block(n)) for n in a.nodes if a.block(n).parameters})
        < sum(bool(a.block(n).parameters) for n in a.nodes)
    ),
    "transposed": lambda a: any(t.transposed for n in a.nodes for t in a.block(n).ties.values()),
    "frozen": lambda a: bool(a.frozen),
    "no bias anywhere": lambda a: trainable(a) > 0 and not any("bias" in n for n in a.parameters),
    "nested": lambda a: any(n.count("branch") > 1 for n in a.nodes),
    "concat after norm": lambda a: "Concat" in kinds(a) and "LayerNormCore" in kinds(a),
    "grouped queries": lambda a: any(
        getattr(a.block(n), "kv_heads", 0) < getattr(a.block(n), "heads", 0)
        for n in a.nodes
        if a.block(n).kind == "DotProductAttention"
    ),
    "small and complete": lambda a: 0 < trainable(a) <= LARGEST and not derive(a).gaps and len(a.nodes) > 6,
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_strategy_reaches_every_case(case):
    """As above: most are among the first; a search of its own may be long, or out of luck."""
    if any(map(CASES[case], drawn())):
        return
    if not NIGHT:
        assert sum(any(map(case, drawn())) for case in CASES.values()) > 0.75 * len(CASES)
        pytest.skip("rare: make nightly looks for it")
    find(architectures(), CASES[case], settings=REACHED)


def test_both_losses_are_drawn():
    for loss in ("mse", "cross_entropy"):
        assert find(losses(), lambda x, want=loss: x == want) == loss


@given(st.integers(7, 100))
def test_a_depth_out_of_range_is_refused(depth):
    with pytest.raises(ValueError, match="expected 0 to 6"):
        architectures(depth)
