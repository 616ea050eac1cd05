"""Witnesses of a gradient: what a module really computed, differentiated again without its own backward.

Answers: is the gradient that a module leaves the derivative of what it computed, and where does it stop to be?
Imports: theory (running a module, losses); no graph is read here.
Read first: `tape.py` (what ran; `recorder.py` writes it), `replay.py` (its derivative), `judge.py` (what follows).
"""
