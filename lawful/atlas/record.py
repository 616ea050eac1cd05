"""What one architecture gives, as one line of a journal and one row of a table."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

STATUSES = ("laws", "narrow", "opaque", "failed", "not built", "not installed")
STOPPED = ("no answer within", "the process")  # how the reasons of a run begin that was stopped
REFUSALS = ("TraceError", "OpenError", "BackwardError")  # errors whose sentence says what of the module is in the way
# what the sentences say that blame lawful; in a reason they may be cut
OURS = ("bug of lawful", "fault of lawful", "the rebuilt network", "please report", "cannot be read", "complex numbers")
NESTED = ("kinds", "narrow", "opaque", "seconds")  # written as JSON in a cell


@dataclass(frozen=True)
class Record:
    """What was found for one model.

    Attributes:
        name: `source:model`.
        family: what its siblings share.
        status: `laws` (derived, every operation has a rule of its own), `narrow` (of some only the degrees are known),
            `opaque` (derived, with opaque blocks), `failed`, `not built`, or `not installed` (its package).
        reason: why it failed or was not built; empty otherwise.
        fault: whose it is that there are no laws (see `fault_of`); empty if there are.
        published: whether the laws are those of the published sizes, and not of a tiny instance.
        training: whether it was traced in training mode; else BatchNorm uses its running statistics.
        parameters: number of scalars.
        nodes: number of blocks.
        families: number of families of laws.
        scalars: number of scalar laws.
        independent: of them, at a generic point.
        exact: scalar laws that hold exactly; the others hold up to the epsilon of a norm.
        kinds: scalar laws by kind (balance, shift, frozen).
        narrow: number of blocks of which only the degrees are known, by operation.
        opaque: number of opaque blocks by operation.
        shadowed: trainable scalars that opaque blocks hide.
        seconds: for build, export, lower, derive and verify.
        output_error: relative difference between the module's outputs and those of the rebuilt network.
        gradient_error: the same for parameter gradients.
        verdict: of the numerical verification of all laws; empty if there was none.
        residual: largest residual of a law that holds.
        verified_on: what was verified: the instance, or the smaller sibling that stands for this model.
    """

    name: str
    family: str = ""
    status: str = "failed"
    reason: str = ""
    fault: str = ""
    published: bool = True
    training: bool = False
    parameters: int = 0
    nodes: int = 0
    families: int = 0
    scalars: int = 0
    independent: int = 0
    exact: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    narrow: dict[str, int] = field(default_factory=dict)
    opaque: dict[str, int] = field(default_factory=dict)
    shadowed: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    output_error: float | None = None
    gradient_error: float | None = None
    verdict: str = ""
    residual: float | None = None
    verified_on: str = ""

    @property
    def source(self) -> str:
        """The library it comes from."""
        return self.name.partition(":")[0]

    @property
    def derived(self) -> bool:
        """Whether laws were derived."""
        return self.status in ("laws", "narrow", "opaque")

    @property
    def verified(self) -> bool:
        """Whether every law held on the model itself or on a small instance of it."""
        return self.verdict in ("holds", "approximate") and not self.verified_on.startswith("sibling ")

    def to_data(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Record:
        """A record from plain data; what is unknown is left out, so that old journals can be read."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in data.items() if k in known})


def fault_of(record: Record) -> str:
    """Whose it is that a model has no laws, by its whole reason.

    Returns:
        `package` (it is not there, or does not make the model), `limit` (of time or memory), `module` (its forward
        cannot be shown as one graph: the sentence says why), `lawful` (every other error), or nothing.
    """
    if record.derived:
        return ""
    if record.status != "failed":
        return "package"
    if record.reason.startswith(STOPPED):
        return "limit"
    ours = not record.reason.startswith(REFUSALS) or any(text in record.reason for text in OURS)
    return "lawful" if ours else "module"


def inherit(records: Iterable[Record]) -> list[Record]:
    """Gives models that were not verified themselves the verdict of the smallest verified model of their family."""
    found = list(records)
    smallest: dict[tuple[str, str], Record] = {}
    for r in sorted(found, key=lambda r: r.parameters):
        if r.verified and r.family:
            smallest.setdefault((r.source, r.family), r)
    out = []
    for r in found:
        sibling = smallest.get((r.source, r.family))
        if r.derived and not r.verdict and sibling is not None:
            whose = f"sibling {sibling.name.partition(':')[2]}"
            r = replace(r, verdict=sibling.verdict, residual=sibling.residual, verified_on=whose)
        out.append(r)
    return out


def unverified_families(records: Sequence[Record]) -> list[str]:
    """The smallest derived model of every family of which no model was verified."""
    done = {(r.source, r.family) for r in records if r.verdict}
    smallest: dict[tuple[str, str], Record] = {}
    for r in sorted(records, key=lambda r: r.parameters):
        if r.derived and r.scalars and (r.source, r.family) not in done:
            smallest.setdefault((r.source, r.family), r)
    return [r.name for r in smallest.values()]


def write_csv(path: Path, records: Iterable[Record]) -> None:
    """Writes the table: one row for each model in a fixed order of columns, nested values as JSON."""
    columns = [f.name for f in fields(Record)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for r in records:
            writer.writerow([_cell(column, getattr(r, column)) for column in columns])


def read_csv(path: Path) -> list[Record]:
    """The records of a table that `write_csv` wrote.

    Raises:
        ValueError: for a file that is no such table; names the line.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        records = []
        for row in reader:
            try:
                records.append(Record(**{f.name: _value(f.name, str(f.type), row[f.name]) for f in fields(Record)}))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}, line {reader.line_num}: this is no row of the atlas ({type(error).__name__}: {error}); "
                    "write the table again with lawful atlas"
                ) from error
        return records


def _cell(column: str, value: Any) -> Any:
    if column in NESTED:
        return json.dumps(value, separators=(",", ":")) if value else ""
    if value is None:
        return ""
    return f"{value:.1e}" if isinstance(value, float) else value


def _value(column: str, kind: str, cell: str) -> Any:
    if column in NESTED:
        return json.loads(cell) if cell else {}
    if kind == "bool":
        return {"True": True, "False": False}[cell]
    if kind == "int":
        return int(cell)
    if kind.startswith("float"):
        return float(cell) if cell else None
    return cell
