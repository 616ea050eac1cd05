"""From a setting to its entries: derive, verify, count, and read the count formula off many sizes."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import sympy as sp

from lawful.blocks import BatchNormCore
from lawful.graph.architecture import Architecture
from lawful.graph.counting import count
from lawful.graph.engine import derive
from lawful.theory.laws import Law, LawSet
from lawful.theory.verdict import Verdict
from lawful.theory.verification import Report, verify

from .entry import Certificate, Entry
from .polynomials import evaluate, fit, monomials, written
from .settings import Setting, dense_settings
from .settings_norms import image_settings, norm_settings, stream_settings
from .settings_tokens import attention_settings, routing_settings, table_settings

SEED, SAMPLES = 0, 6
CHECKS = 12  # sizes beyond those that determine a formula


def settings() -> list[Setting]:
    """All settings."""
    makers = (
        dense_settings,
        norm_settings,
        stream_settings,
        image_settings,
        attention_settings,
        table_settings,
        routing_settings,
    )
    return [s for make in makers for s in make()]


def generate(setting: Setting) -> list[Entry]:
    """The entries of one setting, each with the certificate of the check that is run here.

    Raises:
        ValueError: if a law does not hold, the oracle counts another number, or a count is no polynomial.
    """
    arch = setting.architecture(**setting.sizes)
    laws = derive(arch, setting.loss)
    report = verify(laws, arch, setting.loss, samples=SAMPLES, seed=SEED)
    counted = count(arch, setting.loss, seed=SEED)
    if counted.laws != laws.independent or not counted.verdict.passed:
        raise ValueError(
            f"{setting.name}: {laws.independent} laws derived, the oracle counts {counted.laws} ({counted.verdict})"
        )
    for r in report.laws:
        if not r.verdict.passed:
            raise ValueError(f"{setting.name}: {r.law} is {r.verdict}, residual {r.residual:.1e}")

    def certificate(residual: float, control: float, verdict: Verdict) -> Certificate:
        return Certificate(
            setting.sizes,
            laws.parameters,
            SEED,
            SAMPLES,
            float(f"{residual:.1e}"),
            float(f"{control:.1e}"),
            laws.independent,
            counted.laws,
            counted.ranks,
            float(f"{counted.gap:.0e}"),
            str(verdict),
            version("lawful"),
        )

    if not len(laws):
        return [_no_law(setting, arch, certificate(0.0, 0.0, counted.verdict))]
    formulas = count_formulas(setting, laws)
    conditions = _Conditions(setting, arch, laws)
    out = []
    for law, r in zip(laws, report.laws, strict=True):
        out.append(
            Entry(
                id=f"{setting.name}/{law.kind}/{law.name.split(' ', 1)[1].removeprefix('of ').replace(' ', '-')}",
                **_common(setting, arch),
                kind=law.kind,
                wire=law.wire,
                algebra=law.algebra,
                parameters=law.parameters,
                statement_text=law.text,
                statement_latex=law.latex,
                hypotheses=conditions.of(law),
                count_formula=formulas[law.name][0],
                independent_formula=formulas[law.name][1],
                source=_source(setting, arch) if law.kind == "balance" else setting.linear_source,
                certificate=certificate(r.residual, r.control, r.verdict),
            )
        )
    return out


def _common(setting: Setting, arch: Architecture) -> dict:
    return {
        "setting": setting.name,
        "title": setting.title,
        "network": repr(setting.build(**setting.sizes)),
        "block": setting.block,
        "blocks": tuple(sorted({arch.block(n).kind for n in arch.nodes})),
        "loss": setting.loss,
    }


def _source(setting: Setting, arch: Architecture) -> str:
    kinds = {arch.block(n).kind: arch.block(n).source for n in arch.nodes}
    return setting.source or kinds[setting.block]


def _no_law(setting: Setting, arch: Architecture, certificate: Certificate) -> Entry:
    return Entry(
        id=f"{setting.name}/none",
        **_common(setting, arch),
        kind="none",
        wire="",
        algebra="Nothing",
        parameters=(),
        statement_text="no conserved quantity: a function of the parameters that training keeps for every data set is constant",
        statement_latex=r"\text{no conserved quantity}",
        hypotheses=("gradient flow on any data set", "any differentiable loss of the output", *setting.hypotheses),
        count_formula="0",
        independent_formula="",
        source=_source(setting, arch),
        certificate=certificate,
    )


class _Conditions:
    """What a law needs, found by deriving again without it."""

    def __init__(self, setting: Setting, arch: Architecture, laws: LawSet) -> None:
        self.setting, self.arch = setting, arch
        self.laws = laws
        self.any_loss = {law.terms for law in derive(arch, "mse")}
        self.with_epsilon = {law.terms for law in derive(arch.with_epsilon(1e-3), setting.loss) if law.exact}
        self.has_norm = any(hasattr(arch.block(n), "epsilon") for n in arch.nodes)
        self.batch = any(isinstance(arch.block(n), BatchNormCore) for n in arch.nodes)

    def of(self, law: Law) -> tuple[str, ...]:
        """The hypotheses of a law, in words."""
        out = ["gradient flow on any data set"]
        if law.terms in self.any_loss:
            out.append("any differentiable loss of the output")
        else:
            out.append("softmax cross-entropy, or another loss that a shift of all logits does not change")
        if self.has_norm and law.terms not in self.with_epsilon:
            out.append("epsilon = 0 under the root of the norm; with epsilon > 0 it holds approximately")
        if self.batch:
            out.append("BatchNorm with the statistics of the batch (training mode)")
        out += [f"{n} frozen" for n in sorted(self.arch.frozen)]
        out += [f"{w} >= {n}" for w, n in self.setting.least.items() if n > 2]
        if self.setting.ample:
            large = " and ".join(self.setting.ample)
            out.append(f"for the count: {large} at least as large as the other widths together")
        return (*out, *self.setting.hypotheses)


@dataclass(frozen=True)
class _Observation:
    """One law at some sizes: its counts, the width of its matrices, and the vectors that its parameters put there."""

    sizes: Mapping[str, int]
    count: int
    independent: int
    width: int
    vectors: int


def count_formulas(setting: Setting, laws: LawSet) -> dict[str, tuple[str, str]]:
    """Count and independent count (empty where it is the same) of every law, as formulas in the widths.

    Raises:
        ValueError: for a law whose counts are no polynomial of the widths, or that some sizes do not have.
    """
    widths = list(setting.sizes)
    seen: dict[str, list[_Observation]] = {law.name: [] for law in laws}
    for sizes in sample_sizes(setting):
        there = {law.name: law for law in derive(setting.architecture(**sizes), setting.loss)}
        still = {p for law in there.values() if law.kind == "frozen" for p in law.parameters}
        for name in seen:
            if name not in there:
                raise ValueError(f"{setting.name}: {name!r} does not exist at {sizes}, only {', '.join(there)}")
            seen[name].append(_observe(there[name], sizes, still))
    return {name: _formulas(f"{setting.name}, {name}", widths, rows) for name, rows in seen.items()}


def sample_sizes(setting: Setting) -> list[dict[str, int]]:
    """Sizes that determine a polynomial in the widths, and more to check it; always the same ones."""
    chooser = random.Random(SEED)
    widths = list(setting.sizes)
    wanted = len(monomials(widths)) + CHECKS
    low = {w: 40 if w in setting.ample else setting.least.get(w, 2) for w in widths}
    span = 4
    while (span + 1) ** len(widths) < 2 * wanted:
        span += 1
    ranges = [range(low[w], low[w] + span + 1) for w in widths]
    every = list(itertools.product(*ranges)) if len(widths) < 3 else None
    if every:
        chosen = chooser.sample(every, min(wanted + CHECKS, len(every)))
    else:
        chosen = list({tuple(chooser.choice(r) for r in ranges): None for _ in range(4 * wanted)})[: wanted + CHECKS]
    own = tuple(setting.sizes[w] for w in widths)
    points = chosen if setting.ample else [own, *(c for c in chosen if c != own)]
    return [dict(zip(widths, c, strict=True)) for c in points]


def _observe(law: Law, sizes: Mapping[str, int], still: set[str]) -> _Observation:
    vectors = 0
    for t in law.terms:
        if t.part.parameter in still:
            continue
        summed = math.prod(d for d, a in zip(t.part.dims, t.part.axes, strict=True) if a < 0)
        vectors += summed * (math.prod(t.part.view.shape) // t.part.sizes[0])
    width = law.shape[-1] if law.kind == "balance" and len(law.axis_kinds) < len(law.shape) else 1
    return _Observation(sizes, law.count, law.independent, width, vectors)


def _formulas(where: str, widths: list[str], rows: list[_Observation]) -> tuple[str, str]:
    total = fit(widths, [(r.sizes, r.count) for r in rows])
    if total is None:
        raise ValueError(f"{where}: the counts are no polynomial of degree 3 in {', '.join(widths)}")
    if all(r.count == r.independent for r in rows):
        return written(total), ""
    independent = fit(widths, [(r.sizes, r.independent) for r in rows])
    if independent is not None:
        return written(total), written(independent)
    return written(total), _by_rank(where, widths, rows, total)


def _by_rank(where: str, widths: list[str], rows: list[_Observation], total: sp.Expr) -> str:
    """`copies rank (2 n + 1 - rank) / 2` with `rank = min(n, vectors)`: a full matrix on a wire that few vectors span."""
    n = fit(widths, [(r.sizes, r.width) for r in rows])
    v = fit(widths, [(r.sizes, r.vectors) for r in rows])
    if n is None or v is None:
        raise ValueError(f"{where}: the independent counts follow no formula that the generator knows")
    copies = sp.cancel(total / (n * (n + 1) / 2))
    for r in rows:
        rank = min(evaluate(n, r.sizes), evaluate(v, r.sizes))
        if evaluate(copies, r.sizes) * rank * (2 * evaluate(n, r.sizes) + 1 - rank) // 2 != r.independent:
            raise ValueError(f"{where}: {r.independent} independent laws at {dict(r.sizes)}, the rank formula gives another number")
    factor = "" if copies == 1 else f"{written(copies)} "
    return f"{factor}rank ({written(2 * n + 1)} - rank) / 2 with rank = min({written(n)}, {written(v)})"
