"""Polynomial conservation laws of a given degree, found without knowing them, exact over the rational numbers.

Answers: all polynomial laws up to a degree, of vector fields or of networks.
Imports: exact linear algebra of `gauge`, programs and residues of `oracle.exact`.
Read first: `search`, then `family` and `program_fields` (what is searched), `confirmation` (what a find is tested by).
"""

from .confirmation import confirm
from .family import ExactFields, parities_hold
from .laws import PolynomialLaws
from .program_fields import ProgramFields
from .search import search_laws
from .sympy_fields import SympyFields

__all__ = ["ExactFields", "PolynomialLaws", "ProgramFields", "SympyFields", "confirm", "parities_hold", "search_laws"]
