"""The oracle modulo a prime: ranks of the fields and their brackets at a random point, without rounding.

A polynomial field with rational coefficients has a value modulo `p` at every point modulo `p` (`p` divides none of the
denominators).  A minor that is not zero modulo `p` is not zero: the rank found never exceeds the generic one, so that
`D - rank` is an upper bound on the number of laws, whatever the prime and the point.  An unlucky prime or point gives a
larger bound, which then fails to meet the number of laws that are known: too little is claimed, never too much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

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
        samples: how many fields of each level were drawn.
        ranks: dimension of the span `V_0` of the gradient fields, of `V_1 = V_0 + [V_0, V_0]`, and so on.
        rows: a largest set of independent fields, by level and number.
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

    @cached_property
    def frozen(self) -> dict[str, np.ndarray]:
        """The frozen numbers, one value for all fields."""
        return {k: drawn(self.seed, f"frozen/{k}", (1, *s), self.prime) for k, s in self.program.frozen.items()}

    def draws(self, label: str, n: int) -> dict[str, np.ndarray]:
        """Data of `n` samples; choices that are not free are drawn together, from what the network can have."""
        program = self.program
        found = {k: drawn(self.seed, f"{label}/{k}", (n, *s), self.prime) for k, s in program.data.items()}
        for k, (s, options) in program.choices.items():
            if k in program.realised:
                table = program.realised[k]
                found[k] = table[drawn(self.seed, f"{label}/realised", (n,), len(table))]
            else:
                found[k] = drawn(self.seed, f"{label}/{k}", (n, *s), options)
        return found

    def brackets(self, level: int, n: int) -> np.ndarray:
        """`n` random fields of a level: shape `(n, D)`.

        Level 0 are gradient fields `X`.  Level `k + 1` are brackets of two random elements of the span so far, each
        of them `X_1 + [X_2 + [...], X_3 + [...]]` with `k` brackets in one another, which reaches all brackets of up to
        `2^(k + 1)` fields.
        """
        leaves = 1 if level == 0 else 2 * (2**level - 1)
        draws = [self.draws(f"{level}.{i}", n) for i in range(leaves)]
        size = max(1, MEMORY // (max(self.program.width, self.program.size) << level))
        blocks = []
        for at in range(0, n, size):
            chunk = [{k: v[at : at + size] for k, v in d.items()} | self.frozen for d in draws]
            point = {0: self.point}
            found = self._bracket(chunk, point, 1) if level else self._element(chunk, point, 1)
            blocks.append(np.broadcast_to(found[0], (min(size, n - at), self.program.size)))
        return np.concatenate(blocks)

    def gradients(self, theta: np.ndarray, draws: dict[str, np.ndarray]) -> np.ndarray:
        """Gradients at points `(samples, D)`, one sample of data each."""
        return self._differentiator.gradient({0: theta}, draws | self.frozen)[0]

    def _element(self, draws: list[dict[str, np.ndarray]], theta: Jet, mark: int) -> Jet:
        """A field, plus the bracket of two elements made of the other fields if there are any, at a jet of points.

        `mark` is an infinitesimal that is still free.
        """
        field = self._differentiator.gradient(theta, draws[0])
        if len(draws) == 1:
            return field
        return self._sum(field, self._bracket(draws[1:], theta, mark), 1)

    def _bracket(self, draws: list[dict[str, np.ndarray]], theta: Jet, mark: int) -> Jet:
        """The bracket of an element made of the first half of some fields with one made of the other half."""
        left, right = draws[: len(draws) // 2], draws[len(draws) // 2 :]
        x, y = self._element(left, theta, mark), self._element(right, theta, mark)
        along_x = self._element(right, theta | _moved(x, mark), 2 * mark)
        along_y = self._element(left, theta | _moved(y, mark), 2 * mark)
        return self._sum(_part(along_x, mark), _part(along_y, mark), -1)

    def _sum(self, a: Jet, b: Jet, sign: int) -> Jet:
        zero = np.zeros((1, 1), dtype=np.int64)
        return {m: (a.get(m, zero) + sign * b.get(m, zero)) % self.prime for m in {*a, *b, 0}}


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
    levels: int = 5,
    progress: Callable[[str], None] | None = None,
) -> Ranks:
    """Ranks of the fields of a program and of their brackets, until they stop growing.

    Args:
        program: the potential.
        prime: a prime of 31 bits.
        seed: of the point and of the data.
        known: a number of independent laws that are proved; reaching it ends the search.
        levels: largest number of levels beyond the first; each doubles the length of the brackets.
        progress: called with a line before each level.
    """
    fields, d = Fields(program, prime, seed), program.size
    rows = np.zeros((0, d), dtype=np.int64)
    labels: list[tuple[int, int]] = []
    columns: list[int] = []
    ranks: list[int] = []
    samples: list[int] = []
    closed = False
    for level in range(levels + 1):
        if progress:
            progress(f"level {level} of brackets modulo {prime}: {len(columns)} of {d} dimensions so far")
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
