"""Which gauges a diagram has: changes of the parameters, wire by wire, that no loss can see.

Answers: the spaces of matrices and of shifts on every wire, as exact linear algebra over the rationals.
Imports: torch-free mathematics and `losses` only; no other wing.
Read first: `diagram` (wires, sites, parameters), `contract` (what a block says), `solution` (the order of passes).
"""
