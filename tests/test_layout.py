"""The geometry of drawings: nothing overlaps, everything flows down, trunks are straight."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lawful.graph.drawing.layout import GAP_X, layout


def test_the_branch_stays_straight_and_the_skip_goes_around_it() -> None:
    """stem - (skip, up - act - down) - sum - head: five boxes on one line, and the skip beside it."""
    sizes, wires = [(1.0, 0.4)] * 7, [(0, 1), (1, 2), (1, 5), (2, 3), (3, 4), (4, 5), (5, 6)]
    placed = layout(sizes, wires, {2})
    assert len({round(x, 6) for x, _ in placed.centres}) == 1
    trunk, beside = placed.centres[0][0], {x for x, _ in placed.routes[2][1:-1]}
    assert len(beside) == 1 and abs(beside.pop() - trunk) > 0.5


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    n = draw(st.integers(1, 14))
    sizes = [(draw(st.floats(0.2, 3)), draw(st.floats(0.2, 0.8))) for _ in range(n)]
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] < p[1])
    return sizes, draw(st.lists(pairs, max_size=24)) if n > 1 else []


@given(graphs())
def test_nothing_overlaps_and_everything_flows_down(
    graph: tuple[list[tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, wires = graph
    placed = layout(sizes, wires)
    boxes = [(x - w / 2, x + w / 2, y - h / 2, y + h / 2) for (x, y), (w, h) in zip(placed.centres, sizes, strict=True)]
    for i, (a, c, e, g) in enumerate(boxes):
        assert a > -1e-6 and c < placed.width + 1e-6 and e > -1e-6 and g < placed.height + 1e-6
        for p, q, r, s in boxes[:i]:
            assert a > q + GAP_X - 1e-6 or p > c + GAP_X - 1e-6 or e > s or r > g
    for (u, v), route in zip(wires, placed.routes, strict=True):
        assert all(y <= z for (_, y), (_, z) in pairwise(route))
        assert route[0] == pytest.approx((placed.centres[u][0], boxes[u][3]))
        assert route[-1] == pytest.approx((placed.centres[v][0], boxes[v][2]))
