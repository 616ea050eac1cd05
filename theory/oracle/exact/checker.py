"""Checks a certificate, with Python, numpy and python-flint only: `python checker.py FILE`.

This file is long because it imports nothing of lawful and can be copied anywhere: whoever distrusts lawful reads it
alone.  It knows a network as the polynomial that the certificate writes down, and proves from it how many independent
laws the gradient flow of the network has.

At most `D - rank`: the brackets that the certificate names are computed anew modulo a prime, and their minor must have
the determinant that the certificate says, not zero.  A minor that is not zero modulo a prime is not zero, so the
generic rank is at least its size; this is a proof, whatever prime and point.

At least as many as there are laws: the gradients of the laws must have a minor that is not zero (a proof likewise), and
a random combination of laws must be orthogonal to random fields.  That is zero found, and zero modulo a prime proves
nothing by itself: `x^p` has no derivative there, and a coefficient may be a multiple of the prime.  So the checker
draws the primes and the points itself, anew at each run, when the file is written already.  A polynomial with degree
`d` and integer coefficients below `2^b` that is not zero vanishes modulo a random prime with probability
`b / 30 / 50,697,537` at most (so many primes of 31 bits there are), and else at a random point with probability
`d / 2^30` at most (Schwartz, Zippel); `d` and `b` are bounded by the steps of the programs, never read from the file.
Primes are drawn until the probability that a false law passes is below 1e-30.

Frozen numbers are variables of the polynomial that have one value in all fields of the rank: what is proved holds for
almost all values of them that allow the activation patterns in the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import flint
import numpy as np

FORMAT = "lawful-certificate 2"
STATEMENT = ("network", "names", "loss", "potential", "laws", "attempt")  # what prime and point of the rank follow from
FIRST_PRIME = 1 << 30
PRIMES = 50_697_537  # between 2^30 and 2^31
MOST_DOUBT = 1e-12  # a probability of error above it is no proof
SMALL_DOUBT = 1e-30  # where it is small enough
MOST_TRIALS = 32  # primes that are drawn to get there
MOST_BITS = 1 << 20  # of the coefficients of a polynomial
SPARE = 64  # how far the number of a bracket may lie above the number of parameters
MEMORY = 1 << 24  # numbers held at a time
LARGEST = 1 << 26  # entries of one value
DEEPEST = 6  # levels of brackets


class Refused(Exception):
    """A certificate that does not prove what it says, and why."""


@dataclass(frozen=True)
class Proved:
    """What a certificate proves.

    Attributes:
        parameters: trainable scalars `D`.
        at_least: independent laws that hold.
        at_most: `D` minus the size of the minor.
        prime: of the minors.
        doubt: bound on the probability that a law that is none passed as one.
        frozen: scalars that training does not move; the numbers of laws are those of almost all of
            their values that allow the activation patterns in the file.
    """

    parameters: int
    at_least: int
    at_most: int
    prime: int
    doubt: float
    frozen: int = 0

    def __str__(self) -> str:
        """What is proved, in a sentence."""
        few, many = self.at_least, self.at_most
        number = f"exactly {few}" if few == many else f"at least {few} and at most {many}"
        return (
            f"{number} independent law{'s' * (many != 1)} of {self.parameters} parameters, proved modulo {self.prime}; "
            f"a law that is none passes with a probability below {self.doubt:.0e}"
        )


def check(certificate: Any) -> Proved:
    """Proves everything again that a certificate says.

    Args:
        certificate: the content of the file.

    Raises:
        Refused: if it proves less than it says, and why.
    """
    try:
        return _check(certificate)
    except MALFORMED as error:
        raise Refused(f"the certificate is malformed ({type(error).__name__}: {error})") from error


def _check(certificate: Any) -> Proved:
    if certificate["format"] != FORMAT:
        raise Refused(f"the format is {certificate['format']!r}, and this reads {FORMAT!r}; write it again")
    if certificate["digest"] != digest({k: v for k, v in certificate.items() if k != "digest"}):
        raise Refused("the digest is not that of the content: something was changed after it was written")
    prime, seed = drawn_from({k: certificate[k] for k in STATEMENT})
    if certificate["prime"] != prime:
        raise Refused(f"the prime is {certificate['prime']}, but {prime} follows from the statement")
    potential, rank, claim = Program(certificate["potential"], prime), certificate["rank"], certificate["claim"]
    theta = draw(seed, "theta", (1, potential.size), prime)
    rows = [brackets(potential, theta, seed, rank["rows"], chunk) for chunk in _chunks(potential, rank["rows"])]
    _minor(rows, rank["columns"], rank["determinant"], prime, "the fields and their brackets")
    at_most, at_least, doubt = potential.size - len(rank["columns"]), 0, 0.0
    if certificate["laws"] is not None:
        laws, chosen = Program(certificate["laws"], prime), certificate["independent"]
        if list(laws.parameters.items()) != list(potential.parameters.items()):
            raise Refused("the laws and the network do not have the same parameters")
        if laws.frozen.items() - potential.frozen.items() or laws.choices or set(laws.data) != {"weights"}:
            raise Refused("the laws read something else than parameters, frozen numbers and weights")
        found = law_gradients(laws, theta, seed, chosen["rows"])
        _minor([found], chosen["columns"], chosen["determinant"], prime, "the laws")
        doubt = orthogonal(potential, laws)
        at_least = len(chosen["rows"])
    if at_least > at_most:
        raise Refused(f"{at_least} laws hold, and at most {at_most} can: a contradiction, one of the two is wrong")
    if claim != {"parameters": potential.size, "at_least": at_least, "at_most": at_most}:
        raise Refused(f"the claim is {claim}, but {at_least} laws at least and {at_most} at most are proved")
    return Proved(potential.size, at_least, at_most, prime, doubt, sum(map(math.prod, potential.frozen.values())))


def digest(data: Any) -> str:
    """SHA-256 of data as JSON in its shortest form."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def drawn_from(statement: Any) -> tuple[int, str]:
    """The prime and the seed that follow from a statement."""
    seed = digest(statement)
    number = FIRST_PRIME + int(seed[:8], 16) % FIRST_PRIME
    while not flint.fmpz(number).is_prime():
        number += 1
    return number, seed


