"""`lw.report` and `lawful report`: one page about a network, without scripts and without anything from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lawful.blocks import ShapeError
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import check
from lawful.graph.questions.derive import architecture_of
from lawful.graph.questions.reading import NetworkLike, question
from lawful.theory.arguments import plural
from lawful.theory.files import expect_writable
from lawful.theory.laws.notes import once
from lawful.theory.laws.words import words_of
from lawful.theory.losses import LossLike

from .cli_trace import trace_lines
from .drawn import paint

if TYPE_CHECKING:
    from lawful.graph.questions.check import CheckReport
    from lawful.theory.derive.lawset import LawSet
    from lawful.theory.laws.law import Law
    from lawful.theory.laws.proof import Proof

STEPS = 40  # steps of a proof that are printed below one
STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5a6478; --line: #d9dee8; --page: #fff; --card: #f6f8fb;
  --good: #1b7a3d; --bad: #b3261e; --warn: #8a5a00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --soft: #a4adbf; --line: #3a4254; --page: #14181f;
  --card: #1d232d; --good: #6fd08c; --bad: #ff8a80; --warn: #ffca6b } }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.scroll { overflow-x: auto }
.picture { background: #fff; border: 1px solid var(--line); max-height: 45rem; overflow: auto }
.picture svg { display: block; height: auto; max-width: none }
table { border-collapse: collapse; width: 100% } th { text-align: left; color: var(--soft); font-weight: 600 }
td, th { overflow-wrap: break-word; border-bottom: 1px solid var(--line); padding: .35rem .7rem .35rem 0;
  vertical-align: top }
td.formula { font-family: "Cambria Math", "STIX Two Math", Georgia, serif; min-width: 18rem }
td.number { text-align: right; white-space: nowrap }
td.name { min-width: 11rem; max-width: 17rem; overflow-wrap: anywhere } td.verdict { min-width: 6.5rem }
td.algebra { min-width: 7rem }
@media (max-width: 45rem) { thead { display: none } td { display: block; border: 0; padding: .1rem 0 }
  td.number { text-align: left } td.number::after { content: " scalars" } tr { display: block;
  border-bottom: 1px solid var(--line); padding: .5rem 0 } td.formula, td.name, td.verdict,
  td.algebra { min-width: 0; max-width: none } td.formula { font-size: .82em }
  td.name { font-weight: 600 } .picture svg { width: 46rem } }
details { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0;
  padding: .4rem .8rem } summary { cursor: pointer }
.holds { color: var(--good) } .violated { color: var(--bad) } .approximate, .undecided, .vacuous { color: var(--warn) }
.soft { color: var(--soft) } sub, sup { line-height: 0 }
"""


@question()
def report(
    network: NetworkLike,
    path: str | Path,
    loss: LossLike = "mse",
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    count: bool = True,
    title: str = "",
) -> Path:
    """Writes one page: picture, laws, proofs, verification, counts, what is not covered (`lawful report`).

    Args:
        network: an architecture, an expression of blocks, a module, which is traced, or a spec.
        path: ends in `.html`.
        loss: the loss of every output (see `derive`).
        args: example inputs of a module.
        kwargs: its keyword inputs.
        seed: of everything random.
        count: verify and count as well, as `check` does.
        title: what the network is called; by default the class of a module.

    Returns:
        The path.

    Raises:
        ShapeError: for another ending, and for what `derive` and `check` refuse.
    """
    target = Path(path)
    if target.suffix.lower() != ".html":
        raise ShapeError(f"report: cannot write to {target.name}: the ending must be .html")
    expect_writable(target, ShapeError)
    assert isinstance(network, Architecture | torch.nn.Module)
    named = title or (type(network).__name__ if isinstance(network, torch.nn.Module) else "A network")
    arch = architecture_of(network, tuple(args), kwargs)
    found = check(network, loss, args=args, kwargs=kwargs, seed=seed) if count else None
    target.write_text(page(arch, named, loss, found), encoding="utf-8")
    return target


def page(arch: Architecture, title: str, loss: LossLike = "mse", found: CheckReport | None = None) -> str:
    """The page of a network.

    Args:
        arch: the network, composed or traced.
        title: what it is called.
        loss: the loss of every output.
        found: what `check` found, None for a page without verification and count.

    Returns:
        HTML; repeated layers are folded into one row.
    """
    from lawful.graph.questions.derive import derive

    laws = found.laws if found is not None else derive(arch, loss)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(str(arch).strip('<>'))}. Loss {escape(laws.loss)}.</p>",
        _outcome(found, laws),
        "<h2>The network and the wires that carry laws</h2>",
        _picture(arch, laws, loss),
        "<h2>What training conserves</h2>",
        _table(laws, found),
        _words(laws),
        "<h2>Why: the proofs</h2>",
        *(_proof(law, times) for law, times in _folded(laws)),
        "<h2>What is not covered, and why</h2>",
        _list(once(laws.gaps), "Nothing that the rules know of: no operation is opaque, no limit was met."),
        *_read(arch, laws),
    ]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}: conservation laws</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _read(arch: Architecture, laws: LawSet) -> Iterator[str]:
    """What a reader should know of the network that was asked about, if it was traced or has facts."""
    told = [*once(laws.facts), *trace_lines(arch, laws.notes)]
    if told:
        yield "<h2>How the network was read</h2>"
        yield _list(told)


