"""Two ways to cut one wire always have a common one, whatever their boxes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lawful.theory.gauge.algebra import Algebra
from lawful.theory.gauge.boxes import Box


@st.composite
def _dims(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """A way to write a number of features as a multi-index."""
    out = []
    while size > 1:
        n = draw(st.sampled_from([d for d in range(2, size + 1) if size % d == 0]))
        out.append(n)
        size //= n
    return tuple(out) or (1,)


@st.composite
def _layouts(draw: st.DrawFn, size: int) -> Algebra:
    cuts = sorted({0, size, *draw(st.lists(st.integers(1, size - 1), max_size=3))})
    dims = [draw(_dims(b - a)) for a, b in itertools.pairwise(cuts)]
    return Algebra(tuple(Box.of(d, ["c" * len(d)]) for d in dims), tuple(range(len(dims))))


@given(st.sampled_from([6, 8, 12, 16, 24, 36, 48]).flatmap(lambda n: st.tuples(_layouts(n), _layouts(n))))
def test_any_two_layouts_meet(pair: tuple[Algebra, Algebra]) -> None:
    """Found by a diffusion U-Net: a cut inside of a box needed a further one, and the boxes no longer matched."""
    a, b = pair
    met = a.meet(b)
    assert sum(box.size for box in met.boxes) == sum(box.size for box in a.boxes)
    assert met.edges() == b.meet(a).edges()
    assert set(met.edges()) >= {*a.edges(), *b.edges()}
