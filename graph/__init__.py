"""Architectures, tracing, families, drawing, and the questions that users ask.

`architecture` (the graph and everything that runs or changes it) <- `families`, `drawing`, `tracing` <- `questions`.
No wing imports one to its right; `docs/architecture.md` has the whole picture.
"""
