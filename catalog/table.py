"""The table of all blocks and their laws: `python -m lawful.catalog.table [PATH]` writes `docs/blocks.md`.

Everything in it is read off the entries of the catalog, the blocks' own summaries and the findings.
"""

from __future__ import annotations

import argparse
import inspect
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from lawful import blocks as b
from lawful.graph.questions.derive import derive
from lawful.graph.questions.lora import lora

from .entry import Entry
from .findings import findings
from .settings.groups import GROUPS, settings
from .store import laws as entries

INTRO = """\
# Every block and its laws

*Written by `python -m lawful.catalog.table` from the catalog; change the blocks or `catalog/`, not this page.*

Every row is a small network around one block, in parentheses its name in the catalog: `lawful catalog search relu`
lists its laws, `lawful catalog show relu/balance/W` shows one with its hypotheses, network and certificate.

**Laws** are conserved by gradient flow on every data set, for any differentiable loss unless a loss is named; behind
each stands how many scalars it has, as a function of the widths. A name stands for its weight, `name.b` for its bias,
`i` runs over the features of a diagonal law, `h` over blocks, `expert*` means each of them. All laws of a network are
listed: the list is *complete*, and has been counted.

**Checked**: independent laws by the rules = by brute force (of so many parameters), the spectral gap behind that count,
and the largest relative derivative of a law along a loss gradient. The random seed is 0 everywhere.

**Momentum, decay, Adam** say what becomes of each law outside of gradient flow. They follow from what the law is, not
from the block:

| | momentum, from rest | weight decay `λ` | Adam, sign descent | plain SGD, one step `η` |
|---|---|---|---|---|
| quadratic law `Q` | drifts: `<∇h, v>` is no longer zero | `e^(-2 λ t)` | broken | `h + η² Q(g)` |
| matrices on a linear wire | the same; `skew`: so many momentum laws survive | `e^(-2 λ t)` | broken | `h + η² Q(g)` |
| linear law | kept | `e^(-λ t)` | broken; a difference of two entries is kept | kept |
| parameter that never moves | kept | `e^(-λ t)` | kept | kept |

Where symmetric matrices `S` of a wire leave the loss alone so do their commutators, which are skew: with a velocity `v`
the quantity `e^(∫τ) <v, B θ>` is conserved (Noether; marcotte2024), `n (n - 1) / 2` of them on a wire of `n` features.
A law with `I + W` has no power of decay, since decay pulls `W` and not `I + W` to zero. Two entries whose gradients are
always equal or opposite have one history, so Adam moves them alike; all this in exact arithmetic, since Adam divides a
gradient that is nothing but rounding by its own size. The SGD steps are exact identities: `lawful.dynamics`.
"""

FINDINGS = """\
## Where there are more laws than the rules give

Each network has more independent laws than the rules derive, all else equal as small as we know it. The laws that are
missing are known as well: a test checks that they hold, and that they fill the gap. **Named** tells whether
`laws.notes` says that laws may be missing.

| network | rules | oracle | named | where they come from |
|---|---|---|---|---|
"""

INDEX = """\
## Every kind of block

| kind | what it computes | networks above |
|---|---|---|
"""


FATES = ("momentum", "decay", "adam")
HEAD = """\
| network | laws and their scalars | momentum | decay | Adam | checked | source |
|---|---|---|---|---|---|---|
"""
SHOWN = 3  # networks that the index names for a block


def page() -> str:
    """The page in Markdown."""
    by_setting: dict[str, list[Entry]] = {}
    for e in entries():
        by_setting.setdefault(e.setting, []).append(e)
    parts = [INTRO]
    for title, makers in GROUPS.items():
        rows = _merged(by_setting[s.name] for make in makers for s in make())
        told: set[str] = set()
        parts.append(f"## {title}\n\n{HEAD}{''.join(_row(r, told) for r in rows)}")
    parts.append(FINDINGS + "".join(_finding_rows()))
    parts.append(INDEX + "".join(_kind_rows()))
    return "\n".join(parts)


def _merged(found: Iterable[list[Entry]]) -> list[list[list[Entry]]]:
    """Neighbouring networks without a law and with the same count share a row."""
    rows: list[list[list[Entry]]] = []
    for laws in found:
        first, last = laws[0], rows[-1][0][0] if rows else None
        if last and first.kind == last.kind == "none" and _numbers(laws) == _numbers(rows[-1][0]):
            rows[-1].append(laws)
        else:
            rows.append([laws])
    return rows


def _row(networks: Sequence[list[Entry]], told: set[str]) -> str:
    """One row; `told` are the blocks that rows above have said what they compute."""
    laws = networks[0]
    first = laws[0]
    lines = _law_lines(laws)
    fates = [_told([(n, getattr(e, what)) for n, (_, e) in enumerate(lines, 1)]) for what in FATES]
    number = "({}) ".format if len(lines) > 1 else lambda n: ""
    texts = [f"{number(n)}`{text}`: `{e.count_formula}`" for n, (text, e) in enumerate(lines, 1)]
    cells = [
        _network(networks, told),
        "none" if first.kind == "none" else "<br>".join(texts),
        *fates,
        _numbers(laws),
        "; ".join(dict.fromkeys(part for e in laws for part in e.source.split("; "))),
    ]
    return _line(cells)


