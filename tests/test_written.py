"""What is printed of a law, a proof and a table reads as a paper would write it."""

from __future__ import annotations

import pytest
import sympy as sp

import lawful as lw
from lawful import blocks as b
from lawful.theory.laws.proof import escaped


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


def test_letters_with_an_index_are_formulas_in_a_proof_and_names_are_none() -> None:
    found = lw.derive(lw.families.mlp([3, 4, 2]))[0].proof.latex
    assert r"\ensuremath{\xi_{W}}" in found and r"\ensuremath{S_{\mathrm{in}}}" in found
    assert r"lora\_A" in escaped("lora_A")


def test_names_that_are_none_are_told_from_lists_that_are_empty() -> None:
    laws = lw.derive(lw.families.mlp([3, 4, 2]))
    assert (
        len(laws.where(algebra="Full")) == len(laws.where(kind="shift")) == 0 and len(laws.where(algebra="Diag")) == 1
    )
    for make, part in (
        (lambda: laws.where(algebra="Diagonl"), "did you mean Diagonal?"),
        (lambda: laws.where(kind="balence"), "there are balance, shift, frozen"),
        (lambda: laws["balance of fc"], "did you mean balance of fc1?"),
        (lambda: laws[7], "there is one, number 0"),
        (lambda: laws[0].value(lw.families.mlp([3, 4, 2])), "to_torch() makes a module"),
    ):
        with pytest.raises((ValueError, LookupError, TypeError)) as caught:
            make()
        assert part in str(caught.value)
