"""What the rules do not cover: named in the result, never guessed.

Answers: the reasons why a list of laws may be incomplete, one sentence each.
Imports: `gauge`, and `ranks` beside it; one file per kind of limit.
Read first: `limits`, which asks all the others.
"""
