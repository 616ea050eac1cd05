"""What the catalog knows of one law, claim, theorem, family or optimizer, as data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from lawful.theory.arguments import of_right_kinds

from .fates import OptimizerFate, fates_of
from .wording import field_latex, field_text, symmetry_of

LAW_KINDS = ("balance", "shift", "frozen", "none")
KINDS = (*LAW_KINDS, "claim", "theorem", "family", "optimizer")
EPSILON = "epsilon = 0"  # how the hypothesis of a law that holds up to an epsilon begins


@dataclass(frozen=True)
@of_right_kinds
class Certificate:
    """The check that was run when the entry was generated.

    Attributes:
        sizes: the widths of the network that was checked.
        parameters: number of its trainable scalars.
        seed: of the random points.
        samples: number of random points.
        residual: largest relative derivative of the law along a loss gradient (float64).
        control: the same for a corrupted copy of the law; infinite for a parameter that never moves.
        engine: independent laws that the engine derives for the whole network.
        oracle: independent laws that brute force counts for the whole network.
        ranks: dimensions of the span of gradients and of its brackets, level by level.
        gap: the spectral gap behind that count; infinite if nothing was dropped.
        verdict: of the verification, `holds` or `approximate` (`holds` of the count where there is no law to verify).
        version: of the library.
    """

    sizes: dict[str, int]
    parameters: int
    seed: int
    samples: int
    residual: float
    control: float
    engine: int
    oracle: int
    ranks: tuple[int, ...]
    gap: float
    verdict: str
    version: str


@dataclass(frozen=True)
@of_right_kinds
class Record:
    """One law of one setting, the statement that a setting has none, or what a paper, theorem or optimizer says.

    Attributes:
        id: `setting/kind/wire` for a law, `claim/paper/name`, `theorem/name`, `family/name`, `optimizer/name`; stable.
        kind: `balance` (quadratic), `shift` (linear), `frozen` (a parameter that never moves), `none` (no law),
            `claim` (a row of a paper), `theorem`, `family` or `optimizer`.
        title: what it is about.
        statement_text: the conserved quantity, or the statement, in plain text.
        statement_latex: the same in LaTeX.
        source: papers (short names) and theorems, or the theorem of this library, separated by `; `.
        setting: name of the network that shows the law.
        group: a heading: kind of block that it is about, paper, ...
        network: the network as an expression of blocks, at the sizes of the certificate.
        block: the block or composite that the setting is about.
        blocks: kinds of all primitive blocks in it.
        touches: kinds of the blocks on the wires of the law, in the order of its proof.
        loss: `mse` or `cross_entropy`, the loss of the certificate.
        wire: the wire or the parameter the law belongs to.
        algebra: which matrices or vectors index it, at the sizes of the certificate.
        parameters: names of the parameters in it.
        hypotheses: what has to be true for it to hold.
        count_formula: number of scalars as a function of the widths.
        independent_formula: number of independent ones; empty where it is the same.
        momentum: what heavy-ball momentum does to it, from rest: `kept`, or `drifts` and the number of momentum laws
            that its skew matrices have; empty where there is no law.
        decay: how it shrinks under weight decay `λ` at time `t`.
        adam: what Adam and sign descent do to it: `kept` or `broken`.
        signature: what its terms and wires are made of; two laws with one signature are one law in two networks.
        certificate: the check that was run; None for what is no law of one network.
        status: of a claim: `proved`, `measured` (by its authors), `refuted`; run again: `reproduced` or `untested`.
        evidence: ids of entries whose certificates show it.
        related: ids of other entries about the same.
        check: what `lawful catalog verify` runs for it, where no certificate does.
        counterexample: the network that refutes it.
        outcome: of a claim that was run again: the verdict, its evidence, and the command.
        names: what the literature calls it.
        also: more words to find it by.
    """

    id: str
    kind: str
    title: str
    statement_text: str
    statement_latex: str
    source: str
    setting: str = ""
    group: str = ""
    network: str = ""
    block: str = ""
    blocks: tuple[str, ...] = ()
    touches: tuple[str, ...] = ()
    loss: str = ""
    wire: str = ""
    algebra: str = ""
    parameters: tuple[str, ...] = ()
    hypotheses: tuple[str, ...] = ()
    count_formula: str = ""
    independent_formula: str = ""
    momentum: str = ""
    decay: str = ""
    adam: str = ""
    signature: str = ""
    certificate: Certificate | None = None
    status: str = "proved"
    evidence: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    check: str = ""
    counterexample: str = ""
    outcome: str = ""
    names: tuple[str, ...] = ()
    also: str = ""

    @property
    def is_law(self) -> bool:
        """Whether it is about the laws of one network."""
        return self.kind in LAW_KINDS

    @property
    def exact(self) -> bool:
        """False where it holds only up to something that `approximate_by` names."""
        return not self.approximate_by

    @property
    def approximate_by(self) -> str:
        """What keeps it from being exact: the epsilon of a norm; empty where nothing does."""
        return next((h for h in self.hypotheses if h.startswith(EPSILON)), "")

    @cached_property
    def text(self) -> str:
        """The statement in the words of the field: `Q`, `K`, `V`, `O`, `γ`, `W_up` instead of names of parameters."""
        return field_text(self.statement_text, self.parameters)

    @cached_property
    def latex(self) -> str:
        """The same in LaTeX."""
        return field_latex(self.statement_latex, self.parameters)

    @cached_property
    def fates(self) -> dict[str, OptimizerFate]:
        """What every optimizer does to it, by the keys of `lawful.catalog.OPTIMIZERS`; empty where it is no law."""
        return fates_of(self.kind, self.momentum, self.decay, self.adam)

    @property
    def symmetry(self) -> str:
        """The symmetry that it comes from, in a few words."""
        return symmetry_of(self.kind, self.algebra, self.statement_text)

    def to_data(self) -> dict[str, Any]:
        """The entry as plain data without what is empty; what is infinite becomes null."""
        fields = {f.name: f.default for f in dataclasses.fields(self)}
        data = {k: v for k, v in dataclasses.asdict(self).items() if v != fields[k]}
        for key in ("control", "gap"):
            if self.certificate is not None and data["certificate"][key] == float("inf"):
                data["certificate"][key] = None
        return data

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        """Reads what `to_data` wrote.

        Raises:
            ValueError: for data that are no entry.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        if not isinstance(data, dict) or not set(data) <= known:
            raise ValueError("this is no entry of the catalog: " + _strange(data, known))
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        checked = data.get("certificate")
        try:
            if checked is not None:
                numbers = {k: float("inf") if checked[k] is None else checked[k] for k in ("control", "gap")}
                plain["certificate"] = Certificate(**{**checked, **numbers, "ranks": tuple(checked["ranks"])})
            entry = cls(**plain)
        except (TypeError, KeyError) as error:
            raise ValueError(f"this is no entry of the catalog: {error}") from error
        _check_types(entry)
        return entry


def _strange(data: object, known: set[str]) -> str:
    if not isinstance(data, dict):
        return f"a {type(data).__name__} where a table was expected"
    return f"unknown fields {', '.join(sorted(map(str, set(data) - known)))}"


def _check_types(entry: Record) -> None:
    for f in dataclasses.fields(entry):
        value = getattr(entry, f.name)
        if f.name == "certificate":
            continue
        wanted = tuple if "tuple" in str(f.type) else str
        if not isinstance(value, wanted) or (wanted is tuple and not all(isinstance(v, str) for v in value)):
            raise ValueError(f"entry {entry.id!r}: field {f.name!r} is a {type(value).__name__}, not {wanted.__name__}")
    if entry.kind not in KINDS:
        raise ValueError(f"entry {entry.id!r}: no kind {entry.kind!r}; there are {', '.join(KINDS)}")
