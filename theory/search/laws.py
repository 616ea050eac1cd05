"""What the search for polynomial laws returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from ..arguments import of_right_kinds, plural
from ..laws.pages import Printed
from .monomials import Monomial

if TYPE_CHECKING:
    import sympy

Polynomial = dict[Monomial, int]


@dataclass(frozen=True, repr=False)
@of_right_kinds
class PolynomialLaws(Printed):
    """All conserved polynomials up to some degree.

    That none is missing is certain: a rank modulo a prime never exceeds the rank over Q, so the search can only find
    too large a space, and every law of its basis was confirmed.  (For fields that are given as an object this takes
    for granted the sign flips that the object declares.)  That the laws are true is `proved`, or holds but for `error`.
    That `independent` are independent is certain too; an unlucky point can only make them too few.

    Attributes:
        variables: the names of the variables.
        degree: the largest degree that was searched.
        polynomials: a basis over Q of all conserved polynomials without constant term, lowest degree first: coprime
            integer coefficients of monomials, which are ascending tuples of variable numbers.
        chosen: which of them have independent gradients at a random point, first come first kept.
        proved: whether every law was expanded to zero along every field, exactly.
        error: otherwise a bound on the probability that a false law passed (Schwartz 1980, Zippel 1979), unless
            all its derivatives along the fields vanish modulo the primes of `confirmed`, which are drawn at random.
        primes: the primes that the laws were found with.
        confirmed: the primes that the laws were confirmed with, at fresh points.
        monomials: number of monomials that were searched.
        classes: number of classes they split into.
        largest: size of the largest class, which is the largest linear system that was solved.
        data: symbols of the fields that are no variables: the laws hold for all their values.
    """

    variables: tuple[str, ...]
    degree: int
    polynomials: tuple[Polynomial, ...]
    chosen: tuple[int, ...]
    proved: bool
    error: float
    primes: tuple[int, ...]
    confirmed: tuple[int, ...]
    monomials: int
    classes: int
    largest: int
    data: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of functionally independent laws."""
        return len(self.chosen)

    @cached_property
    def symbols(self) -> tuple[sympy.Symbol, ...]:
        """The variables as sympy symbols; a name like `fc1.weight[0,1]` is kept as it is."""
        import sympy  # slow to load, and not needed for counting

        return tuple(sympy.Symbol(name) for name in self.variables)

    @cached_property
    def laws(self) -> tuple[sympy.Expr, ...]:
        """The basis as sympy expressions."""
        import sympy

        @cache
        def power(v: int, exponent: int) -> sympy.Expr:
            return self.symbols[v] ** exponent

        def term(monomial: Monomial, coefficient: int) -> sympy.Expr:
            return sympy.Mul(coefficient, *(power(v, monomial.count(v)) for v in dict.fromkeys(monomial)))

        return tuple(sympy.Add(*(term(m, c) for m, c in law.items())) for law in self.polynomials)

    @property
    def independent(self) -> tuple[sympy.Expr, ...]:
        """The independent laws as sympy expressions."""
        return tuple(self.laws[i] for i in self.chosen)

    @property
    def statement(self) -> str:
        """In one sentence, what was found and how sure it is."""
        chance = f"a false one passes with probability at most {self.error:.0e}"
        how = "each expanded to zero exactly" if self.proved else chance
        given = f", whatever {', '.join(self.data)} may be" if self.data else ""
        span = plural(len(self.polynomials), "polynomial spans", "polynomials span")
        return (
            f"{plural(self.count, 'independent law')}; {span} all laws of degree at most {self.degree} in "
            f"{len(self.variables)} variables{given} (none is missing; {how})"
        )

    def __str__(self) -> str:
        return "\n".join([self.statement, *(f"  {law}" for law in self.independent)])
