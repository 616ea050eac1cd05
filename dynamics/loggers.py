"""The account as numbers for loggers: a plain dict, TensorBoard scalars, a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lawful.theory.arguments import ArgumentError, shown
from lawful.theory.files import expect_writable
from lawful.theory.typed import typed

from .ledger import Ledger


@typed()
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


@typed(least={"step": 0})
def tensorboard(ledger: Ledger, writer: Any, step: int | None = None) -> None:
    """Adds the scalars to TensorBoard.

    Args:
        ledger: the ledger.
        writer: a `torch.utils.tensorboard.SummaryWriter`, or anything else with `add_scalar(name, value, step)`.
        step: where on the axis; the ledger's own count if not given.

    Raises:
        ValueError: for a writer that is none.
    """
    if not callable(getattr(writer, "add_scalar", None)):
        raise ArgumentError(
            f"tensorboard: the writer is {shown(writer)}; pass a SummaryWriter of torch.utils.tensorboard"
        )
    for name, value in scalars(ledger).items():
        writer.add_scalar(name, value, ledger.steps if step is None else step)


@typed()
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
