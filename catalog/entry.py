"""What the catalog knows about one law."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
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
class Entry:
    """One law of one setting, or the statement that a setting has none.

    Attributes:
        id: `setting/kind/wire`, stable over versions.
        setting: name of the network that shows the law.
        group: kind of block that it is about, a heading of the table of all blocks.
        title: what that network is.
        network: the network as an expression of blocks, at the sizes of the certificate.
        block: the block or composite that the setting is about.
        blocks: kinds of all primitive blocks in it.
        loss: `mse` or `cross_entropy`.
        kind: `balance` (quadratic), `shift` (linear), `frozen` (a parameter that never moves) or `none`.
        wire: the wire or the parameter the law belongs to.
        algebra: which matrices or vectors index it, at the sizes of the certificate.
        parameters: names of the parameters in it.
        statement_text: the conserved quantity in plain text.
        statement_latex: the same in LaTeX.
        hypotheses: what has to be true for it to hold.
        count_formula: number of scalars as a function of the widths.
        independent_formula: number of independent ones; empty where it is the same.
        momentum: what heavy-ball momentum does to it, from rest: `kept`, or `drifts` and the number of momentum laws
            that its skew matrices have; empty where there is no law.
        decay: how it shrinks under weight decay `λ` at time `t`.
        adam: what Adam and sign descent do to it: `kept` or `broken`.
        source: paper (short name) and theorem, or the theorem of this library.
        certificate: the check that was run.
    """

    id: str
    setting: str
    group: str
    title: str
    network: str
    block: str
    blocks: tuple[str, ...]
    loss: str
    kind: str
    wire: str
    algebra: str
    parameters: tuple[str, ...]
    statement_text: str
    statement_latex: str
    hypotheses: tuple[str, ...]
    count_formula: str
    independent_formula: str
    momentum: str
    decay: str
    adam: str
    source: str
    certificate: Certificate

    def to_data(self) -> dict[str, Any]:
        """The entry as plain data; what is infinite becomes null."""
        data = dataclasses.asdict(self)
        for key in ("control", "gap"):
            if data["certificate"][key] == float("inf"):
                data["certificate"][key] = None
        return data

    @staticmethod
    def from_data(data: dict[str, Any]) -> Entry:
        """Reads what `to_data` wrote."""
        checked = dict(data["certificate"])
        for key in ("control", "gap"):
            checked[key] = float("inf") if checked[key] is None else checked[key]
        certificate = Certificate(**{**checked, "ranks": tuple(checked["ranks"])})
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        plain["certificate"] = certificate
        return Entry(**plain)
