"""What stands behind a module in a network's diagram: who reads what it writes, and what nothing of it reaches."""

from __future__ import annotations

from collections.abc import Sequence

from .symmetries import Symmetries


def readers_of(found: Symmetries, smooth: str) -> str:
    """What stands between a module and its readers."""
    diagram = found.diagram
    if diagram is None:
        return "the network's axes are cut in ways that do not nest"
    mine = [n for n in found.uses if found.home(n) == smooth]
    wires = {w for n in mine for _, u in found.uses[n] for ends in u.axes for w, sign in ends if sign > 0}
    sites = dict.fromkeys(f"{s.name} ({s.rule.statement})" for w in sorted(wires) for s, _ in diagram.readers[w])
    if not mine:
        return f"no rule reads the parameters of {smooth}"
    return f"what it writes is read by {'; '.join(list(sites)[:4]) or 'nothing'}"


def not_behind(found: Symmetries, smooth: str, balance: Sequence[str]) -> tuple[str, ...]:
    """Modules that nothing reaches of what another module writes: a map that is written the wrong way round."""
    if found.diagram is None:
        return ()
    homes = {s.name: set(map(found.home, s.parameters)) for s in found.diagram.sites}
    reached: set[int] = set()
    behind: set[str] = set()
    for site in found.diagram.sites:
        hit = not reached.isdisjoint(site.inputs)
        behind |= homes[site.name] if hit else set()
        if hit or smooth in homes[site.name]:
            reached.update(site.outputs)
    known = set().union(*homes.values())
    return tuple(b for b in balance if b in known and b not in behind) if smooth in known else ()


def moved_with(found: Symmetries, smooth: str, balance: Sequence[str]) -> tuple[str, ...]:
    """What a factor of a module's rows moves besides what a map names: other writers of a stream, and other readers."""
    best: tuple[str, ...] = ()
    seen = 0
    for s in found:
        homes = dict.fromkeys(found.home(m.parameter) for m in s.moves)
        hit = len(set(balance) & set(homes))
        if (s.kind == "scale" or s.group == "general linear") and smooth in homes and hit > seen:
            best, seen = tuple(h for h in homes if h != smooth and h not in balance), hit
    return best
