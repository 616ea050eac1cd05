"""The oracle modulo a prime: ranks of the fields and their brackets at a random point, without rounding.

A polynomial field with rational coefficients has a value modulo `p` at every point modulo `p` (`p` divides none of the
denominators).  A minor that is not zero modulo `p` is not zero: the rank found never exceeds the generic one, so that
`D - rank` is an upper bound on the number of laws, whatever the prime and the point.  An unlucky prime or point gives a
larger bound, which then fails to meet the number of laws that are known: too little is claimed, never too much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .jets import Differentiator, Jet
from .program import Program
from .residues import determinant, drawn, minor

SPARE = 8  # samples more than there are dimensions left
MEMORY = 1 << 24  # residues of all values of a chunk of samples


@dataclass(frozen=True)
class Ranks:
    """What the fields and their brackets span at one point modulo one prime.

    Attributes:
        prime: the prime.
        seed: of the point and of the data, a number or a text.
        samples: how many brackets of each depth were drawn.
        ranks: dimension of `W_0, W_1, ...`.
        rows: a largest set of independent brackets, by depth and number.
        columns: parameters in which those have a minor that is not zero.
        determinant: that minor.
        closed: whether growth was seen to stop (or everything was reached).
    """

    prime: int
    seed: int | str
    samples: tuple[int, ...]
    ranks: tuple[int, ...]
    rows: tuple[tuple[int, int], ...]
    columns: tuple[int, ...]
    determinant: int
    closed: bool


class Fields:
    """The gradient fields of a program and their nested brackets at one point modulo a prime.

    Args:
        program: a potential whose gradients, for all data, span the fields.
        prime: the prime.
        seed: of the point and of the data.
    """

    def __init__(self, program: Program, prime: int, seed: int | str) -> None:
        self.program, self.prime, self.seed = program, prime, seed
        self._differentiator = Differentiator(program, prime)

    @property
    def point(self) -> np.ndarray:
        """The parameters, shape `(1, D)`."""
        return drawn(self.seed, "theta", (1, self.program.size), self.prime)

    def draws(self, label: str, n: int) -> dict[str, np.ndarray]:
        """Data of `n` samples."""
        numbers = {k: drawn(self.seed, f"{label}/{k}", (n, *s), self.prime) for k, s in self.program.data.items()}
        some = {k: drawn(self.seed, f"{label}/{k}", (n, *s), b) for k, (s, b) in self.program.choices.items()}
        return numbers | some

    def brackets(self, depth: int, n: int) -> np.ndarray:
        """`n` brackets of `depth + 1` random fields, `[X_0, [X_1, [... X_depth]]]`: shape `(n, D)`."""
        draws = [self.draws(f"{depth}.{i}", n) for i in range(depth + 1)]
        size = max(1, MEMORY // (max(self.program.width, self.program.size) << depth))
        blocks = [
            self._nested([{k: v[at : at + size] for k, v in d.items()} for d in draws], {0: self.point}, 1)[0]
            for at in range(0, n, size)
        ]
        return np.concatenate([np.broadcast_to(b, (min(size, n), b.shape[1])) for b in blocks])[:n]

    def gradients(self, theta: np.ndarray, draws: dict[str, np.ndarray]) -> np.ndarray:
        """Gradients at points `(samples, D)`, one sample of data each."""
        return self._differentiator.gradient({0: theta}, draws)[0]

    def _nested(self, draws: list[dict[str, np.ndarray]], theta: Jet, mark: int) -> Jet:
        """The bracket of the first field with that of all others, at a jet of points.

        `mark` is an infinitesimal that is still free.
        """
        if len(draws) == 1:
            return self._differentiator.gradient(theta, draws[0])
        first, rest = draws[0], draws[1:]
        x, y = self._nested([first], theta, mark), self._nested(rest, theta, mark)
        along_x = self._nested(rest, theta | _moved(x, mark), 2 * mark)
        along_y = self._nested([first], theta | _moved(y, mark), 2 * mark)
        a, b = _part(along_x, mark), _part(along_y, mark)
        zero = np.zeros((1, 1), dtype=np.int64)
        return {m: (a.get(m, zero) - b.get(m, zero)) % self.prime for m in {*a, *b, 0}}


def _moved(field: Jet, mark: int) -> Jet:
    """An infinitesimal step along a field."""
    return {m | mark: a for m, a in field.items()}


def _part(jet: Jet, mark: int) -> Jet:
    """What stands in front of an infinitesimal."""
    return {m ^ mark: a for m, a in jet.items() if m & mark}


def count_modulo(
    program: Program,
    prime: int,
    seed: int | str = 0,
    known: int | None = None,
    depth: int = 5,
    progress: Callable[[str], None] | None = None,
) -> Ranks:
    """Ranks of the fields of a program and of their brackets, until they stop growing.

    Args:
        program: the potential.
        prime: a prime of 31 bits.
        seed: of the point and of the data.
        known: a number of independent laws that are proved; reaching it ends the search.
        depth: largest number of nested brackets.
        progress: called with a line before each level.
    """
    fields, d = Fields(program, prime, seed), program.size
    rows = np.zeros((0, d), dtype=np.int64)
    labels: list[tuple[int, int]] = []
    columns: list[int] = []
    ranks: list[int] = []
    samples: list[int] = []
    closed = False
    for level in range(depth + 1):
        if progress:
            progress(f"brackets of depth {level} modulo {prime}: {len(columns)} of {d} dimensions so far")
        n = d - len(columns) - (known or 0) + SPARE
        rows = np.concatenate([rows, fields.brackets(level, n)])
        labels += [(level, i) for i in range(n)]
        chosen, columns = minor(rows, prime)
        rows, labels = rows[chosen], [labels[i] for i in chosen]
        samples.append(n)
        ranks.append(len(columns))
        closed = ranks[-1] == d or (level > 0 and ranks[-1] == ranks[-2]) or ranks[0] == 0
        if closed or (known is not None and ranks[-1] >= d - known):
            break
    found = determinant(rows[:, columns], prime)
    return Ranks(prime, seed, tuple(samples), tuple(ranks), tuple(labels), tuple(columns), found, closed)
