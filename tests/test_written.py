"""What is printed of a law, a proof and a table reads as a paper would write it."""

from __future__ import annotations

import sympy as sp

import lawful as lw
from lawful import blocks as b


def test_formulas_print_in_the_order_of_the_law_and_are_plain_sums_else() -> None:
    laws = [*lw.derive(lw.families.mlp([3, 4, 2])), *lw.derive(lw.families.deep_linear([3, 4, 2]))]
    heads = b.SelfAttention(6, heads=2, head_width=2)
    laws += [*lw.derive(lw.Architecture(heads, input=b.Signal(6, (3,))))]
    for law in laws:
        for text in (str(law.formula), sp.latex(law.formula)):
            assert not text.startswith("-"), text
        plain = (sp.MatAdd if law.formula.is_Matrix else sp.Add)(*law.formula.args)  # type: ignore[attr-defined]
        plain = plain.doit() if law.formula.is_Matrix else plain  # type: ignore[attr-defined]
        assert plain == law.formula == plain and hash(plain) == hash(law.formula)
    assert str(laws[1].formula) == "fc1.weight*fc1.weight.T - fc2.weight.T*fc2.weight"


def test_what_a_law_has_a_proof_has() -> None:
    proof = lw.derive(lw.families.mlp([3, 4, 2]))[0].proof
    assert proof.text.startswith(proof.short.splitlines()[0]) and "\\begin{itemize}" in proof.latex


def test_a_tied_head_is_a_row_of_its_own() -> None:
    embedding = b.Embedding(5, 4)
    rows = lw.summary(embedding >> b.Linear(4, 4) >> b.LayerNorm(4) >> b.TiedHead(embedding)).rows
    head = rows[-1]
    assert head.kind.endswith("tied to 0.weight") and head.parameters == 0 and head.laws == rows[0].laws
