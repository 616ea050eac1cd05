"""Drawings of architectures: Mermaid and DOT text, and pictures whose wires show the laws they carry.

Answers: one picture of a network.
Imports: `architecture`.
Read first: `draw`.
"""
