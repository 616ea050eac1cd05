"""What a law is, what its values are on tensors, and how it reads in text, LaTeX and sympy.

Answers: given a law and parameters, its scalars, gradients and formulas.
Imports: `gauge` for the names of algebras and families.
Read first: `statement` (a law as data), then `law` (what users hold).
"""
