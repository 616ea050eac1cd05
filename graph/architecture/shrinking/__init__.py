"""A small copy of an architecture, and whether it speaks for the large one.

Answers: the smallest network with the same laws, and in what it may differ.
Imports: `block_graph`, `forward` and `diagrams` beside it, and `lawful.theory`.
Read first: `shrink`, then `widths` (how narrow), `depth` (which repeats go), `likeness` (what the copy may be asked).
"""
