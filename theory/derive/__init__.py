"""From gauges to laws: their terms, how many are independent, their proofs, and what may be missing.

Answers: the list of laws of a diagram (`solve`), as a `LawSet`.
Imports: `gauge`, `laws`, and `oracle` for `LawSet.verify` alone.
Read first: `solve`, then `prove` (why a law holds), `ranks` (dependent scalars), `limits` (what is not covered).
"""
