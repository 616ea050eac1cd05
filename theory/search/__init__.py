"""Polynomial conservation laws of a given degree, found without knowing them, exact over the rational numbers."""

from .confirmation import confirm
from .family import ExactFields, parities_hold
from .laws import PolynomialLaws
from .search import search_laws
from .sympy_fields import SympyFields

__all__ = ["ExactFields", "PolynomialLaws", "SympyFields", "confirm", "parities_hold", "search_laws"]
