"""Certificates: what is true is proved again, everything else refused; too low a rank claims less, never more."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from networks import mlp
from test_exact import COUNTS
from torch import nn, randn

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.exact import potential_of, potential_program
from lawful.theory.losses import CrossEntropy, LossLike
from lawful.theory.oracle.exact import checker
from lawful.theory.oracle.exact.certificate import certificate_of
from lawful.theory.oracle.exact.conserved import laws_program
from lawful.theory.oracle.exact.counting import count_modulo
from lawful.theory.oracle.exact.evaluate import evaluate
from lawful.theory.oracle.exact.residues import PRIMES

SMALL = mlp(2, 3, 2, act=b.ReLU(0.1), bias=True)
TEXT = json.dumps(lw.certificate(SMALL).content)
DIGITS = [m.start() for m in re.finditer(r"\d", TEXT)]


def content() -> dict[str, Any]:
    return json.loads(TEXT)


def signed(data: dict[str, Any]) -> dict[str, Any]:
    """With the digest of what it holds now, which is what a forger would write."""
    data = {k: v for k, v in data.items() if k != "digest"}
    return data | {"digest": checker.digest(data)}


@pytest.mark.parametrize("name", COUNTS)
def test_the_number_of_laws_is_proved(name: str, tmp_path: Path) -> None:
    arch, loss, laws = COUNTS[name]
    lw.certificate(arch, loss).write(tmp_path / "c.json")
    read = lw.Certificate.read(tmp_path / "c.json")
    proved = read.check()
    assert proved.at_most == read.at_most == laws
    assert proved.at_least == read.at_least == (lw.derive(arch, loss).independent if "accidental" in name else laws)
    assert proved.doubt < 1e-30


def frozen() -> lw.Architecture:
    return mlp(2, 3, 2, act=b.ReLU(), bias=True).freeze("fc1.weight")


def shared() -> lw.Architecture:
    twice = b.Linear(2, 2, False)
    return lw.Architecture(b.Linear(3, 2) >> twice >> b.ReLU() >> twice >> b.Linear(2, 2))


@pytest.mark.parametrize(
    ("arch", "loss"),
    [
        (frozen(), "mse"),
        (shared(), "mse"),
        (mlp(2, 3), "mse"),  # no law at all
        (mlp(2, 3, 3, act=b.ReLU()), CrossEntropy(weight=(1.0, 2.0, 3.0), smoothing=0.1)),
    ],
)
def test_frozen_shared_and_lawless_networks(arch: lw.Architecture, loss: LossLike) -> None:
    proved = lw.certificate(arch, loss).check()
    assert proved.at_most == lw.count(arch, loss, exact=True).laws == lw.count(arch, loss).laws
    assert proved.at_least == lw.derive(arch, loss).exact_independent


def test_modules_are_traced() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert lw.certificate(module, args=(randn(2, 3),)).check().at_least == 4


@given(st.sampled_from(DIGITS), st.integers(1, 9), st.booleans())
@example(DIGITS[-1], 1, False)  # of the digest itself
@example(next(d for d in DIGITS if d > TEXT.index('"claim"')), 1, True)
def test_one_changed_digit_is_refused(at: int, by: int, resigned: bool) -> None:
    changed = TEXT[:at] + str((int(TEXT[at]) + by) % 10) + TEXT[at + 1 :]
    try:
        data = json.loads(changed)
    except ValueError:
        return  # 01 is no number
    if data == content():
        return  # 1.0 may be written in two ways
    with pytest.raises(checker.Refused):
        lw.Certificate(signed(data) if resigned and data["digest"] == content()["digest"] else data).check()


def rank_at_most(data: dict[str, Any]) -> None:
    data["claim"]["at_most"] -= 1


def one_law_more(data: dict[str, Any]) -> None:
    data["claim"]["at_least"] += 1


def a_law_twice(data: dict[str, Any]) -> None:
    data["independent"]["rows"][1] = data["independent"]["rows"][0]


def another_prime(data: dict[str, Any]) -> None:
    data["prime"] = PRIMES[0]


def a_bracket_twice(data: dict[str, Any]) -> None:
    data["rank"]["rows"][1] = data["rank"]["rows"][0]


def no_determinant(data: dict[str, Any]) -> None:
    data["rank"]["determinant"] = 0


def a_cycle(data: dict[str, Any]) -> None:
    data["potential"]["steps"][3]["inputs"] = [len(data["potential"]["steps"])]


def a_huge_value(data: dict[str, Any]) -> None:
    data["potential"]["steps"][0]["shape"] = [10**6, 10**6]


def nothing(data: dict[str, Any]) -> None:
    data.clear()


@pytest.mark.parametrize(
    "forge",
    [
        rank_at_most,
        one_law_more,
        a_law_twice,
        another_prime,
        a_bracket_twice,
        no_determinant,
        a_cycle,
        a_huge_value,
        nothing,
    ],
)
def test_forgeries_are_refused_in_one_sentence(forge: Callable[[dict[str, Any]], None]) -> None:
    data = content()
    forge(data)
    with pytest.raises(checker.Refused, match=r"\w") as refused:
        checker.check(signed(data))
    assert "\n" not in str(refused.value)


def test_a_false_law_cannot_be_certified() -> None:
    """The prover itself is made to lie: one coefficient of one law is wrong."""
    parameters = potential_of(SMALL).parameters
    law = lw.derive(SMALL)[0]
    first, *rest = law.terms
    false = replace(law, terms=(replace(first, coefficient=first.coefficient + Fraction(1, 3)), *rest))
    program = potential_program(SMALL)
    good = certificate_of(content()["network"], content()["names"], "mse", program, laws_program([law], parameters), 3)
    bad = certificate_of(content()["network"], content()["names"], "mse", program, laws_program([false], parameters), 3)
    assert checker.check(good).at_least == 3
    with pytest.raises(checker.Refused, match="not conserved"):
        checker.check(bad)


def test_the_polynomial_must_be_that_of_the_network() -> None:
    """A valid proof about another network: ReLU where the certificate names a leaky one."""
    other = mlp(2, 3, 2, act=b.ReLU(), bias=True)
    laws = laws_program(list(lw.derive(other)), potential_of(other).parameters)
    forged = certificate_of(content()["network"], content()["names"], "mse", potential_program(other), laws, 3)
    assert checker.check(forged).at_least == 3
    with pytest.raises(checker.Refused, match="is not the network's"):
        lw.Certificate(forged).check()
    forged = certificate_of({"no": "network"}, {}, "mse", potential_program(other), laws, 3)
    with pytest.raises(checker.Refused, match="cannot be built"):
        lw.Certificate(forged).check()
    wider = mlp(2, 4, 2, act=b.ReLU(0.1), bias=True)
    laws = laws_program(list(lw.derive(wider)), potential_of(wider).parameters)
    forged = certificate_of(content()["network"], content()["names"], "mse", potential_program(wider), laws, 4)
    with pytest.raises(checker.Refused, match="differ in their parameters"):
        lw.Certificate(forged).check()


def test_less_may_be_claimed_than_could_be_proved() -> None:
    """Without its last bracket the rank is lower, and the interval of the claim is wider: true, and accepted."""
    arch = mlp(2, 3, 2)
    data = lw.certificate(arch).content
    short = count_modulo(
        potential_program(arch), data["prime"], checker.drawn_from(statement(data))[1], known=0, levels=0
    )
    rank = {"rows": [list(r) for r in short.rows], "columns": list(short.columns), "determinant": short.determinant}
    claim = data["claim"] | {"at_most": 12 - short.ranks[-1]}
    proved = checker.check(signed({**data, "rank": rank, "claim": claim}))
    assert proved.at_least == 6
    assert proved.at_most == 12 - short.ranks[-1] > 6


def statement(data: Any) -> dict[str, Any]:
    return {k: data[k] for k in checker.STATEMENT}


@pytest.mark.parametrize("prime", [3, 5, 7, 11, 101])
def test_a_bad_prime_makes_the_bound_larger_never_smaller(prime: int) -> None:
    for arch, laws in ((mlp(2, 2, 2), 3), (mlp(3, 4, 2, act=b.ReLU()), 4), (mlp(2, 3, 2, act=b.Power(2)), 3)):
        program = potential_program(arch)
        assert program.size - count_modulo(program, prime, 0).ranks[-1] >= laws


def test_bad_primes_exist() -> None:
    program = potential_program(mlp(2, 3, 2, act=b.Power(2)))
    bounds = [program.size - count_modulo(program, p, seed).ranks[-1] for p in (3, 5, 7) for seed in range(4)]
    assert max(bounds) > 3


def test_the_checker_runs_alone(tmp_path: Path) -> None:
    """Copied into an empty folder, without lawful and without torch."""
    (tmp_path / "checker.py").write_text(Path(checker.__file__).read_text())
    (tmp_path / "c.json").write_text(TEXT)
    code = "import checker, sys, json; print(checker.check(json.load(open('c.json'))).at_most); "
    code += "assert not {'torch', 'lawful'} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "3"
    ran = subprocess.run([sys.executable, "checker.py", "c.json"], cwd=tmp_path, capture_output=True, text=True)
    assert "3 to 3 independent laws" in ran.stdout
    (tmp_path / "c.json").write_text(TEXT.replace('"at_most": 3', '"at_most": 2'))
    ran = subprocess.run([sys.executable, "checker.py", "c.json"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "refused" in ran.stderr


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    for text in ("", "[]", '{"format": 1}', "\x00", "[" * 10**5):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(checker.Refused):
            lw.Certificate.read(tmp_path / "c.json").check()
    (tmp_path / "c.json").write_bytes(b"\xff\xfe")
    with pytest.raises(checker.Refused, match="no certificate"):
        lw.Certificate.read(tmp_path / "c.json")


@pytest.mark.parametrize("name", COUNTS)
def test_programs_give_what_networks_give(name: str) -> None:
    arch, loss, _ = COUNTS[name]
    found, program = potential_of(arch, loss), potential_program(arch, loss)
    zeros = {n: randn(s).gt(0).long() % k for n, (s, k) in found.choices.items()}
    expected = float(found.function(found.parameters, found.data, zeros))
    draws = {n: t.numpy() for n, t in (found.data | zeros).items()}
    assert evaluate(program, {n: t.numpy() for n, t in found.parameters.items()}, draws) == pytest.approx(expected)