def draw(seed: str, label: str, shape: tuple[int, ...], bound: int) -> np.ndarray:
    """Numbers in `range(bound)` that follow from the seed and a label."""
    n = math.prod(shape)
    stream = hashlib.shake_256(f"{seed}/{label}".encode()).digest(8 * n)
    return (np.frombuffer(stream, dtype="<u8") % np.uint64(bound)).astype(np.int64).reshape(shape)


def fresh_prime() -> int:
    """A prime of 31 bits that nobody could know before; all are equally likely."""
    while True:
        number = FIRST_PRIME + secrets.randbelow(FIRST_PRIME)
        if flint.fmpz(number).is_prime():
            return number


def doubt_of_one(degree: int, bits: int) -> float:
    """The probability that a polynomial that is not zero is zero at one random point modulo one random prime.

    Args:
        degree: a bound on its degree.
        bits: a bound on those of its coefficients, which are integers, and of the number that made them integers.

    Raises:
        Refused: if one point says nothing.
    """
    if degree >= FIRST_PRIME:
        raise Refused(f"the degree may be {degree}, which is not below the primes: modulo those nothing is proved")
    found = bits / 30 / PRIMES + degree / FIRST_PRIME
    if found >= 0.5:
        raise Refused("the coefficients may be so large that nothing is proved modulo primes of 31 bits")
    return found


def vanishes(zero: Callable[[int, str], bool], one: float, what: str) -> float:
    """Tries random primes and points until a small doubt is left.

    Args:
        zero: whether the polynomial is zero modulo a prime, at the point that follows from a seed.
        one: the probability that one such try does not see that it is not.
        what: said if it is not zero.

    Returns:
        The probability that it is not zero all the same.

    Raises:
        Refused: if it is not zero, or if too much doubt is left.
    """
    doubt, tries = 1.0, 0
    while doubt > SMALL_DOUBT and tries < MOST_TRIALS:
        if not zero(fresh_prime(), secrets.token_hex(32)):
            raise Refused(what)
        doubt, tries = doubt * one, tries + 1
    if doubt > MOST_DOUBT:
        raise Refused(f"after {tries} primes a doubt of {doubt:.0e} is left, which is above {MOST_DOUBT:.0e}")
    return doubt


def _minor(rows: list[np.ndarray], columns: list[int], said: int, p: int, what: str) -> None:
    """Refuses a minor that is zero, or not the one that was said."""
    if len(set(columns)) != len(columns) or sum(map(len, rows)) != len(columns):
        raise Refused(f"the minor of {what} is no square: {sum(map(len, rows))} rows, {len(columns)} columns")
    found = 1
    if columns:
        square = np.concatenate(rows)[:, columns]
        found = int(flint.nmod_mat(len(columns), len(columns), square.ravel().tolist(), p).det())
    if not found or found != said:
        raise Refused(f"the minor of {what} is {found} modulo {p}, and {said} was said")


