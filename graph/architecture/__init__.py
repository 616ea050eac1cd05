"""The graph of blocks: shapes, names, forward, JSON, small copies, and the diagram that the theorems see.

Answers: what a network is made of, what it computes, and what it looks like smaller.
Imports: `lawful.blocks` and `lawful.theory`; no other wing of `graph`.
Read first: `block_graph` (the data), then `architecture` (the class that users hold), `diagrams` (to the theorems).
"""
