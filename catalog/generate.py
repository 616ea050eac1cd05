"""From a setting to its entries: derive, verify, count, and read the count formula off many sizes."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from typing import Any

from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.batches import coupled
from lawful.graph.architecture.outputs import losses_of
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.derive.lawset import LawSet
from lawful.theory.laws.law import Law
from lawful.theory.losses import spans
from lawful.theory.oracle.verification import verify
from lawful.theory.verdict import Verdict

from .counts import count_formulas
from .entry import Entry
from .optimizers import fate
from .record import Certificate
from .settings.groups import group_of
from .settings.setting import Setting
from .signature import signature, sites

SEED, SAMPLES = 0, 6
NO_LAW = "no conserved quantity: only constants are kept by training on every data set"
SEEN = {
    "shift": "softmax cross-entropy, or another loss that a shift of all logits does not change",
    "scale": "a cosine loss, or another loss that the length of the output does not change",
}


def generate(setting: Setting) -> list[Entry]:
    """The entries of one setting, each with the certificate of the check that is run here.

    Raises:
        ValueError: if a law does not hold, the oracle counts another number, the engine knows that one may be missing,
            or a count is no polynomial.
    """
    arch = setting.architecture(**setting.sizes)
    laws = derive(arch, setting.loss)
    if laws.notes:
        raise ValueError(f"{setting.name}: its list may be incomplete: {'; '.join(laws.notes)}")
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
                touches=tuple(sites(law, arch)),
                signature=signature(law, arch),
                wire=law.wire,
                algebra=law.algebra,
                parameters=law.parameters,
                statement_text=law.short,
                statement_latex=law.short_latex,
                hypotheses=conditions.of(law),
                count_formula=formulas[law.name].count,
                independent_formula=formulas[law.name].independent,
                **dataclasses.asdict(fate(law, formulas[law.name].skew)),
                source=_source(setting, arch) if law.kind == "balance" else setting.linear_source,
                certificate=certificate(r.residual, r.control, r.verdict),
            )
        )
    return out


def _common(setting: Setting, arch: Architecture) -> dict[str, Any]:
    return {
        "setting": setting.name,
        "group": group_of()[setting.name],
        "title": setting.title,
        "network": setting.network,
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
        statement_text=NO_LAW,
        statement_latex=r"\text{no conserved quantity}",
        hypotheses=("gradient flow on any data set", "any differentiable loss of the output", *setting.hypotheses),
        count_formula="0",
        independent_formula="",
        momentum="",
        decay="",
        adam="",
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
        self.has_norm = any(arch.block(n).epsilon is not None for n in arch.nodes)
        self.batch = coupled(arch)

    def of(self, law: Law) -> tuple[str, ...]:
        """The hypotheses of a law, in words."""
        out = ["gradient flow on any data set"]
        if law.terms in self.any_loss:
            out.append("any differentiable loss of the output")
        else:
            out += [SEEN[span] for span in spans(losses_of(self.arch, self.setting.loss)) if span in SEEN]
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
