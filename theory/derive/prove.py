"""Proving: the theorems that a law follows from, with hypotheses that are checked again.

A proof of a quadratic law names the matrix `S` on every wire that carries one, quotes the rule of every block next to
those wires, and checks the rule's equations again for this `S`, one block at a time.  A proof of a linear law names the
constant field and checks that the shifts it causes are absorbed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..gauge.balance import Balance, Recorder
from ..gauge.linalg import Equations
from ..gauge.rules import AddRule, OutputRule
from ..gauge.unknowns import Factor, Sector
from ..laws.proof import SHOWN, Proof

if TYPE_CHECKING:
    from ..gauge.contract import Site, Use
    from ..gauge.families import Family, SectorRow
    from ..gauge.solution import Solution
    from ..gauge.subspace import Subspace
    from ..laws.law import Law

BALANCE = (
    "wire balance: matrices S on the wires that every block turns into one another "
    "give h = 1/2 sum <S, producers - consumers>"
)
SHIFT = (
    "affine gauge: a constant field that the network cannot feel is a gradient, so its pairing with theta is conserved"
)
SOURCES = {
    AddRule: "Marcotte, Gribonval, Peyré 2025, proposition 3.2 and theorem 4.7",
    OutputRule: "Marcotte, Gribonval, Peyré 2023, section 2",
}


def prove(law: Law, solution: Solution, family: Family, loss: str) -> Proof:
    """The proof of a law from the solution it came from."""
    if law.kind != "balance":
        return _shift_proof(law, solution, family)
    if family.kinds == ("cross",):
        return _cross_proof(law, solution)
    return _balance_proof(law, solution, family)


def _balance_proof(law: Law, solution: Solution, family: Family) -> Proof:
    coefficients = {(e[0] if family.mixed else e): a for e, a in family.support}
    wires = {w for w, _ in coefficients}
    named = ", ".join(
        f"{solution.drawn.wires[w].name}: {_times(a)}S" for (w, _), a in list(coefficients.items())[:SHOWN]
    )
    more = f", ... ({len(coefficients) - SHOWN} more)" if len(coefficients) > SHOWN else ""
    rows = [solution.gauge_rows[i] for i in family.rows]
    steps = _rewrite_steps(solution, wires)
    for site in solution.drawn.sites:
        if wires & set(site.wires):
            steps.append(
                Proof(
                    f"rule of {site.name}",
                    site.rule.statement,
                    SOURCES.get(type(site.rule), ""),
                    check=partial(_rule_holds, solution, rows, site),
                )
            )
    for name, uses in solution.uses.items():
        if len(uses) > 1 and any(w in wires for u in uses for axis in u.axes for w, _ in axis):
            steps.append(
                Proof(
                    "sharing",
                    f"{name} is used {len(uses)} times, and every use moves it alike",
                    check=partial(_sharing_holds, solution, rows, name, uses),
                )
            )
    kept = "exactly" if law.exact else "up to the epsilon of a norm"
    steps.append(
        Proof(
            "submodule",
            f"S is zero on all other wires, so only {', '.join(law.parameters[:SHOWN])} move",
            "Marcotte, Gribonval, Peyré 2025, theorem 4.6",
            check=lambda: all(
                _pinned(solution.balance.equations, {Sector(w, b, s): a for ((w, b), s), a in r.items()}) for r in rows
            ),
        )
    )
    return Proof(
        BALANCE.split(":")[0],
        f"{law.name} is conserved {kept}, with S in {law.algebra} on {named}{more}",
        steps=tuple(steps),
    )


def _times(a: object) -> str:
    return "" if a == 1 else "-" if a == -1 else f"{a} "


def _rewrite_steps(solution: Solution, wires: set[int]) -> list[Proof]:
    near = {s.name for s in solution.diagram.sites if wires & set(s.wires)}
    return [Proof("rewrite", f"{r.site}: {r.reason}") for r in solution.rewrites if r.site in near]


def _rule_holds(solution: Solution, rows: list[SectorRow], site: Site) -> bool:
    return all(_satisfies(solution, r, lambda b: site.rule.balance(b, site)) for r in rows)


def _sharing_holds(solution: Solution, rows: list[SectorRow], name: str, uses: list[Use]) -> bool:
    return all(_satisfies(solution, r, lambda b: b.share(name, uses)) for r in rows)


def _satisfies(solution: Solution, row: dict, write: Callable[[Balance], None]) -> bool:
    """Whether the equations that `write` states hold for a solution, for some value of the free factors."""
    recorder = Recorder(solution.layouts, solution.directions)
    write(recorder)
    system: Equations = Equations()
    for equation in recorder.rows:
        free = {k: a for k, a in equation.items() if isinstance(k, Factor)}
        sectors = ((k, a) for k, a in equation.items() if not isinstance(k, Factor))
        known = sum(a * row.get(((k.wire, k.box), k.label), 0) for k, a in sectors)
        system.require({**free, "one": known})
    return bool(system.reduce({"one": 1}))


def _pinned(equations: Equations, values: dict) -> bool:
    """Whether a system has a solution with these values, zero for all other variables of the same kind."""
    system = copy.deepcopy(equations)
    kind = type(next(iter(values)))
    for key in system.variables():
        if isinstance(key, kind):
            system.require({key: 1, ("pin",): -values.get(key, 0)})
    return bool(system.reduce({("pin",): 1}))


def _shift_proof(law: Law, solution: Solution, family: Family) -> Proof:
    rows = [solution.field_rows[i] for i in family.rows]
    steps = []
    for name in law.parameters:
        for use in solution.uses[name]:
            for axis in use.axes:
                for w, _ in axis:
                    steps += _unseen_steps(solution, name, w)
    unique = list({s.claim: s for s in steps}.values())
    unique.append(
        Proof(
            "shifts add up",
            "with this field on " + ", ".join(law.parameters[:SHOWN]) + " every shift is absorbed, block by block",
            check=lambda: all(_pinned(solution.shifts.equations, r) for r in rows),
        )
    )
    return Proof(
        SHIFT.split(":")[0], f"{law.name} is conserved: {SHIFT.split(': ')[1]}", "kunin2021, theorem 1", tuple(unique)
    )


def _unseen_steps(solution: Solution, name: str, w: int) -> list[Proof]:
    out = []
    directions = solution.directions
    readers = ", ".join(s.name for s, _ in solution.drawn.readers[w])
    wire = solution.drawn.wires[w].name
    for what, space in (("any shift", directions.moving(w)), ("a constant shift", directions.still(w))):
        if space:
            size = "any direction" if space.covers(directions.layout(w)) else "some directions"
            out.append(
                Proof(
                    "unseen direction",
                    f"{readers} do not see {what} of {wire} along {size}",
                    check=partial(_readers_agree, solution, w, space, what == "any shift"),
                )
            )
            break
    if directions.absent(w):
        out.append(Proof("absent direction", f"{wire} is orthogonal to some directions whatever the data"))
    return out


def _readers_agree(solution: Solution, w: int, space: Subspace, moving: bool) -> bool:
    """Whether the rule of every reader, asked again, does not see the directions."""
    for site, port in solution.drawn.readers[w]:
        blind = site.rule.blind(solution.directions, site)[port]
        seen = blind.moving if moving else blind.still.join(blind.moving)
        if not all(seen.contains(v) for v in space.vectors):
            return False
    return True


def _cross_proof(law: Law, solution: Solution) -> Proof:
    from ..gauge.sums import parallel_pairs

    def check() -> bool:
        names = set(law.parameters)
        return any(
            names
            == {
                u.parameter for s, k in ((p.producers, 0), (p.consumers, 1)) for x in s for u in x.rule.uses(x)[: 2 - k]
            }
            for p in parallel_pairs(solution.drawn)
        )

    return Proof(
        "parallel linear branches",
        f"{law.name}: two linear branches with one reader and one writer are one, so their hidden wires are one wire",
        check=check,
    )
