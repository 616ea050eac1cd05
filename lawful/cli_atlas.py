"""`lawful atlas`: the laws of every published architecture."""

from __future__ import annotations

import difflib
import importlib.util
import os
import random
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lawful.theory.extras import how_to_install
from lawful.theory.files import expect_folder

from .bad_input import BadInput
from .terminal import AsJson, console, finish, print_json

if TYPE_CHECKING:
    from .atlas.record import Record

DOCS = Path("docs")


def atlas(
    only: Annotated[str, typer.Option(metavar="GLOB", help="models by name, for example 'timm:vit_*'")] = "*",
    listed: Annotated[
        str | None,
        typer.Option("--list", metavar="LIST", help="one list: torchvision, timm, hf, or ours (other packages)"),
    ] = None,
    output: Annotated[Path, typer.Option(help="folder of journal, table and page")] = Path("atlas"),
    workers: Annotated[int, typer.Option(min=1, help="processes at a time")] = max(1, (os.cpu_count() or 2) // 2),
    timeout: Annotated[float, typer.Option(min=1.0, help="seconds for each model")] = 600.0,
    memory: Annotated[float, typer.Option(min=0.0, help="gigabytes for each process; 0 for no limit")] = 12.0,
    limit: Annotated[int | None, typer.Option(min=1, help="measure at most this many models")] = None,
    again: Annotated[str | None, typer.Option(help="measure once more: a status, all, or a pattern of names")] = None,
    verifiable: Annotated[
        float, typer.Option(min=0.0, help="millions of parameters up to which each model is verified itself")
    ] = 30.0,
    training: Annotated[bool, typer.Option("--training", help="trace in training mode, with batch statistics")] = False,
    docs: Annotated[bool, typer.Option("--docs", help="only write docs/atlas.md and docs/atlas.csv")] = False,
    as_json: AsJson = False,
) -> None:
    """Derive and verify the laws of published models of torchvision, timm, transformers and other packages.

    `--list ours` are small instances of models of some sixty other packages; a package that is not installed is a row
    that says so.

    A run that was stopped goes on where it stopped.  Of a family whose models are all too large to be verified, the
    smallest is verified at the end, and stands for the others.
    """
    from .atlas.built import NotBuilt
    from .atlas.measure import Task
    from .atlas.models import SOURCES, names
    from .atlas.page import write_docs, write_page
    from .atlas.record import STATUSES, read_csv
    from .atlas.run import Journal, Limits, left_to_do, run, second_pass, write_table

    expect_folder(output, BadInput)
    table = output / "atlas.csv"
    if docs:
        try:
            records = read_csv(table)
        except OSError as error:
            raise BadInput(f"cannot read {table}: {error.strerror}; run lawful atlas first") from error
        except ValueError as error:
            raise BadInput(str(error)) from error
        try:
            numbers = Counter(name.partition(":")[0] for name in names("*"))
        except NotBuilt:
            numbers = Counter()
        for path in write_docs(DOCS, records, numbers):
            print(path)
        return
    if importlib.util.find_spec("jinja2") is None:  # said now, and not after hours
        raise BadInput(f"the page of the atlas needs jinja2, which is not installed; {how_to_install('site')}")
    if listed is not None and listed not in SOURCES:
        raise BadInput(f"there is no list {listed!r}; there are {', '.join(SOURCES)}")
    try:
        wanted = names(only) if listed is None else [n for n in names(f"{listed}:*") if fnmatchcase(n, only)]
    except NotBuilt as error:
        raise BadInput(str(error)) from error
    if not wanted:
        known = names("*" if listed is None else f"{listed}:*")
        near = difflib.get_close_matches(only, known, 3, 0.4)
        some = ", ".join(
            near or random.Random(0).sample(known, min(3, len(known))) or ["none: its packages are missing"]
        )
        place = "" if listed is None else f" of the list {listed}"
        raise BadInput(f"no model{place} matches {only!r}; names are whole, with * for anything, such as {some}")
    if again is not None and again not in ("all", *STATUSES) and not any(fnmatchcase(n, again) for n in wanted):
        near = difflib.get_close_matches(again, ("all", *STATUSES), 1)
        hint = f"did you mean {near[0]}? write" if near else "write"
        raise BadInput(
            f"--again {again!r} is no status, and of what --list and --only choose no model has such a name; "
            f"{hint} all, {', '.join(STATUSES)}, or a pattern of names such as 'timm:vit_*'"
        )
    journal = Journal(output / ("training.jsonl" if training else "journal.jsonl"))
    done = journal.read()
    todo = left_to_do(wanted, done, again)[:limit]
    limits = Limits(workers, timeout, int(memory * 1e9))
    with _Progress(len(todo), as_json) as progress:
        run([Task(name, training, verifiable * 1e6) for name in todo], journal, limits, progress.show)
        done = journal.read()
        rest = [] if limit else second_pass(list(done.values()), wanted, training)
        progress.more(len(rest))
        run(rest, journal, limits, progress.show, done)
    records = write_table(table, journal)
    page = write_page(output / "atlas.html", records)
    chosen = [r for r in records if r.name in set(wanted)]
    if as_json:
        print_json({"records": [r.to_data() for r in chosen]})
    else:
        _print_summary(chosen)
        console(False).print(f"table: {table}", f"page:  {page}", sep="\n", highlight=False, markup=False)
    finish(not any(r.verdict == "violated" for r in chosen))


class _Progress:
    """A bar on stderr with the number of models by status."""

    def __init__(self, total: int, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.counts: Counter[str] = Counter()
        self.console = Console(stderr=True, quiet=quiet)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.total = total
        self.task = self.bar.add_task("atlas", total=total)

    def __enter__(self) -> _Progress:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def more(self, number: int) -> None:
        """The second pass has come to light."""
        self.total += number
        self.bar.update(self.task, total=self.total)

    def show(self, record: Record) -> None:
        """One more is done."""
        self.counts["violated" if record.verdict == "violated" else record.status] += 1
        text = ", ".join(f"{n} {s}" for s, n in self.counts.items())
        self.bar.update(self.task, advance=1, description=text)
        if not self.console.is_terminal:  # a log file: one line for each model
            line = f"{sum(self.counts.values())}/{self.total} {record.name}: {record.status} {record.verdict}"
            self.console.print(f"{line} {record.reason}".rstrip(), highlight=False, markup=False, soft_wrap=True)


def _print_summary(records: list[Record]) -> None:
    from rich.table import Table

    from .atlas.page import HEADINGS, summary

    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if i else "left")
    for row in summary(records):
        table.add_row(*row)
    console(False).print(table)
