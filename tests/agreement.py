"""Engine = oracle for one architecture, and networks that end in several heads."""

from __future__ import annotations

import dataclasses

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import verify
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.losses import LossLike
from lawful.theory.oracle.verification import corruptions, residuals
from lawful.theory.verdict import Verdict


def heads(trunk: b.Net, **named: b.Net) -> b.Net:
    """A trunk whose output every head reads; the network ends in all of them."""
    return trunk >> b.Wiring(named, {n: ("input",) for n in named}, tuple(named))


def agree(arch: Architecture, loss: LossLike, laws: int | None = None) -> None:
    """Engine, oracle and the number expected are equal, every law holds, and every corrupted one is refused."""
    found, oracle = derive(arch, loss), count(arch, loss)
    assert oracle.verdict.passed or oracle.verdict is Verdict.VACUOUS, oracle
    assert found.independent == oracle.laws
    assert laws in (None, oracle.laws), oracle.laws
    report = verify(arch, found)
    assert report.verdict is (Verdict.HOLDS if found else Verdict.VACUOUS)
    assert all(law.proof.holds for law in found)
    points = arch.points(loss, 3, 1, False)
    for law in found:
        alone = [dataclasses.replace(law, terms=(term,)) for term in law.terms]
        if all(residuals(term, points)[0] > 1e-6 for term in alone):  # else it is a law without that term as well
            for false in corruptions(law)[1:]:
                assert residuals(false, points)[0] > 1e-8, (law, false)
