"""Networks of all ratios of widths, small enough to be counted themselves: copies must not contradict them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

from hypothesis import strategies as st

import lawful as lw
from lawful import blocks as b

MOST = 60  # trainable scalars
TOKENS = 3


def _piece(draw: Callable, width: int, widths: st.SearchStrategy[int]) -> tuple[b.Net, int]:
    """A random block for some width, and the width behind it."""
    bias = draw(st.booleans())
    other = draw(widths)
    kind = draw(
        st.sampled_from(("linear", "linear", "norm", "norm", "gain", "relu", "gelu", "residual", "lora", "heads"))
    )
    if kind == "norm" and width > 2:
        return draw(st.sampled_from((b.LayerNormCore(width, 0.0), b.RMSNormCore(width, 0.0)))), width
    if kind == "gain":
        return b.Affine(width, draw(st.booleans())), width
    if kind == "relu":
        return b.LeakyReLU(0.3), width
    if kind == "gelu":
        return b.GELU(), width
    if kind == "residual":
        act = (b.LeakyReLU(0.3),) if draw(st.booleans()) else ()
        return b.residual(
            functools.reduce(operator.rshift, (b.Linear(width, other, bias), *act, b.Linear(other, width, False)))
        ), width
    if kind == "lora":
        rank = draw(st.integers(1, 3))
        low = b.Linear(width, rank, False) >> b.Linear(rank, other, False)
        return b.parallel(b.frozen(b.Linear(width, other, False)), low), other
    if kind == "heads":
        head = draw(st.integers(1, 3))
        return b.SelfAttention(width, heads=draw(st.integers(1, 2)), head_width=head, bias=bias), width
    return b.Linear(width, other, bias), other


@st.composite
def lopsided(draw: Callable) -> lw.Architecture:
    """A chain of maps, norms, gains, residual branches, low-rank updates and attention of random widths."""
    widths = st.sampled_from((1, 2, 3, 4, 5, 7, 10, 14, 20))
    first = draw(st.integers(1, 4))
    width = draw(widths)
    parts: list[b.Net] = [b.Linear(first, width, draw(st.booleans()))]
    for _ in range(draw(st.integers(1, 3))):
        part, width = _piece(draw, width, widths)
        parts.append(part)
    parts.append(b.Linear(width, draw(st.integers(2, 5)), draw(st.booleans())))
    return lw.Architecture(functools.reduce(operator.rshift, parts), input=b.Signal(first, (TOKENS,)))


def countable(arch: lw.Architecture) -> bool:
    """Whether a network is counted in about a second."""
    return sum(p.size for p in arch.parameters.values() if not p.frozen) <= MOST


def contradiction(arch: lw.Architecture, loss: str) -> str:
    """What the check of a copy says falsely about a network that is counted itself; empty for nothing."""
    found = lw.check(arch, loss, countable=0)
    if not found.complete and found.verdict is not lw.Verdict.VIOLATED:
        return ""
    counted = lw.count(arch.with_epsilon(0.0), loss)
    if not counted.verdict.passed:
        return ""
    agree = counted.laws == found.laws.independent
    if found.complete != agree:
        return f"{counted.laws} laws are counted, {found.laws.independent} derived\n{found.summary}"
    return ""
