"""Engine, oracle and the brute-force counts on record agree, and every law is verified and proved."""

import networks
import pytest

from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.verdict import Verdict

KNOWN = networks.known_counts()


@pytest.mark.parametrize("known", KNOWN, ids=[k.name for k in KNOWN])
def test_engine_and_oracle_give_the_count_on_record(known):
    laws = derive(known.arch, known.loss)
    engine = laws.exact_independent if known.exact else laws.independent
    oracle = count(known.arch, known.loss)
    assert oracle.verdict is Verdict.HOLDS
    assert oracle.gap > 1e9
    assert (engine, oracle.laws) == (known.laws, known.laws)


@pytest.mark.parametrize("known", KNOWN, ids=[k.name for k in KNOWN])
def test_every_law_is_verified_and_proved(known):
    laws = derive(known.arch, known.loss)
    report = laws.verify(known.arch)
    for law, found in zip(laws, report.laws, strict=True):
        assert found.verdict is (Verdict.HOLDS if law.exact else Verdict.APPROXIMATE), found
        assert law.proof.holds, law.proof.text
        value = law.value(known.arch.to_torch())
        assert tuple(value.shape) == law.shape
