"""The papers of the field, run again: one file for each paper, on one small harness.

Answers: does what a paper claims or measures come out when its experiment runs again, with this library?
Imports: everything below the front door (symmetry, dynamics, graph, ...).
Read first: `paper.py` (what a paper is made of), `running.py` (how one is run), then any paper.
"""