def _outcome(found: CheckReport | None, laws: LawSet) -> str:
    if found is None:
        scalars, families = plural(laws.count, "scalar law"), plural(len(laws), "family", "families")
        count = f"{scalars} in {families}, {laws.independent:,} independent"
        return f"<p>{count}; not verified and not counted.</p>"
    verdict = str(found.verdict)
    first = f'<p>Verdict: <b class="{verdict}">{verdict}</b></p>'
    noted = {*once((*laws.notes, *found.findings)), *laws.notes}
    kept = [line for line in found.summary.splitlines() if line not in noted]
    return first + _list(kept)


def _list(texts: Sequence[str], otherwise: str = "") -> str:
    items = "".join(f"<li>{escape(t.strip())}</li>" for t in texts)
    return f"<ul>{items}</ul>" if items else f"<p>{escape(otherwise)}</p>"


def _picture(arch: Architecture, laws: LawSet, loss: LossLike) -> str:
    """The drawing; of a large network that of its shrunken copy, where there is one."""
    from lawful.graph.questions.derive import derive

    try:
        shown, note = arch.to_show()
        svg = str(paint(shown, None, derive(shown, loss) if note else laws))
    except (ValueError, ImportError) as error:
        return f'<p class="soft">Not drawn: {escape(str(error))}.</p>'
    return f'<p class="soft">{note}</p><div class="picture">{svg}</div>'


def _folded(laws: Iterable[Law]) -> list[tuple[Law, int]]:
    """The first law of every group that differs by the numbers in its name only, and how many the group has."""
    groups: dict[tuple[str, str], list[Law]] = {}
    for law in laws:
        groups.setdefault((re.sub(r"\d+", "#", law.name), law.algebra), []).append(law)
    return [(group[0], len(group)) for group in groups.values()]


def _table(laws: LawSet, found: CheckReport | None) -> str:
    from lawful.theory.laws.notation import html

    if not laws:
        return "<p>No law was derived.</p>"
    measured = {re.sub(r"\d+", "#", r.law): r for r in found.report.laws} if found is not None else {}
    rows = []
    for law, times in _folded(laws):
        one = measured.get(re.sub(r"\d+", "#", law.name))
        verdict = "not measured" if one is None else str(one.verdict)
        residual = "" if one is None else f" ({one.residual:.0e})"
        many = f'<div class="soft">and {times - 1} more like it</div>' if times > 1 else ""
        exact = "exact" if law.exact else "up to the epsilon of a norm"
        cells = f"<td class='name'>{escape(law.name)}{many}</td><td class='formula'>{html(law)}</td>"
        cells += f"<td class='algebra'>{escape(law.algebra)}</td>"
        cells += f"<td class='number'>{law.count * times:,}</td><td>{exact}</td>"
        rows.append(f'<tr>{cells}<td class="verdict {verdict.replace(" ", "-")}">{verdict}{residual}</td></tr>')
    itself = found is None or found.own_report is not None
    on = "verified" if itself else "verified on the copy"
    head = "".join(f"<th>{h}</th>" for h in ("law", "what is conserved", "indexed by", "scalars", "holds", on))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _words(laws: LawSet) -> str:
    """How to read the table, folded."""
    texts = words_of(law for law, _ in _folded(laws))
    return f"<details><summary>How to read these formulas</summary>{_list(texts)}</details>" if texts else ""


def _proof(law: Law, times: int) -> str:
    proof = law.proof
    checked = "every hypothesis was checked again" if proof.holds else "NOT every hypothesis passes"
    more = f", and {times - 1} more like it" if times > 1 else ""
    head = f"{escape(law.name)}{more} <span class='soft'>({checked})</span>"
    return f"<details><summary>{head}</summary>{_steps(proof)}</details>"


def _steps(proof: Proof) -> str:
    source = f" <em>({escape(proof.source)})</em>" if proof.source else ""
    items = "".join(f"<li>{_steps(s)}</li>" for s in proof.steps[:STEPS])
    if len(proof.steps) > STEPS:
        items += f"<li>and {plural(len(proof.steps) - STEPS, 'more step')} of the same kinds</li>"
    return f"<b>{escape(proof.theorem)}</b>: {escape(proof.claim)}{source}" + (f"<ul>{items}</ul>" if items else "")
