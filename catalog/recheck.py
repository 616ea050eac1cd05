"""One network of the catalog again: derived, verified, counted, and compared with what its entries say."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.graph.questions.check import check
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.derive.lawset import LawSet
from lawful.theory.laws.law import Law
from lawful.theory.oracle.verification import Report, verify

from .bibliography import cited
from .counts import read_formula
from .entry import Entry
from .families import network
from .generate import SAMPLES, SEED
from .settings.groups import settings

LARGEST = 1e-10  # residual that passes
CLEAR = 1e4  # least spectral gap

Failures = list[tuple[str, str]]


def setting_failures(name: str, stored: Sequence[Entry]) -> Failures:
    """What the entries of a setting say and its network does not."""
    known = {s.name: s for s in settings()}
    if name not in known:
        return [(e.id, f"there is no network {name!r} to check it on") for e in stored]
    setting = known[name]
    arch = setting.architecture(**setting.sizes)
    laws = derive(arch, setting.loss)
    report = verify(laws, arch, setting.loss, samples=SAMPLES, seed=SEED) if len(laws) else None
    counted = count(arch, setting.loss, seed=SEED)
    out: Failures = []
    if not counted.verdict.passed or counted.gap < CLEAR or counted.laws != laws.independent:
        out.append((name, f"{laws.independent} laws derived, brute force counts {counted.laws} ({counted.verdict})"))
    fresh = {law.short: law for law in laws}
    for e in stored:
        out += [(e.id, reason) for reason in _reasons(e, fresh, laws, report, counted.laws, setting.sizes)]
    missing = set(fresh) - {e.statement_text for e in stored}
    out += [(name, f"the catalog has no entry for {text!r}") for text in sorted(missing)]
    return out


def _reasons(
    e: Entry, fresh: dict[str, Law], laws: LawSet, report: Report | None, counted: int, sizes: dict[str, int]
) -> list[str]:
    out = []
    try:
        if not cited(e):
            out.append(f"its source {e.source!r} names nothing that the bibliography has")
    except KeyError as error:
        out.append(f"its source {error.args[0]!r} is not in the bibliography")
    c = e.certificate
    if c is None:
        return [*out, "it has no certificate"]
    if (c.engine, c.oracle) != (laws.independent, counted):
        out.append(f"its certificate counts {c.engine} = {c.oracle}, now {laws.independent} = {counted}")
    if c.sizes != sizes:
        out.append(f"its certificate is for {c.sizes}, the network has {sizes}")
    if e.kind == "none":
        return out if not fresh else [*out, f"it says that there is no law, there is {min(fresh)!r}"]
    law = fresh.get(e.statement_text)
    if law is None or report is None:
        return [
            *out,
            f"its statement {e.statement_text!r} is no law of the network; there are {', '.join(fresh) or 'none'}",
        ]
    row = report[law.name]
    if not row.verdict.passed or not row.residual <= LARGEST:
        out.append(f"the law is {row.verdict}, residual {row.residual:.1e}")
    said = (e.kind, e.wire, e.algebra, e.parameters, e.statement_latex)
    now = (law.kind, law.wire, law.algebra, law.parameters, law.short_latex)
    out += [f"it says {a!r}, now {b!r}" for a, b in zip(said, now, strict=True) if a != b]
    number = read_formula(e.count_formula, sizes)
    if number != law.count:
        out.append(f"{e.count_formula} is {number} at {sizes}, the law has {law.count} scalars")
    independent = read_formula(e.independent_formula or e.count_formula, sizes)
    if independent != law.independent:
        out.append(f"{independent} independent scalars at {sizes}, now {law.independent}")
    return out


def family_failures(e: Entry) -> Failures:
    """What the entry of a family says and a new check of it does not."""
    arch = network(e.id.rpartition("/")[2])
    found = check(arch, e.loss)
    c = e.certificate
    if c is None or found.count is None:
        return [(e.id, "nothing was counted")]
    out = []
    if found.complete is not True or (c.engine, c.oracle) != (found.small_laws.independent, found.count.laws):
        out.append((e.id, f"its certificate counts {c.engine} = {c.oracle}; now: {found.summary}"))
    if not e.count_formula.startswith(f"{found.laws.count:,} "):
        out.append((e.id, f"it says {e.count_formula}, now {found.laws.count:,}"))
    return out
