"""Where the blocks of a drawing go: layers from top to bottom, straight trunks, long wires beside them.

The steps are Sugiyama's: layers by the longest path, waypoints where a wire passes a layer, an order of every layer
with few crossings, and positions by least squares that keep the order and the distances.  What is particular to
networks is the choice of weights: a wire between neighbouring layers pulls harder than a long one, so that residual
branches stay straight and the skips go around them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Size = tuple[float, float]
Key = int | tuple[int, int]  # a node, or the waypoint of a wire in a layer
GAP_X, GAP_Y, WAYPOINT = 0.28, 0.36, 0.14
SWEEPS = 24


@dataclass(frozen=True)
class Layout:
    """Positions in inches; y grows downwards.

    Attributes:
        centres: the centre of every node.
        routes: for every wire the points it passes, its ends included; points inside a layer come in pairs.
        cuts: heights that only one wire passes: where a tall drawing may be cut.
        width: of the whole.
        height: of the whole.
    """

    centres: list[tuple[float, float]]
    routes: list[list[tuple[float, float]]]
    cuts: list[float]
    width: float
    height: float


def layout(sizes: Sequence[Size], wires: Sequence[tuple[int, int]]) -> Layout:
    """Places nodes of given sizes, listed in topological order.

    Args:
        sizes: width and height of every node.
        wires: source and target of every wire, by index.
    """
    layer = _layers(len(sizes), wires)
    rows: list[list[Key]] = [[] for _ in range(max(layer, default=0) + 1)]
    for node, depth in enumerate(layer):
        rows[depth].append(node)
    chains: list[list[Key]] = []
    for i, (u, v) in enumerate(wires):
        between: list[Key] = [(i, depth) for depth in range(layer[u] + 1, layer[v])]
        for key in between:
            rows[key[1]].append(key)  # type: ignore[index]
        chains.append([u, *between, v])
    above, below = _neighbours(chains)
    rank = {key: wires[key[0]][0] + 0.5 if isinstance(key, tuple) else float(key) for row in rows for key in row}
    rows = _order([sorted(row, key=rank.__getitem__) for row in rows], above, below)
    widths = {key: WAYPOINT if isinstance(key, tuple) else sizes[key][0] for row in rows for key in row}
    x = _positions(rows, above, below, widths)
    heights = [max((sizes[k][1] for k in row if not isinstance(k, tuple)), default=0.1) for row in rows]
    tops = [0.0]
    for h in heights:
        tops.append(tops[-1] + h + GAP_Y)
    centres = [(x[n], tops[layer[n]] + heights[layer[n]] / 2) for n in range(len(sizes))]
    routes = [_route(chain, x, centres, sizes, tops, heights) for chain in chains]
    cuts = []
    for depth in range(len(rows) - 1):
        if sum(layer[u] <= depth < layer[v] for u, v in wires) == 1:
            cuts.append(tops[depth + 1] - GAP_Y / 2)
    return Layout(centres, routes, cuts, max(x[k] + widths[k] / 2 for k in x), tops[-1] - GAP_Y)


def _layers(count: int, wires: Sequence[tuple[int, int]]) -> list[int]:
    """The longest path from the top; what has no input stands right above its first reader."""
    into: dict[int, list[int]] = {}
    out: dict[int, list[int]] = {}
    for u, v in wires:
        into.setdefault(v, []).append(u)
        out.setdefault(u, []).append(v)
    layer = [0] * count
    for node in range(count):
        layer[node] = max((layer[u] + 1 for u in into.get(node, ())), default=0)
    for node in range(1, count):
        if node not in into and node in out:
            layer[node] = max(0, min(layer[v] for v in out[node]) - 1)
    return layer


Near = dict[Key, list[tuple[Key, float]]]


def _neighbours(chains: Sequence[Sequence[Key]]) -> tuple[Near, Near]:
    above: Near = {}
    below: Near = {}
    for chain in chains:
        for a, b in zip(chain, chain[1:], strict=False):
            long = isinstance(a, tuple) + isinstance(b, tuple)
            weight = (3.0, 1.0, 8.0)[long]
            above.setdefault(b, []).append((a, weight))
            below.setdefault(a, []).append((b, weight))
    return above, below


def _order(rows: list[list[Key]], above: Near, below: Near) -> list[list[Key]]:
    """Sorts each layer by the mean place of its neighbours, and keeps the order with the fewest crossings."""
    best, fewest = [list(row) for row in rows], _crossings(rows, above)
    for sweep in range(8):
        down = sweep % 2 == 0
        near, step = (above, 1) if down else (below, -1)
        for before, row in zip(rows[::step], rows[::step][1:], strict=False):
            place = {key: float(i) for i, key in enumerate(before)}
            own = {key: float(i) for i, key in enumerate(row)}
            mean = {k: sum(place[n] for n, _ in near[k]) / len(near[k]) if k in near else own[k] for k in row}
            row.sort(key=mean.__getitem__)
        found = _crossings(rows, above)
        if found < fewest:
            best, fewest = [list(row) for row in rows], found
    return best


def _crossings(rows: Sequence[Sequence[Key]], above: Near) -> int:
    total = 0
    for upper, lower in zip(rows, rows[1:], strict=False):
        place = {key: i for i, key in enumerate(upper)}
        ends = [p for key in lower for p in sorted(place[n] for n, _ in above.get(key, ()))]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def _positions(
    rows: Sequence[Sequence[Key]], above: Near, below: Near, widths: Mapping[Key, float]
) -> dict[Key, float]:
    """Pulls every point to the weighted median of its neighbours, down and up in turn, as far as its row allows."""
    x: dict[Key, float] = {}
    for row in rows:
        x.update(zip(row, _offsets(row, widths), strict=True))
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            near = [(above if down else below).get(k) or (below if down else above).get(k, []) for k in row]
            if sweep >= SWEEPS - 6:
                near = [[*above.get(k, ()), *below.get(k, ())] for k in row]
            wanted = [
                _median([(x[n], w) for n, w in found]) if found else x[k] for k, found in zip(row, near, strict=True)
            ]
            weights = [max((w for _, w in found), default=0.1) for found in near]
            offsets = _offsets(row, widths)
            free = [p - o for p, o in zip(wanted, offsets, strict=True)]
            x.update(zip(row, (p + o for p, o in zip(_ascending(free, weights), offsets, strict=True)), strict=True))
    left = min(x[k] - widths[k] / 2 for k in x)
    return {k: v - left for k, v in x.items()}


def _offsets(row: Sequence[Key], widths: Mapping[Key, float]) -> list[float]:
    """Smallest distances of the points of a row from its first."""
    out = [0.0]
    for a, b in zip(row, row[1:], strict=False):
        out.append(out[-1] + (widths[a] + widths[b]) / 2 + GAP_X)
    return out


def _median(values: Sequence[tuple[float, float]]) -> float:
    """The weighted median; the middle of two where the weights are even."""
    ordered = sorted(values)
    half = sum(w for _, w in ordered) / 2
    total = 0.0
    for i, (value, weight) in enumerate(ordered):
        total += weight
        if abs(total - half) < 1e-9:
            return (value + ordered[i + 1][0]) / 2
        if total > half:
            return value
    return ordered[-1][0]


def _ascending(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The nearest ascending sequence in the weighted least-squares sense (pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, p, m), (b, q, n) = blocks[-2:]
            blocks[-2:] = [((a * p + b * q) / (p + q), p + q, m + n)]
    return [value for value, _, n in blocks for _ in range(n)]


def _route(
    chain: Sequence[Key],
    x: Mapping[Key, float],
    centres: Sequence[tuple[float, float]],
    sizes: Sequence[Size],
    tops: Sequence[float],
    heights: Sequence[float],
) -> list[tuple[float, float]]:
    first, *between, last = chain
    assert isinstance(first, int) and isinstance(last, int)
    points = [(x[first], centres[first][1] + sizes[first][1] / 2)]
    for key in between:
        assert isinstance(key, tuple)
        points += [(x[key], tops[key[1]]), (x[key], tops[key[1]] + heights[key[1]])]
    return [*points, (x[last], centres[last][1] - sizes[last][1] / 2)]
