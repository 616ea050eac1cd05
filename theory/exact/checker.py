"""Checks a certificate, with Python, numpy and python-flint only: `python checker.py FILE`.

This file imports nothing of lawful and can be copied anywhere.  It knows a network as the polynomial that the
certificate writes down, and proves from it how many independent laws the gradient flow of the network has.

At most `D - rank`: the brackets that the certificate names are computed anew at a random point modulo a prime, and
their minor must have the determinant that the certificate says, not zero.  A minor that is not zero modulo a prime is
not zero, so the generic rank is at least its size; this is a proof, whatever prime and point.

At least as many as there are laws: the gradients of the laws must have a minor that is not zero, and random
combinations of laws must be orthogonal to random fields, at random points.  A polynomial of degree `d` that is not zero
modulo `p` vanishes at a random point with probability `d / p` at most (Schwartz, Zippel).

Prime and random numbers follow from a digest of the network and its laws, so that nobody can choose them.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import flint
import numpy as np

FORMAT = "lawful-certificate 1"
STATEMENT = ("network", "loss", "potential", "laws", "attempt")  # what the random numbers follow from
FIRST_PRIME = 1 << 30
POINTS = 4  # where laws and fields must be orthogonal
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
        prime: the prime of all this.
        doubt: bound on the probability that a law that is none passed as one.
    """

    parameters: int
    at_least: int
    at_most: int
    prime: int
    doubt: float


def check(certificate: Any) -> Proved:
    """Proves everything again that a certificate says.

    Args:
        certificate: the content of the file.

    Raises:
        Refused: if it proves less than it says, and why.
    """
    try:
        return _check(certificate)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError) as error:
        raise Refused(f"the certificate is malformed ({type(error).__name__}: {error})") from error


def _check(certificate: Any) -> Proved:
    if certificate["format"] != FORMAT:
        raise Refused(f"the format is {certificate['format']!r}, and this reads {FORMAT!r}")
    if certificate["digest"] != digest({k: v for k, v in certificate.items() if k != "digest"}):
        raise Refused("the digest is not that of the content: something was changed after it was written")
    prime, seed = drawn_from({k: certificate[k] for k in STATEMENT})
    if certificate["prime"] != prime:
        raise Refused(f"the prime is {certificate['prime']}, but {prime} follows from the statement")
    potential, rank, claim = Program(certificate["potential"], prime), certificate["rank"], certificate["claim"]
    theta = draw(seed, "theta", (1, potential.size), prime)
    rows = [brackets(potential, theta, seed, prime, rank["rows"], chunk) for chunk in _chunks(potential, rank["rows"])]
    _minor(rows, rank["columns"], rank["determinant"], prime, "the fields and their brackets")
    at_most, at_least, doubt = potential.size - len(rank["columns"]), 0, 0.0
    if certificate["laws"] is not None:
        laws, chosen = Program(certificate["laws"], prime), certificate["independent"]
        if laws.parameters != potential.parameters:
            raise Refused("the laws and the network do not have the same parameters")
        _minor(
            [law_gradients(laws, theta, chosen["rows"])], chosen["columns"], chosen["determinant"], prime, "the laws"
        )
        doubt = orthogonal(potential, laws, seed, prime)
        at_least = len(chosen["rows"])
    if claim != {"parameters": potential.size, "at_least": at_least, "at_most": at_most}:
        raise Refused(f"the claim is {claim}, but {at_least} laws at least and {at_most} at most are proved")
    return Proved(potential.size, at_least, at_most, prime, doubt)


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


def brackets(program: Program, theta: np.ndarray, seed: str, p: int, rows: list[list[int]], chunk: range) -> np.ndarray:
    """Fields of a network and brackets of them: `rows` says the level and number of each.

    Level 0 are the fields `X`; level `k + 1` are brackets of two elements `X_1 + [X_2 + [...], X_3 + [...]]` with `k`
    brackets in one another.
    """
    level, numbers = rows[chunk.start][0], [rows[i][1] for i in chunk]
    if min(numbers) < 0 or len(set(numbers)) != len(numbers):
        raise Refused("a bracket is named twice")
    data = []
    for i in range(2 * (2**level - 1) if level else 1):
        label = f"{level}.{i}"
        found = {n: draw(seed, f"{label}/{n}", (max(numbers) + 1, *s), p)[numbers] for n, s in program.data.items()}
        for n, (s, options) in program.choices.items():
            picked = draw(seed, f"{label}/{n}", (max(numbers) + 1, *s), options)[numbers]
            found[n] = np.stack([picked == k for k in range(options)], axis=1).astype(np.int64)
        data.append(found)

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


