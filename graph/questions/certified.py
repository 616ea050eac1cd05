"""Which of the laws that the engine lists a certificate can prove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from lawful.theory.laws.law import Law
from lawful.theory.oracle.counting import ContradictionError
from lawful.theory.oracle.exact import checker
from lawful.theory.oracle.exact.conserved import laws_program
from lawful.theory.oracle.exact.counting import Fields
from lawful.theory.oracle.exact.jets import Differentiator
from lawful.theory.oracle.exact.program import NotPolynomialError, Program
from lawful.theory.oracle.exact.residues import PRIMES, drawn

POINTS = 8  # where a law that was not proved is tried on patterns that the network has


def conserved(
    laws: Sequence[Law], potential: Program, parameters: Mapping[str, torch.Tensor], frozen: Mapping[str, torch.Tensor]
) -> Program | None:
    """The sum with weights of the laws that the checker accepts for a potential.

    A law that holds for the activation patterns that a network has, but not for all that its choices could give, is
    left out: the certificate then proves less.

    Args:
        laws: exact ones of the network.
        potential: its program.
        parameters: examples of the trainable parameters.
        frozen: the frozen ones.

    Returns:
        The program, or None if there is no such law.

    Raises:
        ContradictionError: for a law that does not hold.
    """
    written = checker.Program(potential.to_data(), PRIMES[0])
    if not laws:
        return None
    try:
        together = laws_program(laws, parameters, frozen)
        checker.orthogonal(written, checker.Program(together.to_data(), PRIMES[0]))
        return together
    except (checker.Refused, NotPolynomialError):
        kept = [law for law in laws if _proved(law, potential, written, parameters, frozen)]
    return laws_program(kept, parameters, frozen) if kept else None


def _proved(
    law: Law,
    potential: Program,
    written: checker.Program,
    parameters: Mapping[str, torch.Tensor],
    frozen: Mapping[str, torch.Tensor],
) -> bool:
    """Whether the checker accepts one law.

    Raises:
        ContradictionError: if a field changes it at a pattern that the network has.
    """
    try:
        program = laws_program([law], parameters, frozen)
    except NotPolynomialError:
        return False
    try:
        checker.orthogonal(written, checker.Program(program.to_data(), PRIMES[0]))
    except checker.Refused:
        p, fields = PRIMES[0], Fields(potential, PRIMES[0], "laws")
        theta = drawn("laws", "points", (POINTS, potential.size), p)
        weights = {"weights": drawn("laws", "weights", (POINTS, *program.data["weights"]), p)}
        moves = Differentiator(program, p).gradient({0: theta}, weights | fields.frozen)[0]
        if ((fields.gradients(theta, fields.draws("points", POINTS)) * moves % p).sum(-1) % p).any():
            raise ContradictionError(
                f"{law.name} is derived, but fields of the network change it; please report the network"
            ) from None
        return False
    return True
