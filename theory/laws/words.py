"""What a reader of laws has to know: the names that say what indexes a law, and the indices in its formula."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .notation import short
from .statement import Statement

# What may index a law: the matrices S of its gauge, or the vectors of a linear law.
WORDS = {
    "Full": "Full(n): a law for every symmetric n × n matrix, so a symmetric matrix of n (n + 1) / 2 scalars",
    "Diagonal": "Diagonal(n): a law for each of n features, so n scalars",
    "Scalar": "Scalar(n): one law for all n features together, so one scalar",
    "ScalarPlusOnes": "ScalarPlusOnes(n): two laws of n features, of their squares and of the square of their sum",
    "Centred": "Centred(n): as Full(n), of features less their mean",
    "Skew": "Skew(n): a law for every skew-symmetric n × n matrix, of n planes that turn alike; n (n - 1) / 2 scalars",
    "Cross": "Cross(m, n): a law for every pair of features of two branches side by side, so m n scalars",
    "Vector": "Vector(n): n laws that are linear in the parameters",
    "Blocks": "Blocks(k, A): A for each of k heads or groups by itself, so k times as many scalars",
    "Copies": "Copies(k, A): A once, summed over k heads or positions that share it, so as many scalars as A",
    "Sum": "Sum(A, B): A for the first features of a wire, B for those behind them",
    "Nothing": "Nothing(n): no law",
}
# How a formula names entries of a parameter: a piece that shows that it is used, and what it means.
INDICES = {
    r"‖": "‖X‖²: the sum of the squares of all entries of X",
    r"\[[^\]]*[a-i:][^\]]*\]": "W[i,:], W[:,i]: row i, column i; a colon stands for all entries of an axis",
    r"\[[^\]]*\([a-z:,]+\)[^\]]*\]": (
        "W[8+(h,:)]: the rows from number 8 on, counted head by head; so row r of head h is row 8 + h n + r, if each "
        "head has n rows"
    ),
    r"\[(\d+:\d+|:,\d+:\d+)": "W[0:64]: the rows 0 to 63, as in Python",
    r"[cdefgh]\b[^()]*\]": "letters before i (h, g, ...): heads, groups or other blocks that features come in",
    r"@": "X @ X.T: the matrix product with the transpose, a symmetric matrix",
    r"1ᵀ| 1\b": "1ᵀ X, X 1: the sum of all rows of X, of all its columns",
    r"minus its mean over": "minus its mean over i: less the mean of all i, so one scalar fewer",
}


def words_of(laws: Iterable[Statement]) -> tuple[str, ...]:
    """The explanations that readers of these laws need, those of what indexes them first."""
    laws = tuple(laws)
    named = {name for law in laws for name in re.findall(r"[A-Z][A-Za-z]*(?=\()", law.algebra)}
    formulas = [re.sub(r"[\w.]+\.", "", short(law)) for law in laws]
    used = [text for piece, text in INDICES.items() if any(re.search(piece, f) for f in formulas)]
    return (*(text for name, text in WORDS.items() if name in named), *used)


__all__ = ["INDICES", "WORDS", "words_of"]
