"""A forger who knows the checker gets nothing through, however it chooses prime and point; what is true is accepted."""

from __future__ import annotations

import json
import random

import pytest
from forger import NETWORKS, PRIMES, base, chosen_prime, false_law, laws_with, powered, some, write
from forgeries import KINDS

import lawful as lw
from lawful.theory.oracle.exact import checker

FEW, MANY = 6, 60  # of each kind


def accepted(kind: str, seed: int) -> str | None:
    """What a forgery proves, or None if it is refused in one sentence."""
    content = KINDS[kind](random.Random(f"{kind} {seed}"))
    try:
        return f"{kind} {seed}: {lw.Certificate(json.loads(json.dumps(content))).check()}"
    except checker.Refused as error:
        assert "\n" not in str(error)
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_no_forgery_is_accepted(kind: str) -> None:
    assert [a for s in range(FEW) if (a := accepted(kind, s))] == []


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_no_forgery_of_a_thousand_is_accepted(kind: str) -> None:
    assert [a for s in range(FEW, FEW + MANY) if (a := accepted(kind, s))] == []


@pytest.mark.parametrize("name", NETWORKS)
def test_what_the_forger_writes_of_true_polynomials_is_accepted(name: str) -> None:
    """The forger's own writing is right: it is what it writes that is refused."""
    of = base(name)
    assert lw.Certificate(of.honest).check().doubt < 1e-29
    proved = lw.Certificate(write(of.head, of.potential, of.laws)).check()
    assert proved.at_least == of.honest["claim"]["at_least"]


@pytest.mark.parametrize("prime", [*PRIMES[:3], 1073741827, 3, 101])
def test_a_forger_who_chooses_prime_and_point_gains_nothing(prime: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it had tried until the digest gave them: the statement may say what it likes."""
    of = base("linear")
    a, c = sorted(of.found.parameters)
    powers = laws_with(of, lambda t: (t[a] * powered(t[a], prime)).sum() - (t[c] * powered(t[c], prime)).sum())
    alone = laws_with(of, lambda t: powered(some(t, random.Random(1)), prime))
    multiple = false_law(of, prime * 12345, random.Random(0))
    for laws in (powers, alone, multiple):
        for seed in ("a", "b"):
            draw = chosen_prime(prime, seed)
            monkeypatch.setattr(checker, "drawn_from", draw)
            with pytest.raises(
                checker.Refused, match=r"too large|not orthogonal|determinant|is 0 modulo|is no square|claim"
            ):
                checker.check(write(of.head, of.potential, laws, draw))
            monkeypatch.undo()
