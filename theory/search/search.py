"""The search for polynomial conservation laws, exact over the rational numbers.

A polynomial `P` is conserved by fields `X_1, X_2, ...` if `<grad P, X_i> = 0` identically (Marcotte, Gribonval, Peyré
2023, sections 2 and 3).  For a generic `P` of degree `k` this is one linear system in its coefficients.  Here it is cut
into classes by the symmetries of the fields, sampled at random points modulo primes, and its kernel is lifted to Q.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..oracle.exact.residues import pivots
from .confirmation import confirm, error_bound
from .family import ExactFields, draw, primes
from .grading import Grading, classes
from .kernel import Kernel, kernels
from .laws import Polynomial, PolynomialLaws
from .monomials import all_monomials, gradients, number_of_monomials, slopes
from .sparse import sparsified
from .sympy_fields import SympyFields

if TYPE_CHECKING:
    import sympy

MAX_MONOMIALS = 3_000_000
MAX_CLASS = 6_000
MAX_PRIMES = 256
BATCH = 2_000_000  # entries of the systems that are solved side by side
SPARE, MAX_SPARE = 2, 4096  # equations beyond the number of unknowns, at first and at most


def search_laws(
    fields: ExactFields | Sequence[Sequence[Any]],
    variables: Sequence[sympy.Symbol] | None = None,
    degree: int = 2,
    *,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> PolynomialLaws:
    """Finds all polynomials up to some degree that are constant along every field of a family.

    Args:
        fields: vector fields, each a sequence of `D` sympy expressions, polynomial with rational coefficients; or an
            object that evaluates a family of them (`ExactFields`).
        variables: the `D` symbols that the fields move, by default all symbols in the fields, sorted by name.  The law
            has to hold for all values of the other symbols.  Not used with an object, which names its own.
        degree: the largest degree of a law.
        seed: of the primes, points and fields.
        progress: called with a line before each step.

    Returns:
        A basis of the laws, and an independent subset.

    Raises:
        ValueError: if a field is not polynomial, sizes disagree, nothing moves, or the search would be too large.
        ArithmeticError: if no law with the residues found exists, because the values of the fields modulo different
            primes do not belong to one family.

    >>> from sympy.abc import x, y
    >>> search_laws([[-y, x]], [x, y]).laws
    (x**2 + y**2,)
    """
    if isinstance(fields, ExactFields):
        if variables is not None:
            raise ValueError(f"{type(fields).__name__} names its own variables; call search_laws without `variables`")
        family = fields
    else:
        family = SympyFields(fields, variables)
    return _Search(family, degree, seed, progress or (lambda line: None)).run()


@dataclass
class _Class:
    """Monomials that can be searched alone, and what is known of the laws in them."""

    monomials: np.ndarray
    kernel: Kernel | None = None


class _Search:
    def __init__(self, family: ExactFields, degree: int, seed: int, say: Callable[[str], None]) -> None:
        self.family, self.degree, self.say = family, degree, say
        size = len(family.variables)
        if not isinstance(degree, int) or degree < 1:
            raise ValueError(f"the degree of a law is a whole number of at least 1, not {degree!r}")
        if not size:
            raise ValueError("there are no variables, so there is nothing to search")
        if (n := number_of_monomials(size, degree)) > MAX_MONOMIALS:
            raise ValueError(
                f"{size} variables have {n:,} monomials of degree at most {degree}, and {MAX_MONOMIALS:,} can be "
                "searched; lower the degree or the number of variables"
            )
        self.rng = np.random.default_rng(seed)
        self.fresh = primes(self.rng)
        self.spare = SPARE
        self.used: list[int] = []
        self.confirmed: list[int] = []
        self.monomials = all_monomials(size, degree)
        self.degrees = (self.monomials < size).sum(axis=1)

    def run(self) -> PolynomialLaws:
        groups = self._classes()
        number, largest = sum(len(g) for g in groups), max(g.shape[1] for g in groups)
        self.say(f"{len(self.monomials)} monomials in {number} classes, the largest of {largest}")
        if largest > MAX_CLASS:
            raise ValueError(
                f"the largest class has {largest:,} monomials, and {MAX_CLASS:,} are solved at most; lower the degree "
                "or the number of variables, or give fields with more sign symmetries"
            )
        found: list[Polynomial] = []
        pending = self._first(groups)
        while pending:
            self.say(f"modulo {len(self.used)} primes: {len(pending)} classes have candidates")
            pending = self._settle(pending, found)
            if len(self.used) >= MAX_PRIMES and pending:
                raise ArithmeticError(
                    f"{len(pending)} classes of monomials have conserved polynomials modulo {MAX_PRIMES} primes, but "
                    "no law over the rational numbers fits; check that values(theta, prime, rng) draws from one "
                    "family, the same for every prime"
                )
            if pending:
                pending = self._again(pending)
        found.sort(key=lambda law: (max(map(len, law)), list(law)))
        return PolynomialLaws(
            variables=tuple(self.family.variables),
            degree=self.degree,
            polynomials=tuple(found),
            chosen=self._independent(found),
            proved=isinstance(self.family, SympyFields),
            error=0.0 if isinstance(self.family, SympyFields) else error_bound(self.family, self.degree),
            primes=tuple(self.used),
            confirmed=tuple(self.confirmed),
            monomials=len(self.monomials),
            classes=number,
            largest=largest,
            data=self.family.data if isinstance(self.family, SympyFields) else (),
        )

    def _classes(self) -> list[np.ndarray]:
        masks = self.family.parities()
        if len(masks) != len(self.family.variables):
            raise ValueError(f"parities() gives {len(masks)} masks for {len(self.family.variables)} variables")
        weights = self.family.weights() if isinstance(self.family, SympyFields) else []
        return classes(Grading(tuple(masks), tuple(weights)).labels(self.monomials))

    def _first(self, groups: list[np.ndarray]) -> list[_Class]:
        """The classes that have a kernel modulo the first prime."""
        p, theta, field = self._sample(max(g.shape[1] for g in groups))
        if not field.any():
            raise ValueError("all fields are zero, so nothing moves and every function is conserved")
        pending = []
        for group in groups:
            height = group.shape[1] + self.spare
            step = max(1, BATCH // (height * group.shape[1]))
            for start in range(0, len(group), step):
                part = group[start : start + step]
                rows = self._equations(part, theta[:height], field[:height], p)
                pending += [_Class(part[i], kernel) for i, kernel in kernels(rows, p)]
        return pending

    def _again(self, pending: list[_Class]) -> list[_Class]:
        """The same classes modulo one more prime."""
        p, theta, field = self._sample(max(len(c.monomials) for c in pending))
        left = []
        for one in pending:
            height = len(one.monomials) + self.spare
            rows = self._equations(one.monomials[None], theta[:height], field[:height], p)
            for _, kernel in kernels(rows, p):
                left.append(_Class(one.monomials, one.kernel.merged(kernel) if one.kernel else kernel))
        return left

    def _sample(self, unknowns: int) -> tuple[int, np.ndarray, np.ndarray]:
        self.used.append(next(self.fresh))
        return self.used[-1], *draw(self.family, unknowns + self.spare, self.used[-1], self.rng)

    def _equations(self, members: np.ndarray, theta: np.ndarray, field: np.ndarray, p: int) -> np.ndarray:
        """Sampled equations for classes of one size: `(classes, samples, monomials)`."""
        rows = slopes(theta, field, self.monomials[members.ravel()], p)
        return np.ascontiguousarray(rows.reshape(len(theta), *members.shape).transpose(1, 0, 2))

    def _settle(self, pending: list[_Class], found: list[Polynomial]) -> list[_Class]:
        """Moves what can be lifted to Q and is confirmed to `found`; returns the other classes."""
        lifted = [(one, self._lifted(one)) for one in pending]
        candidates = [law for _, laws in lifted for law in laws or ()]
        passed, used = confirm(self.family, candidates, self.fresh, self.rng)
        if isinstance(self.family, SympyFields):
            exact = self.family.conserves
            passed = [good and exact(law) for good, law in zip(passed, candidates, strict=True)]
        self.confirmed += used
        left, position = [], 0
        for one, laws in lifted:
            if laws is None:
                left.append(one)
                continue
            if all(passed[position : position + len(laws)]):
                found += laws
            else:  # too few equations, or small fractions by chance; more of both helps
                left.append(one)
                self.spare = min(2 * self.spare, MAX_SPARE)
            position += len(laws)
        return left

    def _lifted(self, one: _Class) -> list[Polynomial] | None:
        rows = one.kernel.over_q() if one.kernel else None
        if rows is None:
            return None
        rows = sparsified(rows, self.degrees[one.monomials])
        padding = len(self.family.variables)
        names = [tuple(v for v in m if v != padding) for m in self.monomials[one.monomials].tolist()]
        laws = [{m: int(a) for m, a in zip(names, row, strict=True) if a} for row in rows]
        # A law starts with its first monomial of the highest degree: that one is positive.
        signs = [1 if law[max(law, key=len)] > 0 else -1 for law in laws]
        return [{m: sign * a for m, a in law.items()} for sign, law in zip(signs, laws, strict=True)]

    def _independent(self, laws: list[Polynomial]) -> tuple[int, ...]:
        if not laws:
            return ()
        p = next(self.fresh)
        theta = self.rng.integers(0, p, len(self.family.variables))
        return tuple(pivots(np.ascontiguousarray(gradients(theta, laws, p).T), p))
