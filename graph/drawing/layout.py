"""Where the blocks of a drawing go: layers from top to bottom, straight trunks, long wires beside them.

The steps are Sugiyama's: layers by the longest path, waypoints where a wire passes a layer, an order of every layer
with few crossings, and places on straight lines as of Brandes and Köpf.  What is particular to networks is the choice
of weights: a short wire pulls harder than a skip or a long one, so that residual branches stay on the
trunk and the skips go around them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Size = tuple[float, float]
Key = int | tuple[int, int]  # a node, or the waypoint of a wire in a layer
GAP_X, GAP_Y, WAYPOINT = 0.28, 0.4, 0.14
SWEEPS, DAMPING = 100, 0.6


@dataclass(frozen=True)
class Layout:
    """Positions in inches; y grows downwards.

    Attributes:
        centres: the centre of every node.
        routes: for every wire the points it passes, its ends included; points inside a layer come in pairs.
        cuts: heights that only one value passes, for one reader or several: where a tall drawing may be cut.
        width: of the whole.
        height: of the whole.
    """

    centres: list[tuple[float, float]]
    routes: list[list[tuple[float, float]]]
    cuts: list[float]
    width: float
    height: float


def layout(sizes: Sequence[Size], wires: Sequence[tuple[int, int]], skips: Collection[int] = ()) -> Layout:
    """Places nodes of given sizes, listed in topological order.

    Args:
        sizes: width and height of every node.
        wires: source and target of every wire, by index.
        skips: the wires that go around something, however short they are.
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
    above, below = _neighbours(chains, skips)
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
        if len({u for u, v in wires if layer[u] <= depth < layer[v]}) == 1:
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


Neighbours = Mapping[Key, Sequence[tuple[Key, float]]]


def _neighbours(chains: Sequence[Sequence[Key]], skips: Collection[int]) -> tuple[Neighbours, Neighbours]:
    above: dict[Key, list[tuple[Key, float]]] = {}
    below: dict[Key, list[tuple[Key, float]]] = {}
    for i, chain in enumerate(chains):
        ends = 1.0 if i in skips or len(chain) > 3 else 3.0
        for a, b in pairwise(chain):
            weight = 8.0 if isinstance(a, tuple) and isinstance(b, tuple) else ends
            above.setdefault(b, []).append((a, weight))
            below.setdefault(a, []).append((b, weight))
    return above, below


def _order(rows: list[list[Key]], above: Neighbours, below: Neighbours) -> list[list[Key]]:
    """Sorts each layer by the mean place of its neighbours, and keeps the order with the fewest crossings."""
    best, fewest = [list(row) for row in rows], _crossings(rows, above)
    for sweep in range(8):
        down = sweep % 2 == 0
        near, step = (above, 1) if down else (below, -1)
        for before, row in pairwise(rows[::step]):
            place = {key: float(i) for i, key in enumerate(before)}
            own = {key: float(i) for i, key in enumerate(row)}
            mean = {k: sum(place[n] for n, _ in near[k]) / len(near[k]) if k in near else own[k] for k in row}
            row.sort(key=mean.__getitem__)
        found = _crossings(rows, above)
        if found < fewest:
            best, fewest = [list(row) for row in rows], found
    return best


def _crossings(rows: Sequence[Sequence[Key]], above: Neighbours) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        place = {key: i for i, key in enumerate(upper)}
        ends = [p for key in lower for p in sorted(place[n] for n, _ in above.get(key, ()))]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def _positions(
    rows: Sequence[Sequence[Key]], above: Neighbours, below: Neighbours, widths: Mapping[Key, float]
) -> dict[Key, float]:
    """One place for every trunk: pulled to the mean of its neighbours, as far as what stands beside it allows."""
    trunk = _trunks(rows, above, below)
    distances: dict[tuple[Key, Key], float] = {}
    for row in rows:
        for a, b in pairwise(row):
            pair, needed = (trunk[a], trunk[b]), (widths[a] + widths[b]) / 2 + GAP_X
            distances[pair] = max(needed, distances.get(pair, 0.0))
    pulls: dict[Key, list[tuple[Key, float]]] = {t: [] for t in trunk.values()}
    for key, t in trunk.items():
        pulls[t] += [(trunk[n], w) for n, w in (*above.get(key, ()), *below.get(key, ())) if trunk[n] != t]
    mass = {t: sum(w for _, w in near) or 0.1 for t, near in pulls.items()}
    at = _apart(dict.fromkeys(pulls, 0.0), distances)
    for _ in range(SWEEPS):
        step = {t: sum((at[o] - at[t]) * w for o, w in near) / mass[t] for t, near in pulls.items()}
        for t, move in step.items():
            at[t] += DAMPING * move
        for _ in range(4):
            for (a, b), distance in distances.items():
                close = distance - (at[b] - at[a])
                if close > 0:  # both yield, the light one more: the whole keeps its centre and does not drift
                    at[a] -= close * mass[b] / (mass[a] + mass[b])
                    at[b] += close * mass[a] / (mass[a] + mass[b])
    at = _apart(at, distances)
    start = min(at[trunk[k]] - widths[k] / 2 for k in trunk)
    return {k: at[t] - start for k, t in trunk.items()}


def _apart(wanted: Mapping[Key, float], distances: Mapping[tuple[Key, Key], float]) -> dict[Key, float]:
    """Places to the right of those wanted, at least as far apart as they must be."""
    beside: dict[Key, list[tuple[Key, float]]] = {}
    waiting = dict.fromkeys(wanted, 0)
    for (a, b), distance in distances.items():
        beside.setdefault(a, []).append((b, distance))
        waiting[b] += 1
    at = dict(wanted)
    ready = [t for t, n in waiting.items() if not n]
    while ready:
        a = ready.pop()
        for b, distance in beside.get(a, ()):
            at[b] = max(at[b], at[a] + distance)
            waiting[b] -= 1
            if not waiting[b]:
                ready.append(b)
    return at


def _trunks(rows: Sequence[Sequence[Key]], above: Neighbours, below: Neighbours) -> dict[Key, Key]:
    """The topmost point of the straight line that every point belongs to.

    Two points share a line where each is the middle one of those that pull hardest at the other; lines never cross.
    """
    place = {key: i for row in rows for i, key in enumerate(row)}
    trunk: dict[Key, Key] = {key: key for row in rows for key in row}
    for row in rows[1:]:
        pairs = []
        for key in row:
            upper = _middle(above.get(key, []), place)
            if upper is not None and _middle(below[upper[0]], place) == (key, upper[1]):
                pairs.append((-upper[1], place[upper[0]], place[key], upper[0], key))
        taken: list[tuple[int, int]] = []
        for _, i, j, upper_key, key in sorted(pairs, key=lambda p: p[:3]):
            if all((i - p) * (j - q) > 0 for p, q in taken):
                taken.append((i, j))
                trunk[key] = trunk[upper_key]
    return trunk


def _middle(near: Sequence[tuple[Key, float]], place: Mapping[Key, int]) -> tuple[Key, float] | None:
    strongest = max((w for _, w in near), default=0.0)
    keys = sorted({n for n, w in near if w == strongest}, key=place.__getitem__)
    return (keys[len(keys) // 2], strongest) if len(keys) % 2 else None


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
