"""Writing certificates: what `checker.check` needs in order to prove a number of laws again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..counting import ContradictionError
from . import checker
from .counting import count_modulo
from .jets import Differentiator
from .program import Program
from .residues import determinant, drawn, minor

ATTEMPTS = 3  # primes that are tried while the two ends do not meet


def certificate_of(
    network: Any,
    names: Any,
    loss: str,
    potential: Program,
    laws: Program | None,
    independent: int,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """A certificate for the number of laws of a network.

    Prime, point and data follow from a digest of what is claimed, and brackets are drawn until the rank is reached that
    the laws leave.  Where it is not reached (laws are missing, or luck), the certificate says between which numbers the
    number of laws lies: the smallest interval of a few attempts.

    Args:
        network: plain data that says which network it is.
        names: and what its parameters are called.
        loss: and under which loss.
        potential: spans its gradient fields.
        laws: their sum with weights (`laws_program`), None without laws.
        independent: how many of them are said to be independent.
        progress: called with a line before each level of brackets.

    Returns:
        Plain data for JSON.

    Raises:
        ContradictionError: if more laws hold than the rank leaves.
    """
    best: dict[str, Any] = {}
    written, conserved = potential.to_data(), laws and laws.to_data()
    for attempt in range(ATTEMPTS):
        statement = {
            "network": network,
            "names": names,
            "loss": loss,
            "potential": written,
            "laws": conserved,
            "attempt": attempt,
        }
        prime, seed = checker.drawn_from(statement)
        found = count_modulo(potential, prime, seed, independent, progress=progress)
        chosen = _independent(laws, prime, seed) if laws else None
        claim = {
            "parameters": potential.size,
            "at_least": len(chosen["rows"]) if chosen else 0,
            "at_most": potential.size - len(found.columns),
        }
        if claim["at_least"] > claim["at_most"]:
            raise ContradictionError(
                f"{claim['at_least']} independent laws hold, but modulo {prime} only {claim['at_most']} can; "
                "one of the two is wrong, please report the network"
            )
        rank = {
            "rows": [list(r) for r in found.rows],
            "columns": list(found.columns),
            "determinant": found.determinant,
        }
        content = {
            "format": checker.FORMAT,
            **statement,
            "claim": claim,
            "prime": prime,
            "rank": rank,
            "independent": chosen,
        }
        if not best or _width(claim) < _width(best["claim"]):
            best = content
        if not _width(claim):
            break
    return best | {"digest": checker.digest(best)}


def _width(claim: dict[str, int]) -> int:
    return claim["at_most"] - claim["at_least"]


def _independent(laws: Program, prime: int, seed: str) -> dict[str, Any]:
    """Scalars of the laws whose gradients have a minor that is not zero, at the point of the certificate."""
    (count,) = laws.data["weights"]
    theta = drawn(seed, "theta", (1, laws.size), prime)
    weights = np.eye(count, dtype=np.int64)
    frozen = {n: drawn(seed, f"frozen/{n}", (1, *s), prime) for n, s in laws.frozen.items()}
    gradients = Differentiator(laws, prime).gradient({0: theta}, {"weights": weights} | frozen)[0]
    gradients = np.broadcast_to(gradients, (count, laws.size))
    _, first = np.unique(gradients, axis=0, return_index=True)  # a symmetric matrix says most things twice
    first = np.sort(first)
    rows, columns = minor(gradients[first], prime)
    square = gradients[first][np.ix_(rows, columns)]
    return {"rows": first[rows].tolist(), "columns": columns, "determinant": determinant(square, prime)}
