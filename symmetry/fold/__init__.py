"""Folds: parameters move into others that can do their work.

Answers: `fold`, and one file for each kind of fold.
Imports: the rest of `symmetry`.
Read first: `folding.py`, then `norms.py`.
"""
