"""Symmetries at work: the transformation behind every law, applied to weights, exported, checked.

Answers: `symmetries`, `fold`, `balance`, `equalise`, `align`, `same_function`, `audit`, `param_groups`, the exporters.
Imports: everything up to `graph/questions`.
Read first: `symmetry.py` (what one is), then `continuous.py` (from laws) and `discrete.py` (from the diagram).
"""
