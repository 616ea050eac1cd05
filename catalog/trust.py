"""The three lines that say how far an entry can be trusted: completeness, reliability, source.  They are generated."""

from __future__ import annotations

import math

from lawful.theory.arguments import plural

from .bibliography import OWN, cited
from .record import Record


def trust(entry: Record) -> tuple[str, str, str]:
    """Completeness, reliability and source of an entry, one line each."""
    return completeness(entry), reliability(entry), source_line(entry)


def completeness(entry: Record) -> str:
    """Whether the list of laws of its network is complete, and how that is known."""
    c = entry.certificate
    if entry.kind == "family":
        if c is None:
            return f"undecided here: derived and not counted; `lawful check {entry.network}` counts a small copy of it"
        return (
            f"complete on a small copy of it: brute force counts {c.oracle} independent laws on {c.parameters} "
            f"parameters, the rules give {c.engine}; the copy has the same families of laws and meets the same limits"
        )
    if not entry.is_law:
        return "a statement, not a list of laws; the entries that it names say of each list whether it is complete"
    if c is None:
        return "undecided: the laws of this network were derived and not counted"
    if c.engine == c.oracle == c.parameters - c.ranks[-1]:
        gap = "no direction dropped" if math.isinf(c.gap) else f"spectral gap {c.gap:.0e}".replace("e+", "e")
        return (
            f"complete {_sizes(entry)}: brute force (Lie brackets of the loss gradients, without knowing the laws) "
            f"counts {c.oracle} independent laws on {c.parameters} parameters, the rules give {c.engine}; {gap}"
        )
    return f"undecided: the rules give {c.engine} independent laws, brute force counts {c.oracle}"


def reliability(entry: Record) -> str:
    """What was checked, with which version."""
    c = entry.certificate
    if c is None:
        shown = f"shown by the certificates of {', '.join(entry.evidence)}" if entry.evidence else ""
        run = f"`lawful catalog verify` {entry.check}" if entry.check else ""
        if entry.is_law:
            return "proved by the rules of lawful; no gradient was computed"
        if entry.kind == "family":
            return "derived by the rules of lawful at its published size; the entries that it names are certified"
        told = "; ".join(t for t in (shown, run, entry.outcome) if t)
        return told or "as its source states it; not checked by this library"
    if entry.kind == "family":
        return f"{c.verdict}: every law of the small copy, largest residual {c.residual:.0e}; lawful {c.version}"
    if entry.kind == "none":
        return f"counted at a random point (seed {c.seed}), lawful {c.version}; there is no law to test on gradients"
    control = (
        "nothing to corrupt: it never moves" if math.isinf(c.control) else f"a corrupted copy moves by {c.control:.0e}"
    )
    return (
        f"{c.verdict}: the relative derivative along loss gradients at {plural(c.samples, 'random point')} (float64, "
        f"seed {c.seed}) is {c.residual:.0e}; {control}; lawful {c.version}"
    )


def source_line(entry: Record) -> str:
    """Where it is from, with the papers spelled out."""
    papers = [str(s) for s in cited(entry) if s.key != OWN]
    return " ".join([f"{entry.source}.", *papers])


def _sizes(entry: Record) -> str:
    c = entry.certificate
    if c is None or not c.sizes:
        return "for the network itself"
    return "at " + ", ".join(f"{k}={v}" for k, v in c.sizes.items())
