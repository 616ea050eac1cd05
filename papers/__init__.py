"""The papers of the field, run again, on one small harness: a paper is a file, or a folder of its experiments.

Answers: does what a paper claims or measures come out when its experiment runs again, with this library?
Imports: everything below the front door (symmetry, dynamics, graph, ...).
Read first: `paper.py` (what a paper is made of), `running.py` (how one is run), then any paper: `zhao2023.py` is a
file, `kunin2021/` a folder.
"""
