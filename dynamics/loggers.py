"""The account as numbers for loggers: a plain dict, TensorBoard scalars, a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawful.theory.files import expect_writable

if TYPE_CHECKING:
    from .ledger import Ledger


def scalars(ledger: Ledger) -> dict[str, float]:
    """For every law `laws/<name>`, the part of its size that it has moved by, and `laws/<name>/remainder`.

    A plain dict: `wandb.log(scalars(ledger))`, `mlflow.log_metrics(scalars(ledger))`.
    """
    out = {}
    for row in ledger.rows():
        name = f"laws/{row.law.replace(' ', '_')}"
        out[name] = row.change / ledger.accounts[row.law].norm
        out[f"{name}/remainder"] = row.relative
    return out


def tensorboard(ledger: Ledger, writer: Any, step: int | None = None) -> None:
    """Adds the scalars to TensorBoard.

    Args:
        ledger: the ledger.
        writer: a `torch.utils.tensorboard.SummaryWriter`, or anything else with `add_scalar(name, value, step)`.
        step: where on the axis; the ledger's own count if not given.
    """
    for name, value in scalars(ledger).items():
        writer.add_scalar(name, value, ledger.steps if step is None else step)


def to_csv(ledger: Ledger, path: str | Path) -> None:
    """Writes a row for every law: `law`, `change`, a column per cause, `remainder`, `relative`, `verdict`.

    Raises:
        ValueError: for a file that cannot be written.
    """
    file = expect_writable(path)
    rows = [row.as_dict() for row in ledger.rows()]
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0] if rows else ["law"])
        writer.writeheader()
        writer.writerows(rows)