def _chunks(program: Program, rows: list[list[int]]) -> list[range]:
    """Runs of rows of one level that fit into memory together."""
    found, at = [], 0
    while at < len(rows):
        level = rows[at][0]
        if not 0 <= level <= DEEPEST:
            raise Refused(f"brackets of level {level}; up to {DEEPEST} are read")
        size, end = max(1, MEMORY // (program.width << level)), at
        while end < len(rows) and rows[end][0] == level and end - at < size:
            end += 1
        found.append(range(at, end))
        at = end
    return found


def brackets(program: Program, theta: np.ndarray, seed: str, rows: list[list[int]], chunk: range) -> np.ndarray:
    """Fields of a network and brackets of them: `rows` says the level and number of each.

    Level 0 are the fields `X`; level `k + 1` are brackets of two elements `X_1 + [X_2 + [...], X_3 + [...]]` with `k`
    brackets in one another.
    """
    level, numbers, p = rows[chunk.start][0], [rows[i][1] for i in chunk], program.p
    if len({tuple(r) for r in rows}) != len(rows):
        raise Refused("a bracket is named twice")
    if min(numbers) < 0 or max(numbers) >= program.size + SPARE:
        raise Refused(f"a bracket has a number that is not between 0 and {program.size + SPARE}")
    frozen = program.draw_frozen(seed)
    data = [
        program.draw_data(seed, f"{level}.{i}", numbers) | frozen for i in range(2 * (2**level - 1) if level else 1)
    ]

    def element(which: list[dict[str, np.ndarray]], at: np.ndarray) -> np.ndarray:
        field = program.gradient(at, which[0])
        return field if len(which) == 1 else (field + bracket(which[1:], at)) % p

    def bracket(which: list[dict[str, np.ndarray]], at: np.ndarray) -> np.ndarray:
        first, second = which[: len(which) // 2], which[len(which) // 2 :]
        x, y = element(first, at), element(second, at)
        # `at + e x` with e^2 = 0: what stands in front of e afterwards is the derivative along x
        along_x = element(second, _joined(at, x))[len(x) :]
        along_y = element(first, _joined(at, y))[len(y) :]
        return (along_x - along_y) % p

    values = bracket(data, theta[None]) if level else element(data, theta[None])
    return np.broadcast_to(values[0], (len(numbers), program.size))


def _joined(at: np.ndarray, step: np.ndarray) -> np.ndarray:
    shape = np.broadcast_shapes(at.shape[1:], step.shape[1:])
    return np.concatenate([np.broadcast_to(at, (len(at), *shape)), np.broadcast_to(step, (len(step), *shape))])


def law_gradients(laws: Program, theta: np.ndarray, seed: str, rows: list[int]) -> np.ndarray:
    """The gradients of some laws: `laws` is a sum of all laws with weights."""
    (count,) = laws.data["weights"]
    if len(set(rows)) != len(rows) or not all(type(r) is int and 0 <= r < count for r in rows):
        raise Refused("a law is named twice, or is not there")
    weights = np.zeros((len(rows), count), dtype=np.int64)
    weights[np.arange(len(rows)), rows] = 1
    found = laws.gradient(theta[None], {"weights": weights} | laws.draw_frozen(seed))[0]
    return np.broadcast_to(found, (len(rows), laws.size))


def orthogonal(potential: Program, laws: Program) -> float:
    """Refuses laws that some field changes; gives the probability that a false one is not noticed.

    Between the options of a choice (the sides of a ReLU) random mixtures are taken: what vanishes for all mixtures
    vanishes for every option.

    Args:
        potential: of the network.
        laws: the sum of all laws with weights, in the same parameters.
    """
    # what is tried is the sum over all parameters of the product of two derivatives
    if "weights" in potential.frozen:
        raise Refused("the weights of the laws are numbers that the network reads")
    degree = potential.degree + laws.degree
    bits = sum((f.bound * f.degree * f.denominator).bit_length() for f in (potential, laws))
    one = doubt_of_one(degree, bits + potential.size.bit_length())

    def zero(p: int, seed: str) -> bool:
        f, h = potential.modulo(p), laws.modulo(p)
        theta, frozen = draw(seed, "theta", (1, 1, f.size), p), f.draw_frozen(seed)
        weights = {"weights": draw(seed, "weights", (1, *h.data["weights"]), p)}
        field = f.gradient(theta, f.draw_mixed(seed) | frozen)[0]
        moves = h.gradient(theta, weights | frozen)[0]
        return not int((field * moves % p).sum() % p)

    return vanishes(zero, one, "the laws are not orthogonal to the fields: one of them is not conserved")


def same(first_text: Any, second_text: Any) -> float:
    """Refuses two programs that are not the same polynomial; gives the probability that a difference is not noticed.

    They must have the same parameters, frozen numbers, data, choices and realised patterns; programs that are written
    alike are the same without doubt.
    """
    first, second = (Program(text, fresh_prime()) for text in (first_text, second_text))
    for part in ("parameters", "frozen", "data", "choices", "realised"):
        a, b = first_text[part], second_text[part]
        if a != b:
            name = next(n for n in [*a, *b] if a.get(n) != b.get(n))
            raise Refused(f"the polynomials differ in their {part}: {name!r} is not the same in both")
    if first_text["steps"] == second_text["steps"]:
        return 0.0
    degree = max(first.degree, second.degree)
    one = doubt_of_one(degree, sum((f.bound * f.denominator**2).bit_length() for f in (first, second)) + 1)

    def zero(p: int, seed: str) -> bool:
        values = []
        for program in (first.modulo(p), second.modulo(p)):
            own = [draw(seed, f"theta/{n}", (1, 1, math.prod(s)), p) for n, s in program.parameters.items()]
            drawn = program.draw_mixed(seed) | program.draw_frozen(seed)
            values.append(program.value(np.concatenate(own, axis=-1), drawn))
        return values[0] == values[1]

    return vanishes(zero, one, "the polynomial is not the network's: they differ at a random point modulo a prime")


MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError, RecursionError)


class Program:
    """The polynomial of a network: steps that take, add and multiply arrays, for many samples at a time.

    Values have shape `(parts, samples, ...)`: with `k` numbers that square to zero (`e_0, e_1, ...`) there are `2^k`
    parts, and part `m` stands in front of the product of the `e_i` whose bit is set in `m`.

    Args:
        text: the program as the certificate writes it.
        p: the prime.

    Attributes:
        size: number of scalar parameters.
        degree: a bound on the total degree, in parameters, frozen numbers, data and weights of options.
        denominator: makes all coefficients integers.
        bound: on the sum of the absolute values of these integers.
    """

    def __init__(self, text: Any, p: int) -> None:
        self.p, self.text, self.steps = p, text, text["steps"]
        self.parameters, self.frozen, self.data = (_shapes(text[k]) for k in ("parameters", "frozen", "data"))
        self.choices = {n: (_shape(s), k) for n, (s, k) in text["choices"].items()}
        if not all(type(k) is int and 0 < k <= LARGEST for _, k in self.choices.values()):
            raise Refused("a choice has no options")
        drawn = [*self.frozen, *self.data, *self.choices]
        if len(set(drawn)) != len(drawn):
            raise Refused("one name stands for two things that are drawn")
        self.realised = {n: self._pattern(n, t) for n, t in text["realised"].items()}
        if len({len(t) for t in self.realised.values()}) > 1:
            raise Refused("there are not equally many realised patterns of all choices")
        self.size = sum(math.prod(s) for s in self.parameters.values())
        shapes = [_shape(s["shape"]) for s in self.steps]
        self.width = sum(map(math.prod, shapes)) + self.size
        if self.width > LARGEST or shapes[-1]:
            raise Refused("the program is too large, or does not end in one number")
        self.moving: list[bool] = []
        found: list[tuple[int, int, int]] = []
        for i, step in enumerate(self.steps):
            read = step.get("inputs", [])
            if not all(type(j) is int and 0 <= j < i for j in read):
                raise Refused(f"step {i} reads a later one")
            self.moving.append(step["kind"] == "parameter" or any(self.moving[j] for j in read))
            if not self._fits(step, shapes[i], [shapes[j] for j in read]):
                raise Refused(f"step {i} ({step['kind']}) does not fit what it reads, or is of an unknown kind")
            found.append(self._bounds(step, [found[j] for j in read], [shapes[j] for j in read]))
            if found[-1][1].bit_length() + found[-1][2].bit_length() > MOST_BITS or found[-1][0] >= FIRST_PRIME:
                raise Refused(f"step {i} may have a degree or coefficients too large for a proof modulo primes")
        self.degree, self.bound, self.denominator = found[-1]
        self.tables = {i: self._residues(s["table"]) for i, s in enumerate(self.steps) if "table" in s}

    def modulo(self, p: int) -> Program:
        """The same program modulo another prime."""
        return Program(self.text, p)

    def draw_frozen(self, seed: str) -> dict[str, np.ndarray]:
        """The frozen numbers: one value for all samples."""
        return {n: draw(seed, f"frozen/{n}", (1, *s), self.p) for n, s in self.frozen.items()}

    def draw_data(self, seed: str, label: str, numbers: list[int]) -> dict[str, np.ndarray]:
        """Data, and options that are chosen, of the samples with some numbers."""
        n = max(numbers) + 1
        if n * (sum(map(math.prod, self.data.values())) + 1) > LARGEST:
            raise Refused("more data is drawn than fits into memory")
        found = {k: draw(seed, f"{label}/{k}", (n, *s), self.p)[numbers] for k, s in self.data.items()}
        for k, (s, options) in self.choices.items():
            if k in self.realised:
                table = self.realised[k]
                picked = table[draw(seed, f"{label}/realised", (n,), len(table))[numbers]]
            else:
                picked = draw(seed, f"{label}/{k}", (n, *s), options)[numbers]
            found[k] = np.stack([picked == o for o in range(options)], axis=1).astype(np.int64)
        return found

    def draw_mixed(self, seed: str) -> dict[str, np.ndarray]:
        """Data of one sample with a random mixture of options for every choice."""
        found = {n: draw(seed, f"data/{n}", (1, *s), self.p) for n, s in self.data.items()}
        for n, (s, options) in self.choices.items():
            mixed = draw(seed, f"mixed/{n}", (1, options, *s), self.p)
            mixed[:, 0] = (1 - mixed[:, 1:].sum(1)) % self.p
            found[n] = mixed
        return found

    def _pattern(self, name: str, table: Any) -> np.ndarray:
        shape, options = self.choices[name]
        found = np.array(table)
        if found.dtype.kind not in "iu" or found.shape[1:] != shape or not len(found):
            raise Refused(f"the realised patterns of {name!r} do not have the shape of the choice")
        if found.size and not (0 <= found.min() and found.max() < options):
            raise Refused(f"a realised pattern of {name!r} picks an option that is not there")
        return found.astype(np.int64)

    def _fits(self, step: Any, shape: tuple[int, ...], read: list[tuple[int, ...]]) -> bool:
        """Whether shapes are such that a step acts on every sample by itself."""
        kind, name, size = step["kind"], step.get("name"), math.prod(shape)
        if kind in ("parameter", "frozen", "data"):
            return {"parameter": self.parameters, "frozen": self.frozen, "data": self.data}[kind].get(name) == shape
        if kind == "constant":
            return np.shape(step["table"]) == shape
        if kind == "pick":
            return np.shape(step["table"]) == (self.choices[name][1], *shape) and np.shape(step["index"]) == (size,)
        if kind == "take":
            return np.shape(step["index"]) == (size,) if "index" in step else math.prod(read[0]) == size
        if kind == "add":
            return bool(read) and all(s == shape for s in read)
        if kind == "multiply":
            return read == [shape, shape]
        if kind == "matmul":
            (n, a, k), (m, inner, b) = read
            return n == m and k == inner and shape == (n, a, b)
        return kind == "total" and len(read) == 1 and bool(read[0]) and read[0][:-1] == shape

    def _bounds(self, step: Any, read: list[tuple[int, int, int]], shapes: list[Any]) -> tuple[int, int, int]:
        """Degree, sum of the absolute coefficients after they are made integers, and what makes them integers."""
        kind = step["kind"]
        if kind in ("parameter", "frozen", "data"):
            return 1, 1, 1
        if kind in ("constant", "pick"):
            numbers = [float(x).as_integer_ratio() for x in np.unique(np.array(step["table"], dtype=np.float64))]
            common = max((d for _, d in numbers), default=1)  # they are powers of two
            most = max((abs(n) * (common // d) for n, d in numbers), default=0)
            return (0, most, common) if kind == "constant" else (1, 2 * len(step["table"]) * most, common)
        if kind == "add":
            factors = [Fraction(c) for c in step["factors"]]
            common = math.lcm(*(d * c.denominator for c, (_, _, d) in zip(factors, read, strict=True)))
            most = sum(
                abs(c.numerator) * n * (common // (c.denominator * d))
                for c, (_, n, d) in zip(factors, read, strict=True)
            )
            return max((d for d, _, _ in read), default=0), most, common
        degree, most, common = read[0]
        if kind in ("multiply", "matmul"):
            terms = shapes[0][-1] if kind == "matmul" else 1
            return degree + read[1][0], most * read[1][1] * terms, common * read[1][2]
        return degree, most * (shapes[0][-1] if kind == "total" else 1), common

    def _residues(self, table: Any) -> np.ndarray:
        """Floats as the fractions that they are, modulo the prime."""
        numbers, place = np.unique(np.array(table, dtype=np.float64), return_inverse=True)
        ratios = [float(x).as_integer_ratio() for x in numbers]
        found = np.array([n * pow(d, -1, self.p) % self.p for n, d in ratios], dtype=np.int64)
        return found[place].reshape(np.shape(table))

    def _factors(self, step: Any) -> list[int]:
        found = [Fraction(c) for c in step["factors"]]
        if len(found) != len(step["inputs"]):
            raise Refused("a sum has not as many factors as terms")
        return [c.numerator * pow(c.denominator, -1, self.p) % self.p for c in found]

    def value(self, theta: np.ndarray, data: dict[str, np.ndarray]) -> int:
        """What the program gives for one sample; arguments as for `gradient`."""
        return int(self._values(theta, data)[-1][0, 0])

    def gradient(self, theta: np.ndarray, data: dict[str, np.ndarray]) -> np.ndarray:
        """The gradient in the parameters.

        Args:
            theta: points, shape `(parts, samples or 1, D)`.
            data: by name, shape `(samples, ...)`; choices `(samples, options, ...)` with weights that add up to 1.

        Returns:
            Shape `(parts, samples or 1, D)`.
        """
        values = self._values(theta, data)
        back: list[Any] = [None] * len(self.steps)
        back[-1] = np.zeros((len(theta), 1), dtype=np.int64)
        back[-1][0] = 1
        out = {n: np.zeros((len(theta), 1, *s), dtype=np.int64) for n, s in self.parameters.items()}
        for i in reversed(range(len(self.steps))):
            if back[i] is None or not self.moving[i]:
                continue
            step, slope = self.steps[i], back[i]
            if step["kind"] == "parameter":
                out[step["name"]] = (out[step["name"]] + slope) % self.p
            for j, sent in self._sent(step, slope, values):
                back[j] = sent if back[j] is None else (back[j] + sent) % self.p
        samples = max(a.shape[1] for a in out.values())
        wide = [np.broadcast_to(a.reshape(*a.shape[:2], -1), (len(theta), samples, a[0, 0].size)) for a in out.values()]
        return np.concatenate(wide, axis=-1)

    def _values(self, theta: np.ndarray, data: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The value of every step."""
        parts, at, own = len(theta), 0, {}
        for name, shape in self.parameters.items():
            own[name] = theta[..., at : at + math.prod(shape)].reshape(*theta.shape[:2], *shape)
            at += math.prod(shape)
        values: list[np.ndarray] = []
        for i, step in enumerate(self.steps):
            kind, read = step["kind"], [values[j] for j in step.get("inputs", [])]
            if kind == "parameter":
                value = own[step["name"]]
            elif kind in ("data", "frozen"):
                value = _lifted(data[step["name"]], parts)
            elif kind == "constant":
                value = _lifted(self.tables[i][None], parts)
            elif kind == "pick":  # weights of the options times what each gives
                weights = data[step["name"]].reshape(*data[step["name"]].shape[:2], -1)[:, :, step["index"]]
                table = self.tables[i].reshape(len(self.tables[i]), -1)
                picked = (weights * table % self.p).sum(1) % self.p
                value = _lifted(picked.reshape(-1, *step["shape"]), parts)
            elif kind == "take":
                value = _taken(read[0], step)
            elif kind == "add":
                value = sum(c * x % self.p for c, x in zip(self._factors(step), read, strict=True)) % self.p
            elif kind == "multiply":
                value = self._product(read[0], read[1], self._times)
            elif kind == "matmul":
                value = self._product(read[0], read[1], self._matmul)
            else:  # total
                value = read[0].sum(-1) % self.p
            values.append(value)
        return values

    def _sent(self, step: Any, slope: np.ndarray, values: list[np.ndarray]) -> list[tuple[int, np.ndarray]]:
        """What the chain rule sends to the steps that a step reads."""
        kind, read = step["kind"], step.get("inputs", [])
        if kind == "take":
            return [(read[0], self._spread(slope, step, values[read[0]]))]
        if kind == "add":
            return [(j, c * slope % self.p) for j, c in zip(read, self._factors(step), strict=True) if self.moving[j]]
        if kind == "total":
            n = values[read[0]].shape[-1]
            return [(read[0], np.broadcast_to(slope[..., None], (*slope.shape, n)))]
        found = []
        if kind in ("multiply", "matmul"):
            (left, right), times = read, self._times if kind == "multiply" else self._matmul
            a, b = values[left], values[right]
            if kind == "matmul":
                a, b = a.swapaxes(-1, -2), b.swapaxes(-1, -2)
            if self.moving[left]:
                found.append((left, self._product(slope, b, times)))
            if self.moving[right]:
                found.append((right, self._product(a, slope, times)))
        return found

    def _spread(self, slope: np.ndarray, step: Any, read: np.ndarray) -> np.ndarray:
        """Entries back where they were taken from; those taken more than once add up."""
        flat = slope.reshape(*slope.shape[:2], -1)
        if "index" not in step:
            return flat.reshape(*slope.shape[:2], *read.shape[2:])
        out = np.zeros((math.prod(read.shape[2:]) + 1, *slope.shape[:2]), dtype=np.int64)
        np.add.at(out, step["index"], np.moveaxis(flat, -1, 0))  # at most 2^32 terms of 31 bits
        return np.moveaxis(out[:-1] % self.p, 0, -1).reshape(*slope.shape[:2], *read.shape[2:])

    def _product(self, a: np.ndarray, b: np.ndarray, times: Callable[..., np.ndarray]) -> np.ndarray:
        parts: list[Any] = [0] * len(a)
        seen = [[bool(x[m].any()) or not m for m in range(len(a))] for x in (a, b)]
        for m in range(len(a)):
            for n in range(len(a)):
                if not m & n and seen[0][m] and seen[1][n]:
                    parts[m | n] = (parts[m | n] + times(a[m], b[n])) % self.p
        shape = np.broadcast_shapes(*(np.shape(x) for x in parts))
        return np.stack([np.broadcast_to(x, shape) for x in parts]).astype(np.int64)

    def _times(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a * b % self.p

    def _matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Products of 31 and 16 bits: 2^16 of them add up in 63 bits."""
        if a.shape[-1] >= 1 << 16:
            raise Refused("an inner product of more than 65535 terms")
        return ((a @ (b >> 16) % self.p << 16) + a @ (b & 0xFFFF)) % self.p


def _lifted(value: np.ndarray, parts: int) -> np.ndarray:
    """A constant: no part but the first."""
    out = np.zeros((parts, *value.shape), dtype=np.int64)
    out[0] = value
    return out


def _taken(value: np.ndarray, step: Any) -> np.ndarray:
    flat = value.reshape(*value.shape[:2], -1)
    if "index" in step:
        index = np.array(step["index"], dtype=np.int64)
        if index.size and not (index.min() >= -1 and index.max() < flat.shape[-1]):
            raise Refused("an entry is taken that is not there")
        flat = np.where(index < 0, 0, flat[..., index]) if index.size else flat[..., index]
    return flat.reshape(*value.shape[:2], *step["shape"])


def _shape(sizes: Any) -> tuple[int, ...]:
    """A shape of a file that nobody vouches for."""
    if not isinstance(sizes, list) or not all(type(n) is int and 0 <= n <= LARGEST for n in sizes):
        raise Refused(f"{str(sizes)[:40]} is no shape")
    return tuple(sizes)


def _shapes(named: Any) -> dict[str, tuple[int, ...]]:
    return {n: _shape(s) for n, s in named.items()}


def main() -> None:
    """Reads the file named on the command line."""
    with open(sys.argv[1], encoding="utf-8") as file:
        content = json.load(file)
    try:
        proved = check(content)
    except Refused as error:
        sys.exit(f"{sys.argv[1]}: refused: {error}")
    print(f"{sys.argv[1]}: {proved.at_least} to {proved.at_most} independent laws of {proved.parameters} parameters")


if __name__ == "__main__":
    main()