def law_gradients(laws: Program, theta: np.ndarray, rows: list[int]) -> np.ndarray:
    """The gradients of some laws: `laws` is a sum of all laws with weights."""
    (count,) = laws.data["weights"]
    if len(set(rows)) != len(rows) or not all(0 <= r < count for r in rows):
        raise Refused("a law is named twice, or is not there")
    weights = np.zeros((len(rows), count), dtype=np.int64)
    weights[np.arange(len(rows)), rows] = 1
    found = laws.gradient(theta[None], {"weights": weights})[0]
    return np.broadcast_to(found, (len(rows), laws.size))


def orthogonal(potential: Program, laws: Program, seed: str, p: int) -> float:
    """Refuses laws that some field changes; gives the probability that a false one is not noticed.

    Between the options of a choice (the sides of a ReLU) random mixtures are taken: what vanishes for all mixtures
    vanishes for every option.
    """
    theta = draw(seed, "points", (POINTS, potential.size), p)
    data = {n: draw(seed, f"points/{n}", (POINTS, *s), p) for n, s in potential.data.items()}
    for n, (s, options) in potential.choices.items():
        mixed = draw(seed, f"points/{n}", (POINTS, options, *s), p)
        mixed[:, 0] = (1 - mixed[:, 1:].sum(1)) % p
        data[n] = mixed
    fields = potential.gradient(theta[None], data)[0]
    moves = laws.gradient(theta[None], {"weights": draw(seed, "weights", (POINTS, *laws.data["weights"]), p)})[0]
    if ((fields * moves % p).sum(-1) % p).any():
        raise Refused("the laws are not orthogonal to the fields: one of them is not conserved")
    return float(((potential.degree + laws.degree) / p) ** POINTS)


class Program:
    """The polynomial of a network: steps that take, add and multiply arrays, for many samples at a time.

    Values have shape `(parts, samples, ...)`: with `k` numbers that square to zero (`e_0, e_1, ...`) there are `2^k`
    parts, and part `m` stands in front of the product of the `e_i` whose bit is set in `m`.

    Args:
        text: the program as the certificate writes it.
        p: the prime.
    """

    def __init__(self, text: Any, p: int) -> None:
        self.p, self.steps = p, text["steps"]
        self.parameters = {n: tuple(s) for n, s in text["parameters"].items()}
        self.data = {n: tuple(s) for n, s in text["data"].items()}
        self.choices = {n: (tuple(s), int(k)) for n, (s, k) in text["choices"].items()}
        self.size = sum(math.prod(s) for s in self.parameters.values())
        self.width = sum(math.prod(s["shape"]) for s in self.steps) + self.size
        if self.width > LARGEST or self.steps[-1]["shape"]:
            raise Refused("the program is too large, or does not end in one number")
        self.tables = {i: self._residues(s["table"]) for i, s in enumerate(self.steps) if "table" in s}
        self.moving: list[bool] = []
        degrees: list[int] = []
        for i, step in enumerate(self.steps):
            read = step.get("inputs", [])
            if not all(0 <= j < i for j in read):
                raise Refused(f"step {i} reads a later one")
            self.moving.append(step["kind"] == "parameter" or any(self.moving[j] for j in read))
            many = [degrees[j] for j in read]
            degrees.append(sum(many) if step["kind"] in ("multiply", "matmul") else max(many, default=1))
        self.degree = degrees[-1]

    def _residues(self, table: Any) -> np.ndarray:
        """Floats as the fractions that they are, modulo the prime."""
        numbers = np.array(table, dtype=np.float64)
        found = [n * pow(d, -1, self.p) % self.p for n, d in (float(x).as_integer_ratio() for x in numbers.ravel())]
        return np.array(found, dtype=np.int64).reshape(numbers.shape)

    def _factors(self, step: Any) -> list[int]:
        found = [Fraction(c) for c in step["factors"]]
        if len(found) != len(step["inputs"]):
            raise Refused("a sum has not as many factors as terms")
        return [c.numerator * pow(c.denominator, -1, self.p) % self.p for c in found]

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
            elif kind == "data":
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
            elif kind == "total":
                value = read[0].sum(-1) % self.p
            else:
                raise Refused(f"a step of unknown kind {kind!r}")
            if value.shape[2:] != tuple(step["shape"]):
                raise Refused(f"step {i} ({kind}) has shape {value.shape[2:]}, and {tuple(step['shape'])} is written")
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
