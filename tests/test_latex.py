"""Every law in LaTeX is typeset by programs that know nothing of us: matplotlib's mathtext, and KaTeX.

KaTeX typesets the catalog once, when `python -m lawful.catalog.site.formulas` prerenders its pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
import sympy as sp
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.catalog.site.formulas import rendered
from lawful.catalog.store import entries
from lawful.testing.strategies import architectures
from lawful.theory.laws.law import Law
from lawful.theory.laws.sentence import sentence

PARSER = MathTextParser("path")
FAMILIES = (
    "family:gpt2:layers=1:width=6:heads=2:vocabulary=7:context=4",
    "family:vit:layers=1:width=6:heads=2",
    "family:resnet18:width=4",
    "family:mixtral:layers=1",
    "family:mamba:layers=1",
)


def typeset(latex: str) -> None:
    try:
        PARSER.parse(f"${latex}$")
    except ValueError as error:
        pytest.fail(f"{latex}: {str(error).splitlines()[-1]}")


def expect_typeset(laws: Iterable[Law]) -> None:
    for law in laws:
        typeset(law.latex)
        typeset(law.short_latex)
        expect_document(law.proof.latex)
        expect_paper(str(law.formula), law)
        expect_paper(sp.pretty(law.formula, use_unicode=True) if law.count < 9 else "", law)


def expect_paper(formula: str, law: Law) -> None:
    """No second index of a vector, no bare 1 for a row of ones, no sum over one index."""
    vectors = {t.part.parameter for t in law.terms if len(t.part.view.shape) == 1}
    assert not any(re.search(rf"{re.escape(name)}\[[^\[\]]*, 0\]", formula) for name in vectors), formula
    assert not re.search(r"(?<![\w.)])1\*[^\s/]|\*1(?![\w./])|\(\w+, 0, 0\)", formula), formula


COMMANDS = {"textbf", "emph", "begin", "end", "item", "ensuremath", "textbackslash", "dots", "_", "^", "~", "&", "#"}
COMMANDS |= {"%", "{", "}", "$", "'", "`", '"'}


def expect_document(text: str) -> None:
    """Text with lists: known commands, closed groups and lists, no bare sign; its formulas are typeset."""
    parts = re.split(r"\\ensuremath\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}", text)
    for formula in parts[1::2]:
        typeset("x" + formula if formula.startswith("^") else formula)
    words = "".join(parts[::2])
    assert set(re.findall(r"\\([A-Za-z]+|.)", words)) <= COMMANDS, words
    bare = re.sub(r"\\(?:[A-Za-z]+|.)", "", words)
    assert not re.search(r"[_^&#%$~\\]", bare) and bare.isascii() and bare.count("{") == bare.count("}"), bare
    assert words.count(r"\begin{itemize}") == words.count(r"\end{itemize}")


@pytest.mark.parametrize("spec", FAMILIES)
@pytest.mark.parametrize("loss", [pytest.param("mse", marks=pytest.mark.nightly), "cross_entropy"])
def test_laws_of_families(spec: str, loss: str) -> None:
    expect_typeset(lw.derive(spec, loss))


class Packed(nn.Module):
    """Parameters that are used by parts, and names with signs."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv_proj = nn.Linear(4, 12)
        self.add_module("out%2", nn.Linear(4, 4))
        self._w = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv_proj(x).view(*x.shape[:-1], 3, 2, 2).unbind(-3)
        a = (q.transpose(1, 2) @ k.permute(0, 2, 3, 1)).softmax(-1) @ v.transpose(1, 2)
        return self.get_submodule("out%2")(a.transpose(1, 2).flatten(2)) @ self._w


def test_laws_of_modules() -> None:
    laws = lw.derive(Packed(), "cross_entropy", args=torch.randn(2, 3, 4))
    assert any(r"out\%2" in law.latex for law in laws)
    expect_typeset(laws)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(architectures(), st.sampled_from(["mse", "cross_entropy"]))
def test_laws_of_random_networks(arch: lw.Architecture, loss: str) -> None:
    expect_typeset(lw.derive(arch, loss))


def test_the_catalog_was_typeset_by_katex() -> None:
    missing = [e.id for e in entries() if e.is_law and e.latex not in rendered()]
    missing += [e.id for e in entries() if not e.is_law and e.latex not in rendered()]
    assert not missing, f"run python -m lawful.catalog.site.formulas: {', '.join(missing)}"


@settings(max_examples=60)
@given(st.text(alphabet="ab_^²ᵀΣ∫ηé('){}%&$~½ĝ ‖⟨⟩"))
def test_any_sentence_is_a_formula(text: str) -> None:
    if written := sentence(text.replace("&", "")):  # mathtext has no \&
        typeset(written)


def test_a_sentence_reads_as_in_a_paper() -> None:
    assert sentence("laws drift as 6 η² k") == r"\text{laws drift as 6 }\eta ^{2}\text{ k}"
    assert sentence("Σ_i U_ik of tr(ΣA)") == r"\sum _{i}\text{ U}_{ik}\text{ of tr(}\Sigma \text{A)}"


def test_formulas_print_as_in_a_paper() -> None:
    laws = lw.derive(b.chain(U=b.Linear(3, 4), V=b.Linear(4, 2)), "cross_entropy")
    assert [str(law.formula) for law in laws] == [
        "U.weight*U.weight.T + U.bias*U.bias.T - V.weight.T*V.weight",
        "ones(2).T*V.bias",
        "ones(2).T*V.weight",
    ]
    relu = lw.derive(b.chain(U=b.Linear(3, 4), act=b.ReLU(), V=b.Linear(4, 1)))[0].formula
    assert str(relu) == "Sum(U.weight[i, r]**2, (r, 0, 2)) + U.bias[i]**2 - V.weight[0, i]**2"
    assert "b_{i}" in sp.latex(relu).replace("U.bias", "b").replace("{b}", "b")
    plain = sp.MatrixSymbol("U.bias", 4, 1)[sp.Symbol("i", integer=True, nonnegative=True), 0]
    assert relu.has(plain) and relu == sp.Add(*relu.args) and hash(relu) == hash(sp.Add(*relu.args))
