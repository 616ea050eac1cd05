"""A user's module runs, and is given back to the bit: numbers, gradients, buffers, containers, random states.

Answers: what a run changed, and how it is undone.
Imports: nothing of lawful outside this folder.
Read first: `lent` (the context manager), then `holders` (what can change and be put back).
"""