def _network(networks: Sequence[list[Entry]], told: set[str]) -> str:
    """Blocks, what they compute, what the network is."""
    first = networks[0][0]
    names = ", ".join(f"**`{laws[0].block}`**" for laws in networks)
    ids = ", ".join(f"`{laws[0].setting}`" for laws in networks)
    each = re.sub(r"with \S+$", "with each of them", first.title) if len(networks) > 1 else first.title
    loss = f", loss {first.loss}" if first.loss != "mse" else ""
    what = f"<br>{computes(first.block)}" if len(networks) == 1 and first.block not in told else ""
    told.update(laws[0].block for laws in networks)
    return f"{names}: {each}{loss} ({ids}){what}"


def computes(block: str) -> str:
    """What a block or composite computes: its summary, or the first line of its documentation."""
    kinds = b.kinds()
    if block in kinds:
        return code(kinds[block].summary)
    return inspect.getdoc(lora if block == "lora" else getattr(b, block)).splitlines()[0]  # type: ignore[union-attr]


def code(text: str) -> str:
    """Formulas in code font, words as they are."""
    return f"`{text}`" if re.search(r"[=^|<>*_()]", text) else text


def _law_lines(laws: Sequence[Entry]) -> list[tuple[str, Entry]]:
    """Statements in short names; those that differ in a number at the end of a name stand in one line."""
    short = short_names({p for e in laws for p in e.parameters})
    lines: dict[str, list[tuple[str, Entry]]] = {}
    for e in laws:
        if e.kind != "none":
            text = _renamed(e.statement_text, short)
            lines.setdefault(re.sub(r"(?<=[a-z])\d+(?=\.)", "*", text), []).append((text, e))
    return [(key if len(same) > 1 else same[0][0], same[0][1]) for key, same in lines.items()]


def short_names(parameters: Iterable[str]) -> dict[str, str]:
    """The end of every name that still tells the blocks apart; a weight is called as its block, a bias `block.b`."""
    owners = {p: p.rpartition(".")[0] for p in parameters}
    ends: dict[str, str] = {}
    for owner in set(owners.values()):
        parts = owner.split(".")
        tails = [".".join(parts[-k:]) for k in range(1, len(parts) + 1)]
        others = [f".{o}" for o in set(owners.values()) if o != owner]
        ends[owner] = next(t for t in [*tails, owner] if t == owner or not any(o.endswith(f".{t}") for o in others))
    local = {"weight": "", "bias": ".b"}
    return {p: ends[o] + local.get(p.rpartition(".")[2], p[len(o) :]) if o else p for p, o in owners.items()}


def _renamed(text: str, names: dict[str, str]) -> str:
    known = "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w.])({known})(?!\w)", lambda m: names[m[1]], text)


def _told(values: Sequence[tuple[int, str]]) -> str:
    """What is said of the laws of a row: once if all agree, else with their numbers."""
    said: dict[str, list[int]] = {}
    for n, text in values:
        said.setdefault(_formula(text), []).append(n)
    if len(said) == 1:
        return next(iter(said))
    return "<br>".join(f"({_runs(numbers)}) {text}" for text, numbers in said.items())


def _runs(numbers: Sequence[int]) -> str:
    """`1, 3-5`."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs)


def _formula(text: str) -> str:
    """Formulas in code font inside `kept`, `drifts; n skew`, `e^(-λ t)`."""
    head, _, skew = text.removesuffix(" skew").partition("; ")
    return f"{head}; `{skew}` skew" if skew else f"`{head}`" if "^" in head else head


def _numbers(laws: Sequence[Entry]) -> str:
    checked = [e.certificate for e in laws if e.certificate is not None]
    c = checked[0]
    gap = "no direction left" if math.isinf(c.gap) else f"gap {c.gap:.0e}".replace("e+", "e")
    residual = f", residual {max(x.residual for x in checked):.0e}" if laws[0].kind != "none" else ""
    return f"{c.engine} = {c.oracle} of {c.parameters}, {gap}{residual}"


def _finding_rows() -> Iterable[str]:
    for f in findings():
        arch = f.architecture()
        laws = derive(arch, f.loss)
        used = [arch.block(n) for n in arch.nodes]
        shared = ", one map twice" if any(x.ties for x in used) or len(set(map(id, used))) < len(used) else ""
        loss = f", loss {f.loss}" if f.loss != "mse" else ""
        named = "yes" if laws.notes else "no"
        network = f"{f.name}{loss}:<br>`{f.build()!r}`{shared}"
        yield _line([network, str(laws.independent), str(f.oracle), named, f.reason])


def _kind_rows() -> Iterable[str]:
    """Every registered block with the networks it is in, those that are about it first."""
    of = {s.name: (s.block, {e for x in entries() if x.setting == s.name for e in x.blocks}) for s in settings()}
    for kind, block in sorted(b.kinds().items()):
        if not block.__module__.startswith("lawful."):
            continue
        names = sorted((n for n, (_, kinds) in of.items() if kind in kinds), key=lambda n: of[n][0] != kind)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield _line([f"`{kind}`", code(block.summary), ", ".join(f"`{n}`" for n in names[:SHOWN]) + more])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |\n"


def main(arguments: list[str] | None = None) -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(
        prog="python -m lawful.catalog.table", description="Write the table of all blocks."
    )
    parser.add_argument("path", nargs="?", type=Path, default=Path("docs/blocks.md"), help="the file to write")
    path = parser.parse_args(arguments).path
    path.write_text(page(), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
